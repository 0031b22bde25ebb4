//! Making sealed records, before and outside the writer, so that it runs on as many cores as there are callers.
//!
//! A record is made in parts of one segment each; the pieces of the body are freed as they are copied in, so that a
//! body in flight takes its size once.

use bytes::Bytes;
use halofs_client::pieces::Pieces;
use halofs_runtime::Rng;
use halofs_seal::needle::{SALT, TAG};

use crate::format::mark::Mark;
use crate::format::record::{
    COMPRESSED, HAS_META, HEADER, Head as RecordHead, Header, MANIFEST, MARK, TOMBSTONE,
};
use crate::format::{Crc32c, mark};

use super::head::Head;
use super::index::Slot;
use super::view::Applied;

/// A sealed record, ready to be written anywhere in its volume's log.
#[derive(Debug)]
pub struct Sealed {
    /// Its needle.
    pub key: u64,
    /// Plaintext bytes.
    pub plain_len: u32,
    /// Takes the needle away.
    pub tombstone: bool,
    /// When it was sealed.
    pub append_ns: u64,
    /// Its header MAC.
    pub commit: [u8; 16],
    /// Bytes of the record.
    pub len: u64,
    /// The bytes.
    pub parts: Vec<Vec<u8>>,
}

impl Sealed {
    /// As the index takes it, at `offset`.
    pub fn applied(&self, offset: u64) -> Applied {
        Applied {
            key: self.key,
            offset,
            len: self.len,
            plain_len: self.plain_len,
            tombstone: self.tombstone,
            append_ns: self.append_ns,
        }
    }
}

impl Applied {
    /// What the index will answer.
    pub fn slot(&self) -> Slot {
        if self.tombstone {
            Slot::Deleted
        } else {
            Slot::Live {
                offset: self.offset,
                plain_len: self.plain_len,
            }
        }
    }
}

/// What a record is to hold.
#[derive(Debug, Default)]
pub struct Plain {
    /// Its needle.
    pub key: u64,
    /// Its cookie.
    pub cookie: u32,
    /// Encoded metadata; empty for none.
    pub meta: Vec<u8>,
    /// The body as it is stored.
    pub body: Pieces,
    /// The body is a gzip stream.
    pub compressed: bool,
    /// The body is a chunk manifest.
    pub manifest: bool,
}

/// Seals a needle. `None` when metadata and body are longer than the format's 2^32 - 1 bytes.
pub fn seal_needle(head: &Head, rng: &dyn Rng, append_ns: u64, plain: Plain) -> Option<Sealed> {
    let plain_len = u32::try_from(plain.meta.len() + plain.body.len()).ok()?;
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    let header = Header {
        flags: flag(!plain.meta.is_empty(), HAS_META)
            | flag(plain.compressed, COMPRESSED)
            | flag(plain.manifest, MANIFEST),
        meta_len: u16::try_from(plain.meta.len()).ok()?,
        ..blank(head, plain.key, plain.cookie, append_ns)
    };
    Some(seal(
        head,
        rng,
        Header {
            plain_len,
            ..header
        },
        plain.meta,
        plain.body,
    ))
}

/// Seals the record that takes a needle away.
pub fn seal_tombstone(head: &Head, rng: &dyn Rng, append_ns: u64, key: u64, cookie: u32) -> Sealed {
    let header = Header {
        flags: TOMBSTONE,
        ..blank(head, key, cookie, append_ns)
    };
    seal(head, rng, header, Vec::new(), Pieces::new())
}

/// Seals a log mark.
pub fn seal_mark(head: &Head, rng: &dyn Rng, append_ns: u64, body: &Mark) -> Vec<u8> {
    let plain_len = u32::try_from(mark::BODY).expect("64");
    let header = Header {
        flags: MARK,
        plain_len,
        ..blank(head, 0, 0, append_ns)
    };
    let mut sealed = seal(head, rng, header, body.encode().to_vec(), Pieces::new());
    sealed.parts.pop().unwrap_or_default()
}

fn blank(head: &Head, key: u64, cookie: u32, append_ns: u64) -> Header {
    Header {
        flags: 0,
        seg_log2: head.sb.seg_log2,
        key,
        cookie,
        vol_tag: head.tag(),
        plain_len: 0,
        meta_len: 0,
        dek_gen: head.sealing(),
        append_ns,
        expire_s: 0,
    }
}

/// Seals the plaintext `meta ‖ body` segment by segment.
fn seal(head: &Head, rng: &dyn Rng, header: Header, meta: Vec<u8>, mut body: Pieces) -> Sealed {
    let mut plain = Pieces::from(Bytes::from(meta));
    while let Some(piece) = body.pop() {
        plain.push(piece);
    }
    let mut salt = [0; SALT];
    rng.fill(&mut salt);
    let derive = header.encode();
    let keys = head
        .sealer(header.dek_gen)
        .expect("the head holds its sealing key")
        .derive(&derive, &salt);
    let commit = keys.commit();
    let layout = header.layout();
    let segments = layout.segments();
    let mut crc = Crc32c::new();
    let mut parts = Vec::with_capacity(usize::try_from(segments).unwrap_or(1));
    for i in 0..segments {
        let want = usize::try_from(layout.segment_len(i)).expect("a segment is at most 1 MiB");
        let last = i + 1 == segments;
        let extra = if i == 0 { HEADER } else { 0 } + if last { layout.padding() + 4 } else { 0 };
        let mut part = Vec::with_capacity(want + TAG + extra);
        if i == 0 {
            part.extend_from_slice(
                &RecordHead {
                    header,
                    derive,
                    salt,
                    commit,
                }
                .encode(),
            );
        }
        let from = part.len();
        plain.drain_into(&mut part, want);
        let tag = keys.seal_segment(i, last, part.get_mut(from..).unwrap_or_default());
        part.extend_from_slice(&tag);
        if last {
            part.resize(part.len() + layout.padding(), 0);
        }
        crc.update(&part);
        if last {
            part.extend_from_slice(&crc.value().to_le_bytes());
        }
        parts.push(part);
    }
    let len = layout.record_len();
    debug_assert_eq!(
        parts.iter().map(|p| p.len() as u64).sum::<u64>(),
        len,
        "the layout says how long a record is"
    );
    let tombstone = header.has(TOMBSTONE);
    let (key, plain_len, append_ns) = (header.key, header.plain_len, header.append_ns);
    Sealed {
        key,
        plain_len,
        tombstone,
        append_ns,
        commit,
        len,
        parts,
    }
}
