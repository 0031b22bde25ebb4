//! Deliberate faults, to prove that the crash explorer finds them. Without the feature `seeded-bugs` (or `cfg(test)`)
//! every answer here is constant and nothing can be seeded.

#[cfg(any(test, feature = "seeded-bugs"))]
use std::path::PathBuf;

#[cfg(any(test, feature = "seeded-bugs"))]
use halofs_client::error::VolumeError;
#[cfg(any(test, feature = "seeded-bugs"))]
use halofs_types::VolumeId;

#[cfg(any(test, feature = "seeded-bugs"))]
use crate::config::Deps;

use super::{Flight, Outcome, VolumeLog};
#[cfg(any(test, feature = "seeded-bugs"))]
use super::{Paths, mount, tell};

/// Deliberate faults, to prove that the crash explorer finds them.
#[cfg(any(test, feature = "seeded-bugs"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// Batches are not synced.
    NoSync,
    /// Acks go out before the sync.
    AckBeforeSync,
    /// Records are readable before the sync.
    PublishBeforeSync,
    /// Recovery cuts a torn tail without syncing that.
    TruncateNotSynced,
    /// A checkpoint covers the batch in flight.
    CheckpointPastSync,
    /// A batch is written while another is in flight.
    TwoBatchesInFlight,
    /// Without syncs: a mark is written before the sync of the records that it covers.
    MarkBeforeSync,
}

/// Where the seeded faults sit; without the feature all of this is constant.
#[cfg(any(test, feature = "seeded-bugs"))]
impl VolumeLog {
    /// [`Self::mount`] with a fault in it.
    pub fn mount_with(
        deps: &Deps,
        dir: PathBuf,
        id: VolumeId,
        (fsync, bug): (bool, Option<SeededBug>),
    ) -> Result<Self, VolumeError> {
        let paths = Paths::of(dir, id);
        let options = mount::Options {
            sync_cut: bug != Some(SeededBug::TruncateNotSynced),
        };
        let mounted = mount::mount(deps, &paths, id, options)?;
        let mut log = Self::assemble(
            deps,
            paths,
            mounted.view,
            mounted.state,
            mounted.found,
            fsync,
        );
        log.bug = bug;
        Ok(log)
    }

    /// Puts a fault in.
    pub fn seed(&mut self, bug: Option<SeededBug>) {
        self.bug = bug;
    }

    pub(super) fn may_fly_two(&self) -> bool {
        self.bug == Some(SeededBug::TwoBatchesInFlight)
    }

    pub(super) fn skips_sync(&self) -> bool {
        self.bug == Some(SeededBug::NoSync)
    }

    pub(super) fn marks_early(&self) -> bool {
        self.bug == Some(SeededBug::MarkBeforeSync)
    }

    pub(super) fn acked_early(&self) -> bool {
        self.bug == Some(SeededBug::AckBeforeSync)
    }

    pub(super) fn checkpoints_early(&self) -> bool {
        self.bug == Some(SeededBug::CheckpointPastSync)
    }

    pub(super) fn early(&self, flight: &Flight, done: &mut dyn FnMut(usize, Outcome)) {
        if self.bug == Some(SeededBug::PublishBeforeSync) {
            self.publish(&flight.items, flight.end, self.marked.epoch);
        }
        if self.acked_early() {
            tell(flight, done);
        }
    }

    pub(super) fn publish_flight(&self) {
        for f in &self.flight {
            self.publish(&f.items, f.end, self.marked.epoch);
        }
    }
}

#[cfg(not(any(test, feature = "seeded-bugs")))]
#[expect(
    clippy::unused_self,
    reason = "the same names as with the seeded faults"
)]
impl VolumeLog {
    pub(super) fn may_fly_two(&self) -> bool {
        false
    }

    pub(super) fn skips_sync(&self) -> bool {
        false
    }

    pub(super) fn marks_early(&self) -> bool {
        false
    }

    pub(super) fn acked_early(&self) -> bool {
        false
    }

    pub(super) fn checkpoints_early(&self) -> bool {
        false
    }

    pub(super) fn early(&self, _: &Flight, _: &mut dyn FnMut(usize, Outcome)) {}

    pub(super) fn publish_flight(&self) {}
}
