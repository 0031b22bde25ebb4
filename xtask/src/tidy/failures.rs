//! Lists of expected failures only shrink: `xtask/expected-failures.count` says how long each may be.

use anyhow::{Result, bail};

use super::{Report, Tree};

const COUNTS: &str = "xtask/expected-failures.count";
const LIST: &str = ".expected-failures";

/// Compares every list with its committed count.
pub(super) fn check(tree: &Tree, report: &mut Report) -> Result<()> {
    let counts = tree.read(COUNTS).unwrap_or_default();
    let mut allowed = Vec::new();
    for line in counts
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
    {
        let Some((file, count)) = line.rsplit_once(' ') else {
            bail!("{COUNTS}: {line:?} is not `FILE COUNT`")
        };
        allowed.push((file.trim(), count.trim().parse::<usize>()?));
    }
    for file in tree.ending(LIST) {
        let text = tree.read(file).unwrap_or_default();
        let entries = text
            .lines()
            .filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
            .count();
        let most = allowed
            .iter()
            .find(|(f, _)| *f == file)
            .map_or(0, |(_, n)| *n);
        if entries > most {
            report.broken(
                file,
                format!("{entries} expected failures, {most} are allowed: the list only shrinks"),
            );
        } else if entries < most {
            report.broken(
                file,
                format!("{entries} expected failures: lower its count {most} in {COUNTS}"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    fn broken(list: &str, count: &str) -> usize {
        let (_dir, tree) = planted(&[("compat-tests/a.expected-failures", list), (COUNTS, count)]);
        let mut report = Report::default();
        check(&tree, &mut report).expect("readable");
        report.broken.len()
    }

    #[test]
    fn lists_only_shrink() {
        assert_eq!(
            broken("# why\none\ntwo\n", "compat-tests/a.expected-failures 2\n"),
            0
        );
        assert_eq!(
            broken("one\ntwo\nthree\n", "compat-tests/a.expected-failures 2\n"),
            1
        );
        assert_eq!(broken("one\n", "compat-tests/a.expected-failures 2\n"), 1);
        assert_eq!(broken("one\n", ""), 1);
    }
}
