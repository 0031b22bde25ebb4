//! A log line for people: time, level, target, message, fields. The same look as the library's own, for a fraction of
//! its cost: an access line is written for every request.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// See the module.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut out)?;
        let meta = event.metadata();
        write!(out, " {:>5} ", meta.level().as_str())?;
        out.write_str(meta.target())?;
        out.write_char(':')?;
        let mut fields = Fields {
            out: &mut out,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        out.write_char('\n')
    }
}

struct Fields<'a, 'w> {
    out: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), value);
        }
    }

    fn write(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        self.out.write_char(' ')?;
        if name != "message" {
            self.out.write_str(name)?;
            self.out.write_char('=')?;
        }
        Escaped(&mut *self.out).write_fmt(value)
    }
}

/// What a client sent may not steer the terminal that the log is read on.
pub(super) struct Escaped<'a, W>(pub(super) &'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // 0xc2 begins the control characters beyond ASCII.
        if !text.bytes().any(|b| b < 0x20 || b == 0x7f || b == 0xc2) {
            return self.0.write_str(text);
        }
        for c in text.chars() {
            match c {
                '\x1b' | '\x07' | '\x08' | '\x0c' | '\x7f' => {
                    write!(self.0, "\\x{:02x}", u32::from(c))?;
                }
                '\u{80}'..='\u{9f}' => write!(self.0, "\\u{{{:x}}}", u32::from(c))?,
                _ => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, format_args!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.field(field, format_args!("{value}"));
        } else {
            self.field(field, format_args!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Sink;
    use super::*;

    fn emit() {
        let path = "/b/ä";
        tracing::info!(target: "access", port = "s3", path = %path, status = 200, whole = true);
        tracing::warn!(code = ?Some(1), "it {} so", "is");
        tracing::error!("line\u{1b}[31m and\nbreak\u{9b}\u{7f}ü");
    }

    /// Lines without their time stamps.
    fn lines(sink: &Sink) -> Vec<String> {
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        text.lines()
            .map(|l| l.split_once('Z').unwrap_or(("", l)).1.to_owned())
            .collect()
    }

    #[test]
    fn looks_like_the_librarys_own() {
        let (ours, theirs) = (Sink::default(), Sink::default());
        let (o, t) = (ours.clone(), theirs.clone());
        let builder = tracing_subscriber::fmt().with_ansi(false);
        let sub = builder
            .event_format(Text)
            .with_writer(move || o.clone())
            .finish();
        tracing::subscriber::with_default(sub, emit);
        let sub = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || t.clone())
            .finish();
        tracing::subscriber::with_default(sub, emit);
        assert_eq!(lines(&ours), lines(&theirs));
        assert!(ours.0.lock().ends_with(b"\n"));
    }
}
