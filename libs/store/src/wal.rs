//! The check of RocksDB's write-ahead log before RocksDB opens it.
//!
//! RocksDB's recovery mode kTolerateCorruptedTailRecords takes a record whose *length* is rotten for the end of the log
//! when it stands in the last 32 KiB, and so drops acknowledged batches without a word. One committer writes the log and
//! syncs it after every record, so that at most the last record of the newest log can be torn by a crash. Anything else
//! that does not verify is rot, and the store does not open.
//!
//! Format of RocksDB's log: blocks of 32,768 bytes; in each, fragments that never cross a block's end:
//!
//! | off | len | field |
//! |---|---|---|
//! | 0 | 4 | masked CRC-32C over type and payload: rotated right by 15, plus 0xa282ead8; little endian |
//! | 4 | 2 | length of the payload, little endian |
//! | 6 | 1 | type: 1 full, 2 first, 3 middle, 4 last; others stand alone |
//! | 7 | n | payload |
//!
//! Fewer than 7 bytes at a block's end are zero and not read. A bad fragment is **torn** when it runs past the end of
//! the file or when a sector of it was never written (reads as zero), and nothing that begins a record follows it. It is
//! **rot** when flipping one bit makes it verify, when a record begins behind it, or when a newer log has records.
//!
//! A torn end is cut off by us: RocksDB refuses one that holds zeros.

use std::path::{Path, PathBuf};

use halofs_runtime::Disk;
use halofs_runtime::disk::{Open, parent, read_all};

use crate::kv::StoreError;

const BLOCK: usize = 32_768;
const HEADER: usize = 7;
const SECTOR: usize = 512;
/// A batch's own header; shorter payloads begin no record.
const BATCH_HEADER: usize = 12;
/// Zero bytes at a sector's edge that count as never written.
const ZERO_RUN: usize = 16;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// What a log's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every record verifies.
    Clean,
    /// Records up to here verify; what follows is one record that was never synced.
    Torn(usize),
    /// A record at this offset was there and does not verify.
    Rot(usize),
}

struct Fragment<'a> {
    kind: u8,
    crc: u32,
    data: &'a [u8],
    end: usize,
}

fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The fragment that a header at `at` with this payload length describes, if it fits the block and the file.
fn fragment(bytes: &[u8], at: usize, flip: usize) -> Option<Fragment<'_>> {
    let header: &[u8; HEADER] = bytes.get(at..at + HEADER)?.try_into().ok()?;
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    let len = usize::from(u16::from_le_bytes([l0, l1])) ^ flip;
    let end = at + HEADER + len;
    if end > at - at % BLOCK + BLOCK {
        return None;
    }
    let data = bytes.get(at + 6..end)?;
    Some(Fragment {
        kind,
        crc: unmask(u32::from_le_bytes([c0, c1, c2, c3])),
        data,
        end,
    })
}

fn verifies(f: &Fragment<'_>) -> bool {
    !(f.kind == 0 && f.data.len() == 1) && crc_fast::crc32_iscsi(f.data) == f.crc
}

/// Judges one log. `synced`: every record was synced before the next was written.
pub fn judge(bytes: &[u8], synced: bool) -> Verdict {
    let mut at = 0;
    let mut begun: Option<usize> = None;
    loop {
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            at += left;
            continue;
        }
        if at >= bytes.len() {
            return begun.map_or(Verdict::Clean, Verdict::Torn);
        }
        let Some(f) = fragment(bytes, at, 0).filter(verifies) else {
            return judge_bad(bytes, at, begun.unwrap_or(at), synced);
        };
        begun = match (f.kind, begun) {
            (FIRST, None) => Some(at),
            (MIDDLE, Some(start)) => Some(start),
            (FULL, None) | (LAST, Some(_)) => None,
            (MIDDLE | LAST, None) | (FIRST | FULL, Some(_)) => return Verdict::Rot(at),
            (_, other) => other,
        };
        at = f.end;
    }
}

fn judge_bad(bytes: &[u8], at: usize, begun: usize, synced: bool) -> Verdict {
    if one_bit_off(bytes, at) {
        return Verdict::Rot(at);
    }
    let torn = never_written(bytes, at);
    if torn && (!synced || !record_begins_after(bytes, at)) {
        Verdict::Torn(begun)
    } else {
        Verdict::Rot(at)
    }
}

/// Whether flipping one bit of the fragment at `at` makes it verify: a crash never leaves that.
fn one_bit_off(bytes: &[u8], at: usize) -> bool {
    let length_bit = (0..16).any(|b| fragment(bytes, at, 1 << b).is_some_and(|f| verifies(&f)));
    let Some(f) = fragment(bytes, at, 0) else {
        return length_bit;
    };
    let crc = crc_fast::crc32_iscsi(f.data);
    length_bit
        || (mask(crc) ^ mask(f.crc)).is_power_of_two()
        || one_data_bit_off(f.data.len(), crc ^ f.crc)
}

/// CRCs are linear: flipping one bit of `len` bytes changes the CRC by a value that depends on the bit's place only.
fn one_data_bit_off(len: usize, difference: u32) -> bool {
    let shift = |mut s: u32| {
        for _ in 0..8 {
            s = if s & 1 == 1 {
                (s >> 1) ^ 0x82f6_3b78
            } else {
                s >> 1
            };
        }
        s
    };
    // The eight bits of the last byte; each step moves one byte to the front.
    let mut effects: [u32; 8] = std::array::from_fn(|bit| shift(1 << bit));
    for _ in 0..len {
        if effects.contains(&difference) {
            return true;
        }
        effects = effects.map(shift);
    }
    false
}

/// Whether the fragment at `at` runs past the file's end, or a sector's part of it reads as zero.
fn never_written(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(header) = rest.get(..HEADER) else {
        return true;
    };
    if header.iter().all(|b| *b == 0) {
        return true;
    }
    let block_end = at - at % BLOCK + BLOCK;
    let len = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let fits = at + HEADER + len <= block_end;
    if fits && at + HEADER + len > bytes.len() {
        return true;
    }
    let end = if fits {
        at + HEADER + len
    } else {
        block_end.min(bytes.len())
    };
    let mut from = at;
    while from < end {
        let to = (from - from % SECTOR + SECTOR).min(end);
        let part = bytes.get(from..to).unwrap_or_default();
        if part.len() >= ZERO_RUN && part.iter().all(|b| *b == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// Whether a record begins behind the bad fragment at `at`: at any byte of its block, and in later blocks where the
/// format says so.
fn record_begins_after(bytes: &[u8], at: usize) -> bool {
    let begins = |f: &Fragment<'_>| {
        (f.kind == FULL || f.kind == FIRST) && f.data.len() > BATCH_HEADER && verifies(f)
    };
    let block_end = (at - at % BLOCK + BLOCK).min(bytes.len());
    if (at + 1..block_end).any(|o| fragment(bytes, o, 0).is_some_and(|f| begins(&f))) {
        return true;
    }
    let mut block = at - at % BLOCK + BLOCK;
    while block < bytes.len() {
        let mut at = block;
        while let Some(f) = fragment(bytes, at, 0).filter(|f| at < block + BLOCK && verifies(f)) {
            if begins(&f) {
                return true;
            }
            at = f.end;
        }
        block += BLOCK;
    }
    false
}

/// Checks the logs of a RocksDB folder and cuts the torn end of the newest one. Rot is an error that names the file.
pub fn check(disk: &dyn Disk, dir: &Path, synced: bool) -> Result<(), StoreError> {
    let refuse = |path: &Path, reason: String| StoreError::Open {
        path: path.display().to_string(),
        reason,
    };
    let io = |e: std::io::Error| refuse(dir, e.to_string());
    let mut logs: Vec<(u64, PathBuf)> = Vec::new();
    for entry in disk.list(dir).map_err(io)? {
        if let Some(number) = entry.name.strip_suffix(".log").and_then(|n| n.parse().ok()) {
            logs.push((number, dir.join(&entry.name)));
        }
    }
    logs.sort();
    let mut newer_has_records = false;
    for (_, path) in logs.iter().rev() {
        let bytes = read_all(disk, path).map_err(|e| refuse(path, e.to_string()))?;
        let at = match judge(&bytes, synced) {
            Verdict::Clean => None,
            Verdict::Torn(at) if !newer_has_records => {
                cut(disk, path, at).map_err(|e| refuse(path, e.to_string()))?;
                tracing::warn!(file = %path.display(), at, bytes = bytes.len() - at, "cut a record that was never synced");
                None
            }
            Verdict::Torn(at) | Verdict::Rot(at) => Some(at),
        };
        if let Some(at) = at {
            return Err(refuse(
                path,
                format!(
                    "the log is damaged at byte {at}: acknowledged writes are at stake; restore the file"
                ),
            ));
        }
        newer_has_records |= !bytes.is_empty();
    }
    Ok(())
}

fn cut(disk: &dyn Disk, path: &Path, at: usize) -> std::io::Result<()> {
    let file = disk.open(path, Open::ReadWrite)?;
    file.set_len(u64::try_from(at).map_err(|_| std::io::ErrorKind::FileTooLarge)?)?;
    file.sync_all()?;
    disk.sync_dir(parent(path))
}

#[cfg(test)]
mod tests;
