//! The access line of a request: the look of every other line of the log, written by hand, because there is one for
//! every request and the way through the logging library costs as much as storing a small needle.
//!
//! Only the process's own text log is written to like this; JSON lines and other subscribers get an event as always.

use std::cell::RefCell;
use std::fmt::{self, Display, Write};
use std::sync::OnceLock;

use halofs_types::Timestamp;

use super::lines::Lines;
use super::text::Escaped;

/// What is said of a request at its end.
#[derive(Debug)]
pub(crate) struct AccessLine<'a, P> {
    pub(crate) at: Timestamp,
    pub(crate) port: &'static str,
    pub(crate) method: &'a str,
    pub(crate) path: P,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) ns: u64,
    pub(crate) peer: &'a str,
    pub(crate) caller: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) whole: bool,
}

/// The process's text log.
static LOG: OnceLock<Lines> = OnceLock::new();

/// Lets access lines go to `lines` without an event.
pub(super) fn write_to(lines: Lines) {
    // The log is started once.
    LOG.get_or_init(|| lines);
}

impl<P: Display> AccessLine<'_, P> {
    /// Logs it.
    pub(crate) fn log(&self) {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        let Some(lines) = LOG.get() else {
            return self.event();
        };
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.write(self).is_ok() {
                lines.add(scratch.text.as_bytes(), false);
            }
        });
    }

    fn event(&self) {
        tracing::info!(
            target: "access",
            port = self.port,
            method = %self.method,
            path = %self.path,
            status = self.status,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            ms = %Millis(self.ns),
            peer = %self.peer,
            caller = %self.caller,
            request_id = %self.request_id,
            whole = self.whole,
        );
    }
}

/// A thread's line in the making, and what changes once a second of it.
#[derive(Default)]
struct Scratch {
    text: String,
    second: u64,
    /// `second` as text, up to its point.
    clock: String,
}

impl Scratch {
    fn write(&mut self, line: &AccessLine<'_, impl Display>) -> fmt::Result {
        let second = line.at.secs();
        if second != self.second || self.clock.is_empty() {
            self.second = second;
            self.clock.clear();
            write_second(&mut self.clock, second)?;
        }
        let out = &mut self.text;
        out.clear();
        out.push_str(&self.clock);
        digits(out, line.at.0 / 1000 % 1_000_000, 6);
        out.push_str("Z  INFO access: port=\"");
        out.push_str(line.port);
        out.push_str("\" method=");
        Escaped(out).write_str(line.method)?;
        out.push_str(" path=");
        write!(Escaped(out), "{}", line.path)?;
        for (name, n) in [
            (" status=", u64::from(line.status)),
            (" bytes_in=", line.bytes_in),
            (" bytes_out=", line.bytes_out),
            (" ms=", line.ns / 1_000_000),
        ] {
            out.push_str(name);
            digits(out, n, 1);
        }
        out.push('.');
        digits(out, line.ns / 1000 % 1000, 3);
        out.push_str(" peer=");
        out.push_str(line.peer);
        out.push_str(" caller=");
        Escaped(out).write_str(line.caller)?;
        out.push_str(" request_id=");
        out.push_str(line.request_id);
        out.push_str(if line.whole {
            " whole=true\n"
        } else {
            " whole=false\n"
        });
        Ok(())
    }
}

/// Decimal digits, at least `least` of them.
fn digits(out: &mut String, mut n: u64, least: usize) {
    let mut text = [b'0'; 20];
    let mut from = text.len();
    for (i, digit) in text.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        from = i;
        if n == 0 {
            break;
        }
    }
    let from = from.min(text.len() - least.min(text.len()));
    let shown = text.get(from..).and_then(|t| std::str::from_utf8(t).ok());
    out.push_str(shown.unwrap_or_default());
}

/// `2026-11-23T09:28:22.` of a Unix time.
fn write_second(out: &mut String, secs: u64) -> fmt::Result {
    let (days, time) = (secs / 86_400, secs % 86_400);
    // Years that begin in March, in eras of 400: then a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 {
        (month + 3, year + era * 400)
    } else {
        (month - 9, year + era * 400 + 1)
    };
    let (h, m, s) = (time / 3600, time / 60 % 60, time % 60);
    write!(
        out,
        "{year:04}-{month:02}-{of_month:02}T{h:02}:{m:02}:{s:02}."
    )
}

/// Milliseconds with three digits after the point.
struct Millis(u64);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Sink;
    use super::super::text::Text;
    use super::*;

    fn without_time(line: &str) -> &str {
        line.split_once("Z ").map_or("", |l| l.1)
    }

    #[test]
    fn looks_like_the_event() {
        for (path, caller, ns) in [
            ("/3,01637037d6?x=1", "-", 999),
            ("/b/\u{1b}[31m\u{9b}", "ann\u{7}", 1_234_567),
            ("/b/ä", "Müller", 10_000_000_001_000),
        ] {
            let line = AccessLine {
                at: Timestamp(1_795_426_102_000_042_000),
                port: "volumeServer",
                method: "PUT",
                path,
                status: 201,
                bytes_in: 0,
                bytes_out: 1_048_577,
                ns,
                peer: "[::1]:80",
                caller,
                request_id: "0123",
                whole: ns > 1000,
            };
            let sink = Sink::default();
            let to = sink.clone();
            let sub = tracing_subscriber::fmt()
                .with_ansi(false)
                .event_format(Text)
                .with_writer(move || to.clone())
                .finish();
            tracing::subscriber::with_default(sub, || line.event());
            let event = String::from_utf8(sink.0.lock().clone()).unwrap();
            let mut scratch = Scratch::default();
            scratch.write(&line).unwrap();
            assert_eq!(without_time(&scratch.text), without_time(&event));
            assert!(
                scratch
                    .text
                    .starts_with("2026-11-23T09:28:22.000042Z  INFO ")
            );
        }
    }

    #[test]
    fn dates() {
        for (secs, want) in [
            (0, "1970-01-01T00:00:00."),
            (951_782_399, "2000-02-28T23:59:59."),
            (951_782_400, "2000-02-29T00:00:00."),
            (1_709_251_199, "2024-02-29T23:59:59."),
            (1_709_251_200, "2024-03-01T00:00:00."),
            (4_107_542_400, "2100-03-01T00:00:00."),
            (253_402_300_799, "9999-12-31T23:59:59."),
        ] {
            let mut out = String::new();
            write_second(&mut out, secs).unwrap();
            assert_eq!(out, want);
        }
    }

    #[test]
    fn numbers() {
        let mut out = String::new();
        for (n, least) in [(0, 1), (7, 3), (1000, 3), (u64::MAX, 1)] {
            digits(&mut out, n, least);
            out.push(' ');
        }
        assert_eq!(out, "0 007 1000 18446744073709551615 ");
    }
}
