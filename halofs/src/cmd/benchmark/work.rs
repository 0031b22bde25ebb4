//! Phases: workers that share a budget of requests or of time, and what they measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use halofs_runtime::Clock;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::histogram::Histogram;
use super::target::{Failure, Name, Session, Target};

/// What a phase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Put,
    Get,
    /// This many reads of a hundred requests, the others write.
    Mixed(u64),
    Delete,
}

/// When a phase ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Requests(u64),
    Nanos(u64),
}

/// A phase to run.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) op: Op,
    pub(super) size: u64,
    pub(super) clients: usize,
    pub(super) limit: Limit,
    /// Keys begin with it.
    pub(super) prefix: String,
    /// With more than one, keys are spread over that many folders.
    pub(super) folders: u64,
}

/// What was stored: name and stamp.
pub(super) type Stored = Arc<Mutex<Vec<(Name, u64)>>>;

/// What a phase measured.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) bytes: u64,
    pub(super) nanos: u64,
    pub(super) latency: Histogram,
    pub(super) first_error: Option<String>,
}

/// What the workers of a phase share.
pub(super) struct Shared {
    phase: Phase,
    stored: Stored,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes: AtomicU64,
    stop: AtomicBool,
    began: u64,
}

/// Errors after which a phase is given up.
const ERRORS_MAX: u64 = 1000;

impl Shared {
    pub(super) fn new(phase: Phase, stored: Stored, clock: Arc<dyn Clock>) -> Self {
        let began = clock.monotonic_ns();
        Self {
            phase,
            stored,
            clock,
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            began,
        }
    }

    pub(super) fn elapsed(&self) -> u64 {
        self.clock.monotonic_ns().saturating_sub(self.began)
    }

    /// The number of the next request, unless the phase is over.
    fn draw(&self) -> Option<u64> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let over = match self.phase.limit {
            Limit::Requests(max) => n >= max,
            Limit::Nanos(ns) => self.elapsed() >= ns,
        };
        (!over && !self.stop.load(Ordering::Relaxed)).then_some(n)
    }

    pub(super) fn key(&self, n: u64) -> String {
        let Phase {
            prefix, folders, ..
        } = &self.phase;
        if *folders > 1 {
            format!("{prefix}{:03}/{n:09}", n % folders)
        } else {
            format!("{prefix}{n:09}")
        }
    }
}

/// Runs a phase and returns what it measured.
pub(super) async fn run(shared: &Arc<Shared>, target: &Target, block: &[u8]) -> Outcome {
    let mut workers = JoinSet::new();
    for seed in 0..shared.phase.clients as u64 {
        let session = Session::new(target.clone(), block.to_vec());
        workers.spawn(worker(Arc::clone(shared), session, seed));
    }
    let mut latency = Histogram::new();
    let mut first_error = None;
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok((measured, error)) => {
                latency.merge(&measured);
                first_error = first_error.or(error);
            }
            Err(e) => first_error = first_error.or(Some(e.to_string())),
        }
    }
    Outcome {
        requests: shared.done.load(Ordering::Relaxed),
        errors: shared.failed.load(Ordering::Relaxed),
        bytes: shared.bytes.load(Ordering::Relaxed),
        nanos: shared.elapsed(),
        latency,
        first_error,
    }
}

async fn worker(
    shared: Arc<Shared>,
    mut session: Session,
    seed: u64,
) -> (Histogram, Option<String>) {
    let mut latency = Histogram::new();
    let mut first_error = None;
    let mut dice = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while let Some(n) = shared.draw() {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let now = shared.clock.now().0 / 1_000_000_000;
        let before = shared.clock.monotonic_ns();
        match one(&shared, &mut session, n, dice, now).await {
            Ok(bytes) => {
                latency.record(shared.clock.monotonic_ns().saturating_sub(before));
                shared.done.fetch_add(1, Ordering::Relaxed);
                shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(Failure(text)) => {
                first_error.get_or_insert(text);
                if shared.failed.fetch_add(1, Ordering::Relaxed) >= ERRORS_MAX {
                    shared.stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }
    (latency, first_error)
}

/// One request; the bytes of body that it moved.
async fn one(
    shared: &Shared,
    session: &mut Session,
    n: u64,
    dice: u64,
    now: u64,
) -> Result<u64, Failure> {
    let size = shared.phase.size;
    let read = match shared.phase.op {
        Op::Put => false,
        Op::Get => true,
        // Without a phase of writes before it, it reads what it has written itself.
        Op::Mixed(reads) => dice / 7 % 100 < reads && !shared.stored.lock().is_empty(),
        Op::Delete => {
            let victim = shared.stored.lock().pop();
            let Some((name, _)) = victim else {
                shared.stop.store(true, Ordering::Relaxed);
                return Err(Failure("nothing is left to delete".to_owned()));
            };
            session.delete(&name, now).await?;
            return Ok(0);
        }
    };
    if read {
        let (name, stamp) = {
            let stored = shared.stored.lock();
            let count = stored.len() as u64;
            if count == 0 {
                shared.stop.store(true, Ordering::Relaxed);
                return Err(Failure("nothing is stored to read: put first".to_owned()));
            }
            let at = usize::try_from(dice % count).unwrap_or(0);
            stored[at].clone()
        };
        session.get(&name, stamp, size, now).await?;
    } else {
        // Mixed phases write to keys of their own.
        let stamp = if matches!(shared.phase.op, Op::Put) {
            n
        } else {
            n | 1 << 40
        };
        let name = session.put(&shared.key(stamp), stamp, size, now).await?;
        shared.stored.lock().push((name, stamp));
    }
    Ok(size)
}
