//! The store on RocksDB. RocksDB does its own file I/O: the one exception to the rule that files are touched through
//! `Disk` only; its log is read through `Disk` before it is opened ([`crate::wal`]).
//!
//! Column family `default`, one row per key:
//!
//! | off | len | field |
//! |---|---|---|
//! | 0 | 8 | revision, u64 little endian |
//! | 8 | n | the value, sealed as `halofs_seal::value` says; its AAD holds the row's key |
//!
//! Column family `meta`, in the clear, written once when the store is made:
//!
//! | row | value |
//! |---|---|
//! | `meta/format` | u32 little endian: 1 |
//! | `meta/cluster` | cluster uuid, 16 bytes |
//! | `meta/store` | store uuid, 16 bytes |
//! | `meta/dek/1` | length of kek_id, 1 byte ‖ kek_id ‖ wrapped data key |
//!
//! Revisions are RocksDB's sequence numbers: the committer is the only writer, so that the next number is known before
//! the write, and RocksDB keeps the last one over restarts.
//!
//! Invariants: (1) one committer thread writes; (2) a batch is answered after the sync of the log that holds it, and
//! RocksDB inserts into the memtable after that sync, so that no reader sees what is not durable; (3) after an error of
//! a write nothing is written any more until the store is opened again, a full disk excepted: RocksDB refuses every
//! write until it has space, flushes what it holds and begins a new log; (4) below `reserve_bytes` of free space only
//! batches that free space are written, below a quarter of it none: RocksDB itself never meets a full disk while other
//! processes leave it that much. What (4) refuses is answered as full and was not written; what failed in (3) may come
//! back after a crash.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_runtime::{Disk, Rng};
use halofs_seal::{KeyProvider, ValueSealer};
use halofs_types::Uuid;
use parking_lot::Mutex;
use rocksdb::{DB, ReadOptions};
use tokio::sync::{mpsc, oneshot};

use crate::kv::{Batch, KvStore, Op, Row, StoreError};

mod committer;
pub mod inspect;
mod open;

use committer::{Committer, Job, Prepared, SealedOp, Shared};

/// Where and how.
#[derive(Debug, Clone)]
pub struct RocksConfig {
    /// The folder; made when absent.
    pub path: PathBuf,
    /// The cluster that the sealed values belong to.
    pub cluster: Uuid,
    /// Sync the log before a batch is answered. Without it the log is synced every second (decision 18).
    pub fsync: bool,
    /// Free bytes of the disk that are kept for deletes.
    pub reserve_bytes: u64,
    /// Bytes of one write buffer; two at most are in memory.
    pub write_buffer_bytes: usize,
    /// Bytes of the block cache, index and filter blocks included.
    pub block_cache_bytes: usize,
}

impl RocksConfig {
    /// Durable, small.
    pub fn new(path: impl Into<PathBuf>, cluster: Uuid) -> Self {
        Self {
            path: path.into(),
            cluster,
            fsync: true,
            reserve_bytes: 64 << 20,
            write_buffer_bytes: 16 << 20,
            block_cache_bytes: 24 << 20,
        }
    }
}

/// What a store needs of its process.
#[derive(Clone)]
pub struct RocksDeps {
    /// Wraps the store's data key.
    pub keys: Arc<dyn KeyProvider>,
    /// For the check of the log and for free space.
    pub disk: Arc<dyn Disk>,
    /// Salts and ids.
    pub rng: Arc<dyn Rng>,
}

/// Revision in front of every value.
const REVISION: usize = 8;
/// Jobs that wait for the committer.
const QUEUE: usize = 1024;

/// An open store.
pub struct RocksStore {
    db: Arc<DB>,
    sealer: ValueSealer,
    rng: Arc<dyn Rng>,
    uuid: Uuid,
    path: String,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    reserve: u64,
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl RocksStore {
    /// Opens or makes a store. Blocks: it reads the log.
    ///
    /// The log is checked first, then the key; nothing is written under a wrong key.
    pub fn open(config: RocksConfig, deps: RocksDeps) -> Result<Arc<Self>, StoreError> {
        let opened = open::open(&config, &deps)?;
        let db = Arc::new(opened.db);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let path = config.path.display().to_string();
        let (folder, reserve) = (config.path.clone(), config.reserve_bytes);
        let committer = Committer {
            db: Arc::clone(&db),
            disk: Arc::clone(&deps.disk),
            path: config.path,
            fsync: config.fsync,
            reserve: config.reserve_bytes,
            shared: Arc::clone(&shared),
        };
        let failed = |e: std::io::Error| StoreError::Open {
            path: path.clone(),
            reason: e.to_string(),
        };
        let mut threads = vec![
            std::thread::Builder::new()
                .name("store-commit".to_owned())
                .spawn(move || committer.run(receiver))
                .map_err(failed)?,
        ];
        if !config.fsync {
            let (db, shared) = (Arc::clone(&db), Arc::clone(&shared));
            let syncer = std::thread::Builder::new().name("store-sync".to_owned());
            threads.push(
                syncer
                    .spawn(move || committer::sync_now_and_then(&db, &shared))
                    .map_err(failed)?,
            );
        }
        Ok(Arc::new(Self {
            db,
            sealer: opened.sealer,
            rng: deps.rng,
            uuid: opened.uuid,
            path,
            folder,
            disk: deps.disk,
            reserve,
            shared,
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        }))
    }

    /// Bytes that RocksDB holds in memory: write buffers, tables, cache.
    pub fn memory_bytes(&self) -> u64 {
        [
            "rocksdb.cur-size-all-mem-tables",
            "rocksdb.estimate-table-readers-mem",
            "rocksdb.block-cache-usage",
        ]
        .iter()
        .filter_map(|p| self.db.property_int_value(*p).ok().flatten())
        .sum()
    }

    fn prepare(&self, batch: Batch) -> Prepared {
        let mut bytes = 0;
        let ops = batch.ops.into_iter().map(|op| match op {
            Op::Put(key, value) => {
                let sealed = self.sealer.seal(self.rng.as_ref(), &key, &value);
                let mut row = Vec::with_capacity(REVISION + sealed.len());
                row.extend_from_slice(&[0; REVISION]);
                row.extend_from_slice(&sealed);
                bytes += key.len() + row.len();
                SealedOp::Put(key, row)
            }
            Op::Delete(key) => {
                bytes += key.len();
                SealedOp::Delete(key)
            }
            Op::DeleteRange(from, to) => {
                bytes += from.len() + to.len();
                SealedOp::DeleteRange(from, to)
            }
        });
        let ops = ops.collect();
        Prepared {
            checks: batch.checks,
            ops,
            frees: batch.frees,
            bytes,
        }
    }

    fn open_row(&self, key: &[u8], stored: &[u8]) -> Result<Row, StoreError> {
        let (revision, sealed) = split_row(key, stored)?;
        let value = self
            .sealer
            .open(key, sealed)
            .map_err(|e| damaged(key, &e.to_string()))?;
        Ok(Row {
            value: Bytes::from(value),
            revision,
        })
    }

    async fn submit(
        &self,
        batches: Vec<Prepared>,
    ) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let closed = || {
            StoreError::Stopped(
                self.shared
                    .stopped()
                    .unwrap_or_else(|| "it is closed".to_owned()),
            )
        };
        let queue = self.queue.lock().clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        queue
            .send(Job { batches, reply })
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}

fn damaged(key: &[u8], what: &str) -> StoreError {
    // Keys name objects; the start tells an operator which kind of row it is.
    let kind = key.split(|b| *b == b'/').next().unwrap_or_default();
    StoreError::Damaged(format!("{}/…: {what}", String::from_utf8_lossy(kind)))
}

fn split_row<'a>(key: &[u8], stored: &'a [u8]) -> Result<(u64, &'a [u8]), StoreError> {
    let (revision, sealed) = stored
        .split_first_chunk::<REVISION>()
        .ok_or_else(|| damaged(key, "its value is too short"))?;
    Ok((u64::from_le_bytes(*revision), sealed))
}

impl Drop for RocksStore {
    /// Waits for the threads, so that the folder can be opened again. Nothing is flushed: see [`KvStore::stop`].
    fn drop(&mut self) {
        *self.queue.lock() = None;
        self.shared.close();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!(store = self.path, "a thread of the store panicked");
            }
        }
    }
}

#[async_trait]
impl KvStore for RocksStore {
    fn store_uuid(&self) -> Uuid {
        self.uuid
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let found = self
            .db
            .get_pinned(key)
            .map_err(|e| damaged(key, e.as_ref()))?;
        found.map(|stored| self.open_row(key, &stored)).transpose()
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError> {
        let mut rows = Vec::with_capacity(limit.min(1024));
        if limit == 0 || (!to.is_empty() && from >= to) {
            return Ok(rows);
        }
        let mut options = ReadOptions::default();
        if !to.is_empty() {
            options.set_iterate_upper_bound(to);
        }
        let mut rows_left = self.db.raw_iterator_opt(options);
        rows_left.seek(from);
        while let Some((key, stored)) = rows_left.item() {
            rows.push((Bytes::copy_from_slice(key), self.open_row(key, stored)?));
            if rows.len() == limit {
                return Ok(rows);
            }
            rows_left.next();
        }
        rows_left.status().map_err(|e| damaged(from, e.as_ref()))?;
        Ok(rows)
    }

    /// Flushes, so that the next start has no log to read.
    async fn stop(&self) {
        *self.queue.lock() = None;
        self.shared.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let (db, shared, path) = (
            Arc::clone(&self.db),
            Arc::clone(&self.shared),
            self.path.clone(),
        );
        let done = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!(store = path, "a thread of the store panicked");
                }
            }
            if shared.stopped().is_some() {
                return;
            }
            if let Err(e) = db.flush_wal(true).and_then(|()| db.flush()) {
                tracing::warn!(store = path, error = %e, "the store could not be flushed; its log will be read at the next start");
            }
        });
        if let Err(e) = done.await {
            tracing::error!(store = self.path, error = %e, "stopping the store failed");
        }
    }

    fn room(&self, bytes: u64) -> Result<(), StoreError> {
        committer::room(
            self.disk.as_ref(),
            &self.folder,
            self.reserve.saturating_add(bytes),
        )
    }

    async fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        let mut answers = self.submit(vec![self.prepare(batch)]).await?;
        answers.pop().unwrap_or_else(|| {
            Err(StoreError::Stopped(
                "the committer gave no answer".to_owned(),
            ))
        })
    }

    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<u64, StoreError>> {
        let count = batches.len();
        if count == 0 {
            return Vec::new();
        }
        let prepared = batches.into_iter().map(|b| self.prepare(b)).collect();
        self.submit(prepared)
            .await
            .unwrap_or_else(|e| vec![Err(e); count])
    }
}
