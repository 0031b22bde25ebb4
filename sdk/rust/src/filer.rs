//! The filer's API: names, and the transactions that make bytes visible under them.

use async_trait::async_trait;
use bytes::Bytes;
use halofs_types::object::{Bucket, Object, Owner, Part, Upload};
use halofs_types::{AttemptId, BucketId, FileId, LeaseId, Timestamp};

use crate::error::FilerError;

/// A bucket to make.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// Already checked against the S3 naming rules.
    pub name: String,
    /// Who makes it.
    pub owner: Owner,
    /// LocationConstraint, may be empty.
    pub region: String,
}

/// A page of buckets to list, ascending by name.
#[derive(Debug, Clone, Default)]
pub struct ListBuckets {
    /// Only names with this prefix.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only this owner's, when given.
    pub owner: Option<String>,
}

/// A page of buckets.
#[derive(Debug, Clone, Default)]
pub struct BucketPage {
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// More follow after the last one.
    pub truncated: bool,
}

/// An object found, with the revision of its row.
#[derive(Debug, Clone)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Grows with every write of the row.
    pub revision: u64,
}

/// What must hold of the key's current object when a write commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: no object.
    Absent,
    /// `If-Match`: an object with one of these ETags (no quotes); `*` is any object.
    EtagIn(Vec<String>),
}

/// A put that becomes visible.
#[derive(Debug, Clone)]
pub struct CommitObject {
    /// The bucket as it was looked up: its id is a precondition.
    pub bucket: Bucket,
    /// The object key.
    pub key: Bytes,
    /// What becomes visible. `modified` is set by the filer.
    pub object: Object,
    /// Must hold.
    pub precondition: Precondition,
    /// Leases that cover the chunks: each must be live.
    pub leases: Vec<LeaseId>,
    /// [`FilerApi::time`] when this commit was sent for the first time; its repeats carry the same. Later than ten
    /// minutes after it the answer is not remembered any more, and a repeat is refused.
    pub sent: Timestamp,
}

/// What a commit made.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Last-Modified.
    pub modified: Timestamp,
    /// The object as stored.
    pub etag: String,
}

/// A page of objects to list.
#[derive(Debug, Clone, Default)]
pub struct ListObjects {
    /// Only keys with this prefix.
    pub prefix: Bytes,
    /// Roll up keys that have this after the prefix; empty for none.
    pub delimiter: Bytes,
    /// Only keys after this one. A value that ends a common prefix also skips the keys below it.
    pub after: Bytes,
    /// Entries, common prefixes included, at most [`halofs_types::limits::PAGE_MAX`].
    pub limit: usize,
}

/// An entry of a listing.
#[derive(Debug, Clone)]
pub struct ListEntry {
    /// The whole key.
    pub key: Bytes,
    /// The object; `chunks` and `parts` may be left empty.
    pub object: Object,
}

/// A page of a listing.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// Objects, ascending by the bytes of their keys.
    pub entries: Vec<ListEntry>,
    /// Common prefixes, ascending.
    pub prefixes: Vec<Bytes>,
    /// Where the next page starts: pass it as `after`. `None` at the end.
    pub next: Option<Bytes>,
}

/// An upload to begin. `id`, `initiated` of [`Upload`] are set by the filer.
pub type NewUpload = Upload;

/// A page of uploads to list, ascending by (key, initiated, id).
#[derive(Debug, Clone, Default)]
pub struct ListUploads {
    /// Only keys with this prefix.
    pub prefix: Bytes,
    /// See [`ListObjects::delimiter`].
    pub delimiter: Bytes,
    /// Only keys after this one, or uploads of it after `upload_marker`.
    pub key_marker: Bytes,
    /// See `key_marker`.
    pub upload_marker: Option<AttemptId>,
    /// At most so many.
    pub limit: usize,
}

/// A page of uploads.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// Uploads.
    pub uploads: Vec<Upload>,
    /// Common prefixes.
    pub prefixes: Vec<Bytes>,
    /// More follow.
    pub truncated: bool,
    /// Markers of the next page.
    pub next: Option<(Bytes, Option<AttemptId>)>,
}

/// A part of a Complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletePart {
    /// Its number.
    pub number: u32,
    /// The ETag the client names (no quotes).
    pub etag: String,
}

/// A Complete that was checked by the gateway against the parts it read.
#[derive(Debug, Clone)]
pub struct CompleteUpload {
    /// The bucket as it was looked up.
    pub bucket: Bucket,
    /// The key.
    pub key: Bytes,
    /// The upload.
    pub upload: AttemptId,
    /// The parts by number and the attempt that was read: each must still be that one.
    pub parts: Vec<(u32, AttemptId)>,
    /// What becomes visible: size, ETag, checksums, chunks, parts of the whole.
    pub object: Object,
    /// Must hold.
    pub precondition: Precondition,
}

/// The filer, in this process or another.
#[async_trait]
pub trait FilerApi: Send + Sync + 'static {
    /// Identity of the store: goes into needle owners.
    fn store_uuid(&self) -> halofs_types::Uuid;

    /// The filer's own time, for [`CommitObject::sent`]. It does not jump.
    fn time(&self) -> Timestamp {
        Timestamp(u64::MAX)
    }
    /// Whether a commit would find room on the filer's disk once `_bytes` more are on it: asked before a body is read, so
    /// that a full disk is not filled further with needles that get no name.
    fn room(&self, _bytes: u64) -> Result<(), FilerError> {
        Ok(())
    }

    /// Makes a bucket.
    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, FilerError>;
    /// Reads a bucket; `NoBucket` when there is none.
    async fn bucket(&self, name: &str) -> Result<Bucket, FilerError>;
    /// Removes an empty bucket; open uploads go with it.
    async fn delete_bucket(&self, name: &str) -> Result<(), FilerError>;
    /// Lists buckets.
    async fn list_buckets(&self, list: ListBuckets) -> Result<BucketPage, FilerError>;

    /// The current object of a key, chunks included.
    async fn lookup(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Found>, FilerError>;
    /// Lists objects. Cost is O(page).
    async fn list(&self, bucket: BucketId, list: ListObjects) -> Result<ListPage, FilerError>;
    /// Makes an object visible, queues what it replaces for collection, in one synced transaction. Repeats of an
    /// attempt answer what the first one did.
    async fn commit_object(&self, commit: CommitObject) -> Result<Committed, FilerError>;
    /// Replaces headers and metadata of an object in place (a copy onto itself that replaces): compare-and-set on
    /// `revision`, chunks kept.
    async fn replace_object(
        &self,
        bucket: Bucket,
        key: Bytes,
        revision: u64,
        object: Object,
    ) -> Result<Committed, FilerError>;
    /// Deletes keys; each is a transaction of its own, all submitted together. Answers in order. Deleting what is not
    /// there succeeds unless its precondition says otherwise.
    async fn delete_objects(
        &self,
        bucket: &Bucket,
        keys: Vec<(Bytes, Precondition)>,
    ) -> Vec<Result<(), FilerError>>;

    /// Begins an upload and returns it with its id.
    async fn create_upload(&self, bucket: &Bucket, new: NewUpload) -> Result<Upload, FilerError>;
    /// Reads an upload of that key.
    async fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
    ) -> Result<Upload, FilerError>;
    /// Stores a part; one of the same number is replaced and queued for collection.
    async fn put_part(
        &self,
        bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
        part: Part,
        leases: Vec<LeaseId>,
    ) -> Result<(), FilerError>;
    /// Parts with numbers after `after`, ascending, at most `limit`; whether more follow. Chunks included.
    async fn list_parts(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<Part>, bool), FilerError>;
    /// Lists open uploads.
    async fn list_uploads(
        &self,
        bucket: BucketId,
        list: ListUploads,
    ) -> Result<UploadPage, FilerError>;
    /// Makes an upload's object visible; parts not named are queued for collection. A repeat after success answers
    /// the same.
    async fn complete_upload(&self, complete: CompleteUpload) -> Result<Committed, FilerError>;
    /// What a Complete of this upload answered, while it is remembered (`done/` row).
    async fn completed(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
    ) -> Result<Option<Committed>, FilerError>;
    /// Drops an upload and queues its parts for collection.
    async fn abort_upload(
        &self,
        bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
    ) -> Result<(), FilerError>;

    /// Records a lease on `count` fids from `first` on, synced, before any of them is used.
    async fn open_lease(&self, first: FileId, count: u64) -> Result<LeaseId, FilerError>;
    /// Renews leases: live for another 10 minutes. `LeaseGone` when any of them is gone; the others are renewed.
    async fn renew_leases(&self, leases: Vec<LeaseId>) -> Result<(), FilerError>;
    /// Ends a lease in one transaction: the row goes, the fids that were written and never committed are queued for
    /// collection.
    async fn close_lease(&self, lease: LeaseId, unnamed: Vec<FileId>) -> Result<(), FilerError>;
}
