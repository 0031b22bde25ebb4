//! A disk that fails: syncs that fail fence the volume for good, a full disk refuses puts and clears by itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic, print and lay out files by hand"
)]

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{
    CreateVolume, Deleted, Encoding, NeedleName, PutNeedle, Stored, VolumeApi,
};
use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_runtime::disk::{DiskLock, Entry, Open, Space};
use halofs_runtime::{Disk, DiskFile, OsRng, RealDisk};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_types::{Cookie, FileId, NeedleKey, Placement, Timestamp, Uuid, VolumeId};
use halofs_volume::{Deps, VolumeConfig, VolumeServer};

/// What goes wrong, and what was seen.
#[derive(Default)]
struct Faults {
    sync: AtomicBool,
    full: AtomicBool,
    free: AtomicU64,
    direct_bytes: AtomicUsize,
    syncs: AtomicUsize,
    /// The next sync of a folder waits until this is false again.
    hold: AtomicBool,
    holds: AtomicUsize,
}

struct FaultyDisk(Arc<Faults>);

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
    is_vol: bool,
    direct: bool,
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let is_vol = path.extension().is_some_and(|e| e == "vol");
        let (file, faults) = (RealDisk.open(path, how)?, Arc::clone(&self.0));
        Ok(Arc::new(FaultyFile {
            file,
            faults,
            is_vol,
            direct: how == Open::ReadDirect,
        }))
    }

    fn create_secret(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create_secret(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let hold = || self.0.hold.load(Ordering::SeqCst);
        if hold() && self.0.holds.fetch_add(1, Ordering::SeqCst) == 0 {
            while hold() {
                std::thread::yield_now();
            }
        }
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn mode_owner(&self, path: &Path) -> io::Result<(u32, u32)> {
        RealDisk.mode_owner(path)
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            free: self.0.free.load(Ordering::SeqCst),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(path)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if self.direct {
            self.faults
                .direct_bytes
                .fetch_add(buf.len(), Ordering::SeqCst);
        }
        self.file.read_at(buf, at)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        if self.is_vol && self.faults.full.load(Ordering::SeqCst) {
            // Half of it gets through.
            let half: Vec<u8> = pieces
                .iter()
                .flat_map(|p| p[..p.len() / 2].to_vec())
                .collect();
            self.file.write_at(&[IoSlice::new(&half)], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(pieces, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_vol {
            self.faults.syncs.fetch_add(1, Ordering::SeqCst);
            // The kernel reports a failed write-back once.
            if self.faults.sync.swap(false, Ordering::SeqCst) {
                return Err(io::Error::other("injected"));
            }
        }
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

const FREE: u64 = 1 << 30;

struct World {
    dir: tempfile::TempDir,
    faults: Arc<Faults>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let faults = Arc::new(Faults {
            free: AtomicU64::new(FREE),
            ..Faults::default()
        });
        let clock = ManualClock::new(Timestamp(1_700_000_000_000_000_000));
        Self {
            dir: tempfile::tempdir().unwrap(),
            faults,
            clock,
        }
    }

    fn open(&self, fsync: bool) -> Arc<VolumeServer> {
        let deps = Deps {
            clock: Arc::new(SharedManualClock(Arc::clone(&self.clock))),
            rng: Arc::new(OsRng),
            disk: Arc::new(FaultyDisk(Arc::clone(&self.faults))),
            keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
            cluster: Uuid([7; 16]),
        };
        // No zeros are written ahead below the soft watermark, so that every sync counted is a batch's.
        let config = VolumeConfig {
            fsync,
            soft_free: Some(FREE + 1),
            hard_free: Some(1 << 20),
            ..VolumeConfig::new(self.dir.path().to_owned())
        };
        VolumeServer::open(config, deps).unwrap()
    }

    async fn with_volume(&self, fsync: bool) -> Arc<VolumeServer> {
        self.faults.free.store(FREE * 4, Ordering::SeqCst);
        let s = self.open(fsync);
        s.create_volume(creation()).await.unwrap();
        self.free(FREE);
        s.node_report().await;
        s
    }

    fn free(&self, free: u64) {
        self.faults.free.store(free, Ordering::SeqCst);
        self.clock.advance(Duration::from_secs(2));
    }
}

fn creation() -> CreateVolume {
    CreateVolume {
        id: VolumeId(1),
        uuid: Uuid([1; 16]),
        collection: String::new(),
        collection_uuid: Uuid([2; 16]),
        owner: VolumeOwner::Native,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    }
}

fn fid(key: u64) -> FileId {
    FileId {
        volume: VolumeId(1),
        key: NeedleKey(key),
        cookie: Cookie(5),
    }
}

async fn put(s: &VolumeServer, key: u64, text: &str) -> Result<Stored, VolumeError> {
    s.put_needle(PutNeedle {
        fid: fid(key),
        body: Pieces::from(Bytes::copy_from_slice(text.as_bytes())),
        owner: None,
        name: NeedleName::default(),
        compress: false,
        manifest: false,
    })
    .await
}

async fn get(s: &VolumeServer, key: u64) -> Option<Bytes> {
    let needle = s
        .open_needle(fid(key), None, VolumeOwner::Native)
        .await
        .ok()?;
    needle
        .read(Encoding::Identity, 0, needle.info().size)
        .await
        .ok()
}

#[tokio::test]
async fn a_failed_sync_fences_until_the_whole_file_was_read_from_the_disk() {
    let w = World::new();
    let s = w.with_volume(true).await;
    put(&s, 1, &"a".repeat(500_000)).await.unwrap();
    let checkpointed = put(&s, 2, "two").await.unwrap();
    w.faults.sync.store(true, Ordering::SeqCst);
    assert_eq!(
        put(&s, 3, "three").await,
        Err(VolumeError::Fenced(VolumeId(1)))
    );
    let syncs = w.faults.syncs.load(Ordering::SeqCst);
    assert_eq!(
        put(&s, 4, "four").await,
        Err(VolumeError::Fenced(VolumeId(1)))
    );
    let gone = s.delete_needles(vec![fid(1)], VolumeOwner::Native).await;
    assert_eq!(gone, [Err(VolumeError::Fenced(VolumeId(1)))]);
    assert_eq!(
        w.faults.syncs.load(Ordering::SeqCst),
        syncs,
        "no sync is tried again"
    );
    assert_eq!(
        get(&s, 3).await,
        None,
        "what was not synced is not readable"
    );
    assert_eq!(get(&s, 2).await.unwrap(), "two", "reads go on");
    assert!(s.node_report().await.volumes[0].read_only);
    assert!(matches!(
        s.lead(VolumeId(1), 2).await,
        Err(VolumeError::Fenced(_))
    ));
    s.stop().await;
    drop(s);
    for round in 2..4 {
        w.faults.direct_bytes.store(0, Ordering::SeqCst);
        let s = w.open(true);
        let read = w.faults.direct_bytes.load(Ordering::SeqCst);
        let whole = round == 2;
        assert_eq!(
            read > 500_000,
            whole,
            "{read} bytes were read past the page cache"
        );
        s.lead(VolumeId(1), round).await.unwrap();
        let needle = s
            .open_needle(fid(2), Some(checkpointed.commit), VolumeOwner::Native)
            .await
            .unwrap();
        assert_eq!(needle.info().size, 3);
        put(&s, 10 + round, "more").await.unwrap();
        s.stop().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_puts_takes_deletes_and_clears_by_itself() {
    let w = World::new();
    let s = w.with_volume(true).await;
    put(&s, 1, "one").await.unwrap();
    put(&s, 2, "two").await.unwrap();
    assert!(s.node_report().await.low_space);
    w.free(1000);
    let full = put(&s, 3, "three").await.unwrap_err();
    assert!(
        matches!(
            full,
            VolumeError::Full {
                free: 1000,
                reserve: 1_048_576,
                ..
            }
        ),
        "{full}"
    );
    assert!(s.node_report().await.volumes[0].read_only);
    let gone = s.delete_needles(vec![fid(1)], VolumeOwner::Native).await;
    assert_eq!(gone, [Ok(Deleted::Yes { size: 3 })]);
    w.free((1 << 20) + 1000);
    assert!(
        put(&s, 3, "three").await.is_err(),
        "just above the mark is not enough"
    );
    w.free(2 << 20);
    put(&s, 3, "three").await.unwrap();
    // The disk fills up between two looks at it: half a batch is written, and goes again.
    w.faults.full.store(true, Ordering::SeqCst);
    assert!(matches!(
        put(&s, 4, "four").await,
        Err(VolumeError::Full { .. })
    ));
    w.faults.full.store(false, Ordering::SeqCst);
    put(&s, 5, "five").await.unwrap();
    drop(s);
    let s = w.open(true);
    s.lead(VolumeId(1), 2).await.unwrap();
    assert_eq!(get(&s, 1).await, None);
    assert_eq!(get(&s, 4).await, None);
    for (key, want) in [(2, "two"), (3, "three"), (5, "five")] {
        assert_eq!(get(&s, key).await.unwrap(), want);
    }
    assert!(!w.dir.path().join("quarantine").exists());
    s.stop().await;
}

#[tokio::test]
async fn unsynced_operation_marks_at_a_clean_stop_and_keeps_its_tail_without() {
    for clean in [true, false] {
        let w = World::new();
        let s = w.with_volume(false).await;
        let before = w.faults.syncs.load(Ordering::SeqCst);
        for key in 1..100 {
            put(&s, key, "text").await.unwrap();
        }
        assert_eq!(
            w.faults.syncs.load(Ordering::SeqCst),
            before,
            "no batch is synced"
        );
        assert_eq!(get(&s, 50).await.unwrap(), "text");
        if clean {
            s.stop().await;
        }
        drop(s);
        let s = w.open(true);
        s.lead(VolumeId(1), 2).await.unwrap();
        for key in 1..100 {
            assert_eq!(get(&s, key).await.unwrap(), "text");
        }
        put(&s, 100, "text").await.unwrap();
        s.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_serves_a_batch() {
    let w = World::new();
    let s = w.with_volume(true).await;
    let before = w.faults.syncs.load(Ordering::SeqCst);
    let puts = (1..=512).map(|key| put(&s, key, "text"));
    assert!(
        futures::future::join_all(puts)
            .await
            .iter()
            .all(Result::is_ok)
    );
    let syncs = w.faults.syncs.load(Ordering::SeqCst) - before;
    assert!(
        (1..=128).contains(&syncs),
        "{syncs} syncs for 512 puts at once"
    );
    let before = w.faults.syncs.load(Ordering::SeqCst);
    let gone = s
        .delete_needles((1..=512).map(fid).collect(), VolumeOwner::Native)
        .await;
    assert!(gone.iter().all(|g| *g == Ok(Deleted::Yes { size: 4 })));
    let syncs = w.faults.syncs.load(Ordering::SeqCst) - before;
    assert_eq!(syncs, 1, "tombstones of one call share their sync");
    s.stop().await;
}

#[tokio::test]
async fn a_mount_after_a_clean_stop_reads_no_more_than_the_mark() {
    for keys in [0_u64, 300] {
        let w = World::new();
        let s = w.with_volume(true).await;
        let log = vec![b'x'; 64 << 10];
        let text = String::from_utf8(log).unwrap();
        for key in 1..=keys {
            put(&s, key, &text).await.unwrap();
        }
        s.stop().await;
        drop(s);
        let before = w.faults.direct_bytes.load(Ordering::SeqCst);
        let s = w.open(true);
        let read = w.faults.direct_bytes.load(Ordering::SeqCst) - before;
        assert!(read < 64 << 10, "{read} bytes read for {keys} needles");
        s.lead(VolumeId(1), 2).await.unwrap();
        for key in 1..=keys {
            assert!(get(&s, key).await.is_some());
        }
        put(&s, 1000, "more").await.unwrap();
        s.stop().await;
    }
}

/// Whoever asked for a volume goes away while it is made, and it is asked for again: the first making never replaces the
/// file that the second one's needles are in.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_made_twice_at_once_is_made_once() {
    let w = World::new();
    w.faults.free.store(FREE * 4, Ordering::SeqCst);
    let s = w.open(true);
    w.faults.hold.store(true, Ordering::SeqCst);
    let maker = Arc::clone(&s);
    let first = tokio::spawn(async move { maker.create_volume(creation()).await });
    while w.faults.holds.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let maker = Arc::clone(&s);
    let mut second = tokio::spawn(async move { maker.create_volume(creation()).await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    w.faults.hold.store(false, Ordering::SeqCst);
    assert!(
        early.is_err(),
        "the second making did not wait for the first"
    );
    second.await.unwrap().unwrap();
    put(&s, 1, "one").await.unwrap();
    s.stop().await;
    drop(s);
    let s = w.open(true);
    s.lead(VolumeId(1), 2).await.unwrap();
    assert_eq!(get(&s, 1).await.unwrap(), "one");
    s.stop().await;
}
