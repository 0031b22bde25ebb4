//! The commands, one module each, and the only two places that write to the terminal.

use std::io::Write;

pub(crate) mod benchmark;
pub(crate) mod inspect;
pub(crate) mod server;

/// Prints a line on standard output; a closed pipe is an error, not a panic.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Whether an error says that standard output is a pipe that nobody reads any more.
pub(crate) fn reader_left(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::BrokenPipe;
    let pipe = |e: &std::io::Error| e.kind() == BrokenPipe;
    let json = |e: &serde_json::Error| e.io_error_kind() == Some(BrokenPipe);
    error
        .chain()
        .any(|e| e.downcast_ref().is_some_and(pipe) || e.downcast_ref().is_some_and(json))
}

/// Prints a line on standard error; there is nobody left to tell when that fails.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
