//! Counters of main, shown under `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn hit(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Stats {
    /// Assigns answered with fids.
    pub assigns: Counter,
    /// Assigns that found no volume.
    pub assign_errors: Counter,
    /// Reports of volume servers.
    pub reports: Counter,
    /// Volumes made.
    pub volumes_created: Counter,
    /// Volumes that could not be made.
    pub volumes_failed: Counter,
}
