//! The lease collector (`replication.md` 19). A lease that died is first turned into a `sweep/` row: from then on no
//! commit can name its fids, so that what no row names by then never will be. Only then its needles are listed.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use halofs_client::error::{FilerError, VolumeError};
use halofs_proto::filer as pb;
use halofs_types::{FileId, LeaseId, NeedleKey};

use crate::config::nanos;
use crate::metrics::Counters;
use crate::service::lease::fids_of;
use crate::service::{Filer, Plan};
use crate::{key, model};

/// Needles listed at once.
const NEEDLES: usize = 1000;
/// Sweeps read at once.
const SWEEPS: usize = 1000;

impl Filer {
    /// Ends leases that were not renewed and sweeps dead ones; returns how many were swept.
    ///
    /// A lease that died while this process lives is swept only after garbage would be ripe: a write under it may have
    /// been waiting in a volume's queue, and what is listed too early is never looked at again.
    pub async fn run_leases_once(&self) -> Result<u64, FilerError> {
        let now = self.clock.monotonic_ns();
        let life = nanos(self.config.lease_life);
        let lapsed: Vec<LeaseId> = {
            let leases = self.leases.lock();
            leases
                .iter()
                .filter(|(_, renewed)| now.saturating_sub(**renewed) >= life)
                .map(|(id, _)| *id)
                .collect()
        };
        for id in lapsed {
            tracing::warn!(lease = %id, "a lease was not renewed and ends");
            self.expire_lease(id).await?;
        }
        if self.counters.restored.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let waited = self.now().0.saturating_sub(nanos(self.config.gc_ripe));
        let mut swept = 0;
        let mut from = Bytes::from_static(key::SWEEPS);
        loop {
            let rows = self.scan(&from, &key::after_prefix(key::SWEEPS), SWEEPS)?;
            for (row, found) in &rows {
                from = Bytes::from([&row[..], &[0]].concat());
                let lease: pb::Lease = model::decode(&found.value, "a lease")?;
                if lease.died_ns > waited {
                    continue;
                }
                // A volume that does not answer keeps its sweep until it does; the others go on.
                if let Err(e) = self.sweep(row, &lease).await {
                    tracing::debug!(error = %e, volume = lease.volume, "a dead lease could not be swept yet");
                } else {
                    swept += 1;
                    Counters::add(&self.counters.leases_swept, 1);
                }
            }
            if rows.len() < SWEEPS || self.cancel.is_cancelled() {
                return Ok(swept);
            }
        }
    }

    async fn sweep(&self, row: &Bytes, lease: &pb::Lease) -> Result<(), FilerError> {
        let (first, count) = fids_of(lease);
        let last = NeedleKey(first.key.0.saturating_add(count.saturating_sub(1)));
        let mut from = first.key;
        let mut unnamed: Vec<FileId> = Vec::new();
        loop {
            let page = match self
                .volumes
                .list_needles(first.volume, from, last, NEEDLES)
                .await
            {
                Ok(page) => page,
                Err(e) => return Err(volume_error(&e)),
            };
            let full = page.len() == NEEDLES;
            for needle in page {
                from = NeedleKey(needle.fid.key.0.saturating_add(1));
                let Some(owner) = needle.owner.filter(|o| o.store == self.store.store_uuid())
                else {
                    continue;
                };
                if !self.is_named(needle.fid, &owner)? {
                    unnamed.push(needle.fid);
                }
            }
            if !full || from > last {
                break;
            }
        }
        let mut plan = Plan::default();
        plan.frees();
        plan.garbage_of_unknown_size(self.ripe(), &unnamed);
        plan.delete(row.clone());
        self.commit(plan).await?;
        Counters::add(
            &self.counters.unnamed,
            u64::try_from(unnamed.len()).unwrap_or(0),
        );
        Ok(())
    }
}

pub(super) fn volume_error(e: &VolumeError) -> FilerError {
    FilerError::Unavailable(e.to_string())
}
