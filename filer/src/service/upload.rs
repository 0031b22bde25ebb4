//! Multipart uploads.
//!
//! A part's commit demands that the upload's row exists and writes the same row again, which gives it a new revision;
//! Complete and Abort read that revision before the parts and pin it. So parts never disturb one another, and no part
//! can slip in between the reading of the parts and the commit that ends the upload.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{Committed, CompleteUpload};
use halofs_proto::filer as pb;
use halofs_store::{Check, Row};
use halofs_types::limits::PARTS_MAX;
use halofs_types::object::{Bucket, ChunkRef, Part, Upload};
use halofs_types::{AttemptId, BucketId, LeaseId, Timestamp};

use super::object::holds;
use super::{Filer, Plan, ROUNDS, check_key};
use crate::{key, model};

/// Part rows read at once.
const PAGE: usize = 500;
/// With more parts than this their rows are removed by one range.
const SINGLE_DELETES: usize = 100;

fn no_upload(id: AttemptId) -> FilerError {
    FilerError::NoUpload(id.to_string())
}

impl Filer {
    pub(super) async fn begin(
        &self,
        bucket: &Bucket,
        mut new: Upload,
    ) -> Result<Upload, FilerError> {
        check_key(&new.key)?;
        for _ in 0..ROUNDS {
            let bucket_check = self.bucket_check(bucket)?;
            new.initiated = self.clock.now();
            new.id = self.new_upload_id(new.initiated);
            let row = key::upload(bucket.id, &new.key, new.id);
            let mut plan = Plan::default();
            plan.check(bucket_check);
            plan.pin(&row, None);
            plan.put(row, model::upload_to(&new, self.now()));
            if self.commit(plan).await?.is_some() {
                return Ok(new);
            }
            self.buckets.forget(&bucket.name);
        }
        Err(FilerError::Conflict)
    }

    pub(super) fn find_upload(
        &self,
        bucket: BucketId,
        object_key: &[u8],
        id: AttemptId,
    ) -> Result<Upload, FilerError> {
        let row = self
            .get(&key::upload(bucket, object_key, id))?
            .ok_or_else(|| no_upload(id))?;
        model::upload_from(Bytes::copy_from_slice(object_key), id, &row.value)
    }

    pub(super) async fn store_part(
        &self,
        bucket: &Bucket,
        object_key: &[u8],
        id: AttemptId,
        mut part: Part,
        leases: Vec<LeaseId>,
    ) -> Result<(), FilerError> {
        if part.number == 0 || part.number > PARTS_MAX {
            let reason = format!("{} is not from 1 to {PARTS_MAX}", part.number);
            return Err(FilerError::Invalid {
                field: "partNumber",
                reason,
            });
        }
        let upload_row = key::upload(bucket.id, object_key, id);
        let row = key::part(id, part.number);
        for round in 0..ROUNDS {
            let bucket_check = self.bucket_check(bucket)?;
            let upload = self.get(&upload_row)?.ok_or_else(|| no_upload(id))?;
            if round > 0 {
                // A repeat of a part that another one replaced since must not come back over it.
                if self.done(part.attempt)?.is_some() {
                    return Ok(());
                }
                self.leases_live(&leases)?;
            }
            let old = self.get(&row)?;
            let mut plan = Plan::default();
            plan.check(bucket_check);
            plan.check(Check::Exists(upload_row.clone()));
            for lease in &leases {
                plan.check(Check::Exists(key::lease(*lease)));
            }
            plan.pin(&row, old.as_ref());
            if let Some(old) = &old {
                let old = model::part_from(part.number, &old.value)?;
                if old.attempt == part.attempt {
                    return Ok(());
                }
                plan.garbage(self.ripe(), &old.chunks);
            }
            part.modified = self.clock.now();
            let answer = Committed {
                modified: part.modified,
                etag: String::new(),
            };
            self.record_done(&mut plan, part.attempt, &answer, None);
            plan.put(row.clone(), model::part_to(&part));
            plan.put(upload_row.clone(), upload.value);
            if self.commit(plan).await?.is_some() {
                return Ok(());
            }
            self.buckets.forget(&bucket.name);
        }
        Err(FilerError::Conflict)
    }

    pub(super) fn page_of_parts(
        &self,
        upload: (BucketId, &[u8], AttemptId),
        after: u32,
        limit: usize,
    ) -> Result<(Vec<Part>, bool), FilerError> {
        let (bucket, object_key, id) = upload;
        self.get(&key::upload(bucket, object_key, id))?
            .ok_or_else(|| no_upload(id))?;
        let from = key::part(id, after.saturating_add(1));
        let rows = self.scan(&from, &key::parts(id).1, limit.saturating_add(1))?;
        let more = rows.len() > limit;
        let parts = rows
            .iter()
            .take(limit)
            .map(|(row, found)| part_of(row, found));
        Ok((parts.collect::<Result<_, _>>()?, more))
    }

    fn all_parts(&self, id: AttemptId) -> Result<Vec<Part>, FilerError> {
        let (mut from, end) = key::parts(id);
        let mut parts = Vec::new();
        loop {
            let rows = self.scan(&from, &end, PAGE)?;
            for (row, found) in &rows {
                parts.push(part_of(row, found)?);
                from = Bytes::from([&row[..], &[0]].concat());
            }
            if rows.len() < PAGE {
                return Ok(parts);
            }
        }
    }

    /// Ends an upload: its row and its parts' rows go, pinned to what was read.
    fn plan_end(plan: &mut Plan, row: &Bytes, upload: &Row, id: AttemptId, parts: &[Part]) {
        plan.pin(row, Some(upload));
        plan.delete(row.clone());
        if parts.len() > SINGLE_DELETES {
            let (from, end) = key::parts(id);
            plan.delete_range(from, end);
        } else {
            for p in parts {
                plan.delete(key::part(id, p.number));
            }
        }
    }

    pub(super) async fn complete(&self, mut c: CompleteUpload) -> Result<Committed, FilerError> {
        let (row, live) = (
            key::upload(c.bucket.id, &c.key, c.upload),
            key::live(c.bucket.id, &c.key),
        );
        c.object.attempt = c.upload;
        for _ in 0..ROUNDS {
            let bucket_check = self.bucket_check(&c.bucket)?;
            let Some(upload) = self.get(&row)? else {
                return self
                    .answer_of(c.bucket.id, &c.key, c.upload)?
                    .ok_or_else(|| no_upload(c.upload));
            };
            let parts = self.all_parts(c.upload)?;
            let unnamed = unnamed_chunks(&parts, &c)?;
            let old = self.current(&live)?;
            if !holds(&c.precondition, old.as_ref()) {
                return self
                    .answer_of(c.bucket.id, &c.key, c.upload)?
                    .ok_or(FilerError::PreconditionFailed);
            }
            c.object.modified = self.clock.now();
            let answer = Committed {
                modified: c.object.modified,
                etag: c.object.etag.clone(),
            };
            let mut plan = Plan::default();
            plan.check(bucket_check);
            Self::plan_end(&mut plan, &row, &upload, c.upload, &parts);
            plan.garbage(self.ripe(), &unnamed);
            self.plan_object(&mut plan, &live, &c.object, old.as_ref(), false);
            self.record_done(&mut plan, c.upload, &answer, Some((c.bucket.id, &c.key)));
            if self.commit(plan).await?.is_some() {
                return Ok(answer);
            }
            self.buckets.forget(&c.bucket.name);
        }
        Err(FilerError::Conflict)
    }

    /// What the Complete of this upload answered, while that is remembered.
    pub(super) fn answer_of(
        &self,
        bucket: BucketId,
        object_key: &[u8],
        id: AttemptId,
    ) -> Result<Option<Committed>, FilerError> {
        let Some(row) = self.get(&key::done(id))? else {
            return Ok(None);
        };
        let done: pb::Done = model::decode(&row.value, "a recorded answer")?;
        if done.bucket != bucket.0 || done.key != object_key {
            return Ok(None);
        }
        Ok(Some(Committed {
            modified: Timestamp(done.modified_ns),
            etag: done.etag,
        }))
    }

    /// Drops an upload whatever its bucket's state; its parts are queued.
    pub(crate) async fn drop_upload(&self, row: &Bytes, id: AttemptId) -> Result<(), FilerError> {
        for _ in 0..ROUNDS {
            let upload = self.get(row)?.ok_or_else(|| no_upload(id))?;
            let parts = self.all_parts(id)?;
            let mut plan = Plan::default();
            plan.frees();
            Self::plan_end(&mut plan, row, &upload, id, &parts);
            let ripe = self.ripe();
            for p in &parts {
                plan.garbage(ripe, &p.chunks);
            }
            if self.commit(plan).await?.is_some() {
                return Ok(());
            }
        }
        Err(FilerError::Conflict)
    }
}

fn part_of(row: &[u8], found: &Row) -> Result<Part, FilerError> {
    let number =
        key::parse_part(row).ok_or_else(|| FilerError::Damaged("the row of a part".to_owned()))?;
    model::part_from(number, &found.value)
}

/// Chunks of parts that the Complete leaves out. Refused unless the object is made of exactly the parts that it names,
/// each still the one that was read.
fn unnamed_chunks(parts: &[Part], c: &CompleteUpload) -> Result<Vec<ChunkRef>, FilerError> {
    let mut unnamed = Vec::new();
    let mut stored = parts.iter();
    let mut chunks = c.object.chunks.iter();
    for (number, attempt) in &c.parts {
        let part = loop {
            let part = stored.next().ok_or(FilerError::InvalidPart(*number))?;
            if part.number >= *number {
                break part;
            }
            unnamed.extend_from_slice(&part.chunks);
        };
        if part.number != *number || part.attempt != *attempt {
            return Err(FilerError::InvalidPart(*number));
        }
        if !part.chunks.iter().all(|chunk| chunks.next() == Some(chunk)) {
            let reason = format!("the object's chunks are not those of part {number}");
            return Err(FilerError::Invalid {
                field: "chunks",
                reason,
            });
        }
    }
    stored.for_each(|p| unnamed.extend_from_slice(&p.chunks));
    if chunks.next().is_some() {
        let reason = "the object has chunks that no part has".to_owned();
        return Err(FilerError::Invalid {
            field: "chunks",
            reason,
        });
    }
    Ok(unnamed)
}
