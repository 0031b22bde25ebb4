//! The one thread that writes. A group is what queued while the last one was synced; there is no timer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use halofs_runtime::Disk;
use parking_lot::{Condvar, Mutex};
use rocksdb::{DB, ReadOptions, WriteBatch, WriteOptions};
use tokio::sync::{mpsc, oneshot};

use super::{REVISION, damaged, split_row};
use crate::kv::{Check, StoreError};

/// Batches of one group.
const GROUP_BATCHES: usize = 1024;
/// Bytes of one group: a batch that is larger is a group of its own.
const GROUP_BYTES: usize = 8 << 20;
/// How often the log is synced when batches are not (decision 18).
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How RocksDB spells ENOSPC: its C interface has no other word for it.
const NO_SPACE: &str = "No space left on device";
/// Batches may not use this part of the reserve: RocksDB needs it to flush and compact.
const ENGINE_SHARE: u64 = 4;

pub(super) enum SealedOp {
    /// Key, and the row with room for its revision.
    Put(Bytes, Vec<u8>),
    Delete(Bytes),
    DeleteRange(Bytes, Bytes),
}

pub(super) struct Prepared {
    pub(super) checks: Vec<Check>,
    pub(super) ops: Vec<SealedOp>,
    pub(super) frees: bool,
    pub(super) bytes: usize,
}

/// Batches that were submitted together, and who waits for them.
pub(super) struct Job {
    pub(super) batches: Vec<Prepared>,
    pub(super) reply: oneshot::Sender<Vec<Result<u64, StoreError>>>,
}

#[derive(Default)]
struct Flags {
    stopped: Option<String>,
    closing: bool,
    unsynced: bool,
}

/// What the threads and the handle share.
#[derive(Default)]
pub(super) struct Shared {
    flags: Mutex<Flags>,
    changed: Condvar,
}

impl Shared {
    /// Why nothing is written any more.
    pub(super) fn stopped(&self) -> Option<String> {
        self.flags.lock().stopped.clone()
    }

    /// Ends the threads that wait for time.
    pub(super) fn close(&self) {
        self.flags.lock().closing = true;
        self.changed.notify_all();
    }

    fn stop(&self, why: String) {
        tracing::error!(
            reason = why,
            "the store stopped: nothing is written until it is opened again"
        );
        self.flags.lock().stopped.get_or_insert(why);
    }
}

/// Syncs the log every second when the committer does not.
pub(super) fn sync_now_and_then(db: &DB, shared: &Shared) {
    loop {
        let mut flags = shared.flags.lock();
        if flags.closing || flags.stopped.is_some() {
            return;
        }
        shared.changed.wait_for(&mut flags, SYNC_EVERY);
        let unsynced = std::mem::take(&mut flags.unsynced);
        drop(flags);
        if unsynced && let Err(e) = db.flush_wal(true) {
            return shared.stop(format!("the log could not be synced: {e}"));
        }
    }
}

pub(super) struct Committer {
    pub(super) db: Arc<DB>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) fsync: bool,
    pub(super) reserve: u64,
    pub(super) shared: Arc<Shared>,
}

impl Committer {
    /// Runs until every sender is gone.
    pub(super) fn run(&self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs: Vec<Job> = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let (mut batches, mut bytes) = (0, 0);
            let mut next = Some(first);
            while let Some(job) = next {
                batches += job.batches.len();
                bytes += job.batches.iter().map(|b| b.bytes).sum::<usize>();
                jobs.push(job);
                next = if batches < GROUP_BATCHES && bytes < GROUP_BYTES {
                    queue.try_recv().ok()
                } else {
                    None
                };
            }
            self.write_group(&mut jobs);
        }
    }

    /// Applies the group's batches in order, writes and syncs them as one, answers.
    fn write_group(&self, jobs: &mut Vec<Job>) {
        let stopped = self.shared.stopped();
        let free = self.disk.space(&self.path).map_or(u64::MAX, |s| s.free);
        let mut group = Group::new(&self.db);
        let mut answers: Vec<Vec<Result<u64, StoreError>>> = Vec::with_capacity(jobs.len());
        for job in jobs.iter_mut() {
            let apply = |batch: Prepared| match &stopped {
                Some(why) => Err(StoreError::Stopped(why.clone())),
                None => self.room(&batch, free).and_then(|()| group.apply(batch)),
            };
            answers.push(
                std::mem::take(&mut job.batches)
                    .into_iter()
                    .map(apply)
                    .collect(),
            );
        }
        if !group.writes.is_empty()
            && let Err(e) = self.write(group.writes)
        {
            let why = format!("a write failed: {e}");
            // RocksDB takes no write after that until it has space again, and then starts a new log; whether this group
            // would survive a crash before is not known, so that it is not answered as refused.
            let error = if why.contains(NO_SPACE) {
                StoreError::Uncertain(why)
            } else {
                self.shared.stop(why.clone());
                StoreError::Stopped(why)
            };
            for answer in answers.iter_mut().flatten().filter(|a| a.is_ok()) {
                *answer = Err(error.clone());
            }
        }
        for (job, answer) in jobs.drain(..).zip(answers) {
            // Whoever asked may be gone; the batch stands.
            let _gone = job.reply.send(answer);
        }
    }

    fn write(&self, writes: WriteBatch) -> Result<(), rocksdb::Error> {
        let mut options = WriteOptions::default();
        options.set_sync(self.fsync);
        self.db.write_opt(writes, &options)?;
        if !self.fsync {
            self.shared.flags.lock().unsynced = true;
        }
        Ok(())
    }

    fn room(&self, batch: &Prepared, free: u64) -> Result<(), StoreError> {
        let kept = if batch.frees {
            self.reserve / ENGINE_SHARE
        } else {
            self.reserve
        };
        enough(&self.path, free, kept)
    }
}

/// Whether a disk has so many bytes.
pub(super) fn room(disk: &dyn Disk, path: &Path, kept: u64) -> Result<(), StoreError> {
    // A disk that does not say is asked again by the write itself.
    let free = disk.space(path).map_or(u64::MAX, |s| s.free);
    enough(path, free, kept)
}

fn enough(path: &Path, free: u64, kept: u64) -> Result<(), StoreError> {
    if free >= kept {
        return Ok(());
    }
    Err(StoreError::Full(format!(
        "{} has {free} bytes free and {kept} are kept; free space",
        path.display()
    )))
}

/// The batches of a group that were accepted, as the next batch must see them.
struct Group<'a> {
    db: &'a DB,
    writes: WriteBatch,
    /// Sequence number that RocksDB gives to the first operation; each takes one.
    first: u64,
    /// Rows of the group: the revision, or `None` for removed.
    rows: BTreeMap<Bytes, Option<u64>>,
    ranges: Vec<(Bytes, Bytes)>,
}

impl<'a> Group<'a> {
    fn new(db: &'a DB) -> Self {
        let first = db.latest_sequence_number() + 1;
        Self {
            db,
            writes: WriteBatch::default(),
            first,
            rows: BTreeMap::new(),
            ranges: Vec::new(),
        }
    }

    fn apply(&mut self, batch: Prepared) -> Result<u64, StoreError> {
        for (i, check) in batch.checks.iter().enumerate() {
            if !self.holds(check)? {
                return Err(StoreError::CheckFailed(i));
            }
        }
        let revision = self.first + u64::try_from(self.writes.len()).unwrap_or(u64::MAX);
        for op in batch.ops {
            match op {
                SealedOp::Put(key, mut row) => {
                    if let Some(head) = row.first_chunk_mut::<REVISION>() {
                        *head = revision.to_le_bytes();
                    }
                    self.writes.put(&key, &row);
                    self.rows.insert(key, Some(revision));
                }
                SealedOp::Delete(key) => {
                    self.writes.delete(&key);
                    self.rows.insert(key, None);
                }
                SealedOp::DeleteRange(from, to) => self.delete_range(from, to)?,
            }
        }
        Ok(revision)
    }

    fn delete_range(&mut self, from: Bytes, to: Bytes) -> Result<(), StoreError> {
        // RocksDB knows no open end: what is there now is removed row by row.
        if to.is_empty() {
            let mut rows = self.db.raw_iterator();
            rows.seek(&from);
            while let Some(key) = rows.key() {
                self.writes.delete(key);
                rows.next();
            }
            rows.status().map_err(|e| damaged(&from, e.as_ref()))?;
        } else if from < to {
            self.writes.delete_range(&from, &to);
        } else {
            return Ok(());
        }
        let end = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to.clone())
        };
        for (key, row) in self.rows.range_mut((Bound::Included(from.clone()), end)) {
            if to.is_empty() {
                self.writes.delete(key);
            }
            *row = None;
        }
        self.ranges.push((from, to));
        Ok(())
    }

    fn holds(&self, check: &Check) -> Result<bool, StoreError> {
        Ok(match check {
            Check::Absent(key) => self.revision(key)?.is_none(),
            Check::Exists(key) => self.revision(key)?.is_some(),
            Check::At(key, revision) => self.revision(key)? == Some(*revision),
            Check::RangeEmpty(from, to) => self.range_empty(from, to)?,
        })
    }

    fn revision(&self, key: &Bytes) -> Result<Option<u64>, StoreError> {
        if let Some(row) = self.rows.get(key) {
            return Ok(*row);
        }
        if self.removed(key) {
            return Ok(None);
        }
        let stored = self
            .db
            .get_pinned(key)
            .map_err(|e| damaged(key, e.as_ref()))?;
        stored
            .map(|s| split_row(key, &s).map(|(revision, _)| revision))
            .transpose()
    }

    fn removed(&self, key: &[u8]) -> bool {
        self.ranges
            .iter()
            .any(|(from, to)| from[..] <= *key && (to.is_empty() || *key < to[..]))
    }

    fn range_empty(&self, from: &Bytes, to: &Bytes) -> Result<bool, StoreError> {
        if !to.is_empty() && from >= to {
            return Ok(true);
        }
        let end = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to.clone())
        };
        if self
            .rows
            .range((Bound::Included(from.clone()), end))
            .any(|(_, row)| row.is_some())
        {
            return Ok(false);
        }
        let mut options = ReadOptions::default();
        if !to.is_empty() {
            options.set_iterate_upper_bound(&to[..]);
        }
        let mut rows = self.db.raw_iterator_opt(options);
        rows.seek(from);
        while let Some(key) = rows.key() {
            if !self.rows.contains_key(key) && !self.removed(key) {
                return Ok(false);
            }
            rows.next();
        }
        rows.status().map_err(|e| damaged(from, e.as_ref()))?;
        Ok(true)
    }
}
