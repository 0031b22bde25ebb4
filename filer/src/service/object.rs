//! Objects: look-up, commit, replacement in place, deletion.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{CommitObject, Committed, Found, Precondition};
use halofs_store::{Check, Row, StoreError};
use halofs_types::object::{Bucket, Object};
use halofs_types::{AttemptId, BucketId, Timestamp};

use super::{Filer, Plan, ROUNDS, check_key, store_error};
use crate::config::nanos;
use crate::metrics::Counters;
use crate::model::Stored;
use crate::{key, model};

/// A key's row as it was read, runs included.
pub(crate) struct Current {
    pub(crate) row: Row,
    pub(crate) stored: Stored,
}

/// Whether the condition holds of the key's object.
pub(super) fn holds(condition: &Precondition, current: Option<&Current>) -> bool {
    match (condition, current) {
        (Precondition::None, _) | (Precondition::Absent, None) => true,
        (Precondition::Absent, Some(_)) | (Precondition::EtagIn(_), None) => false,
        (Precondition::EtagIn(tags), Some(c)) => {
            tags.iter().any(|t| t == "*" || *t == c.stored.object.etag)
        }
    }
}

impl Filer {
    /// The current object with all its parts and chunks.
    pub(crate) fn current(&self, live: &[u8]) -> Result<Option<Current>, FilerError> {
        for _ in 0..ROUNDS {
            let Some(row) = self.get(live)? else {
                return Ok(None);
            };
            let mut stored = model::object_from(&row.value)?;
            if self.add_runs(&mut stored)? {
                return Ok(Some(Current { row, stored }));
            }
            // Replaced between the reads of its rows, or damaged.
            if self
                .get(live)?
                .is_some_and(|again| again.revision == row.revision)
            {
                return Err(FilerError::Damaged(
                    "chunk rows of an object are gone".to_owned(),
                ));
            }
        }
        Err(FilerError::Conflict)
    }

    fn add_runs(&self, stored: &mut Stored) -> Result<bool, FilerError> {
        for n in 0..stored.runs {
            let Some(run) = self.get(&key::run(stored.object.attempt, n))? else {
                return Ok(false);
            };
            model::add_run(&mut stored.object, &run.value)?;
        }
        Ok(true)
    }

    pub(super) fn find(
        &self,
        bucket: BucketId,
        object_key: &[u8],
    ) -> Result<Option<Found>, FilerError> {
        let current = self.current(&key::live(bucket, object_key))?;
        Ok(current.map(|c| Found {
            revision: c.row.revision,
            object: c.stored.object,
        }))
    }

    /// Writes an object's rows over what was there. The needles of the old one are queued unless it keeps them.
    pub(super) fn plan_object(
        &self,
        plan: &mut Plan,
        live: &Bytes,
        object: &Object,
        old: Option<&Current>,
        keeps: bool,
    ) {
        plan.pin(live, old.map(|c| &c.row));
        if let Some(old) = old {
            Self::plan_removal_of_runs(plan, &old.stored);
            if !keeps {
                plan.garbage(self.ripe(), &old.stored.object.chunks);
            }
        }
        let now = object.modified.0;
        let order = old.map_or(now, |c| now.max(c.stored.order.saturating_add(1)));
        let (row, runs) = model::object_to(object, order);
        for (n, run) in (0u32..).zip(runs) {
            plan.put(key::run(object.attempt, n), run);
        }
        plan.put(live.clone(), row);
    }

    fn plan_removal_of_runs(plan: &mut Plan, stored: &Stored) {
        for n in 0..stored.runs {
            plan.delete(key::run(stored.object.attempt, n));
        }
    }

    pub(super) async fn put(&self, mut c: CommitObject) -> Result<Committed, FilerError> {
        check_key(&c.key)?;
        let live = key::live(c.bucket.id, &c.key);
        let attempt = c.object.attempt;
        for round in 0..ROUNDS {
            let bucket_check = self.bucket_check(&c.bucket)?;
            if round > 0 {
                if let Some(done) = self.done(attempt)? {
                    return Ok(done);
                }
                self.leases_live(&c.leases)?;
            }
            let old = self.current(&live)?;
            // A repeat after its recorded answer was removed must not collect the chunks that it names.
            if let Some(old) = old.as_ref().filter(|o| o.stored.object.attempt == attempt) {
                return Ok(Committed {
                    modified: old.stored.object.modified,
                    etag: old.stored.object.etag.clone(),
                });
            }
            // From here on an answer that was recorded may be gone, and with it what this attempt did: perhaps nothing,
            // perhaps an object that another one replaced since. Only the first is no harm to repeat.
            if c.sent.0.saturating_add(nanos(self.config.done_life)) <= self.now().0 {
                return Err(FilerError::Unavailable(
                    "the commit came too late to know whether it was done before".to_owned(),
                ));
            }
            if !holds(&c.precondition, old.as_ref()) {
                return self.done(attempt)?.ok_or(FilerError::PreconditionFailed);
            }
            c.object.modified = self.clock.now();
            let answer = Committed {
                modified: c.object.modified,
                etag: c.object.etag.clone(),
            };
            let mut plan = Plan::default();
            plan.check(bucket_check);
            for lease in &c.leases {
                plan.check(Check::Exists(key::lease(*lease)));
            }
            self.plan_object(&mut plan, &live, &c.object, old.as_ref(), false);
            self.record_done(&mut plan, attempt, &answer, None);
            if self.commit(plan).await?.is_some() {
                return Ok(answer);
            }
            self.buckets.forget(&c.bucket.name);
        }
        Err(FilerError::Conflict)
    }

    pub(super) async fn replace(
        &self,
        bucket: &Bucket,
        object_key: &[u8],
        revision: u64,
        mut object: Object,
    ) -> Result<Committed, FilerError> {
        let live = key::live(bucket.id, object_key);
        let attempt = object.attempt;
        for _ in 0..ROUNDS {
            let bucket_check = self.bucket_check(bucket)?;
            let old = self.current(&live)?.ok_or(FilerError::NoKey)?;
            if old.row.revision != revision {
                // The first of two sendings of one attempt may be what changed the row.
                return self.done(attempt)?.ok_or(FilerError::Conflict);
            }
            if old.stored.object.chunks != object.chunks {
                let reason = "a replacement in place keeps the chunks".to_owned();
                return Err(FilerError::Invalid {
                    field: "chunks",
                    reason,
                });
            }
            object.modified = self.clock.now();
            let answer = Committed {
                modified: object.modified,
                etag: object.etag.clone(),
            };
            let mut plan = Plan::default();
            plan.check(bucket_check);
            self.plan_object(&mut plan, &live, &object, Some(&old), true);
            // An object that was read and written back carries the attempt that made it, whose answer is another.
            let repeatable = old.stored.object.attempt != attempt;
            if repeatable {
                self.record_done(&mut plan, attempt, &answer, None);
            }
            if self.commit(plan).await?.is_some() {
                return Ok(answer);
            }
            self.buckets.forget(&bucket.name);
        }
        Err(FilerError::Conflict)
    }

    /// Each key is a transaction of its own; those that lost to another commit are decided anew together.
    pub(super) async fn remove(
        &self,
        bucket: &Bucket,
        keys: Vec<(Bytes, Precondition)>,
    ) -> Vec<Result<(), FilerError>> {
        let mut answers: Vec<Result<(), FilerError>> = vec![Err(FilerError::Conflict); keys.len()];
        let mut open: Vec<usize> = (0..keys.len()).collect();
        for _ in 0..ROUNDS {
            let (mut sent, mut plans) = (Vec::new(), Vec::new());
            let bucket_check = self.bucket_check(bucket);
            for i in open.drain(..) {
                let (Some((object_key, condition)), Some(answer)) =
                    (keys.get(i), answers.get_mut(i))
                else {
                    continue;
                };
                let plan = bucket_check
                    .clone()
                    .and_then(|check| self.plan_removal(check, bucket, object_key, condition));
                match plan {
                    Ok(Some(plan)) => {
                        sent.push(i);
                        plans.push(plan);
                    }
                    Ok(None) => *answer = Ok(()),
                    Err(e) => *answer = Err(e),
                }
            }
            if sent.is_empty() {
                return answers;
            }
            let queued: Vec<(u64, u64)> =
                plans.iter().map(|p| (p.queued, p.queued_bytes)).collect();
            let results = self
                .store
                .commit_many(plans.into_iter().map(|p| p.batch).collect())
                .await;
            for ((i, (count, bytes)), result) in sent.into_iter().zip(queued).zip(results) {
                let Some(answer) = answers.get_mut(i) else {
                    continue;
                };
                match result {
                    Ok(_) => {
                        Counters::add(&self.counters.gc_queue, count);
                        Counters::add(&self.counters.gc_bytes, bytes);
                        *answer = Ok(());
                    }
                    Err(StoreError::CheckFailed(_)) => open.push(i),
                    Err(e) => *answer = Err(store_error(e)),
                }
            }
            if open.is_empty() {
                return answers;
            }
            self.buckets.forget(&bucket.name);
        }
        answers
    }

    fn plan_removal(
        &self,
        bucket_check: Check,
        bucket: &Bucket,
        object_key: &[u8],
        condition: &Precondition,
    ) -> Result<Option<Plan>, FilerError> {
        let live = key::live(bucket.id, object_key);
        let old = self.current(&live)?;
        if !holds(condition, old.as_ref()) {
            return Err(FilerError::PreconditionFailed);
        }
        let Some(old) = old else { return Ok(None) };
        let mut plan = Plan::default();
        plan.frees();
        plan.check(bucket_check);
        plan.pin(&live, Some(&old.row));
        Self::plan_removal_of_runs(&mut plan, &old.stored);
        plan.garbage(self.ripe(), &old.stored.object.chunks);
        plan.delete(live);
        Ok(Some(plan))
    }

    /// Time and id of a new upload: ids of a key sort by time.
    pub(super) fn new_upload_id(&self, now: Timestamp) -> AttemptId {
        let mut id = self.rng.id16();
        if let Some(time) = id.first_chunk_mut::<8>() {
            *time = now.0.to_be_bytes();
        }
        AttemptId(id)
    }
}
