//! Why something could not be sealed or opened.

use halofs_types::{Advice, ErrorKind};

/// Why something could not be sealed or opened. Never carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes do not verify under this key and place.
    #[error("{0} does not verify")]
    Damaged(&'static str),
    /// A wrapped key does not open under the key at hand.
    #[error(
        "the data key does not open under key {kek_id}: another root key wrapped it, or it is damaged"
    )]
    WrongKey {
        /// The key that was tried.
        kek_id: String,
    },
    /// A value names a data key generation that is not loaded.
    #[error("sealed under data key generation {got}, loaded is {have}")]
    UnknownGeneration {
        /// What the value names.
        got: u16,
        /// What is loaded.
        have: u16,
    },
    /// A sealed value of a version that this build does not know.
    #[error("sealed value of version {0}; this build reads version 1")]
    Version(u8),
    /// The key file is not there.
    #[error(
        "the key file {0} does not exist; restore it from your backup, without it nothing sealed can be read"
    )]
    KeyMissing(String),
    /// The key file is there already and is never replaced.
    #[error("the key file {0} exists already and is never overwritten")]
    KeyExists(String),
    /// The key file's content or access rights are wrong.
    #[error("the key file {path}: {reason}")]
    KeyFile {
        /// Which file.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl SealError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged(_) | Self::UnknownGeneration { .. } => ErrorKind::Corrupt,
            Self::WrongKey { .. } | Self::KeyFile { .. } => ErrorKind::Denied,
            Self::Version(_) => ErrorKind::Unsupported,
            Self::KeyMissing(_) => ErrorKind::NotFound,
            Self::KeyExists(_) => ErrorKind::AlreadyExists,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Damaged(_) => Advice::RetryElsewhere,
            Self::WrongKey { .. }
            | Self::KeyFile { .. }
            | Self::KeyMissing(_)
            | Self::KeyExists(_)
            | Self::Version(_)
            | Self::UnknownGeneration { .. } => Advice::PageOperator,
        }
    }
}
