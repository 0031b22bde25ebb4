//! Buckets, and the memory of their rows.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{BucketPage, ListBuckets, NewBucket};
use halofs_proto::filer as pb;
use halofs_store::{Check, KvStore};
use halofs_types::BucketId;
use halofs_types::limits::BUCKET_PAGE_MAX;
use halofs_types::object::Bucket;
use parking_lot::RwLock;
use prost::Message;

use super::{Filer, Plan, ROUNDS, store_error};
use crate::key::Space;
use crate::{key, model};

/// Buckets kept in memory; over it the memory is emptied.
const BUCKETS_KNOWN: usize = 10_000;

/// Rows of buckets by name. A row is dropped before the commit that changed it is answered; a reader that read it from
/// the store before cannot put it back, because `changes` moved on. While a removal is on its way its name is in doubt
/// and not remembered at all; if whoever removes it goes away before the answer, that stays so.
#[derive(Debug, Default)]
pub(crate) struct BucketCache(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    rows: HashMap<String, (Arc<Bucket>, u64)>,
    /// Removals on their way, by name.
    doubts: HashMap<String, u32>,
    changes: u64,
}

impl BucketCache {
    pub(crate) fn get(
        &self,
        store: &dyn KvStore,
        name: &str,
    ) -> Result<Option<(Arc<Bucket>, u64)>, FilerError> {
        let changes = {
            let known = self.0.read();
            if let Some(found) = known.rows.get(name) {
                return Ok(Some(found.clone()));
            }
            known.changes
        };
        let Some(row) = store.get(&key::bucket(name)).map_err(store_error)? else {
            return Ok(None);
        };
        let found = (
            Arc::new(model::bucket_from(name, &row.value)?),
            row.revision,
        );
        let mut known = self.0.write();
        if known.changes == changes && !known.doubts.contains_key(name) {
            if known.rows.len() >= BUCKETS_KNOWN {
                known.rows.clear();
            }
            known.rows.insert(name.to_owned(), found.clone());
        }
        Ok(Some(found))
    }

    pub(crate) fn forget(&self, name: &str) {
        let mut known = self.0.write();
        known.changes += 1;
        known.rows.remove(name);
    }

    /// Before the commit of a removal is sent.
    fn doubt(&self, name: &str) {
        *self.0.write().doubts.entry(name.to_owned()).or_default() += 1;
        self.forget(name);
    }

    /// Its outcome is known.
    fn settle(&self, name: &str) {
        self.forget(name);
        let mut known = self.0.write();
        if let Some(count) = known.doubts.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                known.doubts.remove(name);
            }
        }
    }
}

impl Filer {
    pub(super) async fn make_bucket(&self, new: NewBucket) -> Result<Bucket, FilerError> {
        let row = key::bucket(&new.name);
        for _ in 0..ROUNDS {
            if let Some(found) = self.get(&row)? {
                let owner = model::bucket_from(&new.name, &found.value)?.owner.id;
                return Err(FilerError::BucketExists {
                    name: new.name,
                    owner,
                });
            }
            let counter_row = Bytes::from_static(key::NEXT_BUCKET);
            let counter = self.get(&counter_row)?;
            let next: pb::NextBucket = match &counter {
                Some(found) => model::decode(&found.value, "the next bucket id")?,
                None => pb::NextBucket { id: 1 },
            };
            let bucket = Bucket {
                id: BucketId(next.id),
                name: new.name.clone(),
                owner: new.owner.clone(),
                created: self.clock.now(),
                region: new.region.clone(),
            };
            let mut plan = Plan::default();
            plan.pin(&row, None);
            plan.pin(&counter_row, counter.as_ref());
            plan.put(row.clone(), model::bucket_to(&bucket));
            plan.put(
                counter_row,
                pb::NextBucket { id: next.id + 1 }.encode_to_vec(),
            );
            if self.commit(plan).await?.is_some() {
                self.buckets.forget(&new.name);
                return Ok(bucket);
            }
        }
        Err(FilerError::Conflict)
    }

    /// Uploads are dropped one by one before the last transaction, which demands that none is left: an object that
    /// arrives in between keeps the bucket, and only the uploads are gone.
    pub(super) async fn remove_bucket(&self, name: &str) -> Result<(), FilerError> {
        let row = key::bucket(name);
        for _ in 0..ROUNDS {
            let found = self
                .get(&row)?
                .ok_or_else(|| FilerError::NoBucket(name.to_owned()))?;
            let bucket = model::bucket_from(name, &found.value)?;
            let spaces = [
                Space::live(bucket.id),
                Space::versions(bucket.id),
                Space::uploads(bucket.id),
            ];
            let [live, versions, uploads] = spaces.map(|s| s.range());
            for (from, to) in [&live, &versions] {
                if !self.scan(from, to, 1)?.is_empty() {
                    return Err(FilerError::BucketNotEmpty(name.to_owned()));
                }
            }
            self.drop_uploads(&uploads).await?;
            let mut plan = Plan::default();
            plan.frees();
            plan.pin(&row, Some(&found));
            for (from, to) in [live, versions, uploads] {
                plan.check(Check::RangeEmpty(from.clone(), to.clone()));
                plan.delete_range(from, to);
            }
            plan.delete(row.clone());
            self.buckets.doubt(name);
            let outcome = self.commit(plan).await;
            self.buckets.settle(name);
            if outcome?.is_some() {
                return Ok(());
            }
        }
        Err(FilerError::Conflict)
    }

    async fn drop_uploads(&self, range: &(Bytes, Bytes)) -> Result<(), FilerError> {
        loop {
            let page = self.scan(&range.0, &range.1, 100)?;
            if page.is_empty() {
                return Ok(());
            }
            for (row, _) in page {
                let unreadable =
                    || FilerError::Damaged("the row of an upload is not readable".to_owned());
                let (_, _, id) = key::parse_upload(&row).ok_or_else(unreadable)?;
                match self.drop_upload(&row, id).await {
                    Ok(()) | Err(FilerError::NoUpload(_)) => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }

    pub(super) fn page_of_buckets(&self, list: &ListBuckets) -> Result<BucketPage, FilerError> {
        let limit = list.limit.min(BUCKET_PAGE_MAX);
        let first = key::bucket(&list.prefix);
        let end = key::after_prefix(&first);
        let mut from = first.clone();
        if let Some(after) = &list.after {
            // The smallest key after that name's.
            let next = Bytes::from([&key::bucket(after)[..], &[0]].concat());
            from = next.max(from);
        }
        let mut page = BucketPage::default();
        loop {
            let rows = self.scan(&from, &end, limit + 1)?;
            let more = rows.len() > limit;
            for (row, found) in rows {
                from = Bytes::from([&row[..], &[0]].concat());
                let name = row
                    .get(key::BUCKETS.len()..)
                    .map(String::from_utf8_lossy)
                    .unwrap_or_default();
                let bucket = model::bucket_from(&name, &found.value)?;
                if list.owner.as_ref().is_some_and(|o| *o != bucket.owner.id) {
                    continue;
                }
                if page.buckets.len() == limit {
                    page.truncated = true;
                    return Ok(page);
                }
                page.buckets.push(bucket);
            }
            if !more {
                return Ok(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use halofs_store::{Batch, MemStore};
    use halofs_types::object::Owner;
    use halofs_types::{Timestamp, Uuid};

    use super::*;

    /// Whoever removes a bucket goes away before the answer: what is read meanwhile is not remembered.
    #[tokio::test]
    async fn a_removal_of_unknown_outcome_leaves_no_bucket_in_memory() {
        let store = MemStore::new(Uuid([1; 16]));
        let bucket = Bucket {
            id: BucketId(1),
            name: "b".to_owned(),
            owner: Owner::default(),
            created: Timestamp(1),
            region: String::new(),
        };
        let put = Batch::default().put(key::bucket("b"), model::bucket_to(&bucket));
        store.commit(put).await.unwrap();
        let (dropped, answered) = (BucketCache::default(), BucketCache::default());
        for cache in [&dropped, &answered] {
            assert!(cache.get(&store, "b").unwrap().is_some());
            cache.doubt("b");
            assert!(cache.get(&store, "b").unwrap().is_some());
        }
        answered.settle("b");
        assert!(answered.get(&store, "b").unwrap().is_some());
        store
            .commit(Batch::default().delete(key::bucket("b")))
            .await
            .unwrap();
        assert!(dropped.get(&store, "b").unwrap().is_none());
        assert!(answered.get(&store, "b").unwrap().is_some(), "it remembers");
    }
}
