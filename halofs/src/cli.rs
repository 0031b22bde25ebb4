//! The command line: every command's flags, their defaults and their help in one place.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use halofs_runtime::config::{self, Warning, go_bool};

/// halofs: an S3-compatible object store over sealed, durable volumes.
#[derive(Debug, Parser)]
#[command(
    name = "halofs",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Folder of halofs.toml.
    #[arg(long = "config_dir", global = true)]
    pub(crate) config_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: main, volume, filer and S3.
    Server(Box<ServerArgs>),
    /// Measure any S3 or native endpoint.
    Benchmark(Box<crate::cmd::benchmark::BenchmarkArgs>),
    /// Print any file of halofs, offline.
    Inspect(InspectArgs),
    /// Print the version.
    Version,
}

/// Flags of `halofs server`. `-dir` is the only one worth setting.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct ServerArgs {
    /// Data folder, made when absent.
    #[arg(long = "dir", default_value = "./halofs-data")]
    pub(crate) dir: PathBuf,
    /// Address to listen on and to advertise. A non-loopback address needs -insecure.
    #[arg(long = "ip", default_value = "127.0.0.1")]
    pub(crate) ip: String,
    /// Host that clients are told to use, when it is not -ip.
    #[arg(long = "publicUrl", default_value = "")]
    pub(crate) public_host: String,
    /// Listen on non-loopback addresses although the native ports have neither TLS nor tokens yet.
    #[arg(long = "insecure", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub(crate) insecure: bool,
    /// Port of main; 0 picks a free one. Without this flag 9310 is bound too.
    #[arg(long = "main.port", alias = "master.port", default_value = "9333")]
    pub(crate) main_port: u16,
    /// Second port of main, bound when -main.port is not given; empty for none.
    #[arg(long = "main.port.alias", alias = "master.port.alias", default_value = "9310", value_parser = alias_port)]
    pub(crate) main_alias: String,
    /// Port of the volume server; 0 picks a free one.
    #[arg(long = "volume.port", default_value = "8080")]
    pub(crate) volume_port: u16,
    /// Port of the filer; 0 picks a free one.
    #[arg(long = "filer.port", default_value = "8888")]
    pub(crate) filer_port: u16,
    /// Port of S3; 0 picks a free one.
    #[arg(long = "s3.port", default_value = "8333")]
    pub(crate) s3_port: u16,
    /// Identities file (JSON); read again on SIGHUP.
    #[arg(long = "s3.config")]
    pub(crate) s3_config: Option<PathBuf>,
    /// Certificate chain (PEM): S3 speaks TLS. Needs -s3.key.
    #[arg(long = "s3.cert", requires = "s3_key")]
    pub(crate) s3_cert: Option<PathBuf>,
    /// Private key (PEM) of -s3.cert.
    #[arg(long = "s3.key", requires = "s3_cert")]
    pub(crate) s3_key: Option<PathBuf>,
    /// Domain for virtual-host style: requests to BUCKET.DOMAIN.
    #[arg(long = "s3.domainName", default_value = "")]
    pub(crate) s3_domain: String,
    /// Region that buckets are in.
    #[arg(long = "s3.region", default_value = "us-east-1")]
    pub(crate) s3_region: String,
    /// Largest volume in MiB, 64 to 32768; at most a sixteenth of the disk is used.
    #[arg(long = "volumeSizeLimitMB", alias = "main.volumeSizeLimitMB", alias = "master.volumeSizeLimitMB",
          default_value_t = halofs_types::limits::VOLUME_SIZE_MB_DEFAULT,
          value_parser = clap::value_parser!(u64).range(VOLUME_SIZE_MB))]
    pub(crate) volume_size_mb: u64,
    /// Most volumes of this server, 0 for no ceiling.
    #[arg(long = "volume.max", default_value = "0")]
    pub(crate) volume_max: u32,
    /// Data centre, for placement.
    #[arg(long = "dataCenter", alias = "volume.dataCenter", default_value = "")]
    pub(crate) data_center: String,
    /// Rack, for placement.
    #[arg(long = "rack", alias = "volume.rack", default_value = "")]
    pub(crate) rack: String,
    /// Disk type, for placement.
    #[arg(long = "disk", alias = "volume.disk", default_value = "hdd")]
    pub(crate) disk: String,
    /// Free space below which nothing grows: percent (at most 100), or bytes with KiB, MiB, GiB or TiB. Without it 5 %
    /// of the disk, at most 2 GiB.
    #[arg(long = "minFreeSpace", alias = "volume.minFreeSpace", default_value = "", value_parser = min_free)]
    pub(crate) min_free: String,
    /// Sync every write before it is acknowledged.
    #[arg(long = "fsync", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", value_parser = go_bool)]
    pub(crate) fsync: bool,
    /// Root key file; DIR/root.key when absent.
    #[arg(long = "key.file")]
    pub(crate) key_file: Option<PathBuf>,
    /// Largest native upload in MiB.
    #[arg(long = "fileSizeLimitMB", alias = "volume.fileSizeLimitMB", default_value = "256",
          value_parser = clap::value_parser!(u64).range(1..=halofs_types::limits::NATIVE_FILE_MB_MAX))]
    pub(crate) file_size_mb: u64,
    /// Body bytes in flight in MiB, of all ports together; over it requests wait up to 10 s, then 503 SlowDown or 429.
    #[arg(long = "concurrentLimitMB", default_value = "128",
          value_parser = clap::value_parser!(u32).range(16..=65536))]
    pub(crate) concurrent_mb: u32,
    /// Open connections of each port, so that clients of one cannot lock out the others and their /healthz.
    #[arg(long = "maxConnections", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Days after which an upload that nobody completes is dropped.
    #[arg(long = "s3.uploadExpiryDays", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) upload_expiry_days: u32,
    /// Look for needles that no name points at, once a week and slowly, and drop them.
    #[arg(long = "filer.orphanScan", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", value_parser = go_bool)]
    pub(crate) orphan_scan: bool,
    /// After the filer's folder was restored from a backup: needles that it does not name are garbage. Without it they are
    /// kept.
    #[arg(long = "filer.confirmRestore", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub(crate) confirm_restore: bool,
    /// Form of the log: text or json.
    #[arg(long = "log.format", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) log_format: String,
    /// error, warn, info, debug or trace, or a tracing filter.
    #[arg(long = "log.level", default_value = "info", value_parser = log_level)]
    pub(crate) log_level: String,
}

/// Volumes smaller than this are all overhead; an index addresses no more than this.
const VOLUME_SIZE_MB: std::ops::RangeInclusive<u64> = 64..=32768;

/// Free space below which nothing grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MinFree {
    Default,
    Percent(u64),
    Bytes(u64),
}

impl std::str::FromStr for MinFree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Default);
        }
        let percent = text.strip_suffix('%').unwrap_or(text).trim_end();
        if let Ok(n) = percent.parse::<u64>() {
            return match n {
                0..=100 => Ok(Self::Percent(n)),
                _ => Err(format!(
                    "{n} is more than 100 percent; bytes are written with KiB, MiB, GiB or TiB"
                )),
            };
        }
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let parsed = units.iter().find_map(|(unit, shift)| {
            let n: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            n.checked_mul(1 << shift)
        });
        parsed.map(Self::Bytes).ok_or_else(|| {
            format!(
                "{text:?} is neither a percentage of at most 100 nor bytes with KiB, MiB, GiB or TiB"
            )
        })
    }
}

fn min_free(text: &str) -> Result<String, String> {
    text.parse::<MinFree>().map(|_| text.to_owned())
}

fn log_level(text: &str) -> Result<String, String> {
    match halofs_runtime::telemetry::check_level(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn alias_port(text: &str) -> Result<String, String> {
    match (text, text.parse::<u16>()) {
        ("", _) | (_, Ok(_)) => Ok(text.to_owned()),
        (_, Err(_)) => Err(format!("{text:?} is not a port")),
    }
}

impl ServerArgs {
    /// What no single flag can tell about itself.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match (&self.s3_cert, &self.s3_key) {
            (Some(_), None) => anyhow::bail!("-s3.cert needs -s3.key"),
            (None, Some(_)) => anyhow::bail!("-s3.key needs -s3.cert"),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }

    /// Free bytes below which nothing grows, of a disk of `total` bytes; `None` is the volume server's default.
    pub(crate) fn soft_free(&self, total: u64) -> anyhow::Result<Option<u64>> {
        match self.min_free.parse().map_err(anyhow::Error::msg)? {
            MinFree::Default => Ok(None),
            MinFree::Percent(n) => Ok(Some(total / 100 * n)),
            MinFree::Bytes(n) => Ok(Some(n)),
        }
    }

    /// Body bytes in flight of the process.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        usize::try_from(self.concurrent_mb)
            .unwrap_or(usize::MAX)
            .saturating_mul(1 << 20)
    }
}

/// Flags of `halofs inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Root key file: shows sealed contents too.
    #[arg(long = "key.file")]
    pub(crate) key_file: Option<PathBuf>,
    /// The file or store folder.
    pub(crate) path: PathBuf,
}

/// Main's port when nothing says otherwise.
const MAIN_PORT: u16 = 9333;

/// Reads the command line over environment over file; prints help and mistakes the way clap does, and ends the
/// process for them.
pub(crate) fn parse() -> anyhow::Result<(Cli, Vec<Warning>, bool)> {
    let (args, mut warnings) = config::normalize(std::env::args_os());
    let dir = config_dir(&args);
    let file = config::find_file(dir.as_deref())?;
    if let (Some(dir), None) = (&dir, &file) {
        warnings.push(format!("{} holds no halofs.toml", dir.display()));
    }
    let table = file.as_deref().map(config::read_file).transpose()?;
    let layers = file.as_deref().zip(table.as_ref());
    let mut command = Cli::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    let chosen = args
        .iter()
        .skip(1)
        .find_map(|a| names.iter().find(|n| a == n.as_str()))
        .cloned();
    let args = config::with_options(args, chosen.as_deref().unwrap_or_default())?;
    if let (Some(_), Some((path, table))) = (&chosen, layers) {
        warnings.extend(config::strays(&command, path, table));
    }
    if let Some(name) = &chosen {
        let mut found = Ok(Vec::new());
        command = command.mut_subcommand(name, |c| match config::layer(c.clone(), layers) {
            // As in Go, a flag that is given twice counts as it was given last.
            Ok((c, w)) => {
                found = Ok(w);
                c.args_override_self(true)
            }
            Err(e) => {
                found = Err(e);
                c
            }
        });
        warnings.extend(found?);
    }
    let matches = match command.try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => end_with(&error),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|e| anyhow::anyhow!("{e}"))?;
    let explicit = matches.subcommand().is_some_and(|(_, m)| {
        m.try_contains_id("main_port").unwrap_or(false)
            && (m.value_source("main_port") == Some(clap::parser::ValueSource::CommandLine)
                || m.get_one::<u16>("main_port") != Some(&MAIN_PORT))
    });
    Ok((cli, warnings, explicit))
}

/// Prints help or a mistake and ends the process, as clap does, but with flags the way they are written here.
#[expect(
    clippy::exit,
    reason = "nothing runs yet, and this is how clap itself ends for help and mistakes"
)]
fn end_with(error: &clap::Error) -> ! {
    let text = one_dash(&error.render().to_string());
    if error.use_stderr() {
        crate::cmd::complain(text.trim_end());
    } else {
        // Nobody is left to tell when this fails.
        let _ = crate::cmd::say(text.trim_end());
    }
    std::process::exit(error.exit_code())
}

/// Long flags with one dash; the `--` that ends the flags stays as it is.
fn one_dash(text: &str) -> String {
    text.replace(" --", " -")
        .replace("'-- ", "'\u{0} ")
        .replace("'--", "'-")
        .replace("'\u{0} ", "'-- ")
        .replace("[--", "[-")
}

/// The value of `-config_dir`, needed before clap runs because the file gives clap its defaults.
fn config_dir(args: &[OsString]) -> Option<PathBuf> {
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        match arg.to_string_lossy().strip_prefix("--config_dir") {
            Some("") => return rest.next().map(PathBuf::from),
            Some(value) => return value.strip_prefix('=').map(PathBuf::from),
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_flags_with_one_dash() {
        assert_eq!(
            one_dash("'--s3.port' [--x]  --dir"),
            "'-s3.port' [-x]  -dir"
        );
        assert_eq!(one_dash("use '-- -x'"), "use '-- -x'");
    }

    #[test]
    fn free_space_is_percent_or_bytes() {
        assert_eq!("".parse(), Ok(MinFree::Default));
        assert_eq!("7".parse(), Ok(MinFree::Percent(7)));
        assert_eq!(" 100 % ".parse(), Ok(MinFree::Percent(100)));
        assert_eq!("3 GiB".parse(), Ok(MinFree::Bytes(3 << 30)));
        for bad in ["101", "101%", "much", "7GB", "-1", "20000000TiB"] {
            assert!(bad.parse::<MinFree>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_are_checked_when_they_are_read() {
        let read = |flag: &str| {
            let mut cli = Cli::command();
            let words = ["halofs", "server", flag];
            cli.try_get_matches_from_mut(words)
                .map_err(|e| one_dash(&e.render().to_string()))
        };
        for good in [
            "--volumeSizeLimitMB=64",
            "--volumeSizeLimitMB=32768",
            "--log.level=warn,access=info",
            "--minFreeSpace=5%",
            "--main.port.alias=",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            "--volumeSizeLimitMB=63",
            "--volumeSizeLimitMB=32769",
            "--log.level=loud",
            "--minFreeSpace=200%",
            "--main.port.alias=x",
        ] {
            let said = read(bad).unwrap_err();
            let flag = bad.trim_start_matches('-').split('=').next().unwrap();
            assert!(said.contains(&format!("'-{flag} ")), "{said}");
        }
    }
}
