//! Counters of main, shown under `/metrics`.

use halofs_runtime::metrics::Counter;

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
