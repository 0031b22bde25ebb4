//! What the explorer has found, each as a small test of its own.

use std::sync::Arc;

use bytes::Bytes;
use halofs_client::pieces::Pieces;
use halofs_runtime::Disk;
use halofs_runtime::disk::Open;
use halofs_runtime::disk::sim::{Fate, Fault, SimDisk};
use halofs_volume::volume::encode::{Plain, seal_needle};
use halofs_volume::volume::index::Slot;
use halofs_volume::volume::log::{Pending, VolumeLog};

use crate::history::see;
use crate::model::{Seen, body};
use crate::world::{VOLUME, creation, deps, dir, file};

fn volume(disk: &SimDisk) -> VolumeLog {
    disk.create_dir_all(&dir()).unwrap();
    VolumeLog::create(&deps(Arc::new(disk.clone()), 1), dir(), &creation(1), true).unwrap()
}

/// A put of `len` bytes under `key`; the version is the key.
fn put(log: &VolumeLog, key: u64, len: usize) -> Pending {
    let deps = deps(Arc::new(SimDisk::new()), key);
    let plain = Plain {
        key,
        cookie: 1,
        body: Pieces::from(Bytes::from(body(key, len))),
        ..Plain::default()
    };
    let view = log.view();
    let ns = view.next_ns(&*deps.clock);
    Pending {
        record: seal_needle(&view.head, &*deps.rng, ns, plain).unwrap(),
        seen: Slot::Absent,
    }
}

fn recover(disk: &SimDisk, epoch: u64) -> VolumeLog {
    let mut log = VolumeLog::mount(&deps(Arc::new(disk.clone()), 2), dir(), VOLUME, true).unwrap();
    log.lead(epoch).unwrap();
    log
}

/// Written, the process killed, mounted and served: then the power goes. What was served must still be there.
#[test]
fn a_killed_batch_is_synced_before_it_is_served() {
    let disk = SimDisk::new();
    let mut log = volume(&disk);
    let batch = [put(&log, 1, 100)];
    log.begin(&batch).unwrap();
    drop(log);
    let log = recover(&disk, 2);
    assert_eq!(see(log.view(), &disk, 1), Ok(Seen::Version(1)));
    let after = disk.crash(disk.ops()).worst();
    assert_eq!(
        see(recover(&after, 3).view(), &after, 1),
        Ok(Seen::Version(1))
    );
}

/// Any one sector of an unacknowledged batch is missing, wherever records begin and end in sectors: the needles that
/// were acknowledged before are all served.
#[test]
fn a_missing_sector_damages_nobody() {
    for len in (8..600).step_by(8) {
        let disk = SimDisk::new();
        let mut log = volume(&disk);
        let first = [put(&log, 1, 100)];
        log.begin(&first).unwrap();
        log.finish(&mut |_, _| {}).unwrap();
        let from = log.end();
        let batch = [put(&log, 2, len), put(&log, 3, 300), put(&log, 4, 700)];
        log.begin(&batch).unwrap();
        let point = disk.crash(disk.ops());
        let sectors = log.end().div_ceil(512) - from / 512;
        for missing in 0..sectors {
            let image = point.image(&[Fate::Without {
                unit: 512,
                n: missing,
            }]);
            let log = recover(&image, 2);
            let seen = see(log.view(), &image, 1);
            assert_eq!(seen, Ok(Seen::Version(1)), "length {len}, sector {missing}");
        }
    }
}

/// A sync failed: the page cache shows a batch that the disk lacks. After the mount nothing of it is cached behind the
/// log's end, where the next write to that page would carry it to the disk.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_cut() {
    let mut lacked = 0;
    for luck in 0..40 {
        let disk = SimDisk::new();
        disk.set_luck(luck);
        let mut log = volume(&disk);
        let first = [put(&log, 1, 100)];
        log.begin(&first).unwrap();
        log.finish(&mut |_, _| {}).unwrap();
        let batch = [put(&log, 2, 100), put(&log, 3, 100)];
        log.begin(&batch).unwrap();
        disk.fail(Fault::Sync, 0);
        assert!(log.finish(&mut |_, _| {}).is_err());
        drop(log);
        let log = recover(&disk, 2);
        assert_eq!(see(log.view(), &disk, 1), Ok(Seen::Version(1)));
        lacked += usize::from(see(log.view(), &disk, 3) == Ok(Seen::Nothing));
        let cached = disk.open(&file(), Open::Read).unwrap().len().unwrap();
        assert_eq!(cached, log.end(), "luck {luck}");
    }
    assert!(lacked > 0, "the disk never lacked the batch");
}

/// Killed, and the sync at the next mount fails: the volume is read whole from its disk and serves what was acknowledged.
#[test]
fn a_failed_sync_at_a_mount_counts_as_a_fence() {
    for luck in 0..40 {
        let disk = SimDisk::new();
        disk.set_luck(luck);
        let mut log = volume(&disk);
        let first = [put(&log, 1, 100)];
        log.begin(&first).unwrap();
        log.finish(&mut |_, _| {}).unwrap();
        let batch = [put(&log, 2, 100), put(&log, 3, 100)];
        log.begin(&batch).unwrap();
        drop(log);
        disk.fail(Fault::Sync, 0);
        let log = recover(&disk, 2);
        let seen = [1, 2, 3].map(|key| see(log.view(), &disk, key));
        assert_eq!(seen[0], Ok(Seen::Version(1)), "luck {luck}");
        let after = disk.crash(disk.ops()).worst();
        let log = recover(&after, 3);
        assert_eq!(
            [1, 2, 3].map(|key| see(log.view(), &after, key)),
            seen,
            "luck {luck}"
        );
    }
}

/// Without sync a stop writes the last mark: it names the epoch that was led, not the one of the mark before.
#[test]
fn a_stop_marks_with_the_epoch_that_was_led() {
    let disk = SimDisk::new();
    disk.create_dir_all(&dir()).unwrap();
    let world = deps(Arc::new(disk.clone()), 1);
    let mut log = VolumeLog::create(&world, dir(), &creation(1), false).unwrap();
    for epoch in [1, 5] {
        log.lead(epoch).unwrap();
        let batch = [put(&log, epoch, 100)];
        log.begin(&batch).unwrap();
        log.finish(&mut |_, _| {}).unwrap();
        log.stop().unwrap();
        log = VolumeLog::mount(&world, dir(), VOLUME, false).unwrap();
        assert_eq!(log.view().published_epoch(), epoch);
    }
}
