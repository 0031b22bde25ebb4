//! The filer's core: what every operation shares. The operations stand in the modules below.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::Committed;
use halofs_client::volume::VolumeApi;
use halofs_proto::filer as pb;
use halofs_runtime::{Clock, Rng};
use halofs_store::{Batch, Check, KvStore, Row, StoreError};
use halofs_types::limits::KEY_BYTES_MAX;
use halofs_types::object::{Bucket, ChunkRef};
use halofs_types::{AttemptId, BucketId, FileId, LeaseId, Timestamp};
use parking_lot::Mutex;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::config::{Deps, FilerConfig, nanos};
use crate::metrics::{Counters, FilerMetrics};
use crate::time::FilerTime;
use crate::{background, key, model};

mod api;
mod bucket;
pub(crate) mod lease;
mod list;
mod object;
mod upload;

use bucket::BucketCache;

/// How often a commit is decided anew after another one won, before it answers `Conflict`.
pub(crate) const ROUNDS: usize = 200;
/// Recorded answers whose end is known in memory; more are found by a scan.
pub(crate) const DONES_KNOWN: usize = 1 << 20;

/// The filer.
pub struct Filer {
    pub(crate) config: FilerConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: FilerTime,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) store: Arc<dyn KvStore>,
    pub(crate) volumes: Arc<dyn VolumeApi>,
    pub(crate) buckets: BucketCache,
    /// Live leases and the monotonic time of their last renewal.
    pub(crate) leases: Mutex<HashMap<LeaseId, u64>>,
    pub(crate) dones: Mutex<Dones>,
    pub(crate) counters: Counters,
    pub(crate) pressed: AtomicBool,
    pub(crate) cancel: CancellationToken,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// Ends of recorded answers, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Dones {
    pub(crate) ends: VecDeque<(u64, AttemptId)>,
    /// Some ends are not known: a scan finds them.
    pub(crate) scan: bool,
}

impl Filer {
    /// Starts the filer on its store. Leases of earlier incarnations are dead from here on; the collectors run until
    /// [`Filer::stop`].
    pub async fn open(config: FilerConfig, deps: Deps) -> Result<Arc<Self>, FilerError> {
        let time = FilerTime::open(deps.store.as_ref(), deps.clock.as_ref())?;
        let filer = Arc::new(Self {
            config,
            clock: deps.clock,
            time,
            rng: deps.rng,
            store: deps.store,
            volumes: deps.volumes,
            buckets: BucketCache::default(),
            leases: Mutex::default(),
            dones: Mutex::new(Dones {
                ends: VecDeque::new(),
                scan: true,
            }),
            counters: Counters::default(),
            pressed: AtomicBool::new(false),
            cancel: CancellationToken::new(),
            tasks: Mutex::default(),
        });
        filer.end_leases_of_earlier_incarnations().await?;
        filer.check_restored().await?;
        // What the stop counted for is recorded at once: a crash in the next minutes does not take it back.
        filer.run_clock_once().await?;
        *filer.tasks.lock() = background::start(&filer);
        Ok(filer)
    }

    /// Ends the collectors. The store is stopped by its owner, afterwards.
    pub async fn stop(&self) {
        self.cancel.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(e) = task.await {
                tracing::error!(error = %e, "a collector of the filer failed");
            }
        }
        if let Err(e) = self.run_clock_once().await {
            tracing::warn!(error = %e, "the filer's time was not recorded at the stop");
        }
    }

    /// Under space pressure garbage is deleted after a minute.
    pub fn set_space_pressure(&self, pressed: bool) {
        self.pressed.store(pressed, Ordering::Relaxed);
    }

    /// A copy of the counters.
    pub fn metrics(&self) -> FilerMetrics {
        self.counters.snapshot()
    }

    pub(crate) fn get(&self, row: &[u8]) -> Result<Option<Row>, FilerError> {
        self.store.get(row).map_err(store_error)
    }

    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, FilerError> {
        self.store.scan(from, to, limit).map_err(store_error)
    }

    /// Commits. `None`: a check failed, the decision has to be made anew.
    pub(crate) async fn commit(&self, plan: Plan) -> Result<Option<u64>, FilerError> {
        let (queued, bytes) = (plan.queued, plan.queued_bytes);
        match self.store.commit(plan.batch).await {
            Ok(revision) => {
                Counters::add(&self.counters.gc_queue, queued);
                Counters::add(&self.counters.gc_bytes, bytes);
                Ok(Some(revision))
            }
            Err(StoreError::CheckFailed(_)) => Ok(None),
            Err(e) => Err(store_error(e)),
        }
    }

    /// The time at which what is queued now may be deleted.
    pub(crate) fn ripe(&self) -> Timestamp {
        Timestamp(self.now().0.saturating_add(nanos(self.config.gc_ripe)))
    }

    /// What the commit of this attempt answered.
    fn done(&self, attempt: AttemptId) -> Result<Option<Committed>, FilerError> {
        let Some(row) = self.get(&key::done(attempt))? else {
            return Ok(None);
        };
        let done: pb::Done = model::decode(&row.value, "a recorded answer")?;
        Ok(Some(Committed {
            modified: Timestamp(done.modified_ns),
            etag: done.etag,
        }))
    }

    /// Adds the recorded answer to a commit; the attempt must be new. Its end is remembered at once: whoever commits may
    /// go away before the answer, and the end of a row that never came does no harm.
    fn record_done(
        &self,
        plan: &mut Plan,
        attempt: AttemptId,
        answer: &Committed,
        of: Option<(BucketId, &[u8])>,
    ) {
        let done = pb::Done {
            at_ns: self.now().0,
            modified_ns: answer.modified.0,
            etag: answer.etag.clone(),
            bucket: of.map_or(0, |(b, _)| b.0),
            key: of
                .map(|(_, k)| Bytes::copy_from_slice(k))
                .unwrap_or_default(),
        };
        let row = key::done(attempt);
        plan.check(Check::Absent(row.clone()));
        plan.put(row, done.encode_to_vec());
        self.done_ends(attempt);
    }

    /// Remembers when a recorded answer ends.
    fn done_ends(&self, attempt: AttemptId) {
        let end = self.now().0.saturating_add(nanos(self.config.done_kept()));
        let mut dones = self.dones.lock();
        if dones.ends.len() < DONES_KNOWN {
            dones.ends.push_back((end, attempt));
        } else {
            dones.scan = true;
        }
    }

    /// The check that every commit carries: the bucket is still the one that was looked up.
    fn bucket_check(&self, bucket: &Bucket) -> Result<Check, FilerError> {
        match self.buckets.get(self.store.as_ref(), &bucket.name)? {
            Some((found, revision)) if found.id == bucket.id => {
                Ok(Check::At(key::bucket(&bucket.name), revision))
            }
            _ => Err(FilerError::NoBucket(bucket.name.clone())),
        }
    }

    fn leases_live(&self, leases: &[LeaseId]) -> Result<(), FilerError> {
        for lease in leases {
            if self.get(&key::lease(*lease))?.is_none() {
                return Err(FilerError::LeaseGone);
            }
        }
        Ok(())
    }

    /// Waits for `d` of the filer's clock; false when the filer stops.
    pub(crate) async fn pause(&self, d: Duration) -> bool {
        tokio::select! {
            () = self.cancel.cancelled() => false,
            () = self.clock.sleep(d) => true,
        }
    }
}

/// A batch in the making, and how much garbage it queues.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) batch: Batch,
    pub(crate) queued: u64,
    pub(crate) queued_bytes: u64,
}

impl Plan {
    pub(crate) fn check(&mut self, check: Check) {
        self.batch.checks.push(check);
    }

    /// Pins a row to what was read of it.
    pub(crate) fn pin(&mut self, row: &Bytes, read: Option<&Row>) {
        self.check(match read {
            Some(found) => Check::At(row.clone(), found.revision),
            None => Check::Absent(row.clone()),
        });
    }

    pub(crate) fn put(&mut self, row: Bytes, value: impl Into<Bytes>) {
        self.batch
            .ops
            .push(halofs_store::Op::Put(row, value.into()));
    }

    pub(crate) fn delete(&mut self, row: Bytes) {
        self.batch.ops.push(halofs_store::Op::Delete(row));
    }

    pub(crate) fn delete_range(&mut self, from: Bytes, to: Bytes) {
        self.batch.ops.push(halofs_store::Op::DeleteRange(from, to));
    }

    /// Lets the batch use the space that is kept for deletes.
    pub(crate) fn frees(&mut self) {
        self.batch.frees = true;
    }

    /// Queues needles for deletion.
    pub(crate) fn garbage(&mut self, ripe: Timestamp, chunks: &[ChunkRef]) {
        for chunk in chunks {
            let entry = pb::Garbage {
                len: chunk.len,
                tries: 0,
            };
            self.put(key::garbage(ripe, chunk.fid), entry.encode_to_vec());
            self.queued += 1;
            self.queued_bytes += u64::from(chunk.len);
        }
    }

    /// Queues needles whose sizes are not known.
    pub(crate) fn garbage_of_unknown_size(&mut self, ripe: Timestamp, fids: &[FileId]) {
        for fid in fids {
            self.put(
                key::garbage(ripe, *fid),
                pb::Garbage::default().encode_to_vec(),
            );
            self.queued += 1;
        }
    }
}

pub(crate) fn store_error(e: StoreError) -> FilerError {
    match e {
        StoreError::CheckFailed(_) => FilerError::Conflict,
        StoreError::Damaged(what) => FilerError::Damaged(what),
        StoreError::Full(what) => FilerError::Full(what),
        StoreError::Uncertain(why) | StoreError::Stopped(why) => FilerError::Unavailable(why),
        e @ StoreError::Open { .. } => FilerError::Unavailable(e.to_string()),
    }
}

fn check_key(key: &[u8]) -> Result<(), FilerError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let reason = format!("has {} bytes, 1 to {KEY_BYTES_MAX} are allowed", key.len());
        return Err(FilerError::Invalid {
            field: "key",
            reason,
        });
    }
    Ok(())
}
