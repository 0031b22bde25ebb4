//! Main, one volume server and the filer in memory, for tests of what is built on their APIs. Faults are set from
//! outside; what the services were told is kept for the test to read. Feature `memory`; never part of a server.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_types::object::{Bucket, Object, Part, Upload};
use halofs_types::{
    AttemptId, BucketId, Cookie, FileId, LeaseId, NeedleKey, Timestamp, Uuid, VolumeId,
};
use parking_lot::Mutex;

use crate::error::{FilerError, MasterError, VolumeError};
use crate::filer::{
    BucketPage, CommitObject, Committed, CompleteUpload, FilerApi, Found, ListBuckets, ListEntry,
    ListObjects, ListPage, ListUploads, NewBucket, NewUpload, Precondition, UploadPage,
};
use crate::master::{
    AssignRequest, Assignment, Location, MasterApi, NodeReply, NodeReport, VolumeOwner,
};
use crate::volume::{
    CreateVolume, Deleted, Encoding, ListedNeedle, NeedleInfo, NeedleName, NeedleOwner,
    NeedleReader, PutNeedle, Stored, VolumeApi,
};

/// The three services.
#[derive(Default)]
pub struct Memory {
    /// Everything they hold; tests may look and change.
    pub state: Mutex<State>,
}

/// A needle.
#[derive(Debug, Clone)]
pub struct Needle {
    /// Its bytes.
    pub body: Bytes,
    /// Its commit.
    pub commit: [u8; 16],
    /// Whose it is.
    pub owner: Option<NeedleOwner>,
}

/// What [`Memory`] holds.
#[derive(Debug, Default)]
pub struct State {
    /// Needles by fid.
    pub needles: HashMap<FileId, Needle>,
    /// Errors that the next puts get instead of being stored.
    pub refuse_puts: VecDeque<VolumeError>,
    /// Errors that the next commits get.
    pub refuse_commits: VecDeque<FilerError>,
    /// Leases that are open.
    pub leases: HashMap<LeaseId, (FileId, u64)>,
    /// Leases that were closed, with what they left unnamed.
    pub closed: Vec<(LeaseId, Vec<FileId>)>,
    /// Calls of `assign`.
    pub assigns: Vec<AssignRequest>,
    /// The most puts that ran at a time, and those that run now.
    pub puts: (usize, usize),
    /// Buckets by name.
    pub buckets: BTreeMap<String, Bucket>,
    /// Objects.
    pub objects: BTreeMap<(BucketId, Bytes), Found>,
    /// Open uploads and their parts.
    pub uploads: BTreeMap<AttemptId, (Upload, BTreeMap<u32, Part>)>,
    /// What Completes answered.
    pub done: HashMap<AttemptId, Committed>,
    /// Grows with every write.
    pub ticks: u64,
    /// Calls of `renew_leases`.
    pub renewals: u64,
}

impl State {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn id(&mut self) -> [u8; 16] {
        let mut id = [0xa5; 16];
        id.iter_mut()
            .zip(self.tick().to_be_bytes())
            .for_each(|(o, b)| *o = b);
        id
    }

    fn holds(&self, at: &(BucketId, Bytes), precondition: &Precondition) -> bool {
        let found = self.objects.get(at);
        match precondition {
            Precondition::None => true,
            Precondition::Absent => found.is_none(),
            Precondition::EtagIn(tags) => {
                found.is_some_and(|f| tags.iter().any(|t| t == "*" || *t == f.object.etag))
            }
        }
    }

    fn store(&mut self, at: (BucketId, Bytes), mut object: Object) -> Committed {
        let revision = self.tick();
        object.modified = Timestamp::from_secs(1_700_000_000 + revision);
        let committed = Committed {
            modified: object.modified,
            etag: object.etag.clone(),
        };
        self.objects.insert(at, Found { object, revision });
        committed
    }

    fn commit(
        &mut self,
        at: (BucketId, Bytes),
        object: Object,
        p: &Precondition,
    ) -> Result<Committed, FilerError> {
        if let Some(error) = self.refuse_commits.pop_front() {
            return Err(error);
        }
        if !self.holds(&at, p) {
            return Err(FilerError::PreconditionFailed);
        }
        Ok(self.store(at, object))
    }

    fn upload(
        &self,
        key: &[u8],
        id: AttemptId,
    ) -> Result<&(Upload, BTreeMap<u32, Part>), FilerError> {
        let found = self.uploads.get(&id).filter(|(u, _)| u.key == key);
        found.ok_or_else(|| FilerError::NoUpload(id.to_string()))
    }
}

impl Memory {
    /// Empty services.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

#[async_trait]
impl MasterApi for Memory {
    async fn assign(&self, req: AssignRequest) -> Result<Assignment, MasterError> {
        let mut s = self.state.lock();
        let volume = VolumeId(req.avoid.map_or(1, |v| v.0 + 1));
        let first = s.ticks + 1;
        s.ticks += req.count;
        let count = req.count;
        s.assigns.push(req);
        let first = FileId {
            volume,
            key: NeedleKey(first),
            cookie: Cookie(7),
        };
        Ok(Assignment {
            first,
            count,
            locations: Vec::new(),
        })
    }

    async fn lookup(&self, _volume: VolumeId) -> Result<Vec<Location>, MasterError> {
        Ok(Vec::new())
    }

    async fn report(&self, _node: NodeReport) -> Result<NodeReply, MasterError> {
        Ok(NodeReply {
            volume_size_limit: 1 << 30,
            lead: Vec::new(),
        })
    }
}

struct Open {
    info: NeedleInfo,
    body: Bytes,
}

#[async_trait]
impl NeedleReader for Open {
    fn info(&self) -> &NeedleInfo {
        &self.info
    }

    async fn read(&self, _encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        let at = |n: u64| {
            usize::try_from(n)
                .unwrap_or(usize::MAX)
                .min(self.body.len())
        };
        Ok(self.body.slice(at(start)..at(end)))
    }
}

#[async_trait]
impl VolumeApi for Memory {
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError> {
        {
            let mut s = self.state.lock();
            s.puts.1 += 1;
            s.puts.0 = s.puts.0.max(s.puts.1);
        }
        tokio::task::yield_now().await;
        let mut s = self.state.lock();
        s.puts.1 -= 1;
        if let Some(error) = s.refuse_puts.pop_front() {
            return Err(error);
        }
        if s.needles.contains_key(&put.fid) {
            return Err(VolumeError::Exists(put.fid));
        }
        let (commit, body) = (s.id(), put.body.into_bytes());
        let size = body.len() as u64;
        s.needles.insert(
            put.fid,
            Needle {
                body,
                commit,
                owner: put.owner,
            },
        );
        Ok(Stored {
            commit,
            size,
            crc32c: 0,
            unchanged: false,
        })
    }

    async fn open_needle(
        &self,
        fid: FileId,
        commit: Option<[u8; 16]>,
        _owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        let s = self.state.lock();
        let needle = s.needles.get(&fid).ok_or(VolumeError::NotFound(fid))?;
        if commit.is_some_and(|c| c != needle.commit) {
            return Err(VolumeError::Mismatch(fid));
        }
        let info = NeedleInfo {
            size: needle.body.len() as u64,
            crc32c: 0,
            appended: Timestamp::default(),
            name: NeedleName::default(),
            gzip_size: None,
            manifest: false,
            commit: needle.commit,
        };
        Ok(Box::new(Open {
            info,
            body: needle.body.clone(),
        }))
    }

    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        _owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        let mut s = self.state.lock();
        let gone = fids.iter().map(|f| s.needles.remove(f));
        gone.map(|n| {
            Ok(n.map_or(Deleted::Absent, |n| Deleted::Yes {
                size: n.body.len() as u64,
            }))
        })
        .collect()
    }

    async fn list_needles(
        &self,
        volume: VolumeId,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        let s = self.state.lock();
        let here = s
            .needles
            .iter()
            .filter(|(f, _)| f.volume == volume && f.key >= first && f.key <= last);
        let mut all: Vec<ListedNeedle> = here
            .map(|(f, n)| ListedNeedle {
                fid: *f,
                owner: n.owner.clone(),
            })
            .collect();
        all.sort_by_key(|n| n.fid.key);
        all.truncate(limit);
        Ok(all)
    }

    async fn create_volume(&self, _create: CreateVolume) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn lead(&self, _volume: VolumeId, _epoch: u64) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn node_report(&self) -> NodeReport {
        NodeReport::default()
    }

    fn apply_reply(&self, _reply: &NodeReply) {}
}

#[async_trait]
impl FilerApi for Memory {
    fn store_uuid(&self) -> Uuid {
        Uuid([1; 16])
    }

    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, FilerError> {
        let mut s = self.state.lock();
        let id = BucketId(s.tick());
        let created = Timestamp::from_secs(1_700_000_000);
        let bucket = Bucket {
            id,
            name: new.name,
            owner: new.owner,
            created,
            region: new.region,
        };
        if let Some(there) = s.buckets.get(&bucket.name) {
            let owner = there.owner.id.clone();
            return Err(FilerError::BucketExists {
                name: bucket.name,
                owner,
            });
        }
        s.buckets.insert(bucket.name.clone(), bucket.clone());
        Ok(bucket)
    }

    async fn bucket(&self, name: &str) -> Result<Bucket, FilerError> {
        let s = self.state.lock();
        s.buckets
            .get(name)
            .cloned()
            .ok_or_else(|| FilerError::NoBucket(name.to_owned()))
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), FilerError> {
        let mut s = self.state.lock();
        let bucket = s
            .buckets
            .get(name)
            .cloned()
            .ok_or_else(|| FilerError::NoBucket(name.to_owned()))?;
        if s.objects.keys().any(|(b, _)| *b == bucket.id) {
            return Err(FilerError::BucketNotEmpty(name.to_owned()));
        }
        s.buckets.remove(name);
        Ok(())
    }

    async fn list_buckets(&self, list: ListBuckets) -> Result<BucketPage, FilerError> {
        let s = self.state.lock();
        let mut buckets: Vec<Bucket> = s
            .buckets
            .values()
            .filter(|b| b.name.starts_with(&list.prefix))
            .cloned()
            .collect();
        buckets.retain(|b| list.after.as_ref().is_none_or(|a| b.name > *a));
        let truncated = buckets.len() > list.limit;
        buckets.truncate(list.limit);
        Ok(BucketPage { buckets, truncated })
    }

    async fn lookup(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Found>, FilerError> {
        Ok(self
            .state
            .lock()
            .objects
            .get(&(bucket, Bytes::copy_from_slice(key)))
            .cloned())
    }

    /// Prefixes only: rolling up is the filer's business.
    async fn list(&self, bucket: BucketId, list: ListObjects) -> Result<ListPage, FilerError> {
        let s = self.state.lock();
        let here = s
            .objects
            .iter()
            .filter(|((b, k), _)| *b == bucket && k.starts_with(&list.prefix) && *k > list.after);
        let entries = here.take(list.limit).map(|((_, key), f)| ListEntry {
            key: key.clone(),
            object: f.object.clone(),
        });
        Ok(ListPage {
            entries: entries.collect(),
            prefixes: Vec::new(),
            next: None,
        })
    }

    async fn commit_object(&self, commit: CommitObject) -> Result<Committed, FilerError> {
        let mut s = self.state.lock();
        if commit.leases.iter().any(|l| !s.leases.contains_key(l)) {
            return Err(FilerError::LeaseGone);
        }
        s.commit(
            (commit.bucket.id, commit.key),
            commit.object,
            &commit.precondition,
        )
    }

    async fn replace_object(
        &self,
        bucket: Bucket,
        key: Bytes,
        revision: u64,
        object: Object,
    ) -> Result<Committed, FilerError> {
        let mut s = self.state.lock();
        let at = (bucket.id, key);
        if s.objects.get(&at).is_none_or(|f| f.revision != revision) {
            return Err(FilerError::Conflict);
        }
        Ok(s.store(at, object))
    }

    async fn delete_objects(
        &self,
        bucket: &Bucket,
        keys: Vec<(Bytes, Precondition)>,
    ) -> Vec<Result<(), FilerError>> {
        let mut s = self.state.lock();
        let one = |(key, p): (Bytes, Precondition)| {
            let at = (bucket.id, key);
            if !s.holds(&at, &p) {
                return Err(FilerError::PreconditionFailed);
            }
            s.objects.remove(&at);
            Ok(())
        };
        keys.into_iter().map(one).collect()
    }

    async fn create_upload(
        &self,
        _bucket: &Bucket,
        mut new: NewUpload,
    ) -> Result<Upload, FilerError> {
        let mut s = self.state.lock();
        new.id = AttemptId(s.id());
        s.uploads.insert(new.id, (new.clone(), BTreeMap::new()));
        Ok(new)
    }

    async fn upload(
        &self,
        _bucket: BucketId,
        key: &[u8],
        id: AttemptId,
    ) -> Result<Upload, FilerError> {
        self.state.lock().upload(key, id).map(|(u, _)| u.clone())
    }

    async fn put_part(
        &self,
        _bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
        part: Part,
        leases: Vec<LeaseId>,
    ) -> Result<(), FilerError> {
        let mut s = self.state.lock();
        if leases.iter().any(|l| !s.leases.contains_key(l)) {
            return Err(FilerError::LeaseGone);
        }
        s.upload(key, id)?;
        if let Some((_, parts)) = s.uploads.get_mut(&id) {
            parts.insert(part.number, part);
        }
        Ok(())
    }

    async fn list_parts(
        &self,
        _bucket: BucketId,
        key: &[u8],
        id: AttemptId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<Part>, bool), FilerError> {
        let s = self.state.lock();
        let (_, parts) = s.upload(key, id)?;
        let mut page: Vec<Part> = parts
            .range(after + 1..)
            .map(|(_, p)| p.clone())
            .take(limit + 1)
            .collect();
        let more = page.len() > limit;
        page.truncate(limit);
        Ok((page, more))
    }

    async fn list_uploads(
        &self,
        _bucket: BucketId,
        list: ListUploads,
    ) -> Result<UploadPage, FilerError> {
        let s = self.state.lock();
        let here = s
            .uploads
            .values()
            .filter(|(u, _)| u.key.starts_with(&list.prefix) && u.key > list.key_marker);
        let uploads = here.map(|(u, _)| u.clone()).take(list.limit).collect();
        Ok(UploadPage {
            uploads,
            ..UploadPage::default()
        })
    }

    async fn complete_upload(&self, c: CompleteUpload) -> Result<Committed, FilerError> {
        let mut s = self.state.lock();
        let (_, parts) = s.upload(&c.key, c.upload)?;
        let stale = c
            .parts
            .iter()
            .find(|(n, attempt)| parts.get(n).is_none_or(|p| p.attempt != *attempt));
        if let Some((n, _)) = stale {
            return Err(FilerError::InvalidPart(*n));
        }
        let committed = s.commit((c.bucket.id, c.key), c.object, &c.precondition)?;
        s.uploads.remove(&c.upload);
        s.done.insert(c.upload, committed.clone());
        Ok(committed)
    }

    async fn completed(
        &self,
        _bucket: BucketId,
        _key: &[u8],
        id: AttemptId,
    ) -> Result<Option<Committed>, FilerError> {
        Ok(self.state.lock().done.get(&id).cloned())
    }

    async fn abort_upload(
        &self,
        _bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
    ) -> Result<(), FilerError> {
        let mut s = self.state.lock();
        s.upload(key, id)?;
        s.uploads.remove(&id);
        Ok(())
    }

    async fn open_lease(&self, first: FileId, count: u64) -> Result<LeaseId, FilerError> {
        let mut s = self.state.lock();
        let id = LeaseId(s.id());
        s.leases.insert(id, (first, count));
        Ok(id)
    }

    async fn renew_leases(&self, leases: Vec<LeaseId>) -> Result<(), FilerError> {
        let mut s = self.state.lock();
        s.renewals += 1;
        if leases.iter().all(|l| s.leases.contains_key(l)) {
            Ok(())
        } else {
            Err(FilerError::LeaseGone)
        }
    }

    async fn close_lease(&self, lease: LeaseId, unnamed: Vec<FileId>) -> Result<(), FilerError> {
        let mut s = self.state.lock();
        s.leases.remove(&lease).ok_or(FilerError::LeaseGone)?;
        s.closed.push((lease, unnamed));
        Ok(())
    }
}
