//! What the server counts, for `/metrics` and status pages.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use halofs_types::{FileId, NeedleKey, VolumeId};
use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Needles that this incarnation met and that do not verify. Each is named in the log once.
#[derive(Debug, Default)]
pub struct DamagedNeedles(Mutex<BTreeSet<(VolumeId, NeedleKey)>>);

/// Damaged needles that are remembered; the disk has to be replaced long before.
const DAMAGED_MAX: usize = 10_000;

impl DamagedNeedles {
    /// One was met.
    pub fn note(&self, fid: FileId, what: &'static str) {
        let new = {
            let mut known = self.0.lock();
            known.len() < DAMAGED_MAX && known.insert((fid.volume, fid.key))
        };
        if new {
            tracing::error!(volume = %fid.volume, key = format_args!("{:x}", fid.key.0), what, "a needle is damaged: it is not served, and no sweep takes it away");
        }
    }

    /// One was taken away.
    pub fn forget(&self, fid: FileId) {
        self.0.lock().remove(&(fid.volume, fid.key));
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// Counters of one server, all volumes together.
#[derive(Debug, Default)]
pub struct Counters {
    /// Needles stored.
    pub puts: Counter,
    /// Original bytes of them.
    pub put_bytes: Counter,
    /// Puts that were there already.
    pub unchanged: Counter,
    /// Needles opened for reading.
    pub opens: Counter,
    /// Tombstones written.
    pub deletes: Counter,
    /// Batches written.
    pub batches: Counter,
    /// Records in them.
    pub batch_records: Counter,
    /// Bytes in them.
    pub batch_bytes: Counter,
    /// Nanoseconds that writing them took.
    pub write_ns: Counter,
    /// Nanoseconds that their syncs took.
    pub sync_ns: Counter,
    /// Records that lost a race for their key.
    pub raced: Counter,
    /// Answers "damaged".
    pub damaged: Counter,
    /// Volumes fenced.
    pub fenced: Counter,
    /// Checkpoints written.
    pub checkpoints: Counter,
    /// Needles that are damaged.
    pub damaged_needles: DamagedNeedles,
}
