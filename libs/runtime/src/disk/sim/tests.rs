use std::io::IoSlice;

use super::*;
use crate::disk::{Disk, Open, read_all, replace};

fn path(p: &str) -> &Path {
    Path::new(p)
}

fn with_folder() -> SimDisk {
    let d = SimDisk::new();
    d.create_dir_all(path("/v/q")).unwrap();
    d
}

#[test]
fn unsynced_bytes_may_go_and_synced_ones_stay() {
    let d = with_folder();
    let f = d.open(path("/v/a"), Open::CreateNew).unwrap();
    f.write_at(&[IoSlice::new(b"synced")], 0).unwrap();
    f.sync_data().unwrap();
    d.sync_dir(path("/v")).unwrap();
    f.write_at(&[IoSlice::new(b"open")], 6).unwrap();
    assert_eq!(read_all(&d, path("/v/a")).unwrap(), b"syncedopen");
    let point = d.crash(d.ops());
    assert_eq!(point.open(), 1);
    assert_eq!(read_all(&point.worst(), path("/v/a")).unwrap(), b"synced");
    assert_eq!(
        read_all(&point.best(), path("/v/a")).unwrap(),
        b"syncedopen"
    );
    let torn = point.image(&[Fate::Prefix(2)]);
    assert_eq!(read_all(&torn, path("/v/a")).unwrap(), b"syncedop");
    let long = point.image(&[Fate::LengthOnly]);
    assert_eq!(read_all(&long, path("/v/a")).unwrap(), b"synced\0\0\0\0");
    assert_ne!(torn.hash(), long.hash());
    assert_eq!(point.best().hash(), d.hash());
}

#[test]
fn names_need_their_folder_synced() {
    let d = with_folder();
    let f = d.open(path("/v/a"), Open::CreateNew).unwrap();
    f.write_at(&[IoSlice::new(b"x")], 0).unwrap();
    f.sync_all().unwrap();
    let point = d.crash(d.ops());
    assert!(!point.worst().exists(path("/v/a")).unwrap());
    assert!(point.best().exists(path("/v/a")).unwrap());
    d.sync_dir(path("/v")).unwrap();
    d.rename(path("/v/a"), path("/v/b")).unwrap();
    let point = d.crash(d.ops());
    assert_eq!(read_all(&point.worst(), path("/v/a")).unwrap(), b"x");
    assert!(!point.worst().exists(path("/v/b")).unwrap());
    d.remove(path("/v/b")).unwrap();
    let gone = d.crash(d.ops()).subset(0b01);
    assert_eq!(read_all(&gone, path("/v/b")).unwrap(), b"x");
}

#[test]
fn replace_is_atomic_at_every_point() {
    let d = with_folder();
    replace(&d, path("/v/f"), b"old", false).unwrap();
    let from = d.ops();
    replace(&d, path("/v/f"), b"new content", false).unwrap();
    let mut dice = Dice::new(1);
    let mut seen = BTreeSet::new();
    for at in from..=d.ops() {
        let point = d.crash(at);
        for _ in 0..200 {
            let image = point.image(&point.throw(&mut dice));
            let now = read_all(&image, path("/v/f")).unwrap();
            assert!(now == b"old" || now == b"new content", "{now:?} at {at}");
            seen.insert(now);
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_failed_sync_is_never_made_good() {
    let mut lost = 0;
    for luck in 0..50 {
        let d = with_folder();
        d.set_luck(luck);
        let f = d.open(path("/v/a"), Open::CreateNew).unwrap();
        let other = d.open(path("/v/a"), Open::ReadWrite).unwrap();
        d.sync_dir(path("/v")).unwrap();
        f.write_at(&[IoSlice::new(b"open")], 0).unwrap();
        d.fail(Fault::Sync, 0);
        assert!(f.sync_data().is_err());
        // The other handle learns of it once; a handle that is opened now does not.
        assert!(other.sync_data().is_err());
        other.sync_data().unwrap();
        d.open(path("/v/a"), Open::ReadWrite)
            .unwrap()
            .sync_data()
            .unwrap();
        assert_eq!(read_all(&d, path("/v/a")).unwrap(), b"open");
        f.write_at(&[IoSlice::new(b"kept")], 4).unwrap();
        f.sync_data().unwrap();
        let crashed = read_all(&d.crash(d.ops()).worst(), path("/v/a")).unwrap();
        let direct = d.open(path("/v/a"), Open::ReadDirect).unwrap();
        let mut platter = [0; 8];
        assert_eq!(direct.read_at(&mut platter, 0).unwrap(), 8);
        assert_eq!(crashed, platter);
        assert_eq!(&crashed[4..], b"kept");
        lost += usize::from(&crashed[..4] != b"open");
    }
    assert!((5..45).contains(&lost), "{lost}");
}

#[test]
fn a_full_disk_takes_a_part() {
    let d = with_folder();
    d.limit_space(Some(8192));
    let f = d.open(path("/v/a"), Open::CreateNew).unwrap();
    let e = f.write_at(&[IoSlice::new(&[1; 10_000])], 0).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    assert_eq!(f.len().unwrap(), 8192);
    assert_eq!(d.space(path("/v")).unwrap().free, 0);
    f.write_at(&[IoSlice::new(&[2; 100])], 0).unwrap();
    d.limit_space(None);
    f.write_at(&[IoSlice::new(&[1; 10_000])], 0).unwrap();
}

#[test]
fn late_and_cut_syncs_lie() {
    let d = with_folder();
    let f = d.open(path("/v/a"), Open::CreateNew).unwrap();
    d.sync_dir(path("/v")).unwrap();
    d.set_syncs(Syncs::Late);
    f.write_at(&[IoSlice::new(b"1")], 0).unwrap();
    f.sync_data().unwrap();
    assert_eq!(d.crash(d.ops()).open(), 1);
    f.write_at(&[IoSlice::new(b"2")], 1).unwrap();
    f.sync_data().unwrap();
    assert_eq!(
        read_all(&d.crash(d.ops()).worst(), path("/v/a")).unwrap(),
        b"1"
    );
    d.set_syncs(Syncs::IgnoredAfterCut);
    f.set_len(0).unwrap();
    f.sync_data().unwrap();
    assert_eq!(
        read_all(&d.crash(d.ops()).worst(), path("/v/a")).unwrap(),
        b"1"
    );
}

#[test]
fn locks_exclude_until_dropped() {
    let d = with_folder();
    let held = d.lock(path("/v/LOCK")).unwrap();
    assert_eq!(
        d.lock(path("/v/LOCK")).err().unwrap().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(held);
    drop(d.lock(path("/v/LOCK")).unwrap());
    let names: Vec<String> = d
        .list(path("/v"))
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["LOCK", "q"]);
}
