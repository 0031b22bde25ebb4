//! Whether the rows are older than the needles (`replication.md` 27).
//!
//! After a restore from a backup the needles that were written since are named by no row, and yet they are what the
//! backup's owner may want back. No collector may take them for garbage. Every lease therefore moves the row
//! `meta/leased`, in the same batch, past its keys; keys only grow, and no needle is written before its lease is
//! durable. A needle of this store beyond that row means that the row was set back, and all others with it. That is
//! looked for once, at the start, before new leases move the row; what is found stands in `meta/restored` until an
//! operator says that what the rows do not name is garbage.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::master::VolumeOwner;
use halofs_proto::filer as pb;
use halofs_types::NeedleKey;
use std::sync::atomic::Ordering;

use crate::service::{Filer, Plan};
use crate::{key, model};

/// Needles that are looked at in each volume.
const LOOKED_AT: usize = 16;

impl Filer {
    /// Stops the collectors that look for unnamed needles if the rows were set back.
    pub(crate) async fn check_restored(&self) -> Result<(), FilerError> {
        if self.config.rows_confirmed {
            if self.get(key::RESTORED)?.is_some() {
                let mut plan = Plan::default();
                plan.frees();
                plan.delete(key::RESTORED.into());
                self.commit(plan).await?;
            }
            return Ok(());
        }
        if self.get(key::RESTORED)?.is_none() {
            if self.config.rows_may_lag || !self.needles_beyond_leases().await? {
                return Ok(());
            }
            let mut plan = Plan::default();
            plan.frees();
            plan.put(key::RESTORED.into(), Bytes::new());
            self.commit(plan).await?;
        }
        self.counters.restored.store(true, Ordering::Relaxed);
        tracing::error!(
            "volumes hold newer needles than the filer's rows know of: the rows were restored from a backup. Nothing that \
             they do not name is deleted until a start with -filer.confirmRestore"
        );
        Ok(())
    }

    async fn needles_beyond_leases(&self) -> Result<bool, FilerError> {
        let Some(row) = self.get(key::LEASED)? else {
            return Ok(false);
        };
        let leased: pb::Leased = model::decode(&row.value, "the highest leased key")?;
        let (beyond, last) = (NeedleKey(leased.end), NeedleKey(u64::MAX));
        for volume in self.volumes.node_report().await.volumes {
            if volume.owner != VolumeOwner::Filer {
                continue;
            }
            let found = self
                .volumes
                .list_needles(volume.id, beyond, last, LOOKED_AT)
                .await;
            // A volume that does not answer says nothing; its needles are not collected either.
            let Ok(found) = found else { continue };
            let ours = |o: &halofs_client::volume::NeedleOwner| o.store == self.store.store_uuid();
            if found.iter().any(|n| n.owner.as_ref().is_some_and(ours)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
