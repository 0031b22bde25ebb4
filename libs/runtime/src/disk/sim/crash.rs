//! What a disk can hold after power was lost.

use std::collections::BTreeSet;

use super::data::Content;
use super::{Op, SimDisk, State, Tree};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What became of an operation that no sync had covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All of it landed.
    Kept,
    /// Nothing of it landed.
    Lost,
    /// The first bytes of a write landed, and the file ends there unless it was longer.
    Prefix(usize),
    /// Some units of `unit` bytes landed, as drawn from `seed`; what did not land reads as before, zeros beyond the
    /// old end. The file has its new length.
    Units {
        /// 512 or 4096.
        unit: usize,
        /// Which.
        seed: u64,
    },
    /// All of a write landed but the `n`th of the units of `unit` bytes that it touches.
    Without {
        /// 512 or 4096.
        unit: usize,
        /// Which.
        n: u64,
    },
    /// The file has its new length and none of the bytes.
    LengthOnly,
    /// Every unit of 512 bytes landed or holds bytes of something else, as drawn from the seed; only beyond the old
    /// end of the file, where a file system may expose a block's former content.
    Garbage(u64),
}

impl Fate {
    /// The same, for file systems that never show a block's former content.
    #[must_use]
    pub fn without_garbage(self) -> Self {
        match self {
            Self::Garbage(seed) => Self::Units { unit: SECTOR, seed },
            other => other,
        }
    }
}

/// SplitMix64: repeatable dice.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same throws.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).expect("below a usize")
    }
}

/// A moment at which power is lost: what is durable for sure, and the operations whose fate is open.
pub struct CrashPoint {
    base: Tree,
    /// In order; those that are durable but follow an open one on the same file are applied whole.
    rest: Vec<Rest>,
    open: usize,
}

struct Rest {
    op: Op,
    /// `None`: open.
    fate: Option<Fate>,
}

impl CrashPoint {
    pub(super) fn new(state: &State, at: usize) -> Self {
        let at = at.min(state.log.len());
        let mut base = state.base.clone();
        let mut rest = Vec::new();
        let mut open = 0;
        let mut dirty_files = BTreeSet::new();
        let mut dirty_names = false;
        for logged in &state.log[..at] {
            let ino = match &logged.op {
                Op::Write { ino, .. } | Op::SetLen { ino, .. } => Some(*ino),
                Op::Create { .. } | Op::Mkdir { .. } | Op::Rename { .. } | Op::Remove { .. } => {
                    None
                }
                Op::Sync => continue,
            };
            let durable = logged.durable_at < at;
            let dirty = ino.map_or(dirty_names, |i| dirty_files.contains(&i));
            if durable && !dirty {
                apply_fate(&mut base, &logged.op, logged.fate());
                continue;
            }
            if !durable {
                open += 1;
                match ino {
                    Some(i) => {
                        dirty_files.insert(i);
                    }
                    None => dirty_names = true,
                }
            }
            rest.push(Rest {
                op: logged.op.clone(),
                fate: durable.then(|| logged.fate()),
            });
        }
        Self { base, rest, open }
    }

    /// Operations whose fate is open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The disk when the open operations met these fates, in log order; those not named are lost.
    pub fn image(&self, fates: &[Fate]) -> SimDisk {
        let mut tree = self.base.clone();
        let mut fates = fates.iter();
        for rest in &self.rest {
            let fate = rest.fate.or_else(|| fates.next().copied());
            apply_fate(&mut tree, &rest.op, fate.unwrap_or(Fate::Lost));
        }
        SimDisk::from_tree(tree)
    }

    /// Everything that was not synced is lost.
    pub fn worst(&self) -> SimDisk {
        self.image(&[])
    }

    /// Everything landed.
    pub fn best(&self) -> SimDisk {
        self.image(&vec![Fate::Kept; self.open])
    }

    /// The open operations whose bit is set landed, the others are lost (the first 64).
    pub fn subset(&self, mask: u64) -> SimDisk {
        let fates: Vec<Fate> = (0..self.open)
            .map(|n| {
                if n < 64 && mask >> n & 1 == 1 {
                    Fate::Kept
                } else {
                    Fate::Lost
                }
            })
            .collect();
        self.image(&fates)
    }

    /// Fates by chance.
    pub fn throw(&self, dice: &mut Dice) -> Vec<Fate> {
        let open = self.rest.iter().filter(|r| r.fate.is_none());
        open.map(|r| throw(&r.op, dice)).collect()
    }
}

/// The fate of an operation, by chance.
pub(super) fn throw(op: &Op, dice: &mut Dice) -> Fate {
    match op {
        Op::Write { content, .. } => throw_write(content, dice),
        _ if dice.below(2) == 0 => Fate::Kept,
        _ => Fate::Lost,
    }
}

fn throw_write(content: &Content, dice: &mut Dice) -> Fate {
    match dice.below(12) {
        0 | 1 => Fate::Kept,
        2 => Fate::Lost,
        3 => Fate::LengthOnly,
        4 | 5 => Fate::Prefix(dice.below(content.len() + 1)),
        6 => Fate::Prefix(dice.below(content.len() / SECTOR + 1) * SECTOR),
        7..=9 => Fate::Units {
            unit: SECTOR,
            seed: dice.roll(),
        },
        10 => Fate::Units {
            unit: 4096,
            seed: dice.roll(),
        },
        _ => Fate::Garbage(dice.roll()),
    }
}

pub(super) fn apply_fate(tree: &mut Tree, op: &Op, fate: Fate) {
    let (ino, at, content) = match (op, fate) {
        (_, Fate::Lost) => return,
        (_, Fate::Kept) => return tree.apply(op),
        (Op::Write { ino, at, content }, _) => (*ino, *at, content),
        // Names and lengths are whole or absent.
        (_, _) => return,
    };
    let old_len = tree.file_mut(ino).len();
    let file = tree.file_mut(ino);
    let end = at + content.len() as u64;
    match fate {
        Fate::Prefix(n) => content.write_part(file, at, 0, n.min(content.len())),
        Fate::LengthOnly => file.grow(end),
        Fate::Units { unit, seed } => {
            let mut dice = Dice::new(seed);
            for (from, to) in units(at, content.len(), unit) {
                if dice.below(2) == 0 {
                    content.write_part(file, at, from, to);
                }
            }
            file.grow(end);
        }
        Fate::Without { unit, n } => {
            for (i, (from, to)) in units(at, content.len(), unit).into_iter().enumerate() {
                if i as u64 != n {
                    content.write_part(file, at, from, to);
                }
            }
            file.grow(end);
        }
        Fate::Garbage(seed) => {
            let mut dice = Dice::new(seed);
            for (from, to) in units(at, content.len(), SECTOR) {
                if dice.below(3) > 0 {
                    content.write_part(file, at, from, to);
                } else if at + from as u64 >= old_len {
                    let noise: Vec<u8> = (from..to).map(|_| dice.roll().to_le_bytes()[0]).collect();
                    file.write(&noise, at + from as u64);
                }
            }
            file.grow(end);
        }
        Fate::Kept | Fate::Lost => {}
    }
}

/// The parts of a write of `len` bytes at `at` that lie in one unit of the disk each.
fn units(at: u64, len: usize, unit: usize) -> Vec<(usize, usize)> {
    let skew = usize::try_from(at % unit as u64).expect("below a usize");
    let mut out = Vec::with_capacity(len / unit + 2);
    let mut from = 0;
    while from < len {
        let to = ((from + skew) / unit * unit + unit - skew).min(len);
        out.push((from, to));
        from = to;
    }
    out
}
