//! Watermarks of the disk: below the soft one main stops assigning, below the hard one puts are refused and what is left
//! is for deletes. Both clear by themselves once an eighth more than the mark is free, so that they do not flap.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use halofs_client::error::VolumeError;
use halofs_runtime::disk::Space;
use halofs_runtime::{Clock, Disk};
use parking_lot::Mutex;

use crate::config::VolumeConfig;

const ASK_EVERY_NS: u64 = 1_000_000_000;
const SOFT_MAX: u64 = 2 << 30;
const HARD_MAX: u64 = 512 << 20;
/// The names' store lives on the same disk and keeps the last of it for deletes: puts end well before that.
const HARD_MIN: u64 = 160 << 20;

/// The disk's space, asked for at most once a second.
pub(super) struct SpaceGuard {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    soft: Option<u64>,
    hard: Option<u64>,
    last: Mutex<Option<(u64, Space)>>,
    /// Body bytes let in since the disk was asked: many of them are a reason to ask early.
    since: AtomicU64,
    low: AtomicBool,
    full: AtomicBool,
    roomy: Arc<AtomicBool>,
}

impl SpaceGuard {
    /// For a server's folder.
    pub(super) fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: &VolumeConfig) -> Self {
        Self {
            disk,
            clock,
            dir: config.dir.clone(),
            soft: config.soft_free,
            hard: config.hard_free,
            last: Mutex::new(None),
            since: AtomicU64::new(0),
            low: AtomicBool::new(false),
            full: AtomicBool::new(false),
            roomy: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Whether there is room for zeros: above the soft watermark.
    pub(super) fn roomy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.roomy)
    }

    /// The space as of at most a second ago. A disk that does not answer counts as it did before.
    pub(super) fn refresh(&self) -> Space {
        let mut last = self.last.lock();
        let now = self.clock.monotonic_ns();
        if let Some((at, space)) = *last
            && now.saturating_sub(at) < ASK_EVERY_NS
            && self.since.load(Ordering::Relaxed) < self.reserve(space) / 4
        {
            return space;
        }
        let before = last.map_or(Space { total: 0, free: 0 }, |(_, s)| s);
        let space = match self.disk.space(&self.dir) {
            Ok(space) => space,
            Err(e) => {
                tracing::warn!(dir = %self.dir.display(), error = %e, "the disk does not say how much space it has");
                before
            }
        };
        *last = Some((now, space));
        self.since.store(0, Ordering::Relaxed);
        let soft = self.soft.unwrap_or((space.total / 20).min(SOFT_MAX));
        // Growth ends before puts do.
        let soft = soft.max(self.reserve(space) / 4 * 5);
        let low = crossed(&self.low, space.free, soft);
        self.roomy.store(!low, Ordering::Relaxed);
        let was = self.full.load(Ordering::Relaxed);
        let full = crossed(&self.full, space.free, self.reserve(space));
        if full != was {
            tracing::warn!(dir = %self.dir.display(), free = space.free, full, "the hard watermark of the disk was crossed");
        }
        space
    }

    fn reserve(&self, space: Space) -> u64 {
        let least = HARD_MIN.min(space.total / 5);
        self.hard
            .unwrap_or((space.total / 50).clamp(least, HARD_MAX))
    }

    /// Below the soft watermark.
    pub(super) fn is_low(&self) -> bool {
        self.refresh();
        self.low.load(Ordering::Relaxed)
    }

    /// Refuses puts below the hard watermark; lets `bytes` in otherwise.
    pub(super) fn check_put(&self, bytes: u64) -> Result<(), VolumeError> {
        self.since.fetch_add(bytes, Ordering::Relaxed);
        self.refresh();
        if self.full.load(Ordering::Relaxed) {
            Err(self.full_error())
        } else {
            Ok(())
        }
    }

    /// The error of a full disk, with its numbers.
    pub(super) fn full_error(&self) -> VolumeError {
        let space = self.refresh();
        let dir = self.dir.display().to_string();
        VolumeError::Full {
            dir,
            free: space.free,
            reserve: self.reserve(space),
        }
    }
}

impl std::fmt::Debug for SpaceGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpaceGuard({:?})", self.last.lock())
    }
}

/// Sets the flag below the mark, clears it an eighth above.
fn crossed(flag: &AtomicBool, free: u64, mark: u64) -> bool {
    let was = flag.load(Ordering::Relaxed);
    let now = if was {
        free < mark.saturating_add(mark / 8)
    } else {
        free < mark
    };
    flag.store(now, Ordering::Relaxed);
    now
}
