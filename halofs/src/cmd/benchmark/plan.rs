//! What a run measures: the phases and sizes that the flags name.

use anyhow::{Context, bail};

use super::BenchmarkArgs;
use super::work::Op;

/// What is measured, read from the flags before the first request.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sizes: Vec<u64>,
    pub(super) steps: Vec<Step>,
}

/// One phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Requests(Op),
    List,
    Multipart,
}

impl Plan {
    pub(super) fn of(args: &BenchmarkArgs) -> anyhow::Result<Self> {
        let reads = parse_mix(&args.mix)?;
        let step = |name: &str| match name.trim() {
            "put" => Ok(Step::Requests(Op::Put)),
            "get" => Ok(Step::Requests(Op::Get)),
            "mixed" => Ok(Step::Requests(Op::Mixed(reads))),
            "delete" => Ok(Step::Requests(Op::Delete)),
            "list" => Ok(Step::List),
            "multipart" => Ok(Step::Multipart),
            other => bail!("unknown operation {other:?} in -ops"),
        };
        Ok(Self {
            sizes: args
                .size
                .split(',')
                .map(parse_size)
                .collect::<Result<_, _>>()?,
            steps: args.ops.split(',').map(step).collect::<Result<_, _>>()?,
        })
    }
}

fn parse_size(text: &str) -> anyhow::Result<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        other => bail!("unknown unit {other:?} in size {text:?}"),
    };
    let n: u64 = digits
        .trim()
        .parse()
        .with_context(|| format!("size {text:?}"))?;
    n.checked_mul(unit)
        .with_context(|| format!("size {text:?}"))
}

fn parse_mix(text: &str) -> anyhow::Result<u64> {
    let reads = text.split('/').next().unwrap_or_default();
    let reads: u64 = reads
        .trim()
        .parse()
        .with_context(|| format!("mix {text:?}"))?;
    if reads > 100 {
        bail!("mix {text:?}: more than 100 % reads");
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_mixes() {
        assert_eq!(parse_size("4KiB").unwrap(), 4096);
        assert_eq!(parse_size(" 1m ").unwrap(), 1 << 20);
        assert_eq!(parse_size("0").unwrap(), 0);
        assert!(parse_size("4x").is_err());
        assert_eq!(parse_mix("70/30").unwrap(), 70);
        assert!(parse_mix("101/0").is_err());
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchmarkArgs,
    }

    #[test]
    fn the_plan_is_checked_before_the_first_request() {
        let plan = |words: &[&str]| {
            let line = std::iter::once(&"x").chain(words);
            let Line { args } = clap::Parser::parse_from(line);
            Plan::of(&args)
        };
        let good = plan(&["--ops=mixed,list, multipart", "--size=1,5m"]).unwrap();
        assert_eq!(good.sizes, [1, 5 << 20]);
        assert_eq!(
            good.steps,
            [Step::Requests(Op::Mixed(70)), Step::List, Step::Multipart]
        );
        assert!(plan(&["--ops=put,gte"]).is_err());
        assert!(plan(&["--ops=mixed", "--mix=200/0"]).is_err());
        assert!(plan(&["--size=4KiB,lots"]).is_err());
    }
}
