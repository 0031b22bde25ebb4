//! Sealed metadata of needles: what the API speaks of, to and from the stored message.

use bytes::Bytes;
use halofs_client::volume::{NeedleName, NeedleOwner};
use halofs_proto::needle as wire;
use halofs_types::{AttemptId, BucketId, Timestamp, Uuid};
use prost::Message;

use crate::gzip::MEMBER;

/// What a needle's metadata says.
#[derive(Debug, Clone, Default)]
pub struct NeedleMeta {
    /// Original bytes.
    pub size: u64,
    /// CRC-32C of the original bytes.
    pub crc32c: u32,
    /// See [`NeedleName`].
    pub name: NeedleName,
    /// Where the gzip members end; empty when the body is not compressed.
    pub ends: Vec<u32>,
    /// Plaintext bytes of a member.
    pub member: u32,
    /// See [`NeedleOwner`].
    pub owner: Option<NeedleOwner>,
}

/// The stored form.
pub fn encode(m: NeedleMeta) -> Vec<u8> {
    let member_bytes = u32::try_from(MEMBER).expect("256 KiB");
    let compression = (!m.ends.is_empty()).then_some(wire::Compression {
        member_bytes,
        ends: m.ends,
    });
    let owner = m.owner.map(|o| wire::Owner {
        store: Bytes::copy_from_slice(&o.store.0),
        bucket: o.bucket.0,
        key: o.key,
        attempt: Bytes::copy_from_slice(&o.attempt.0),
        part: o.part,
        chunk: o.chunk,
    });
    let pairs = m
        .name
        .pairs
        .into_iter()
        .map(|(name, value)| wire::Pair { name, value })
        .collect();
    let message = wire::Meta {
        size: m.size,
        crc32c: m.crc32c,
        name: m.name.name,
        mime: m.name.mime,
        mtime_ns: m.name.modified.map_or(0, |t| t.0),
        pairs,
        compression,
        owner,
    };
    message.encode_to_vec()
}

/// Reads the stored form.
pub fn decode(bytes: Bytes) -> Option<NeedleMeta> {
    let m = wire::Meta::decode(bytes).ok()?;
    let owner = match m.owner {
        None => None,
        Some(o) => Some(NeedleOwner {
            store: Uuid(o.store.as_ref().try_into().ok()?),
            bucket: BucketId(o.bucket),
            key: o.key,
            attempt: AttemptId(o.attempt.as_ref().try_into().ok()?),
            part: o.part,
            chunk: o.chunk,
        }),
    };
    let name = NeedleName {
        name: m.name,
        mime: m.mime,
        pairs: m.pairs.into_iter().map(|p| (p.name, p.value)).collect(),
        modified: (m.mtime_ns != 0).then_some(Timestamp(m.mtime_ns)),
    };
    let (member, ends) = m
        .compression
        .map_or((0, Vec::new()), |c| (c.member_bytes, c.ends));
    Some(NeedleMeta {
        size: m.size,
        crc32c: m.crc32c,
        name,
        ends,
        member,
        owner,
    })
}
