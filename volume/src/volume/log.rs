//! The log of one volume, without threads: create, mount, lead, append a batch, sync, publish, checkpoint, stop. The
//! writer thread drives it; so does the crash explorer, step by step over a simulated disk.
//!
//! One batch is in flight: `begin` writes its records and mark in one write, `finish` syncs, publishes to the index and
//! acks, in this order; the next `begin` comes after that. So at most the last batch of a log can be torn, and what a
//! reader or a client has seen is synced. Nothing here retries a failed sync: the volume is fenced, durably, and mounts
//! again only after its whole file was read past the page cache.
//!
//! Why a mount trusts its tail though the fence itself may have failed to reach the disk: a checkpoint covers synced
//! bytes only, and everything behind it is always read with O_DIRECT.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use halofs_client::error::VolumeError;
use halofs_client::volume::CreateVolume;
use halofs_runtime::{DiskFile, disk};
use halofs_types::VolumeId;

use crate::config::Deps;
use crate::format::mark::{self, Chain, Mark};
use crate::format::state::State;

use super::ahead::Ahead;
use super::checkpoint;
use super::encode::{self, Sealed};
use super::head::{self, io_error};
use super::index::{OFFSET_END, Slot};
use super::mount;
use super::recover::{Found, Start};
use super::view::{Applied, View};

mod seeded;

#[cfg(any(test, feature = "seeded-bugs"))]
pub use self::seeded::SeededBug;

/// A record on its way into the log, and what its maker saw of its key: another state now means that it lost a race.
#[derive(Debug)]
pub struct Pending {
    /// The sealed record.
    pub record: Sealed,
    /// The index's answer for the key when the record was made.
    pub seen: Slot,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Synced and published.
    Done,
    /// The key changed meanwhile: look again and decide anew. Nothing was written.
    Raced,
    /// Nothing was acknowledged.
    Failed(VolumeError),
}

/// The files of a volume.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Their folder.
    pub dir: PathBuf,
    /// The log.
    pub vol: PathBuf,
    /// See [`State`].
    pub state: PathBuf,
    /// See [`checkpoint`].
    pub ckpt: PathBuf,
}

impl Paths {
    /// Of a volume in a folder.
    pub fn of(dir: PathBuf, id: VolumeId) -> Self {
        let name = |ext: &str| dir.join(format!("{id}.{ext}"));
        Self {
            vol: name("vol"),
            state: name("state"),
            ckpt: name("ckpt"),
            dir,
        }
    }
}

/// A batch that is written and not yet synced.
#[derive(Debug)]
struct Flight {
    items: Vec<Applied>,
    /// Per record of the batch: whether it is in `items`.
    taken: Vec<bool>,
    end: u64,
    /// Chain and epoch of the mark, when the batch has one.
    mark: Option<Start>,
}

/// See the module.
pub struct VolumeLog {
    deps: Deps,
    paths: Paths,
    view: Arc<View>,
    ahead: Arc<Ahead>,
    fsync: bool,
    /// Where the next record goes.
    end: u64,
    /// The end of the last synced mark.
    marked: Start,
    /// The end of the last written mark: `marked`, but for the batch in flight.
    written: Start,
    /// Over what was written since.
    chain: Chain,
    state: State,
    tail: Vec<Found>,
    flight: std::collections::VecDeque<Flight>,
    checkpointed: u64,
    #[cfg(any(test, feature = "seeded-bugs"))]
    bug: Option<SeededBug>,
}

impl VolumeLog {
    /// Creates a volume that leads its epoch: state, then head A and B under a temporary name, synced, then the name.
    pub fn create(
        deps: &Deps,
        dir: PathBuf,
        create: &CreateVolume,
        fsync: bool,
    ) -> Result<Self, VolumeError> {
        let paths = Paths::of(dir, create.id);
        let (bytes, head) = head::make(deps, create)?;
        let at = |op, e: io::Error| io_error(op, &paths.vol, &e);
        let state = State {
            volume: create.uuid.0,
            copy: deps.rng.id16(),
            epoch: create.epoch,
            generation: create.generation,
            durable: bytes.len() as u64,
            collection: create.collection.clone(),
            ..State::default()
        };
        disk::replace(&*deps.disk, &paths.state, &state.encode(), true)
            .map_err(|e| at("write the state", e))?;
        disk::replace(&*deps.disk, &paths.vol, &bytes, true)
            .map_err(|e| at("create the volume", e))?;
        let file = deps
            .disk
            .open(&paths.vol, disk::Open::ReadWrite)
            .map_err(|e| at("open", e))?;
        let start = Start::of_log(&head);
        let view = View {
            id: create.id,
            collection: create.collection.clone(),
            head,
            path: paths.vol.clone(),
            file,
            published: parking_lot::RwLock::default(),
            fenced: false.into(),
            leads: create.epoch.into(),
            last_ns: 0.into(),
        };
        view.published.write().end = start.offset;
        Ok(Self::assemble(
            deps,
            paths,
            view,
            state,
            mount::Found {
                start,
                tail: Vec::new(),
                end: start.offset,
                read_from: start.offset,
            },
            fsync,
        ))
    }

    /// Mounts a volume that is there. It serves and writes after [`Self::lead`].
    pub fn mount(
        deps: &Deps,
        dir: PathBuf,
        id: VolumeId,
        fsync: bool,
    ) -> Result<Self, VolumeError> {
        let paths = Paths::of(dir, id);
        let mounted = mount::mount(deps, &paths, id, mount::Options::default())?;
        Ok(Self::assemble(
            deps,
            paths,
            mounted.view,
            mounted.state,
            mounted.found,
            fsync,
        ))
    }

    fn assemble(
        deps: &Deps,
        paths: Paths,
        view: View,
        state: State,
        found: mount::Found,
        fsync: bool,
    ) -> Self {
        let mut chain = Chain::after(&found.start.chain);
        found
            .tail
            .iter()
            .for_each(|f| chain.add(f.offset, f.len, f.commit()));
        let ahead = Ahead::new(view.file.len().unwrap_or(found.end).max(found.end));
        Self {
            deps: deps.clone(),
            paths,
            view: Arc::new(view),
            ahead: Arc::new(ahead),
            fsync,
            end: found.end,
            marked: found.start,
            written: found.start,
            chain,
            state,
            tail: found.tail,
            flight: std::collections::VecDeque::new(),
            checkpointed: found.read_from,
            #[cfg(any(test, feature = "seeded-bugs"))]
            bug: None,
        }
    }

    /// What readers share.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Space written ahead.
    pub fn ahead(&self) -> &Arc<Ahead> {
        &self.ahead
    }

    /// The volume's files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Where the next record goes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes written since the last synced mark.
    pub fn unmarked(&self) -> u64 {
        self.end - self.marked.offset
    }

    /// Opens an epoch: the promise is synced first, then the kept tail gets its mark, then the volume serves.
    pub fn lead(&mut self, epoch: u64) -> Result<(), VolumeError> {
        if self.view.leads() == Some(epoch) {
            return Ok(());
        }
        if self.view.is_fenced() {
            return Err(VolumeError::Fenced(self.view.id));
        }
        if epoch <= self.state.epoch {
            return Err(VolumeError::ReadOnly {
                volume: self.view.id,
                reason: "that epoch or a later one was promised",
            });
        }
        self.flush()?;
        let promised = State {
            epoch,
            clean: false,
            fenced: false,
            ..self.state.clone()
        };
        self.write_state(promised)?;
        if !self.tail.is_empty() {
            let mark = self.seal_mark(epoch, self.chain.value(), self.end);
            self.write(&[IoSlice::new(&mark)], mark.len() as u64)?;
            self.sync()?;
            self.marked = Start {
                offset: self.end + mark.len() as u64,
                chain: self.chain.value(),
                epoch,
            };
            self.written = self.marked;
            self.end = self.marked.offset;
            self.chain = Chain::after(&self.marked.chain);
            let tail: Vec<Applied> = std::mem::take(&mut self.tail)
                .iter()
                .map(Found::applied)
                .collect();
            self.publish(&tail, self.end, epoch);
        }
        self.view.leads.store(epoch, Ordering::Release);
        Ok(())
    }

    fn seal_mark(&self, epoch: u64, chain: [u8; 32], at: u64) -> Vec<u8> {
        let head = &self.view.head;
        let start = self.written.offset;
        let body = Mark {
            generation: head.sb.generation,
            epoch,
            start,
            length: at - start,
            chain,
        };
        let ns = self.view.next_ns(&*self.deps.clock);
        let sealed = encode::seal_mark(head, &*self.deps.rng, ns, &body);
        debug_assert_eq!(sealed.len() as u64, mark::RECORD, "marks have one length");
        sealed
    }

    /// Writes a batch in one write, with its mark unless the volume runs unsynced. Records that lost a race are left out.
    pub fn begin(&mut self, batch: &[Pending]) -> Result<(), VolumeError> {
        assert!(
            self.flight.is_empty() || self.may_fly_two(),
            "one batch is in flight"
        );
        self.view.check_writable()?;
        let mut taken = Vec::with_capacity(batch.len());
        let mut items = Vec::with_capacity(batch.len());
        let mut at = self.end;
        let mut chain = self.chain.clone();
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(batch.len() + 1);
        let mut overlay: HashMap<u64, Slot> =
            HashMap::with_capacity(if batch.len() > 1 { batch.len() } else { 0 });
        {
            let published = self.view.published.read();
            for p in batch {
                let r = &p.record;
                let now = overlay
                    .get(&r.key)
                    .copied()
                    .unwrap_or_else(|| published.index.get(r.key));
                taken.push(now == p.seen);
                if now != p.seen {
                    continue;
                }
                let applied = r.applied(at);
                if batch.len() > 1 {
                    overlay.insert(r.key, applied.slot());
                }
                chain.add(at, r.len, &r.commit);
                slices.extend(r.parts.iter().map(|part| IoSlice::new(part)));
                items.push(applied);
                at += r.len;
            }
        }
        if at + mark::RECORD > OFFSET_END {
            let reason = "its file is as long as an index can address";
            return Err(VolumeError::ReadOnly {
                volume: self.view.id,
                reason,
            });
        }
        let mut mark = None;
        let sealed;
        if self.fsync && !items.is_empty() {
            let epoch = self.view.leads().unwrap_or(self.marked.epoch);
            let value = chain.value();
            sealed = self.seal_mark(epoch, value, at);
            slices.push(IoSlice::new(&sealed));
            at += sealed.len() as u64;
            mark = Some(Start {
                offset: at,
                chain: value,
                epoch,
            });
        }
        if !items.is_empty() {
            self.write(&slices, at - self.end)?;
        }
        self.end = at;
        self.chain = match &mark {
            Some(m) => Chain::after(&m.chain),
            None => chain,
        };
        if let Some(m) = mark {
            self.written = m;
        }
        self.flight.push_back(Flight {
            items,
            taken,
            end: at,
            mark,
        });
        Ok(())
    }

    /// Syncs the batch in flight, publishes it, then tells each record's outcome in order.
    pub fn finish(&mut self, done: &mut dyn FnMut(usize, Outcome)) -> Result<(), VolumeError> {
        let Some(flight) = self.flight.pop_front() else {
            return Ok(());
        };
        self.early(&flight, done);
        if flight.mark.is_some() && !self.skips_sync() {
            self.sync()?;
        }
        if let Some(m) = flight.mark {
            self.marked = m;
        }
        let epoch = self.marked.epoch;
        self.publish(&flight.items, flight.end, epoch);
        if !self.acked_early() {
            tell(&flight, done);
        }
        Ok(())
    }

    /// Closes an unsynced stretch (`-fsync=false`): syncs the records, then writes and syncs their mark.
    pub fn flush(&mut self) -> Result<(), VolumeError> {
        if self.end == self.marked.offset || !self.tail.is_empty() {
            return Ok(());
        }
        if !self.marks_early() {
            self.sync()?;
        }
        // The epoch that these records were written under; a stop has ended the leadership already.
        let epoch = self.state.epoch;
        let value = self.chain.value();
        let mark = self.seal_mark(epoch, value, self.end);
        self.write(&[IoSlice::new(&mark)], mark.len() as u64)?;
        self.sync()?;
        self.end += mark.len() as u64;
        self.marked = Start {
            offset: self.end,
            chain: value,
            epoch,
        };
        self.written = self.marked;
        self.chain = Chain::after(&value);
        self.publish(&[], self.end, epoch);
        Ok(())
    }

    /// One write of `len` bytes at the end. A full disk is rolled back; any other failure fences.
    fn write(&mut self, slices: &[IoSlice<'_>], len: u64) -> Result<(), VolumeError> {
        self.ahead.claim(self.end + len);
        let Err(e) = self.view.file.write_at(slices, self.end) else {
            return Ok(());
        };
        let full = matches!(
            e.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if full && self.flight.is_empty() {
            // Nothing of this batch was acked or synced. What was written of it goes, and the room behind it too.
            let cut = self
                .view
                .file
                .set_len(self.end)
                .and_then(|()| self.view.file.sync_all());
            if cut.is_ok() {
                self.ahead.cut(self.end);
                let dir = self.paths.dir.display().to_string();
                return Err(VolumeError::Full {
                    dir,
                    free: 0,
                    reserve: 0,
                });
            }
        }
        Err(self.fence("write", &e))
    }

    fn sync(&mut self) -> Result<(), VolumeError> {
        let synced = self.view.file.sync_data();
        synced.map_err(|e| self.fence("sync", &e))
    }

    /// No more writes: durably, as far as the disk still takes it.
    pub fn fence(&mut self, op: &'static str, e: &io::Error) -> VolumeError {
        tracing::error!(volume = %self.view.id, op, error = %e, "the volume is fenced");
        self.view.fenced.store(true, Ordering::Release);
        let fenced = State {
            fenced: true,
            clean: false,
            ..self.state.clone()
        };
        if let Err(e) = self.write_state(fenced) {
            tracing::error!(volume = %self.view.id, error = %e, "the fence could not be written; a mount reads the tail past the page cache anyway");
        }
        VolumeError::Fenced(self.view.id)
    }

    fn write_state(&mut self, state: State) -> Result<(), VolumeError> {
        let state = State {
            durable: self.marked.offset,
            ..state
        };
        let wrote = disk::replace(&*self.deps.disk, &self.paths.state, &state.encode(), true);
        wrote.map_err(|e| io_error("write the state", &self.paths.state, &e))?;
        self.state = state;
        Ok(())
    }

    fn publish(&self, items: &[Applied], end: u64, epoch: u64) {
        let seg_log2 = self.view.head.sb.seg_log2;
        let mut p = self.view.published.write();
        for item in items {
            p.apply(*item, seg_log2);
        }
        p.end = end;
        p.epoch = epoch;
    }

    /// Bytes since the last checkpoint.
    pub fn since_checkpoint(&self) -> u64 {
        self.marked.offset.saturating_sub(self.checkpointed)
    }

    /// The bytes of a checkpoint at the last synced mark; `None` while published bytes wait for their mark.
    pub fn checkpoint_image(&mut self) -> Option<Vec<u8>> {
        if !self.flight.is_empty() {
            if !self.checkpoints_early() {
                return None;
            }
            self.publish_flight();
        }
        let p = self.view.published.read();
        if p.end != self.marked.offset && !self.checkpoints_early() {
            return None;
        }
        self.checkpointed = self.marked.offset;
        Some(checkpoint::image(&self.view.head, &p, &self.marked))
    }

    /// Writes a checkpoint, if there is something to write.
    pub fn checkpoint(&mut self) -> Result<(), VolumeError> {
        let Some(image) = self.checkpoint_image() else {
            return Ok(());
        };
        let wrote = checkpoint::write(&*self.deps.disk, &self.paths.ckpt, &image);
        wrote.map_err(|e| io_error("write the checkpoint", &self.paths.ckpt, &e))
    }

    /// A clean stop: flush, checkpoint, state. A fenced volume keeps its fence.
    pub fn stop(&mut self) -> Result<(), VolumeError> {
        if self.view.is_fenced() {
            return Ok(());
        }
        let led = self.view.leads.swap(0, Ordering::AcqRel);
        if led == 0 {
            return Ok(());
        }
        self.flush()?;
        self.checkpoint()?;
        self.give_ahead_back()?;
        let clean = State {
            clean: true,
            ..self.state.clone()
        };
        self.write_state(clean)
    }

    /// Cuts the space written ahead, so that the next mount finds the log's end at the file's and reads no zeros.
    fn give_ahead_back(&mut self) -> Result<(), VolumeError> {
        let cut = self.view.file.set_len(self.end);
        cut.and_then(|()| self.view.file.sync_all())
            .map_err(|e| io_error("cut the room ahead of", &self.paths.vol, &e))?;
        self.ahead.cut(self.end);
        Ok(())
    }

    /// A second handle of the log's file.
    pub fn reopen(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.deps.disk.open(&self.paths.vol, disk::Open::ReadWrite)
    }
}

fn tell(flight: &Flight, done: &mut dyn FnMut(usize, Outcome)) {
    for (i, taken) in flight.taken.iter().enumerate() {
        done(
            i,
            if *taken {
                Outcome::Done
            } else {
                Outcome::Raced
            },
        );
    }
}

impl std::fmt::Debug for VolumeLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VolumeLog({:?}, end {})", self.view, self.end)
    }
}
