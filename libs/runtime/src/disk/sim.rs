//! A file system in memory that can lose power: the tool of crash exploration and fault injection. For tests only.
//!
//! It keeps a log of every operation. What is on the platter after a crash follows from a prefix of the log and, for
//! every operation of the prefix that no sync had covered, a [`Fate`]: whole, gone, torn. Contents of a file are
//! covered by a sync of the file, names by a sync of their folder, each on its own, so a file can be there without its
//! bytes and its bytes without their name. See [`CrashPoint`].
//!
//! After a failed sync (law 3 of [`super::Disk`]) some of the bytes are on the platter and some are not, as the dice say,
//! for good: no later sync covers them. Ordinary reads still show all of them, direct reads show the platter. Every other
//! handle that was open learns of the failure at its own next sync, once, as on Linux.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DiskFile, Open, parent};
use data::{Content, FileData, PAGE};

mod crash;
mod data;
mod face;

pub use crash::{CrashPoint, Dice, Fate};

/// A kind of operation that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `read_at`.
    Read,
    /// `write_at`.
    Write,
    /// `sync_data` and `sync_all`.
    Sync,
    /// `sync_dir`.
    SyncDir,
    /// `set_len`.
    SetLen,
    /// `open` of a new file.
    Create,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
}

/// How syncs of files lie. Real disks must not; this seeds bugs that a crash explorer has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syncs {
    /// Everything written before is covered.
    #[default]
    Honest,
    /// Nothing is covered, ever.
    Ignored,
    /// Only what the sync before this one should have covered is: whoever acknowledges now was too early.
    Late,
    /// A sync right after a `set_len` covers nothing.
    IgnoredAfterCut,
}

/// The file system. Clones share it.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

type Ino = usize;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    File(Ino),
    Dir,
}

#[derive(Clone, Default)]
struct Tree {
    files: Vec<FileData>,
    names: BTreeMap<PathBuf, Node>,
}

#[derive(Clone)]
enum Op {
    Write {
        ino: Ino,
        at: u64,
        content: Content,
    },
    SetLen {
        ino: Ino,
        len: u64,
    },
    Create {
        path: PathBuf,
        ino: Ino,
    },
    Mkdir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        ino: Ino,
    },
    Remove {
        path: PathBuf,
        ino: Ino,
    },
    /// A sync, for its place in the log.
    Sync,
}

/// Not covered by any sync.
const NEVER: usize = usize::MAX;

struct Logged {
    op: Op,
    /// Number of the log entry that made it durable.
    durable_at: usize,
    /// What a failed sync made of it.
    settled: Option<Fate>,
}

impl Logged {
    /// What of it is on the platter once it is durable.
    fn fate(&self) -> Fate {
        self.settled.unwrap_or(Fate::Kept)
    }
}

/// What a sync covers: a file's contents, or a folder's names.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Covered {
    File(Ino),
    Folder(PathBuf),
}

#[derive(Default)]
struct State {
    /// What was durable when this disk began.
    base: Tree,
    /// What programs see.
    view: Tree,
    log: Vec<Logged>,
    unsynced: HashMap<Covered, Vec<usize>>,
    /// With [`Syncs::Late`]: what the next sync covers.
    late: HashMap<Covered, Vec<usize>>,
    syncs: Syncs,
    faults: HashMap<Fault, u64>,
    /// Failed syncs by file.
    failures: HashMap<Ino, u64>,
    /// Decides what a failed sync wrote.
    luck: u64,
    space: Option<u64>,
    locks: BTreeSet<PathBuf>,
}

const UNLIMITED: u64 = 1 << 50;

impl SimDisk {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    fn from_tree(tree: Tree) -> Self {
        let state = State {
            base: tree.clone(),
            view: tree,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Operations logged so far: the crash points of this disk are `0..=ops()`.
    pub fn ops(&self) -> usize {
        self.state.lock().log.len()
    }

    /// What the disk held after the first `at` operations, with the fates of what was not synced open.
    pub fn crash(&self, at: usize) -> CrashPoint {
        CrashPoint::new(&self.state.lock(), at)
    }

    /// A copy of what programs see, all of it durable and with an empty log: the state after a clean stop.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::from_tree(self.state.lock().view.clone())
    }

    /// A hash over names and contents of what programs see.
    pub fn hash(&self) -> u64 {
        self.state.lock().view.digest()
    }

    /// Seeds the dice that decide what a failed sync wrote.
    pub fn set_luck(&self, seed: u64) {
        self.state.lock().luck = seed;
    }

    /// Makes the `nth` operation of a kind from now fail with EIO (0 is the next one).
    pub fn fail(&self, what: Fault, nth: u64) {
        self.state.lock().faults.insert(what, nth);
    }

    /// Bytes that files take.
    pub fn used(&self) -> u64 {
        self.state.lock().view.used()
    }

    /// Limits the space of the file system. A write that does not fit lands in part and fails with `StorageFull`.
    pub fn limit_space(&self, total: Option<u64>) {
        self.state.lock().space = total;
    }

    /// Makes syncs lie.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.state.lock().syncs = syncs;
    }

    /// Flips bits of a file below everybody's feet: rot.
    pub fn rot(&self, path: &Path, at: u64, xor: u8) -> io::Result<()> {
        let mut s = self.state.lock();
        let ino = s.view.file(path)?;
        let flip = |file: &mut FileData| {
            let mut byte = [0];
            if file.read(&mut byte, at) == 1 {
                file.write(&[byte[0] ^ xor], at);
            }
        };
        flip(&mut s.view.files[ino]);
        if let Some(file) = s.base.files.get_mut(ino) {
            flip(file);
        }
        Ok(())
    }

    /// One line an operation of the log, for people.
    pub fn describe(&self, from: usize) -> Vec<String> {
        let s = self.state.lock();
        s.log
            .iter()
            .enumerate()
            .skip(from)
            .map(|(n, l)| l.describe(n))
            .collect()
    }

    fn file(&self, state: &State, ino: Ino, how: Open) -> Arc<dyn DiskFile> {
        Arc::new(face::SimFile {
            state: Arc::clone(&self.state),
            ino,
            how,
            known: state.failures.get(&ino).copied().unwrap_or(0).into(),
        })
    }
}

impl Logged {
    fn describe(&self, n: usize) -> String {
        let durable = if self.durable_at == NEVER {
            "never".to_owned()
        } else {
            self.durable_at.to_string()
        };
        let what = match &self.op {
            Op::Write { ino, at, content } => {
                format!("write file {ino} {at}..{}", at + content.len() as u64)
            }
            Op::SetLen { ino, len } => format!("set_len file {ino} {len}"),
            Op::Create { path, ino } => format!("create {} file {ino}", path.display()),
            Op::Mkdir { path } => format!("mkdir {}", path.display()),
            Op::Rename { from, to, .. } => format!("rename {} {}", from.display(), to.display()),
            Op::Remove { path, .. } => format!("remove {}", path.display()),
            Op::Sync => "sync".to_owned(),
        };
        format!("{n}: {what} (durable at {durable})")
    }
}

impl Tree {
    fn file(&self, path: &Path) -> io::Result<Ino> {
        match self.names.get(path) {
            Some(Node::File(ino)) => Ok(*ino),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        path == Path::new("/") || path == Path::new(".") || self.names.get(path) == Some(&Node::Dir)
    }

    fn file_mut(&mut self, ino: Ino) -> &mut FileData {
        if self.files.len() <= ino {
            self.files.resize_with(ino + 1, FileData::default);
        }
        &mut self.files[ino]
    }

    fn used(&self) -> u64 {
        let linked = self.names.values().filter_map(|n| {
            if let Node::File(i) = n {
                Some(*i)
            } else {
                None
            }
        });
        linked
            .filter_map(|i| self.files.get(i))
            .map(FileData::allocated)
            .sum()
    }

    fn digest(&self) -> u64 {
        let mut h = DefaultHasher::new();
        for (path, node) in &self.names {
            path.hash(&mut h);
            match node {
                Node::Dir => h.write_u8(1),
                Node::File(ino) => match self.files.get(*ino) {
                    Some(file) => file.digest(&mut h),
                    None => FileData::default().digest(&mut h),
                },
            }
        }
        h.finish()
    }

    /// Applies an operation as a program sees it.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { ino, at, content } => {
                content.write_part(self.file_mut(*ino), *at, 0, content.len());
            }
            Op::SetLen { ino, len } => self.file_mut(*ino).set_len(*len),
            Op::Create { path, ino } => {
                self.file_mut(*ino);
                self.names.insert(path.clone(), Node::File(*ino));
            }
            Op::Mkdir { path } => {
                self.names.insert(path.clone(), Node::Dir);
            }
            Op::Rename { from, to, ino } => {
                // In a crash image the creation may be lost while the rename is not: the file then has its new name.
                if self.names.get(from) == Some(&Node::File(*ino)) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), Node::File(*ino));
            }
            Op::Remove { path, ino } => {
                if self.names.get(path) == Some(&Node::File(*ino)) {
                    self.names.remove(path);
                }
            }
            Op::Sync => {}
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

impl State {
    /// Whether this operation has to fail.
    fn trip(&mut self, what: Fault) -> io::Result<()> {
        let Some(left) = self.faults.get_mut(&what) else {
            return Ok(());
        };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        self.faults.remove(&what);
        Err(eio())
    }

    fn push(&mut self, op: Op, covered: &[Covered]) {
        self.view.apply(&op);
        let n = self.log.len();
        self.log.push(Logged {
            op,
            durable_at: NEVER,
            settled: None,
        });
        for c in covered {
            self.unsynced.entry(c.clone()).or_default().push(n);
        }
    }

    fn sync(&mut self, covered: &Covered, fault: Fault) -> io::Result<()> {
        let mut pending = self.unsynced.remove(covered).unwrap_or_default();
        if let Err(e) = self.trip(fault) {
            self.settle(covered, &pending);
            return Err(e);
        }
        if let Covered::File(_) = covered {
            pending = match self.syncs {
                Syncs::Honest => pending,
                Syncs::Ignored => Vec::new(),
                Syncs::Late => self
                    .late
                    .insert(covered.clone(), pending)
                    .unwrap_or_default(),
                Syncs::IgnoredAfterCut => {
                    let cut = pending
                        .last()
                        .is_some_and(|n| matches!(self.log[*n].op, Op::SetLen { .. }));
                    if cut { Vec::new() } else { pending }
                }
            };
        }
        let n = self.log.len();
        for p in pending {
            self.log[p].durable_at = n;
        }
        self.mark_sync();
        Ok(())
    }

    fn mark_sync(&mut self) {
        self.log.push(Logged {
            op: Op::Sync,
            durable_at: self.log.len(),
            settled: None,
        });
    }

    /// A sync failed: what it should have covered meets its fate now.
    fn settle(&mut self, covered: &Covered, pending: &[usize]) {
        let n = self.log.len();
        let mut dice = Dice::new(self.luck ^ n as u64);
        for p in pending {
            let logged = &mut self.log[*p];
            logged.settled = Some(crash::throw(&logged.op, &mut dice).without_garbage());
            logged.durable_at = n;
        }
        self.mark_sync();
        if let Covered::File(ino) = covered {
            *self.failures.entry(*ino).or_default() += 1;
        }
    }

    /// What is on the platter of a file, once everything that can be written back is.
    fn platter(&self, ino: Ino) -> FileData {
        if !self.failures.contains_key(&ino) {
            return self.view.files[ino].clone();
        }
        let mut tree = Tree::default();
        *tree.file_mut(ino) = self.base.files.get(ino).cloned().unwrap_or_default();
        for logged in &self.log {
            let touches = match &logged.op {
                Op::Write { ino: i, .. } | Op::SetLen { ino: i, .. } => *i == ino,
                _ => false,
            };
            if touches {
                crash::apply_fate(&mut tree, &logged.op, logged.fate());
            }
        }
        tree.file_mut(ino).clone()
    }

    fn folder_of(&self, path: &Path) -> io::Result<Covered> {
        let dir = parent(path);
        if self.view.is_dir(dir) {
            Ok(Covered::Folder(dir.to_owned()))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<Ino> {
        let folder = self.folder_of(path)?;
        if self.view.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.trip(Fault::Create)?;
        let ino = self.view.files.len();
        self.push(
            Op::Create {
                path: path.to_owned(),
                ino,
            },
            &[folder],
        );
        Ok(ino)
    }

    fn free(&self) -> u64 {
        self.space
            .map_or(UNLIMITED, |total| total.saturating_sub(self.view.used()))
    }

    fn write(&mut self, ino: Ino, bytes: Vec<u8>, at: u64) -> io::Result<()> {
        self.trip(Fault::Write)?;
        let mut bytes = bytes;
        let mut full = false;
        if self.space.is_some() {
            let free = self.free() / PAGE as u64;
            while self.view.files[ino].missing_pages(at, bytes.len() as u64) > free {
                full = true;
                let keep = (bytes.len() - 1) / PAGE * PAGE;
                bytes.truncate(keep);
            }
        }
        if !bytes.is_empty() {
            self.push(
                Op::Write {
                    ino,
                    at,
                    content: Content::new(bytes),
                },
                &[Covered::File(ino)],
            );
        }
        if full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
