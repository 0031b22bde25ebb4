//! What the server counts, for `/metrics` and status pages.

use std::sync::atomic::{AtomicU64, Ordering};

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
}
