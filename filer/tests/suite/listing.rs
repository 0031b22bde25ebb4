use std::collections::BTreeSet;

use bytes::Bytes;
use halofs_client::filer::{FilerApi, ListObjects};
use halofs_types::object::Bucket;
use proptest::prelude::*;

use crate::world::World;

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Key(Bytes),
    Prefix(Bytes),
}

/// What S3 says: keys with the prefix, those with the delimiter behind it rolled up.
fn model(keys: &BTreeSet<Vec<u8>>, prefix: &[u8], delimiter: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    for key in keys.iter().filter(|k| k.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let cut = (!delimiter.is_empty())
            .then(|| rest.windows(delimiter.len()).position(|w| w == delimiter))
            .flatten();
        let item = match cut {
            Some(at) => Item::Prefix(Bytes::copy_from_slice(
                &key[..prefix.len() + at + delimiter.len()],
            )),
            None => Item::Key(Bytes::copy_from_slice(key)),
        };
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    items
}

async fn all_pages(
    w: &World,
    b: &Bucket,
    prefix: &[u8],
    delimiter: &[u8],
    limit: usize,
) -> Vec<Item> {
    let mut list = ListObjects {
        prefix: Bytes::copy_from_slice(prefix),
        delimiter: Bytes::copy_from_slice(delimiter),
        after: Bytes::new(),
        limit,
    };
    let mut items = Vec::new();
    loop {
        let page = w.filer.list(b.id, list.clone()).await.unwrap();
        let mut entries = page
            .entries
            .into_iter()
            .map(|e| Item::Key(e.key))
            .peekable();
        let mut prefixes = page.prefixes.into_iter().map(Item::Prefix).peekable();
        let of = |i: &Item| match i {
            Item::Key(k) | Item::Prefix(k) => k.clone(),
        };
        let mut count = 0;
        loop {
            let next = match (entries.peek(), prefixes.peek()) {
                (Some(e), Some(p)) if of(e) < of(p) => entries.next(),
                (_, Some(_)) => prefixes.next(),
                _ => entries.next(),
            };
            let Some(next) = next else { break };
            items.push(next);
            count += 1;
        }
        assert!(count <= limit);
        match page.next {
            None => return items,
            Some(next) => {
                assert_eq!((count, Some(&next)), (limit, items.last().map(of).as_ref()));
                list.after = next;
            }
        }
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => Just(b'/'),
        3 => prop::sample::select(b"ab".to_vec()),
        1 => Just(0u8),
        1 => Just(0xff),
        1 => any::<u8>(),
    ];
    let raw = prop::collection::vec(byte, 1..7);
    prop_oneof![4 => raw, 1 => "[ä€/😀 +%]{1,4}".prop_map(String::into_bytes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn listings_are_the_model_s(
        keys in prop::collection::btree_set(key(), 0..40),
        prefix in prop_oneof![Just(Vec::new()), key(), prop::collection::vec(prop::sample::select(b"ab/".to_vec()), 1..3)],
        delimiter in prop_oneof![3 => Just(b"/".to_vec()), 2 => Just(Vec::new()), 1 => Just(b"//".to_vec()), 1 => Just(vec![0]), 1 => Just(vec![0xff])],
        limit in 1usize..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let w = World::in_memory().await;
            let (b, other) = (w.bucket("b").await, w.bucket("c").await);
            for key in &keys {
                w.put(&b, key, "e").await;
            }
            w.put(&other, b"a/a", "e").await;
            let got = all_pages(&w, &b, &prefix, &delimiter, limit).await;
            prop_assert_eq!(got, model(&keys, &prefix, &delimiter));
            Ok(())
        })?;
    }

    #[test]
    fn pages_start_after_any_key(
        keys in prop::collection::btree_set(key(), 0..30),
        after in key(),
        prefix in prop_oneof![Just(Vec::new()), key()],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let w = World::in_memory().await;
            let b = w.bucket("b").await;
            for key in &keys {
                w.put(&b, key, "e").await;
            }
            let list = ListObjects { prefix: prefix.clone().into(), after: after.clone().into(), limit: 100, ..ListObjects::default() };
            let got: Vec<Vec<u8>> = w.filer.list(b.id, list).await.unwrap().entries.into_iter().map(|e| e.key.to_vec()).collect();
            let want: Vec<Vec<u8>> = keys.iter().filter(|k| **k > after && k.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(got, want);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn entries_show_what_a_listing_needs() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let put = w.put(&b, b"k", "e1").await;
        let page = w
            .filer
            .list(
                b.id,
                ListObjects {
                    limit: 10,
                    ..ListObjects::default()
                },
            )
            .await
            .unwrap();
        let o = &page.entries[0].object;
        let seen = (
            o.size,
            o.etag.as_str(),
            o.modified,
            o.storage_class.as_str(),
        );
        assert_eq!(seen, (5, "e1", put.modified, "STANDARD"));
        let none = w.filer.list(b.id, ListObjects::default()).await.unwrap();
        assert!(none.entries.is_empty() && none.next.is_none());
    }
}

/// Counts rows that a listing reads.
mod counted {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use halofs_store::{Batch, KvStore, MemStore, Row, StoreError};

    use super::Bytes;

    pub(crate) struct Counted(pub(crate) MemStore, pub(crate) AtomicUsize);

    #[async_trait]
    impl KvStore for Counted {
        fn store_uuid(&self) -> halofs_types::Uuid {
            self.0.store_uuid()
        }
        fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
            self.0.get(key)
        }
        fn scan(
            &self,
            from: &[u8],
            to: &[u8],
            limit: usize,
        ) -> Result<Vec<(Bytes, Row)>, StoreError> {
            let rows = self.0.scan(from, to, limit)?;
            self.1.fetch_add(rows.len(), Ordering::Relaxed);
            Ok(rows)
        }
        async fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
            self.0.commit(batch).await
        }
        async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<u64, StoreError>> {
            self.0.commit_many(batches).await
        }
    }
}

#[tokio::test]
async fn a_page_costs_what_it_shows() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mem = halofs_store::MemStore::new(halofs_types::Uuid([1; 16]));
    let store = Arc::new(counted::Counted(mem, AtomicUsize::new(0)));
    let w = World::on(Arc::clone(&store) as _, None).await;
    let b = w.bucket("b").await;
    for n in 0..10_000 {
        w.put(&b, format!("dir{}/{n:05}", n % 10).as_bytes(), "e")
            .await;
    }
    for (list, most) in [
        (
            ListObjects {
                delimiter: Bytes::from_static(b"/"),
                limit: 1000,
                ..ListObjects::default()
            },
            21,
        ),
        (
            ListObjects {
                limit: 50,
                ..ListObjects::default()
            },
            51,
        ),
        (
            ListObjects {
                prefix: Bytes::from_static(b"dir3/"),
                delimiter: Bytes::from_static(b"/"),
                limit: 100,
                ..ListObjects::default()
            },
            101,
        ),
    ] {
        store.1.store(0, Ordering::Relaxed);
        let page = w.filer.list(b.id, list).await.unwrap();
        assert!(page.entries.len() + page.prefixes.len() >= 10);
        assert!(
            store.1.load(Ordering::Relaxed) <= most,
            "{} rows",
            store.1.load(Ordering::Relaxed)
        );
    }
}

#[tokio::test]
async fn ten_prefixes_over_many_keys_are_listed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let rocks = crate::world::rocks(dir.path());
    let w = World::on(rocks as _, Some(dir)).await;
    let b = w.bucket("b").await;
    let batches: Vec<halofs_store::Batch> = (0..100)
        .map(|page| {
            (0..1000).fold(halofs_store::Batch::default(), |batch, n| {
                let key = format!("dir{}/{page:03}{n:04}", n % 10);
                batch.put(halofs_filer::key::live(b.id, key.as_bytes()), vec![0; 300])
            })
        })
        .collect();
    assert!(w.store.commit_many(batches).await.iter().all(Result::is_ok));
    let list = ListObjects {
        delimiter: Bytes::from_static(b"/"),
        limit: 1000,
        ..ListObjects::default()
    };
    let mut took = Vec::new();
    for _ in 0..5 {
        let clock = halofs_runtime::RealClock;
        let start = halofs_runtime::Clock::monotonic_ns(&clock);
        let page = w.filer.list(b.id, list.clone()).await.unwrap();
        took.push((halofs_runtime::Clock::monotonic_ns(&clock) - start) / 1000);
        assert_eq!(page.prefixes.len(), 10);
    }
    println!("delimiter listing of 10 prefixes over 100,000 keys: {took:?} us");
    assert!(took.iter().min().unwrap() < &20_000, "{took:?} us");
}
