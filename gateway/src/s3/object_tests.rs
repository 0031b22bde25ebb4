//! Objects and copies, as s3s calls the operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use halofs_client::FilerError;
use halofs_types::checksum::ChecksumAlgorithm as Alg;
use halofs_types::limits;
use s3s::dto;

use super::*;
use crate::ops::payload::show;
use crate::s3::testing::{code, data, get_input, put_input, req, rig};

#[tokio::test]
async fn what_was_put_comes_back_with_its_headers() {
    let rig = rig().await;
    let body = data(9 << 20);
    let mut input = put_input("k", &body);
    input.content_type = Some("text/x".into());
    input.content_encoding = Some("aws-chunked,gzip".into());
    input.metadata = Some([("Mtime".to_owned(), "1.5".to_owned())].into());
    input.expires = Some("soon".into());
    let crc = show(&Alg::Crc32.of(&body));
    let out = put_object(&rig.gw, req(input, &[("x-amz-checksum-crc32", &crc)]))
        .await
        .unwrap()
        .output;
    let tag = hex::encode(Alg::Md5.of(&body));
    assert_eq!(out.e_tag, Some(etag(tag.clone())));
    assert_eq!(
        (out.checksum_crc32.as_deref(), out.checksum_crc64nvme),
        (Some(crc.as_str()), None)
    );
    let mut ask = get_input("k");
    ask.checksum_mode = Some(dto::ChecksumMode::from_static("ENABLED"));
    let (got, back) = rig.get(ask).await.unwrap();
    assert!(back == body);
    assert_eq!(got.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(
        got.metadata.unwrap().get("mtime").map(String::as_str),
        Some("1.5")
    );
    assert_eq!(
        (got.expires.as_deref(), got.content_type.as_deref()),
        (Some("soon"), Some("text/x"))
    );
    assert_eq!(got.checksum_crc32.as_deref(), Some(crc.as_str()));
    assert_eq!(got.e_tag, Some(etag(tag)));
    assert!(got.content_range.is_none());
}

#[tokio::test]
async fn a_body_that_is_not_what_was_claimed_makes_nothing_visible() {
    let rig = rig().await;
    let md5 = show(&Alg::Md5.of(b"other"));
    let mut ok: Vec<(Alg, String)> = Vec::new();
    for a in halofs_types::checksum::ALGORITHMS {
        assert_eq!(
            code(
                rig.put("k", b"abc", &[(a.header(), &show(&a.of(b"abd")))])
                    .await
            ),
            "BadDigest",
            "{a}"
        );
        ok.push((a, show(&a.of(b"abc"))));
    }
    assert_eq!(
        code(rig.put("k", b"abc", &[("content-md5", &md5)]).await),
        "BadDigest"
    );
    assert_eq!(
        code(rig.put("k", b"abc", &[("content-md5", "!!")]).await),
        "InvalidDigest"
    );
    let mut short = put_input("k", b"abc");
    short.content_length = Some(4);
    assert_eq!(
        code(put_object(&rig.gw, req(short, &[])).await),
        "IncompleteBody"
    );
    let mut long = put_input("k", b"abc");
    long.content_length = Some(2);
    assert_eq!(
        code(put_object(&rig.gw, req(long, &[])).await),
        "IncompleteBody"
    );
    let mut cut = put_input("k", b"abc");
    let pieces = [
        Ok(Bytes::from_static(b"abc")),
        Err(std::io::Error::other("cut")),
    ];
    cut.body = Some(dto::StreamingBlob::wrap(futures::stream::iter(pieces)));
    assert_eq!(
        code(put_object(&rig.gw, req(cut, &[])).await),
        "IncompleteBody"
    );
    assert_eq!(rig.objects(), 0);
    for (a, value) in &ok {
        rig.put("k", b"abc", &[(a.header(), value)]).await.unwrap();
    }
    rig.gw.stop().await;
    let s = rig.memory.state.lock();
    let unnamed: usize = s.closed.iter().map(|(_, u)| u.len()).sum();
    let named = ok.len();
    assert_eq!(
        s.needles.len(),
        unnamed + named,
        "every needle is named once or handed over"
    );
}

#[tokio::test]
async fn refusals_come_before_the_body_is_asked_for() {
    let rig = rig().await;
    rig.put("there", b"x", &[]).await.unwrap();
    let polled = Arc::new(AtomicBool::new(false));
    let watched = |key: &str, f: &dyn Fn(&mut dto::PutObjectInput)| {
        let seen = Arc::clone(&polled);
        let mut input = put_input(key, b"abc");
        let body = futures::stream::once(async move {
            seen.store(true, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(b"abc"))
        });
        input.body = Some(dto::StreamingBlob::wrap(body));
        f(&mut input);
        input
    };
    let tag = |t: &str| Some(dto::ETagCondition::ETag(dto::ETag::Strong(t.to_owned())));
    let long = "k".repeat(limits::KEY_BYTES_MAX + 1);
    let big = limits::PUT_BYTES_MAX + 1;
    let cases: Vec<(dto::PutObjectInput, &str)> = vec![
        (watched("k", &|i| i.bucket = "none".into()), "NoSuchBucket"),
        (
            watched("there", &|i| {
                i.if_none_match = Some(dto::ETagCondition::Any);
            }),
            "PreconditionFailed",
        ),
        (
            watched("there", &|i| i.if_match = tag("0")),
            "PreconditionFailed",
        ),
        (watched("k", &|i| i.if_match = tag("0")), "NoSuchKey"),
        (
            watched("k", &|i| i.if_none_match = tag("0")),
            "NotImplemented",
        ),
        (watched(&long, &|_| ()), "KeyTooLongError"),
        (
            watched("k", &|i| i.content_length = Some(count(big))),
            "EntityTooLarge",
        ),
        (
            watched("k", &|i| i.content_length = None),
            "MissingContentLength",
        ),
        (
            watched("k", &|i| {
                i.metadata = Some([("a".to_owned(), "x".repeat(2048))].into());
            }),
            "MetadataTooLarge",
        ),
    ];
    for (input, want) in cases {
        assert_eq!(code(put_object(&rig.gw, req(input, &[])).await), want);
        assert!(!polled.load(Ordering::Relaxed), "{want}");
    }
    rig.put("k", b"1", &[]).await.unwrap();
    let mut swap = put_input("k", b"2");
    swap.if_match = tag(&hex::encode(Alg::Md5.of(b"1")));
    put_object(&rig.gw, req(swap, &[])).await.unwrap();
    assert_eq!(rig.bytes("k").await, b"2");
}

#[tokio::test]
async fn a_commit_that_fails_leaves_garbage_and_an_unknown_one_keeps_its_lease() {
    let rig = rig().await;
    rig.memory
        .state
        .lock()
        .refuse_commits
        .push_back(FilerError::Conflict);
    assert_eq!(
        code(rig.put("k", b"x", &[]).await),
        "ConditionalRequestConflict"
    );
    rig.memory
        .state
        .lock()
        .refuse_commits
        .push_back(FilerError::Unavailable("test".into()));
    assert_eq!(code(rig.put("k", b"x", &[]).await), "ServiceUnavailable");
    rig.gw.stop().await;
    let s = rig.memory.state.lock();
    assert!(s.closed.is_empty() && s.leases.len() == 1 && s.objects.is_empty());
}

#[tokio::test]
async fn ranges_conditions_and_versions_of_reads() {
    let rig = rig().await;
    let body = data(1000);
    rig.put("k", &body, &[]).await.unwrap();
    rig.put("empty", b"", &[]).await.unwrap();
    let ranged = |key: &str, r: &str| {
        let mut i = get_input(key);
        i.range = Some(dto::Range::parse(r).unwrap());
        i.checksum_mode = Some(dto::ChecksumMode::from_static("ENABLED"));
        i
    };
    let (out, back) = rig.get(ranged("k", "bytes=10-19")).await.unwrap();
    assert_eq!(
        (out.content_range.as_deref(), &back[..]),
        (Some("bytes 10-19/1000"), &body[10..20])
    );
    assert_eq!(
        (out.content_length, out.checksum_crc64nvme),
        (Some(10), None)
    );
    assert_eq!(
        rig.get(ranged("k", "bytes=-5")).await.unwrap().1,
        &body[995..]
    );
    assert_eq!(
        rig.get(ranged("k", "bytes=990-99999")).await.unwrap().1,
        &body[990..]
    );
    assert_eq!(
        code(rig.get(ranged("k", "bytes=1000-")).await),
        "InvalidRange"
    );
    assert_eq!(
        code(rig.get(ranged("empty", "bytes=0-")).await),
        "InvalidRange"
    );
    let (out, back) = rig.get(get_input("empty")).await.unwrap();
    assert_eq!((out.content_length, back.len()), (Some(0), 0));
    let with = |f: &dyn Fn(&mut dto::GetObjectInput)| {
        let mut i = get_input("k");
        f(&mut i);
        i
    };
    let tag = || dto::ETagCondition::ETag(etag(hex::encode(Alg::Md5.of(&body))));
    let other = || dto::ETagCondition::ETag(etag("0"));
    assert_eq!(
        code(rig.get(with(&|i| i.if_match = Some(other()))).await),
        "PreconditionFailed"
    );
    assert_eq!(
        code(rig.get(with(&|i| i.if_match = Some(tag()))).await),
        "OK"
    );
    let e = rig
        .get(with(&|i| i.if_none_match = Some(tag())))
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(e.status_code(), Some(http::StatusCode::NOT_MODIFIED));
    assert!(e.headers().unwrap().contains_key("etag"));
    assert_eq!(
        code(rig.get(with(&|i| i.version_id = Some("null".into()))).await),
        "OK"
    );
    assert_eq!(
        code(rig.get(with(&|i| i.version_id = Some("x".into()))).await),
        "NoSuchVersion"
    );
    assert_eq!(
        code(rig.get(with(&|i| i.part_number = Some(2))).await),
        "InvalidPartNumber"
    );
    assert_eq!(
        rig.get(with(&|i| i.part_number = Some(1))).await.unwrap().1,
        body
    );
    assert_eq!(code(rig.get(get_input("none")).await), "NoSuchKey");
    let head = dto::HeadObjectInput {
        bucket: "bkt".into(),
        key: "k".into(),
        ..Default::default()
    };
    let head = head_object(&rig.gw, req(head, &[])).await.unwrap().output;
    assert_eq!(
        (head.content_length, head.content_type.as_deref()),
        (Some(1000), Some("binary/octet-stream"))
    );
}

#[tokio::test]
async fn a_chunk_that_is_gone_is_an_error_not_a_hang() {
    let rig = rig().await;
    rig.put("k", b"abc", &[]).await.unwrap();
    rig.memory.state.lock().needles.clear();
    assert_eq!(code(rig.get(get_input("k")).await), "InternalError");
}

#[tokio::test]
async fn deletes_alone_and_many() {
    let rig = rig().await;
    for k in ["a", "b", "c"] {
        rig.put(k, b"x", &[]).await.unwrap();
    }
    let one = |key: &str, f: &dyn Fn(&mut dto::DeleteObjectInput)| {
        let mut i = dto::DeleteObjectInput {
            bucket: "bkt".into(),
            key: key.into(),
            ..Default::default()
        };
        f(&mut i);
        req(i, &[])
    };
    let wrong = || Some(dto::ETagCondition::ETag(etag("0")));
    assert_eq!(
        code(delete_object(&rig.gw, one("a", &|i| i.if_match = wrong())).await),
        "PreconditionFailed"
    );
    assert_eq!(
        code(delete_object(&rig.gw, one("a", &|i| i.version_id = Some("7".into()))).await),
        "InvalidArgument"
    );
    assert_eq!(
        code(delete_object(&rig.gw, one("none", &|_| ())).await),
        "OK"
    );
    assert_eq!(
        code(delete_object(&rig.gw, one("a", &|i| i.version_id = Some("null".into()))).await),
        "OK"
    );
    let id = |key: &str, tag: Option<&str>| dto::ObjectIdentifier {
        key: key.into(),
        e_tag: tag.map(etag),
        ..Default::default()
    };
    let many = |objects: Vec<dto::ObjectIdentifier>, quiet| {
        let delete = dto::Delete { objects, quiet };
        let i = dto::DeleteObjectsInput {
            bucket: "bkt".into(),
            delete,
            bypass_governance_retention: None,
            checksum_algorithm: None,
            expected_bucket_owner: None,
            mfa: None,
            request_payer: None,
        };
        req(i, &[])
    };
    let asked = vec![id("b", None), id("c", Some("0")), id("none", None)];
    let out = delete_objects(&rig.gw, many(asked, None))
        .await
        .unwrap()
        .output;
    let deleted: Vec<_> = out
        .deleted
        .unwrap()
        .into_iter()
        .filter_map(|d| d.key)
        .collect();
    assert_eq!(deleted, ["b", "none"]);
    let errors = out.errors.unwrap();
    assert_eq!((errors.len(), errors[0].key.as_deref()), (1, Some("c")));
    assert_eq!(errors[0].code.as_deref(), Some("PreconditionFailed"));
    let out = delete_objects(&rig.gw, many(vec![id("c", None)], Some(true)))
        .await
        .unwrap()
        .output;
    assert!(out.deleted.unwrap().is_empty() && rig.objects() == 0);
    assert_eq!(
        code(delete_objects(&rig.gw, many(vec![], None)).await),
        "MalformedXML"
    );
    let over = (0..=limits::PAGE_MAX)
        .map(|n| id(&n.to_string(), None))
        .collect();
    assert_eq!(
        code(delete_objects(&rig.gw, many(over, None)).await),
        "MalformedXML"
    );
}

fn copy_input(from: &str, to: &str) -> dto::CopyObjectInput {
    let source = dto::CopySource::parse(&format!("bkt/{from}")).unwrap();
    dto::CopyObjectInput::builder()
        .bucket("bkt".to_owned())
        .key(to.to_owned())
        .copy_source(source)
        .build()
        .unwrap()
}

#[tokio::test]
async fn copies_write_new_needles_unless_they_replace_what_they_copy() {
    let rig = rig().await;
    let body = data(9 << 20);
    let mut input = put_input("a", &body);
    input.metadata = Some([("x".to_owned(), "1".to_owned())].into());
    put_object(&rig.gw, req(input, &[])).await.unwrap();
    let copy = |i| copy_object(&rig.gw, req(i, &[]));
    let done = copy(copy_input("a", "z"))
        .await
        .unwrap()
        .output
        .copy_object_result
        .unwrap();
    assert_eq!(done.e_tag, Some(etag(hex::encode(Alg::Md5.of(&body)))));
    assert!(rig.bytes("z").await == body);
    let chunks = |key: &'static str| {
        let s = rig.memory.state.lock();
        let found = s.objects.iter().find(|((_, k), _)| *k == key).unwrap();
        (
            found.1.object.chunks.clone(),
            found.1.object.user_metadata.clone(),
        )
    };
    let (from, to) = (chunks("a"), chunks("z"));
    assert!(from.0.iter().all(|c| !to.0.contains(c)) && from.1 == to.1);
    assert_eq!(code(copy(copy_input("a", "a")).await), "InvalidRequest");
    let mut replace = copy_input("a", "a");
    replace.metadata_directive = Some(dto::MetadataDirective::from_static("REPLACE"));
    replace.metadata = Some([("Y".to_owned(), "2".to_owned())].into());
    copy(replace).await.unwrap();
    let now = chunks("a");
    assert_eq!(
        (now.0, now.1),
        (from.0, vec![("y".to_owned(), "2".to_owned())])
    );
    let mut summed = copy_input("a", "s");
    summed.checksum_algorithm = Some(dto::ChecksumAlgorithm::from_static("SHA256"));
    let done = copy(summed)
        .await
        .unwrap()
        .output
        .copy_object_result
        .unwrap();
    assert_eq!(done.checksum_sha256, Some(show(&Alg::Sha256.of(&body))));
    let mut stale = copy_input("a", "n");
    stale.copy_source_if_match = Some(dto::ETagCondition::ETag(etag("0")));
    assert_eq!(code(copy(stale).await), "PreconditionFailed");
    let mut there = copy_input("a", "z");
    there.if_none_match = Some(dto::ETagCondition::Any);
    assert_eq!(code(copy(there).await), "PreconditionFailed");
    assert_eq!(code(copy(copy_input("none", "n")).await), "NoSuchKey");
}
