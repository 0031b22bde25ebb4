//! Repository rules: `cargo run -p xtask -- tidy [--fix]`.

mod tidy;

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::{Result, bail};

fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fix = match args.as_slice() {
        ["tidy"] => false,
        ["tidy", "--fix"] => true,
        _ => bail!("usage: xtask tidy [--fix]"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace");
    let report = tidy::run(root, fix)?;
    std::io::stdout()
        .lock()
        .write_all(report.text().as_bytes())?;
    Ok(report.clean())
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}
