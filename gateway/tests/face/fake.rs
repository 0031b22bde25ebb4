//! Services that hold names in memory and no bytes: enough for everything that is not the data path.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::filer::*;
use halofs_client::master::*;
use halofs_client::volume::*;
use halofs_client::{FilerError, MasterError, VolumeError};
use halofs_types::object::{Bucket, Object, Part, SystemHeaders, Upload};
use halofs_types::{AttemptId, BucketId, FileId, LeaseId, NeedleKey, Timestamp, Uuid, VolumeId};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

#[derive(Default)]
struct Names {
    buckets: BTreeMap<String, Bucket>,
    objects: BTreeMap<(u64, Bytes), Object>,
    touched: u64,
    /// Lookups of objects and of uploads wait for a permit, when there is one to wait for.
    gate: Option<Arc<Semaphore>>,
    /// What commits leave of the disk, when it is limited.
    free: Option<u64>,
}

/// The filer.
#[derive(Default, Clone)]
pub(crate) struct FakeFiler(Arc<Mutex<Names>>);

impl FakeFiler {
    /// An object without bytes.
    pub(crate) fn put(&self, bucket: &str, key: &str) {
        let mut names = self.0.lock();
        let id = names.buckets[bucket].id.0;
        let object = Object {
            size: 3,
            etag: "900150983cd24fb0d6963f7d28e17f72".to_owned(),
            crc64nvme: 1,
            checksum: None,
            modified: Timestamp::from_secs(1_700_000_000),
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            storage_class: "STANDARD".to_owned(),
            chunks: Vec::new(),
            parts: Vec::new(),
            attempt: AttemptId::default(),
        };
        names
            .objects
            .insert((id, Bytes::copy_from_slice(key.as_bytes())), object);
    }

    /// From now on lookups wait until the gate lets them through.
    pub(crate) fn shut(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.0.lock().gate = Some(Arc::clone(&gate));
        gate
    }

    /// So many bytes are free beside what is kept for deletes.
    pub(crate) fn limit(&self, free: u64) {
        self.0.lock().free = Some(free);
    }

    async fn pass(&self) {
        let gate = self.0.lock().gate.clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
    }

    /// Calls that change something, so far.
    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().touched
    }
}

fn no<T>() -> Result<T, FilerError> {
    Err(FilerError::Unavailable("not in this fake".to_owned()))
}

#[async_trait]
impl FilerApi for FakeFiler {
    fn store_uuid(&self) -> Uuid {
        Uuid([7; 16])
    }

    fn room(&self, bytes: u64) -> Result<(), FilerError> {
        match self.0.lock().free {
            Some(free) if free < bytes => Err(FilerError::Full(format!("{free} bytes free"))),
            _ => Ok(()),
        }
    }

    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, FilerError> {
        let mut names = self.0.lock();
        if let Some(b) = names.buckets.get(&new.name) {
            return Err(FilerError::BucketExists {
                name: new.name,
                owner: b.owner.id.clone(),
            });
        }
        names.touched += 1;
        let id = BucketId(names.buckets.len() as u64 + 1);
        let created = Timestamp::from_secs(1_700_000_000);
        let bucket = Bucket {
            id,
            name: new.name.clone(),
            owner: new.owner,
            created,
            region: new.region,
        };
        names.buckets.insert(new.name, bucket.clone());
        Ok(bucket)
    }

    async fn bucket(&self, name: &str) -> Result<Bucket, FilerError> {
        self.0
            .lock()
            .buckets
            .get(name)
            .cloned()
            .ok_or_else(|| FilerError::NoBucket(name.to_owned()))
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), FilerError> {
        let mut names = self.0.lock();
        let id = names
            .buckets
            .get(name)
            .map(|b| b.id.0)
            .ok_or_else(|| FilerError::NoBucket(name.to_owned()))?;
        if names.objects.keys().any(|(b, _)| *b == id) {
            return Err(FilerError::BucketNotEmpty(name.to_owned()));
        }
        names.touched += 1;
        names.buckets.remove(name);
        Ok(())
    }

    async fn list_buckets(&self, list: ListBuckets) -> Result<BucketPage, FilerError> {
        let names = self.0.lock();
        let mut all = names.buckets.values().filter(|b| {
            b.name.starts_with(&list.prefix) && list.after.as_ref().is_none_or(|a| b.name > *a)
        });
        let buckets: Vec<Bucket> = all.by_ref().take(list.limit).cloned().collect();
        Ok(BucketPage {
            buckets,
            truncated: all.next().is_some(),
        })
    }

    async fn lookup(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Found>, FilerError> {
        self.pass().await;
        let found = self
            .0
            .lock()
            .objects
            .get(&(bucket.0, Bytes::copy_from_slice(key)))
            .cloned();
        Ok(found.map(|object| Found {
            object,
            revision: 1,
        }))
    }

    async fn list(&self, bucket: BucketId, list: ListObjects) -> Result<ListPage, FilerError> {
        let names = self.0.lock();
        let mut page = ListPage::default();
        let mut end = Bytes::new();
        for ((b, key), object) in &names.objects {
            let past = key > &list.after
                && !(is_common(&list.after, &list.delimiter) && key.starts_with(&list.after));
            if *b != bucket.0 || !key.starts_with(&list.prefix) || !past {
                continue;
            }
            let rest = &key[list.prefix.len()..];
            let at =
                find(rest, &list.delimiter).map(|i| list.prefix.len() + i + list.delimiter.len());
            let name = at.map_or_else(|| key.clone(), |end| key.slice(..end));
            if at.is_some() && page.prefixes.last() == Some(&name) {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == list.limit {
                page.next = Some(end);
                return Ok(page);
            }
            end = name.clone();
            match at {
                Some(_) => page.prefixes.push(name),
                None => page.entries.push(ListEntry {
                    key: name,
                    object: object.clone(),
                }),
            }
        }
        Ok(page)
    }

    async fn commit_object(&self, _: CommitObject) -> Result<Committed, FilerError> {
        self.0.lock().touched += 1;
        no()
    }
    async fn replace_object(
        &self,
        _: Bucket,
        _: Bytes,
        _: u64,
        _: Object,
    ) -> Result<Committed, FilerError> {
        self.0.lock().touched += 1;
        no()
    }
    async fn delete_objects(
        &self,
        bucket: &Bucket,
        keys: Vec<(Bytes, Precondition)>,
    ) -> Vec<Result<(), FilerError>> {
        let mut names = self.0.lock();
        names.touched += 1;
        keys.into_iter()
            .map(|(key, _)| {
                names.objects.remove(&(bucket.id.0, key));
                Ok(())
            })
            .collect()
    }
    async fn create_upload(&self, _: &Bucket, _: NewUpload) -> Result<Upload, FilerError> {
        self.0.lock().touched += 1;
        no()
    }
    async fn upload(&self, _: BucketId, _: &[u8], id: AttemptId) -> Result<Upload, FilerError> {
        self.pass().await;
        Err(FilerError::NoUpload(id.to_string()))
    }
    async fn put_part(
        &self,
        _: &Bucket,
        _: &[u8],
        _: AttemptId,
        _: Part,
        _: Vec<LeaseId>,
    ) -> Result<(), FilerError> {
        self.0.lock().touched += 1;
        no()
    }
    async fn list_parts(
        &self,
        _: BucketId,
        _: &[u8],
        id: AttemptId,
        _: u32,
        _: usize,
    ) -> Result<(Vec<Part>, bool), FilerError> {
        Err(FilerError::NoUpload(id.to_string()))
    }
    async fn list_uploads(&self, _: BucketId, _: ListUploads) -> Result<UploadPage, FilerError> {
        Ok(UploadPage::default())
    }
    async fn complete_upload(&self, _: CompleteUpload) -> Result<Committed, FilerError> {
        self.0.lock().touched += 1;
        no()
    }
    async fn completed(
        &self,
        _: BucketId,
        _: &[u8],
        _: AttemptId,
    ) -> Result<Option<Committed>, FilerError> {
        Ok(None)
    }
    async fn abort_upload(&self, _: &Bucket, _: &[u8], id: AttemptId) -> Result<(), FilerError> {
        Err(FilerError::NoUpload(id.to_string()))
    }
    async fn open_lease(&self, _: FileId, _: u64) -> Result<LeaseId, FilerError> {
        no()
    }
    async fn renew_leases(&self, _: Vec<LeaseId>) -> Result<(), FilerError> {
        Ok(())
    }
    async fn close_lease(&self, _: LeaseId, _: Vec<FileId>) -> Result<(), FilerError> {
        Ok(())
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    if what.is_empty() {
        None
    } else {
        text.windows(what.len()).position(|w| w == what)
    }
}

fn is_common(after: &[u8], delimiter: &[u8]) -> bool {
    !delimiter.is_empty() && after.ends_with(delimiter)
}

/// Main and volume: nothing to give.
pub(crate) struct Nothing;

#[async_trait]
impl MasterApi for Nothing {
    async fn assign(&self, _: AssignRequest) -> Result<Assignment, MasterError> {
        Err(MasterError::Unavailable("a fake".to_owned()))
    }
    async fn lookup(&self, volume: VolumeId) -> Result<Vec<Location>, MasterError> {
        Err(MasterError::UnknownVolume(volume))
    }
    async fn report(&self, _: NodeReport) -> Result<NodeReply, MasterError> {
        Err(MasterError::Unavailable("a fake".to_owned()))
    }
}

#[async_trait]
impl VolumeApi for Nothing {
    async fn put_needle(&self, _: PutNeedle) -> Result<Stored, VolumeError> {
        Err(VolumeError::Stopping)
    }
    async fn open_needle(
        &self,
        fid: FileId,
        _: Option<[u8; 16]>,
        _: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        Err(VolumeError::NotFound(fid))
    }
    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        _: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        fids.iter().map(|_| Err(VolumeError::Stopping)).collect()
    }
    async fn list_needles(
        &self,
        _: VolumeId,
        _: NeedleKey,
        _: NeedleKey,
        _: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        Ok(Vec::new())
    }
    async fn create_volume(&self, _: CreateVolume) -> Result<(), VolumeError> {
        Err(VolumeError::Stopping)
    }
    async fn lead(&self, _: VolumeId, _: u64) -> Result<(), VolumeError> {
        Err(VolumeError::Stopping)
    }
    async fn node_report(&self) -> NodeReport {
        NodeReport::default()
    }
    fn apply_reply(&self, _: &NodeReply) {}
}
