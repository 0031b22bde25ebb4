use proptest::prelude::*;

use super::*;

/// A log as RocksDB writes it: records cut into fragments at block ends.
fn log_of(records: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut starts) = (Vec::new(), Vec::new());
    for record in records {
        let mut rest = &record[..];
        let mut first = true;
        loop {
            let left = BLOCK - out.len() % BLOCK;
            if left < HEADER {
                out.resize(out.len() + left, 0);
                continue;
            }
            if first {
                starts.push(out.len());
            }
            let take = rest.len().min(left - HEADER);
            let kind = match (first, take == rest.len()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            let data = [&[kind], &rest[..take]].concat();
            out.extend_from_slice(&mask(crc_fast::crc32_iscsi(&data)).to_le_bytes());
            out.extend_from_slice(&u16::try_from(take).unwrap().to_le_bytes());
            out.extend_from_slice(&data);
            rest = &rest[take..];
            first = false;
            if rest.is_empty() {
                break;
            }
        }
    }
    (out, starts)
}

fn verdict(bytes: &[u8]) -> Verdict {
    judge(bytes, Written::Synced).verdict
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    use halofs_runtime::Rng;
    let mut out = vec![0; len];
    halofs_runtime::rng::SeededRng::new(seed).fill(&mut out);
    out
}

fn sample() -> (Vec<u8>, Vec<usize>) {
    let sizes = [40, 300, 12, 25_000, 9_000, 700, 70_000, 90, 400, 33];
    log_of(
        &sizes
            .iter()
            .zip(0..)
            .map(|(n, i)| noise(i, *n))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn a_whole_log_is_clean() {
    assert_eq!(verdict(&sample().0), Verdict::Clean);
    assert_eq!(verdict(&[]), Verdict::Clean);
}

#[test]
fn every_cut_is_a_torn_record_at_its_start() {
    let (bytes, starts) = sample();
    for len in (0..bytes.len()).step_by(37).chain(starts.iter().copied()) {
        let start = *starts.iter().rev().find(|s| **s <= len).unwrap();
        let verdict = verdict(&bytes[..len]);
        if start == len || verdict == Verdict::Clean {
            assert!(
                verdict == Verdict::Clean
                    && (start == len || starts.iter().any(|s| s - len < HEADER)),
                "{len}"
            );
        } else {
            assert_eq!(verdict, Verdict::Torn(start), "{len}");
        }
    }
}

#[test]
fn every_flipped_bit_is_rot() {
    let (mut bytes, _) = log_of(&[
        noise(1, 40),
        noise(2, 32_000),
        noise(3, 900),
        noise(4, 300),
        noise(5, 60),
    ]);
    let trailer = BLOCK - HEADER + 1..BLOCK;
    let mut seen = 0;
    for bit in (0..bytes.len() * 8).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        let at = bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        if trailer.contains(&at) && verdict(&bytes) == Verdict::Clean {
            bytes[at] ^= 1 << (bit % 8);
            continue;
        }
        assert!(
            matches!(verdict(&bytes), Verdict::Rot(_)),
            "bit {bit} of {}",
            bytes.len() * 8
        );
        bytes[at] ^= 1 << (bit % 8);
        seen += 1;
    }
    assert!(seen > 50_000);
}

#[test]
fn sectors_that_were_never_written_are_torn_in_the_last_record_only() {
    let (bytes, starts) = sample();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(bytes.len());
        let mut sector = start - start % SECTOR;
        while sector < end {
            let mut broken = bytes.clone();
            let (from, to) = (sector.max(*start), (sector + SECTOR).min(end));
            broken[from..to].fill(0);
            let verdict = verdict(&broken);
            if to - from >= ZERO_RUN || from == *start && to - from >= HEADER {
                let torn = verdict == Verdict::Torn(*start);
                assert_eq!(
                    torn,
                    end == bytes.len(),
                    "record {n}, sector {sector}: {verdict:?}"
                );
            }
            sector += SECTOR;
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let _ = judge(&bytes, Written::Synced);
        let _ = judge(&bytes, Written::Unsynced);
    }

    #[test]
    fn logs_of_any_sizes_verify(sizes in proptest::collection::vec(12usize..80_000, 1..12), flip in any::<prop::sample::Index>()) {
        let (mut bytes, _) = log_of(&sizes.iter().zip(0..).map(|(n, i)| noise(i, *n)).collect::<Vec<_>>());
        prop_assert_eq!(verdict(&bytes), Verdict::Clean);
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!matches!(verdict(&bytes), Verdict::Torn(_)));
    }
}

/// Batches of two operations each, numbered from `first`.
fn batches(first: u64, sizes: &[usize]) -> Vec<Vec<u8>> {
    let numbered = sizes.iter().zip(0u64..).map(|(size, n)| {
        let mut batch = (first + 2 * n).to_le_bytes().to_vec();
        batch.extend_from_slice(&2u32.to_le_bytes());
        batch.extend_from_slice(&noise(first + n, *size));
        batch
    });
    numbered.collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn of(logs: &[(u64, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (number, bytes) in logs {
            write(&dir.path().join(format!("{number:06}.log")), bytes);
        }
        Self(dir)
    }

    fn check(&self, written: Written) -> Result<(), StoreError> {
        check(&halofs_runtime::RealDisk, self.0.path(), written)
    }

    /// Names and lengths.
    fn files(&self) -> Vec<(String, usize)> {
        let disk = halofs_runtime::RealDisk;
        let entries = disk.list(self.0.path()).unwrap().into_iter();
        entries
            .map(|e| {
                let len = read_all(&disk, &self.0.path().join(&e.name)).unwrap().len();
                (e.name, len)
            })
            .collect()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    halofs_runtime::disk::replace(&halofs_runtime::RealDisk, path, bytes, false).unwrap();
}

#[test]
fn batches_are_numbered() {
    let (log, _) = log_of(&batches(100, &[40, 70_000, 0, 900]));
    let judged = judge(&log, Written::Synced);
    assert_eq!((judged.first, judged.next), (Some(100), Some(108)));
    let judged = judge(&log[..log.len() - 5], Written::Synced);
    assert_eq!((judged.first, judged.next), (Some(100), Some(106)));
}

/// A power cut took bytes of a log that is not the newest: without syncs a prefix is left, with them the start ends by
/// name.
#[test]
fn a_gap_between_two_logs_ends_what_was_not_synced() {
    let (first, starts) = log_of(&batches(1, &[40, 900, 3000, 500]));
    let (second, _) = log_of(&batches(9, &[70, 1200]));
    let (third, _) = log_of(&batches(13, &[99]));
    let mut holed = first.clone();
    let sector = (starts[2] + 600).next_multiple_of(SECTOR);
    holed[sector..sector + SECTOR].fill(0);
    // What is left of the first log, and where its prefix ends.
    let cases: [(&[u8], usize); 6] = [
        (&first[..starts[3] + 9], starts[3]),
        // The end is exactly a batch's: only the numbers tell.
        (&first[..starts[3]], starts[3]),
        (&first[..starts[1]], starts[1]),
        (&first[..starts[1] + 3], starts[1]),
        (&holed, starts[2]),
        (&[], 0),
    ];
    for (bytes, end) in cases {
        let logs = [(7, bytes), (9, &second[..]), (12, &third[..])];
        let folder = Folder::of(&logs);
        if end > 0 && judge(bytes, Written::Synced).verdict != Verdict::Clean {
            let refused = folder.check(Written::Synced).unwrap_err().to_string();
            assert!(refused.contains("000007.log"), "{refused}");
        }
        let left = [
            ("000007.log".to_owned(), end),
            ("000009.log.lost".to_owned(), second.len()),
            ("000012.log.lost".to_owned(), third.len()),
        ];
        for _ in 0..2 {
            folder.check(Written::Unsynced).unwrap();
            assert_eq!(folder.files(), left);
        }
    }
}

#[test]
fn a_killed_process_loses_nothing() {
    let (first, _) = log_of(&batches(1, &[40, 900]));
    let (second, _) = log_of(&batches(5, &[70]));
    for logs in [
        vec![(7, &first[..]), (9, &second[..])],
        vec![(7, &first[..]), (9, &second[..]), (11, &[])],
        vec![(7, &first[..]), (8, &[])],
        vec![(7, &[][..])],
    ] {
        let folder = Folder::of(&logs);
        let before = folder.files();
        for written in [Written::Unsynced, Written::Synced] {
            folder.check(written).unwrap();
            assert_eq!(folder.files(), before);
        }
    }
}

#[test]
fn rot_is_refused_by_name_with_and_without_syncs() {
    let (mut first, starts) = log_of(&batches(1, &[40, 900]));
    let (second, _) = log_of(&batches(5, &[70]));
    first[starts[1] + 100] ^= 4;
    for written in [Written::Synced, Written::Unsynced] {
        let folder = Folder::of(&[(7, &first), (9, &second)]);
        let before = folder.files();
        let refused = folder.check(written).unwrap_err().to_string();
        assert!(refused.contains("000007.log"), "{refused}");
        assert_eq!(folder.files(), before);
    }
}

/// The records of a log as they were given to [`log_of`].
fn records(log: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut record, mut at) = (Vec::new(), Vec::new(), 0);
    while at < log.len() {
        if BLOCK - at % BLOCK < HEADER {
            at += BLOCK - at % BLOCK;
            continue;
        }
        let f = fragment(log, at, 0).filter(verifies).unwrap();
        record.extend_from_slice(&f.data[1..]);
        if matches!(f.kind, FULL | LAST) {
            out.push(std::mem::take(&mut record));
        }
        at = f.end;
    }
    out
}

/// The whole store: its log is cut in two as RocksDB does, and the first one lost its tail.
#[tokio::test]
async fn a_store_that_ran_without_syncs_opens_by_itself_with_a_prefix() {
    use crate::kv::{Batch, KvStore};
    use crate::rocks::{RocksConfig, RocksDeps, RocksStore};
    use halofs_runtime::{OsRng, RealDisk};
    use halofs_types::Uuid;
    use std::sync::Arc;

    const ROWS: usize = 120;
    let keys = halofs_seal::FileKeyProvider::from_root(halofs_seal::RootKey::from_bytes([1; 32]));
    let deps = RocksDeps {
        keys: Arc::new(keys),
        disk: Arc::new(RealDisk),
        rng: Arc::new(OsRng),
    };
    let home = tempfile::tempdir().unwrap();
    let config = |name: &str, fsync| RocksConfig {
        fsync,
        ..RocksConfig::new(home.path().join(name), Uuid([7; 16]))
    };
    let made = config("made", false);
    // Opened, ended and opened again without a write: no empty log is left that would look like a gap.
    for _ in 0..2 {
        drop(RocksStore::open(made.clone(), deps.clone()).unwrap());
    }
    let store = RocksStore::open(made.clone(), deps.clone()).unwrap();
    for n in 0..ROWS {
        let row = Batch::default().put(format!("row/{n:03}"), vec![7; n * 37 % 900]);
        store.commit(row).await.unwrap();
    }
    drop(store);
    let disk = RealDisk;
    let names = |dir: &Path| disk.list(dir).unwrap().into_iter().map(|e| e.name);
    let log = names(&made.path)
        .rfind(|n| n.strip_suffix(".log").is_some())
        .unwrap();
    let whole = records(&read_all(&disk, &made.path.join(&log)).unwrap());
    assert!(whole.len() >= ROWS, "{}", whole.len());
    let number: u64 = log.trim_end_matches(".log").parse().unwrap();
    let skipped = whole.len() - ROWS;
    for (split, lost) in [(60, 0), (60, 1), (100, 700), (30, 5000), (1, 40)] {
        let name = format!("copy{split}.{lost}");
        let copy = config(&name, false);
        disk.create_dir_all(&copy.path).unwrap();
        for entry in names(&made.path).filter(|n| *n != "LOCK") {
            write(
                &copy.path.join(&entry),
                &read_all(&disk, &made.path.join(&entry)).unwrap(),
            );
        }
        let (first, starts) = log_of(&whole[..split + skipped]);
        let (second, _) = log_of(&whole[split + skipped..]);
        let left = first.len() - lost.min(first.len());
        write(&copy.path.join(&log), &first[..left]);
        write(&copy.path.join(format!("{:06}.log", number + 1)), &second);
        let want = match lost {
            0 => ROWS,
            _ => starts.iter().filter(|s| **s < left).count() - 1 - skipped,
        };
        for fsync in [false, false, true, true] {
            let again = RocksConfig {
                fsync,
                ..copy.clone()
            };
            let store =
                RocksStore::open(again, deps.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let rows = store.scan(b"row/", b"row0", 1000).unwrap();
            assert_eq!(rows.len(), want, "{name}");
            let last = rows.last().map(|(key, _)| key.to_vec());
            assert_eq!(
                last,
                (want > 0).then(|| format!("row/{:03}", want - 1).into_bytes())
            );
            drop(store);
            assert_eq!(names(&copy.path).any(|n| n == "UNSYNCED"), !fsync, "{name}");
        }
    }
}
