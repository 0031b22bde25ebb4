//! The world of a volume under exploration: a simulated disk that is watched, a still clock, repeatable randomness.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use halofs_client::master::VolumeOwner;
use halofs_client::volume::CreateVolume;
use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_runtime::disk::sim::SimDisk;
use halofs_runtime::disk::{DiskLock, Entry, Open, Space};
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{Disk, DiskFile};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_types::{Placement, Timestamp, Uuid, VolumeId};
use halofs_volume::Deps;
use parking_lot::Mutex;

/// The volume.
pub(crate) const VOLUME: VolumeId = VolumeId(7);

/// Where it lies.
pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/v")
}

/// Its file.
pub(crate) fn file() -> PathBuf {
    dir().join("7.vol")
}

/// What to create.
pub(crate) fn creation(seed: u64) -> CreateVolume {
    let mut uuid = [0x5a; 16];
    uuid[..8].copy_from_slice(&seed.to_le_bytes());
    CreateVolume {
        id: VOLUME,
        uuid: Uuid(uuid),
        collection: String::new(),
        collection_uuid: Uuid([3; 16]),
        owner: VolumeOwner::Native,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    }
}

/// What a volume is given.
pub(crate) fn deps(disk: Arc<dyn Disk>, seed: u64) -> Deps {
    Deps {
        clock: Arc::new(SharedManualClock(ManualClock::new(Timestamp(
            1_790_000_000_000_000_000,
        )))),
        rng: Arc::new(SeededRng::new(seed)),
        disk,
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([9; 32]))),
        cluster: Uuid([1; 16]),
    }
}

/// Called before every write and sync.
pub(crate) type Watcher = Box<dyn Fn() + Send>;

/// A disk that tells when it is about to be written or synced.
#[derive(Clone, Default)]
pub(crate) struct WatchedDisk {
    pub(crate) sim: SimDisk,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

impl WatchedDisk {
    pub(crate) fn new(sim: SimDisk) -> Self {
        Self {
            sim,
            watcher: Arc::default(),
        }
    }

    pub(crate) fn watch(&self, watcher: Option<Watcher>) {
        *self.watcher.lock() = watcher;
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile {
            file,
            watcher: Arc::clone(&self.watcher),
        })
    }
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

impl WatchedFile {
    fn tell(&self) {
        if let Some(w) = &*self.watcher.lock() {
            w();
        }
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.tell();
        self.file.write_at(pieces, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.tell();
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.tell();
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.sim.open(path, how)?))
    }

    fn create_secret(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.sim.create_secret(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.sim.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.sim.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.sim.exists(path)
    }

    fn mode_owner(&self, path: &Path) -> io::Result<(u32, u32)> {
        self.sim.mode_owner(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.sim.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.sim.lock(path)
    }
}
