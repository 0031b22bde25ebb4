//! What must be true without syncs: after a crash the volume holds a prefix of what was written, in file order, and no
//! less of it than the last flush covered. A mount settles what it found, so each incarnation begins a line of its own.

use std::collections::BTreeMap;

use crate::model::Seen;

#[derive(Debug, Clone)]
struct Entry {
    key: u64,
    effect: Seen,
    /// Operations of the disk before it was written.
    sent: usize,
    /// Operations of the disk when it was taken back for certain: the disk was full.
    gone: Option<usize>,
}

/// What one incarnation wrote.
#[derive(Debug, Clone, Default)]
struct Line {
    /// Operations of the disk when the incarnation served.
    from: usize,
    /// What it found.
    base: BTreeMap<u64, Seen>,
    writes: Vec<Entry>,
    /// Flushes: operations of the disk when they were over, and how many writes they cover.
    flushed: Vec<(usize, usize)>,
}

impl Line {
    fn bounds(&self, at: usize) -> (usize, usize) {
        let least = self.flushed.iter().filter(|(ops, _)| *ops <= at);
        let most = self.writes.iter().filter(|w| w.sent < at).count();
        (least.map(|(_, n)| *n).max().unwrap_or(0), most)
    }
}

/// All incarnations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// An incarnation begins with what it found.
    pub(crate) fn begin(&mut self, base: BTreeMap<u64, Seen>, ops: usize) {
        self.0.push(Line {
            from: ops,
            base,
            ..Line::default()
        });
    }

    /// A write is about to be written; its number.
    pub(crate) fn send(&mut self, key: u64, effect: Seen, sent: usize) -> usize {
        let Some(line) = self.0.last_mut() else {
            return 0;
        };
        line.writes.push(Entry {
            key,
            effect,
            sent,
            gone: None,
        });
        line.writes.len() - 1
    }

    /// The writes from `number` on were taken back.
    pub(crate) fn take_back(&mut self, number: usize, ops: usize) {
        let line = self.0.last_mut();
        for write in line
            .into_iter()
            .flat_map(|l| l.writes.iter_mut().skip(number))
        {
            write.gone.get_or_insert(ops);
        }
    }

    /// Everything so far is synced.
    pub(crate) fn flushed(&mut self, ops: usize) {
        if let Some(line) = self.0.last_mut() {
            line.flushed.push((ops, line.writes.len()));
        }
    }

    fn line(&self, at: usize) -> Option<(usize, &Line)> {
        let begun = |(_, l): &(usize, &Line)| l.from <= at;
        self.0.iter().enumerate().rev().find(begun)
    }

    /// What binds a crash after `at` operations.
    pub(crate) fn promises(&self, at: usize) -> u64 {
        let Some((n, line)) = self.line(at) else {
            return 0;
        };
        let (least, most) = line.bounds(at);
        let gone = line
            .writes
            .iter()
            .filter(|w| w.gone.is_some_and(|g| g <= at));
        [n, least, most, gone.count()]
            .iter()
            .fold(1, |h, n| h * 4099 + *n as u64)
    }

    /// Whether a state may be found after a crash after `at` operations.
    pub(crate) fn check(&self, seen: &BTreeMap<u64, Seen>, at: usize) -> Result<(), String> {
        let Some((_, line)) = self.line(at) else {
            return Ok(());
        };
        let (least, most) = line.bounds(at);
        let mut state = line.base.clone();
        let mut tried = Vec::new();
        for n in 0..=most {
            let same = seen
                .iter()
                .all(|(key, s)| state.get(key).unwrap_or(&Seen::Nothing) == s);
            if n >= least && same {
                return Ok(());
            }
            if n >= least {
                tried.push(state.clone());
            }
            let Some(write) = line.writes.get(n) else {
                break;
            };
            if write.gone.is_none_or(|g| g > at) {
                state.insert(write.key, write.effect);
            }
        }
        Err(format!(
            "{seen:?} is no prefix of what was written, {least} to {most} writes long: {tried:?}"
        ))
    }
}
