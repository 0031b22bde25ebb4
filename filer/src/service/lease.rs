//! Leases: the intent to write needles, recorded before the first one is written (`replication.md` 19).

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_proto::filer as pb;
use halofs_store::Check;
use halofs_types::limits::LEASE_KEYS_MAX;
use halofs_types::{Cookie, FileId, LeaseId, NeedleKey, VolumeId};
use prost::Message;

use super::{Filer, Plan, ROUNDS};
use crate::{key, model};

/// The fids of a lease.
pub(crate) fn fids_of(lease: &pb::Lease) -> (FileId, u64) {
    let first = FileId {
        volume: VolumeId(lease.volume),
        key: NeedleKey(lease.key),
        cookie: Cookie(lease.cookie),
    };
    (first, lease.count)
}

impl Filer {
    pub(super) async fn lease(&self, first: FileId, count: u64) -> Result<LeaseId, FilerError> {
        if count == 0 || count > LEASE_KEYS_MAX || first.with_delta(count - 1).is_none() {
            let reason = format!("{count} keys from {first}: 1 to {LEASE_KEYS_MAX} are allowed");
            return Err(FilerError::Invalid {
                field: "count",
                reason,
            });
        }
        let id = LeaseId(self.rng.id16());
        let lease = pb::Lease {
            volume: first.volume.0,
            key: first.key.0,
            cookie: first.cookie.0,
            count,
            opened_ns: self.now().0,
            died_ns: 0,
        };
        // In memory first: the collector must not meet a row that it does not know.
        self.leases.lock().insert(id, self.clock.monotonic_ns());
        let recorded = self.record_lease(id, &lease).await;
        if recorded.is_err() {
            self.leases.lock().remove(&id);
        }
        recorded.map(|()| id)
    }

    /// The lease's row, and in the same batch the end of all leased keys (`background::restored`).
    async fn record_lease(&self, id: LeaseId, lease: &pb::Lease) -> Result<(), FilerError> {
        let (row, leased) = (key::lease(id), Bytes::from_static(key::LEASED));
        let end = lease.key.saturating_add(lease.count);
        for _ in 0..ROUNDS {
            let known = self.get(&leased)?;
            let mut plan = Plan::default();
            plan.pin(&row, None);
            plan.put(row.clone(), lease.encode_to_vec());
            let before = match &known {
                Some(found) => {
                    model::decode::<pb::Leased>(&found.value, "the highest leased key")?.end
                }
                None => 0,
            };
            if end > before {
                plan.pin(&leased, known.as_ref());
                plan.put(leased.clone(), pb::Leased { end }.encode_to_vec());
            }
            if self.commit(plan).await?.is_some() {
                return Ok(());
            }
        }
        Err(FilerError::Conflict)
    }

    /// Renews every lease that lives, whatever became of the others.
    pub(super) fn renew(&self, leases: &[LeaseId]) -> Result<(), FilerError> {
        let now = self.clock.monotonic_ns();
        let mut live = self.leases.lock();
        let mut all = true;
        for lease in leases {
            match live.get_mut(lease) {
                Some(renewed) => *renewed = now,
                None => all = false,
            }
        }
        if all {
            Ok(())
        } else {
            Err(FilerError::LeaseGone)
        }
    }

    /// A lease that is gone already was or will be swept: closing it again is no error.
    pub(super) async fn end_lease(
        &self,
        id: LeaseId,
        unnamed: &[FileId],
    ) -> Result<(), FilerError> {
        let row = key::lease(id);
        for _ in 0..ROUNDS {
            let Some(found) = self.get(&row)? else { break };
            let (first, count) = fids_of(&model::decode(&found.value, "a lease")?);
            let covers = |f: &FileId| {
                f.volume == first.volume
                    && f.key.0.checked_sub(first.key.0).is_some_and(|d| d < count)
            };
            if let Some(stray) = unnamed.iter().find(|f| !covers(f)) {
                let reason = format!("{stray} is not of that lease");
                return Err(FilerError::Invalid {
                    field: "unnamed",
                    reason,
                });
            }
            let mut plan = Plan::default();
            plan.frees();
            plan.pin(&row, Some(&found));
            plan.delete(row.clone());
            plan.garbage_of_unknown_size(self.ripe(), unnamed);
            if self.commit(plan).await?.is_some() {
                break;
            }
        }
        self.leases.lock().remove(&id);
        Ok(())
    }

    /// Every lease in the store belongs to an incarnation of this process that is gone.
    pub(super) async fn end_leases_of_earlier_incarnations(&self) -> Result<(), FilerError> {
        loop {
            let rows = self.scan(key::LEASES, &key::after_prefix(key::LEASES), 1000)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut plan = Plan::default();
            plan.frees();
            for (row, found) in rows {
                let id = key::parse_lease(&row)
                    .ok_or_else(|| FilerError::Damaged("the row of a lease".to_owned()))?;
                plan.delete(row);
                plan.put(key::sweep(id), found.value);
            }
            self.commit(plan).await?;
        }
    }

    /// Ends a lease that was not renewed: from here on no commit can name its fids. Its sweep is recorded.
    pub(crate) async fn expire_lease(&self, id: LeaseId) -> Result<(), FilerError> {
        let row = key::lease(id);
        if let Some(found) = self.get(&row)? {
            let mut plan = Plan::default();
            plan.frees();
            plan.check(Check::Exists(row.clone()));
            plan.delete(row);
            let mut lease: pb::Lease = model::decode(&found.value, "a lease")?;
            lease.died_ns = self.now().0;
            plan.put(key::sweep(id), lease.encode_to_vec());
            // A failed check means that it was closed in this moment: nothing to sweep.
            self.commit(plan).await?;
        }
        self.leases.lock().remove(&id);
        Ok(())
    }
}
