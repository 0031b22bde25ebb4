//! Values of the rows: protobuf to and from the words of `halofs_types`.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_proto::filer as pb;
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use halofs_types::limits::INLINE_CHUNKS_MAX;
use halofs_types::object::{
    Bucket, ChunkRef, Object, Owner, Part, PartInfo, SystemHeaders, Upload,
};
use halofs_types::{AttemptId, BucketId, Cookie, FileId, NeedleKey, Timestamp, VolumeId};
use prost::Message;

/// Parts and chunks of one run row, at most.
const RUN: usize = 1000;

/// Why a value could not be read.
fn bad(what: &'static str) -> FilerError {
    FilerError::Damaged(format!("{what} is not readable"))
}

/// Decodes a row's value.
pub(crate) fn decode<M: Message + Default>(
    value: &Bytes,
    what: &'static str,
) -> Result<M, FilerError> {
    M::decode(value.clone()).map_err(|_| bad(what))
}

fn id16(bytes: &Bytes, what: &'static str) -> Result<[u8; 16], FilerError> {
    bytes.as_ref().try_into().map_err(|_| bad(what))
}

fn owner_to(o: &Owner) -> pb::Owner {
    pb::Owner {
        id: o.id.clone(),
        display_name: o.display_name.clone(),
    }
}

fn owner_from(o: Option<pb::Owner>) -> Owner {
    o.map(|o| Owner {
        id: o.id,
        display_name: o.display_name,
    })
    .unwrap_or_default()
}

pub(crate) fn bucket_to(b: &Bucket) -> Bytes {
    let row = pb::Bucket {
        id: b.id.0,
        owner: Some(owner_to(&b.owner)),
        created_ns: b.created.0,
        region: b.region.clone(),
        versioning: 0,
        object_lock: false,
        configs: Vec::new(),
    };
    row.encode_to_vec().into()
}

pub(crate) fn bucket_from(name: &str, value: &Bytes) -> Result<Bucket, FilerError> {
    let row: pb::Bucket = decode(value, "a bucket")?;
    if row.id == 0 {
        return Err(bad("a bucket"));
    }
    Ok(Bucket {
        id: BucketId(row.id),
        name: name.to_owned(),
        owner: owner_from(row.owner),
        created: Timestamp(row.created_ns),
        region: row.region,
    })
}

fn chunk_to(c: &ChunkRef) -> pb::Chunk {
    pb::Chunk {
        volume: c.fid.volume.0,
        key: c.fid.key.0,
        cookie: c.fid.cookie.0,
        len: c.len,
        commit: Bytes::copy_from_slice(&c.commit),
    }
}

fn chunk_from(c: &pb::Chunk) -> Result<ChunkRef, FilerError> {
    let fid = FileId {
        volume: VolumeId(c.volume),
        key: NeedleKey(c.key),
        cookie: Cookie(c.cookie),
    };
    Ok(ChunkRef {
        fid,
        len: c.len,
        commit: id16(&c.commit, "a chunk")?,
    })
}

fn chunks_from(chunks: &[pb::Chunk]) -> Result<Vec<ChunkRef>, FilerError> {
    chunks.iter().map(chunk_from).collect()
}

fn part_info_to(p: &PartInfo) -> pb::PartInfo {
    pb::PartInfo {
        number: p.number,
        size: p.size,
        checksum: p.checksum.clone(),
    }
}

fn part_info_from(p: pb::PartInfo) -> PartInfo {
    PartInfo {
        number: p.number,
        size: p.size,
        checksum: p.checksum,
    }
}

fn headers_to(h: &SystemHeaders) -> pb::Headers {
    let h = h.clone();
    pb::Headers {
        content_type: h.content_type,
        content_encoding: h.content_encoding,
        content_language: h.content_language,
        content_disposition: h.content_disposition,
        cache_control: h.cache_control,
        expires: h.expires,
        website_redirect: h.website_redirect,
    }
}

fn headers_from(h: Option<pb::Headers>) -> SystemHeaders {
    let h = h.unwrap_or_default();
    SystemHeaders {
        content_type: h.content_type,
        content_encoding: h.content_encoding,
        content_language: h.content_language,
        content_disposition: h.content_disposition,
        cache_control: h.cache_control,
        expires: h.expires,
        website_redirect: h.website_redirect,
    }
}

fn pairs_to(pairs: &[(String, String)]) -> Vec<pb::Pair> {
    pairs
        .iter()
        .map(|(n, v)| pb::Pair {
            name: n.clone(),
            value: v.clone(),
        })
        .collect()
}

fn pairs_from(pairs: Vec<pb::Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|p| (p.name, p.value)).collect()
}

fn algorithm_from(n: u32) -> Result<ChecksumAlgorithm, FilerError> {
    Ok(match n {
        1 => ChecksumAlgorithm::Crc32,
        2 => ChecksumAlgorithm::Crc32c,
        3 => ChecksumAlgorithm::Crc64Nvme,
        4 => ChecksumAlgorithm::Sha1,
        5 => ChecksumAlgorithm::Sha256,
        6 => ChecksumAlgorithm::Sha512,
        7 => ChecksumAlgorithm::Md5,
        8 => ChecksumAlgorithm::Xxhash64,
        9 => ChecksumAlgorithm::Xxhash3,
        10 => ChecksumAlgorithm::Xxhash128,
        _ => return Err(bad("a checksum algorithm")),
    })
}

fn kind_from(n: u32) -> Result<ChecksumKind, FilerError> {
    match n {
        1 => Ok(ChecksumKind::FullObject),
        2 => Ok(ChecksumKind::Composite),
        _ => Err(bad("a checksum kind")),
    }
}

fn checksum_to(c: &ObjectChecksum) -> pb::Checksum {
    pb::Checksum {
        algorithm: c.algorithm as u32,
        kind: c.kind as u32,
        value: c.value.clone(),
    }
}

fn checksum_from(c: pb::Checksum) -> Result<ObjectChecksum, FilerError> {
    Ok(ObjectChecksum {
        algorithm: algorithm_from(c.algorithm)?,
        kind: kind_from(c.kind)?,
        value: c.value,
    })
}

/// The row of an object, and its run rows when it has too many parts or chunks for one.
pub(crate) fn object_to(o: &Object, order: u64) -> (Bytes, Vec<Bytes>) {
    let parts: Vec<pb::PartInfo> = o.parts.iter().map(part_info_to).collect();
    let chunks: Vec<pb::Chunk> = o.chunks.iter().map(chunk_to).collect();
    let mut row = pb::Object {
        size: o.size,
        etag: o.etag.clone(),
        crc64nvme: o.crc64nvme,
        checksum: o.checksum.as_ref().map(checksum_to),
        modified_ns: o.modified.0,
        headers: Some(headers_to(&o.headers)),
        user_metadata: pairs_to(&o.user_metadata),
        storage_class: o.storage_class.clone(),
        attempt: Bytes::copy_from_slice(&o.attempt.0),
        order,
        ..pb::Object::default()
    };
    if parts.len() <= INLINE_CHUNKS_MAX && chunks.len() <= INLINE_CHUNKS_MAX {
        row.parts = parts;
        row.chunks = chunks;
        return (row.encode_to_vec().into(), Vec::new());
    }
    let runs: Vec<Bytes> = (0..parts.len().max(chunks.len()).div_ceil(RUN))
        .map(|n| {
            let parts = parts.chunks(RUN).nth(n).unwrap_or_default().to_vec();
            let chunks = chunks.chunks(RUN).nth(n).unwrap_or_default().to_vec();
            pb::Run { parts, chunks }.encode_to_vec().into()
        })
        .collect();
    row.runs = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    (row.encode_to_vec().into(), runs)
}

/// An object's row as it is stored: `runs` rows are still to be read when it is not 0.
pub(crate) struct Stored {
    pub(crate) object: Object,
    pub(crate) runs: u32,
    pub(crate) order: u64,
}

pub(crate) fn object_from(value: &Bytes) -> Result<Stored, FilerError> {
    let row: pb::Object = decode(value, "an object")?;
    let object = Object {
        size: row.size,
        etag: row.etag,
        crc64nvme: row.crc64nvme,
        checksum: row.checksum.map(checksum_from).transpose()?,
        modified: Timestamp(row.modified_ns),
        headers: headers_from(row.headers),
        user_metadata: pairs_from(row.user_metadata),
        storage_class: row.storage_class,
        chunks: chunks_from(&row.chunks)?,
        parts: row.parts.into_iter().map(part_info_from).collect(),
        attempt: AttemptId(id16(&row.attempt, "an object")?),
    };
    Ok(Stored {
        object,
        runs: row.runs,
        order: row.order,
    })
}

/// Adds a run row to its object.
pub(crate) fn add_run(object: &mut Object, value: &Bytes) -> Result<(), FilerError> {
    let run: pb::Run = decode(value, "a run of chunks")?;
    object
        .parts
        .extend(run.parts.into_iter().map(part_info_from));
    object.chunks.extend(chunks_from(&run.chunks)?);
    Ok(())
}

/// What a listing shows of an object: no headers, metadata, parts or chunks.
pub(crate) fn head_from(value: &Bytes) -> Result<Object, FilerError> {
    let row: pb::ObjectHead = decode(value, "an object")?;
    Ok(Object {
        size: row.size,
        etag: row.etag,
        crc64nvme: row.crc64nvme,
        checksum: row.checksum.map(checksum_from).transpose()?,
        modified: Timestamp(row.modified_ns),
        headers: SystemHeaders::default(),
        user_metadata: Vec::new(),
        storage_class: row.storage_class,
        chunks: Vec::new(),
        parts: Vec::new(),
        attempt: AttemptId(id16(&row.attempt, "an object")?),
    })
}

pub(crate) fn upload_to(u: &Upload, opened: Timestamp) -> Bytes {
    let row = pb::Upload {
        initiator: Some(owner_to(&u.initiator)),
        initiated_ns: u.initiated.0,
        headers: Some(headers_to(&u.headers)),
        user_metadata: pairs_to(&u.user_metadata),
        storage_class: u.storage_class.clone(),
        checksum_algorithm: u.checksum.map_or(0, |(a, _)| a as u32),
        checksum_kind: u.checksum.map_or(0, |(_, k)| k as u32),
        tags: Vec::new(),
        lock: None,
        sse: None,
        opened_ns: opened.0,
    };
    row.encode_to_vec().into()
}

pub(crate) fn upload_from(key: Bytes, id: AttemptId, value: &Bytes) -> Result<Upload, FilerError> {
    let row: pb::Upload = decode(value, "an upload")?;
    let checksum = match row.checksum_algorithm {
        0 => None,
        n => Some((algorithm_from(n)?, kind_from(row.checksum_kind)?)),
    };
    Ok(Upload {
        id,
        key,
        initiator: owner_from(row.initiator),
        initiated: Timestamp(row.initiated_ns),
        headers: headers_from(row.headers),
        user_metadata: pairs_from(row.user_metadata),
        storage_class: row.storage_class,
        checksum,
    })
}

pub(crate) fn part_to(p: &Part) -> Bytes {
    let row = pb::Part {
        size: p.size,
        md5: Bytes::copy_from_slice(&p.md5),
        crc64nvme: p.crc64nvme,
        checksum: p.checksum.as_ref().map(|(a, v)| pb::Checksum {
            algorithm: *a as u32,
            kind: 0,
            value: v.clone(),
        }),
        modified_ns: p.modified.0,
        attempt: Bytes::copy_from_slice(&p.attempt.0),
        chunks: p.chunks.iter().map(chunk_to).collect(),
    };
    row.encode_to_vec().into()
}

pub(crate) fn part_from(number: u32, value: &Bytes) -> Result<Part, FilerError> {
    let row: pb::Part = decode(value, "a part")?;
    let checksum = |c: pb::Checksum| Ok::<_, FilerError>((algorithm_from(c.algorithm)?, c.value));
    Ok(Part {
        number,
        size: row.size,
        md5: id16(&row.md5, "a part")?,
        crc64nvme: row.crc64nvme,
        checksum: row.checksum.map(checksum).transpose()?,
        modified: Timestamp(row.modified_ns),
        chunks: chunks_from(&row.chunks)?,
        attempt: AttemptId(id16(&row.attempt, "a part")?),
    })
}
