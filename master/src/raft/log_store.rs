//! The Raft log and vote in the key-value store (format 1, JSON values).
//!
//! | key | value |
//! |---|---|
//! | `raft/vote` | the vote |
//! | `raft/purged` | the last log id that was purged |
//! | `raft/log/<index, 8 bytes BE>` | an entry |
//!
//! Invariants: (1) a vote or entry is acknowledged to openraft after `commit` returned, so after its sync; (2) entries
//! have no holes; (3) purge writes `raft/purged` in the same batch that removes the entries.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use halofs_store::{Batch, Op};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError, Vote};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::rows::Rows;
use super::types::{Entry, LogId, NodeId, RaftStorageError, TypeConfig};

const VOTE: &[u8] = b"raft/vote";
const PURGED: &[u8] = b"raft/purged";
const LOG: &[u8] = b"raft/log/";
/// Entries read at once.
const PAGE: usize = 1024;

/// A handle on the log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    rows: Rows,
    /// The newest entry's id, and the newest purged one's.
    ends: Arc<Mutex<LogState<TypeConfig>>>,
}

/// The key of an entry.
fn entry_key(index: u64) -> Vec<u8> {
    [LOG, &index.to_be_bytes()].concat()
}

/// The first key after all entries.
fn log_end() -> Vec<u8> {
    let mut end = entry_key(u64::MAX);
    end.push(0);
    end
}

pub(super) fn read_error(e: impl Into<AnyError>) -> RaftStorageError {
    StorageIOError::read(e).into()
}

pub(super) fn write_error(e: impl Into<AnyError>) -> RaftStorageError {
    StorageIOError::write(e).into()
}

pub(super) fn any<E: std::error::Error + 'static>(e: &E) -> AnyError {
    AnyError::new(e)
}

/// Reads a row, if it is there.
pub(super) fn get<T: DeserializeOwned>(
    rows: &Rows,
    key: &[u8],
) -> Result<Option<T>, RaftStorageError> {
    let Some(row) = rows.get(key).map_err(|e| read_error(any(&e)))? else {
        return Ok(None);
    };
    serde_json::from_slice(&row.value)
        .map(Some)
        .map_err(|e| read_error(any(&e)))
}

pub(super) fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, RaftStorageError> {
    serde_json::to_vec(value).map_err(|e| write_error(any(&e)))
}

impl LogStore {
    /// Finds the ends of the log.
    pub(crate) fn open(rows: Rows) -> Result<Self, RaftStorageError> {
        let last_purged_log_id = get::<LogId>(&rows, PURGED)?;
        let log = Self {
            rows,
            ends: Arc::default(),
        };
        let mut last_log_id = last_purged_log_id;
        let mut from = 0;
        loop {
            let page = log.read(from, u64::MAX)?;
            let Some(last) = page.last() else { break };
            last_log_id = Some(last.log_id);
            from = last.log_id.index.saturating_add(1);
        }
        *log.ends.lock() = LogState {
            last_purged_log_id,
            last_log_id,
        };
        Ok(log)
    }

    /// At most a page of entries with indices in `from..to`.
    fn read(&self, from: u64, to: u64) -> Result<Vec<Entry>, RaftStorageError> {
        let end = if to == u64::MAX {
            log_end()
        } else {
            entry_key(to)
        };
        let rows = self
            .rows
            .scan(&entry_key(from), &end, PAGE)
            .map_err(|e| read_error(any(&e)))?;
        rows.iter()
            .map(|(_, row)| serde_json::from_slice(&row.value).map_err(|e| read_error(any(&e))))
            .collect()
    }

    async fn write(&self, batch: Batch) -> Result<(), RaftStorageError> {
        self.rows
            .write(batch)
            .await
            .map_err(|e| write_error(any(&e)))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, RaftStorageError> {
        let mut from = match range.start_bound() {
            Bound::Included(i) => *i,
            Bound::Excluded(i) => i.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(i) => i.saturating_add(1),
            Bound::Excluded(i) => *i,
            Bound::Unbounded => u64::MAX,
        };
        let mut all = Vec::new();
        while from < to {
            let page = self.read(from, to)?;
            let Some(last) = page.last() else { break };
            from = last.log_id.index.saturating_add(1);
            all.extend(page);
        }
        Ok(all)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, RaftStorageError> {
        Ok(self.ends.lock().clone())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), RaftStorageError> {
        self.write(Batch::default().put(VOTE, encode(vote)?)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, RaftStorageError> {
        get(&self.rows, VOTE)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = Batch::default();
        let mut last = None;
        for entry in entries {
            batch = batch.put(entry_key(entry.log_id.index), encode(&entry)?);
            last = Some(entry.log_id);
        }
        if let Err(e) = self.write(batch).await {
            callback.log_io_completed(Err(std::io::Error::other(e.to_string())));
            return Err(e);
        }
        if last.is_some() {
            self.ends.lock().last_log_id = last;
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), RaftStorageError> {
        let mut batch = Batch::default();
        batch.ops.push(Op::DeleteRange(
            entry_key(log_id.index).into(),
            log_end().into(),
        ));
        self.write(batch).await?;
        let last = match log_id.index.checked_sub(1) {
            Some(before) => self.read(before, log_id.index)?.last().map(|e| e.log_id),
            None => None,
        };
        let mut ends = self.ends.lock();
        ends.last_log_id = last.or(ends.last_purged_log_id);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), RaftStorageError> {
        let mut batch = Batch::default().put(PURGED, encode(&log_id)?);
        batch.ops.push(Op::DeleteRange(
            entry_key(0).into(),
            entry_key(log_id.index.saturating_add(1)).into(),
        ));
        self.write(batch).await?;
        let mut ends = self.ends.lock();
        ends.last_purged_log_id = Some(log_id);
        ends.last_log_id = ends.last_log_id.max(Some(log_id));
        Ok(())
    }
}
