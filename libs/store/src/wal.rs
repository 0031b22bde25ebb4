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
//!
//! A store that ran without syncs ([`Written::Unsynced`]) may have lost any of the last second's bytes in a power cut,
//! also in a log that is not the newest. What it gets back is a prefix of what it wrote: the first bytes that were never
//! written end it, in the middle of a log or between two, which the batches' sequence numbers tell. Newer logs are set
//! aside as `<number>.log.lost`. A killed process loses nothing: its bytes are all there. Logs whose tables were written
//! were synced before by RocksDB itself, so that a gap never lies in what is only waiting to be removed.
//!
//! A batch begins with its first sequence number (u64) and the count of its operations (u32), little endian.

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

/// How a store's logs were last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Every batch was synced before it was answered.
    Synced,
    /// Every second.
    Unsynced,
}

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

/// A log that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub verdict: Verdict,
    /// The first sequence number of its first batch.
    pub first: Option<u64>,
    /// One past the last sequence number of its last whole batch.
    pub next: Option<u64>,
}

/// The sequence numbers of the batches of a log, while it is read.
#[derive(Default)]
struct Numbers {
    header: [u8; BATCH_HEADER],
    filled: usize,
    first: Option<u64>,
    next: Option<u64>,
}

impl Numbers {
    /// The next piece of a batch; `begins` when it is its first.
    fn piece(&mut self, payload: &[u8], begins: bool) {
        if begins {
            self.filled = 0;
        }
        for (place, byte) in self.header.iter_mut().skip(self.filled).zip(payload) {
            *place = *byte;
        }
        self.filled = (self.filled + payload.len()).min(BATCH_HEADER);
    }

    /// The batch is whole.
    fn end(&mut self) {
        let Some((sequence, count)) = self.header.split_first_chunk::<8>() else {
            return;
        };
        if self.filled == BATCH_HEADER
            && let Some(count) = count.first_chunk::<4>()
        {
            let sequence = u64::from_le_bytes(*sequence);
            self.first.get_or_insert(sequence);
            self.next = Some(sequence.saturating_add(u32::from_le_bytes(*count).into()));
        }
    }
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

/// Judges one log.
pub fn judge(bytes: &[u8], written: Written) -> Judged {
    let mut numbers = Numbers::default();
    let verdict = walk(bytes, written, &mut numbers);
    Judged {
        verdict,
        first: numbers.first,
        next: numbers.next,
    }
}

fn walk(bytes: &[u8], written: Written, numbers: &mut Numbers) -> Verdict {
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
            return judge_bad(bytes, at, begun.unwrap_or(at), written);
        };
        if matches!(f.kind, FULL | FIRST | MIDDLE | LAST) {
            numbers.piece(f.data.get(1..).unwrap_or_default(), begun.is_none());
        }
        begun = match (f.kind, begun) {
            (FIRST, None) => Some(at),
            (MIDDLE, Some(start)) => Some(start),
            (FULL, None) | (LAST, Some(_)) => {
                numbers.end();
                None
            }
            (MIDDLE | LAST, None) | (FIRST | FULL, Some(_)) => return Verdict::Rot(at),
            (_, other) => other,
        };
        at = f.end;
    }
}

fn judge_bad(bytes: &[u8], at: usize, begun: usize, written: Written) -> Verdict {
    if one_bit_off(bytes, at) {
        return Verdict::Rot(at);
    }
    let torn = match written {
        Written::Synced => never_written(bytes, at, ZERO_RUN) && !record_begins_after(bytes, at),
        // A page that was written back while its log grew ends anywhere.
        Written::Unsynced => never_written(bytes, at, 1),
    };
    if torn {
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

/// Whether the fragment at `at` runs past the file's end, or a sector's part of it, `run` bytes at least, reads as zero.
fn never_written(bytes: &[u8], at: usize, run: usize) -> bool {
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
        if part.len() >= run && part.iter().all(|b| *b == 0) {
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

/// Checks the logs of a RocksDB folder, oldest first, and cuts what was never synced off the last one. Rot is an error
/// that names the file; so is, in logs that were synced, a torn end that a newer log follows.
pub fn check(disk: &dyn Disk, dir: &Path, written: Written) -> Result<(), StoreError> {
    let mut logs: Vec<(u64, PathBuf)> = Vec::new();
    for entry in disk.list(dir).map_err(|e| refuse(dir, &e))? {
        if let Some(number) = entry.name.strip_suffix(".log").and_then(|n| n.parse().ok()) {
            logs.push((number, dir.join(&entry.name)));
        }
    }
    logs.sort();
    let mut left = logs.as_slice();
    let mut expected: Option<u64> = None;
    while let Some(((_, path), newer)) = left.split_first() {
        let bytes = read_all(disk, path).map_err(|e| refuse(path, &e))?;
        let judged = judge(&bytes, written);
        let gap = expected.zip(judged.first).is_some_and(|(e, f)| f > e);
        if written == Written::Unsynced && gap {
            return set_aside(disk, left).map_err(|e| refuse(path, &e));
        }
        let at = match judged.verdict {
            Verdict::Clean => bytes.len(),
            Verdict::Torn(at) => at,
            Verdict::Rot(at) => return Err(damaged(path, at)),
        };
        // RocksDB begins no log while the one before has no batch.
        let whole = judged.next.is_some() || written == Written::Synced;
        if judged.verdict != Verdict::Clean || !whole {
            match written {
                Written::Synced if has_bytes(disk, newer).map_err(|e| refuse(path, &e))? => {
                    return Err(damaged(path, at));
                }
                Written::Synced => {}
                Written::Unsynced => set_aside(disk, newer).map_err(|e| refuse(path, &e))?,
            }
            // After the newer ones are out of the way: a start that is cut short in between finds the same gap again.
            return cut(disk, path, at, bytes.len()).map_err(|e| refuse(path, &e));
        }
        expected = judged.next.or(expected);
        left = newer;
    }
    Ok(())
}

fn refuse(path: &Path, e: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open {
        path: path.display().to_string(),
        reason: e.to_string(),
    }
}

fn damaged(path: &Path, at: usize) -> StoreError {
    refuse(
        path,
        &format!(
            "the log is damaged at byte {at}: acknowledged writes are at stake; restore the file"
        ),
    )
}

fn has_bytes(disk: &dyn Disk, logs: &[(u64, PathBuf)]) -> std::io::Result<bool> {
    for (_, path) in logs {
        if !disk.open(path, Open::Read)?.is_empty()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Newest first, so that what is left has no hole whenever this is cut short. Empty logs are left.
fn set_aside(disk: &dyn Disk, logs: &[(u64, PathBuf)]) -> std::io::Result<()> {
    for (_, path) in logs.iter().rev() {
        if disk.open(path, Open::Read)?.is_empty()? {
            continue;
        }
        let mut lost = path.clone().into_os_string();
        lost.push(".lost");
        disk.rename(path, Path::new(&lost))?;
        disk.sync_dir(parent(path))?;
        tracing::warn!(
            file = %path.display(),
            "the store ran without syncs, and bytes before this log are missing: the log is set aside as {} and may be deleted",
            Path::new(&lost).display()
        );
    }
    Ok(())
}

fn cut(disk: &dyn Disk, path: &Path, at: usize, len: usize) -> std::io::Result<()> {
    if at == len {
        return Ok(());
    }
    let file = disk.open(path, Open::ReadWrite)?;
    file.set_len(u64::try_from(at).map_err(|_| std::io::ErrorKind::FileTooLarge)?)?;
    file.sync_all()?;
    disk.sync_dir(parent(path))?;
    tracing::warn!(file = %path.display(), at, bytes = len - at, "cut a record that was never synced");
    Ok(())
}

#[cfg(test)]
mod tests;
