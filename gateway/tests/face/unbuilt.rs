//! What is not built, and documents that are checked before they count.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::sign::Call;
use super::world::{ID, World};

/// Method, target, status, and what the body holds.
#[rustfmt::skip]
const ANSWERS: &[(&str, &str, u16, &str)] = &[
    ("GET", "/cfg?abac", 200, "<Status>Disabled</Status>"),
    ("GET", "/cfg?accelerate", 200, "<AccelerateConfiguration xmlns"),
    ("GET", "/cfg?acl", 200, "FULL_CONTROL"),
    ("GET", "/cfg/k?acl", 200, "FULL_CONTROL"),
    ("GET", "/cfg/none?acl", 404, "NoSuchKey"),
    ("GET", "/cfg?analytics", 200, "<IsTruncated>false</IsTruncated>"),
    ("GET", "/cfg?analytics&id=1", 404, "NoSuchConfiguration"),
    ("DELETE", "/cfg?analytics&id=1", 404, "NoSuchConfiguration"),
    ("GET", "/cfg?inventory", 200, "<IsTruncated>false</IsTruncated>"),
    ("GET", "/cfg?metrics", 200, "<IsTruncated>false</IsTruncated>"),
    ("GET", "/cfg?intelligent-tiering", 200, "<IsTruncated>false</IsTruncated>"),
    ("GET", "/cfg?cors", 404, "NoSuchCORSConfiguration"),
    ("DELETE", "/cfg?cors", 501, "NotImplemented"),
    ("GET", "/cfg?encryption", 200, "<SSEAlgorithm>AES256</SSEAlgorithm>"),
    ("GET", "/cfg?lifecycle", 404, "NoSuchLifecycleConfiguration"),
    ("GET", "/cfg?logging", 200, "<BucketLoggingStatus xmlns"),
    ("GET", "/cfg?metadataConfiguration", 404, "NoSuchConfiguration"),
    ("GET", "/cfg?notification", 200, "<NotificationConfiguration xmlns"),
    ("GET", "/cfg?object-lock", 404, "ObjectLockConfigurationNotFoundError"),
    ("GET", "/cfg?ownershipControls", 200, "BucketOwnerEnforced"),
    ("GET", "/cfg?policy", 404, "NoSuchBucketPolicy"),
    ("GET", "/cfg?policyStatus", 404, "NoSuchBucketPolicy"),
    ("GET", "/cfg?publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
    ("GET", "/cfg?replication", 404, "ReplicationConfigurationNotFoundError"),
    ("GET", "/cfg?requestPayment", 200, "<Payer>BucketOwner</Payer>"),
    ("GET", "/cfg?tagging", 404, "NoSuchTagSet"),
    ("GET", "/cfg?versioning", 200, "<VersioningConfiguration xmlns"),
    ("GET", "/cfg?website", 404, "NoSuchWebsiteConfiguration"),
    ("DELETE", "/cfg?website", 204, ""),
    ("GET", "/cfg?versions", 501, "NotImplemented"),
    ("GET", "/cfg?session", 501, "NotImplemented"),
    ("GET", "/cfg/k?tagging", 200, "<TagSet></TagSet>"),
    ("GET", "/cfg/none?tagging", 404, "NoSuchKey"),
    ("DELETE", "/cfg/k?tagging", 501, "NotImplemented"),
    ("GET", "/cfg/k?legal-hold", 404, "NoSuchObjectLockConfiguration"),
    ("GET", "/cfg/k?retention", 404, "NoSuchObjectLockConfiguration"),
    ("GET", "/cfg/k?torrent", 501, "NotImplemented"),
    ("GET", "/cfg/k?annotation", 501, "NotImplemented"),
    ("POST", "/cfg/k?restore", 403, "InvalidObjectState"),
    ("PUT", "/cfg/k?renameObject", 0, ""),
    ("GET", "/nobucket?cors", 404, "NoSuchBucket"),
    ("DELETE", "/nobucket?website", 404, "NoSuchBucket"),
    ("DELETE", "/cfg?acl", 501, "NotImplemented"),
    ("DELETE", "/cfg?versioning", 501, "NotImplemented"),
    ("DELETE", "/cfg?frobnicate", 501, "NotImplemented"),
    ("DELETE", "/cfg/k?acl", 501, "NotImplemented"),
    ("PUT", "/cfg?frobnicate", 501, "NotImplemented"),
    ("PUT", "/cfg?versions", 501, "NotImplemented"),
    ("GET", "/cfg?frobnicate", 501, "NotImplemented"),
    ("GET", "/cfg/k?frobnicate", 501, "NotImplemented"),
    ("GET", "/cfg/k?encryption", 501, "NotImplemented"),
    ("POST", "/cfg", 405, "<Method>POST</Method><ResourceType>BUCKET</ResourceType>"),
    ("POST", "/cfg/k", 405, "<ResourceType>OBJECT</ResourceType>"),
    ("POST", "/cfg/k?frobnicate", 501, "NotImplemented"),
    ("PATCH", "/cfg/k", 405, "<Code>MethodNotAllowed</Code>"),
    ("BREW", "/cfg", 405, "MethodNotAllowed"),
    ("PUT", "/", 405, "<ResourceType>SERVICE</ResourceType>"),
    ("POST", "/?delete", 405, "MethodNotAllowed"),
    ("DELETE", "/", 405, "MethodNotAllowed"),
    ("TRACE", "/", 405, "MethodNotAllowed"),
    ("POST", "/cfg/k?x-id=Frob", 405, "MethodNotAllowed"),
    ("OPTIONS", "/cfg/k", 403, "AccessForbidden"),
    ("GET", "/cfg/k?versionId=3", 400, "InvalidArgument"),
    ("DELETE", "/cfg/k?versionId=", 400, "InvalidArgument"),
    ("GET", "/cfg/a%00b", 400, "InvalidArgument"),
    ("DELETE", "/cfg/a%00b", 400, "InvalidArgument"),
    ("GET", "/cfg/%ff", 400, "InvalidURI"),
    ("GET", "/cfg/k?x-id=%01", 400, "InvalidArgument"),
    ("GET", "/cfg/k?response-expires=%01", 400, "InvalidArgument"),
    ("GET", "/cfg?acl&%0a", 400, "InvalidArgument"),
    ("GET", "/cfg?uploads&prefix=%01", 200, "<Prefix>&#x1;</Prefix>"),
    ("POST", "/WriteGetObjectResponse", 501, "NotImplemented"),
];

#[tokio::test]
async fn what_is_not_built_says_so() {
    let w = World::new();
    w.bucket("cfg").await;
    w.filer.put("cfg", "k");
    let before = w.filer.writes();
    for (method, target, status, holds) in ANSWERS {
        let got = w.admin(method, target).await;
        if *status != 0 {
            assert_eq!(got.status, *status, "{method} {target}: {}", got.body);
        } else {
            assert!(
                got.status >= 400 && got.status != 500,
                "{method} {target}: {}",
                got.body
            );
        }
        assert!(got.body.contains(holds), "{method} {target}: {}", got.body);
        assert!(!got.body.contains("ListBucketResult"), "{method} {target}");
    }
    let mut escaped = Call::new("DELETE", "/cfg?acl").sign("ADMIN", "admin-secret");
    escaped.query = "ac%6C".to_owned();
    assert_eq!(
        w.send(escaped).await.code(),
        "NotImplemented",
        "routed and checked alike"
    );
    assert_eq!(w.filer.writes(), before, "nothing was changed");
}

#[tokio::test]
async fn puts_of_configuration_are_501_whatever_they_hold() {
    let w = World::new();
    w.bucket("cfg").await;
    let put = |target: &str, body: &str| {
        Call::new("PUT", target)
            .body(body)
            .sign("ADMIN", "admin-secret")
    };
    let table = [
        (
            "/cfg?versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            501,
        ),
        ("/cfg?tagging", "<Tagging><TagSet></TagSet></Tagging>", 501),
        ("/cfg?policy", "{}", 501),
        (
            "/cfg?requestPayment",
            "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
            200,
        ),
        (
            "/cfg?requestPayment",
            "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
            501,
        ),
        (
            "/cfg?accelerate",
            "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>",
            200,
        ),
        (
            "/cfg?accelerate",
            "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
            501,
        ),
        (
            "/cfg?acl",
            "<AccessControlPolicy></AccessControlPolicy>",
            501,
        ),
        ("/nobucket?policy", "{}", 404),
        ("/cfg?versioning", "<Versioning", 501),
        (
            "/cfg/k?encryption",
            "<ObjectEncryption><SSEKMS><KMSKeyArn>a</KMSKeyArn></SSEKMS></ObjectEncryption>",
            501,
        ),
        ("/cfg?requestPayment", "<RequestPayment", 400),
    ];
    for (target, body, status) in table {
        let got = w.send(put(target, body)).await;
        assert_eq!(got.status, status, "{target} {body}: {}", got.body);
    }
}

#[tokio::test]
async fn documents_are_checked_before_they_count() {
    let w = World::new();
    w.bucket("chk").await;
    w.filer.put("chk", "k");
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    let send = |name: &'static str, value: &'static str| {
        let call = Call::new("POST", "/chk?delete")
            .body(body)
            .header(name, value);
        w.send(call.sign("ADMIN", "admin-secret"))
    };
    let before = w.filer.writes();
    for (name, value, code) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("content-md5", "nonsense", "InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-meta-none", "x", "InvalidRequest"),
    ] {
        let got = send(name, value).await;
        assert_eq!(
            (got.status, got.code()),
            (400, code),
            "{name}: {}",
            got.body
        );
        assert_eq!(got.header("x-amz-request-id"), ID);
    }
    let mut call = Call::new("POST", "/chk?delete")
        .body(body)
        .header("content-md5", "x")
        .sign("ADMIN", "admin-secret");
    call.body[9] = b'X';
    assert_eq!(w.send(call).await.status, 400);
    let mut call = Call::new("PUT", "/chk?requestPayment")
        .body(
            "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
        )
        .sign("ADMIN", "admin-secret");
    call.body[0] = b'[';
    assert_eq!(w.send(call).await.code(), "XAmzContentSHA256Mismatch");
    let big = Call::new("PUT", "/chk?policy")
        .body(vec![b' '; (2 << 20) + 1])
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(big).await.code(), "MaxMessageLengthExceeded");
    // 10,000 parts with the longest checksum are a document that is taken; this upload is not there.
    let mut body = String::from("<CompleteMultipartUpload>");
    let (etag, sum) = ("0".repeat(32), STANDARD.encode([0; 64]));
    for n in 1..=10_000 {
        write!(
            body,
            "<Part><ChecksumSHA512>{sum}</ChecksumSHA512><ETag>\"{etag}\"</ETag><PartNumber>{n}</PartNumber></Part>"
        )
        .unwrap();
    }
    body.push_str("</CompleteMultipartUpload>");
    assert!(body.len() > 2 << 20);
    let id = "0123456789abcdef".repeat(2);
    let call = Call::new("POST", &format!("/chk/k?uploadId={id}")).body(body);
    let got = w.send(call.sign("ADMIN", "admin-secret")).await;
    assert_eq!(got.code(), "NoSuchUpload", "{}", got.body);
    let big = Call::new("POST", &format!("/chk/k?uploadId={id}"))
        .body(vec![b' '; (8 << 20) + 1])
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(big).await.code(), "MaxMessageLengthExceeded");
    assert_eq!(w.filer.writes(), before);
}
