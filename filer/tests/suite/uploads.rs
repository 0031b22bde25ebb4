use std::sync::Arc;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{CompleteUpload, FilerApi, ListUploads, Precondition};
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind};
use halofs_types::object::{Bucket, Owner, Part, SystemHeaders, Upload};
use halofs_types::{AttemptId, FileId, LeaseId, Timestamp};

use crate::world::{MINUTE, World, attempt, object};

fn new_upload(key: &[u8]) -> Upload {
    Upload {
        id: AttemptId::default(),
        key: Bytes::copy_from_slice(key),
        initiator: Owner {
            id: "me".to_owned(),
            display_name: String::new(),
        },
        initiated: Timestamp(0),
        headers: SystemHeaders::default(),
        user_metadata: vec![("m".to_owned(), "v".to_owned())],
        storage_class: "STANDARD".to_owned(),
        checksum: Some((ChecksumAlgorithm::Crc32c, ChecksumKind::Composite)),
    }
}

fn part(w: &World, b: &Bucket, key: &[u8], number: u32) -> Part {
    Part {
        number,
        size: 5,
        md5: [4; 16],
        crc64nvme: 7,
        checksum: Some((ChecksumAlgorithm::Crc32c, Bytes::from_static(b"abcd"))),
        modified: Timestamp(0),
        chunks: vec![w.needle(w.fid(), b, key, number)],
        attempt: attempt(),
    }
}

fn completion(b: &Bucket, upload: &Upload, parts: &[Part]) -> CompleteUpload {
    CompleteUpload {
        bucket: b.clone(),
        key: upload.key.clone(),
        upload: upload.id,
        parts: parts.iter().map(|p| (p.number, p.attempt)).collect(),
        object: object(
            "whole",
            parts.iter().flat_map(|p| p.chunks.clone()).collect(),
        ),
        precondition: Precondition::None,
    }
}

pub(crate) async fn begin(w: &World, b: &Bucket, key: &[u8]) -> Upload {
    w.filer.create_upload(b, new_upload(key)).await.unwrap()
}

async fn store(w: &World, b: &Bucket, u: &Upload, p: &Part) -> Result<(), FilerError> {
    w.filer
        .put_part(b, &u.key, u.id, p.clone(), Vec::new())
        .await
}

/// An open upload of key `k` with one part of this fid.
pub(crate) async fn leased_part(w: &World, b: &Bucket, fid: FileId, lease: LeaseId) -> FileId {
    let u = w.filer.create_upload(b, new_upload(b"k")).await.unwrap();
    let p = Part {
        chunks: vec![w.needle(fid, b, b"k", 3)],
        ..part(w, b, b"k", 3)
    };
    w.filer
        .put_part(b, b"k", u.id, p, vec![lease])
        .await
        .unwrap();
    fid
}

#[tokio::test]
async fn an_upload_becomes_an_object() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let u = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        assert_eq!(w.filer.upload(b.id, b"k", u.id).await.unwrap(), u);
        assert!(matches!(
            w.filer.upload(b.id, b"other", u.id).await,
            Err(FilerError::NoUpload(_))
        ));
        let (p1, p2, left_out) = (
            part(&w, &b, b"k", 1),
            part(&w, &b, b"k", 2),
            part(&w, &b, b"k", 9),
        );
        let replaced = part(&w, &b, b"k", 2);
        for p in [&p1, &replaced, &p2, &left_out] {
            store(&w, &b, &u, p).await.unwrap();
        }
        assert_eq!(w.filer.metrics().gc_queue, 1);
        let (parts, more) = w.filer.list_parts(b.id, b"k", u.id, 1, 1).await.unwrap();
        assert!(more && parts.len() == 1 && parts[0].number == 2 && parts[0].chunks == p2.chunks);
        let wrong = completion(&b, &u, &[p1.clone(), replaced]);
        assert_eq!(
            w.filer.complete_upload(wrong).await.err(),
            Some(FilerError::InvalidPart(2))
        );
        let missing = completion(&b, &u, &[p1.clone(), part(&w, &b, b"k", 3)]);
        assert_eq!(
            w.filer.complete_upload(missing).await.err(),
            Some(FilerError::InvalidPart(3))
        );
        let c = completion(&b, &u, &[p1.clone(), p2.clone()]);
        let first = w.filer.complete_upload(c.clone()).await.unwrap();
        let found = w.filer.lookup(b.id, b"k").await.unwrap().unwrap().object;
        assert_eq!(
            (found.chunks, found.attempt),
            ([p1.chunks, p2.chunks].concat(), u.id)
        );
        assert_eq!(w.filer.metrics().gc_queue, 2);
        w.clock.advance(MINUTE);
        let again = w.filer.complete_upload(c.clone()).await.unwrap();
        assert_eq!(
            (again.modified, again.etag.as_str()),
            (first.modified, "whole")
        );
        assert_eq!(
            w.filer
                .completed(b.id, b"k", u.id)
                .await
                .unwrap()
                .unwrap()
                .modified,
            first.modified
        );
        assert!(w.filer.completed(b.id, b"j", u.id).await.unwrap().is_none());
        assert!(matches!(
            store(&w, &b, &u, &left_out).await,
            Err(FilerError::NoUpload(_))
        ));
        assert!(w.store.scan(b"part/", b"part0", 10).unwrap().is_empty());
        assert!(matches!(
            w.filer.abort_upload(&b, b"k", u.id).await,
            Err(FilerError::NoUpload(_))
        ));
    }
}

#[tokio::test]
async fn completes_keep_preconditions() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let u = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        let p = part(&w, &b, b"k", 1);
        store(&w, &b, &u, &p).await.unwrap();
        w.put(&b, b"k", "e1").await;
        let absent = CompleteUpload {
            precondition: Precondition::Absent,
            ..completion(&b, &u, std::slice::from_ref(&p))
        };
        assert_eq!(
            w.filer.complete_upload(absent.clone()).await.err(),
            Some(FilerError::PreconditionFailed)
        );
        w.filer
            .delete_objects(&b, vec![(Bytes::from_static(b"k"), Precondition::None)])
            .await[0]
            .clone()
            .unwrap();
        w.filer.complete_upload(absent.clone()).await.unwrap();
        // Its repeat meets its own object.
        w.filer.complete_upload(absent).await.unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_parts() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let u = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        let parts: Vec<Part> = (1..=10_000).map(|n| part(&w, &b, b"k", n)).collect();
        futures::future::try_join_all(parts.iter().map(|p| store(&w, &b, &u, p)))
            .await
            .unwrap();
        w.filer
            .complete_upload(completion(&b, &u, &parts))
            .await
            .unwrap();
        let found = w.filer.lookup(b.id, b"k").await.unwrap().unwrap().object;
        assert_eq!(
            (found.chunks.len(), w.filer.metrics().gc_queue),
            (10_000, 0)
        );
        assert!(w.store.scan(b"part/", b"part0", 10).unwrap().is_empty());
    }
}

#[tokio::test]
async fn aborted_and_expired_uploads_leave_nothing() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let u = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        let old = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        for (upload, n) in [(&u, 1), (&u, 2), (&old, 1)] {
            store(&w, &b, upload, &part(&w, &b, b"k", n)).await.unwrap();
        }
        w.filer.abort_upload(&b, b"k", u.id).await.unwrap();
        assert_eq!(w.filer.metrics().gc_queue, 2);
        w.clock.advance(MINUTE * 60 * 24 * 6);
        let young = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
        assert_eq!(w.filer.run_uploads_once().await.unwrap(), 0);
        w.clock.advance(MINUTE * 60 * 25);
        assert_eq!(w.filer.run_uploads_once().await.unwrap(), 1);
        assert!(w.filer.upload(b.id, b"k", old.id).await.is_err());
        w.filer.upload(b.id, b"k", young.id).await.unwrap();
        w.clock.advance(MINUTE * 20);
        w.filer.run_gc_once().await.unwrap();
        assert_eq!(w.volumes.count(), 0);
    }
}

#[tokio::test]
async fn a_deleted_bucket_takes_its_uploads_along() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        for n in 0..150 {
            let u = w
                .filer
                .create_upload(&b, new_upload(format!("k{n}").as_bytes()))
                .await
                .unwrap();
            store(&w, &b, &u, &part(&w, &b, &u.key, 1)).await.unwrap();
        }
        w.filer.delete_bucket("b").await.unwrap();
        assert_eq!(w.filer.metrics().gc_queue, 150);
        for (from, to) in [("upload/", "upload0"), ("part/", "part0")] {
            assert!(
                w.store
                    .scan(from.as_bytes(), to.as_bytes(), 10)
                    .unwrap()
                    .is_empty()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_never_slips_past_complete_or_abort() {
    for w in World::both().await {
        let w = Arc::new(w);
        let b = w.bucket("b").await;
        for round in 0..40 {
            let u = w.filer.create_upload(&b, new_upload(b"k")).await.unwrap();
            let p1 = part(&w, &b, b"k", 1);
            store(&w, &b, &u, &p1).await.unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            for n in 2..6 {
                let (w, b, u) = (Arc::clone(&w), b.clone(), u.clone());
                let p = part(&w, &b, b"k", n);
                tasks.spawn(async move { store(&w, &b, &u, &p).await });
            }
            let (w2, b2) = (Arc::clone(&w), b.clone());
            tasks.spawn(async move {
                if round % 2 == 0 {
                    w2.filer
                        .complete_upload(completion(&b2, &u, &[p1]))
                        .await
                        .map(|_| ())
                } else {
                    w2.filer.abort_upload(&b2, b"k", u.id).await
                }
            });
            tasks.join_all().await;
            assert!(
                w.store.scan(b"part/", b"part0", 10).unwrap().is_empty(),
                "round {round}"
            );
        }
    }
}

#[tokio::test]
async fn uploads_are_listed_in_order_and_pages() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let mut made = Vec::new();
        for key in ["a/1", "a/2", "b", "b", "b", "c/x/1"] {
            w.clock.advance(MINUTE);
            made.push(
                w.filer
                    .create_upload(&b, new_upload(key.as_bytes()))
                    .await
                    .unwrap(),
            );
        }
        let mut list = ListUploads {
            limit: 2,
            ..ListUploads::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = w.filer.list_uploads(b.id, list.clone()).await.unwrap();
            assert!(page.uploads.len() <= 2 && page.truncated == page.next.is_some());
            seen.extend(page.uploads);
            let Some((key, id)) = page.next else { break };
            list.key_marker = key;
            list.upload_marker = id;
        }
        assert_eq!(seen, made);
        let list = ListUploads {
            delimiter: Bytes::from_static(b"/"),
            limit: 2,
            ..ListUploads::default()
        };
        let page = w.filer.list_uploads(b.id, list.clone()).await.unwrap();
        assert_eq!(
            (&page.prefixes[..], &page.uploads[..]),
            (&[Bytes::from_static(b"a/")][..], &made[2..3])
        );
        let (key_marker, upload_marker) = page.next.unwrap();
        let page = w
            .filer
            .list_uploads(
                b.id,
                ListUploads {
                    key_marker,
                    upload_marker,
                    limit: 9,
                    ..list
                },
            )
            .await
            .unwrap();
        assert_eq!(
            (&page.prefixes[..], &page.uploads[..]),
            (&[Bytes::from_static(b"c/")][..], &made[3..5])
        );
        let after_b = ListUploads {
            key_marker: Bytes::from_static(b"b"),
            limit: 9,
            ..ListUploads::default()
        };
        assert_eq!(
            w.filer.list_uploads(b.id, after_b).await.unwrap().uploads,
            made[5..]
        );
    }
}

#[tokio::test]
async fn a_repeated_part_does_not_come_back_over_a_newer_one() {
    for w in World::both().await {
        let b = w.bucket("b").await;
        let u = begin(&w, &b, b"k").await;
        let (old, new) = (part(&w, &b, b"k", 1), part(&w, &b, b"k", 1));
        store(&w, &b, &u, &old).await.unwrap();
        store(&w, &b, &u, &new).await.unwrap();
        store(&w, &b, &u, &old).await.unwrap();
        let (parts, _) = w.filer.list_parts(b.id, b"k", u.id, 0, 10).await.unwrap();
        assert_eq!(parts[0].attempt, new.attempt);
        w.clock.advance(MINUTE * 16);
        w.filer.run_gc_once().await.unwrap();
        assert!(w.volumes.has(new.chunks[0].fid) && !w.volumes.has(old.chunks[0].fid));
    }
}
