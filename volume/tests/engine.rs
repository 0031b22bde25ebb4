//! The volume server on a real disk: store, read, overwrite, delete, restart, damage.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic, print and lay out files by hand"
)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{
    CreateVolume, Deleted, Encoding, NeedleName, NeedleOwner, PutNeedle, Stored, VolumeApi,
};
use halofs_runtime::{OsRng, RealClock, RealDisk};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_types::{AttemptId, BucketId, Cookie, FileId, NeedleKey, Placement, Uuid, VolumeId};
use halofs_volume::{Deps, VolumeConfig, VolumeServer};

const CLUSTER: Uuid = Uuid([7; 16]);

fn deps_with(root: u8, cluster: Uuid) -> Deps {
    Deps {
        clock: Arc::new(RealClock),
        rng: Arc::new(OsRng),
        disk: Arc::new(RealDisk),
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([root; 32]))),
        cluster,
    }
}

fn config(dir: &Path) -> VolumeConfig {
    VolumeConfig {
        soft_free: Some(0),
        hard_free: Some(0),
        ..VolumeConfig::new(dir.to_owned())
    }
}

fn open(dir: &Path) -> Arc<VolumeServer> {
    VolumeServer::open(config(dir), deps_with(1, CLUSTER)).unwrap()
}

fn create(id: u32, owner: VolumeOwner) -> CreateVolume {
    CreateVolume {
        id: VolumeId(id),
        uuid: Uuid([u8::try_from(id).unwrap(); 16]),
        collection: "pictures".to_owned(),
        collection_uuid: Uuid([9; 16]),
        owner,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    }
}

fn fid(volume: u32, key: u64) -> FileId {
    FileId {
        volume: VolumeId(volume),
        key: NeedleKey(key),
        cookie: Cookie(0x1234_5678),
    }
}

fn owner_of(key: u64) -> NeedleOwner {
    NeedleOwner {
        store: Uuid([3; 16]),
        bucket: BucketId(4),
        key: Bytes::from(format!("object {key}")),
        attempt: AttemptId([5; 16]),
        part: 0,
        chunk: 1,
    }
}

fn body(n: usize, seed: u64) -> Bytes {
    (0..n as u64)
        .map(|i| ((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_le_bytes()[0])
        .collect()
}

async fn put(
    s: &VolumeServer,
    fid: FileId,
    owner: VolumeOwner,
    bytes: Bytes,
) -> Result<Stored, VolumeError> {
    let name = NeedleName {
        name: "a.txt".to_owned(),
        mime: "text/plain".to_owned(),
        ..NeedleName::default()
    };
    let filer = owner == VolumeOwner::Filer;
    s.put_needle(PutNeedle {
        fid,
        body: Pieces::from(bytes),
        owner: filer.then(|| owner_of(fid.key.0)),
        name: if filer { NeedleName::default() } else { name },
        compress: !filer,
        manifest: false,
    })
    .await
}

async fn get(s: &VolumeServer, fid: FileId, owner: VolumeOwner) -> Result<Bytes, VolumeError> {
    let needle = s.open_needle(fid, None, owner).await?;
    let size = needle.info().size;
    let mut all = Vec::new();
    while (all.len() as u64) < size {
        let at = all.len() as u64;
        all.extend_from_slice(
            &needle
                .read(Encoding::Identity, at, (at + 300_000).min(size))
                .await?,
        );
    }
    Ok(Bytes::from(all))
}

#[tokio::test]
async fn filer_needles_round_trip_and_are_create_only() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(3, VolumeOwner::Filer))
        .await
        .unwrap();
    s.create_volume(create(3, VolumeOwner::Filer))
        .await
        .unwrap();
    let mut stored = Vec::new();
    for (key, n) in [
        0,
        1,
        4096,
        65_535,
        65_536,
        65_537,
        200_000,
        1 << 20,
        8 << 20,
    ]
    .into_iter()
    .enumerate()
    {
        let key = key as u64 + 1;
        let got = put(&s, fid(3, key), VolumeOwner::Filer, body(n, key))
            .await
            .unwrap();
        assert_eq!((got.size, got.unchanged), (n as u64, false));
        stored.push((key, n, got));
    }
    for (key, n, stored) in &stored {
        assert_eq!(
            get(&s, fid(3, *key), VolumeOwner::Filer).await.unwrap(),
            body(*n, *key),
            "{n}"
        );
        let needle = s
            .open_needle(fid(3, *key), Some(stored.commit), VolumeOwner::Filer)
            .await
            .unwrap();
        assert_eq!(
            (needle.info().crc32c, needle.info().commit),
            (stored.crc32c, stored.commit)
        );
        let other = s
            .open_needle(fid(3, *key), Some([0; 16]), VolumeOwner::Filer)
            .await;
        assert_eq!(other.err(), Some(VolumeError::Mismatch(fid(3, *key))));
        let again = put(&s, fid(3, *key), VolumeOwner::Filer, body(*n, *key)).await;
        assert_eq!(again, Err(VolumeError::Exists(fid(3, *key))));
    }
    let range = s
        .open_needle(fid(3, 7), None, VolumeOwner::Filer)
        .await
        .unwrap();
    for (a, b) in [
        (0, 1),
        (65_400, 65_700),
        (131_000, 200_000),
        (199_999, 200_000),
        (5, 300_000),
    ] {
        let want = body(200_000, 7).slice(a..b.min(200_000));
        assert_eq!(
            range
                .read(Encoding::Identity, a as u64, b as u64)
                .await
                .unwrap(),
            want
        );
    }
    let native = s.open_needle(fid(3, 1), None, VolumeOwner::Native).await;
    assert_eq!(native.err(), Some(VolumeError::NoVolume(VolumeId(3))));
    s.stop().await;
    assert_eq!(
        put(&s, fid(3, 50), VolumeOwner::Filer, body(1, 2)).await,
        Err(VolumeError::Stopping)
    );
}

#[tokio::test]
async fn filer_needles_are_listed_with_owners_and_deleted_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(3, VolumeOwner::Filer))
        .await
        .unwrap();
    for key in 1..10 {
        let n = if key == 3 { 4096 } else { 1 };
        put(&s, fid(3, key), VolumeOwner::Filer, body(n, key))
            .await
            .unwrap();
    }
    let listed = s
        .list_needles(VolumeId(3), NeedleKey(2), NeedleKey(5), 3)
        .await
        .unwrap();
    assert_eq!(
        listed.iter().map(|l| l.fid).collect::<Vec<_>>(),
        [fid(3, 2), fid(3, 3), fid(3, 4)]
    );
    assert_eq!(listed[0].owner, Some(owner_of(2)));
    let fids = vec![fid(3, 2), fid(3, 2), fid(3, 99), fid(3, 3)];
    let gone = s.delete_needles(fids, VolumeOwner::Filer).await;
    let want = [
        Deleted::Yes { size: 1 },
        Deleted::Absent,
        Deleted::Absent,
        Deleted::Yes { size: 4096 },
    ];
    assert_eq!(
        gone.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        want
    );
    assert_eq!(
        get(&s, fid(3, 2), VolumeOwner::Filer).await,
        Err(VolumeError::NotFound(fid(3, 2)))
    );
    let again = put(&s, fid(3, 2), VolumeOwner::Filer, body(1, 2)).await;
    assert_eq!(again, Err(VolumeError::Exists(fid(3, 2))));
    let report = s.node_report().await;
    assert_eq!(
        (
            report.volumes[0].files,
            report.volumes[0].deleted_files,
            report.max_key
        ),
        (7, 2, 9)
    );
    s.stop().await;
}

#[tokio::test]
async fn the_caller_alone_says_what_is_worth_compressing() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(1, VolumeOwner::Native))
        .await
        .unwrap();
    // Neither name nor type are stored with a body that was sniffed, or whose extension says its type.
    for (key, compress) in [(1, true), (2, false)] {
        let put = PutNeedle {
            fid: fid(1, key),
            body: Pieces::from(Bytes::from("some text. ".repeat(1000))),
            owner: None,
            name: NeedleName::default(),
            compress,
            manifest: false,
        };
        s.put_needle(put).await.unwrap();
        let needle = s
            .open_needle(fid(1, key), None, VolumeOwner::Native)
            .await
            .unwrap();
        assert_eq!(needle.info().gzip_size.is_some(), compress);
    }
}

#[tokio::test]
async fn native_needles_are_overwritten_under_their_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(1, VolumeOwner::Native))
        .await
        .unwrap();
    let f = fid(1, 1);
    let stranger = FileId {
        cookie: Cookie(1),
        ..f
    };
    let text = Bytes::from("some text, again and again. ".repeat(40_000));
    let first = put(&s, f, VolumeOwner::Native, text.clone()).await.unwrap();
    let needle = s.open_needle(f, None, VolumeOwner::Native).await.unwrap();
    let gzip = needle.info().gzip_size.unwrap();
    assert!(gzip < text.len() as u64 / 10);
    assert_eq!(needle.info().name.name, "a.txt");
    assert_eq!(get(&s, f, VolumeOwner::Native).await.unwrap(), text);
    let mid = needle
        .read(Encoding::Identity, 260_000, 270_000)
        .await
        .unwrap();
    assert_eq!(mid, text.slice(260_000..270_000));
    let stream = needle.read(Encoding::Gzip, 0, gzip).await.unwrap();
    assert_eq!(
        halofs_volume::gzip::inflate(&stream, text.len()).unwrap(),
        text
    );
    let same = put(&s, f, VolumeOwner::Native, text.clone()).await.unwrap();
    assert_eq!((same.unchanged, same.commit), (true, first.commit));
    assert_eq!(
        put(&s, stranger, VolumeOwner::Native, text).await,
        Err(VolumeError::WrongCookie(stranger))
    );
    let second = put(&s, f, VolumeOwner::Native, body(10, 1)).await.unwrap();
    assert_ne!(second.commit, first.commit);
    assert_eq!(get(&s, f, VolumeOwner::Native).await.unwrap(), body(10, 1));
    assert_eq!(
        get(&s, stranger, VolumeOwner::Native).await,
        Err(VolumeError::NotFound(stranger))
    );
    // The reader that was open keeps what it opened.
    assert_eq!(
        needle.read(Encoding::Identity, 0, 4).await.unwrap(),
        Bytes::from_static(b"some")
    );
    let wrong = s.delete_needles(vec![stranger], VolumeOwner::Native).await;
    assert_eq!(wrong, [Err(VolumeError::WrongCookie(stranger))]);
    let gone = s.delete_needles(vec![f], VolumeOwner::Native).await;
    assert_eq!(gone, [Ok(Deleted::Yes { size: 10 })]);
    put(&s, stranger, VolumeOwner::Native, body(5, 5))
        .await
        .unwrap();
    assert_eq!(
        get(&s, stranger, VolumeOwner::Native).await.unwrap(),
        body(5, 5)
    );
    s.stop().await;
}

#[tokio::test]
async fn concurrent_writers_of_one_key_agree() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(1, VolumeOwner::Native))
        .await
        .unwrap();
    s.create_volume(create(2, VolumeOwner::Filer))
        .await
        .unwrap();
    let puts = (0..64u64).map(|i| put(&s, fid(2, 1), VolumeOwner::Filer, body(100, i)));
    let won = futures::future::join_all(puts)
        .await
        .into_iter()
        .flatten()
        .count();
    assert_eq!(won, 1);
    let puts = (0..64u32).map(|i| {
        let f = FileId {
            cookie: Cookie(i),
            ..fid(1, 1)
        };
        put(&s, f, VolumeOwner::Native, body(100, u64::from(i)))
    });
    let won = futures::future::join_all(puts)
        .await
        .into_iter()
        .flatten()
        .count();
    assert_eq!(won, 1, "the first cookie keeps the others out");
    let puts = (0..64u64).map(|i| put(&s, fid(1, 2), VolumeOwner::Native, body(100, i)));
    assert!(
        futures::future::join_all(puts)
            .await
            .iter()
            .all(Result::is_ok)
    );
    s.stop().await;
}

#[tokio::test]
async fn a_restart_serves_after_its_epoch_is_opened() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let s = open(dir.path());
        s.create_volume(create(1, VolumeOwner::Native))
            .await
            .unwrap();
        for key in 1..200 {
            put(&s, fid(1, key), VolumeOwner::Native, body(1000, key))
                .await
                .unwrap();
        }
        s.delete_needles((1..50).map(|k| fid(1, k)).collect(), VolumeOwner::Native)
            .await;
        let before = s.node_report().await.volumes.remove(0);
        if clean {
            s.stop().await;
        }
        drop(s);
        let s = open(dir.path());
        let waiting = get(&s, fid(1, 100), VolumeOwner::Native).await;
        assert!(matches!(waiting, Err(VolumeError::ReadOnly { .. })));
        assert!(matches!(
            s.lead(VolumeId(1), 1).await,
            Err(VolumeError::ReadOnly { .. })
        ));
        s.lead(VolumeId(1), 2).await.unwrap();
        for key in 1..200 {
            let got = get(&s, fid(1, key), VolumeOwner::Native).await;
            if key < 50 {
                assert_eq!(got, Err(VolumeError::NotFound(fid(1, key))));
            } else {
                assert_eq!(got.unwrap(), body(1000, key));
            }
        }
        let mut after = s.node_report().await.volumes.remove(0);
        assert_eq!(
            (after.leads, after.collection.as_str()),
            (Some(2), "pictures")
        );
        after.leads = before.leads;
        assert_eq!(after, before);
        put(&s, fid(1, 500), VolumeOwner::Native, body(1000, 500))
            .await
            .unwrap();
        s.stop().await;
    }
}

#[tokio::test]
async fn strangers_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.create_volume(create(1, VolumeOwner::Native))
        .await
        .unwrap();
    put(&s, fid(1, 1), VolumeOwner::Native, body(10, 1))
        .await
        .unwrap();
    let locked = VolumeServer::open(config(dir.path()), deps_with(1, CLUSTER)).unwrap_err();
    assert!(
        locked.to_string().contains("another halofs process"),
        "{locked}"
    );
    s.stop().await;
    drop(s);
    let vol = dir.path().join("1.vol");
    let before = std::fs::read(&vol).unwrap();
    let wrong_key = VolumeServer::open(config(dir.path()), deps_with(2, CLUSTER)).unwrap_err();
    let (ours, theirs) = (
        RootKey::from_bytes([2; 32]).kek_id(),
        RootKey::from_bytes([1; 32]).kek_id(),
    );
    let text = wrong_key.to_string();
    assert!(text.contains(&ours) && text.contains(&theirs), "{text}");
    let other = VolumeServer::open(config(dir.path()), deps_with(1, Uuid([8; 16]))).unwrap_err();
    assert!(other.to_string().contains("belongs to cluster"), "{other}");
    assert_eq!(
        std::fs::read(&vol).unwrap(),
        before,
        "nothing is overwritten"
    );
    let mut newer = before.clone();
    for at in [0, 4096] {
        newer[at + 8..at + 12].copy_from_slice(&[9, 0, 9, 0]);
        let crc = halofs_volume::format::crc32c(&newer[at..at + 4092]);
        newer[at + 4092..at + 4096].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&vol, &newer).unwrap();
    let text = VolumeServer::open(config(dir.path()), deps_with(1, CLUSTER))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("format version 9 needs a reader of version 9"),
        "{text}"
    );
    let mut one_bad = before.clone();
    one_bad[4096 + 100] ^= 1;
    std::fs::write(&vol, &one_bad).unwrap();
    std::fs::write(dir.path().join("notes.vol"), b"mine").unwrap();
    let s = open(dir.path());
    s.lead(VolumeId(1), 2).await.unwrap();
    assert_eq!(
        get(&s, fid(1, 1), VolumeOwner::Native).await.unwrap(),
        body(10, 1)
    );
    s.stop().await;
    let after = std::fs::read(&vol).unwrap();
    assert!(
        after[4096..8192] == before[..4096],
        "the bad copy is mended from the good one"
    );
    assert_eq!(
        std::fs::read(dir.path().join("notes.vol")).unwrap(),
        b"mine"
    );
}
