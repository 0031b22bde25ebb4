//! What the explorer has found, each as a small test of its own.

use std::sync::Arc;

use bytes::Bytes;
use halofs_client::pieces::Pieces;
use halofs_runtime::Disk;
use halofs_runtime::disk::sim::{Fate, SimDisk};
use halofs_volume::volume::encode::{Plain, seal_needle};
use halofs_volume::volume::index::Slot;
use halofs_volume::volume::log::{Pending, VolumeLog};

use crate::history::see;
use crate::model::{Seen, body};
use crate::world::{VOLUME, creation, deps, dir};

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
