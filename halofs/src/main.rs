//! The halofs binary: command line and wiring. Everything else is in the service crates.

use std::process::ExitCode;

mod cli;
mod cmd;
mod genesis;
mod wire;

/// Gives memory back within a second of its last use, from a thread of its own: bodies come in bursts of megabytes on
/// many threads, and what each thread keeps of them would add up. Its settings are compiled in (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    halofs_runtime::telemetry::abort_on_panic();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has read enough, as `head` does.
        Err(error) if cmd::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            cmd::complain(&format!("halofs: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (cli, warnings, main_port_given) = cli::parse()?;
    for warning in &warnings {
        cmd::complain(&format!("halofs: warning: {warning}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async move {
        match cli.command {
            cli::Command::Server(args) => cmd::server::run(&args, main_port_given).await,
            cli::Command::Benchmark(args) => cmd::benchmark::run(*args).await,
            cli::Command::Inspect(args) => cmd::inspect::run(&args),
            cli::Command::Version => cmd::say(&format!("halofs {}", env!("CARGO_PKG_VERSION"))),
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}
