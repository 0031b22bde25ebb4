//! Random histories of one volume: batches of puts, overwrites and tombstones, checkpoints, space written ahead, clean
//! stops, kills, new epochs, failed syncs, full disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use halofs_client::error::VolumeError;
use halofs_client::pieces::Pieces;
use halofs_runtime::disk::read_all;
use halofs_runtime::disk::sim::{Dice, Fault, SimDisk};
use halofs_volume::Deps;
use halofs_volume::volume::encode::{Plain, seal_needle, seal_tombstone};
use halofs_volume::volume::index::Slot;
use halofs_volume::volume::log::{Outcome, Pending, SeededBug, VolumeLog};
use halofs_volume::volume::view::View;
use parking_lot::Mutex;

use crate::model::{Model, Seen, body};
use crate::walk;
use crate::world::{VOLUME, WatchedDisk, creation, deps, dir, file};

/// Keys are `1..=KEYS`.
pub(crate) const KEYS: u64 = 6;

/// A volume at work.
pub(crate) struct History {
    pub(crate) sim: SimDisk,
    pub(crate) model: Arc<Mutex<Model>>,
    watched: WatchedDisk,
    deps: Deps,
    log: Option<VolumeLog>,
    dice: Dice,
    epoch: u64,
    next_version: u64,
    bug: Option<SeededBug>,
    fsync: bool,
}

/// What a reader sees of a key: `Err` when it is not served although nothing was corrupted.
pub(crate) fn see(view: &View, sim: &SimDisk, key: u64) -> Result<Seen, String> {
    let (slot, hidden) = view.find(key);
    if hidden {
        return Err(format!("key {key} counts as damaged"));
    }
    let Slot::Live { offset, plain_len } = slot else {
        return Ok(Seen::Nothing);
    };
    let bytes = read_all(sim, &file()).map_err(|e| e.to_string())?;
    let at = usize::try_from(offset).unwrap();
    let r = walk::record(&view.head, &bytes, at)
        .ok_or_else(|| format!("key {key}: no record stands at {at}"))?;
    if r.key != key
        || r.is_tombstone()
        || r.is_mark()
        || r.plain.len() != usize::try_from(plain_len).unwrap()
    {
        return Err(format!("key {key}: another record stands at {at}"));
    }
    let version = u64::from_le_bytes(r.plain[..8].try_into().unwrap());
    if r.plain != body(version, r.plain.len()) {
        return Err(format!(
            "key {key}: the bytes of version {version} are mixed"
        ));
    }
    Ok(Seen::Version(version))
}

impl History {
    /// Creates a volume on an empty disk.
    pub(crate) fn create(seed: u64, bug: Option<SeededBug>, fsync: bool) -> Self {
        let watched = WatchedDisk::new(SimDisk::new());
        let mut h = Self::on(watched, seed, bug, Model::default(), fsync);
        halofs_runtime::Disk::create_dir_all(&h.sim, &dir()).expect("an empty disk");
        let mut log = VolumeLog::create(&h.deps, dir(), &creation(seed), fsync)
            .expect("creation on a whole disk");
        log.seed(bug);
        h.model.lock().created = Some(h.sim.ops());
        h.begin_line(BTreeMap::new());
        h.epoch = 1;
        h.log = Some(log);
        h.watch();
        h
    }

    /// Goes on with a volume that was recovered and leads `epoch`.
    pub(crate) fn resume(
        sim: SimDisk,
        (log, epoch): (VolumeLog, u64),
        seed: u64,
        initial: BTreeMap<u64, Seen>,
        fsync: bool,
    ) -> Self {
        // The log's own handles are the simulated disk's: nothing is watched there.
        let model = Model::starting(initial.clone());
        let mut h = Self::on(WatchedDisk::new(sim), seed, None, model, fsync);
        h.begin_line(initial);
        h.epoch = epoch;
        h.next_version = seed << 20;
        h.log = Some(log);
        h
    }

    fn on(
        watched: WatchedDisk,
        seed: u64,
        bug: Option<SeededBug>,
        model: Model,
        fsync: bool,
    ) -> Self {
        let sim = watched.sim.clone();
        sim.set_luck(seed);
        let deps = deps(Arc::new(watched.clone()), seed);
        Self {
            sim,
            model: Arc::new(Mutex::new(model)),
            watched,
            deps,
            log: None,
            dice: Dice::new(seed),
            epoch: 0,
            next_version: 1,
            bug,
            fsync,
        }
    }

    /// Without syncs: what was found is the base of what this incarnation writes.
    fn begin_line(&self, base: BTreeMap<u64, Seen>) {
        if !self.fsync {
            let (mut model, ops) = (self.model.lock(), self.sim.ops());
            model.lines.get_or_insert_default().begin(base, ops);
        }
    }

    fn flushed(&self) {
        if let Some(lines) = &mut self.model.lock().lines {
            lines.flushed(self.sim.ops());
        }
    }

    /// Notes what readers see whenever the disk is about to be written or synced.
    fn watch(&self) {
        // Without syncs nothing is promised to readers. The fault also publishes early; what is to be found is the
        // checkpoint.
        if !self.fsync || self.bug == Some(SeededBug::CheckpointPastSync) {
            return;
        }
        let Some(log) = &self.log else { return };
        let (view, sim, model) = (
            Arc::clone(log.view()),
            self.sim.clone(),
            Arc::clone(&self.model),
        );
        let last: Mutex<BTreeMap<u64, Slot>> = Mutex::default();
        self.watched.watch(Some(Box::new(move || {
            let mut last = last.lock();
            for key in 1..=KEYS {
                let (slot, _) = view.find(key);
                if view.check_serving().is_ok() && last.insert(key, slot) != Some(slot) {
                    // What cannot be read is not seen; the check after the crash judges the state of the log itself.
                    if let Ok(seen) = see(&view, &sim, key) {
                        model.lock().observe(key, seen, sim.ops());
                    }
                }
            }
        })));
    }

    /// Runs `steps` random steps; ends early when the volume is fenced and does not come back.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.step().is_err() && self.revive().is_err() {
                break;
            }
        }
        self.watched.watch(None);
        // Not a clean stop: what follows is a crash.
        self.log = None;
    }

    fn log(&mut self) -> Result<&mut VolumeLog, VolumeError> {
        self.log.as_mut().ok_or(VolumeError::Fenced(VOLUME))
    }

    fn step(&mut self) -> Result<(), VolumeError> {
        match self.dice.below(40) {
            0..=1 => self.log()?.checkpoint(),
            2..=3 => self.write_ahead(),
            4 => {
                self.log()?.stop()?;
                self.revive()
            }
            5..=6 => self.revive(),
            7 => {
                self.epoch += 1;
                let epoch = self.epoch;
                self.log()?.lead(epoch)?;
                self.flushed();
                Ok(())
            }
            8 => {
                self.sim.fail(Fault::Sync, self.dice.below(3) as u64);
                Ok(())
            }
            9 => self.fill(),
            10..=12 => {
                // Killed between write and sync.
                let batch = self.batch();
                self.log()?.begin(&batch.0)?;
                self.revive()
            }
            _ => self.work(),
        }
    }

    /// A batch from begin to acks.
    fn work(&mut self) -> Result<(), VolumeError> {
        let (pending, writes) = self.batch();
        let begun = self.log()?.begin(&pending);
        if let (Err(VolumeError::Full { .. }), Some(lines)) = (&begun, &mut self.model.lock().lines)
        {
            let first = writes.first().map_or(usize::MAX, |w| w.1);
            lines.take_back(first, self.sim.ops());
        }
        begun?;
        let mut second = None;
        if self.bug == Some(SeededBug::TwoBatchesInFlight) {
            let (pending, writes) = self.batch();
            self.log()?.begin(&pending)?;
            second = Some(writes);
        }
        match self.dice.below(6) {
            0 => self.log()?.checkpoint()?,
            1 => self.write_ahead()?,
            _ => {}
        }
        self.finish(&writes)?;
        second.map_or(Ok(()), |w| self.finish(&w))?;
        if !self.fsync && self.dice.below(3) == 0 {
            self.log()?.flush()?;
            self.flushed();
        }
        Ok(())
    }

    fn finish(&mut self, writes: &[(u64, usize)]) -> Result<(), VolumeError> {
        let (model, sim) = (Arc::clone(&self.model), self.sim.clone());
        self.log()?.finish(&mut |n, outcome| {
            if outcome == Outcome::Done {
                let (key, number) = writes[n];
                model.lock().settle(key, number, sim.ops());
            }
        })
    }

    fn length(&mut self) -> usize {
        match self.dice.below(240) {
            0..=149 => 8 + self.dice.below(300),
            150..=219 => 300 + self.dice.below(1500),
            220..=238 => 1800 + self.dice.below(4000),
            _ => 65_000 + self.dice.below(2000),
        }
    }

    /// Sealed records of distinct keys, and which write of the model each is.
    fn batch(&mut self) -> (Vec<Pending>, Vec<(u64, usize)>) {
        let Some(view) = self.log.as_ref().map(|l| Arc::clone(l.view())) else {
            return (Vec::new(), Vec::new());
        };
        let sent = self.sim.ops();
        let (mut pending, mut writes, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.dice.below(5) {
            let key = 1 + self.dice.below(usize::try_from(KEYS).unwrap()) as u64;
            if used.contains(&key) {
                continue;
            }
            used.push(key);
            let (seen, _) = view.find(key);
            let ns = view.next_ns(&*self.deps.clock);
            let live = matches!(seen, Slot::Live { .. });
            let (record, effect) = if live && self.dice.below(3) == 0 {
                (
                    seal_tombstone(&view.head, &*self.deps.rng, ns, key, 5),
                    Seen::Nothing,
                )
            } else {
                let version = self.next_version;
                self.next_version += 1;
                let bytes = body(version, self.length());
                let plain = Plain {
                    key,
                    cookie: 5,
                    body: Pieces::from(bytes::Bytes::from(bytes)),
                    ..Plain::default()
                };
                let sealed = seal_needle(&view.head, &*self.deps.rng, ns, plain).expect("small");
                (sealed, Seen::Version(version))
            };
            pending.push(Pending { record, seen });
            let mut model = self.model.lock();
            let number = match &mut model.lines {
                Some(lines) => lines.send(key, effect, sent),
                None => model.send(key, effect, sent),
            };
            writes.push((key, number));
        }
        (pending, writes)
    }

    fn write_ahead(&mut self) -> Result<(), VolumeError> {
        let more = 1 + self.dice.below(12_000) as u64;
        let log = self.log()?;
        let (ahead, end) = (Arc::clone(log.ahead()), log.ahead().end());
        if let Ok(handle) = log.reopen() {
            // A failed write-ahead costs nothing but speed.
            let _ = ahead.extend(&*handle, end + more);
        }
        Ok(())
    }

    /// The disk is full for one batch.
    fn fill(&mut self) -> Result<(), VolumeError> {
        let used = self.sim.used() + 4096 * self.dice.below(2) as u64;
        self.sim.limit_space(Some(used));
        let worked = self.work();
        self.sim.limit_space(None);
        match worked {
            Err(VolumeError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// The process ends and starts again; the machine stays up.
    fn revive(&mut self) -> Result<(), VolumeError> {
        self.watched.watch(None);
        self.log = None;
        let mut log = VolumeLog::mount_with(&self.deps, dir(), VOLUME, (self.fsync, self.bug))?;
        self.epoch += 1;
        log.lead(self.epoch)?;
        self.log = Some(log);
        self.watch();
        let view = Arc::clone(self.log()?.view());
        let mut found = BTreeMap::new();
        for key in 1..=KEYS {
            if let Ok(seen) = see(&view, &self.sim, key) {
                self.model.lock().observe(key, seen, self.sim.ops());
                found.insert(key, seen);
            }
        }
        self.begin_line(found);
        Ok(())
    }
}
