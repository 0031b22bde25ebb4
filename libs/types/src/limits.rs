//! Every hard bound of halofs in one place, related by assertions where one follows from another.

/// Bytes of an object that one needle holds (a chunk), except the last of an object or part.
pub const CHUNK_BYTES: usize = 8 << 20;
/// Plaintext bytes of one sealed segment: 64 KiB (`seg_log2` 16).
pub const SEGMENT_LOG2: u8 = 16;
/// Sealed metadata of one needle, at most.
pub const NEEDLE_META_BYTES_MAX: usize = 60 << 10;
/// Default of `-fileSizeLimitMB`: a native body is buffered whole, up to this.
pub const NATIVE_FILE_BYTES_DEFAULT: u64 = 256 << 20;
/// The largest `-fileSizeLimitMB` that the record format can hold, in MiB.
pub const NATIVE_FILE_MB_MAX: u64 = 4000;
/// `Seaweed-*` pairs of one native upload, names and values together.
pub const NATIVE_PAIRS_BYTES_MAX: usize = 48 << 10;
/// A native file name or mime type of this many bytes or more is dropped.
pub const NATIVE_NAME_BYTES_MAX: usize = 256;
/// Keys that an assign steps by at least, so that un-reserved `_delta` fids never meet another family.
pub const ASSIGN_STEP_MIN: u64 = 256;
/// The largest `count` of one assign.
pub const ASSIGN_COUNT_MAX: u64 = 1 << 20;
/// Keys that the state machine hands out as one range.
pub const KEY_RANGE: u64 = 1_000_000;
/// Keys of one gateway lease (`replication.md` 19).
pub const LEASE_KEYS_MAX: u64 = 4_000;
/// Default volume size limit in MiB.
pub const VOLUME_SIZE_MB_DEFAULT: u64 = 4096;
/// An object key, in bytes of UTF-8 (AWS: object key naming guidelines).
pub const KEY_BYTES_MAX: usize = 1024;
/// User metadata of one object, names and values together (AWS: 2 KB).
pub const USER_METADATA_BYTES_MAX: usize = 2048;
/// One PutObject or UploadPart (AWS: 5 GiB).
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Smallest part but the last (AWS: 5 MiB).
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Parts of one upload (AWS: 10,000).
pub const PARTS_MAX: u32 = 10_000;
/// Keys of one page of a listing, parts, uploads, and of DeleteObjects.
pub const PAGE_MAX: usize = 1000;
/// Buckets of one page of ListBuckets (AWS: 10,000).
pub const BUCKET_PAGE_MAX: usize = 10_000;
/// Chunks that an object's row names inline; more go into `chunks/` rows.
pub const INLINE_CHUNKS_MAX: usize = 64;
/// XML request bodies.
pub const XML_BYTES_MAX: usize = 2 << 20;
/// The document of a Complete: 10,000 parts with their checksums.
pub const COMPLETE_BYTES_MAX: usize = 8 << 20;
/// Bytes of one data chunk of an `aws-chunked` body that the gateway buffers.
pub const SIGNED_CHUNK_BYTES_MAX: usize = 16 << 20;
/// Open connections of one listener.
pub const CONNECTIONS_MAX: usize = 4096;
/// Request and response body bytes in flight in one process, by default.
pub const BYTES_IN_FLIGHT_DEFAULT: usize = 128 << 20;
/// How long a request waits for admission before 503 SlowDown (native 429).
pub const ADMISSION_WAIT_SECS: u64 = 10;
/// Records and bytes that a volume's writer takes into one batch.
pub const BATCH_RECORDS_MAX: usize = 1024;
/// See [`BATCH_RECORDS_MAX`].
pub const BATCH_BYTES_MAX: usize = 32 << 20;
/// Tombstones that the garbage collector hands to a volume at once, at least when there are as many.
pub const GC_BATCH: usize = 1024;
/// Between two scans for needles that no row names.
pub const ORPHAN_SCAN_SECS: u64 = 7 * 24 * 3600;
/// How long a GC entry ripens, in seconds (`replication.md` 20).
pub const GC_RIPE_SECS: u64 = 15 * 60;
/// The same under space pressure.
pub const GC_RIPE_PRESSED_SECS: u64 = 60;
/// How long a `done/<attempt>` row answers repeats, in seconds (`replication.md` 21).
pub const DONE_SECS: u64 = 600;
/// Default life of a multipart upload that nobody completes, in seconds.
pub const UPLOAD_EXPIRY_SECS_DEFAULT: u64 = 7 * 24 * 3600;

const _: () = assert!(LEASE_KEYS_MAX <= 4096 && KEY_RANGE > LEASE_KEYS_MAX);
const _: () = assert!(GC_BATCH >= 256);
const _: () = assert!(NATIVE_FILE_MB_MAX << 20 < u32::MAX as u64 - NEEDLE_META_BYTES_MAX as u64);
const _: () = assert!(CHUNK_BYTES as u64 <= NATIVE_FILE_BYTES_DEFAULT);
