//! The trait. "To ensure correctness", an implementation keeps these laws:
//!
//! 1. A batch is one atomic write; its rows become readable only after they are durable, all at once.
//! 2. Checks are evaluated against every batch that was accepted before, in one order for all.
//! 3. Revisions grow: a row's revision is larger than that of every earlier batch, over restarts too.
//! 4. After a failed write the store stops: every later commit answers [`StoreError::Stopped`]. A full disk is the
//!    exception: it ends by itself.
//! 5. Values are opaque here and sealed on disk; keys are in the clear and ordered by their bytes.

use async_trait::async_trait;
use bytes::Bytes;
use halofs_types::{Advice, ErrorKind, Uuid};

/// A stored value and the revision of the batch that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Plain bytes.
    pub value: Bytes,
    /// See law 3.
    pub revision: u64,
}

/// What must hold when a batch is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// No such row.
    Absent(Bytes),
    /// The row is there, whatever its revision (a live lease).
    Exists(Bytes),
    /// The row is there and was written by the batch of this revision.
    At(Bytes, u64),
    /// No row in `from..to`.
    RangeEmpty(Bytes, Bytes),
}

/// One change of a batch. Later ones win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a row.
    Put(Bytes, Bytes),
    /// Removes a row; absent is fine.
    Delete(Bytes),
    /// Removes every row in `from..to`.
    DeleteRange(Bytes, Bytes),
}

/// Checks and changes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// All must hold.
    pub checks: Vec<Check>,
    /// All happen.
    pub ops: Vec<Op>,
    /// May use the space that is kept for deletes when the disk is full: set for batches that free space.
    pub frees: bool,
}

impl Batch {
    /// Adds a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put(key.into(), value.into()));
        self
    }

    /// Adds a removal.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Delete(key.into()));
        self
    }

    /// Adds a removal of every row in `from..to`.
    #[must_use]
    pub fn delete_range(mut self, from: impl Into<Bytes>, to: impl Into<Bytes>) -> Self {
        self.ops.push(Op::DeleteRange(from.into(), to.into()));
        self
    }

    /// Lets the batch use the space that is kept for deletes.
    #[must_use]
    pub fn frees(mut self) -> Self {
        self.frees = true;
        self
    }
}

/// Why the store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The check of this index did not hold; nothing was written.
    #[error("check {0} of the batch did not hold")]
    CheckFailed(usize),
    /// A value does not verify or the engine found rot.
    #[error("a stored row is damaged: {0}")]
    Damaged(String),
    /// The disk is full; reads go on.
    #[error("the store's disk is full: {0}")]
    Full(String),
    /// The disk filled up during the write: whether the batch stands is known after the next start only. Later batches
    /// are taken once there is space.
    #[error("the store's disk filled up during a write: {0}")]
    Uncertain(String),
    /// A write failed before, or the store is closed.
    #[error("the store stopped: {0}")]
    Stopped(String),
    /// It cannot be opened: wrong key, newer format, rot in the log.
    #[error("the store at {path} cannot be opened: {reason}")]
    Open {
        /// Its folder.
        path: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CheckFailed(_) => ErrorKind::Conflict,
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::Full(_) | Self::Uncertain(_) => ErrorKind::Exhausted,
            Self::Stopped(_) => ErrorKind::Fenced,
            Self::Open { .. } => ErrorKind::Unavailable,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::CheckFailed(_) => Advice::FixRequest,
            Self::Damaged(_)
            | Self::Full(_)
            | Self::Uncertain(_)
            | Self::Stopped(_)
            | Self::Open { .. } => Advice::PageOperator,
        }
    }
}

/// An ordered store. Reads are cheap and synchronous; commits are grouped and synced.
#[async_trait]
pub trait KvStore: Send + Sync + 'static {
    /// The store's random identity, made with it.
    fn store_uuid(&self) -> Uuid;
    /// One row.
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError>;
    /// Rows with `from <= key < to`, ascending, at most `limit`. An empty `to` is the end.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError>;
    /// Applies a batch and returns its revision after it is durable.
    async fn commit(&self, batch: Batch) -> Result<u64, StoreError>;
    /// Applies batches that were submitted together, each atomic on its own, in order, with as few syncs as one.
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<u64, StoreError>>;
    /// Whether the disk would still take batches that free nothing after others wrote `_bytes` more to it.
    fn room(&self, _bytes: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// Writes what is queued, refuses what comes later, and makes the next start quick. Its owner calls it last.
    async fn stop(&self) {}
}
