//! The log of the process, and the end of the process at the first panic.

use std::io;

use tracing_subscriber::EnvFilter;

use lines::Lines;

pub(crate) mod access;
mod lines;
#[cfg(test)]
pub(crate) mod sink;
mod text;

pub use lines::ACCESS;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(s: &str) -> Result<Self, TelemetryError> {
        match s {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format(s.to_owned())),
        }
    }
}

/// Why the log cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Neither text nor json.
    #[error("log format {0:?} is neither text nor json")]
    Format(String),
    /// A level or filter that cannot be read.
    #[error("log level {level:?}: {reason}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log's thread cannot be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(String),
    /// A log was started in this process already.
    #[error("the log was started already")]
    Twice,
}

/// Whether a level is one, or a filter whose every part is a level or `TARGET=LEVEL`. The library takes any other word
/// for the name of a target, and a misspelt level would switch the log off without a word.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    let wrong = |reason: String| TelemetryError::Level {
        level: level.to_owned(),
        reason,
    };
    let plain = |part: &&str| matches!(*part, "error" | "warn" | "info" | "debug" | "trace");
    let mut parts = level.split(',').map(str::trim);
    if let Some(part) = parts.find(|p| !plain(p) && !p.contains('=')) {
        return Err(wrong(format!(
            "{part:?} is none of error, warn, info, debug and trace, and no filter such as warn,access=info"
        )));
    }
    match EnvFilter::builder().parse(level) {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Starts the log on standard error. `level` is a level (`info`) or a filter (`warn,access=info`); access lines have the
/// target `access`.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|e| TelemetryError::Level {
            level: level.to_owned(),
            reason: e.to_string(),
        })?;
    let lines =
        Lines::start(Box::new(io::stderr())).map_err(|e| TelemetryError::Thread(e.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .with_ansi(false);
    let started = match format {
        LogFormat::Text => builder.event_format(text::Text).try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)?;
    if format == LogFormat::Text {
        access::write_to(lines);
    }
    Ok(())
}

/// Makes a panic of any thread or task end the process, after the usual message: an invariant broke, so nothing that is
/// in memory may reach a disk or a client any more. A supervisor starts the process again, and recovery takes over.
pub fn abort_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_named() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!("xml".parse::<LogFormat>().is_err());
        assert!(matches!(
            init(LogFormat::Text, "info=="),
            Err(TelemetryError::Level { .. })
        ));
        for good in ["error", "trace", "warn,access=info", "access=off"] {
            assert_eq!(check_level(good), Ok(()), "{good}");
        }
        for bad in ["loud", "", "loud,access=info", "access=loud"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
