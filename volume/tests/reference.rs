//! The formats against the independent reference, `compat-tests/needle_ref.py`, both ways: golden files that it wrote,
//! a volume that it wrote and we mount, a volume that we wrote and it walks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic, print and lay out files by hand"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{CreateVolume, Encoding, NeedleName, PutNeedle, VolumeApi};
use halofs_runtime::{OsRng, RealClock, RealDisk};
use halofs_seal::{Dek, FileKeyProvider, NeedleSealer, RootKey};
use halofs_types::{Cookie, FileId, NeedleKey, Placement, Uuid, VolumeId};
use halofs_volume::format::mark::{Chain, Mark, chain_start};
use halofs_volume::format::record::{HEADER, Head};
use halofs_volume::format::superblock::{HEAD, LEN, MAC_AT, Superblock};
use halofs_volume::format::{FormatError, crc32c};
use halofs_volume::{Deps, VolumeConfig, VolumeServer};
use sha2::{Digest, Sha256};

const CLUSTER: Uuid = Uuid([b'C'; 16]);
const ROOT: [u8; 32] = [b'K'; 32];

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata/format/v1")
            .join(name),
    )
    .unwrap()
}

fn volume_uuid() -> [u8; 16] {
    std::array::from_fn(|i| u8::try_from(i + 16).unwrap())
}

fn sealer() -> NeedleSealer {
    let dek = Dek::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
    NeedleSealer::new(&dek, CLUSTER.0, volume_uuid())
}

/// Decodes, opens and re-seals a record; the bytes must be the same.
fn again(bytes: &[u8]) -> (Head, Vec<u8>) {
    let head = Head::decode(bytes).unwrap();
    let layout = head.header.layout();
    assert_eq!(layout.record_len(), bytes.len() as u64);
    let keys = sealer().derive(&head.derive, &head.salt);
    assert!(keys.commit_is(&head.commit));
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    assert_eq!(head.header.encode(), head.derive);
    out.extend_from_slice(&head.encode());
    for i in 0..layout.segments() {
        let at = usize::try_from(layout.segment_at(i)).unwrap();
        let len = layout.segment_len(i) as usize;
        let last = i + 1 == layout.segments();
        let mut text = vec![0; len];
        let tag = bytes[at + len..at + len + 16].try_into().unwrap();
        keys.open_segment(i, last, &bytes[at..at + len], tag, &mut text)
            .unwrap();
        plain.extend_from_slice(&text);
        let tag = keys.seal_segment(i, last, &mut text);
        out.extend_from_slice(&text);
        out.extend_from_slice(&tag);
    }
    out.resize(out.len() + layout.padding(), 0);
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    assert!(out == bytes, "re-encoded byte for byte");
    (head, plain)
}

#[test]
fn golden_records_decode_and_encode() {
    let (head, plain) = again(&golden("empty.record"));
    assert_eq!((head.header.flags, plain.len()), (0, 0));
    let (head, plain) = again(&golden("five.record"));
    assert_eq!(
        (head.header.key, head.header.cookie),
        (0x1122_3344_5566_7788, 0xdead_beef)
    );
    assert_eq!(
        (head.header.append_ns, &plain[..]),
        (1_700_000_000_000_000_002, &b"hello"[..])
    );
    let (head, plain) = again(&golden("meta.record"));
    assert_eq!(
        (head.header.meta_len, &plain[..2], plain.len()),
        (2, &b"mm"[..], 1002)
    );
    let (head, _) = again(&golden("ttl.record"));
    assert_eq!(head.header.expire_s, 60);
    let (head, plain) = again(&golden("segments.record"));
    assert_eq!((head.header.layout().segments(), plain.len()), (4, 12_289));
    let (head, _) = again(&golden("tombstone.record"));
    assert_eq!((head.header.flags, head.header.key), (1, 6));
    let (head, plain) = again(&golden("mark.record"));
    let mark = Mark::decode(&plain).unwrap();
    assert_eq!((head.header.flags, mark.encode().to_vec()), (32, plain));
    assert_eq!(
        (mark.generation, mark.epoch, mark.start, mark.length),
        (4, 5, 8192, 112)
    );
}

#[test]
fn a_record_cut_anywhere_is_not_a_record() {
    let bytes = golden("five.record");
    for n in 0..HEADER {
        assert_eq!(Head::decode(&bytes[..n]), Err(FormatError::Short), "{n}");
    }
}

#[test]
fn golden_superblocks_decode_and_encode() {
    let volume = golden("3.vol");
    for (at, seq) in [(0, 1), (LEN, 2)] {
        let bytes = &volume[at..at + LEN];
        let sb = Superblock::decode(bytes).unwrap();
        assert_eq!(
            (sb.seq, sb.volume_id, sb.placement, sb.volume),
            (seq, 3, 1, volume_uuid())
        );
        let mac = bytes[MAC_AT..MAC_AT + 32].try_into().unwrap();
        assert!(
            Superblock::seal(sb.encode_body().unwrap(), mac) == bytes,
            "re-encoded byte for byte"
        );
        for n in 0..LEN {
            assert!(Superblock::decode(&bytes[..n]).is_err());
        }
        for bit in 0..LEN * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&bad).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn golden_chain_is_ours() {
    let volume = golden("3.vol");
    let mut at = usize::try_from(HEAD).unwrap();
    let mut chain = Chain::after(&chain_start(&volume_uuid(), 0));
    let mut marks = 0;
    while volume.get(at..at + 4) == Some(b"HND1") {
        let head = Head::decode(&volume[at..]).unwrap();
        let len = head.header.layout().record_len();
        let end = at + usize::try_from(len).unwrap();
        let (_, plain) = again(&volume[at..end]);
        if head.header.flags == 32 {
            let mark = Mark::decode(&plain).unwrap();
            assert_eq!(mark.chain, chain.value());
            assert!(mark.stands_at(at as u64));
            chain = Chain::after(&mark.chain);
            marks += 1;
        } else {
            chain.add(at as u64, len, &head.commit);
        }
        at = end;
    }
    assert_eq!(marks, 2);
}

fn deps() -> Deps {
    Deps {
        clock: Arc::new(RealClock),
        rng: Arc::new(OsRng),
        disk: Arc::new(RealDisk),
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes(ROOT))),
        cluster: CLUSTER,
    }
}

fn open(dir: &Path) -> Arc<VolumeServer> {
    let config = VolumeConfig {
        soft_free: Some(0),
        hard_free: Some(0),
        ..VolumeConfig::new(dir.to_owned())
    };
    VolumeServer::open(config, deps()).unwrap()
}

fn fid(key: u64, cookie: u32) -> FileId {
    FileId {
        volume: VolumeId(3),
        key: NeedleKey(key),
        cookie: Cookie(cookie),
    }
}

async fn read(s: &VolumeServer, fid: FileId) -> Option<Bytes> {
    let needle = s.open_needle(fid, None, VolumeOwner::Native).await.ok()?;
    Some(
        needle
            .read(Encoding::Identity, 0, needle.info().size)
            .await
            .unwrap(),
    )
}

/// Checks what the golden volume holds, in a server whose epoch is not open yet.
async fn check_reference_volume(s: &VolumeServer) {
    s.lead(VolumeId(3), 8).await.unwrap();
    assert_eq!(read(s, fid(1, 11)).await, None);
    assert_eq!(
        read(s, fid(2, 12)).await.unwrap(),
        Bytes::from_static(b"hello again")
    );
    let long = read(s, fid(3, 13)).await.unwrap();
    // hashlib.shake_128(b"text 150000").digest(150000) of needle_vectors.py.
    let want = "05df1ceee7a09695";
    let got = hex::encode(&Sha256::digest(&long)[..8]);
    assert_eq!((long.len(), got.as_str()), (150_000, want));
    let report = s.node_report().await.volumes.remove(0);
    assert_eq!(
        (
            report.files,
            report.deleted_files,
            report.epoch,
            report.leads
        ),
        (2, 2, 7, Some(8))
    );
}

#[tokio::test]
async fn a_committed_volume_of_the_reference_mounts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("3.vol"), golden("3.vol")).unwrap();
    let s = open(dir.path());
    check_reference_volume(&s).await;
    s.stop().await;
}

/// The interpreter with `cryptography`: `HALOFS_PYTHON`, or the virtual environment that `make setup` makes.
fn python() -> PathBuf {
    let python = match std::env::var("HALOFS_PYTHON") {
        Ok(p) => PathBuf::from(p),
        Err(_) => Path::new(&std::env::var("HOME").unwrap()).join(".cache/halofs/venv/bin/python"),
    };
    let found = Command::new(&python)
        .args(["-c", "import cryptography"])
        .output();
    assert!(
        found.is_ok_and(|o| o.status.success()),
        "{} has no package `cryptography`: run `make setup`, or name another interpreter in HALOFS_PYTHON",
        python.display()
    );
    python
}

fn run(script: &str, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../compat-tests")
        .join(script);
    let mut command = Command::new(python());
    let out = command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .args(args)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test]
async fn the_reference_writes_the_golden_files_and_we_mount_its_volume() {
    let dir = tempfile::tempdir().unwrap();
    run("needle_vectors.py", &[dir.path().to_str().unwrap()]);
    let names = [
        "empty",
        "five",
        "meta",
        "ttl",
        "segments",
        "tombstone",
        "mark",
    ]
    .map(|n| format!("{n}.record"));
    for name in names.into_iter().chain(["3.vol".to_owned()]) {
        assert!(
            std::fs::read(dir.path().join(&name)).unwrap() == golden(&name),
            "{name} is as committed"
        );
    }
    let s = open(dir.path());
    check_reference_volume(&s).await;
    s.stop().await;
}

#[tokio::test]
async fn the_reference_walks_a_volume_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    let create = CreateVolume {
        id: VolumeId(3),
        uuid: Uuid([3; 16]),
        collection: String::new(),
        collection_uuid: Uuid([4; 16]),
        owner: VolumeOwner::Native,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    };
    s.create_volume(create).await.unwrap();
    let sizes = [0usize, 1, 4096, 65_536, 70_000, 200_000];
    for (i, n) in sizes.into_iter().enumerate() {
        let put = PutNeedle {
            fid: fid(i as u64 + 1, 77),
            body: Pieces::from(Bytes::from(vec![7; n])),
            owner: None,
            name: NeedleName::default(),
            compress: false,
            manifest: false,
        };
        s.put_needle(put).await.unwrap();
    }
    s.delete_needles(vec![fid(1, 77), fid(2, 77)], VolumeOwner::Native)
        .await;
    s.stop().await;
    drop(s);
    let path = dir.path().join("3.vol");
    let told = run(
        "needle_check.py",
        &[path.to_str().unwrap(), &hex::encode(ROOT)],
    );
    let lines: Vec<Vec<&str>> = told.lines().map(|l| l.split(' ').collect()).collect();
    let keys: Vec<&str> = lines.iter().map(|l| l[2]).collect();
    assert_eq!(keys, ["1", "2", "3", "4", "5", "6", "1", "2"]);
    assert!(lines.iter().all(|l| l[3] == "77"));
    assert_eq!(
        lines.iter().filter(|l| l[1] == "1").count(),
        2,
        "two tombstones"
    );
    let s = open(dir.path());
    s.lead(VolumeId(3), 2).await.unwrap();
    for line in lines.iter().filter(|l| l[1] != "1").skip(2) {
        let key = line[2].parse().unwrap();
        let needle = s
            .open_needle(fid(key, 77), None, VolumeOwner::Native)
            .await
            .unwrap();
        assert_eq!(hex::encode(needle.info().commit), line[4]);
    }
    s.stop().await;
}
