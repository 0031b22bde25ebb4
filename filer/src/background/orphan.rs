//! The orphan scan (`replication.md` 27): needles of this store that no live lease covers, that no row names and that
//! are not queued. It queues them, and stops with an alarm when they are more than 1 % of a volume: then it is the
//! rows that are wrong.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::NeedleOwner;
use halofs_proto::filer as pb;
use halofs_types::{FileId, NeedleKey, VolumeId};
use prost::Message;

use super::sweep::volume_error;
use crate::config::nanos;
use crate::metrics::Counters;
use crate::service::lease::fids_of;
use crate::service::{Filer, Plan};
use crate::{key, model};

/// Needles listed, and rows read, at once.
const PAGE: usize = 1000;
/// One in so many needles may be an orphan before the scan stops.
const ALARM: u64 = 100;
/// Fewer orphans than this never stop it.
const ALARM_LEAST: u64 = 10;

/// A needle that looked unnamed.
type Suspect = (FileId, NeedleOwner);

impl Filer {
    /// Scans every volume of the filer once; returns how many orphans were queued. An operator confirms an alarm by
    /// calling [`Filer::clear_orphan_alarm`]; until then nothing is scanned.
    pub async fn run_orphans_once(&self) -> Result<u64, FilerError> {
        let mut queued = 0;
        for volume in self.volumes.node_report().await.volumes {
            if self.orphans_stay() || self.cancel.is_cancelled() {
                return Ok(queued);
            }
            if volume.owner == VolumeOwner::Filer {
                match self.scan_volume(volume.id).await {
                    Ok(found) => queued += found,
                    // Its turn comes again; the others go on.
                    Err(e) => {
                        tracing::warn!(error = %e, volume = %volume.id, "a volume could not be scanned");
                    }
                }
            }
        }
        let mut plan = Plan::default();
        plan.frees();
        let ended = pb::OrphanScan {
            ended_ns: self.now().0,
        };
        plan.put(key::ORPHANS.into(), ended.encode_to_vec());
        self.commit(plan).await?;
        Ok(queued)
    }

    /// Scans if the last scan was so long ago; a store that was never scanned counts as scanned at its first start.
    pub(super) async fn run_orphans_when_due(&self, every: Duration) -> Result<(), FilerError> {
        let now = self.now().0;
        let Some(row) = self.get(key::ORPHANS)? else {
            let mut plan = Plan::default();
            plan.frees();
            plan.put(
                key::ORPHANS.into(),
                pb::OrphanScan { ended_ns: now }.encode_to_vec(),
            );
            return self.commit(plan).await.map(|_| ());
        };
        let last: pb::OrphanScan = model::decode(&row.value, "the last orphan scan")?;
        if now.saturating_sub(last.ended_ns) < nanos(every) || self.orphans_stay() {
            return Ok(());
        }
        let found = self.run_orphans_once().await?;
        tracing::info!(found, "needles were compared with rows");
        Ok(())
    }

    fn orphans_stay(&self) -> bool {
        self.counters.orphan_alarm.load(Ordering::Relaxed)
            || self.counters.restored.load(Ordering::Relaxed)
    }

    /// Lets the orphan scan run again after an alarm.
    pub fn clear_orphan_alarm(&self) {
        self.counters.orphan_alarm.store(false, Ordering::Relaxed);
    }

    async fn scan_volume(&self, volume: VolumeId) -> Result<u64, FilerError> {
        let (mut from, last) = (NeedleKey(1), NeedleKey(u64::MAX));
        let mut total = 0;
        let mut suspects: Vec<Suspect> = Vec::new();
        loop {
            let page = self
                .volumes
                .list_needles(volume, from, last, PAGE)
                .await
                .map_err(|e| volume_error(&e))?;
            let full = page.len() == PAGE;
            // Leases first, rows afterwards: a commit that ends a lease in between has written its row by then.
            let leased = self.leased(volume)?;
            for needle in page {
                from = NeedleKey(needle.fid.key.0.saturating_add(1));
                total += 1;
                let Some(owner) = needle.owner.filter(|o| o.store == self.store.store_uuid())
                else {
                    continue;
                };
                let covered = leased
                    .iter()
                    .any(|(first, count)| needle.fid.key.0.wrapping_sub(*first) < *count);
                if !covered && !self.is_named(needle.fid, &owner)? {
                    suspects.push((needle.fid, owner));
                }
            }
            if !full {
                break;
            }
            // Slowly: every needle is a read of its disk.
            if !self.pause(self.config.orphan_rest).await {
                return Ok(0);
            }
        }
        self.drop_queued(&mut suspects)?;
        let found = u64::try_from(suspects.len()).unwrap_or(u64::MAX);
        if found >= ALARM_LEAST && found > total / ALARM {
            self.counters.orphan_alarm.store(true, Ordering::Relaxed);
            tracing::error!(%volume, found, total, "more than 1 % of a volume's needles are named by no row: nothing was deleted; check the filer's rows");
            return Ok(0);
        }
        self.queue_orphans(suspects).await
    }

    async fn queue_orphans(&self, suspects: Vec<Suspect>) -> Result<u64, FilerError> {
        let mut orphans = Vec::new();
        for (fid, owner) in suspects {
            if !self.is_named(fid, &owner)? {
                orphans.push(fid);
            }
        }
        let count = u64::try_from(orphans.len()).unwrap_or(0);
        for page in orphans.chunks(PAGE) {
            let mut plan = Plan::default();
            plan.frees();
            plan.garbage_of_unknown_size(self.ripe(), page);
            self.commit(plan).await?;
        }
        Counters::add(&self.counters.orphans, count);
        Ok(count)
    }

    /// Key ranges of a volume under leases that live or are still to be swept.
    fn leased(&self, volume: VolumeId) -> Result<Vec<(u64, u64)>, FilerError> {
        let mut ranges = Vec::new();
        for space in [key::LEASES, key::SWEEPS] {
            let mut from = Bytes::from_static(space);
            loop {
                let rows = self.scan(&from, &key::after_prefix(space), PAGE)?;
                for (row, found) in &rows {
                    from = Bytes::from([&row[..], &[0]].concat());
                    let (first, count) =
                        fids_of(&model::decode::<pb::Lease>(&found.value, "a lease")?);
                    if first.volume == volume {
                        ranges.push((first.key.0, count));
                    }
                }
                if rows.len() < PAGE {
                    break;
                }
            }
        }
        Ok(ranges)
    }

    /// Removes suspects that are queued already.
    fn drop_queued(&self, suspects: &mut Vec<Suspect>) -> Result<(), FilerError> {
        if suspects.is_empty() {
            return Ok(());
        }
        let wanted: HashSet<FileId> = suspects.iter().map(|(fid, _)| *fid).collect();
        let mut queued = HashSet::new();
        let mut from = Bytes::from_static(key::GARBAGE);
        loop {
            let rows = self.scan(&from, &key::after_prefix(key::GARBAGE), PAGE)?;
            for (row, _) in &rows {
                from = Bytes::from([&row[..], &[0]].concat());
                queued.extend(
                    key::parse_garbage(row)
                        .map(|(_, fid)| fid)
                        .filter(|fid| wanted.contains(fid)),
                );
            }
            if rows.len() < PAGE {
                break;
            }
        }
        suspects.retain(|(fid, _)| !queued.contains(fid));
        Ok(())
    }
}
