//! `halofs server`: everything in one process, until a signal.

use std::path::Path;

use anyhow::Context;
use halofs_runtime::shutdown::{Request, Signals};
use halofs_runtime::telemetry;

use super::say;
use crate::cli::ServerArgs;
use crate::wire::Server;

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: &ServerArgs, main_port_given: bool) -> anyhow::Result<()> {
    args.check()?;
    telemetry::init(args.log_format.parse()?, &filter(&args.log_level))?;
    keep_keys_out_of_dumps();
    // Taken over before anything starts, so that a signal during the start stops it in order.
    let mut signals = Signals::new().context("taking the signals over")?;
    let server = Server::start(args, main_port_given).await?;
    if let Err(error) = announce(args, &server) {
        // A reader that left, as in `| head`, is no reason to stop serving.
        tracing::warn!(%error, "standard output is closed");
    }
    while signals.next().await == Request::Reload {
        server.reload();
    }
    tracing::info!("stopping");
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// A bare level is about halofs: the Raft library's own story is told from `warn` on. The S3 library is silent unless it
/// is asked for by name: it calls every refusal an error, and its `debug` tells computed signatures.
fn filter(level: &str) -> String {
    let mut filter = level.to_owned();
    if matches!(level, "info" | "debug" | "trace") {
        filter.push_str(",openraft=warn");
    }
    if !level.contains("s3s") {
        filter.push_str(",s3s=off");
    }
    filter
}

/// Keys are in memory: no core dump, and no other process of the user may read it.
fn keep_keys_out_of_dumps() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// What a person and a script need to begin, on standard output. The last line is for scripts.
fn announce(args: &ServerArgs, server: &Server) -> anyhow::Result<()> {
    let at = &server.listeners;
    let scheme = if args.s3_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = format!("{scheme}://{}", at.s3);
    say(&format!(
        "halofs {} serves {}",
        env!("CARGO_PKG_VERSION"),
        absolute(&args.dir)
    ))?;
    say("")?;
    say(&format!("  S3      {endpoint}"))?;
    say(&format!("  main    http://{}", at.main))?;
    say(&format!("  volume  http://{}", at.volume))?;
    say(&format!("  filer   http://{}", at.filer))?;
    say("")?;
    for line in clients(args, server, &endpoint) {
        say(&line)?;
    }
    for line in remarks(args, server) {
        say(&line)?;
        say("")?;
    }
    say(&format!(
        "ready main={} volume={} filer={} s3={}",
        at.main, at.volume, at.filer, at.s3
    ))
}

/// What must not be overlooked.
fn remarks(args: &ServerArgs, server: &Server) -> Vec<String> {
    let mut lines = Vec::new();
    if !args.fsync {
        lines.push(
            "!! -fsync=false: a crash of the machine loses up to the last second of acknowledged writes."
                .to_owned(),
        );
    }
    if args.insecure {
        lines.push(format!(
            "!! -insecure: whoever reaches the ports of main, volume and filer on {} reads, writes and deletes files \
             without a password, in clear.",
            args.ip
        ));
    }
    if server.listeners.unknown {
        lines.push(format!(
            "!! -ip={}: this machine shows no address of its own, so clients are told {}, which works here alone. Clients \
             elsewhere need -publicUrl=HOST.",
            args.ip, server.listeners.volume_public
        ));
    }
    if let Some(path) = server
        .identities
        .credentials_in_use()
        .filter(|_| server.new_credentials)
    {
        lines.push(format!(
            "!! {} was missing: a new pair is in it now, and the old one is no longer valid.",
            absolute(path)
        ));
    }
    if server.home.fresh {
        lines.push(format!(
            "Back up {} now, away from this machine: without this root key nothing stored here can ever be read.",
            absolute(&server.home.key_file)
        ));
    }
    lines
}

/// Lines that work when pasted into a shell.
fn clients(args: &ServerArgs, server: &Server, endpoint: &str) -> Vec<String> {
    let at = &server.listeners;
    let ca = args.s3_cert.as_deref().map(|c| quoted(&absolute(c)));
    let (aws_ca, rclone_ca) = match &ca {
        Some(ca) => (format!(" --ca-bundle {ca}"), format!(" --ca-cert {ca}")),
        None => Default::default(),
    };
    let region = &args.s3_region;
    let mut lines = Vec::new();
    let (env, aws_profile, rclone_profile) =
        match (server.identities.credentials_in_use(), &args.s3_config) {
            (Some(path), _) => {
                let file = absolute(path);
                lines.push(format!("Credentials: {file} (profile halofs)"));
                (
                    format!("AWS_SHARED_CREDENTIALS_FILE={} ", quoted(&file)),
                    " --profile halofs",
                    ",profile=halofs",
                )
            }
            (None, Some(config)) => {
                lines.push(format!(
                    "Credentials: as in {}; put a pair into your environment",
                    absolute(config)
                ));
                (String::new(), "", "")
            }
            (None, None) => {
                lines.push("Credentials: HALOFS_ACCESS_KEY and HALOFS_SECRET_KEY".to_owned());
                let env =
                "AWS_ACCESS_KEY_ID=$HALOFS_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$HALOFS_SECRET_KEY "
                    .to_owned();
                (env, "", "")
            }
        };
    let aws = format!("{env}aws{aws_profile} --region {region} --endpoint-url {endpoint}{aws_ca}");
    let rclone = format!(
        "{env}rclone{rclone_ca} copy /etc/hostname \":s3,provider=Other,env_auth=true{rclone_profile},region={region},\
         endpoint='{endpoint}':my-bucket/\""
    );
    lines.push(String::new());
    lines.push(format!("  {aws} s3 mb s3://my-bucket"));
    lines.push(format!(
        "  {aws} s3 cp {} s3://my-bucket/",
        quoted("/etc/hostname")
    ));
    lines.push(format!("  {rclone}"));
    lines.push(format!(
        "  fid=$(curl -s http://{}/dir/assign | sed 's/.*\"fid\":\"\\([^\"]*\\)\".*/\\1/') && curl -F \
         file=@/etc/hostname http://{}/$fid && curl http://{}/$fid",
        at.main, at.volume, at.volume
    ));
    lines.push(String::new());
    lines
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{filter, quoted};

    #[test]
    fn libraries_are_quiet_unless_asked() {
        assert_eq!(filter("info"), "info,openraft=warn,s3s=off");
        assert_eq!(filter("warn"), "warn,s3s=off");
        assert_eq!(filter("warn,s3s=error"), "warn,s3s=error");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
