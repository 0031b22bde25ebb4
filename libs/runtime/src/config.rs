//! Settings: flags over environment over `halofs.toml` over defaults, all under one name each.
//!
//! A flag `-s3.port` of any command is `HALOFS_S3_PORT` in the environment and `port` under `[s3]` in the file; a flag
//! without a dot belongs to its command's section: `-dir` of `server` is `HALOFS_SERVER_DIR` and `[server] dir`.
//! The command line is Go's: `-name=value`, `-name value`, `--name…` the same, booleans only as `-name` or
//! `-name=true|false|1|0|t|f`, `--` ends the flags. No other module reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;

/// Flags of SeaweedFS scripts that have no meaning here and do no harm.
const IGNORED: &[&str] = &[
    "pulseSeconds",
    "cpuprofile",
    "memprofile",
    "raftHashicorp",
    "raftBootstrap",
    "idleTimeout",
    "metricsPort",
    "v",
    "vmodule",
    "logdir",
    "logtostderr",
    "alsologtostderr",
    "stderrthreshold",
    "master.telemetry",
];

/// Those of [`IGNORED`] that take no value.
const SWITCHES: &[&str] = &[
    "raftHashicorp",
    "raftBootstrap",
    "logtostderr",
    "alsologtostderr",
    "master.telemetry",
];

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {error}")]
    Syntax {
        /// Which file.
        path: String,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A value of the file is a table or list where a plain value belongs.
    #[error("{path}: {key} must be a plain value")]
    NotPlain {
        /// Which file.
        path: String,
        /// Which key.
        key: String,
    },
    /// A value of the environment or of the file is not what its flag takes.
    #[error("{from}={value}: {reason}")]
    Value {
        /// The variable, or the file with section and key.
        from: String,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder of `-config_dir` is not there.
    #[error("-config_dir={0} is not a folder")]
    NoFolder(String),
}

/// A line to print at start: an ignored flag or an unknown key of the file.
pub type Warning = String;

/// A value of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Turns Go's flag grammar into clap's: single dashes become double ones, harmless flags of others are dropped.
pub fn normalize(argv: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Vec<Warning>) {
    let (mut out, mut warnings) = (Vec::new(), Vec::new());
    let mut words = argv.into_iter();
    out.extend(words.next());
    let mut ended = false;
    while let Some(arg) = words.next() {
        let text = arg.to_string_lossy();
        if ended || !text.starts_with('-') || text == "-" {
            out.push(arg);
        } else if text == "--" {
            ended = true;
            out.push(arg);
        } else {
            let name = text.trim_start_matches('-');
            let bare = name.split('=').next().unwrap_or(name);
            if IGNORED.contains(&bare) {
                warnings.push(format!(
                    "flag -{bare} is accepted for old scripts and does nothing"
                ));
                if !name.contains('=') && !SWITCHES.contains(&bare) {
                    words.next();
                }
            } else if bare == "h" || bare == "V" {
                out.push(OsString::from(format!("-{name}")));
            } else {
                out.push(OsString::from(format!("--{name}")));
            }
        }
    }
    (out, warnings)
}

/// Puts the flags of the file that `-options=FILE` names (one `name=value` a line, `#` begins a comment) right after
/// the command, in front of all others, so that those of the command line win. `args` are normalised.
pub fn with_options(args: Vec<OsString>, command: &str) -> Result<Vec<OsString>, ConfigError> {
    let mut out: Vec<OsString> = Vec::new();
    let mut path = None;
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if let Some(value) = text.strip_prefix("--options=") {
            path = Some(PathBuf::from(value));
        } else if text == "--options" {
            path = words.next().map(PathBuf::from);
        } else {
            out.push(word);
        }
    }
    let Some(path) = path else { return Ok(out) };
    let text = std::fs::read_to_string(&path).map_err(|error| ConfigError::Read {
        path: path.display().to_string(),
        error,
    })?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let flags = lines.map(|l| OsString::from(format!("--{}", l.trim_start_matches('-'))));
    let at = out
        .iter()
        .position(|a| a == command)
        .map_or(out.len(), |i| i + 1);
    out.splice(at..at, flags);
    Ok(out)
}

/// Section and key of a flag of a command.
pub fn section<'a>(command: &'a str, flag: &'a str) -> (&'a str, &'a str) {
    match flag.split_once('.') {
        Some(("master", key)) => ("main", key),
        Some((section, key)) => (section, key),
        None => (command, flag),
    }
}

/// The environment variable of a flag.
pub fn variable(command: &str, flag: &str) -> String {
    let (section, key) = section(command, flag);
    format!("HALOFS_{section}_{key}")
        .replace(['.', '-'], "_")
        .to_uppercase()
}

/// The first `halofs.toml` of the search order: `dir` if given, which must be there, else `.`, `~/.halofs`,
/// `/usr/local/etc/halofs`, `/etc/halofs`.
pub fn find_file(dir: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let dirs = match dir {
        Some(d) if !d.is_dir() => return Err(ConfigError::NoFolder(d.display().to_string())),
        Some(d) => vec![d.to_path_buf()],
        None => [
            Some(PathBuf::from(".")),
            env("HOME").map(|h| PathBuf::from(h).join(".halofs")),
        ]
        .into_iter()
        .flatten()
        .chain(["/usr/local/etc/halofs", "/etc/halofs"].map(PathBuf::from))
        .collect(),
    };
    let found = dirs
        .into_iter()
        .map(|d| d.join("halofs.toml"))
        .find(|p| p.is_file());
    Ok(found)
}

/// Reads a settings file.
pub fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: shown.clone(),
        error,
    })?;
    text.parse::<toml::Table>()
        .map_err(|e| ConfigError::Syntax {
            path: shown,
            error: Box::new(e),
        })
}

/// Gives every flag of one command its environment variable and, where the file has one, its default from the file.
/// A value that its flag does not take is an error that names where it stands. Keys of the command's sections that name
/// no flag become warnings.
pub fn layer(
    command: Command,
    file: Option<(&Path, &toml::Table)>,
) -> Result<(Command, Vec<Warning>), ConfigError> {
    let name = command.get_name().to_owned();
    let known = settings(&command);
    let mut command = command;
    for setting in &known {
        if let Some((value, from)) = setting.given(&name, file)? {
            check(&command, &setting.flag, &value, from)?;
            command = command.mut_arg(&setting.id, |a| a.default_value(value));
        }
    }
    let mut warnings = Vec::new();
    if let Some((path, table)) = file {
        for (sec, value) in table {
            let mine: Vec<&Setting> = known
                .iter()
                .filter(|s| s.section == canonical(sec))
                .collect();
            for key in value.as_table().into_iter().flat_map(toml::Table::keys) {
                if !mine.is_empty() && !mine.iter().any(|s| s.key == *key) {
                    warnings.push(format!(
                        "{}: [{sec}] {key} is not a setting of {name}",
                        path.display()
                    ));
                }
            }
        }
    }
    Ok((command, warnings))
}

/// What of the file no command ever reads: keys above the first section, and sections that no command has.
pub fn strays(program: &Command, path: &Path, table: &toml::Table) -> Vec<Warning> {
    let known: Vec<Setting> = program.get_subcommands().flat_map(settings).collect();
    let shown = path.display();
    let mut warnings = Vec::new();
    for (key, value) in table {
        let section = canonical(key);
        if !value.is_table() {
            let hint = match known.iter().find(|s| s.key == *key) {
                Some(s) => format!("; write {key} under [{}]", s.section),
                None => String::new(),
            };
            warnings.push(format!(
                "{shown}: {key} above all sections is ignored{hint}"
            ));
        } else if !known.iter().any(|s| s.section == section) {
            warnings.push(format!("{shown}: no command has a section [{key}]"));
        }
    }
    warnings
}

/// A flag and its name in the file.
struct Setting {
    id: String,
    flag: String,
    section: String,
    key: String,
}

fn settings(command: &Command) -> Vec<Setting> {
    let flags = command
        .get_arguments()
        .filter_map(|a| Some((a.get_id(), a.get_long()?)));
    flags
        .map(|(id, flag)| {
            let (section, key) = section(command.get_name(), flag);
            Setting {
                id: id.to_string(),
                flag: flag.to_owned(),
                section: section.to_owned(),
                key: key.to_owned(),
            }
        })
        .collect()
}

impl Setting {
    /// The value of the environment, else of the file, and where it stands.
    fn given(
        &self,
        command: &str,
        file: Option<(&Path, &toml::Table)>,
    ) -> Result<Option<(String, String)>, ConfigError> {
        let variable = variable(command, &self.flag);
        let older = variable.replacen("HALOFS_", "WEED_", 1);
        for name in [variable, older] {
            if let Some(value) = env(&name) {
                return Ok(Some((value, name)));
            }
        }
        let Some((path, table)) = file else {
            return Ok(None);
        };
        for (sec, _) in table {
            if canonical(sec) == self.section
                && let Some(value) = plain(path, table, sec, &self.key)?
            {
                let from = format!("{}: [{sec}] {}", path.display(), self.key);
                return Ok(Some((value, from)));
            }
        }
        Ok(None)
    }
}

/// A section under its own name: `[master]` is `[main]`.
fn canonical(section: &str) -> &str {
    match section {
        "master" => "main",
        other => other,
    }
}

/// Whether a flag of the command takes a value; other mistakes are found when the whole command line is read.
fn check(command: &Command, flag: &str, value: &str, from: String) -> Result<(), ConfigError> {
    use clap::error::ErrorKind;
    let words = [command.get_name().to_owned(), format!("--{flag}={value}")];
    let Err(error) = command.clone().try_get_matches_from(words) else {
        return Ok(());
    };
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return Ok(());
    }
    let reason = match std::error::Error::source(&error) {
        Some(source) => source.to_string(),
        None => error
            .to_string()
            .lines()
            .map(str::trim)
            .find_map(|l| l.strip_prefix('[')?.strip_suffix(']'))
            .map_or_else(|| "not a value of this setting".to_owned(), str::to_owned),
    };
    Err(ConfigError::Value {
        from,
        value: value.to_owned(),
        reason,
    })
}

fn plain(
    path: &Path,
    table: &toml::Table,
    sec: &str,
    key: &str,
) -> Result<Option<String>, ConfigError> {
    let Some(value) = table.get(sec).and_then(|s| s.get(key)) else {
        return Ok(None);
    };
    match value {
        toml::Value::String(s) => Ok(Some(s.clone())),
        toml::Value::Integer(n) => Ok(Some(n.to_string())),
        toml::Value::Boolean(b) => Ok(Some(b.to_string())),
        toml::Value::Float(f) => Ok(Some(f.to_string())),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            Err(ConfigError::NotPlain {
                path: path.display().to_string(),
                key: format!("{sec}.{key}"),
            })
        }
    }
}

/// Parses a Go boolean; for clap's `value_parser`.
pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn command() -> Command {
        Command::new("server")
            .arg(Arg::new("dir").long("dir").default_value("here"))
            .arg(Arg::new("s3_port").long("s3.port").default_value("8333"))
            .arg(
                Arg::new("main_port")
                    .long("main.port")
                    .alias("master.port")
                    .default_value("9333"),
            )
            .arg(
                Arg::new("fsync")
                    .long("fsync")
                    .action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_value("true")
                    .value_parser(go_bool),
            )
    }

    fn parse(args: &[&str], file: Option<&toml::Table>) -> clap::ArgMatches {
        let (args, _) = normalize(
            std::iter::once("server")
                .chain(args.iter().copied())
                .map(OsString::from),
        );
        let (command, _) = layer(command(), file.map(|t| (Path::new("halofs.toml"), t))).unwrap();
        command.try_get_matches_from(args).unwrap()
    }

    #[test]
    fn go_grammar() {
        let m = parse(&["-dir=/a b", "-master.port", "1", "--fsync=false"], None);
        assert_eq!(m.get_one::<String>("dir").unwrap(), "/a b");
        assert_eq!(m.get_one::<String>("main_port").unwrap(), "1");
        assert!(!m.get_one::<bool>("fsync").unwrap());
        assert!(*parse(&["-fsync"], None).get_one::<bool>("fsync").unwrap());
        let (args, warnings) = normalize(
            [
                "x",
                "-pulseSeconds=5",
                "-cpuprofile",
                "f",
                "-raftHashicorp",
                "--",
                "-f",
            ]
            .map(OsString::from),
        );
        assert_eq!(args, ["x", "--", "-f"].map(OsString::from));
        assert_eq!(warnings.len(), 3);
    }

    #[test]
    fn an_options_file_comes_first_and_the_command_line_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "# comment\n\ns3.port=1\n-dir=there\nfsync=false\n";
        std::io::Write::write_all(&mut file.as_file(), text.as_bytes()).unwrap();
        let options = format!("-options={}", file.path().display());
        let words = ["halofs", "server", "-s3.port=2", &options].map(OsString::from);
        let args = with_options(normalize(words).0, "server").unwrap();
        let m = command()
            .args_override_self(true)
            .try_get_matches_from(args.into_iter().skip(1))
            .unwrap();
        assert_eq!(m.get_one::<String>("s3_port").unwrap(), "2");
        assert_eq!(m.get_one::<String>("dir").unwrap(), "there");
        assert!(!m.get_one::<bool>("fsync").unwrap());
        let gone = ["halofs", "server", "--options", "/does/not/exist"]
            .map(OsString::from)
            .to_vec();
        assert!(with_options(gone, "server").is_err());
    }

    #[test]
    fn file_gives_defaults_and_unknown_keys_warn() {
        let table: toml::Table = "[s3]\nport = 7\nprot = 8\n[server]\ndir = \"d\"\n[volume]\nx = 1"
            .parse()
            .unwrap();
        let m = parse(&["-dir=flag"], Some(&table));
        assert_eq!(m.get_one::<String>("s3_port").unwrap(), "7");
        assert_eq!(m.get_one::<String>("dir").unwrap(), "flag");
        let (_, warnings) = layer(command(), Some((Path::new("halofs.toml"), &table))).unwrap();
        assert_eq!(
            warnings,
            ["halofs.toml: [s3] prot is not a setting of server"]
        );
        assert_eq!(variable("server", "s3.domainName"), "HALOFS_S3_DOMAINNAME");
        assert_eq!(variable("server", "dir"), "HALOFS_SERVER_DIR");
    }

    #[test]
    fn what_no_command_reads_is_named() {
        let table: toml::Table =
            "dir = \"d\"\nfoo = 1\n[nosection]\nx = 1\n[master]\nport = 7\n[s3]\nport = 1"
                .parse()
                .unwrap();
        let program = Command::new("halofs").subcommand(command());
        assert_eq!(
            strays(&program, Path::new("halofs.toml"), &table),
            [
                "halofs.toml: dir above all sections is ignored; write dir under [server]",
                "halofs.toml: foo above all sections is ignored",
                "halofs.toml: no command has a section [nosection]",
            ]
        );
        let m = parse(&[], Some(&table));
        assert_eq!(m.get_one::<String>("main_port").unwrap(), "7");
    }

    #[test]
    fn a_bad_value_names_where_it_stands() {
        let table: toml::Table = "[server]\nfsync = \"maybe\"".parse().unwrap();
        let error = layer(command(), Some((Path::new("halofs.toml"), &table))).err();
        assert_eq!(
            error.unwrap().to_string(),
            "halofs.toml: [server] fsync=maybe: \"maybe\" is neither true nor false"
        );
        assert!(find_file(Some(Path::new("/does/not/exist"))).is_err());
    }
}
