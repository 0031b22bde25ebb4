//! Needle record, format v1: the unit of a volume's log. Owner: `volume::encode`. Readers: `volume::reader`,
//! `volume::recover`, `halofs inspect`. Little endian, 8-aligned, written once, identical on every copy.
//!
//! | off | len | field | notes |
//! |---|---|---|---|
//! | 0 | 4 | magic | `HND1`: recovery finds records after damage by it |
//! | 4 | 1 | suite | 1: AES-256-GCM with derived nonces; 2 is reserved; others refused |
//! | 5 | 1 | flags | 1 tombstone, 2 compressed, 4 has_meta, 8 has_ttl, 16 chunk manifest, 32 log mark |
//! | 6 | 1 | seg_log2 | 12..=20 |
//! | 7 | 1 | zero | |
//! | 8 | 8 | needle_key | 0 for log marks only |
//! | 16 | 4 | cookie | |
//! | 20 | 4 | vol_tag | first 4 bytes of the volume uuid: finds misdirected writes without a key |
//! | 24 | 4 | plain_len | metadata and body |
//! | 28 | 2 | meta_len | the first plaintext bytes are metadata; > 0 iff flag 4 |
//! | 30 | 2 | dek_gen | |
//! | 32 | 8 | append_ns | when it was sealed; the order of records is file order |
//! | 40 | 4 | expire_s | after append_ns; > 0 iff flag 8 |
//! | 44 | 4 | hdr_crc32c | over 0..44 and 48..88 |
//! | 48 | 24 | salt | fresh per record |
//! | 72 | 16 | commit | header MAC, see `halofs_seal::needle` |
//! | 88 | .. | segments | ciphertext ‖ tag16 each; max(1, ceil(plain_len / 2^seg_log2)) of them |
//! | .. | .. | padding | 0–7 zero bytes, so that the record ends on 8 |
//! | -4 | 4 | rec_crc32c | over everything before it |
//!
//! Why this order: all that says how long the record is and what it is lies in one authenticated header, so that a scan
//! needs 88 bytes a record; the length follows from plain_len and seg_log2 and is stored nowhere else; both CRCs need no
//! key, so damage is found without one.

use halofs_seal::needle::{COMMIT, DERIVE_HEADER, SALT, TAG};

use super::{Crc32c, Fields, FormatError};

/// Bytes before the segments.
pub const HEADER: usize = 88;
/// Bytes of `rec_crc32c`.
pub const TRAILER: usize = 4;
/// Records begin and end on multiples of this.
pub const ALIGN: u64 = 8;
/// The first bytes of every record.
pub const MAGIC: [u8; 4] = *b"HND1";
const SUITE_GCM: u8 = 1;

/// The record takes a needle away.
pub const TOMBSTONE: u8 = 1;
/// The body is a gzip stream.
pub const COMPRESSED: u8 = 2;
/// The plaintext begins with metadata.
pub const HAS_META: u8 = 4;
/// The needle expires.
pub const HAS_TTL: u8 = 8;
/// The body is a chunk manifest.
pub const MANIFEST: u8 = 16;
/// The record ends a synced batch.
pub const MARK: u8 = 32;
const FLAGS: u8 = TOMBSTONE | COMPRESSED | HAS_META | HAS_TTL | MANIFEST | MARK;

const _: () = assert!(DERIVE_HEADER == 4 + 4 + 8 + 4 + 4 + 4 + 2 + 2 + 8 + 4);
const _: () = assert!(HEADER == DERIVE_HEADER + 4 + SALT + COMMIT);
const _: () = assert!(HEADER.is_multiple_of(8));

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// See the table.
    pub flags: u8,
    /// See the table.
    pub seg_log2: u8,
    /// See the table.
    pub key: u64,
    /// See the table.
    pub cookie: u32,
    /// See the table.
    pub vol_tag: [u8; 4],
    /// See the table.
    pub plain_len: u32,
    /// See the table.
    pub meta_len: u16,
    /// See the table.
    pub dek_gen: u16,
    /// See the table.
    pub append_ns: u64,
    /// See the table.
    pub expire_s: u32,
}

impl Header {
    /// Bytes 0..44, which enter the key derivation.
    pub fn encode(&self) -> [u8; DERIVE_HEADER] {
        let mut out = Vec::with_capacity(DERIVE_HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[SUITE_GCM, self.flags, self.seg_log2, 0]);
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.cookie.to_le_bytes());
        out.extend_from_slice(&self.vol_tag);
        out.extend_from_slice(&self.plain_len.to_le_bytes());
        out.extend_from_slice(&self.meta_len.to_le_bytes());
        out.extend_from_slice(&self.dek_gen.to_le_bytes());
        out.extend_from_slice(&self.append_ns.to_le_bytes());
        out.extend_from_slice(&self.expire_s.to_le_bytes());
        out.try_into().expect("the fields are 44 bytes")
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where its segments lie.
    pub fn layout(&self) -> Layout {
        Layout {
            plain_len: self.plain_len,
            seg_log2: self.seg_log2,
        }
    }
}

/// A header with its salt and MAC: the first 88 bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the record is.
    pub header: Header,
    /// Bytes 0..44 as they stand.
    pub derive: [u8; DERIVE_HEADER],
    /// See the table.
    pub salt: [u8; SALT],
    /// See the table; not verified by [`Head::decode`].
    pub commit: [u8; COMMIT],
}

impl Head {
    /// Reads the first 88 bytes of a record: structure and header CRC. The MAC is for who has the key.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes = bytes.first_chunk::<HEADER>().ok_or(FormatError::Short)?;
        let derive = *bytes
            .first_chunk::<DERIVE_HEADER>()
            .ok_or(FormatError::Short)?;
        let mut f = Fields::new(bytes);
        if f.take()? != MAGIC {
            return Err(FormatError::Magic);
        }
        let [suite, flags, seg_log2, zero] = f.take()?;
        let header = Header {
            flags,
            seg_log2,
            key: f.u64()?,
            cookie: f.u32()?,
            vol_tag: f.take()?,
            plain_len: f.u32()?,
            meta_len: f.u16()?,
            dek_gen: f.u16()?,
            append_ns: f.u64()?,
            expire_s: f.u32()?,
        };
        let crc = f.u32()?;
        let mut want = Crc32c::new();
        want.update(&derive);
        want.update(f.rest());
        if want.value() != crc {
            return Err(FormatError::Checksum);
        }
        let (salt, commit) = (f.take()?, f.take()?);
        if suite != SUITE_GCM || zero != 0 {
            return Err(FormatError::Field("suite"));
        }
        check(&header)?;
        Ok(Self {
            header,
            derive,
            salt,
            commit,
        })
    }

    /// The 88 bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut crc = Crc32c::new();
        crc.update(&self.derive);
        crc.update(&self.salt);
        crc.update(&self.commit);
        let crc = crc.value().to_le_bytes();
        let parts: [&[u8]; 4] = [&self.derive, &crc, &self.salt, &self.commit];
        parts.concat().try_into().expect("the parts are 88 bytes")
    }
}

fn check(h: &Header) -> Result<(), FormatError> {
    if h.flags & !FLAGS != 0 {
        return Err(FormatError::Field("flags"));
    }
    if !(12..=20).contains(&h.seg_log2) {
        return Err(FormatError::Field("seg_log2"));
    }
    if h.has(HAS_META) != (h.meta_len > 0) || u32::from(h.meta_len) > h.plain_len {
        return Err(FormatError::Field("meta_len"));
    }
    if h.has(HAS_TTL) != (h.expire_s > 0) {
        return Err(FormatError::Field("expire_s"));
    }
    if h.has(MARK) != (h.key == 0) {
        return Err(FormatError::Field("needle_key"));
    }
    Ok(())
}

/// Where the parts of a record lie, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Plaintext bytes.
    pub plain_len: u32,
    /// log2 of the plaintext bytes of a segment.
    pub seg_log2: u8,
}

impl Layout {
    /// Plaintext bytes of every segment but the last.
    pub fn segment(self) -> u32 {
        1 << self.seg_log2
    }

    /// How many segments, at least one.
    pub fn segments(self) -> u32 {
        self.plain_len.div_ceil(self.segment()).max(1)
    }

    /// Plaintext bytes of segment `i`.
    pub fn segment_len(self, i: u32) -> u32 {
        if i + 1 < self.segments() {
            self.segment()
        } else {
            self.plain_len - i * self.segment()
        }
    }

    /// Where segment `i` begins, from the record's start.
    pub fn segment_at(self, i: u32) -> u64 {
        HEADER as u64 + u64::from(i) * (u64::from(self.segment()) + TAG as u64)
    }

    /// Bytes before the padding.
    pub fn body_end(self) -> u64 {
        HEADER as u64 + u64::from(self.plain_len) + u64::from(self.segments()) * TAG as u64
    }

    /// Zero bytes before the trailer.
    pub fn padding(self) -> usize {
        let over = (self.body_end() + TRAILER as u64) % ALIGN;
        usize::try_from((ALIGN - over) % ALIGN).expect("less than 8")
    }

    /// Bytes of the whole record.
    pub fn record_len(self) -> u64 {
        (self.body_end() + TRAILER as u64).next_multiple_of(ALIGN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heads_round_trip_and_no_bit_may_flip(
            (key, cookie, plain_len, meta) in (1..u64::MAX, any::<u32>(), any::<u32>(), 0..60_000u16),
            (append_ns, expire_s, seg_log2) in (any::<u64>(), any::<u32>(), 12..=20u8),
            (salt, commit, bit) in (any::<[u8; 24]>(), any::<[u8; 16]>(), 0..HEADER * 8),
        ) {
            let meta_len = u16::try_from(plain_len.min(u32::from(meta))).unwrap();
            let flag = |on: bool, f| if on { f } else { 0 };
            let flags = flag(meta_len > 0, HAS_META) | flag(expire_s > 0, HAS_TTL);
            let vol_tag = [1, 2, 3, 4];
            let header = Header {
                flags, seg_log2, key, cookie, vol_tag, plain_len, meta_len, dek_gen: 3, append_ns, expire_s,
            };
            let head = Head { header, derive: header.encode(), salt, commit };
            let bytes = head.encode();
            prop_assert_eq!(Head::decode(&bytes), Ok(head));
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Head::decode(&bad).is_err());
        }

        #[test]
        fn layouts_fill_the_record(plain_len in any::<u32>(), seg_log2 in 12..=20u8) {
            let l = Layout { plain_len, seg_log2 };
            let last = l.segments() - 1;
            let end = l.segment_at(last) + u64::from(l.segment_len(last)) + TAG as u64;
            prop_assert_eq!(end, l.body_end());
            prop_assert_eq!(l.body_end() + l.padding() as u64 + TRAILER as u64, l.record_len());
            prop_assert_eq!(l.record_len() % ALIGN, 0);
            prop_assert!(l.segment_len(last) <= l.segment());
        }
    }
}
