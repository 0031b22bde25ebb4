//! What a benchmark prints.

use std::io::{self, Write};

use serde::Serialize;

use super::work::Outcome;

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// `s3` or `native`.
    pub(super) api: String,
    /// What was measured.
    pub(super) op: String,
    /// Bytes of an object.
    pub(super) size: u64,
    /// Requests at a time.
    pub(super) clients: usize,
    /// Answered as expected.
    pub(super) requests: u64,
    /// Everything else.
    pub(super) errors: u64,
    /// Wall time.
    pub(super) seconds: f64,
    /// Requests a second.
    pub(super) per_second: f64,
    /// Body bytes a second.
    pub(super) mib_per_second: f64,
    /// Milliseconds, half of the requests took less.
    pub(super) p50_ms: f64,
    /// Nine of ten.
    pub(super) p90_ms: f64,
    /// 99 of a hundred.
    pub(super) p99_ms: f64,
    /// The slowest.
    pub(super) max_ms: f64,
    /// The first error of a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
}

/// As a decimal fraction; the figures here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

impl Row {
    pub(super) fn new(api: &str, op: String, size: u64, clients: usize, o: &Outcome) -> Self {
        let seconds = real(o.nanos.max(1)) / 1e9;
        let ms = |ns: u64| real(ns) / 1e6;
        Self {
            api: api.to_owned(),
            op,
            size,
            clients,
            requests: o.requests,
            errors: o.errors,
            seconds,
            per_second: real(o.requests) / seconds,
            mib_per_second: real(o.bytes) / seconds / 1_048_576.0,
            p50_ms: ms(o.latency.quantile(500)),
            p90_ms: ms(o.latency.quantile(900)),
            p99_ms: ms(o.latency.quantile(990)),
            max_ms: ms(o.latency.max()),
            first_error: o.first_error.clone(),
        }
    }
}

/// A size as people write it.
pub(super) fn size_text(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 && b % (1 << 30) == 0 => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// The table.
pub(super) fn print_table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    writeln!(
        out,
        "{:<8}{:<14}{:>9}{:>5}{:>11}{:>8}{:>12}{:>10}{:>9}{:>9}{:>9}{:>10}",
        "api",
        "op",
        "size",
        "c",
        "requests",
        "errors",
        "requests/s",
        "MiB/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms"
    )?;
    for r in rows {
        writeln!(
            out,
            "{:<8}{:<14}{:>9}{:>5}{:>11}{:>8}{:>12.1}{:>10.1}{:>9.2}{:>9.2}{:>9.2}{:>10.2}",
            r.api,
            r.op,
            size_text(r.size),
            r.clients,
            r.requests,
            r.errors,
            r.per_second,
            r.mib_per_second,
            r.p50_ms,
            r.p90_ms,
            r.p99_ms,
            r.max_ms
        )?;
    }
    for r in rows.iter().filter(|r| r.first_error.is_some()) {
        writeln!(
            out,
            "{} {} {}: {}",
            r.api,
            r.op,
            size_text(r.size),
            r.first_error.as_deref().unwrap_or_default()
        )?;
    }
    Ok(())
}
