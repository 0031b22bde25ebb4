use std::sync::atomic::Ordering;

use halofs_client::master::VolumeOwner;
use halofs_store::{KvStore, MemStore};
use halofs_types::Uuid;

use super::*;
use crate::fake::{Fake, Limited, open, wish};
use crate::growth::Site;
use crate::topology::layout::DEFAULT_DISK;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);

async fn alone(store: Arc<Limited>) -> (Arc<Master>, Arc<Fake>) {
    let master = open(store, true).await.unwrap();
    let node = Arc::new(Fake::default());
    let api = Arc::clone(&node) as Arc<dyn VolumeApi>;
    master.attach("n1", api).await.unwrap();
    (master, node)
}

fn layout() -> LayoutKey {
    LayoutKey {
        collection: "late".into(),
        owner: Owner::Native,
        placement: 0,
        disk_type: DEFAULT_DISK.into(),
        ttl_secs: 0,
    }
}

#[tokio::test]
async fn a_full_disk_refuses_decisions_and_ends_by_itself() {
    let store = Limited::new();
    let (master, node) = alone(Arc::clone(&store)).await;
    let before = master.assign(wish(VolumeOwner::Native)).await.unwrap();
    let (layout, site) = (layout(), Site::default());
    let grow = || async {
        let done = tokio::time::timeout(SOON, master.grow(&layout, &site, 1));
        done.await.expect("whoever asks is answered")
    };
    store.full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let refused = grow().await.unwrap_err();
        assert!(
            matches!(&refused, MasterError::Unavailable(why) if why.contains("is full")),
            "{refused}"
        );
    }
    // What needs no decision goes on: assigns from the range at hand, look-ups, reports.
    let after = master.assign(wish(VolumeOwner::Native)).await.unwrap();
    assert!(after.first.key > before.first.key);
    assert_eq!(master.lookup(before.first.volume).await.unwrap().len(), 1);
    *node.low_space.lock() = true;
    *node.max_key.lock() = 1 << 40;
    let told = master.report(node.node_report().await).await;
    assert!(told.is_err(), "a report that asks for a decision: {told:?}");
    assert!(master.view().nodes[0].report.low_space);
    *node.low_space.lock() = false;

    store.full.store(false, Ordering::Relaxed);
    let recovered = async {
        while grow().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, recovered)
        .await
        .expect("main goes on without a restart");
    let known = master.assign(AssignRequest {
        collection: "late".into(),
        ..wish(VolumeOwner::Native)
    });
    assert!(known.await.unwrap().first.key.0 > 0);

    store.full.store(true, Ordering::Relaxed);
    assert!(grow().await.is_err());
    tokio::time::timeout(SOON, master.stop())
        .await
        .expect("a full disk does not hold up the stop");
}

#[tokio::test]
async fn a_start_on_a_full_disk_says_so() {
    let store = Limited::new();
    store.full.store(true, Ordering::Relaxed);
    let refused = tokio::time::timeout(SOON, open(Arc::clone(&store) as Arc<dyn KvStore>, true));
    let refused = refused.await.unwrap().err().unwrap().to_string();
    assert!(refused.contains("disk of main is full"), "{refused}");
    store.full.store(false, Ordering::Relaxed);
    open(store, true).await.unwrap().stop().await;
}

#[tokio::test]
async fn one_volume_fills_at_a_time_and_avoid_takes_another() {
    let (master, node) = alone(Limited::new()).await;
    let first = master
        .assign(wish(VolumeOwner::Native))
        .await
        .unwrap()
        .first
        .volume;
    for _ in 0..5 {
        assert_eq!(
            master
                .assign(wish(VolumeOwner::Native))
                .await
                .unwrap()
                .first
                .volume,
            first
        );
    }
    let other = AssignRequest {
        avoid: Some(first),
        ..wish(VolumeOwner::Native)
    };
    // The second volume of the layout is made by the same plan, a moment after the first.
    let mut second = first;
    while second == first {
        second = master.assign(other.clone()).await.unwrap().first.volume;
        tokio::task::yield_now().await;
    }
    node.fill(first.0, 5 << 30);
    while master
        .assign(wish(VolumeOwner::Native))
        .await
        .unwrap()
        .first
        .volume
        == first
    {
        tokio::task::yield_now().await;
    }
    // The full one is replaced: three volumes, two of them with room.
    while node.volumes.lock().len() < 3 {
        tokio::task::yield_now().await;
    }
    let large = AssignRequest {
        count: halofs_types::limits::ASSIGN_COUNT_MAX,
        ..wish(VolumeOwner::Native)
    };
    let large = master.assign(large).await.unwrap();
    let after = master.assign(wish(VolumeOwner::Native)).await.unwrap();
    let family = large.first.key.0..large.first.key.0 + large.count;
    assert!(!family.contains(&after.first.key.0));
}

#[tokio::test]
async fn a_restart_keeps_everything_and_opens_new_epochs() {
    let store: Arc<dyn KvStore> = Arc::new(MemStore::new(Uuid([1; 16])));
    let node = Arc::new(Fake::default());
    let one = open(Arc::clone(&store), true).await.unwrap();
    one.attach("n1", Arc::clone(&node) as Arc<dyn VolumeApi>)
        .await
        .unwrap();
    let before = one.assign(wish(VolumeOwner::Native)).await.unwrap();
    one.stop().await;
    node.restart();
    let epoch = node.volumes.lock()[&before.first.volume.0].epoch;

    *node.max_key.lock() = 5_000_000;
    let two = open(Arc::clone(&store), false).await.unwrap();
    two.attach("n1", Arc::clone(&node) as Arc<dyn VolumeApi>)
        .await
        .unwrap();
    let after = two.assign(wish(VolumeOwner::Native)).await.unwrap();
    assert_eq!(after.first.volume, before.first.volume);
    assert!(
        after.first.key.0 > 5_000_000,
        "keys that exist somewhere are never handed out"
    );
    assert!(node.volumes.lock()[&before.first.volume.0].leads > Some(epoch));
    two.stop().await;

    let other = open(Arc::new(MemStore::new(Uuid([1; 16]))), false).await;
    assert!(other.err().unwrap().to_string().contains("holds volumes"));
}
