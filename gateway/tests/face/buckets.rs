//! Buckets, own routes, request ids.

use super::sign::Call;
use super::world::{ID, World};

#[tokio::test]
async fn own_routes_and_request_ids() {
    let w = World::new();
    assert_eq!(w.send(Call::new("GET", "/-/healthz")).await.status, 200);
    assert_eq!(w.send(Call::new("GET", "/-/readyz")).await.body, "ready\n");
    assert_eq!(w.send(Call::new("GET", "/-/metrics")).await.status, 200);
    assert_eq!(w.send(Call::new("GET", "/-/nothing")).await.status, 404);
    assert_eq!(w.send(Call::new("POST", "/-/healthz")).await.status, 405);

    let got = w.admin("GET", "/nobucket/a%20key").await;
    assert_eq!(
        (got.status, got.code()),
        (404, "NoSuchBucket"),
        "{}",
        got.body
    );
    assert_eq!(
        (got.header("x-amz-request-id"), got.tag("RequestId")),
        (ID, Some(ID))
    );
    assert_eq!(got.tag("Resource"), Some("/nobucket/a key"));
    assert_eq!(got.tag("BucketName"), Some("nobucket"));
    assert!(got.tag("HostId").is_some() && got.tag("Message").is_some());
    assert_eq!(got.header("content-type"), "application/xml");

    let got = w.admin("GET", "/nobucket/ctl%01x").await;
    assert_eq!(got.tag("Resource"), Some("/nobucket/ctl\u{fffd}x"));

    let got = w.admin("HEAD", "/nobucket").await;
    assert_eq!(
        (
            got.status,
            got.body.as_str(),
            got.header("x-amz-request-id")
        ),
        (404, "", ID)
    );
    let got = w.admin("GET", "/").await;
    assert_eq!(got.header("x-amz-request-id"), ID);
}

#[tokio::test]
async fn buckets_live_and_die() {
    let w = World::new();
    w.bucket("bkt").await;
    let got = w.admin("PUT", "/bkt").await;
    assert_eq!((got.status, got.code()), (409, "BucketAlreadyOwnedByYou"));
    let got = w
        .send(Call::new("PUT", "/bkt").sign("OTHER", "other-secret"))
        .await;
    assert_eq!((got.status, got.code()), (409, "BucketAlreadyExists"));

    let got = w.admin("HEAD", "/bkt").await;
    assert_eq!(
        (got.status, got.header("x-amz-bucket-region")),
        (200, "us-east-1")
    );
    let got = w.admin("GET", "/bkt?location").await;
    assert!(
        got.body
            .contains("<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""),
        "{}",
        got.body
    );

    let body = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let got = w
        .send(
            Call::new("PUT", "/bk2")
                .body(body)
                .sign("ADMIN", "admin-secret"),
        )
        .await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert!(
        w.admin("GET", "/bk2?location")
            .await
            .body
            .contains("eu-west-1")
    );
    assert_eq!(
        w.admin("HEAD", "/bk2").await.header("x-amz-bucket-region"),
        "eu-west-1"
    );

    w.filer.put("bk2", "k");
    let got = w.admin("DELETE", "/bk2").await;
    assert_eq!((got.status, got.code()), (409, "BucketNotEmpty"));
    let got = w.admin("DELETE", "/bkt").await;
    assert_eq!((got.status, got.body.as_str()), (204, ""));
    assert_eq!(w.admin("DELETE", "/bkt").await.code(), "NoSuchBucket");
    assert_eq!(w.admin("HEAD", "/bkt").await.status, 404);
}

#[tokio::test]
async fn create_bucket_refuses_what_is_not_built() {
    let w = World::new();
    let table = [
        ("x-amz-acl", "private", 200, ""),
        (
            "x-amz-acl",
            "public-read",
            400,
            "AccessControlListNotSupported",
        ),
        (
            "x-amz-acl",
            "bucket-owner-full-control",
            400,
            "InvalidBucketAclWithObjectOwnership",
        ),
        (
            "x-amz-bucket-object-lock-enabled",
            "true",
            501,
            "NotImplemented",
        ),
        ("x-amz-object-ownership", "BucketOwnerEnforced", 200, ""),
        (
            "x-amz-object-ownership",
            "ObjectWriter",
            501,
            "NotImplemented",
        ),
        (
            "x-amz-bucket-namespace",
            "account-regional",
            400,
            "InvalidArgument",
        ),
        (
            "x-amz-grant-read",
            "id=\"x\"",
            400,
            "AccessControlListNotSupported",
        ),
    ];
    for (i, (name, value, status, code)) in table.into_iter().enumerate() {
        let call = Call::new("PUT", &format!("/bucket-{i}"))
            .header(name, value)
            .sign("ADMIN", "admin-secret");
        let got = w.send(call).await;
        assert_eq!(
            (got.status, got.code()),
            (status, code),
            "{name}: {value}: {}",
            got.body
        );
        let made = w.admin("HEAD", &format!("/bucket-{i}")).await.status == 200;
        assert_eq!(made, status == 200, "{name}: {value}");
    }
    for bad in [
        "/ab",
        "/Upper",
        "/under_score",
        "/-abc",
        "/a..b",
        "/192.168.1.1",
        "/xn--abc",
        "/abc-s3alias",
    ] {
        let got = w.admin("PUT", bad).await;
        assert_eq!(
            (got.status, got.code()),
            (400, "InvalidBucketName"),
            "{bad}"
        );
    }
    let bodies = [
        ("<oops", "MalformedXML"),
        (
            "<CreateBucketConfiguration><LocationConstraint>a b</LocationConstraint></CreateBucketConfiguration>",
            "InvalidLocationConstraint",
        ),
    ];
    for (body, code) in bodies {
        let got = w
            .send(
                Call::new("PUT", "/bodied")
                    .body(body)
                    .sign("ADMIN", "admin-secret"),
            )
            .await;
        assert_eq!(
            (got.status, got.code()),
            (400, code),
            "{body}: {}",
            got.body
        );
    }
}

#[tokio::test]
async fn virtual_hosts_name_buckets() {
    let w = World::new();
    w.bucket("vhost").await;
    w.filer.put("vhost", "k");
    let call = |target: &str, host: &str| {
        Call::new("GET", target)
            .header("host", host)
            .sign("ADMIN", "admin-secret")
    };
    assert_eq!(
        w.send(call("/?list-type=2", "vhost.s3.test:8333"))
            .await
            .tags("Key"),
        ["k"]
    );
    assert_eq!(w.send(call("/k?acl", "vhost.s3.test")).await.status, 200);
    assert_eq!(
        w.send(call("/vhost?list-type=2", "s3.test"))
            .await
            .tags("Key"),
        ["k"]
    );
    assert_eq!(
        w.send(call("/vhost?list-type=2", "localhost:8333"))
            .await
            .tags("Key"),
        ["k"]
    );
    let got = w.send(call("/none?acl", "vhost.s3.test")).await;
    assert_eq!(
        (got.code(), got.tag("Resource")),
        ("NoSuchKey", Some("/vhost/none"))
    );
    assert_eq!(
        w.send(call("/-/healthz", "vhost.s3.test")).await.code(),
        "NoSuchKey"
    );
    let mut moved = call("/k?acl", "vhost.s3.test");
    moved
        .headers
        .iter_mut()
        .filter(|(n, _)| n == "host")
        .for_each(|(_, v)| "other.s3.test".clone_into(v));
    assert_eq!(w.send(moved).await.code(), "SignatureDoesNotMatch");
}
