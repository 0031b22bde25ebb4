//! The credentials file that the first start makes: an AWS shared-credentials ini with one profile, `[halofs]`, mode
//! 0600, so that printed lines can name a profile and never show the secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halofs_runtime::disk::{self, Disk};
use halofs_runtime::rng::Rng;
use halofs_types::{Advice, ErrorKind};

use super::config::{self, ConfigError};
use super::identity::{Credential, Identities, Identity};

/// The profile's name.
pub const PROFILE: &str = "halofs";

/// Why identities could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// `-s3.config` is wrong.
    #[error("{path}: {error}")]
    Config {
        /// Which.
        path: PathBuf,
        /// Where in it, and why.
        error: ConfigError,
    },
    /// The credentials file is not what the first start wrote.
    #[error("{path}: {reason}")]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// `HALOFS_ACCESS_KEY` and `HALOFS_SECRET_KEY` do not fit.
    #[error("HALOFS_ACCESS_KEY: {0}")]
    Override(&'static str),
}

impl IdentityError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Internal,
            Self::Config { .. } | Self::Credentials { .. } | Self::Override(_) => {
                ErrorKind::Invalid
            }
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Io { .. } => Advice::PageOperator,
            Self::Config { .. } | Self::Credentials { .. } | Self::Override(_) => {
                Advice::FixRequest
            }
        }
    }
}

/// Where identities come from, in the order of precedence.
#[derive(Clone)]
pub struct IdentitySource {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// New credentials.
    pub rng: Arc<dyn Rng>,
    /// `HALOFS_ACCESS_KEY` and `HALOFS_SECRET_KEY`: an administrator, beside those of the file if there is one.
    pub keys: Option<Credential>,
    /// `-s3.config`.
    pub config_file: Option<PathBuf>,
    /// `<dir>/credentials`: used, and made, when neither of the others is given.
    pub credentials_file: PathBuf,
}

impl IdentitySource {
    /// Reads everything again. Unlike at a start, a credentials file that is gone is an error.
    pub fn reload(&self) -> Result<Identities, IdentityError> {
        match self.credentials_in_use() {
            Some(path) if !self.disk.exists(path).map_err(|e| io(path, &e))? => {
                Err(io(path, &std::io::ErrorKind::NotFound.into()))
            }
            Some(_) | None => self.load(),
        }
    }

    /// Reads everything; makes the credentials file if it is what counts and is not there.
    pub fn load(&self) -> Result<Identities, IdentityError> {
        if let Some(keys) = &self.keys {
            config::check_access_key(&keys.access_key).map_err(IdentityError::Override)?;
            if keys.secret_key.is_empty() {
                return Err(IdentityError::Override("HALOFS_SECRET_KEY is empty"));
            }
        }
        match (&self.config_file, &self.keys) {
            (Some(path), keys) => {
                let text = disk::read_all(self.disk.as_ref(), path).map_err(|e| io(path, &e))?;
                let mut all = config::parse(&text).map_err(|error| IdentityError::Config {
                    path: path.clone(),
                    error,
                })?;
                if let Some(keys) = keys
                    && !all.insert(keys.clone(), Arc::new(Identity::admin(PROFILE)))
                {
                    return Err(IdentityError::Override(
                        "this access key is also in the file of -s3.config",
                    ));
                }
                Ok(all)
            }
            (None, Some(keys)) => Ok(Identities::single(keys.clone())),
            (None, None) => Ok(Identities::single(self.own_credential()?)),
        }
    }

    /// The credentials file, when it is what counts.
    pub fn credentials_in_use(&self) -> Option<&Path> {
        match (&self.config_file, &self.keys) {
            (None, None) => Some(&self.credentials_file),
            (Some(_), _) | (None, Some(_)) => None,
        }
    }

    fn own_credential(&self) -> Result<Credential, IdentityError> {
        let path = &self.credentials_file;
        if self.disk.exists(path).map_err(|e| io(path, &e))? {
            let text = disk::read_all(self.disk.as_ref(), path).map_err(|e| io(path, &e))?;
            return parse_ini(&text).map_err(|reason| IdentityError::Credentials {
                path: path.clone(),
                reason,
            });
        }
        let credential = random(self.rng.as_ref());
        disk::replace(self.disk.as_ref(), path, ini(&credential).as_bytes(), true)
            .map_err(|e| io(path, &e))?;
        Ok(credential)
    }
}

fn io(path: &Path, e: &std::io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.to_owned(),
        error: e.to_string(),
    }
}

/// 100 random bits of name, 200 of secret: as long as AWS's, which clients expect.
fn random(rng: &dyn Rng) -> Credential {
    const NAME: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const SECRET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 60];
    rng.fill(&mut bytes);
    let (name, secret) = bytes.split_at(20);
    let pick = |set: &[u8], b: &u8| {
        char::from(
            set.get(usize::from(*b) % set.len())
                .copied()
                .unwrap_or(b'A'),
        )
    };
    Credential {
        access_key: name.iter().map(|b| pick(NAME, b)).collect(),
        secret_key: secret.iter().map(|b| pick(SECRET, b)).collect(),
    }
}

fn ini(c: &Credential) -> String {
    format!(
        "[{PROFILE}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        c.access_key, c.secret_key
    )
}

fn parse_ini(text: &[u8]) -> Result<Credential, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8")?;
    let (mut inside, mut access_key, mut secret_key) = (false, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = section.trim() == PROFILE;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            match name.trim() {
                "aws_access_key_id" => access_key = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret_key = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) if !secret_key.is_empty() => {
            config::check_access_key(&access_key)?;
            Ok(Credential {
                access_key,
                secret_key,
            })
        }
        _ => Err("expected the section [halofs] with aws_access_key_id and aws_secret_access_key"),
    }
}

#[cfg(test)]
mod tests {
    use halofs_runtime::disk::{Open, RealDisk};
    use halofs_runtime::rng::SeededRng;

    use super::*;

    fn source(dir: &Path) -> IdentitySource {
        IdentitySource {
            disk: Arc::new(RealDisk),
            rng: Arc::new(SeededRng::new(7)),
            keys: None,
            config_file: None,
            credentials_file: dir.join("credentials"),
        }
    }

    #[test]
    fn the_first_start_writes_what_the_next_one_reads() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path());
        let first = source.load().unwrap();
        let (mode, _) = RealDisk.mode_owner(&source.credentials_file).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        let text = disk::read_all(&RealDisk, &source.credentials_file).unwrap();
        let credential = parse_ini(&text).unwrap();
        assert_eq!(
            (credential.access_key.len(), credential.secret_key.len()),
            (20, 40)
        );
        let again = IdentitySource {
            rng: Arc::new(SeededRng::new(8)),
            ..source
        }
        .load()
        .unwrap();
        let gone = IdentitySource {
            credentials_file: dir.path().join("gone"),
            ..self::source(dir.path())
        };
        assert!(gone.reload().is_err() && !RealDisk.exists(&gone.credentials_file).unwrap());
        for all in [&first, &again] {
            assert_eq!(all.find(&credential.access_key).unwrap().0, &credential);
        }
    }

    #[test]
    fn keys_of_the_environment_win_and_write_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Credential {
            access_key: "AK".into(),
            secret_key: "SK".into(),
        };
        let source = IdentitySource {
            keys: Some(keys),
            ..source(dir.path())
        };
        assert_eq!(
            source.load().unwrap().find("AK").unwrap().0.secret_key,
            "SK"
        );
        assert!(!RealDisk.exists(&source.credentials_file).unwrap());
        let bad = Credential {
            access_key: "A/K".into(),
            secret_key: "SK".into(),
        };
        assert!(
            IdentitySource {
                keys: Some(bad),
                ..source
            }
            .load()
            .is_err()
        );
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path());
        let file = RealDisk
            .open(&source.credentials_file, Open::CreateNew)
            .unwrap();
        file.write_at(
            &[std::io::IoSlice::new(b"[default]\naws_access_key_id = x\n")],
            0,
        )
        .unwrap();
        let said = source.load().unwrap_err().to_string();
        assert!(
            said.contains("credentials: expected the section [halofs]"),
            "{said}"
        );
        let config = IdentitySource {
            config_file: Some(dir.path().join("none.json")),
            ..source
        };
        assert!(config.load().unwrap_err().to_string().contains("none.json"));
    }
}
