//! `<vid>.ckpt`, format v1: the index of a volume as of the end of a synced mark, so that a mount reads the log from
//! there only. Derived: a checkpoint that does not fit its volume is ignored and the log is read whole. Replaced by
//! rename and folder sync. Owner: `volume::checkpoint`.
//!
//! | off | len | field | notes |
//! |---|---|---|---|
//! | 0 | 8 | magic | `HALOCKP1` |
//! | 8 | 2 | fmt_ver | 1 |
//! | 10 | 2 | min_reader | 1 |
//! | 12 | 4 | ranges | damaged ranges of unknown keys |
//! | 16 | 16 | volume_uuid | |
//! | 32 | 8 | generation | |
//! | 40 | 8 | offset | end of a mark; that mark is read again at mount and its chain compared |
//! | 48 | 32 | chain | at that offset |
//! | 80 | 8 | epoch | of that mark |
//! | 88 | 8 | append_ns | the newest record's |
//! | 96 | 8 | dead_files | tombstoned and superseded needles |
//! | 104 | 8 | dead_bytes | of their records |
//! | 112 | 8 | entries | |
//! | 120 | 8 | zero | |
//! | 128 | 16×r | ranges | start, end |
//! | .. | 16×n | entries | key u64, place u32 (offset / 8; 1: deleted), plain_len u32; keys ascend |
//! | .. | 4 | crc32c | over everything before it |

use super::{Fields, FormatError, crc32c};

const MAGIC: [u8; 8] = *b"HALOCKP1";
const VERSION: u16 = 1;
/// Bytes before the ranges.
pub const HEAD: usize = 128;
/// Bytes of an entry.
pub const ENTRY: usize = 16;

/// The fixed part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointHead {
    /// Whose.
    pub volume: [u8; 16],
    /// Of the file.
    pub generation: u64,
    /// See the table.
    pub offset: u64,
    /// See the table.
    pub chain: [u8; 32],
    /// See the table.
    pub epoch: u64,
    /// See the table.
    pub append_ns: u64,
    /// See the table.
    pub dead_files: u64,
    /// See the table.
    pub dead_bytes: u64,
    /// Damaged ranges whose keys are unknown.
    pub ranges: Vec<(u64, u64)>,
}

/// One needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: u64,
    /// See the table.
    pub place: u32,
    /// See the table.
    pub plain_len: u32,
}

/// The file's bytes. `count` entries come from `entries`, keys ascending.
pub fn encode(
    head: &CheckpointHead,
    count: usize,
    entries: impl Iterator<Item = Entry>,
) -> Vec<u8> {
    let ranges = u32::try_from(head.ranges.len()).expect("far fewer than 2^32 damaged ranges");
    let mut b = Vec::with_capacity(HEAD + head.ranges.len() * 16 + count * ENTRY + 4);
    b.extend_from_slice(&MAGIC);
    b.extend_from_slice(&VERSION.to_le_bytes());
    b.extend_from_slice(&VERSION.to_le_bytes());
    b.extend_from_slice(&ranges.to_le_bytes());
    b.extend_from_slice(&head.volume);
    b.extend_from_slice(&head.generation.to_le_bytes());
    b.extend_from_slice(&head.offset.to_le_bytes());
    b.extend_from_slice(&head.chain);
    for n in [
        head.epoch,
        head.append_ns,
        head.dead_files,
        head.dead_bytes,
        count as u64,
        0,
    ] {
        b.extend_from_slice(&n.to_le_bytes());
    }
    for (start, end) in &head.ranges {
        b.extend_from_slice(&start.to_le_bytes());
        b.extend_from_slice(&end.to_le_bytes());
    }
    for e in entries {
        b.extend_from_slice(&e.key.to_le_bytes());
        b.extend_from_slice(&e.place.to_le_bytes());
        b.extend_from_slice(&e.plain_len.to_le_bytes());
    }
    let crc = crc32c(&b);
    b.extend_from_slice(&crc.to_le_bytes());
    b
}

/// Reads the file's bytes; every entry goes to `each`.
pub fn decode(bytes: &[u8], mut each: impl FnMut(Entry)) -> Result<CheckpointHead, FormatError> {
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short)?;
    let mut f = Fields::new(covered);
    if f.take()? != MAGIC {
        return Err(FormatError::Magic);
    }
    if crc32c(covered).to_le_bytes() != *crc {
        return Err(FormatError::Checksum);
    }
    let (version, needs) = (f.u16()?, f.u16()?);
    if needs > VERSION {
        return Err(FormatError::Newer { version, needs });
    }
    let ranges = f.u32()?;
    let mut head = CheckpointHead {
        volume: f.take()?,
        generation: f.u64()?,
        offset: f.u64()?,
        chain: f.take()?,
        epoch: f.u64()?,
        append_ns: f.u64()?,
        dead_files: f.u64()?,
        dead_bytes: f.u64()?,
        ranges: Vec::new(),
    };
    let entries = f.u64()?;
    f.zero(8)?;
    let want = u64::from(ranges)
        .saturating_mul(16)
        .saturating_add(entries.saturating_mul(ENTRY as u64));
    if f.rest().len() as u64 != want {
        return Err(FormatError::Field("entries"));
    }
    head.ranges = (0..ranges)
        .map(|_| Ok((f.u64()?, f.u64()?)))
        .collect::<Result<_, FormatError>>()?;
    let mut last = None;
    for _ in 0..entries {
        let e = Entry {
            key: f.u64()?,
            place: f.u32()?,
            plain_len: f.u32()?,
        };
        if last.is_some_and(|k| k >= e.key) || e.place == 0 {
            return Err(FormatError::Field("entry"));
        }
        last = Some(e.key);
        each(e);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips_and_no_bit_may_flip(
            (volume, chain, offset) in (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<u64>()),
            ranges in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..3),
            keys in proptest::collection::btree_map(any::<u64>(), (1..u32::MAX, any::<u32>()), 0..40),
            at in any::<usize>(),
        ) {
            let head = CheckpointHead { volume, chain, offset, ranges, epoch: 5, ..CheckpointHead::default() };
            let entries: Vec<Entry> =
                keys.into_iter().map(|(key, (place, plain_len))| Entry { key, place, plain_len }).collect();
            let bytes = encode(&head, entries.len(), entries.iter().copied());
            let mut got = Vec::new();
            prop_assert_eq!(decode(&bytes, |e| got.push(e)), Ok(head));
            prop_assert_eq!(got, entries);
            let mut bad = bytes.clone();
            let bit = at % (bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bad, |_| ()).is_err());
            prop_assert!(decode(&bytes[..at % bytes.len()], |_| ()).is_err());
        }
    }
}
