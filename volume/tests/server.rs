//! The volume server as a whole: its end without a stop, the bound on a volume's size, what is damaged and counted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic and lay out files by hand"
)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{
    CreateVolume, Deleted, NeedleName, NeedleOwner, PutNeedle, Stored, VolumeApi,
};
use halofs_runtime::{Clock, Disk, OsRng, RealClock, RealDisk};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_types::{AttemptId, BucketId, Cookie, FileId, NeedleKey, Placement, Uuid, VolumeId};
use halofs_volume::{Deps, VolumeConfig, VolumeServer};

fn deps() -> Deps {
    Deps {
        clock: Arc::new(RealClock),
        rng: Arc::new(OsRng),
        disk: Arc::new(RealDisk),
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
        cluster: Uuid([7; 16]),
    }
}

async fn open(dir: &Path, limit: u64, owner: VolumeOwner) -> Arc<VolumeServer> {
    open_with(dir, limit, owner, deps()).await
}

async fn open_with(dir: &Path, limit: u64, owner: VolumeOwner, deps: Deps) -> Arc<VolumeServer> {
    open_as(dir, limit, owner, deps, true).await
}

async fn open_as(
    dir: &Path,
    limit: u64,
    owner: VolumeOwner,
    deps: Deps,
    fsync: bool,
) -> Arc<VolumeServer> {
    let config = VolumeConfig {
        fsync,
        soft_free: Some(0),
        hard_free: Some(0),
        volume_size_limit: limit,
        ..VolumeConfig::new(dir.to_owned())
    };
    let server = VolumeServer::open(config, deps).unwrap();
    let create = CreateVolume {
        id: VolumeId(1),
        uuid: Uuid([1; 16]),
        collection: String::new(),
        collection_uuid: Uuid([9; 16]),
        owner,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    };
    server.create_volume(create).await.unwrap();
    server
}

fn fid(key: u64) -> FileId {
    FileId {
        volume: VolumeId(1),
        key: NeedleKey(key),
        cookie: Cookie(5),
    }
}

async fn put(s: &VolumeServer, key: u64, len: usize, filer: bool) -> Result<Stored, VolumeError> {
    let owner = NeedleOwner {
        store: Uuid([3; 16]),
        bucket: BucketId(4),
        key: Bytes::from_static(b"object"),
        attempt: AttemptId([5; 16]),
        part: 0,
        chunk: 1,
    };
    let seed = usize::try_from(key).unwrap();
    let body: Bytes = (0..len)
        .map(|i| (i * 31 + seed * 7).to_le_bytes()[0])
        .collect();
    s.put_needle(PutNeedle {
        fid: fid(key),
        body: Pieces::from(body),
        owner: filer.then_some(owner),
        name: NeedleName::default(),
        compress: false,
        manifest: false,
    })
    .await
}

/// A server that is dropped and not stopped: no thread of it is left, and no checkpoint is written behind the back of
/// whoever opens the folder next.
#[tokio::test]
async fn a_dropped_server_ends_its_threads_and_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let deps = deps();
    let disk: Weak<dyn Disk> = Arc::downgrade(&deps.disk);
    let server = open_with(dir.path(), 1 << 30, VolumeOwner::Filer, deps).await;
    put(&server, 1, 1000, true).await.unwrap();
    drop(server);
    assert!(disk.upgrade().is_none(), "a thread still holds the disk");
    assert!(!dir.path().join("1.ckpt").exists());
    let again = open(dir.path(), 1 << 30, VolumeOwner::Filer).await;
    again.lead(VolumeId(1), 2).await.unwrap();
    let listed = again.list_needles(VolumeId(1), NeedleKey(0), NeedleKey(9), 9);
    assert_eq!(listed.await.unwrap().len(), 1);
    again.stop().await;
}

/// Leases count keys and not bytes: the volume itself ends behind its limit and the grace that main needs to make others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_passes_its_limit_by_its_grace_and_what_was_in_flight() {
    const LIMIT: u64 = 4 << 20;
    const END: u64 = LIMIT + (64 << 20);
    const BODY: usize = 64 << 10;
    const WRITERS: u64 = 24;
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path(), LIMIT, VolumeOwner::Filer).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let server = Arc::clone(&server);
        writers.spawn(async move {
            for n in 0..100 {
                if let Err(e) = put(&server, writer * 1000 + n + 1, BODY, true).await {
                    return (n, Some(e));
                }
            }
            (100, None)
        });
    }
    let mut stored = 0;
    for (n, end) in writers.join_all().await {
        stored += n;
        let Some(VolumeError::AtLimit {
            volume,
            size,
            limit,
        }) = end
        else {
            panic!("{end:?}");
        };
        assert!(volume == VolumeId(1) && size >= END && limit == LIMIT);
    }
    let record = BODY as u64 + 1024;
    let size = std::fs::metadata(dir.path().join("1.vol")).unwrap().len();
    let view = Arc::clone(server.volume(VolumeId(1)).unwrap().view());
    let end = server.node_report().await.volumes[0].size;
    assert!(
        end >= END && end < END + WRITERS * record,
        "{end} of {size} in the file"
    );
    assert!(
        stored * BODY as u64 > END - END / 32 - WRITERS * record,
        "{stored} {view:?}"
    );
    // What is there can still be taken away.
    let gone = server
        .delete_needles(vec![fid(1)], VolumeOwner::Filer)
        .await;
    assert!(matches!(gone[0], Ok(Deleted::Yes { .. })), "{gone:?}");
    server.stop().await;
}

/// Native clients take their fids before main hears that a volume is full, and try no second one.
#[tokio::test]
async fn a_native_volume_has_grace_and_overwrites_have_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path(), 1 << 20, VolumeOwner::Native).await;
    let mut last = 0;
    for key in 1..100 {
        match put(&server, key, 1 << 20, false).await {
            Ok(_) => last = key,
            Err(VolumeError::AtLimit { size, limit, .. }) => {
                assert!(size >= (64 << 20) + (1 << 20) && limit == 1 << 20, "{size}");
                break;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!((64..=66).contains(&last), "{last}");
    let overwrite = put(&server, 1, 1000, false).await.unwrap();
    assert!(!overwrite.unchanged);
    server.stop().await;
}

/// A header that rots under a running server: sweeps leave the needle out, so it is counted until it is taken away.
#[tokio::test]
async fn a_needle_with_a_damaged_header_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path(), 1 << 30, VolumeOwner::Filer).await;
    for key in 1..=3 {
        put(&server, key, 500, true).await.unwrap();
    }
    let path = dir.path().join("1.vol");
    let bytes = std::fs::read(&path).unwrap();
    let key_at = |key: u64| {
        let wanted = [&b"HND1"[..], &[1]].concat();
        let mut at = 8192;
        while !(bytes[at..].starts_with(&wanted) && bytes[at + 8..at + 16] == key.to_le_bytes()) {
            at += 8;
        }
        at
    };
    let at = key_at(2) + 26;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
    for _ in 0..2 {
        let listed = server
            .list_needles(VolumeId(1), NeedleKey(0), NeedleKey(9), 9)
            .await
            .unwrap();
        assert_eq!(
            listed.iter().map(|n| n.fid.key.0).collect::<Vec<_>>(),
            [1, 3]
        );
        assert_eq!(server.counters().damaged_needles.count(), 1);
    }
    let read = server.open_needle(fid(2), None, VolumeOwner::Filer).await;
    assert!(matches!(read.err(), Some(VolumeError::Damaged { .. })));
    assert_eq!(server.counters().damaged_needles.count(), 1);
    let gone = server
        .delete_needles(vec![fid(2)], VolumeOwner::Filer)
        .await;
    assert!(matches!(gone[0], Ok(Deleted::Yes { .. })), "{gone:?}");
    assert_eq!(server.counters().damaged_needles.count(), 0);
    server.stop().await;
}

/// Without syncs most of what is published waits for its mark: checkpoints are written all the same, and a mount after a
/// kill reads little.
#[tokio::test]
async fn without_syncs_checkpoints_are_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = open_as(dir.path(), 1 << 30, VolumeOwner::Filer, deps(), false).await;
    let mut key = 0;
    let clock = RealClock;
    let began = clock.monotonic_ns();
    while server.counters().checkpoints.get() == 0 {
        key += 1;
        put(&server, key, 1 << 20, true).await.unwrap();
        let waited = clock.monotonic_ns() - began;
        assert!(
            key < 40 || waited < 20_000_000_000,
            "no checkpoint in {key} MiB"
        );
        if key >= 40 {
            clock.sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    drop(server);
    assert!(dir.path().join("1.ckpt").exists());
}
