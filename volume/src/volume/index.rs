//! The memory index: needle key → where its newest record lies.
//!
//! Invariants: blocks are not empty, keys ascend within and across blocks, `firsts` holds each block's first key. An
//! entry is 16 bytes; keys mostly arrive in ascending order, and a block that fills up at its end is left full and a new
//! one begun, so that a volume costs little more than 16 bytes a needle. A deleted needle keeps its entry: in a
//! create-only volume its key may never be used again.

use crate::format::checkpoint::Entry;
use crate::format::record::Layout;

/// Entries of a block, at most.
const BLOCK: usize = 512;
/// `place` of a deleted needle; real places are offsets / 8 of records behind the 8 KiB head.
const DELETED: u32 = 1;

/// Offsets that the index can hold end here.
pub const OFFSET_END: u64 = (u32::MAX as u64) * 8;

/// What the index knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Nothing.
    Absent,
    /// A tombstone is its newest record.
    Deleted,
    /// A needle.
    Live {
        /// Where its record begins.
        offset: u64,
        /// Plaintext bytes of its record.
        plain_len: u32,
    },
}

impl Slot {
    /// Bytes of the live record, 0 for none.
    pub fn record_len(self, seg_log2: u8) -> u64 {
        match self {
            Self::Live { plain_len, .. } => Layout {
                plain_len,
                seg_log2,
            }
            .record_len(),
            Self::Absent | Self::Deleted => 0,
        }
    }

    fn of(e: &Entry) -> Self {
        if e.place == DELETED {
            Self::Deleted
        } else {
            Self::Live {
                offset: u64::from(e.place) * 8,
                plain_len: e.plain_len,
            }
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    firsts: Vec<u64>,
    blocks: Vec<Vec<Entry>>,
    live: u64,
    len: usize,
}

impl Index {
    /// Of no needles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Needles that are not deleted.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// All entries, deleted ones too.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest key of all, deleted ones too.
    pub fn max_key(&self) -> u64 {
        self.blocks
            .last()
            .and_then(|b| b.last())
            .map_or(0, |e| e.key)
    }

    /// Bytes of heap that the entries take.
    pub fn heap_bytes(&self) -> usize {
        let entries: usize = self
            .blocks
            .iter()
            .map(|b| b.capacity() * size_of::<Entry>())
            .sum();
        entries
            + self.firsts.capacity() * size_of::<u64>()
            + self.blocks.capacity() * size_of::<Vec<Entry>>()
    }

    /// What is known of a key.
    pub fn get(&self, key: u64) -> Slot {
        self.find(key).map_or(Slot::Absent, Slot::of)
    }

    fn find(&self, key: u64) -> Option<&Entry> {
        let block = self.blocks.get(self.block_of(key))?;
        block
            .binary_search_by_key(&key, |e| e.key)
            .ok()
            .and_then(|i| block.get(i))
    }

    /// The only block that may hold the key.
    fn block_of(&self, key: u64) -> usize {
        self.firsts
            .partition_point(|first| *first <= key)
            .saturating_sub(1)
    }

    /// A record at `offset` is the key's newest. Returns what was there.
    pub fn put(&mut self, key: u64, offset: u64, plain_len: u32) -> Slot {
        let place = u32::try_from(offset / 8).expect("the writer ends at OFFSET_END");
        self.set(Entry {
            key,
            place,
            plain_len,
        })
    }

    /// A tombstone is the key's newest record. Returns what was there.
    pub fn delete(&mut self, key: u64) -> Slot {
        self.set(Entry {
            key,
            place: DELETED,
            plain_len: 0,
        })
    }

    /// Sets an entry as a checkpoint holds it. Returns what was there.
    pub fn set(&mut self, entry: Entry) -> Slot {
        let old = self.upsert(entry);
        self.live += u64::from(entry.place != DELETED);
        self.live -= u64::from(matches!(old, Slot::Live { .. }));
        old
    }

    fn upsert(&mut self, entry: Entry) -> Slot {
        let at = self.block_of(entry.key);
        let Some(block) = self.blocks.get_mut(at) else {
            self.firsts.push(entry.key);
            self.blocks.push(one(entry));
            self.len += 1;
            return Slot::Absent;
        };
        let i = match block.binary_search_by_key(&entry.key, |e| e.key) {
            Ok(i) => {
                let old = block.get(i).map_or(Slot::Absent, Slot::of);
                if let Some(e) = block.get_mut(i) {
                    *e = entry;
                }
                return old;
            }
            Err(i) => i,
        };
        self.len += 1;
        if block.len() >= BLOCK {
            self.insert_full(at, i, entry);
            return Slot::Absent;
        }
        grow(block);
        block.insert(i, entry);
        if i == 0
            && let Some(first) = self.firsts.get_mut(at)
        {
            *first = entry.key;
        }
        Slot::Absent
    }

    /// Inserts at place `i` of the full block `at`: near its end the block stays full and the rest moves on, elsewhere
    /// it is halved.
    fn insert_full(&mut self, at: usize, i: usize, entry: Entry) {
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        let cut = if i > BLOCK - BLOCK / 8 { i } else { BLOCK / 2 };
        let mut tail: Vec<Entry> =
            Vec::with_capacity((BLOCK - cut + 1).next_power_of_two().min(BLOCK));
        tail.extend(block.drain(cut..));
        if i >= cut {
            tail.insert(i - cut, entry);
        } else {
            block.insert(i, entry);
        }
        if let (Some(first), Some(e)) = (self.firsts.get_mut(at), block.first()) {
            *first = e.key;
        }
        let first = tail.first().map_or(entry.key, |e| e.key);
        self.firsts.insert(at + 1, first);
        self.blocks.insert(at + 1, tail);
    }

    /// All entries, keys ascending.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.blocks.iter().flatten().copied()
    }

    /// Live needles with keys in `first..=last`, at most `limit`, ascending: key, offset, plaintext bytes.
    pub fn range(&self, first: u64, last: u64, limit: usize) -> Vec<(u64, u64, u32)> {
        let blocks = self.blocks.iter().skip(self.block_of(first)).flatten();
        let inside = blocks
            .skip_while(|e| e.key < first)
            .take_while(|e| e.key <= last);
        let live = inside.filter_map(|e| match Slot::of(e) {
            Slot::Live { offset, plain_len } => Some((e.key, offset, plain_len)),
            Slot::Absent | Slot::Deleted => None,
        });
        live.take(limit).collect()
    }
}

fn one(entry: Entry) -> Vec<Entry> {
    let mut v = Vec::with_capacity(4);
    v.push(entry);
    v
}

/// Doubles a block's room up to [`BLOCK`], never beyond.
fn grow(block: &mut Vec<Entry>) {
    if block.len() == block.capacity() {
        let want = (block.len() * 2).clamp(4, BLOCK);
        block.reserve_exact(want - block.len());
    }
}

/// Heap bytes a needle of an index of `needles` needles whose keys arrive as a cluster hands them out: mostly ascending,
/// from several writers at once.
pub fn index_bytes(needles: u64) -> f64 {
    let mut index = Index::new();
    for i in 0..needles {
        // Sixteen writers take turns on leases of 256 keys each.
        let lease = i / 4096 * 4096;
        let key = 1 + lease + i % 16 * 256 + i % 4096 / 16;
        index.put(key, 8192 + i * 128 % (OFFSET_END - 8192), 4096);
    }
    let bytes = u32::try_from(index.heap_bytes() / 1024).unwrap_or(u32::MAX);
    f64::from(bytes) * 1024.0 / f64::from(u32::try_from(needles.max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_map(ops in proptest::collection::vec((0..3000u64, any::<bool>(), 0..10u32), 0..6000)) {
            let mut index = Index::new();
            let mut model = BTreeMap::new();
            for (key, del, len) in ops {
                let new = if del { Slot::Deleted } else { Slot::Live { offset: 8192 + key * 8, plain_len: len } };
                let was = if del { index.delete(key) } else { index.put(key, 8192 + key * 8, len) };
                prop_assert_eq!(was, model.insert(key, new).unwrap_or(Slot::Absent));
            }
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.live(), model.values().filter(|s| matches!(s, Slot::Live { .. })).count() as u64);
            for key in 0..3000 {
                prop_assert_eq!(index.get(key), model.get(&key).copied().unwrap_or(Slot::Absent));
            }
            prop_assert!(index.iter().map(|e| e.key).eq(model.keys().copied()));
            prop_assert_eq!(index.max_key(), model.keys().last().copied().unwrap_or(0));
            let got: Vec<u64> = index.range(500, 2500, 100).into_iter().map(|(k, _, _)| k).collect();
            let live = model.range(500..=2500).filter(|(_, s)| matches!(s, Slot::Live { .. }));
            prop_assert!(got.into_iter().eq(live.map(|(k, _)| *k).take(100)));
        }
    }

    #[test]
    fn a_needle_costs_at_most_24_bytes() {
        let per = index_bytes(1_000_000);
        assert!(per <= 24.0, "{per} bytes a needle");
    }
}
