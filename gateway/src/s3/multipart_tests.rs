//! Multipart uploads, as s3s calls the operations.

use halofs_types::checksum::ChecksumAlgorithm as Alg;
use s3s::dto;

use super::*;
use crate::s3::testing::{Pairs, Rig, blob, code, data, get_input, req, rig};

impl Rig {
    async fn create(&self, algorithm: Option<&'static str>) -> String {
        let i = dto::CreateMultipartUploadInput {
            bucket: "bkt".into(),
            key: "k".into(),
            checksum_algorithm: algorithm.map(dto::ChecksumAlgorithm::from_static),
            ..Default::default()
        };
        create_multipart_upload(&self.gw, req(i, &[]))
            .await
            .unwrap()
            .output
            .upload_id
            .unwrap()
    }

    async fn part(
        &self,
        id: &str,
        n: i32,
        body: &[u8],
        headers: Pairs<'_>,
    ) -> S3Result<dto::UploadPartOutput> {
        let i = dto::UploadPartInput {
            bucket: "bkt".into(),
            key: "k".into(),
            upload_id: id.into(),
            part_number: n,
            body: Some(blob(body)),
            content_length: Some(count(body.len() as u64)),
            ..Default::default()
        };
        upload_part(&self.gw, req(i, headers))
            .await
            .map(|r| r.output)
    }

    async fn complete(
        &self,
        id: &str,
        parts: Vec<dto::CompletedPart>,
        f: impl FnOnce(&mut dto::CompleteMultipartUploadInput),
    ) -> S3Result<dto::CompleteMultipartUploadOutput> {
        let mut i = dto::CompleteMultipartUploadInput {
            bucket: "bkt".into(),
            key: "k".into(),
            upload_id: id.into(),
            multipart_upload: Some(dto::CompletedMultipartUpload { parts: Some(parts) }),
            ..Default::default()
        };
        f(&mut i);
        complete_multipart_upload(&self.gw, req(i, &[("host", "h:1")]))
            .await
            .map(|r| r.output)
    }
}

fn listed(n: i32, out: &dto::UploadPartOutput) -> dto::CompletedPart {
    dto::CompletedPart {
        part_number: Some(n),
        e_tag: out.e_tag.clone(),
        checksum_sha256: out.checksum_sha256.clone(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_upload_of_parts_becomes_one_object_and_a_repeat_says_the_same() {
    let rig = rig().await;
    let (first, last) = (data(9 << 20), data(10));
    let id = rig.create(Some("SHA256")).await;
    let sha = show(&Alg::Sha256.of(&first));
    let a = rig
        .part(&id, 2, &first, &[("x-amz-checksum-sha256", &sha)])
        .await
        .unwrap();
    assert_eq!(a.checksum_sha256.as_deref(), Some(sha.as_str()));
    let crc = show(&Alg::Crc32.of(&last));
    assert_eq!(
        code(
            rig.part(&id, 5, &last, &[("x-amz-checksum-crc32", &crc)])
                .await
        ),
        "InvalidRequest"
    );
    let b = rig.part(&id, 5, &last, &[]).await.unwrap();
    assert_eq!(code(rig.part(&id, 0, &last, &[]).await), "InvalidArgument");
    assert_eq!(
        code(rig.part(&"0".repeat(32), 1, &last, &[]).await),
        "NoSuchUpload"
    );
    let parts = || vec![listed(2, &a), listed(5, &b)];
    let wrong_size = rig
        .complete(&id, parts(), |i| i.mpu_object_size = Some(1))
        .await;
    assert_eq!(code(wrong_size), "InvalidRequest");
    let mut backwards = parts();
    backwards.reverse();
    assert_eq!(
        code(rig.complete(&id, backwards, |_| ()).await),
        "InvalidPartOrder"
    );
    assert_eq!(
        code(rig.complete(&id, vec![], |_| ()).await),
        "MalformedXML"
    );
    let out = rig.complete(&id, parts(), |_| ()).await.unwrap();
    let md5s = [&Alg::Md5.of(&first)[..], &Alg::Md5.of(&last)[..]].concat();
    assert_eq!(
        out.e_tag,
        Some(etag(format!("{}-2", hex::encode(Alg::Md5.of(&md5s)))))
    );
    let shas = [&Alg::Sha256.of(&first)[..], &Alg::Sha256.of(&last)[..]].concat();
    let composite = format!("{}-2", show(&Alg::Sha256.of(&shas)));
    assert_eq!(out.checksum_sha256, Some(composite.clone()));
    assert_eq!(out.location.as_deref(), Some("http://h:1/bkt/k"));
    let again = rig.complete(&id, parts(), |_| ()).await.unwrap();
    assert_eq!(
        (again.e_tag, again.checksum_sha256),
        (out.e_tag, Some(composite.clone()))
    );
    let whole = [first.clone(), last.clone()].concat();
    assert!(rig.bytes("k").await == whole);
    let mut second = get_input("k");
    second.part_number = Some(2);
    second.checksum_mode = Some(dto::ChecksumMode::from_static("ENABLED"));
    let (got, back) = rig.get(second).await.unwrap();
    assert_eq!((back, got.parts_count), (last.clone(), Some(2)));
    assert_eq!(got.checksum_sha256, Some(show(&Alg::Sha256.of(&last))));
    let mut all = get_input("k");
    all.checksum_mode = Some(dto::ChecksumMode::from_static("ENABLED"));
    assert_eq!(
        rig.get(all).await.unwrap().0.checksum_sha256,
        Some(composite)
    );
}

#[tokio::test]
async fn conditions_lists_and_aborts_of_uploads() {
    let rig = rig().await;
    let id = rig.create(None).await;
    let a = rig.part(&id, 1, b"abc", &[]).await.unwrap();
    let list = dto::ListPartsInput {
        bucket: "bkt".into(),
        key: "k".into(),
        upload_id: id.clone(),
        max_parts: Some(1),
        ..Default::default()
    };
    let page = list_parts(&rig.gw, req(list, &[])).await.unwrap().output;
    assert_eq!(
        (page.parts.unwrap().len(), page.is_truncated),
        (1, Some(false))
    );
    let uploads = dto::ListMultipartUploadsInput {
        bucket: "bkt".into(),
        prefix: Some("k".into()),
        encoding_type: Some(dto::EncodingType::from_static("url")),
        ..Default::default()
    };
    let page = list_multipart_uploads(&rig.gw, req(uploads, &[]))
        .await
        .unwrap()
        .output;
    assert_eq!(
        page.uploads.unwrap()[0].upload_id.as_deref(),
        Some(id.as_str())
    );
    rig.put("k", b"x", &[]).await.unwrap();
    let absent =
        |i: &mut dto::CompleteMultipartUploadInput| i.if_none_match = Some(dto::ETagCondition::Any);
    assert_eq!(
        code(rig.complete(&id, vec![listed(1, &a)], absent).await),
        "PreconditionFailed"
    );
    let abort = || {
        let i = dto::AbortMultipartUploadInput {
            bucket: "bkt".into(),
            key: "k".into(),
            upload_id: id.clone(),
            ..Default::default()
        };
        abort_multipart_upload(&rig.gw, req(i, &[]))
    };
    assert_eq!(code(abort().await), "OK");
    assert_eq!(code(abort().await), "NoSuchUpload");
    assert_eq!(
        code(rig.complete(&id, vec![listed(1, &a)], |_| ()).await),
        "NoSuchUpload"
    );
    assert_eq!(rig.bytes("k").await, b"x");
}

#[tokio::test]
async fn parts_are_copied_from_ranges() {
    let rig = rig().await;
    let body = data(6 << 20);
    rig.put("a", &body, &[]).await.unwrap();
    let id = rig.create(Some("CRC64NVME")).await;
    let copy = |n: i32, range: Option<&str>| {
        let i = dto::UploadPartCopyInput::builder()
            .bucket("bkt".to_owned())
            .key("k".to_owned())
            .upload_id(id.clone())
            .part_number(n)
            .copy_source(dto::CopySource::parse("bkt/a").unwrap())
            .copy_source_range(range.map(str::to_owned))
            .build()
            .unwrap();
        upload_part_copy(&rig.gw, req(i, &[]))
    };
    assert_eq!(
        code(copy(1, Some("bytes=0-99999999")).await),
        "InvalidArgument"
    );
    let one = copy(1, None)
        .await
        .unwrap()
        .output
        .copy_part_result
        .unwrap();
    let two = copy(2, Some("bytes=5-9"))
        .await
        .unwrap()
        .output
        .copy_part_result
        .unwrap();
    let part = |n, e_tag| dto::CompletedPart {
        part_number: Some(n),
        e_tag,
        ..Default::default()
    };
    let whole = [&body[..], &body[5..10]].concat();
    let crc = show(&Alg::Crc64Nvme.of(&whole));
    let parts = || vec![part(1, one.e_tag.clone()), part(2, two.e_tag.clone())];
    let wrong = rig
        .complete(&id, parts(), |i| i.checksum_crc64nvme = Some(show(&[0; 8])))
        .await;
    assert_eq!(code(wrong), "BadDigest");
    let out = rig
        .complete(&id, parts(), |i| i.checksum_crc64nvme = Some(crc.clone()))
        .await
        .unwrap();
    assert_eq!(out.checksum_crc64nvme, Some(crc));
    assert!(rig.bytes("k").await == whole);
}
