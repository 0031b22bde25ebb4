//! Buckets, objects, chunks, parts and uploads as every service speaks of them.

use bytes::Bytes;

use crate::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use crate::{AttemptId, BucketId, FileId, Timestamp};

/// A bucket's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Never reused.
    pub id: BucketId,
    /// As users see it.
    pub name: String,
    /// The account that made it: the Owner ID of S3 answers.
    pub owner: Owner,
    /// When.
    pub created: Timestamp,
    /// The region it was created for; empty means the server's.
    pub region: String,
}

/// An account as S3 answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Opaque id.
    pub id: String,
    /// May be empty.
    pub display_name: String,
}

/// One chunk of an object: which needle holds it, and what that needle must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// The needle.
    pub fid: FileId,
    /// Plaintext bytes of the chunk, 1..=[`crate::limits::CHUNK_BYTES`]. Offsets follow by addition.
    pub len: u32,
    /// The needle's header MAC: a read that meets another one has met a stale or misdirected copy.
    pub commit: [u8; 16],
}

/// Headers that S3 stores with an object and returns as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as the client wrote it.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
}

/// One part of a completed multipart object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// The number the client gave it, 1..=10000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The part's own checksum of the upload's algorithm, if the upload has one.
    pub checksum: Option<Bytes>,
}

/// Everything about one object but its place in the name space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Without quotes: MD5 hex, or `<md5 of md5s>-<parts>`.
    pub etag: String,
    /// CRC64NVME of the whole object, kept for every object (decision 23).
    pub crc64nvme: u64,
    /// The checksum that the client chose, if it did.
    pub checksum: Option<ObjectChecksum>,
    /// Last-Modified.
    pub modified: Timestamp,
    /// Stored and returned as they came.
    pub headers: SystemHeaders,
    /// `x-amz-meta-*`, names lower case without the prefix, in the order given.
    pub user_metadata: Vec<(String, String)>,
    /// `STANDARD` until storage classes are built.
    pub storage_class: String,
    /// The chunks in order.
    pub chunks: Vec<ChunkRef>,
    /// Empty for objects of one PutObject.
    pub parts: Vec<PartInfo>,
    /// The attempt that wrote it.
    pub attempt: AttemptId,
}

/// A multipart upload that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id, also the attempt of its Complete.
    pub id: AttemptId,
    /// The key it will make.
    pub key: Bytes,
    /// Who began it.
    pub initiator: Owner,
    /// When.
    pub initiated: Timestamp,
    /// What the object will carry.
    pub headers: SystemHeaders,
    /// See [`Object::user_metadata`].
    pub user_metadata: Vec<(String, String)>,
    /// See [`Object::storage_class`].
    pub storage_class: String,
    /// The checksum algorithm and kind announced at its start.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// One uploaded part of an open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// 1..=10000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// MD5 of the part.
    pub md5: [u8; 16],
    /// CRC64NVME of the part, always computed.
    pub crc64nvme: u64,
    /// The checksum of the upload's algorithm (or of the part's own header), raw bytes.
    pub checksum: Option<(ChecksumAlgorithm, Bytes)>,
    /// When it was stored.
    pub modified: Timestamp,
    /// Its chunks in order.
    pub chunks: Vec<ChunkRef>,
    /// The attempt that wrote it: a second upload of the same number is another one.
    pub attempt: AttemptId,
}
