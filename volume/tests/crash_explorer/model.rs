//! What must be true: every write that was sent, when it was sent, and from when on somebody could rely on it.

use std::collections::BTreeMap;

use crate::prefix::Lines;

/// A needle's content by version: the body begins with the version and goes on with bytes that follow from it.
pub(crate) fn body(version: u64, len: usize) -> Vec<u8> {
    let mut out = version.to_le_bytes().to_vec();
    let mut x = version.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len.max(8));
    out
}

/// What a reader sees of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    Version(u64),
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) effect: Seen,
    /// Operations of the disk before it was sent.
    pub(crate) sent: usize,
    /// Operations of the disk when it was acknowledged or seen by a reader.
    pub(crate) settled: Option<usize>,
}

/// All writes by key, in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    writes: BTreeMap<u64, Vec<Write>>,
    /// Before the first write.
    initial: BTreeMap<u64, Seen>,
    /// Operations of the disk when the volume was there for good.
    pub(crate) created: Option<usize>,
    /// Without syncs: what is asked instead.
    pub(crate) lines: Option<Lines>,
}

impl Model {
    /// Begins with what is there.
    pub(crate) fn starting(initial: BTreeMap<u64, Seen>) -> Self {
        Self {
            writes: BTreeMap::new(),
            initial,
            created: Some(0),
            lines: None,
        }
    }

    /// A write is sent; its number within the key.
    pub(crate) fn send(&mut self, key: u64, effect: Seen, sent: usize) -> usize {
        let list = self.writes.entry(key).or_default();
        list.push(Write {
            effect,
            sent,
            settled: None,
        });
        list.len() - 1
    }

    /// It was acknowledged.
    pub(crate) fn settle(&mut self, key: u64, number: usize, at: usize) {
        if let Some(w) = self.writes.get_mut(&key).and_then(|l| l.get_mut(number)) {
            w.settled.get_or_insert(at);
        }
    }

    /// A reader saw a key's state.
    pub(crate) fn observe(&mut self, key: u64, seen: Seen, at: usize) {
        let Some(list) = self.writes.get_mut(&key) else {
            return;
        };
        if let Some(w) = list.iter_mut().rev().find(|w| w.effect == seen) {
            w.settled.get_or_insert(at);
        }
    }

    /// How many promises bind a crash after `at` operations: the same image must then be judged anew.
    pub(crate) fn promises(&self, at: usize) -> u64 {
        if let Some(lines) = &self.lines {
            return lines.promises(at) * 2 + u64::from(self.created.is_some_and(|c| c <= at));
        }
        let all = self.writes.values().flatten();
        let count: usize = all
            .map(|w| usize::from(w.settled.is_some_and(|s| s <= at)) + usize::from(w.sent < at))
            .sum();
        count as u64 * 2 + u64::from(self.created.is_some_and(|c| c <= at))
    }

    /// Whether this may be what is found after a crash after `at` operations.
    pub(crate) fn check(&self, seen: &BTreeMap<u64, Seen>, at: usize) -> Result<(), String> {
        if let Some(lines) = &self.lines {
            return lines.check(seen, at);
        }
        for (key, seen) in seen {
            let allowed = self.allowed(*key, at);
            if !allowed.contains(seen) {
                return Err(format!("key {key} is {seen:?}, allowed {allowed:?}"));
            }
        }
        Ok(())
    }

    /// What may be seen of a key after a crash after `at` operations.
    fn allowed(&self, key: u64, at: usize) -> Vec<Seen> {
        let initial = self.initial.get(&key).copied().unwrap_or(Seen::Nothing);
        let list = self.writes.get(&key).map(Vec::as_slice).unwrap_or_default();
        let last = list
            .iter()
            .rposition(|w| w.settled.is_some_and(|s| s <= at));
        let mut out = vec![last.map_or(initial, |n| list[n].effect)];
        let later = &list[last.map_or(0, |n| n + 1)..];
        out.extend(later.iter().filter(|w| w.sent < at).map(|w| w.effect));
        out
    }
}
