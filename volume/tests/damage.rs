//! Damage: wrong bytes never leave, a torn tail is cut, rot is kept and skipped, and nothing of it stops the volume.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic, print and lay out files by hand"
)]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{CreateVolume, Encoding};
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{RealClock, RealDisk};
use halofs_seal::needle::superblock_mac;
use halofs_seal::{DekScope, FileKeyProvider, RootKey};
use halofs_types::{Cookie, FileId, NeedleKey, Placement, Uuid, VolumeId};
use halofs_volume::Deps;
use halofs_volume::format::superblock::Superblock;
use halofs_volume::volume::encode::{self, Plain};
use halofs_volume::volume::index::Slot;
use halofs_volume::volume::log::{Outcome, Pending, VolumeLog};
use halofs_volume::volume::reader;

const ID: VolumeId = VolumeId(1);
const HEAD: u64 = 8192;

fn deps() -> Deps {
    Deps {
        clock: Arc::new(RealClock),
        rng: Arc::new(SeededRng::new(1)),
        disk: Arc::new(RealDisk),
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
        cluster: Uuid([7; 16]),
    }
}

struct Bench {
    dir: tempfile::TempDir,
    deps: Deps,
    log: Option<VolumeLog>,
    epoch: u64,
}

impl Bench {
    fn new(owner: VolumeOwner) -> Self {
        // Tens of thousands of mounts: in memory where the system has such a folder.
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() {
            tempfile::tempdir_in(shm)
        } else {
            tempfile::tempdir()
        }
        .unwrap();
        let deps = deps();
        let create = CreateVolume {
            id: ID,
            uuid: Uuid([1; 16]),
            collection: String::new(),
            collection_uuid: Uuid([2; 16]),
            owner,
            placement: Placement::default(),
            epoch: 1,
            generation: 0,
        };
        let log = VolumeLog::create(&deps, dir.path().to_owned(), &create, true).unwrap();
        Self {
            dir,
            deps,
            log: Some(log),
            epoch: 1,
        }
    }

    fn log(&mut self) -> &mut VolumeLog {
        self.log.as_mut().unwrap()
    }

    fn record(&mut self, key: u64, body: Option<&[u8]>, overlay: Option<Slot>) -> Pending {
        let (rng, clock) = (Arc::clone(&self.deps.rng), Arc::clone(&self.deps.clock));
        let view = Arc::clone(self.log().view());
        let ns = view.next_ns(&*clock);
        let record = match body {
            None => encode::seal_tombstone(&view.head, &*rng, ns, key, 5),
            Some(body) => {
                let body = Pieces::from(Bytes::copy_from_slice(body));
                let plain = Plain {
                    key,
                    cookie: 5,
                    body,
                    ..Plain::default()
                };
                encode::seal_needle(&view.head, &*rng, ns, plain).unwrap()
            }
        };
        Pending {
            record,
            seen: overlay.unwrap_or_else(|| view.find(key).0),
        }
    }

    /// Commits one batch; returns where it begins.
    fn commit(&mut self, records: &[(u64, Option<&[u8]>)]) -> u64 {
        let batch: Vec<Pending> = records
            .iter()
            .map(|(k, b)| self.record(*k, *b, None))
            .collect();
        let at = self.log().end();
        self.log().begin(&batch).unwrap();
        let mut acks = Vec::new();
        self.log().finish(&mut |_, o| acks.push(o)).unwrap();
        assert!(acks.iter().all(|a| *a == Outcome::Done));
        at
    }

    fn vol(&self) -> PathBuf {
        self.dir.path().join("1.vol")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.vol()).unwrap()
    }

    fn set(&self, bytes: &[u8]) {
        std::fs::write(self.vol(), bytes).unwrap();
    }

    /// Mounts whatever the files hold now.
    fn remount(&mut self) {
        self.log = None;
        let mut log = VolumeLog::mount(&self.deps, self.dir.path().to_owned(), ID, true).unwrap();
        self.epoch += 1;
        log.lead(self.epoch).unwrap();
        self.log = Some(log);
    }

    /// Mounts as if nothing but the log had survived.
    fn mount_log_only(&mut self) {
        self.forget();
        self.log =
            Some(VolumeLog::mount(&self.deps, self.dir.path().to_owned(), ID, true).unwrap());
    }

    /// [`Self::remount`] as if nothing but the log had survived.
    fn remount_log_only(&mut self) {
        self.forget();
        self.remount();
    }

    fn forget(&mut self) {
        self.log = None;
        for ext in ["ckpt", "state"] {
            let path = self.dir.path().join(format!("1.{ext}"));
            if path.exists() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    fn get(&mut self, key: u64) -> Result<Vec<u8>, VolumeError> {
        let fid = FileId {
            volume: ID,
            key: NeedleKey(key),
            cookie: Cookie(5),
        };
        let view = Arc::clone(self.log().view());
        match reader::locate(&view, fid)? {
            Slot::Live { offset, plain_len } => {
                let needle = reader::open(&view, fid, (offset, plain_len), None)?;
                Ok(needle
                    .read_now(Encoding::Identity, 0, needle.about().size)?
                    .to_vec())
            }
            Slot::Absent | Slot::Deleted => Err(VolumeError::NotFound(fid)),
        }
    }

    fn quarantined(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("quarantine")).map_or(0, Iterator::count)
    }
}

fn is_damaged(got: &Result<Vec<u8>, VolumeError>) -> bool {
    matches!(got, Err(VolumeError::Damaged { .. }))
}

fn text(n: usize) -> Vec<u8> {
    (0..n)
        .map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1] ^ 0x5a)
        .collect()
}

/// Rewrites the head so that segments are 4 KiB: a record of three segments then has few enough bits to flip them all.
fn small_segments(b: &mut Bench) {
    b.log = None;
    let bytes = b.bytes();
    let mut sb = Superblock::decode(&bytes[4096..8192]).unwrap();
    let scope = DekScope::Volume {
        cluster: Uuid(sb.cluster),
        collection: Uuid(sb.collection),
        volume: Uuid(sb.volume),
        dek_gen: 0,
    };
    let dek = b.deps.keys.unwrap(&scope, &sb.slots[0].wrapped).unwrap();
    (sb.seg_log2, sb.seq) = (12, 3);
    let body = sb.encode_body().unwrap();
    let mac = superblock_mac(&dek, &sb.volume, &body);
    b.set(&[&Superblock::seal(body, &mac), &bytes[4096..]].concat());
    b.remount();
}

/// Every bit of a record of three segments, on the open volume: refused, or (padding, trailer) the right bytes.
#[test]
fn no_bit_flip_gives_wrong_bytes() {
    let mut b = Bench::new(VolumeOwner::Native);
    small_segments(&mut b);
    let want = text(2 * 4096 + 100);
    let at = usize::try_from(b.commit(&[(1, Some(&want))])).unwrap();
    let end = usize::try_from(b.log().end()).unwrap() - 176;
    assert_eq!((at, end - at), (8192, 88 + want.len() + 3 * 16 + 4));
    let bytes = b.bytes();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(b.vol())
        .unwrap();
    let (mut refused, mut right) = (0, 0);
    let write = |i: usize, byte: u8| {
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte], i as u64).unwrap();
    };
    for bit in at * 8..end * 8 {
        let i = bit / 8;
        write(i, bytes[i] ^ (1 << (bit % 8)));
        match b.get(1) {
            Ok(got) => {
                assert!(got == want, "wrong bytes at bit {bit}");
                assert!(end - i <= 4, "a flip at byte {} went unseen", i - at);
                right += 1;
            }
            Err(VolumeError::Damaged { .. }) => refused += 1,
            Err(e) => panic!("{e} at bit {bit}"),
        }
        write(i, bytes[i]);
    }
    println!(
        "{} bits: {refused} refused, {right} in the trailer",
        refused + right
    );
    assert_eq!((refused + right, right), ((end - at) * 8, 32));
}

/// Every bit of small records that create, overwrite and delete, the index rebuilt from the file each time.
#[test]
fn no_bit_flip_gives_wrong_bytes_after_a_rebuild() {
    let mut b = Bench::new(VolumeOwner::Native);
    b.commit(&[(1, Some(b"one")), (2, Some(b"two"))]);
    b.commit(&[(1, Some(b"one again")), (3, Some(b"three"))]);
    b.commit(&[(2, None)]);
    b.commit(&[(4, Some(b"four"))]);
    let bytes = b.bytes();
    let from = usize::try_from(HEAD).unwrap();
    let (mut fine, mut hurt) = (0, 0);
    for bit in from * 8..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        b.set(&bad);
        b.mount_log_only();
        let got: Vec<_> = (1..=4).map(|k| b.get(k)).collect();
        let ok = |i: usize, want: &[u8]| got[i].as_ref().is_ok_and(|g| g == want);
        let absent = |i: usize| matches!(got[i], Err(VolumeError::NotFound(_)));
        assert!(
            ok(0, b"one again") || is_damaged(&got[0]),
            "bit {bit}: {got:?}"
        );
        assert!(absent(1) || is_damaged(&got[1]), "bit {bit}: {got:?}");
        assert!(ok(2, b"three") || is_damaged(&got[2]), "bit {bit}: {got:?}");
        // The last batch: a flip in its mark alone makes it a kept tail.
        assert!(
            ok(3, b"four")
                || is_damaged(&got[3])
                || (bit / 8 >= bytes.len() - 176 - 112 && absent(3)),
            "bit {bit}"
        );
        if ok(0, b"one again") && absent(1) && ok(2, b"three") && ok(3, b"four") {
            fine += 1;
        } else {
            hurt += 1;
        }
    }
    println!("harmless {fine}, answered damaged {hurt}");
    assert!(fine > 0 && hurt > 0);
}

/// The file cut at every byte of its last two batches: what is whole is there, nothing else is, and writes go on.
#[test]
fn a_cut_anywhere_leaves_whole_records() {
    let mut b = Bench::new(VolumeOwner::Filer);
    b.commit(&[(1, Some(b"one"))]);
    let second = b.commit(&[(2, Some(b"two")), (3, Some(&text(300)))]);
    let bytes = b.bytes();
    let state = std::fs::read(b.dir.path().join("1.state")).unwrap();
    for len in usize::try_from(second).unwrap()..bytes.len() {
        b.set(&bytes[..len]);
        std::fs::write(b.dir.path().join("1.state"), &state).unwrap();
        b.epoch = 1;
        b.remount();
        assert_eq!(b.get(1).unwrap(), b"one", "{len}");
        let whole = len - usize::try_from(second).unwrap();
        assert_eq!(b.get(2).is_ok(), whole >= 112, "{len}");
        assert_eq!(b.get(3).is_ok(), whole >= 112 + 408, "{len}");
        b.commit(&[(9, Some(b"nine"))]);
        b.remount();
        assert_eq!(b.get(9).unwrap(), b"nine");
    }
    assert!(b.quarantined() > 100);
}

#[test]
fn rot_under_marks_is_kept_and_skipped() {
    let mut b = Bench::new(VolumeOwner::Native);
    let first = b.commit(&[(1, Some(b"one")), (2, Some(b"two"))]);
    b.commit(&[(3, Some(b"three"))]);
    b.commit(&[(4, Some(b"four"))]);
    let mut bad = b.bytes();
    bad[usize::try_from(first).unwrap() + 90] ^= 1;
    b.set(&bad);
    b.remount_log_only();
    assert!(
        is_damaged(&b.get(1)),
        "its body is rotten and its key is known"
    );
    assert_eq!(b.get(2).unwrap(), b"two");
    assert!(b.bytes()[..bad.len()] == bad[..], "rot stays where it is");
    assert_eq!(b.quarantined(), 0);
    // The header of key 2's record: nobody knows whose it was.
    bad[usize::try_from(first).unwrap() + 112 + 8] ^= 1;
    b.set(&bad);
    b.remount_log_only();
    assert!(is_damaged(&b.get(1)) && is_damaged(&b.get(2)) && is_damaged(&b.get(99)));
    assert_eq!(b.get(3).unwrap(), b"three");
    b.log().checkpoint().unwrap();
    b.remount();
    assert!(is_damaged(&b.get(2)), "a checkpoint remembers it");
    b.commit(&[(5, Some(b"five"))]);
    assert_eq!(b.get(5).unwrap(), b"five");
}

#[test]
fn a_rotten_mark_harms_no_needle() {
    let mut b = Bench::new(VolumeOwner::Native);
    b.commit(&[(1, Some(b"one"))]);
    let second = b.commit(&[(2, Some(b"two"))]);
    b.commit(&[(3, Some(b"three"))]);
    let mut bad = b.bytes();
    bad[usize::try_from(second).unwrap() - 176 + 10] ^= 1;
    b.set(&bad);
    b.remount_log_only();
    for (key, want) in [(1, &b"one"[..]), (2, b"two"), (3, b"three")] {
        assert_eq!(b.get(key).unwrap(), want);
    }
}

/// A batch whose mark reached the disk and one of whose sectors did not: it was never acknowledged, and what was before
/// it stays readable, also after later batches and without a checkpoint.
#[test]
fn a_torn_batch_under_its_mark_is_skipped() {
    let mut b = Bench::new(VolumeOwner::Native);
    b.commit(&[(1, Some(b"old one")), (2, Some(b"two"))]);
    let torn = usize::try_from(b.commit(&[(1, Some(&text(3000))), (3, Some(b"three"))])).unwrap();
    let mut bad = b.bytes();
    let hole = (torn + 600).next_multiple_of(512);
    bad[hole..hole + 512].fill(0);
    b.set(&bad);
    b.remount();
    assert_eq!(b.get(1).unwrap(), b"old one");
    assert_eq!(b.get(3).unwrap(), b"three");
    b.commit(&[(4, Some(b"four"))]);
    b.remount();
    assert_eq!(b.get(1).unwrap(), b"old one");
    assert_eq!(b.get(4).unwrap(), b"four");
}

#[test]
fn garbage_behind_the_last_mark_goes_to_quarantine() {
    let mut b = Bench::new(VolumeOwner::Filer);
    b.commit(&[(1, Some(b"one"))]);
    let good = b.bytes();
    let mut bad = good.clone();
    bad.extend_from_slice(&[0; 1000]);
    bad.extend_from_slice(b"garbage");
    bad.extend_from_slice(&[0; 5000]);
    b.set(&bad);
    b.log = None;
    let log = VolumeLog::mount(&b.deps, b.dir.path().to_owned(), ID, true).unwrap();
    assert!(b.bytes() == good, "cut to the last good byte");
    drop(log);
    assert_eq!(b.quarantined(), 1);
    b.set(&bad);
    b.remount();
    assert_eq!(b.quarantined(), 1, "the same bytes make no second file");
    assert_eq!(b.get(1).unwrap(), b"one");
}

#[test]
fn space_written_ahead_is_no_damage() {
    let mut b = Bench::new(VolumeOwner::Filer);
    b.commit(&[(1, Some(b"one"))]);
    let ahead = Arc::clone(b.log().ahead());
    let file = b.log().reopen().unwrap();
    ahead.extend(&*file, b.log().end() + (3 << 20)).unwrap();
    let len = b.bytes().len();
    b.commit(&[(2, Some(b"two"))]);
    assert_eq!(b.bytes().len(), len, "the batch went into the zeros");
    b.remount();
    assert_eq!(
        (b.get(1).unwrap(), b.get(2).unwrap()),
        (b"one".to_vec(), b"two".to_vec())
    );
    assert_eq!((b.bytes().len(), b.quarantined()), (len, 0));
}

#[test]
fn a_bad_checkpoint_is_not_used() {
    let mut b = Bench::new(VolumeOwner::Native);
    b.commit(&[(1, Some(b"one")), (2, Some(b"two"))]);
    b.commit(&[(2, None)]);
    b.log().checkpoint().unwrap();
    let path = b.dir.path().join("1.ckpt");
    let good = std::fs::read(&path).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1 << (i % 8);
        std::fs::write(&path, &bad).unwrap();
        b.remount();
        assert_eq!(b.get(1).unwrap(), b"one");
        assert!(matches!(b.get(2), Err(VolumeError::NotFound(_))));
    }
    // One that covers bytes that the log lost.
    b.commit(&[(3, Some(b"three"))]);
    let before = b.bytes();
    b.commit(&[(4, Some(b"four"))]);
    b.log().checkpoint().unwrap();
    b.set(&before);
    b.remount();
    assert_eq!(b.get(3).unwrap(), b"three");
    assert!(b.get(4).is_err());
}
