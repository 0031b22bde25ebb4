//! One typed error per service. Each answers [`kind`](VolumeError::kind) for programs and
//! [`advice`](VolumeError::advice) for whoever has to act.

use std::time::Duration;

use halofs_types::{Advice, ErrorKind, FileId, VolumeId};

/// Why main could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterError {
    /// No volume of that number.
    #[error("volume id {0} not found")]
    UnknownVolume(VolumeId),
    /// The layout cannot grow; `detail` names the constraint and the numbers.
    #[error(
        "no writable volumes for collection {collection:?} with replication {placement}: {detail}"
    )]
    NoSpace {
        /// Which layout.
        collection: String,
        /// Which layout.
        placement: String,
        /// "001 needs 2 nodes in one rack; rack r1 has 1".
        detail: String,
    },
    /// The request breaks a limit or names what does not exist.
    #[error("{field}: {reason}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Asked for something that is not built yet.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No leader, or growth did not finish in time.
    #[error("main cannot answer yet: {0}")]
    Unavailable(String),
    /// Main's own storage failed.
    #[error("main's state could not be written: {0}")]
    Storage(String),
}

impl MasterError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownVolume(_) => ErrorKind::NotFound,
            Self::NoSpace { .. } => ErrorKind::Exhausted,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Storage(_) => ErrorKind::Internal,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::UnknownVolume(_) => Advice::GiveUp,
            Self::NoSpace { .. } | Self::Storage(_) => Advice::PageOperator,
            Self::Invalid { .. } | Self::Unsupported(_) => Advice::FixRequest,
            Self::Unavailable(_) => Advice::RetrySame(Duration::from_secs(1)),
        }
    }
}

/// Why a volume server could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// This server holds no such volume, or the caller may not see it.
    #[error("volume {0} is not on this server")]
    NoVolume(VolumeId),
    /// No live needle of that key and cookie.
    #[error("{0} not found")]
    NotFound(FileId),
    /// The key is there under another cookie.
    #[error("mismatching cookie of {0}")]
    WrongCookie(FileId),
    /// A filer volume has or had that key (`replication.md` 18).
    #[error("{0} exists already and filer volumes are create-only")]
    Exists(FileId),
    /// The copy holds another record than the caller knows.
    #[error("{0} is not the record that was committed")]
    Mismatch(FileId),
    /// Stored bytes do not verify.
    #[error("{fid} is damaged on this server: {what}")]
    Damaged {
        /// Which needle.
        fid: FileId,
        /// Which check failed.
        what: &'static str,
    },
    /// An fsync failed: no more writes until the volume was read whole from its disk at a restart.
    #[error("volume {0} is fenced: a sync of its file failed")]
    Fenced(VolumeId),
    /// Refuses writes for another reason.
    #[error("volume {volume} is read only: {reason}")]
    ReadOnly {
        /// Which.
        volume: VolumeId,
        /// Why.
        reason: &'static str,
    },
    /// The volume has its size: other keys of it take no more needles.
    #[error("volume {volume} has {size} bytes and its limit is {limit}: take a new fid")]
    AtLimit {
        /// Which.
        volume: VolumeId,
        /// Bytes of its log.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The hard watermark: deletes still work.
    #[error(
        "disk of {dir} is full: {free} bytes free, {reserve} are kept for deletes; free space or add a node"
    )]
    Full {
        /// The folder.
        dir: String,
        /// Free bytes.
        free: u64,
        /// Reserved bytes.
        reserve: u64,
    },
    /// Body or metadata over a limit.
    #[error("{what} has {got} bytes, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its bytes.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// The server stops.
    #[error("the volume server is stopping")]
    Stopping,
    /// A file operation failed.
    #[error("{op} of {path}: {error}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        error: String,
    },
    /// A volume file is of a newer format, of another cluster, or under another key.
    #[error("{path}: {reason}")]
    Refused {
        /// Which file.
        path: String,
        /// Why, with ids.
        reason: String,
    },
}

impl VolumeError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoVolume(_) | Self::NotFound(_) => ErrorKind::NotFound,
            Self::WrongCookie(_) => ErrorKind::Denied,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::Mismatch(_) | Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Fenced(_) => ErrorKind::Fenced,
            Self::ReadOnly { .. } | Self::AtLimit { .. } | Self::Stopping => ErrorKind::Unavailable,
            Self::Full { .. } => ErrorKind::Exhausted,
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Io { .. } => ErrorKind::Internal,
            Self::Refused { .. } => ErrorKind::Unsupported,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NoVolume(_)
            | Self::Exists(_)
            | Self::Mismatch(_)
            | Self::Damaged { .. }
            | Self::Fenced(_)
            | Self::ReadOnly { .. }
            | Self::AtLimit { .. }
            | Self::Full { .. }
            | Self::Stopping => Advice::RetryElsewhere,
            Self::NotFound(_) => Advice::GiveUp,
            Self::WrongCookie(_) | Self::TooLarge { .. } => Advice::FixRequest,
            Self::Io { .. } | Self::Refused { .. } => Advice::PageOperator,
        }
    }
}

/// Why the filer could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilerError {
    /// No such bucket.
    #[error("bucket {0} does not exist")]
    NoBucket(String),
    /// The name is taken.
    #[error("bucket {name} exists already")]
    BucketExists {
        /// Which.
        name: String,
        /// Its owner's id.
        owner: String,
    },
    /// It still has objects.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(String),
    /// No such object.
    #[error("the key does not exist")]
    NoKey,
    /// No such upload.
    #[error("upload {0} does not exist")]
    NoUpload(String),
    /// A part that Complete names is not there, or has another ETag.
    #[error("part {0} was not uploaded or has another ETag")]
    InvalidPart(u32),
    /// A condition failed on arrival, or against a finished write: 412.
    #[error("a precondition failed")]
    PreconditionFailed,
    /// A condition held on arrival and failed in the commit, or rows changed under it too often: 409.
    #[error("a concurrent write won")]
    Conflict,
    /// The lease that covers the chunks is gone: write again under new fids.
    #[error("the lease of the chunks is gone")]
    LeaseGone,
    /// The request breaks a limit.
    #[error("{field}: {reason}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A stored row does not verify or cannot be read.
    #[error("a row of the store is damaged: {0}")]
    Damaged(String),
    /// The disk is full: reads and deletes go on.
    #[error("the filer's disk is full: {0}")]
    Full(String),
    /// The store stopped after a failed write, or the filer is stopping.
    #[error("the filer does not answer: {0}")]
    Unavailable(String),
}

impl FilerError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBucket(_) | Self::NoKey | Self::NoUpload(_) => ErrorKind::NotFound,
            Self::BucketExists { .. } => ErrorKind::AlreadyExists,
            Self::BucketNotEmpty(_) | Self::Conflict | Self::LeaseGone => ErrorKind::Conflict,
            Self::InvalidPart(_) | Self::PreconditionFailed | Self::Invalid { .. } => {
                ErrorKind::Invalid
            }
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::Full(_) => ErrorKind::Exhausted,
            Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NoBucket(_) | Self::NoKey | Self::NoUpload(_) | Self::BucketExists { .. } => {
                Advice::GiveUp
            }
            Self::BucketNotEmpty(_)
            | Self::InvalidPart(_)
            | Self::PreconditionFailed
            | Self::Invalid { .. } => Advice::FixRequest,
            Self::Conflict | Self::LeaseGone => Advice::RetrySame(Duration::ZERO),
            Self::Damaged(_) | Self::Full(_) => Advice::PageOperator,
            Self::Unavailable(_) => Advice::RetrySame(Duration::from_secs(1)),
        }
    }
}

/// Why object bytes could not be written or read: the error of whichever service refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Main gave no fids.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// A volume refused.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The filer recorded no lease.
    #[error(transparent)]
    Filer(#[from] FilerError),
    /// This process stops.
    #[error("the server is stopping")]
    Stopping,
}

impl DataError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Master(e) => e.kind(),
            Self::Volume(e) => e.kind(),
            Self::Filer(e) => e.kind(),
            Self::Stopping => ErrorKind::Unavailable,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Master(e) => e.advice(),
            Self::Volume(e) => e.advice(),
            Self::Filer(e) => e.advice(),
            Self::Stopping => Advice::RetrySame(Duration::from_secs(1)),
        }
    }
}
