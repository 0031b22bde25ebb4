//! An independent reading of a volume file: it shares the key derivation with the engine and nothing else. Layouts are
//! written down here again, from the format's page.

use halofs_volume::volume::head::Head;
use sha2::{Digest, Sha256};

const HEAD: usize = 8192;
const HEADER: usize = 88;
const TAG: usize = 16;
const MARK_FLAG: u8 = 32;
const TOMBSTONE_FLAG: u8 = 1;

/// A record as it stands in the file.
pub(crate) struct Record {
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) flags: u8,
    pub(crate) key: u64,
    pub(crate) commit: [u8; 16],
    pub(crate) plain: Vec<u8>,
}

impl Record {
    pub(crate) fn is_mark(&self) -> bool {
        self.flags & MARK_FLAG != 0
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags & TOMBSTONE_FLAG != 0
    }
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(b[at..at + 4].try_into().unwrap())
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(b[at..at + 8].try_into().unwrap())
}

fn crc32c(b: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, b)).unwrap()
}

/// The record at `at`, if a whole one stands there.
pub(crate) fn record(head: &Head, file: &[u8], at: usize) -> Option<Record> {
    let h = file.get(at..at + HEADER)?;
    if &h[..4] != b"HND1" || h[4] != 1 || h[20..24] != head.sb.volume[..4] {
        return None;
    }
    if crc32c(&[&h[..44], &h[48..]].concat()) != u32_at(h, 44) {
        return None;
    }
    let (flags, seg_log2, plain_len) = (h[5], h[6], usize::try_from(u32_at(h, 24)).unwrap());
    let segment = 1usize << seg_log2;
    let segments = plain_len.div_ceil(segment).max(1);
    let body_end = HEADER + plain_len + segments * TAG;
    let len = (body_end + 4).next_multiple_of(8);
    let all = file.get(at..at + len)?;
    // A mark counts as soon as its seal opens: then its batch was written whole, whatever became of its last bytes.
    let sound = crc32c(&all[..len - 4]) == u32_at(all, len - 4);
    if flags & MARK_FLAG == 0 && (!sound || all[body_end..len - 4].iter().any(|b| *b != 0)) {
        return None;
    }
    let derive = h[..44].try_into().unwrap();
    let salt = h[48..72].try_into().unwrap();
    let commit: [u8; 16] = h[72..88].try_into().unwrap();
    let dek_gen = u16::from_le_bytes(h[30..32].try_into().unwrap());
    let keys = head.sealer(dek_gen)?.derive(&derive, &salt);
    if !keys.commit_is(&commit) {
        return None;
    }
    let mut plain = Vec::with_capacity(plain_len);
    for i in 0..segments {
        let from = HEADER + i * (segment + TAG);
        let n = (plain_len - i * segment).min(segment);
        let mut piece = vec![0; n];
        let tag = all[from + n..from + n + TAG].try_into().unwrap();
        keys.open_segment(
            u32::try_from(i).unwrap(),
            i + 1 == segments,
            &all[from..from + n],
            tag,
            &mut piece,
        )
        .ok()?;
        plain.extend_from_slice(&piece);
    }
    let key = u64_at(h, 8);
    Some(Record {
        at,
        len,
        flags,
        key,
        commit,
        plain,
    })
}

/// What a walk over the marks found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Good marks.
    pub(crate) marks: usize,
    /// Batches under a mark in which bytes are bad.
    pub(crate) damaged: usize,
    /// End of the last mark.
    pub(crate) end: usize,
    /// Whole records behind it.
    pub(crate) tail: usize,
    /// Bytes behind those that are not zero.
    pub(crate) rubbish: bool,
    /// The last mark's chain.
    pub(crate) chain: [u8; 32],
}

/// Walks all marks and checks that each continues the one before.
pub(crate) fn walk(head: &Head, file: &[u8]) -> Result<Walk, String> {
    let generation = head.sb.generation;
    let first = Sha256::new()
        .chain_update(b"halofs.chain.v1\0")
        .chain_update(head.sb.volume);
    let first: [u8; 32] = first
        .chain_update(generation.to_le_bytes())
        .finalize()
        .into();
    let mut out = Walk {
        end: HEAD,
        chain: first,
        ..Walk::default()
    };
    let mut epoch = 0;
    let (mut at, mut bad, mut batch) = (HEAD, None, Vec::new());
    while at + HEADER <= file.len() {
        let Some(r) = record(head, file, at) else {
            if file[at..].iter().all(|b| *b == 0) {
                break;
            }
            bad.get_or_insert(at);
            at += 8;
            continue;
        };
        at += r.len;
        if !r.is_mark() {
            batch.push(r);
            continue;
        }
        if r.key != 0 || r.plain.len() != 64 {
            return Err(format!("the mark at {} is malformed", r.at));
        }
        let (start, length) = (u64_at(&r.plain, 16), u64_at(&r.plain, 24));
        if u64_at(&r.plain, 0) != generation || u64_at(&r.plain, 8) < epoch {
            return Err(format!(
                "generation or epoch of the mark at {} are wrong",
                r.at
            ));
        }
        if usize::try_from(start).unwrap() != out.end || start + length != r.at as u64 {
            return Err(format!(
                "the mark at {} names {start}+{length}; the one before ends at {}",
                r.at, out.end
            ));
        }
        let chain: [u8; 32] = r.plain[32..].try_into().unwrap();
        if bad.take().is_some() {
            out.damaged += 1;
        } else {
            let mut h = Sha256::new().chain_update(out.chain);
            for b in &batch {
                let len = u32::try_from(b.len).unwrap().to_le_bytes();
                h = h
                    .chain_update((b.at as u64).to_le_bytes())
                    .chain_update(len)
                    .chain_update(b.commit);
            }
            if chain != <[u8; 32]>::from(h.finalize()) {
                return Err(format!(
                    "the chain of the mark at {} does not continue",
                    r.at
                ));
            }
        }
        epoch = u64_at(&r.plain, 8);
        batch.clear();
        out.chain = chain;
        out.marks += 1;
        out.end = at;
    }
    out.tail = batch.len();
    out.rubbish = bad.is_some();
    Ok(out)
}

/// Bad ranges and what they hold, for a message about damage.
pub(crate) fn bad_ranges(head: &Head, file: &[u8]) -> Vec<String> {
    let (mut at, mut bad, mut out) = (HEAD, None, Vec::new());
    while at + HEADER <= file.len() {
        match record(head, file, at) {
            Some(r) => {
                if let Some(from) = bad.take() {
                    let bytes: &[u8] = &file[from..at];
                    let zeros = bytes.split(|b| *b != 0).map(<[u8]>::len).max().unwrap_or(0);
                    out.push(format!("{from}..{at} ({zeros} zeros in a row)"));
                }
                at += r.len;
            }
            None => {
                bad.get_or_insert(at);
                at += 8;
            }
        }
    }
    out
}
