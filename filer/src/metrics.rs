//! Counters of the filer, read by `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gc_queue: AtomicU64,
    pub(crate) gc_bytes: AtomicU64,
    pub(crate) gc_deleted: AtomicU64,
    pub(crate) gc_deleted_bytes: AtomicU64,
    pub(crate) gc_errors: AtomicU64,
    pub(crate) leases_swept: AtomicU64,
    pub(crate) unnamed: AtomicU64,
    pub(crate) uploads_expired: AtomicU64,
    pub(crate) orphans: AtomicU64,
    pub(crate) orphan_alarm: AtomicBool,
    pub(crate) restored: AtomicBool,
}

/// A copy of the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilerMetrics {
    /// Needles that wait for their deletion.
    pub gc_queue: u64,
    /// Their bytes.
    pub gc_bytes: u64,
    /// Needles deleted since the start.
    pub gc_deleted: u64,
    /// Bytes of deleted needles: garbage in the volumes until a vacuum.
    pub gc_deleted_bytes: u64,
    /// Deletions that a volume refused and that will be tried again.
    pub gc_errors: u64,
    /// Dead leases whose fids were swept.
    pub leases_swept: u64,
    /// Needles found by sweeps that no row names.
    pub unnamed: u64,
    /// Uploads that expired.
    pub uploads_expired: u64,
    /// Needles found by the orphan scan that no row names.
    pub orphans: u64,
    /// The orphan scan found more than 1 % of a volume and stopped.
    pub orphan_alarm: bool,
    /// The rows are older than the needles: what they do not name is kept.
    pub restored: bool,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// The queue is counted when the filer starts while commits go on: it may be short for a moment, never below 0.
    pub(crate) fn sub(counter: &AtomicU64, n: u64) {
        let less = |now: u64| Some(now.saturating_sub(n));
        // The closure always answers: there is nothing to report.
        let _always = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(crate) fn snapshot(&self) -> FilerMetrics {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        FilerMetrics {
            gc_queue: get(&self.gc_queue),
            gc_bytes: get(&self.gc_bytes),
            gc_deleted: get(&self.gc_deleted),
            gc_deleted_bytes: get(&self.gc_deleted_bytes),
            gc_errors: get(&self.gc_errors),
            leases_swept: get(&self.leases_swept),
            unnamed: get(&self.unnamed),
            uploads_expired: get(&self.uploads_expired),
            orphans: get(&self.orphans),
            orphan_alarm: self.orphan_alarm.load(Ordering::Relaxed),
            restored: self.restored.load(Ordering::Relaxed),
        }
    }
}
