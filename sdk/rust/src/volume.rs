//! A volume server's API: needles in, out and away.

use async_trait::async_trait;
use bytes::Bytes;
use halofs_types::{AttemptId, BucketId, FileId, NeedleKey, Placement, Timestamp, Uuid, VolumeId};

use crate::error::VolumeError;
use crate::master::{NodeReply, NodeReport, VolumeOwner};
use crate::pieces::Pieces;

/// Who in the filer owns a needle: sealed with it, read by the orphan scan and the lease collector only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedleOwner {
    /// The filer's store.
    pub store: Uuid,
    /// The bucket.
    pub bucket: BucketId,
    /// The object key.
    pub key: Bytes,
    /// The attempt that wrote it.
    pub attempt: AttemptId,
    /// Part number, 0 for a PutObject.
    pub part: u32,
    /// Number of the chunk within object or part.
    pub chunk: u32,
}

/// What native uploads store beside the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeedleName {
    /// File name, may be empty.
    pub name: String,
    /// Mime type, may be empty.
    pub mime: String,
    /// Header pairs, names without their prefix.
    pub pairs: Vec<(String, String)>,
    /// Last-Modified, when the client gave one (`ts`).
    pub modified: Option<Timestamp>,
}

/// A needle to store.
#[derive(Debug)]
pub struct PutNeedle {
    /// Where.
    pub fid: FileId,
    /// The original bytes, not compressed.
    pub body: Pieces,
    /// Filer needles have an owner; native ones a name.
    pub owner: Option<NeedleOwner>,
    /// See `owner`.
    pub name: NeedleName,
    /// Compress when it pays (native only; decision 22).
    pub compress: bool,
    /// Body is a chunk manifest (`cm=true`).
    pub manifest: bool,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The record's header MAC: name it when reading.
    pub commit: [u8; 16],
    /// Original bytes.
    pub size: u64,
    /// CRC-32C of the original bytes: the native ETag.
    pub crc32c: u32,
    /// The same bytes under the same cookie were there already; nothing was written.
    pub unchanged: bool,
}

/// What a needle is, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedleInfo {
    /// Original bytes.
    pub size: u64,
    /// See [`Stored::crc32c`].
    pub crc32c: u32,
    /// When the record was sealed.
    pub appended: Timestamp,
    /// See [`NeedleName`].
    pub name: NeedleName,
    /// Bytes of the gzip form when the needle is stored compressed.
    pub gzip_size: Option<u64>,
    /// Chunk manifest.
    pub manifest: bool,
    /// See [`Stored::commit`].
    pub commit: [u8; 16],
}

/// Which representation of a needle to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The original bytes.
    Identity,
    /// The stored gzip stream; only for needles whose `gzip_size` is known.
    Gzip,
}

/// An open needle: its bytes can be read in any order. It pins the volume's file and generation.
#[async_trait]
pub trait NeedleReader: Send + Sync {
    /// What it is.
    fn info(&self) -> &NeedleInfo;
    /// Bytes `start..end` of the representation, every one of them verified. Callers ask for at most 1 MiB at a time.
    async fn read(&self, encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError>;
}

/// One answer of a batch delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// A tombstone is synced; the record had this many original bytes.
    Yes {
        /// Original bytes of what is gone.
        size: u64,
    },
    /// There was nothing.
    Absent,
}

/// A needle as the collector lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNeedle {
    /// Its name.
    pub fid: FileId,
    /// Its owner, when the filer has one.
    pub owner: Option<NeedleOwner>,
}

/// A volume to create. Idempotent by `uuid`.
#[derive(Debug, Clone)]
pub struct CreateVolume {
    /// Number.
    pub id: VolumeId,
    /// Identity.
    pub uuid: Uuid,
    /// Name space.
    pub collection: String,
    /// Identity of the name space.
    pub collection_uuid: Uuid,
    /// Whose.
    pub owner: VolumeOwner,
    /// For recovery only.
    pub placement: Placement,
    /// The epoch that this server leads.
    pub epoch: u64,
    /// 0 for a new volume, +1 a vacuum.
    pub generation: u64,
}

/// A volume server, in this process or another.
#[async_trait]
pub trait VolumeApi: Send + Sync + 'static {
    /// Stores a needle on every in-sync copy and returns after all have synced.
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError>;
    /// Opens a needle. `commit` is what the filer knows of it: another record is [`VolumeError::Mismatch`]. The wrong
    /// cookie is `NotFound`. `owner` says who asks: to native clients a filer volume does not exist.
    async fn open_needle(
        &self,
        fid: FileId,
        commit: Option<[u8; 16]>,
        owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError>;
    /// Deletes needles of one or more volumes; tombstones of one volume share their syncs. Answers in order.
    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>>;
    /// Live needles of a volume with keys in `first..=last`, at most `limit`, ascending.
    async fn list_needles(
        &self,
        volume: VolumeId,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError>;
    /// Creates a volume; returns once it is durable and mounted.
    async fn create_volume(&self, create: CreateVolume) -> Result<(), VolumeError>;
    /// Opens an epoch that this server leads: the kept tail, if any, gets its mark, then the volume serves and takes
    /// writes. Lower epochs than the highest promised are refused (`replication.md` 2, 3).
    async fn lead(&self, volume: VolumeId, epoch: u64) -> Result<(), VolumeError>;
    /// This server's report for main.
    async fn node_report(&self) -> NodeReport;
    /// What main answered to the report.
    fn apply_reply(&self, reply: &NodeReply);
}
