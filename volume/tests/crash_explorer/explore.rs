//! Every crash of a history, every recovery, crashes of the recoveries, and the judgement of each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use halofs_runtime::Disk;
use halofs_runtime::disk::read_all;
use halofs_runtime::disk::sim::{CrashPoint, Dice, Fate, SimDisk};
use halofs_volume::volume::log::{SeededBug, VolumeLog};

use crate::history::{History, KEYS, see};
use crate::model::{Model, Seen};
use crate::walk::{bad_ranges, walk};
use crate::world::{VOLUME, creation, deps, dir, file};

/// How thoroughly to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Random fates a crash point.
    pub(crate) throws: usize,
    /// One of so many recoveries is itself crashed.
    pub(crate) nested: usize,
    /// One of so many recovered volumes goes on working, and is crashed again.
    pub(crate) resumed: usize,
}

/// What was looked at, and what was wrong.
pub(crate) struct Explorer {
    pub(crate) distinct: HashSet<u64>,
    pub(crate) recoveries: u64,
    pub(crate) nested: u64,
    pub(crate) resumed: u64,
    /// Of `distinct`: found while the volume ran without syncs.
    pub(crate) unsynced: usize,
    fsync: bool,
    judged: HashSet<(u64, u64)>,
    effort: Effort,
    bug: Option<SeededBug>,
    dice: Dice,
    epoch: u64,
}

type Verdict = Result<(), String>;

/// A state that recovery came to.
struct Recovered {
    log: VolumeLog,
    epoch: u64,
    seen: BTreeMap<u64, Seen>,
}

impl Explorer {
    pub(crate) fn new(effort: Effort, bug: Option<SeededBug>) -> Self {
        Self {
            distinct: HashSet::new(),
            recoveries: 0,
            nested: 0,
            resumed: 0,
            unsynced: 0,
            fsync: true,
            judged: HashSet::new(),
            effort,
            bug,
            dice: Dice::new(1),
            epoch: 1_000_000,
        }
    }

    /// Explores one history; the first violation ends it.
    pub(crate) fn explore(&mut self, seed: u64, steps: usize, fsync: bool) -> Verdict {
        let before = self.distinct.len();
        self.fsync = fsync;
        let verdict = self.explore_history(seed, steps);
        if !fsync {
            self.unsynced += self.distinct.len() - before;
        }
        verdict
    }

    fn explore_history(&mut self, seed: u64, steps: usize) -> Verdict {
        self.dice = Dice::new(seed ^ 0xc0ff_ee00);
        self.judged.clear();
        let mut history = History::create(seed, self.bug, self.fsync);
        history.run(steps);
        let model = history.model.lock().clone();
        let ops = history.sim.ops();
        for at in 0..=ops {
            let effort = self.effort.throws;
            self.crash_at(&history.sim, &model, at, seed, (0, effort))
                .map_err(|e| {
                    format!(
                        "seed {seed}, crash after operation {at} of {ops}: {e}\n{}",
                        around(&history.sim, at)
                    )
                })?;
        }
        Ok(())
    }

    fn crash_at(
        &mut self,
        sim: &SimDisk,
        model: &Model,
        at: usize,
        seed: u64,
        (depth, throws): (u32, usize),
    ) -> Verdict {
        let point = sim.crash(at);
        let mut all = plans(&point, throws, &mut self.dice);
        all.dedup();
        for fates in all {
            let image = point.image(&fates);
            let hash = image.hash();
            self.distinct.insert(hash);
            if !self.judged.insert((hash, model.promises(at))) {
                continue;
            }
            self.judge(&image, model, at, seed, depth)
                .map_err(|e| format!("fates {fates:?}: {e}"))?;
        }
        Ok(())
    }

    /// Recovers an image and checks everything that must hold.
    fn judge(
        &mut self,
        image: &SimDisk,
        model: &Model,
        at: usize,
        seed: u64,
        depth: u32,
    ) -> Verdict {
        let there = image.exists(&file()).map_err(|e| e.to_string())?;
        if !there {
            return self.create_again(image, model, at, seed);
        }
        let before = image.fork();
        let recovered = self.recover(image, depth)?;
        model
            .check(&recovered.seen, at)
            .map_err(|e| format!("depth {depth}: {e}"))?;
        if depth < 2 && self.dice.below(self.effort.nested) == 0 {
            self.nested += 1;
            self.crash_recovery(image, model, at, (seed, depth), &recovered.seen)?;
        }
        if depth == 0 && self.dice.below(self.effort.resumed) == 0 {
            self.resumed += 1;
            self.resume(image, recovered, seed)?;
        }
        drop(before);
        Ok(())
    }

    /// A crash before the creation was over: it can simply be done again.
    fn create_again(&mut self, image: &SimDisk, model: &Model, at: usize, seed: u64) -> Verdict {
        if model.created.is_some_and(|c| c <= at) {
            return Err("the volume file is gone".to_owned());
        }
        image.create_dir_all(&dir()).map_err(|e| e.to_string())?;
        let deps = deps(Arc::new(image.clone()), seed);
        let made = VolumeLog::create(&deps, dir(), &creation(seed), self.fsync);
        made.map(|_| ())
            .map_err(|e| format!("creation cannot be done again: {e}"))
    }

    fn recover(&mut self, image: &SimDisk, depth: u32) -> Result<Recovered, String> {
        self.recoveries += 1;
        let seed = self.dice.roll();
        let deps = deps(Arc::new(image.clone()), seed);
        let mount = || {
            VolumeLog::mount_with(&deps, dir(), VOLUME, (self.fsync, self.bug))
                .map_err(|e| format!("mount: {e}"))
        };
        let first = mount()?;
        let mounted = image.hash();
        // What recovery decided is decided for good: nothing of it may get lost with the power.
        if image.crash(image.ops()).worst().hash() != mounted {
            return Err(format!(
                "a mount leaves un-synced changes: {:?}",
                image.describe(0)
            ));
        }
        let bytes = read_all(image, &file()).map_err(|e| e.to_string())?;
        let found = walk(&first.view().head, &bytes)?;
        if found.rubbish {
            return Err(format!("a mount leaves rubbish behind the log: {found:?}"));
        }
        if found.damaged > usize::try_from(depth).unwrap() + 8 {
            return Err(format!("{} batches are damaged", found.damaged));
        }
        let end = first.end();
        drop(first);
        let mut log = mount()?;
        if image.hash() != mounted || log.end() != end {
            return Err("a second mount changes something".to_owned());
        }
        self.epoch += 1;
        log.lead(self.epoch).map_err(|e| format!("lead: {e}"))?;
        if image.crash(image.ops()).worst().hash() != image.hash() {
            return Err("opening an epoch leaves un-synced changes".to_owned());
        }
        let bytes = read_all(image, &file()).map_err(|e| e.to_string())?;
        let led = walk(&log.view().head, &bytes)?;
        if led.tail != 0 || led.rubbish || led.marks < found.marks {
            return Err(format!(
                "the kept tail has no mark: {led:?} after {found:?}"
            ));
        }
        let seen = (1..=KEYS).map(|k| Ok((k, see(log.view(), image, k)?)));
        let seen: Result<BTreeMap<u64, Seen>, String> = seen.collect();
        let seen =
            seen.map_err(|e| format!("{e}; bad: {:?}", bad_ranges(&log.view().head, &bytes)))?;
        Ok(Recovered {
            log,
            epoch: self.epoch,
            seen,
        })
    }

    /// Power is lost while the image is being recovered, and after.
    fn crash_recovery(
        &mut self,
        image: &SimDisk,
        model: &Model,
        at: usize,
        (seed, depth): (u64, u32),
        seen: &BTreeMap<u64, Seen>,
    ) -> Verdict {
        let ops = image.ops();
        for during in 0..=ops {
            let point = image.crash(during);
            for fates in plans(&point, 1, &mut self.dice) {
                let again = point.image(&fates);
                self.distinct.insert(again.hash());
                self.judge(&again, model, at, seed, depth + 1)
                    .map_err(|e| {
                        format!("crash after operation {during} of the recovery, {fates:?}: {e}")
                    })?;
            }
        }
        let after = image.crash(ops).worst();
        let second = self.recover(&after, depth + 1)?;
        if second.seen == *seen {
            Ok(())
        } else {
            Err(format!("{:?} was served, then {:?}", seen, second.seen))
        }
    }

    /// The recovered volume works on and is crashed again.
    fn resume(&mut self, image: &SimDisk, recovered: Recovered, seed: u64) -> Verdict {
        let from = image.ops();
        let seed = seed.wrapping_mul(31).wrapping_add(self.resumed) & 0xffff_ffff | 1 << 33;
        let mut history = History::resume(
            image.clone(),
            (recovered.log, recovered.epoch),
            seed,
            recovered.seen,
            self.fsync,
        );
        history.run(4);
        let model = history.model.lock().clone();
        for at in from..=image.ops() {
            self.crash_at(image, &model, at, seed, (1, 2))
                .map_err(|e| format!("after a recovery, operation {at}: {e}"))?;
        }
        Ok(())
    }
}

/// Which fates to try at a crash point: nothing lost, all lost, every subset of few, and chance.
fn plans(point: &CrashPoint, throws: usize, dice: &mut Dice) -> Vec<Vec<Fate>> {
    let open = point.open();
    if open == 0 {
        return vec![Vec::new()];
    }
    let mut out = Vec::new();
    if open <= 3 {
        for mask in 0..1u32 << open {
            out.push(
                (0..open)
                    .map(|n| {
                        if mask >> n & 1 == 1 {
                            Fate::Kept
                        } else {
                            Fate::Lost
                        }
                    })
                    .collect(),
            );
        }
    } else {
        out.push(vec![Fate::Lost; open]);
        out.push(vec![Fate::Kept; open]);
    }
    for _ in 0..throws {
        // A file system that shows a block's former content is not one that halofs supports.
        out.push(
            point
                .throw(dice)
                .into_iter()
                .map(Fate::without_garbage)
                .collect(),
        );
    }
    out
}

fn around(sim: &SimDisk, at: usize) -> String {
    let lines = sim.describe(at.saturating_sub(12));
    lines.into_iter().take(16).collect::<Vec<_>>().join("\n")
}
