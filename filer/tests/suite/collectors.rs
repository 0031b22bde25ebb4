use std::sync::atomic::Ordering;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{CommitObject, FilerApi, Precondition};
use halofs_client::volume::NeedleOwner;
use halofs_store::KvStore;
use halofs_types::{AttemptId, Uuid};

use crate::world::{MINUTE, World, commit, object};

#[tokio::test]
async fn garbage_ripens_and_goes_in_large_batches() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let keys: Vec<_> = (0..3000)
            .map(|n| (Bytes::from(format!("k{n}")), Precondition::None))
            .collect();
        for (key, _) in &keys {
            w.put(&b, key, "e").await;
        }
        assert!(
            w.filer
                .delete_objects(&b, keys)
                .await
                .iter()
                .all(Result::is_ok)
        );
        assert_eq!(
            (w.filer.metrics().gc_queue, w.filer.metrics().gc_bytes),
            (3000, 15_000)
        );
        w.clock.advance(MINUTE * 14);
        assert_eq!(w.filer.run_gc_once().await.unwrap(), 0);
        w.filer.set_space_pressure(true);
        assert_eq!(w.filer.run_gc_once().await.unwrap(), 3000);
        let m = w.filer.metrics();
        assert_eq!(
            (m.gc_queue, m.gc_bytes, m.gc_deleted, m.gc_deleted_bytes),
            (0, 0, 3000, 15_000)
        );
        assert_eq!(
            (w.volumes.count(), w.volumes.deletes.load(Ordering::Relaxed)),
            (0, 3)
        );
        assert!(w.store.scan(b"gc/", b"gc0", 10).unwrap().is_empty());
    }
}

#[tokio::test]
async fn refused_deletions_are_kept_and_tried_later() {
    for mut w in World::both().await {
        let b = w.bucket("b").await;
        w.put(&b, b"k", "e1").await;
        w.put(&b, b"k", "e2").await;
        w.clock.advance(MINUTE * 16);
        w.volumes.refuse.store(true, Ordering::Relaxed);
        assert_eq!(w.filer.run_gc_once().await.unwrap(), 0);
        assert_eq!(
            (w.filer.metrics().gc_errors, w.filer.metrics().gc_queue),
            (1, 1)
        );
        // It waits: the next round does not ask again.
        let asked = w.volumes.deletes.load(Ordering::Relaxed);
        w.filer.run_gc_once().await.unwrap();
        assert_eq!(w.volumes.deletes.load(Ordering::Relaxed), asked);
        w.volumes.refuse.store(false, Ordering::Relaxed);
        w.restart().await;
        w.clock.advance(MINUTE * 2);
        assert_eq!(w.filer.run_gc_once().await.unwrap(), 1);
        assert_eq!(w.volumes.count(), 1);
    }
}

fn leased(c: CommitObject, lease: halofs_types::LeaseId) -> CommitObject {
    CommitObject {
        leases: vec![lease],
        ..c
    }
}

#[tokio::test]
async fn a_commit_needs_its_lease() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let (lease, first) = w.lease(100).await;
        let make = |n: u64| {
            let chunk = w.needle(first.with_delta(n).unwrap(), &b, b"k", 0);
            leased(
                commit(&b, b"k", object("e", vec![chunk]), Precondition::None),
                lease,
            )
        };
        w.filer.commit_object(make(0)).await.unwrap();
        let written = make(1);
        let stray = first.with_delta(100).unwrap();
        assert!(matches!(
            w.filer.close_lease(lease, vec![stray]).await,
            Err(FilerError::Invalid { .. })
        ));
        w.filer
            .close_lease(lease, vec![first.with_delta(1).unwrap()])
            .await
            .unwrap();
        assert_eq!(w.filer.metrics().gc_queue, 1);
        assert_eq!(
            w.filer.commit_object(written).await.err(),
            Some(FilerError::LeaseGone)
        );
        assert_eq!(
            w.filer.renew_leases(vec![lease]).await,
            Err(FilerError::LeaseGone)
        );
        w.filer.close_lease(lease, Vec::new()).await.unwrap();
        assert!(
            w.filer.open_lease(first, 4001).await.is_err()
                && w.filer.open_lease(first, 0).await.is_err()
        );
    }
}

#[tokio::test]
async fn what_a_dead_lease_left_is_swept_and_what_is_named_stays() {
    for mut w in World::both().await {
        let b = w.bucket("b").await;
        let (lease, first) = w.lease(4000).await;
        let fid = |n| first.with_delta(n).unwrap();
        // Committed; a part of an open upload; written and never committed; another store's; of a lease that lives on.
        let named = w.needle(fid(0), &b, b"k", 0);
        w.filer
            .commit_object(leased(
                commit(&b, b"k", object("e", vec![named]), Precondition::None),
                lease,
            ))
            .await
            .unwrap();
        let part = crate::uploads::leased_part(&w, &b, fid(1), lease).await;
        w.needle(fid(2), &b, b"k", 0);
        w.needle(fid(3), &b, b"k", 7);
        let foreign = NeedleOwner {
            store: Uuid([9; 16]),
            bucket: b.id,
            key: Bytes::from_static(b"k"),
            attempt: AttemptId::default(),
            part: 0,
            chunk: 0,
        };
        w.volumes.add(fid(4), foreign);
        w.volumes.refuse.store(true, Ordering::Relaxed);
        w.restart().await;
        let (live, other) = w.lease(10).await;
        w.needle(other, &b, b"k", 0);
        let late = w.needle(fid(5), &b, b"k", 0);
        let late = leased(
            commit(&b, b"late", object("e", vec![late]), Precondition::None),
            lease,
        );
        assert_eq!(
            w.filer.commit_object(late).await.err(),
            Some(FilerError::LeaseGone)
        );
        // Volumes that do not answer yet lose nothing.
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        w.volumes.refuse.store(false, Ordering::Relaxed);
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 1);
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        assert_eq!(w.filer.metrics().unnamed, 3);
        w.clock.advance(MINUTE * 16);
        w.filer.run_gc_once().await.unwrap();
        let left: Vec<bool> = (0..6).map(|n| w.volumes.has(fid(n))).collect();
        assert_eq!(left, [true, true, false, false, true, false]);
        assert!(w.volumes.has(other) && w.volumes.has(part));
        w.filer.renew_leases(vec![live]).await.err();
    }
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let (silent, first) = w.lease(10).await;
        let (renewed, second) = w.lease(10).await;
        w.needle(first, &b, b"k", 0);
        w.needle(second, &b, b"k", 0);
        w.clock.advance(MINUTE * 6);
        w.filer.renew_leases(vec![renewed]).await.unwrap();
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        w.clock.advance(MINUTE * 6);
        // It is dead, but what was on its way when it died may still come.
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        let late = first.with_delta(1).unwrap();
        w.needle(late, &b, b"k", 0);
        assert_eq!(
            w.filer.renew_leases(vec![silent]).await,
            Err(FilerError::LeaseGone)
        );
        // One that is gone keeps none from being renewed.
        w.clock.advance(MINUTE * 6);
        assert_eq!(
            w.filer.renew_leases(vec![silent, renewed]).await,
            Err(FilerError::LeaseGone)
        );
        w.clock.advance(MINUTE * 6);
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        w.filer.renew_leases(vec![renewed]).await.unwrap();
        w.clock.advance(MINUTE * 6);
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 1);
        w.clock.advance(MINUTE * 16);
        w.filer.run_gc_once().await.unwrap();
        assert!(!w.volumes.has(first) && !w.volumes.has(late) && w.volumes.has(second));
    }
}

#[tokio::test]
async fn orphans_are_queued_unless_they_are_too_many() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        for n in 0..600 {
            w.put(&b, format!("k{n}").as_bytes(), "e").await;
        }
        let (lease, leased) = w.lease(1).await;
        w.needle(leased, &b, b"k", 0);
        let orphan = w.fid();
        w.needle(orphan, &b, b"gone", 0);
        w.put(&b, b"k0", "e2").await;
        assert_eq!(w.filer.run_orphans_once().await.unwrap(), 1);
        assert_eq!(
            w.filer.run_orphans_once().await.unwrap(),
            0,
            "it is queued already"
        );
        assert_eq!(w.filer.metrics().gc_queue, 2);
        w.clock.advance(MINUTE * 16);
        w.filer.run_gc_once().await.unwrap();
        assert!(!w.volumes.has(orphan) && w.volumes.has(leased));
        let many: Vec<_> = (0..20).map(|_| w.fid()).collect();
        for fid in &many {
            w.needle(*fid, &b, b"gone", 0);
        }
        assert_eq!(w.filer.run_orphans_once().await.unwrap(), 0);
        assert!(w.filer.metrics().orphan_alarm && many.iter().all(|f| w.volumes.has(*f)));
        w.filer.close_lease(lease, vec![leased]).await.unwrap();
        w.filer.clear_orphan_alarm();
        assert!(!w.filer.metrics().orphan_alarm);
    }
}

#[tokio::test]
async fn rows_from_a_backup_make_no_garbage_of_newer_needles() {
    let mut w = World::in_memory().await;
    let b = w.bucket("b").await;
    let (_, first) = w.lease(4000).await;
    w.needle(first, &b, b"written and never committed", 0);
    let backup = std::sync::Arc::new(halofs_store::MemStore::new(w.store.store_uuid()));
    for (row, found) in w.store.scan(b"", b"", 10_000).unwrap() {
        let copy = halofs_store::Batch::default().put(row, found.value);
        backup.commit(copy).await.unwrap();
    }
    let (lease, newer) = w.lease(10).await;
    let chunk = w.needle(newer, &b, b"newer", 0);
    let object = object("e", vec![chunk]);
    let newer_object = commit(&b, b"newer", object, Precondition::None);
    w.filer
        .commit_object(leased(newer_object, lease))
        .await
        .unwrap();
    w.restart().await;
    assert!(!w.filer.metrics().restored);

    w.replace_store(backup).await;
    for _ in 0..2 {
        assert!(w.filer.metrics().restored);
        assert_eq!(w.filer.run_leases_once().await.unwrap(), 0);
        assert_eq!(w.filer.run_orphans_once().await.unwrap(), 0);
        // Leases of new writes move the end of the leased keys; it stays known what happened.
        w.lease(10).await;
        w.restart().await;
    }
    w.clock.advance(MINUTE * 60);
    w.filer.run_gc_once().await.unwrap();
    assert!(w.volumes.has(newer) && w.volumes.has(first));

    // A start without syncs does not take it back.
    w.config.rows_may_lag = true;
    w.restart().await;
    assert!(w.filer.metrics().restored);

    w.config.rows_confirmed = true;
    w.restart().await;
    assert!(w.filer.run_leases_once().await.unwrap() > 0);
    assert_eq!(w.filer.run_orphans_once().await.unwrap(), 1);
    w.clock.advance(MINUTE * 16);
    w.filer.run_gc_once().await.unwrap();
    assert!(!w.volumes.has(newer) && !w.volumes.has(first));
}

#[tokio::test]
async fn the_scan_runs_by_itself_once_a_week() {
    let mut w = World::in_memory().await;
    w.config.orphan_every = halofs_filer::FilerConfig::default().orphan_every;
    w.restart().await;
    let b = w.bucket("b").await;
    w.needle(w.fid(), &b, b"gone", 0);
    let begin = w.filer.time();
    let mut restarted = false;
    while w.filer.metrics().orphans == 0 {
        w.clock.advance(MINUTE * 60);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let hours = (w.filer.time().0 - begin.0) / 3_600_000_000_000;
        assert!(hours < 8 * 24, "not scanned after {hours} h");
        if hours > 3 * 24 && !restarted {
            restarted = true;
            w.restart().await;
        }
    }
    let hours = (w.filer.time().0 - begin.0) / 3_600_000_000_000;
    assert!(hours >= 7 * 24 - 1, "scanned after {hours} h");
}

#[tokio::test]
async fn the_tasks_run_by_the_clock_and_stop() {
    let w = World::in_memory().await;
    let b = w.bucket("b").await;
    w.put(&b, b"k", "e1").await;
    w.put(&b, b"k", "e2").await;
    w.filer.stop().await;
    let deps = halofs_filer::Deps {
        clock: std::sync::Arc::new(halofs_runtime::clock::SharedManualClock(
            std::sync::Arc::clone(&w.clock),
        )),
        rng: std::sync::Arc::new(halofs_runtime::OsRng),
        store: std::sync::Arc::clone(&w.store),
        volumes: std::sync::Arc::clone(&w.volumes) as _,
    };
    let filer = halofs_filer::Filer::open(halofs_filer::FilerConfig::default(), deps)
        .await
        .unwrap();
    while w.volumes.count() > 1 {
        w.clock.advance(MINUTE);
        tokio::task::yield_now().await;
    }
    filer.stop().await;
}
