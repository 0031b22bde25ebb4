//! The store on RocksDB: the suite, restarts, keys, full disks, rot in the log, and the comparison with the model.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed step fails the test; files are changed behind the store's back"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use halofs_runtime::disk::{DiskFile, DiskLock, Entry, Open, Space};
use halofs_runtime::{Disk, OsRng, RealDisk};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_store::rocks::{RocksConfig, RocksDeps, RocksStore};
use halofs_store::{Batch, Check, KvStore, MemStore, Op, StoreError, conformance};
use halofs_types::Uuid;
use proptest::prelude::*;

const CLUSTER: Uuid = Uuid([7; 16]);

fn deps(key: u8) -> RocksDeps {
    RocksDeps {
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([key; 32]))),
        disk: Arc::new(RealDisk),
        rng: Arc::new(OsRng),
    }
}

fn open(path: &Path) -> Result<Arc<RocksStore>, StoreError> {
    RocksStore::open(RocksConfig::new(path, CLUSTER), deps(1))
}

fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = RealDisk.list(path).unwrap();
    let read = |e: Entry| (e.name.clone(), std::fs::read(path.join(&e.name)).unwrap());
    entries
        .into_iter()
        .filter(|e| !e.is_dir && !e.name.starts_with("LOG") && e.name != "LOCK")
        .map(read)
        .collect()
}

fn copy(from: &Path, to: &Path) {
    RealDisk.create_dir_all(to).unwrap();
    for entry in RealDisk.list(from).unwrap() {
        std::fs::copy(from.join(&entry.name), to.join(&entry.name)).unwrap();
    }
}

fn newest_log(path: &Path) -> PathBuf {
    let names = RealDisk.list(path).unwrap();
    path.join(
        names
            .into_iter()
            .rev()
            .find(|e| Path::new(&e.name).extension().is_some_and(|x| x == "log"))
            .unwrap()
            .name,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_laws_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let uuid = store.store_uuid();
    let last = conformance::run(Arc::clone(&store) as Arc<dyn KvStore>)
        .await
        .unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    conformance::revisions_grow_over_a_reopen(Arc::clone(&store) as Arc<dyn KvStore>, last)
        .await
        .unwrap();
    let rows = store.scan(b"", b"", 1000).unwrap();
    assert_eq!(store.store_uuid(), uuid);
    store.stop().await;
    assert!(matches!(
        store.commit(Batch::default().put("a", "b")).await,
        Err(StoreError::Stopped(_))
    ));
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.scan(b"", b"", 1000).unwrap(), rows);
}

#[tokio::test]
async fn the_model_keeps_the_laws() {
    conformance::run(Arc::new(MemStore::new(Uuid([1; 16]))))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_its_id_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(Batch::default().put("a", "b")).await.unwrap();
    drop(store);
    let before = files(dir.path());
    let right = FileKeyProvider::from_root(RootKey::from_bytes([1; 32]));
    let refused = RocksStore::open(RocksConfig::new(dir.path(), CLUSTER), deps(2))
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains(halofs_seal::KeyProvider::kek_id(&right)),
        "{refused}"
    );
    let other = RocksStore::open(RocksConfig::new(dir.path(), Uuid([8; 16])), deps(1))
        .err()
        .unwrap()
        .to_string();
    assert!(other.contains("cluster"), "{other}");
    assert_eq!(files(dir.path()), before);
    assert!(open(dir.path()).unwrap().get(b"a").unwrap().is_some());
}

#[tokio::test]
async fn no_value_is_on_disk_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let canary = b"the canary that must not be found".as_slice();
    let store = open(dir.path()).unwrap();
    store
        .commit(Batch::default().put("a", canary))
        .await
        .unwrap();
    let found = |files: &BTreeMap<String, Vec<u8>>| {
        files
            .values()
            .any(|f| f.windows(canary.len()).any(|w| w == canary))
    };
    assert!(!found(&files(dir.path())));
    store.stop().await;
    assert!(!found(&files(dir.path())));
}

async fn with_a_log(dir: &Path) -> usize {
    let store = open(dir).unwrap();
    for n in 0..60u32 {
        let value = vec![u8::try_from(n).unwrap(); usize::try_from(n).unwrap() * 37 % 2500];
        store
            .commit(Batch::default().put(format!("row/{n:03}"), value))
            .await
            .unwrap();
    }
    drop(store);
    60
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_stops_the_start_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let rows = with_a_log(&dir.path().join("a")).await;
    let log = newest_log(&dir.path().join("a"));
    let len = std::fs::metadata(&log).unwrap().len();
    assert!(len > 70_000, "{len}");
    let trailers = |at: u64| at % 32_768 > 32_768 - 7;
    let (mut refused, mut harmless) = (0, 0);
    for n in 0..150u64 {
        // Half of them in the last block, where RocksDB alone would take rot for the end.
        let at = if n % 2 == 0 {
            n * 7919 % len
        } else {
            len - 1 - n * 131 % 20_000
        };
        let copied = dir.path().join(format!("b{n}"));
        copy(&dir.path().join("a"), &copied);
        let log = newest_log(&copied);
        let mut bytes = std::fs::read(&log).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1 << (n % 8);
        std::fs::write(&log, &bytes).unwrap();
        match open(&copied) {
            Err(e) => {
                assert!(
                    e.to_string()
                        .contains(log.file_name().unwrap().to_str().unwrap()),
                    "{e}"
                );
                refused += 1;
            }
            Ok(store) => {
                assert!(trailers(at), "byte {at} of {len}");
                assert_eq!(store.scan(b"row/", b"row0", 1000).unwrap().len(), rows);
                harmless += 1;
            }
        }
        std::fs::remove_dir_all(&copied).unwrap();
    }
    assert!(refused >= 145, "{refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn a_torn_last_record_is_cut_and_the_rest_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let rows = with_a_log(&dir.path().join("a")).await;
    for (n, zeros) in [
        (1, false),
        (5, false),
        (900, false),
        (1500, true),
        (1000, true),
    ] {
        let copied = dir.path().join(format!("c{n}"));
        copy(&dir.path().join("a"), &copied);
        let log = newest_log(&copied);
        let mut bytes = std::fs::read(&log).unwrap();
        let keep = bytes.len() - n;
        if zeros {
            bytes[keep..].fill(0);
        } else {
            bytes.truncate(keep);
        }
        std::fs::write(&log, &bytes).unwrap();
        let store = open(&copied).unwrap_or_else(|e| panic!("{n} {zeros}: {e}"));
        let left = store.scan(b"row/", b"row0", 1000).unwrap();
        assert_eq!(left.len(), rows - 1, "{n} {zeros}");
        store
            .commit(Batch::default().put("more", "x"))
            .await
            .unwrap();
        drop(store);
        assert!(open(&copied).unwrap().get(b"more").unwrap().is_some());
    }
}

/// How many writes a log holds: records that begin, in blocks of 32 KiB (RocksDB's log format; 5 to 8 are recycled logs').
fn writes(log: &Path) -> usize {
    let mut count = 0;
    for block in std::fs::read(log).unwrap().chunks(32 << 10) {
        let mut rest = block;
        while let [_, _, _, _, low, high, kind, tail @ ..] = rest {
            let head = if *kind < 5 { 0 } else { 4 };
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            if *kind == 0 {
                break;
            }
            count += usize::from(matches!(kind, 1 | 2 | 5 | 6));
            rest = tail.get(head + length..).unwrap_or_default();
        }
    }
    count
}

#[tokio::test]
async fn batches_that_come_together_are_one_write_and_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let rows = |n: u32| Batch::default().put(format!("row/{n:04}"), n.to_string());
    store.commit(rows(0)).await.unwrap();
    let before = writes(&newest_log(dir.path()));
    assert!(before > 0);
    for n in 1..=3 {
        store.commit(rows(n)).await.unwrap();
    }
    assert_eq!(writes(&newest_log(dir.path())), before + 3);
    let all = store.commit_many((0..1000).map(rows).collect()).await;
    assert!(all.len() == 1000 && all.iter().all(Result::is_ok));
    assert_eq!(writes(&newest_log(dir.path())), before + 4);
}

#[tokio::test]
async fn a_flipped_bit_in_a_table_is_never_a_wrong_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a")).unwrap();
    let batches = (0..300u32).map(|n| Batch::default().put(format!("row/{n:03}"), n.to_string()));
    assert!(
        store
            .commit_many(batches.collect())
            .await
            .iter()
            .all(Result::is_ok)
    );
    store.stop().await;
    let right = store.scan(b"row/", b"row0", 1000).unwrap();
    drop(store);
    let mut noticed = 0;
    for n in 0..60usize {
        let copied = dir.path().join(format!("t{n}"));
        copy(&dir.path().join("a"), &copied);
        let (name, mut bytes) = files(&copied)
            .into_iter()
            .filter(|(name, _)| Path::new(name).extension().is_some_and(|x| x == "sst"))
            .max_by_key(|(_, bytes)| bytes.len())
            .unwrap();
        let at = n * 7919 % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        std::fs::write(copied.join(name), &bytes).unwrap();
        // Tables hold bytes that nothing reads; whatever is read is right or refused.
        match open(&copied).and_then(|s| s.scan(b"row/", b"row0", 1000)) {
            Ok(rows) => assert_eq!(rows, right, "byte {at}"),
            Err(_) => noticed += 1,
        }
        std::fs::remove_dir_all(&copied).unwrap();
    }
    assert!(noticed > 30, "{noticed} of 60 noticed");
}

/// A disk whose free space the test sets.
struct Small(Arc<AtomicU64>);

impl Disk for Small {
    fn open(&self, path: &Path, how: Open) -> std::io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path, how)
    }
    fn create_secret(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        RealDisk.create_secret(path)
    }
    fn create_dir_all(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.create_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> std::io::Result<Vec<Entry>> {
        RealDisk.list(path)
    }
    fn exists(&self, path: &Path) -> std::io::Result<bool> {
        RealDisk.exists(path)
    }
    fn mode_owner(&self, path: &Path) -> std::io::Result<(u32, u32)> {
        RealDisk.mode_owner(path)
    }
    fn space(&self, _path: &Path) -> std::io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            free: self.0.load(Ordering::Relaxed),
        })
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(path)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_but_not_deletes_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 40));
    let deps = RocksDeps {
        disk: Arc::new(Small(Arc::clone(&free))),
        ..deps(1)
    };
    let store = RocksStore::open(RocksConfig::new(dir.path(), CLUSTER), deps).unwrap();
    store.commit(Batch::default().put("a", "b")).await.unwrap();
    // What a put would take is asked for before its body is read.
    free.store(70 << 20, Ordering::Relaxed);
    assert_eq!(store.room(4 << 20), Ok(()));
    assert!(matches!(store.room(8 << 20), Err(StoreError::Full(_))));
    free.store(40 << 20, Ordering::Relaxed);
    assert!(matches!(
        store.commit(Batch::default().put("c", "d")).await,
        Err(StoreError::Full(_))
    ));
    store
        .commit(Batch::default().delete("a").put("gc", "a").frees())
        .await
        .unwrap();
    free.store(1 << 20, Ordering::Relaxed);
    assert!(matches!(
        store.commit(Batch::default().delete("gc").frees()).await,
        Err(StoreError::Full(_))
    ));
    free.store(1 << 40, Ordering::Relaxed);
    store.commit(Batch::default().put("c", "d")).await.unwrap();
    assert!(store.get(b"a").unwrap().is_none());
}

#[tokio::test]
async fn without_sync_a_restart_still_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = RocksConfig {
        fsync: false,
        ..RocksConfig::new(dir.path(), CLUSTER)
    };
    let store = RocksStore::open(config.clone(), deps(1)).unwrap();
    store.commit(Batch::default().put("a", "b")).await.unwrap();
    store.stop().await;
    drop(store);
    assert!(
        RocksStore::open(config, deps(1))
            .unwrap()
            .get(b"a")
            .unwrap()
            .is_some()
    );
}

fn key() -> impl Strategy<Value = Bytes> {
    "[ab]/[a-c]{0,2}".prop_map(Bytes::from)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (key(), any::<[u8; 3]>()).prop_map(|(k, v)| Op::Put(k, Bytes::copy_from_slice(&v))),
        2 => key().prop_map(Op::Delete),
        1 => (key(), prop_oneof![key(), Just(Bytes::new())]).prop_map(|(a, b)| Op::DeleteRange(a, b)),
    ]
}

/// A check whose revision is that of a key now, or wrong: revisions differ between the stores.
#[derive(Debug, Clone)]
enum Asked {
    Plain(Check),
    Now(Bytes, bool),
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        key().prop_map(|k| Asked::Plain(Check::Absent(k))),
        key().prop_map(|k| Asked::Plain(Check::Exists(k))),
        (key(), key()).prop_map(|(a, b)| Asked::Plain(Check::RangeEmpty(a, b))),
        (key(), any::<bool>()).prop_map(|(k, right)| Asked::Now(k, right)),
    ]
}

fn resolve(store: &dyn KvStore, asked: Asked) -> Check {
    match asked {
        Asked::Plain(check) => check,
        Asked::Now(key, right) => {
            let now = store.get(&key).unwrap().map_or(0, |r| r.revision);
            Check::At(key, if right { now } else { now + 1_000_000 })
        }
    }
}

type Group = Vec<(Vec<Asked>, Vec<Op>)>;

fn group() -> impl Strategy<Value = Group> {
    let batch = (
        prop::collection::vec(asked(), 0..3),
        prop::collection::vec(op(), 1..5),
    );
    prop::collection::vec(batch, 1..6)
}

fn outcome(results: &[Result<u64, StoreError>]) -> Vec<Result<(), StoreError>> {
    results.iter().map(|r| r.clone().map(|_| ())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn rocks_does_what_the_model_does(groups in prop::collection::vec(group(), 1..12), reopen in 0usize..12) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let model = MemStore::new(Uuid([1; 16]));
        let mut rocks = open(dir.path()).unwrap();
        for (n, group) in groups.into_iter().enumerate() {
            let build = |store: &dyn KvStore| -> Vec<Batch> {
                group.iter().cloned().map(|(asked, ops)| Batch {
                    checks: asked.into_iter().map(|a| resolve(store, a)).collect(), ops, frees: false,
                }).collect()
            };
            let (of_model, of_rocks) = (build(&model), build(rocks.as_ref()));
            let a = runtime.block_on(model.commit_many(of_model));
            let b = runtime.block_on(rocks.commit_many(of_rocks));
            prop_assert_eq!(outcome(&a), outcome(&b));
            if n == reopen {
                drop(rocks);
                rocks = open(dir.path()).unwrap();
            }
            let plain = |store: &dyn KvStore| -> Vec<(Bytes, Bytes)> {
                store.scan(b"", b"", 1000).unwrap().into_iter().map(|(k, r)| (k, r.value)).collect()
            };
            prop_assert_eq!(plain(&model), plain(rocks.as_ref()));
        }
    }
}
