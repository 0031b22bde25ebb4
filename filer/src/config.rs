//! Settings and what the filer needs of its process.

use std::sync::Arc;
use std::time::Duration;

use halofs_client::volume::VolumeApi;
use halofs_runtime::{Clock, Rng};
use halofs_store::KvStore;
use halofs_types::limits;

/// Times of the filer; all are of the injected clock.
#[derive(Debug, Clone)]
pub struct FilerConfig {
    /// How long a queued needle ripens before it is deleted (`replication.md` 20).
    pub gc_ripe: Duration,
    /// The same under space pressure.
    pub gc_ripe_pressed: Duration,
    /// How often the queue is looked at.
    pub gc_every: Duration,
    /// The first wait after a volume refused a deletion; doubles up to an hour.
    pub gc_retry: Duration,
    /// How long a lease lives after its last renewal.
    pub lease_life: Duration,
    /// How often dead leases are looked for.
    pub lease_every: Duration,
    /// How long after its first sending a commit may be repeated.
    pub done_life: Duration,
    /// How often old answers are removed.
    pub done_every: Duration,
    /// How long an upload may stay open; `None` for ever.
    pub upload_life: Option<Duration>,
    /// How often old uploads are looked for.
    pub upload_every: Duration,
    /// How often all needles are compared with the rows; `None` never.
    pub orphan_every: Option<Duration>,
    /// How often it is looked whether that is due.
    pub orphan_look: Duration,
    /// The rest after each thousand needles.
    pub orphan_rest: Duration,
    /// How often the filer's time is recorded.
    pub clock_every: Duration,
    /// The operator says that needles which no row names are garbage, though the rows were restored from a backup.
    pub rows_confirmed: bool,
    /// Rows are not synced, so a power cut sets them back by a second: needles beyond them prove no restore.
    pub rows_may_lag: bool,
}

/// No commit takes longer from the look at its age to its place in the store's order.
const COMMIT_MAX: Duration = Duration::from_mins(1);

impl FilerConfig {
    /// How long a recorded answer is kept: a repeat that comes when it is gone is too late in any case.
    pub(crate) fn done_kept(&self) -> Duration {
        self.done_life.saturating_add(COMMIT_MAX)
    }
}

impl Default for FilerConfig {
    fn default() -> Self {
        Self {
            gc_ripe: Duration::from_secs(limits::GC_RIPE_SECS),
            gc_ripe_pressed: Duration::from_secs(limits::GC_RIPE_PRESSED_SECS),
            gc_every: Duration::from_secs(5),
            gc_retry: Duration::from_mins(1),
            lease_life: Duration::from_mins(10),
            lease_every: Duration::from_secs(10),
            done_life: Duration::from_secs(limits::DONE_SECS),
            done_every: Duration::from_secs(15),
            upload_life: Some(Duration::from_secs(limits::UPLOAD_EXPIRY_SECS_DEFAULT)),
            upload_every: Duration::from_hours(1),
            orphan_every: Some(Duration::from_secs(limits::ORPHAN_SCAN_SECS)),
            orphan_look: Duration::from_hours(1),
            orphan_rest: Duration::from_secs(1),
            clock_every: Duration::from_mins(5),
            rows_confirmed: false,
            rows_may_lag: false,
        }
    }
}

/// What the filer needs of its process.
#[derive(Clone)]
pub struct Deps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub rng: Arc<dyn Rng>,
    /// The rows.
    pub store: Arc<dyn KvStore>,
    /// The needles: deleted and listed by the collectors.
    pub volumes: Arc<dyn VolumeApi>,
}

/// A duration in nanoseconds, saturating.
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
