use std::sync::Arc;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{CommitObject, FilerApi, ListBuckets, NewBucket, Precondition};
use halofs_types::object::{ChunkRef, Owner, PartInfo};

use crate::world::{MINUTE, World, commit, object};

#[tokio::test]
async fn an_object_reads_back_as_it_was_committed() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let mut o = object("e1", vec![w.needle(w.fid(), &b, b"k", 0)]);
        let answer = w
            .filer
            .commit_object(commit(&b, b"k", o.clone(), Precondition::None))
            .await
            .unwrap();
        o.modified = answer.modified;
        let found = w.filer.lookup(b.id, b"k").await.unwrap().unwrap();
        assert_eq!(found.object, o);
        assert!(w.filer.lookup(b.id, b"k2").await.unwrap().is_none());
        let keys = vec![
            (Bytes::from_static(b"k"), Precondition::None),
            (Bytes::from_static(b"no"), Precondition::None),
        ];
        assert_eq!(w.filer.delete_objects(&b, keys).await, [Ok(()), Ok(())]);
        assert!(w.filer.lookup(b.id, b"k").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn large_objects_keep_their_chunks_and_parts_in_runs() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let chunks: Vec<ChunkRef> = (0..2500).map(|_| w.needle(w.fid(), &b, b"k", 0)).collect();
        let mut o = object("e1", chunks);
        o.parts = (1..=3000)
            .map(|number| PartInfo {
                number,
                size: 5,
                checksum: None,
            })
            .collect();
        w.filer
            .commit_object(commit(&b, b"k", o.clone(), Precondition::None))
            .await
            .unwrap();
        let found = w.filer.lookup(b.id, b"k").await.unwrap().unwrap().object;
        assert!(found.chunks == o.chunks && found.parts == o.parts);
        assert_eq!(w.store.scan(b"chunks/", b"chunks0", 100).unwrap().len(), 3);
        w.put(&b, b"k", "e2").await;
        assert!(
            w.store
                .scan(b"chunks/", b"chunks0", 100)
                .unwrap()
                .is_empty()
        );
        assert_eq!(w.filer.metrics().gc_queue, 2500);
        w.clock.advance(MINUTE * 16);
        assert_eq!(w.filer.run_gc_once().await.unwrap(), 2500);
        assert_eq!(w.volumes.count(), 1);
    }
}

#[tokio::test]
async fn preconditions_decide() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let tags = |t: &str| Precondition::EtagIn(vec!["other".to_owned(), t.to_owned()]);
        let failed = Some(FilerError::PreconditionFailed);
        assert_eq!(w.put_if(&b, b"k", "e1", tags("e0")).await.err(), failed);
        assert_eq!(w.put_if(&b, b"k", "e1", tags("*")).await.err(), failed);
        w.put_if(&b, b"k", "e1", Precondition::Absent)
            .await
            .unwrap();
        assert_eq!(
            w.put_if(&b, b"k", "e2", Precondition::Absent).await.err(),
            failed
        );
        assert_eq!(w.put_if(&b, b"k", "e2", tags("e0")).await.err(), failed);
        w.put_if(&b, b"k", "e2", tags("e1")).await.unwrap();
        w.put_if(&b, b"k", "e3", tags("*")).await.unwrap();
        let k = || Bytes::from_static(b"k");
        let got = w
            .filer
            .delete_objects(
                &b,
                vec![(k(), tags("e1")), (k(), tags("e3")), (k(), tags("*"))],
            )
            .await;
        // The last was decided before the second won, or after: it fails either way.
        assert_eq!(
            got,
            [
                Err(FilerError::PreconditionFailed),
                Ok(()),
                Err(FilerError::PreconditionFailed)
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_conditional_writers_wins() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let w = Arc::new(w);
        for round in 0..20 {
            let before = w.etag(&b, b"k").await;
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..32 {
                let (w, b, before) = (Arc::clone(&w), b.clone(), before.clone());
                tasks.spawn(async move {
                    let condition =
                        before.map_or(Precondition::Absent, |e| Precondition::EtagIn(vec![e]));
                    let etag = format!("{round}-{n}");
                    w.put_if(&b, b"k", &etag, condition).await.map(|_| etag)
                });
            }
            let (won, lost): (Vec<_>, Vec<_>) =
                tasks.join_all().await.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1, "{won:?}");
            assert_eq!(w.etag(&b, b"k").await, won.into_iter().next().unwrap().ok());
            let fair =
                |e: &FilerError| matches!(e, FilerError::PreconditionFailed | FilerError::Conflict);
            assert!(
                lost.iter().all(|r| r.as_ref().err().is_some_and(fair)),
                "{lost:?}"
            );
        }
        // Each winner replaced the one before.
        assert_eq!(w.filer.metrics().gc_queue, 19);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unconditional_writers_all_succeed() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let w = Arc::new(w);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..64 {
            let (w, b) = (Arc::clone(&w), b.clone());
            tasks
                .spawn(async move { w.put_if(&b, b"k", &n.to_string(), Precondition::None).await });
        }
        assert!(tasks.join_all().await.iter().all(Result::is_ok));
        assert_eq!(w.filer.metrics().gc_queue, 63);
    }
}

#[tokio::test]
async fn a_repeated_commit_answers_what_the_first_did() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let c = commit(
            &b,
            b"k",
            object("e1", vec![w.needle(w.fid(), &b, b"k", 0)]),
            Precondition::Absent,
        );
        let first = w.filer.commit_object(c.clone()).await.unwrap();
        w.clock.advance(MINUTE);
        let again = w.filer.commit_object(c.clone()).await.unwrap();
        assert_eq!((again.modified, again.etag), (first.modified, first.etag));
        w.put(&b, b"k", "e2").await;
        // The repeat of an older attempt does not come back over the newer object.
        w.filer
            .commit_object(commit(&b, b"k", c.object.clone(), Precondition::None))
            .await
            .unwrap();
        assert_eq!(w.etag(&b, b"k").await.unwrap(), "e2");
        assert_eq!(w.filer.metrics().gc_queue, 1);
        assert_eq!(w.filer.run_done_once().await.unwrap(), 0);
        w.clock.advance(MINUTE * 11);
        assert!(w.filer.run_done_once().await.unwrap() >= 2);
        assert!(w.store.scan(b"done/", b"done0", 10).unwrap().is_empty());
        // Nor does a repeat that comes when nobody remembers it queue the chunks that it names.
        let kept = w.needle(w.fid(), &b, b"late", 0);
        let late = commit(&b, b"late", object("e3", vec![kept]), Precondition::None);
        let first = w.filer.commit_object(late.clone()).await.unwrap();
        w.clock.advance(MINUTE * 11);
        w.filer.run_done_once().await.unwrap();
        let again = w.filer.commit_object(late).await.unwrap();
        assert_eq!((again.modified, again.etag), (first.modified, first.etag));
        w.clock.advance(MINUTE * 16);
        w.filer.run_gc_once().await.unwrap();
        assert!(w.volumes.has(kept.fid));
    }
}

#[tokio::test]
async fn a_repeat_that_comes_too_late_is_refused() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let chunk = w.needle(w.fid(), &b, b"k", 0);
        let c = CommitObject {
            sent: w.filer.time(),
            ..commit(&b, b"k", object("e1", vec![chunk]), Precondition::None)
        };
        w.filer.commit_object(c.clone()).await.unwrap();
        w.put(&b, b"k", "e2").await;
        // While it is remembered it is answered, when it may be forgotten it is refused; there is no moment in between.
        for minute in 0..30 {
            w.filer.run_done_once().await.unwrap();
            let again = w.filer.commit_object(c.clone()).await;
            match again {
                Ok(done) => assert!(done.etag == "e1" && minute < 10),
                Err(e) => assert!(
                    matches!(e, FilerError::Unavailable(_)) && minute >= 10,
                    "{e}"
                ),
            }
            assert_eq!(w.etag(&b, b"k").await.unwrap(), "e2");
            w.clock.advance(MINUTE);
        }
    }
}

#[tokio::test]
async fn a_restart_forgets_no_answers_too_early_or_for_ever() {
    let mut w = World::in_memory().await;
    let b = w.bucket("b").await;
    w.put(&b, b"k", "e1").await;
    w.restart().await;
    w.filer.run_done_once().await.unwrap();
    assert_eq!(w.store.scan(b"done/", b"done0", 10).unwrap().len(), 1);
    w.clock.advance(MINUTE * 11);
    assert_eq!(w.filer.run_done_once().await.unwrap(), 1);
    assert!(w.store.scan(b"done/", b"done0", 10).unwrap().is_empty());
}

#[tokio::test]
async fn replacing_in_place_keeps_the_chunks() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        w.put(&b, b"k", "e1").await;
        let found = w.filer.lookup(b.id, b"k").await.unwrap().unwrap();
        let mut changed = found.object.clone();
        changed.user_metadata = vec![("new".to_owned(), "x".to_owned())];
        changed.attempt = crate::world::attempt();
        let k = Bytes::from_static(b"k");
        w.filer
            .replace_object(b.clone(), k.clone(), found.revision, changed.clone())
            .await
            .unwrap();
        let now = w.filer.lookup(b.id, b"k").await.unwrap().unwrap();
        assert_eq!(now.object.user_metadata, changed.user_metadata);
        assert_eq!(w.filer.metrics().gc_queue, 0);
        // The same attempt again is a repeat; another one lost.
        w.filer
            .replace_object(b.clone(), k.clone(), found.revision, changed.clone())
            .await
            .unwrap();
        changed.attempt = crate::world::attempt();
        let lost = w
            .filer
            .replace_object(b.clone(), k.clone(), found.revision, changed.clone())
            .await;
        assert_eq!(lost.err(), Some(FilerError::Conflict));
        // Read and written back under its own attempt.
        let same = now.object.clone();
        w.filer
            .replace_object(b.clone(), k.clone(), now.revision, same)
            .await
            .unwrap();
        changed.chunks.clear();
        let revision = w.filer.lookup(b.id, b"k").await.unwrap().unwrap().revision;
        let refused = w
            .filer
            .replace_object(b.clone(), k, revision, changed)
            .await
            .err();
        assert!(matches!(refused, Some(FilerError::Invalid { .. })));
    }
}

#[tokio::test]
async fn buckets() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let owner = Owner {
            id: "you".to_owned(),
            display_name: String::new(),
        };
        let twice = w
            .filer
            .create_bucket(NewBucket {
                name: "b".to_owned(),
                owner,
                region: String::new(),
            })
            .await;
        assert_eq!(
            twice.err(),
            Some(FilerError::BucketExists {
                name: "b".to_owned(),
                owner: "me".to_owned()
            })
        );
        assert_eq!(w.filer.bucket("b").await.unwrap(), b);
        assert_eq!(
            w.filer.bucket("c").await.err(),
            Some(FilerError::NoBucket("c".to_owned()))
        );
        w.put(&b, b"k", "e").await;
        assert_eq!(
            w.filer.delete_bucket("b").await,
            Err(FilerError::BucketNotEmpty("b".to_owned()))
        );
        w.filer
            .delete_objects(&b, vec![(Bytes::from_static(b"k"), Precondition::None)])
            .await[0]
            .clone()
            .unwrap();
        w.filer.delete_bucket("b").await.unwrap();
        assert!(w.filer.bucket("b").await.is_err());
        let late = w.put_if(&b, b"k", "e", Precondition::None).await;
        assert_eq!(late.err(), Some(FilerError::NoBucket("b".to_owned())));
        let again = w.bucket("b").await;
        assert_ne!(again.id, b.id);
        let stale = w.put_if(&b, b"k", "e", Precondition::None).await;
        assert_eq!(stale.err(), Some(FilerError::NoBucket("b".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_never_vanishes_under_an_object() {
    for w in World::both().await {
        let w = Arc::new(w);
        for _ in 0..30 {
            let b = w.bucket("b").await;
            let (a, c) = (Arc::clone(&w), Arc::clone(&w));
            let bucket = b.clone();
            let put =
                tokio::spawn(async move { a.put_if(&bucket, b"k", "e", Precondition::None).await });
            let gone = tokio::spawn(async move { c.filer.delete_bucket("b").await });
            let (put, gone) = (put.await.unwrap(), gone.await.unwrap());
            assert!(put.is_ok() != gone.is_ok(), "{put:?} {gone:?}");
            assert_eq!(w.etag(&b, b"k").await.is_some(), put.is_ok());
            if put.is_ok() {
                w.filer
                    .delete_objects(&b, vec![(Bytes::from_static(b"k"), Precondition::None)])
                    .await;
                w.filer.delete_bucket("b").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn buckets_are_listed_in_pages() {
    for w in World::both().await {
        for name in ["a1", "a2", "b1", "b2", "c"] {
            w.bucket(name).await;
        }
        let list = |prefix: &str, after: Option<&str>, limit| ListBuckets {
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit,
            owner: None,
        };
        for (list, want, more) in [
            (
                list("", None, 10),
                &["a1", "a2", "b1", "b2", "c"][..],
                false,
            ),
            (list("", None, 2), &["a1", "a2"], true),
            (list("", Some("a2"), 3), &["b1", "b2", "c"], false),
            (list("b", Some("a2"), 1), &["b1"], true),
            (list("b", Some("b2"), 1), &[], false),
            (
                ListBuckets {
                    owner: Some("you".to_owned()),
                    ..list("", None, 2)
                },
                &[],
                false,
            ),
            (
                ListBuckets {
                    owner: Some("me".to_owned()),
                    ..list("", None, 5)
                },
                &["a1", "a2", "b1", "b2", "c"],
                false,
            ),
        ] {
            let page = w.filer.list_buckets(list.clone()).await.unwrap();
            let names: Vec<&str> = page.buckets.iter().map(|b| b.name.as_str()).collect();
            assert_eq!((&names[..], page.truncated), (want, more), "{list:?}");
        }
    }
}
