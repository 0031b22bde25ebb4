//! Old uploads and old answers.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_proto::filer as pb;
use halofs_types::AttemptId;

use crate::config::nanos;
use crate::metrics::Counters;
use crate::service::{DONES_KNOWN, Filer, Plan};
use crate::{key, model};

/// Rows read, and removed, at once.
const PAGE: usize = 1000;

impl Filer {
    /// Ends uploads that are older than they may be; returns how many.
    pub async fn run_uploads_once(&self) -> Result<u64, FilerError> {
        let Some(life) = self.config.upload_life else {
            return Ok(0);
        };
        let too_old = self.now().0.saturating_sub(nanos(life));
        let mut from = Bytes::from_static(key::UPLOADS);
        let mut expired = 0;
        loop {
            let rows = self.scan(&from, &key::after_prefix(key::UPLOADS), PAGE)?;
            for (row, found) in &rows {
                from = Bytes::from([&row[..], &[0]].concat());
                let upload: pb::Upload = model::decode(&found.value, "an upload")?;
                let unreadable =
                    || FilerError::Damaged("the row of an upload is not readable".to_owned());
                let (.., id) = key::parse_upload(row).ok_or_else(unreadable)?;
                // Rows of earlier versions know only the wall clock, which the filer's time began as.
                let opened = match upload.opened_ns {
                    0 => upload.initiated_ns,
                    ns => ns,
                };
                if opened > too_old {
                    continue;
                }
                match self.drop_upload(row, id).await {
                    Ok(()) => expired += 1,
                    // Completed or aborted in this moment.
                    Err(FilerError::NoUpload(_)) => {}
                    Err(e) => return Err(e),
                }
            }
            if rows.len() < PAGE || self.cancel.is_cancelled() {
                Counters::add(&self.counters.uploads_expired, expired);
                return Ok(expired);
            }
        }
    }

    /// Removes answers that need not be remembered any more; returns how many.
    pub async fn run_done_once(&self) -> Result<u64, FilerError> {
        if std::mem::take(&mut self.dones.lock().scan) {
            let scanned = self.scan_dones().await;
            if scanned.is_err() {
                self.dones.lock().scan = true;
            }
            scanned?;
        }
        let now = self.now().0;
        let mut removed = 0;
        loop {
            let ended: Vec<(u64, AttemptId)> = {
                let mut dones = self.dones.lock();
                let count = dones
                    .ends
                    .iter()
                    .take(PAGE)
                    .take_while(|(end, _)| *end <= now)
                    .count();
                dones.ends.drain(..count).collect()
            };
            if ended.is_empty() {
                return Ok(removed);
            }
            let count = u64::try_from(ended.len()).unwrap_or(0);
            if let Err(e) = self.remove_dones(ended.iter().map(|(_, id)| *id)).await {
                self.dones.lock().scan = true;
                return Err(e);
            }
            removed += count;
        }
    }

    /// Finds the ends of answers that are not known in memory: after a start, or after too many commits.
    async fn scan_dones(&self) -> Result<(), FilerError> {
        let now = self.now().0;
        let life = nanos(self.config.done_kept());
        let mut from = Bytes::from_static(key::DONES);
        let known: std::collections::HashSet<AttemptId> =
            self.dones.lock().ends.iter().map(|(_, id)| *id).collect();
        let mut found: Vec<(u64, AttemptId)> = Vec::new();
        loop {
            let rows = self.scan(&from, &key::after_prefix(key::DONES), PAGE)?;
            let full = rows.len() == PAGE;
            let mut ended = Vec::new();
            for (row, value) in rows {
                from = Bytes::from([&row[..], &[0]].concat());
                let done: pb::Done = model::decode(&value.value, "a recorded answer")?;
                let id = key::parse_done(&row)
                    .ok_or_else(|| FilerError::Damaged("the row of an answer".to_owned()))?;
                let end = done.at_ns.saturating_add(life);
                if end <= now {
                    ended.push(id);
                } else if !known.contains(&id) {
                    found.push((end, id));
                }
            }
            self.remove_dones(ended.into_iter()).await?;
            if !full {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut dones = self.dones.lock();
        let room = DONES_KNOWN.saturating_sub(dones.ends.len());
        dones.scan |= found.len() > room;
        found.truncate(room);
        dones.ends.extend(found);
        dones.ends.make_contiguous().sort_unstable();
        Ok(())
    }

    async fn remove_dones(
        &self,
        ids: impl Iterator<Item = AttemptId> + Send,
    ) -> Result<(), FilerError> {
        let mut plan = Plan::default();
        plan.frees();
        ids.for_each(|id| plan.delete(key::done(id)));
        if !plan.batch.ops.is_empty() {
            self.commit(plan).await?;
        }
        Ok(())
    }
}
