//! `halofs benchmark`: load on an S3 or a native endpoint, of halofs or of another server.
//!
//! One thread, one keep-alive connection a client and server, bodies from one random block that differ in eight bytes a
//! MiB, so that nothing can be deduplicated or compressed and little time goes into making them. GETs check length and
//! stamp.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use halofs_runtime::rng::{OsRng, Rng};
use halofs_runtime::{Clock, RealClock};
use tokio::task::JoinSet;

use histogram::Histogram;
use plan::{Plan, Step};
use report::{Row, print_table, real, size_text};
use sign::Credentials;
use target::{Session, Target};
use work::{Limit, Op, Outcome, Phase, Shared, Stored};

mod conn;
mod histogram;
mod plan;
mod report;
mod sign;
mod stream;
mod target;
mod work;

/// Measure an S3 or a native endpoint.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchmarkArgs {
    /// S3 endpoint, `http://host:port` or `https://host:port`.
    #[arg(long, default_value = "http://127.0.0.1:8333")]
    s3: String,
    /// Certificates (PEM) that an https endpoint is trusted by; the system's when absent.
    #[arg(long = "s3.ca")]
    s3_ca: Option<PathBuf>,
    /// Main server for `-api=native`, `http://host:port`.
    #[arg(long, default_value = "http://127.0.0.1:9333")]
    main: String,
    /// `s3` or `native`.
    #[arg(long, default_value = "s3")]
    api: String,
    /// Access key; otherwise from `-credentials.file`.
    #[arg(long = "accessKey")]
    access_key: Option<String>,
    /// Secret key.
    #[arg(long = "secretKey")]
    secret_key: Option<String>,
    /// AWS ini file whose first section's keys are used.
    #[arg(long = "credentials.file")]
    credentials_file: Option<PathBuf>,
    /// Region to sign for.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Bucket, created when absent.
    #[arg(long, default_value = "benchmark")]
    bucket: String,
    /// Collection of native needles.
    #[arg(long, default_value = "")]
    collection: String,
    /// Sizes, e.g. `4KiB,1MiB`; each is measured in turn.
    #[arg(long, default_value = "4KiB")]
    size: String,
    /// Requests at a time.
    #[arg(long = "c", default_value_t = 16)]
    concurrency: usize,
    /// Requests a phase; with neither `-n` nor `-duration`, 10 s.
    #[arg(long = "n")]
    count: Option<u64>,
    /// Time a phase, e.g. `10s`.
    #[arg(long)]
    duration: Option<String>,
    /// Phases, in this order: put, get, mixed, delete, list, multipart (parts of at least 5 MiB).
    #[arg(long, default_value = "put,get")]
    ops: String,
    /// Reads/writes of the mixed phase, in percent.
    #[arg(long, default_value = "70/30")]
    mix: String,
    /// Keys of the list phase.
    #[arg(long = "list.keys", default_value_t = 100_000)]
    list_keys: u64,
    /// Prefixes that the keys of the list phase are spread over.
    #[arg(long = "list.prefixes", default_value_t = 10)]
    list_prefixes: u64,
    /// `table` or `json`.
    #[arg(long = "o", default_value = "table")]
    output: String,
}

/// What stays the same over all phases.
struct Bench {
    args: BenchmarkArgs,
    target: Target,
    block: Vec<u8>,
    clock: Arc<dyn Clock>,
    run: String,
    limit: Limit,
    rows: Vec<Row>,
}

/// Bytes that bodies are made of.
const BLOCK: usize = 1 << 20;

/// The smallest part that S3 takes, but for the last one.
const PART_MIN: u64 = 5 << 20;

/// Runs the benchmark on a thread of its own and prints the result; an error if a request failed.
pub(crate) async fn run(args: BenchmarkArgs) -> anyhow::Result<()> {
    let failed = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(measure(args))
    })
    .await??;
    if failed > 0 {
        bail!("{failed} requests failed");
    }
    Ok(())
}

async fn measure(args: BenchmarkArgs) -> anyhow::Result<u64> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let mut block = vec![0; BLOCK];
    OsRng.fill(&mut block);
    let limit = match (args.count, &args.duration) {
        (Some(n), None) => Limit::Requests(n),
        (None, Some(d)) => Limit::Nanos(parse_duration(d)?),
        (None, None) => Limit::Nanos(10_000_000_000),
        (Some(_), Some(_)) => bail!("give -n or -duration, not both"),
    };
    if args.concurrency == 0 {
        bail!("-c must be at least 1");
    }
    if args.output != "table" && args.output != "json" {
        bail!("-o must be table or json, not {:?}", args.output);
    }
    let plan = Plan::of(&args)?;
    let target = target_of(&args)?;
    let run = format!("{:08x}", OsRng.u32());
    let mut bench = Bench {
        args,
        target,
        block,
        clock,
        run,
        limit,
        rows: Vec::new(),
    };
    bench.all(plan).await?;
    let mut out = std::io::stdout().lock();
    if bench.args.output == "json" {
        serde_json::to_writer_pretty(&mut out, &bench.rows)?;
        writeln!(out)?;
    } else {
        print_table(&mut out, &bench.rows)?;
    }
    Ok(bench.rows.iter().map(|r| r.errors).sum())
}

impl Bench {
    async fn all(&mut self, plan: Plan) -> anyhow::Result<()> {
        if let Target::S3 { .. } = self.target {
            let now = self.now();
            let made = self.session().create_bucket(now).await;
            made.map_err(|e| anyhow::anyhow!("the bucket cannot be made: {}", e.0))?;
        }
        for size in plan.sizes {
            let stored = Stored::default();
            for step in &plan.steps {
                match *step {
                    Step::Requests(op) => self.phase(op, size, &stored).await,
                    Step::List => {
                        let done = self.listing(size).await;
                        self.keep("list", size, done);
                    }
                    Step::Multipart => {
                        let size = size.max(PART_MIN);
                        let done = self.multipart(size).await;
                        self.keep("multipart", size, done);
                    }
                }
            }
        }
        Ok(())
    }

    /// A phase that gave up is a line of the result, so that those of the others are not lost.
    fn keep(&mut self, op: &str, size: u64, done: anyhow::Result<()>) {
        let Err(error) = done else { return };
        let outcome = Outcome {
            requests: 0,
            errors: 1,
            bytes: 0,
            nanos: 0,
            latency: Histogram::new(),
            first_error: Some(format!("{error:#}")),
        };
        self.push(op.to_owned(), size, self.args.concurrency, &outcome);
    }

    fn now(&self) -> u64 {
        self.clock.now().0 / 1_000_000_000
    }

    fn session(&self) -> Session {
        Session::new(self.target.clone(), self.block.clone())
    }

    fn push(&mut self, op: String, size: u64, clients: usize, outcome: &Outcome) {
        let api = self.args.api.clone();
        self.rows.push(Row::new(&api, op, size, clients, outcome));
    }

    async fn phase(&mut self, op: Op, size: u64, stored: &Stored) {
        let limit = match op {
            // All that the phases before have stored.
            Op::Delete => Limit::Requests(stored.lock().len() as u64),
            _ => self.limit,
        };
        let prefix = format!("{}/{size}/", self.run);
        let clients = self.args.concurrency;
        let phase = Phase {
            op,
            size,
            clients,
            limit,
            prefix,
            folders: 1,
        };
        let name = match op {
            Op::Put => "put".to_owned(),
            Op::Get => "get".to_owned(),
            Op::Mixed(reads) => format!("mixed {reads}/{}", 100 - reads),
            Op::Delete => "delete".to_owned(),
        };
        let outcome = self.drive(phase, stored, &name).await;
        self.push(name, size, clients, &outcome);
    }

    /// Runs a phase with a progress line for people.
    async fn drive(&self, phase: Phase, stored: &Stored, name: &str) -> Outcome {
        let title = format!("{name} {}", size_text(phase.size));
        let shared = Arc::new(Shared::new(
            phase,
            Arc::clone(stored),
            Arc::clone(&self.clock),
        ));
        let progress = std::io::stderr().is_terminal().then(|| {
            let (shared, clock) = (Arc::clone(&shared), Arc::clone(&self.clock));
            tokio::spawn(async move {
                loop {
                    clock.sleep(Duration::from_millis(500)).await;
                    show(&title, &shared);
                }
            })
        });
        let outcome = work::run(&shared, &self.target, &self.block).await;
        if let Some(p) = progress {
            p.abort();
            let cleared = write!(std::io::stderr(), "\r\x1b[K");
            drop(cleared);
        }
        outcome
    }

    /// Stores the keys, then lists them in pages of 1,000 and by prefix.
    async fn listing(&mut self, size: u64) -> anyhow::Result<()> {
        let prefix = format!("{}/list/", self.run);
        let (keys, folders) = (self.args.list_keys, self.args.list_prefixes);
        let limit = Limit::Requests(keys);
        let clients = self.args.concurrency;
        let phase = Phase {
            op: Op::Put,
            size,
            clients,
            limit,
            prefix: prefix.clone(),
            folders,
        };
        let made = self.drive(phase, &Stored::default(), "list: put").await;
        let complete = made.errors == 0;
        self.push("list: put".to_owned(), size, clients, &made);
        let (all, found, _) = self.walk(&prefix, "").await?;
        self.push(format!("list {found}"), 0, 1, &all);
        if complete && found as u64 != keys {
            bail!("the listing has {found} keys instead of {keys}");
        }
        // One cold and nine warm runs; each is one request or more.
        let mut total: Option<Outcome> = None;
        for _ in 0..10 {
            let (o, _, prefixes) = self.walk(&prefix, "/").await?;
            if folders > 1 && prefixes as u64 != folders.min(keys) {
                bail!("the delimiter listing has {prefixes} prefixes instead of {folders}");
            }
            let mut whole = Histogram::new();
            whole.record(o.nanos);
            total = Some(match total {
                None => Outcome {
                    latency: whole,
                    ..o
                },
                Some(mut t) => {
                    t.requests += o.requests;
                    t.nanos += o.nanos;
                    t.latency.merge(&whole);
                    t
                }
            });
        }
        if let Some(t) = total {
            self.push("list delim".to_owned(), 0, 1, &t);
        }
        Ok(())
    }

    async fn walk(&self, prefix: &str, delimiter: &str) -> anyhow::Result<(Outcome, usize, usize)> {
        let mut session = self.session();
        let mut latency = Histogram::new();
        let began = self.clock.monotonic_ns();
        let (mut keys, mut prefixes, mut pages) = (0, 0, 0);
        let mut token: Option<String> = None;
        loop {
            let before = self.clock.monotonic_ns();
            let page = session
                .list(prefix, delimiter, token.as_deref(), self.now())
                .await;
            let page = page.map_err(|e| anyhow::anyhow!(e.0))?;
            latency.record(self.clock.monotonic_ns().saturating_sub(before));
            pages += 1;
            keys += page.keys;
            prefixes += page.prefixes;
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        let nanos = self.clock.monotonic_ns().saturating_sub(began);
        let o = Outcome {
            requests: pages,
            errors: 0,
            bytes: 0,
            nanos,
            latency,
            first_error: None,
        };
        Ok((o, keys, prefixes))
    }

    /// One multipart upload, a part a client at a time; `-n` parts, 16 by default.
    async fn multipart(&mut self, size: u64) -> anyhow::Result<()> {
        let parts = self.args.count.unwrap_or(16);
        let key = format!("{}/multipart-{size}", self.run);
        let began = self.clock.monotonic_ns();
        let mut session = self.session();
        let fail = |e: target::Failure| anyhow::anyhow!(e.0);
        let upload = session
            .create_upload(&key, self.now())
            .await
            .map_err(fail)?;
        let mut latency = Histogram::new();
        let mut etags = vec![String::new(); usize::try_from(parts)?];
        let mut running = JoinSet::new();
        let mut next = 1;
        while next <= parts || !running.is_empty() {
            while next <= parts && running.len() < self.args.concurrency {
                let (mut session, clock) = (self.session(), Arc::clone(&self.clock));
                let (key, upload, number) = (key.clone(), upload.clone(), next);
                running.spawn(async move {
                    let before = clock.monotonic_ns();
                    let etag = session
                        .part(&key, &upload, number, size, clock.now().0 / 1_000_000_000)
                        .await;
                    (number, etag, clock.monotonic_ns().saturating_sub(before))
                });
                next += 1;
            }
            if let Some(done) = running.join_next().await {
                let (number, etag, ns) = done?;
                latency.record(ns);
                etags[usize::try_from(number)? - 1] = etag.map_err(fail)?;
            }
        }
        session
            .complete(&key, &upload, &etags, self.now())
            .await
            .map_err(fail)?;
        let nanos = self.clock.monotonic_ns().saturating_sub(began);
        let outcome = Outcome {
            requests: parts,
            errors: 0,
            bytes: parts * size,
            nanos,
            latency,
            first_error: None,
        };
        self.push(
            "multipart".to_owned(),
            size,
            self.args.concurrency,
            &outcome,
        );
        Ok(())
    }
}

fn show(title: &str, shared: &Shared) {
    let done = shared.done.load(Ordering::Relaxed);
    let seconds = real(shared.elapsed().max(1)) / 1e9;
    let mib = real(shared.bytes.load(Ordering::Relaxed)) / seconds / 1_048_576.0;
    let failed = shared.failed.load(Ordering::Relaxed);
    let line = write!(
        std::io::stderr(),
        "\r\x1b[K{title}: {done} requests, {:.0}/s, {mib:.1} MiB/s, {failed} errors, {seconds:.0} s",
        real(done) / seconds
    );
    drop(line);
}

/// `host:port` of a URL, and whether it is https.
fn authority(url: &str) -> anyhow::Result<(String, bool)> {
    let (rest, tls) = match url.strip_prefix("https://") {
        Some(rest) => (rest, true),
        None => (url.strip_prefix("http://").unwrap_or(url), false),
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() {
        bail!("no host in {url:?}");
    }
    let port = if tls { 443 } else { 80 };
    let named = host
        .rsplit_once(':')
        .is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    Ok((
        if named {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        },
        tls,
    ))
}

fn target_of(args: &BenchmarkArgs) -> anyhow::Result<Target> {
    match args.api.as_str() {
        "native" => {
            let (main, tls) = authority(&args.main)?;
            if tls {
                bail!("the native ports speak http: {}", args.main);
            }
            let collection = args.collection.clone();
            Ok(Target::Native { main, collection })
        }
        "s3" => {
            let (access_key, secret_key) = keys_of(args)?;
            let credentials = Credentials {
                access_key,
                secret_key,
                region: args.region.clone(),
            };
            let (host, tls) = authority(&args.s3)?;
            let tls = tls
                .then(|| stream::connector(args.s3_ca.as_deref()))
                .transpose()?;
            let bucket = args.bucket.clone();
            Ok(Target::S3 {
                host,
                bucket,
                credentials,
                tls,
            })
        }
        other => bail!("-api must be s3 or native, not {other:?}"),
    }
}

fn keys_of(args: &BenchmarkArgs) -> anyhow::Result<(String, String)> {
    if let (Some(a), Some(s)) = (&args.access_key, &args.secret_key) {
        return Ok((a.clone(), s.clone()));
    }
    let Some(path) = &args.credentials_file else {
        bail!(
            "give -accessKey and -secretKey, or -credentials.file (the server prints where its own is)"
        );
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let value = |name: &str| {
        let mut pairs = text.lines().filter_map(|l| l.split_once('='));
        pairs
            .find(|(k, _)| k.trim() == name)
            .map(|(_, v)| v.trim().to_owned())
    };
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(a), Some(s)) => Ok((a, s)),
        _ => bail!(
            "{} holds no aws_access_key_id and aws_secret_access_key",
            path.display()
        ),
    }
}

fn parse_duration(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits
        .parse()
        .with_context(|| format!("duration {text:?}"))?;
    let unit: u64 = match &text[digits.len()..] {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        other => bail!("unknown unit {other:?} in duration {text:?}"),
    };
    n.checked_mul(unit)
        .with_context(|| format!("duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_hosts() {
        assert_eq!(parse_duration("250ms").unwrap(), 250_000_000);
        assert_eq!(parse_duration("2m").unwrap(), 120_000_000_000);
        assert!(parse_duration("s").is_err());
        assert_eq!(
            authority("http://h:1/x").unwrap(),
            ("h:1".to_owned(), false)
        );
        assert_eq!(authority("h").unwrap(), ("h:80".to_owned(), false));
        assert_eq!(authority("https://h").unwrap(), ("h:443".to_owned(), true));
    }
}
