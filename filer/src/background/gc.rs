//! The queue's collector: needles first, then the queue's rows, so that a crash in between deletes needles again, which
//! does no harm. An entry that a volume refused stays, with a later time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::Deleted;
use halofs_proto::filer as pb;
use halofs_types::limits::GC_BATCH;
use halofs_types::{FileId, Timestamp};
use prost::Message;

use crate::config::nanos;
use crate::metrics::Counters;
use crate::service::{Filer, Plan};
use crate::{key, model};

/// Doublings of the wait after refusals: a minute becomes an hour.
const RETRY_DOUBLINGS: u32 = 6;

/// Counts the queue that earlier incarnations left: entries that ripen before `end`, which what is queued from now on
/// does not.
pub(super) async fn count(filer: Arc<Filer>, end: Bytes) {
    let mut from = Bytes::from_static(key::GARBAGE);
    while !filer.cancel.is_cancelled() {
        let rows = match filer.scan(&from, &end, GC_BATCH) {
            Ok(rows) if rows.is_empty() => return,
            Ok(rows) => rows,
            Err(e) => return tracing::warn!(error = %e, "the garbage queue could not be counted"),
        };
        let len = |value| {
            model::decode::<pb::Garbage>(value, "a garbage entry").map_or(0, |g| u64::from(g.len))
        };
        Counters::add(
            &filer.counters.gc_queue,
            u64::try_from(rows.len()).unwrap_or(0),
        );
        Counters::add(
            &filer.counters.gc_bytes,
            rows.iter().map(|(_, r)| len(&r.value)).sum(),
        );
        if let Some((last, _)) = rows.last() {
            from = Bytes::from([&last[..], &[0]].concat());
        }
        tokio::task::yield_now().await;
    }
}

impl Filer {
    /// Deletes what is ripe; returns how many needles are gone.
    pub async fn run_gc_once(&self) -> Result<u64, FilerError> {
        let mut gone = 0;
        let pressed = self.pressed.load(std::sync::atomic::Ordering::Relaxed);
        let early = if pressed {
            self.config
                .gc_ripe
                .saturating_sub(self.config.gc_ripe_pressed)
        } else {
            Duration::ZERO
        };
        let end = key::garbage_ripe(Timestamp(self.now().0.saturating_add(nanos(early))));
        let mut from = Bytes::from_static(key::GARBAGE);
        while !self.cancel.is_cancelled() {
            let rows = self.scan(&from, &end, GC_BATCH)?;
            let full = rows.len() == GC_BATCH;
            if let Some((last, _)) = rows.last() {
                from = Bytes::from([&last[..], &[0]].concat());
            }
            let mut entries = Vec::with_capacity(rows.len());
            for (row, found) in rows {
                let (_, fid) = key::parse_garbage(&row)
                    .ok_or_else(|| FilerError::Damaged("a garbage row's key".to_owned()))?;
                entries.push((
                    row,
                    fid,
                    model::decode::<pb::Garbage>(&found.value, "a garbage entry")?,
                ));
            }
            if !entries.is_empty() {
                gone += self.collect(entries).await?;
            }
            if !full {
                break;
            }
        }
        Ok(gone)
    }

    async fn collect(&self, entries: Vec<(Bytes, FileId, pb::Garbage)>) -> Result<u64, FilerError> {
        let fids = entries.iter().map(|(_, fid, _)| *fid).collect();
        let results = self.volumes.delete_needles(fids, VolumeOwner::Filer).await;
        let now = self.now().0;
        let mut plan = Plan::default();
        plan.frees();
        let (mut gone, mut bytes, mut tombstones, mut refused) = (0, 0, 0, 0);
        for ((row, fid, entry), result) in entries.into_iter().zip(results) {
            match result {
                Ok(outcome) => {
                    gone += 1;
                    bytes += u64::from(entry.len);
                    if let Deleted::Yes { size } = outcome {
                        tombstones += size;
                    }
                }
                Err(e) => {
                    refused += 1;
                    tracing::debug!(%fid, error = %e, tries = entry.tries, "a needle could not be deleted yet");
                    let wait = nanos(self.config.gc_retry) << entry.tries.min(RETRY_DOUBLINGS);
                    let again = pb::Garbage {
                        len: entry.len,
                        tries: entry.tries + 1,
                    };
                    plan.put(
                        key::garbage(Timestamp(now.saturating_add(wait)), fid),
                        again.encode_to_vec(),
                    );
                }
            }
            plan.delete(row);
        }
        self.commit(plan).await?;
        Counters::sub(&self.counters.gc_queue, gone);
        Counters::sub(&self.counters.gc_bytes, bytes);
        Counters::add(&self.counters.gc_deleted, gone);
        Counters::add(&self.counters.gc_deleted_bytes, tombstones);
        Counters::add(&self.counters.gc_errors, refused);
        Ok(gone)
    }
}
