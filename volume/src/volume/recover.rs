//! Reading a log at mount: which records stand, where the log ends, what is rot and what was never acknowledged.
//!
//! The rules (`docs/format/volume.md` tells them at length):
//! 1. A record stands when its header's CRC and MAC and its record CRC are right at its place. After damage the scan
//!    looks for the next header at multiples of 8; the MAC makes a false find impossible.
//! 2. A *good mark* is one whose seal opens, whose generation is the volume's, whose epoch does not fall and that stands
//!    right behind the batch it names. Only the last good mark's end, found after reading to the end of the file, says
//!    what is damage: bad bytes before it are rot and stay where they are.
//! 3. In the batch of the last good mark bad bytes may also be a batch that was torn by a power cut and never
//!    acknowledged. Space is written ahead with zeros, so what did not reach the disk reads as zeros: a bad range with a
//!    run of 16 zero bytes (no record has one) is *torn*, all else is rot. What was found torn is remembered in
//!    `<vid>.state` before the volume takes a write, because later marks make it look like rot.
//! 4. After the last good mark, records that stand one after the other are the *kept tail*; from the first bad byte on
//!    the rest goes to quarantine, unless it is all zeros. Nothing of the tail is served before a mark covers it.
//! 5. A rotten record whose header is whole has a known key, and only that key is damaged. A bad range that is exactly
//!    one mark (the chain of the next mark proves it) damages nobody. Any other bad range may hide the newest record of
//!    any key before it.

use std::io;

use halofs_seal::needle::TAG;

use crate::format::FormatError;
use crate::format::mark::{self, Chain, Mark, chain_start};
use crate::format::record::{ALIGN, HEADER, Head as RecordHead, MAGIC, MARK, TOMBSTONE, TRAILER};
use crate::format::superblock;
use crate::format::{Crc32c, record};

use super::head::Head;
use super::view::Applied;
use super::window::Window;

/// A record that the scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
    /// Its needle.
    pub key: u64,
    /// Plaintext bytes.
    pub plain_len: u32,
    /// Takes the needle away.
    pub tombstone: bool,
    /// When it was sealed.
    pub append_ns: u64,
    commit: [u8; 16],
    whole: bool,
}

impl Found {
    /// As the index takes it.
    pub fn applied(&self) -> Applied {
        Applied {
            key: self.key,
            offset: self.offset,
            len: self.len,
            plain_len: self.plain_len,
            tombstone: self.tombstone,
            append_ns: self.append_ns,
        }
    }

    /// Its header MAC.
    pub fn commit(&self) -> &[u8; 16] {
        &self.commit
    }
}

/// Where a scan begins: a mark's end.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The mark's end, or the end of the head.
    pub offset: u64,
    /// The chain there.
    pub chain: [u8; 32],
    /// The mark's epoch.
    pub epoch: u64,
}

impl Start {
    /// The beginning of a volume's log.
    pub fn of_log(head: &Head) -> Self {
        let chain = chain_start(&head.sb.volume, head.sb.generation);
        Self {
            offset: superblock::HEAD,
            chain,
            epoch: 0,
        }
    }
}

/// What a scan found beside the records.
#[derive(Debug, Default)]
pub struct Scan {
    /// End of the last good mark.
    pub end: u64,
    /// The chain there.
    pub chain: [u8; 32],
    /// That mark's epoch.
    pub epoch: u64,
    /// Where the last good mark's batch begins.
    pub last_start: u64,
    /// Records behind the last good mark, in order.
    pub tail: Vec<Found>,
    /// End of the tail.
    pub tail_end: u64,
    /// Bytes to cut: from the end of the tail to the last byte that is not zero.
    pub cut: Option<(u64, u64)>,
    /// Rotten ranges that may hide a record of any key.
    pub unknown: Vec<(u64, u64)>,
    /// Rotten ranges in all: count.
    pub rotten: u64,
    /// Torn ranges, as far as they were found now.
    pub torn: Vec<(u64, u64)>,
}

/// One thing in the log.
#[derive(Debug, Clone, Copy)]
enum Item {
    Record(Found),
    /// A mark that is no good mark, with its length.
    DeadMark(u64, u64),
    Bad(u64, u64),
}

/// Zero bytes in a row that no record holds and that space written ahead does.
const UNWRITTEN: usize = 16;

/// Reads the log from `start` to the end of the file. Records under marks go to `apply` in file order.
pub fn scan(
    head: &Head,
    window: &mut Window<'_>,
    start: Start,
    known_torn: &[(u64, u64)],
    apply: &mut dyn FnMut(&Found),
) -> io::Result<Scan> {
    let mut s = Scanner {
        head,
        window,
        known_torn,
        pending: Vec::new(),
        last_batch: Vec::new(),
        out: Scan {
            end: start.offset,
            chain: start.chain,
            epoch: start.epoch,
            ..Scan::default()
        },
    };
    s.out.last_start = start.offset;
    s.run(start.offset, apply)?;
    s.finish(apply)?;
    Ok(s.out)
}

struct Scanner<'a, 'w> {
    head: &'a Head,
    window: &'a mut Window<'w>,
    known_torn: &'a [(u64, u64)],
    /// Behind the last good mark.
    pending: Vec<Item>,
    /// Of the last good mark's batch: judged when the next good mark or the end of the file is found.
    last_batch: Vec<Item>,
    out: Scan,
}

impl Scanner<'_, '_> {
    fn run(&mut self, from: u64, apply: &mut dyn FnMut(&Found)) -> io::Result<()> {
        let mut at = from;
        while at < self.window.end() {
            let Some(head) = self.header(at)? else {
                let next = self.next_header(at + ALIGN)?;
                let Some(next) = next else {
                    let used = self.window.last_used(at)?;
                    if used > at {
                        self.pending.push(Item::Bad(at, used));
                    }
                    return Ok(());
                };
                self.pending.push(Item::Bad(at, next));
                at = next;
                continue;
            };
            let len = head.header.layout().record_len();
            let whole = self.record_crc(at, len)?;
            if head.header.has(MARK) {
                match self.good_mark(at, len, &head)? {
                    Some(mark) => self.close(at + len, &mark, apply)?,
                    None => self.pending.push(Item::DeadMark(at, len)),
                }
            } else {
                let h = &head.header;
                self.pending.push(Item::Record(Found {
                    offset: at,
                    len,
                    key: h.key,
                    plain_len: h.plain_len,
                    tombstone: h.has(TOMBSTONE),
                    append_ns: h.append_ns,
                    commit: head.commit,
                    whole,
                }));
            }
            at += len;
        }
        Ok(())
    }

    /// The authenticated header at `at`, if one stands there and its record ends inside the file.
    fn header(&mut self, at: u64) -> io::Result<Option<RecordHead>> {
        let bytes = self.window.bytes(at, HEADER)?;
        let Ok(head) = RecordHead::decode(bytes) else {
            return Ok(None);
        };
        Ok(
            if self.is_ours(&head) && at + head.header.layout().record_len() <= self.window.end() {
                Some(head)
            } else {
                None
            },
        )
    }

    fn is_ours(&self, head: &RecordHead) -> bool {
        let sealer = self.head.sealer(head.header.dek_gen);
        head.header.vol_tag == self.head.tag()
            && sealer.is_some_and(|s| s.header_holds(&head.derive, &head.salt, &head.commit))
    }

    /// Where the next header stands at or behind `from`.
    fn next_header(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from.next_multiple_of(ALIGN);
        while at + HEADER as u64 <= self.window.end() {
            let piece = self.window.bytes(at, 64 << 10)?;
            let aligned = piece.chunks(8).position(|c| c.starts_with(&MAGIC));
            let step = piece.len() as u64;
            match aligned {
                Some(i) => {
                    at += i as u64 * ALIGN;
                    if self.header(at)?.is_some() {
                        return Ok(Some(at));
                    }
                    at += ALIGN;
                }
                None => at += step.max(ALIGN).next_multiple_of(ALIGN),
            }
        }
        Ok(None)
    }

    fn record_crc(&mut self, at: u64, len: u64) -> io::Result<bool> {
        let covered = at + len - TRAILER as u64;
        let mut crc = Crc32c::new();
        self.window.each(at, covered, |_, piece| {
            crc.update(piece);
            true
        })?;
        Ok(self.window.bytes(covered, TRAILER)? == crc.value().to_le_bytes())
    }

    fn good_mark(&mut self, at: u64, len: u64, head: &RecordHead) -> io::Result<Option<Mark>> {
        if len != mark::RECORD {
            return Ok(None);
        }
        let bytes = self.window.bytes(at, HEADER + mark::BODY + TAG)?.to_vec();
        let Ok(mark) = open_mark(self.head, head, &bytes) else {
            return Ok(None);
        };
        // Without damage in between, the batch begins where the last one ended.
        let follows = mark.start == self.out.end || (mark.start > self.out.end && self.damaged());
        let good = mark.stands_at(at)
            && mark.generation == self.head.sb.generation
            && mark.epoch >= self.out.epoch
            && follows;
        Ok(good.then_some(mark))
    }

    fn damaged(&self) -> bool {
        self.pending
            .iter()
            .any(|i| !matches!(i, Item::Record(f) if f.whole))
    }

    /// A good mark was found: the batch before it is no longer the last one, so its bad bytes are rot.
    fn close(&mut self, end: u64, mark: &Mark, apply: &mut dyn FnMut(&Found)) -> io::Result<()> {
        let before = std::mem::take(&mut self.last_batch);
        self.settle(before, false, apply)?;
        let items = std::mem::take(&mut self.pending);
        let (earlier, batch): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|i| i.offset() < mark.start);
        let chain = self.chain_before(&earlier, mark, &batch);
        if chain != Some(mark.chain)
            && batch.iter().all(Item::stands)
            && earlier.iter().all(Item::stands)
        {
            // Every record verifies, yet not the one that was synced here stands at some place.
            tracing::warn!(
                offset = mark.start,
                "the chain of a batch does not match its records"
            );
            self.out.unknown.push((mark.start, end));
            self.out.rotten += 1;
        }
        let earlier = if chain == Some(mark.chain) {
            // The chain goes through: what is bad here was a mark and no needle.
            self.out.rotten += earlier.iter().filter(|i| !i.stands()).count() as u64;
            earlier.into_iter().filter(Item::stands).collect()
        } else {
            earlier
        };
        self.settle(earlier, false, apply)?;
        self.last_batch = batch;
        self.out.end = end;
        self.out.last_start = mark.start;
        self.out.chain = mark.chain;
        self.out.epoch = mark.epoch;
        Ok(())
    }

    /// The chain that `mark` should hold, given the items since the last good mark. `None` when records of its own batch
    /// are bad. Between the last good mark and `mark.start` one bad mark may lie.
    fn chain_before(&self, earlier: &[Item], mark: &Mark, batch: &[Item]) -> Option<[u8; 32]> {
        let mut previous = self.out.chain;
        if !earlier.is_empty() {
            let (last, records) = earlier.split_last()?;
            let (at, end) = last.span();
            if end != mark.start || end - at != mark::RECORD || last.stands() {
                return None;
            }
            previous = chain_of(&previous, records)?;
        }
        chain_of(&previous, batch)
    }

    /// Applies items that are under a mark; bad ones are judged.
    fn settle(
        &mut self,
        items: Vec<Item>,
        last: bool,
        apply: &mut dyn FnMut(&Found),
    ) -> io::Result<()> {
        for item in items {
            let (from, to) = item.span();
            match item {
                Item::Record(f) if f.whole => apply(&f),
                _ if self.known_torn.contains(&(from, to)) => {}
                _ if last && self.unwritten(from, to)? => self.out.torn.push((from, to)),
                Item::Record(f) => {
                    self.out.rotten += 1;
                    apply(&f);
                }
                Item::DeadMark(..) => self.out.rotten += 1,
                Item::Bad(..) => {
                    self.out.rotten += 1;
                    self.out.unknown.push((from, to));
                }
            }
        }
        Ok(())
    }

    /// Whether part of a range never reached the disk: a run of zeros, or a first or last word of zeros, which is what is
    /// left of a record when the sector that is missing holds only that much of it.
    fn unwritten(&mut self, from: u64, to: u64) -> io::Result<bool> {
        if self.window.zero_run(from, to, UNWRITTEN)? >= UNWRITTEN {
            return Ok(true);
        }
        if self.window.bytes(from, MAGIC.len())? == [0; MAGIC.len()] {
            return Ok(true);
        }
        let last = self.window.bytes(to - TRAILER as u64, TRAILER)?;
        Ok(last == [0; TRAILER])
    }

    fn finish(&mut self, apply: &mut dyn FnMut(&Found)) -> io::Result<()> {
        let last = std::mem::take(&mut self.last_batch);
        self.settle(last, true, apply)?;
        self.out.tail_end = self.out.end;
        for item in std::mem::take(&mut self.pending) {
            let Item::Record(f) = item else { break };
            if !f.whole || f.offset != self.out.tail_end {
                break;
            }
            self.out.tail_end = f.offset + f.len;
            self.out.tail.push(f);
        }
        let used = self.window.last_used(self.out.tail_end)?;
        if used > self.out.tail_end {
            self.out.cut = Some((self.out.tail_end, used));
        }
        Ok(())
    }
}

impl Item {
    fn span(&self) -> (u64, u64) {
        match self {
            Self::Record(f) => (f.offset, f.offset + f.len),
            Self::DeadMark(at, len) => (*at, at + len),
            Self::Bad(from, to) => (*from, *to),
        }
    }

    fn offset(&self) -> u64 {
        self.span().0
    }

    fn stands(&self) -> bool {
        matches!(self, Self::Record(f) if f.whole)
    }
}

/// The chain over items that are all records; a rotten body does not matter, the header's MAC stands.
fn chain_of(previous: &[u8; 32], items: &[Item]) -> Option<[u8; 32]> {
    let mut chain = Chain::after(previous);
    for item in items {
        let Item::Record(f) = item else { return None };
        chain.add(f.offset, f.len, &f.commit);
    }
    Some(chain.value())
}

/// Opens the mark whose first 168 bytes are `bytes`.
pub fn open_mark(head: &Head, record: &RecordHead, bytes: &[u8]) -> Result<Mark, FormatError> {
    let sealer = head
        .sealer(record.header.dek_gen)
        .ok_or(FormatError::Field("dek_gen"))?;
    let keys = sealer.derive(&record.derive, &record.salt);
    let h = &record.header;
    let plain = h.flags == MARK && h.cookie == 0 && usize::try_from(h.plain_len) == Ok(mark::BODY);
    if !plain || !keys.commit_is(&record.commit) {
        return Err(FormatError::Field("flags"));
    }
    let text = bytes
        .get(HEADER..HEADER + mark::BODY)
        .ok_or(FormatError::Short)?;
    let tag = bytes
        .get(HEADER + mark::BODY..)
        .and_then(|t| t.first_chunk::<TAG>())
        .ok_or(FormatError::Short)?;
    let mut body = [0; mark::BODY];
    keys.open_segment(0, true, text, tag, &mut body)
        .map_err(|_| FormatError::Checksum)?;
    Mark::decode(&body)
}

/// The mark that ends at `end`, if a good one does.
pub fn mark_ending_at(head: &Head, window: &mut Window<'_>, end: u64) -> io::Result<Option<Mark>> {
    let Some(at) = end
        .checked_sub(mark::RECORD)
        .filter(|at| *at >= superblock::HEAD)
    else {
        return Ok(None);
    };
    let want = usize::try_from(mark::RECORD).map_err(|_| io::ErrorKind::InvalidInput)?;
    let bytes = window.bytes(at, want)?.to_vec();
    let Ok(record) = record::Head::decode(&bytes) else {
        return Ok(None);
    };
    let mark = open_mark(head, &record, &bytes).ok();
    Ok(mark.filter(|m| m.stands_at(at) && m.generation == head.sb.generation))
}
