//! The one writer of a volume: a named thread that takes what queued while the last sync ran, and commits it as one
//! batch. There is no commit timer. The queue is bounded by records; a producer waits for room before it queues.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use halofs_client::error::VolumeError;
use halofs_runtime::Clock;
use halofs_types::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::counters::Counters;

use super::ahead;
use super::housekeeper::{Chore, Housekeeper};
use super::index::OFFSET_END;
use super::log::{Outcome, Pending, VolumeLog};

/// Records that wait or are in flight, at most.
const QUEUE: usize = 4 * BATCH_RECORDS_MAX;
/// Unsynced operation (`-fsync=false`): a mark at least this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSH_BYTES: u64 = 64 << 20;
/// An idle writer looks up this often.
const IDLE: Duration = Duration::from_hours(1);
/// A checkpoint after this many bytes of log, or eight times its own size if that is more.
const CHECKPOINT_BYTES: u64 = 32 << 20;
/// A volume that is quiet for so long has a checkpoint written when this much is behind the last one: a mount reads the
/// rest of every volume, also of those that are full.
const QUIET: Duration = Duration::from_secs(10);
const QUIET_BYTES: u64 = 1 << 20;
/// Batches larger than this make space by themselves; zeros written ahead would double their writes.
const AHEAD_BATCH_MAX: u64 = 256 << 10;

/// What became of a record, and the record itself when it lost a race.
#[derive(Debug)]
pub enum Reply {
    /// Synced and published.
    Done,
    /// Look again; the record was not written.
    Raced(Pending),
    /// Not acknowledged.
    Failed(VolumeError),
}

struct Group {
    records: Vec<Pending>,
    done: oneshot::Sender<Vec<Reply>>,
    room: OwnedSemaphorePermit,
}

enum Order {
    Lead(u64, oneshot::Sender<Result<(), VolumeError>>),
    Fence(std::io::Error),
    Stop,
    Abandon,
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<Group>,
    orders: VecDeque<Order>,
    closed: bool,
    asleep: bool,
}

/// The writer's queue.
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(QUEUE));
        Arc::new(Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room,
        })
    }

    /// Queues records that are written in one batch if they fit, and waits until they are synced.
    pub async fn append(&self, records: Vec<Pending>) -> Result<Vec<Reply>, VolumeError> {
        let n = u32::try_from(records.len().min(QUEUE)).unwrap_or(1);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(n)
            .await
            .map_err(|_| VolumeError::Stopping)?;
        let (done, answer) = oneshot::channel();
        self.push(|w| {
            w.groups.push_back(Group {
                records,
                done,
                room,
            });
        })?;
        answer.await.map_err(|_| VolumeError::Stopping)
    }

    /// Has the writer open an epoch.
    pub async fn lead(&self, epoch: u64) -> Result<(), VolumeError> {
        self.lead_later(epoch)?
            .await
            .unwrap_or(Err(VolumeError::Stopping))
    }

    /// [`Self::lead`] without waiting for it.
    pub fn lead_later(
        &self,
        epoch: u64,
    ) -> Result<oneshot::Receiver<Result<(), VolumeError>>, VolumeError> {
        let (done, answer) = oneshot::channel();
        self.push(|w| w.orders.push_back(Order::Lead(epoch, done)))?;
        Ok(answer)
    }

    /// Has the writer fence the volume: space written ahead could not be synced.
    pub fn fence(&self, e: std::io::Error) {
        // A stopping writer fences nothing; its last batch was synced through its own handle.
        self.push(|w| w.orders.push_back(Order::Fence(e))).ok();
    }

    /// Takes no more; the writer drains what is there and stops.
    pub fn close(&self) {
        self.end(Order::Stop);
    }

    /// Takes no more; the writer drains what is there and ends as if it was killed then.
    pub fn abandon(&self) {
        self.end(Order::Abandon);
    }

    fn end(&self, how: Order) {
        self.push(|w| {
            w.orders.push_back(how);
            w.closed = true;
        })
        .ok();
        self.room.close();
    }

    fn push(&self, add: impl FnOnce(&mut Waiting)) -> Result<(), VolumeError> {
        let mut w = self.waiting.lock();
        if w.closed {
            return Err(VolumeError::Stopping);
        }
        add(&mut w);
        if w.asleep {
            w.asleep = false;
            drop(w);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The next work; nothing after `patience`.
    fn next(&self, batch: &mut Batch, patience: Duration) -> Option<Order> {
        let mut w = self.waiting.lock();
        if w.groups.is_empty() && w.orders.is_empty() {
            w.asleep = true;
            self.wake.wait_for(&mut w, patience);
            w.asleep = false;
        }
        while let Some(group) = w.groups.pop_front() {
            if !batch.fits(&group) {
                w.groups.push_front(group);
                return None;
            }
            batch.add(group);
        }
        // Behind the batch; a queue that never runs dry must not keep a fence waiting.
        w.orders.pop_front()
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} free)", self.room.available_permits())
    }
}

/// A batch with those who wait for it.
#[derive(Default)]
struct Batch {
    records: Vec<Pending>,
    bytes: u64,
    askers: Vec<(usize, oneshot::Sender<Vec<Reply>>, OwnedSemaphorePermit)>,
}

impl Batch {
    fn fits(&self, group: &Group) -> bool {
        let more: u64 = group.records.iter().map(|p| p.record.len).sum();
        self.records.is_empty()
            || (self.records.len() + group.records.len() <= BATCH_RECORDS_MAX
                && self.bytes + more <= BATCH_BYTES_MAX as u64)
    }

    fn add(&mut self, group: Group) {
        self.bytes += group.records.iter().map(|p| p.record.len).sum::<u64>();
        self.askers
            .push((group.records.len(), group.done, group.room));
        self.records.extend(group.records);
    }
}

/// What the writer thread is given.
pub struct WriterDeps {
    /// Time, for counters and flushes.
    pub clock: Arc<dyn Clock>,
    /// Who writes checkpoints and zeros.
    pub housekeeper: Arc<Housekeeper>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The volume size limit of main: no zeros beyond it.
    pub size_limit: Arc<AtomicU64>,
    /// The disk has room for zeros.
    pub roomy: Arc<AtomicBool>,
}

/// Starts the writer of a volume.
pub fn start(
    log: VolumeLog,
    queue: Arc<Queue>,
    deps: WriterDeps,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("volume-{}", log.view().id);
    let mut writer = Writer {
        log,
        queue,
        deps,
        flush_at: None,
        usual: 0,
        zeroing: Arc::new(AtomicBool::new(false)),
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(move || writer.run())
}

struct Writer {
    log: VolumeLog,
    queue: Arc<Queue>,
    deps: WriterDeps,
    /// When the unsynced stretch has to end, in monotonic nanoseconds.
    flush_at: Option<u64>,
    /// Running mean of the bytes of a batch.
    usual: u64,
    zeroing: Arc<AtomicBool>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let quiet = if self.log.since_checkpoint() < QUIET_BYTES {
                IDLE
            } else {
                QUIET
            };
            let patience = self.flush_at.map_or(quiet, |at| {
                Duration::from_nanos(at.saturating_sub(self.deps.clock.monotonic_ns()))
                    .max(Duration::from_millis(1))
            });
            let mut batch = Batch::default();
            let order = self.queue.next(&mut batch, patience);
            let quiet = batch.records.is_empty() && self.flush_at.is_none();
            if !batch.records.is_empty() {
                self.commit(batch);
                self.after_batch();
            }
            self.flush_if_due();
            self.checkpoint_if_due(quiet && order.is_none());
            match order {
                None => {}
                Some(Order::Lead(epoch, done)) => {
                    let led = self.log.lead(epoch);
                    self.make_space();
                    self.checkpoint_if_due(false);
                    // Whoever asked may be gone; the epoch stands.
                    done.send(led).ok();
                }
                Some(Order::Fence(e)) => {
                    self.deps.counters.fenced.add(1);
                    self.log.fence("write ahead", &e);
                }
                Some(Order::Abandon) => return,
                Some(Order::Stop) => {
                    if let Err(e) = self.log.stop() {
                        tracing::error!(volume = ?self.log, error = %e, "the volume did not stop cleanly");
                    }
                    return;
                }
            }
        }
    }

    fn commit(&mut self, batch: Batch) {
        let c = &self.deps.counters;
        let t0 = self.deps.clock.monotonic_ns();
        let begun = self.log.begin(&batch.records);
        let t1 = self.deps.clock.monotonic_ns();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        let committed =
            begun.and_then(|()| self.log.finish(&mut |_, outcome| outcomes.push(outcome)));
        let t2 = self.deps.clock.monotonic_ns();
        c.batches.add(1);
        c.batch_records.add(batch.records.len() as u64);
        c.batch_bytes.add(batch.bytes);
        c.write_ns.add(t1.saturating_sub(t0));
        c.sync_ns.add(t2.saturating_sub(t1));
        if let Err(e) = &committed {
            if matches!(e, VolumeError::Fenced(_)) {
                c.fenced.add(1);
            }
            outcomes.clear();
            outcomes.resize(batch.records.len(), Outcome::Failed(e.clone()));
        }
        self.usual = (self.usual * 7 + batch.bytes) / 8;
        let mut replies = batch
            .records
            .into_iter()
            .zip(outcomes)
            .map(|(pending, outcome)| match outcome {
                Outcome::Done => Reply::Done,
                Outcome::Raced => {
                    c.raced.add(1);
                    Reply::Raced(pending)
                }
                Outcome::Failed(e) => Reply::Failed(e),
            });
        for (n, done, room) in batch.askers {
            let group: Vec<Reply> = replies.by_ref().take(n).collect();
            drop(room);
            // A caller that went away left a needle that nothing names.
            done.send(group).ok();
        }
    }

    fn after_batch(&mut self) {
        if self.log.unmarked() > 0 && self.flush_at.is_none() {
            let every = u64::try_from(FLUSH_EVERY.as_nanos()).unwrap_or(u64::MAX);
            self.flush_at = Some(self.deps.clock.monotonic_ns().saturating_add(every));
        }
        self.make_space();
    }

    /// Behind a flush: without syncs what is published waits for its mark most of the time. Behind an epoch's begin: what
    /// a mount had to read is not read again. `quiet`: no more is coming, as in a volume that has its size.
    fn checkpoint_if_due(&mut self, quiet: bool) {
        let since = self.log.since_checkpoint();
        let least = if quiet { QUIET_BYTES } else { CHECKPOINT_BYTES };
        if since < least || self.log.unmarked() > 0 || self.log.view().leads().is_none() {
            return;
        }
        let index_bytes = self.log.view().published.read().index.len() as u64 * 16;
        if (quiet || since >= 8 * index_bytes) && self.deps.housekeeper.has_room() {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        if let Some(image) = self.log.checkpoint_image() {
            let path = self.log.paths().ckpt.clone();
            self.deps
                .housekeeper
                .give(Chore::Checkpoint { path, image });
            self.deps.counters.checkpoints.add(1);
        }
    }

    fn flush_if_due(&mut self) {
        if self.log.unmarked() == 0 {
            self.flush_at = None;
            return;
        }
        let late = self
            .flush_at
            .is_some_and(|at| at <= self.deps.clock.monotonic_ns());
        if late || self.log.unmarked() >= FLUSH_BYTES {
            self.flush_at = None;
            // A failure fenced the volume; the next batch is refused.
            if self.log.flush().is_err() {
                self.deps.counters.fenced.add(1);
            }
        }
    }

    /// Has zeros written when less than half a step is left and batches are small.
    fn make_space(&mut self) {
        let end = self.log.end();
        let limit = self.deps.size_limit.load(Ordering::Relaxed).min(OFFSET_END);
        let target = (end + ahead::STEP).min(limit);
        let left = self.log.ahead().end().saturating_sub(end);
        if left >= ahead::STEP / 2
            || target <= self.log.ahead().end()
            || self.usual > AHEAD_BATCH_MAX
        {
            return;
        }
        if !self.deps.roomy.load(Ordering::Relaxed) || self.log.view().is_fenced() {
            return;
        }
        if self.zeroing.swap(true, Ordering::AcqRel) {
            return;
        }
        let chore = match self.log.reopen() {
            Ok(file) => Chore::Zeros {
                ahead: Arc::clone(self.log.ahead()),
                file,
                target,
                busy: Arc::clone(&self.zeroing),
                queue: Arc::clone(&self.queue),
            },
            Err(_) => return self.zeroing.store(false, Ordering::Release),
        };
        if !self.deps.housekeeper.give(chore) {
            self.zeroing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::Sealed;
    use super::super::index::Slot;
    use super::*;

    #[tokio::test]
    async fn an_order_does_not_wait_for_the_queue_to_run_dry() {
        let queue = Queue::new();
        let record = Sealed {
            key: 1,
            plain_len: 0,
            tombstone: true,
            append_ns: 1,
            commit: [0; 16],
            len: 112,
            parts: Vec::new(),
        };
        let seen = Slot::Absent;
        let room = Arc::clone(&queue.room).acquire_owned().await.unwrap();
        let (done, _answer) = oneshot::channel();
        let group = Group {
            records: vec![Pending { record, seen }],
            done,
            room,
        };
        queue.push(|w| w.groups.push_back(group)).unwrap();
        queue.fence(std::io::Error::other("injected"));
        let mut batch = Batch::default();
        let order = queue.next(&mut batch, Duration::ZERO);
        assert_eq!(batch.records.len(), 1);
        assert!(matches!(order, Some(Order::Fence(_))));
    }
}
