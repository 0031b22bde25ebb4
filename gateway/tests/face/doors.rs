//! Signatures and permissions.

use super::sign::Call;
use super::world::{World, write};

#[tokio::test]
async fn signatures_decide() {
    let w = World::new();
    w.bucket("bkt").await;
    w.bucket("open").await;
    w.filer.put("bkt", "k");
    let head = |k: &str, s: &str| w.send(Call::new("HEAD", "/bkt").sign(k, s));
    assert_eq!(head("ADMIN", "admin-secret").await.status, 200);
    assert_eq!(head("ROOT", "root-secret").await.status, 200);
    assert_eq!(head("ADMIN", "wrong").await.status, 403);
    let get = |k: &str, s: &str| w.send(Call::new("GET", "/bkt?location").sign(k, s));
    assert_eq!(get("ADMIN", "wrong").await.code(), "SignatureDoesNotMatch");
    assert_eq!(get("NOBODY", "x").await.code(), "InvalidAccessKeyId");
    assert_eq!(
        w.send(Call::new("GET", "/bkt?location")).await.code(),
        "AccessDenied"
    );

    let mut call = Call::new("GET", "/bkt?location").sign("ADMIN", "admin-secret");
    call.headers
        .push(("x-amz-copy-source".to_owned(), "/bkt/k".to_owned()));
    assert_eq!(w.send(call).await.code(), "AccessDenied");
    let call = Call::new("GET", "/bkt?location")
        .header("x-amz-security-token", "t")
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(call).await.code(), "InvalidToken");
    let call = Call::new("GET", "/bkt?location").sign_as(
        "ADMIN",
        "admin-secret",
        "UNSIGNED-PAYLOAD",
        "eu-north-1/s3",
    );
    assert_eq!(w.send(call).await.status, 200, "any region is accepted");
    let call = Call::new("GET", "/bkt?location").sign_as(
        "ADMIN",
        "admin-secret",
        "UNSIGNED-PAYLOAD",
        "r/iam",
    );
    assert_eq!(w.send(call).await.code(), "AuthorizationHeaderMalformed");
    let call = Call::new("GET", "/bkt?location")
        .sign("ADMIN", "admin-secret")
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(call).await.code(), "InvalidArgument");

    let presigned = |expires, age| {
        w.send(Call::new("GET", "/bkt?location").presign("ADMIN", "admin-secret", expires, age))
    };
    assert_eq!(presigned(60, 0).await.status, 200);
    assert_eq!(presigned(60, 120).await.code(), "AccessDenied");
    assert_eq!(
        presigned(604_801, 0).await.code(),
        "AuthorizationQueryParametersError"
    );
    let mut call = Call::new("GET", "/bkt?location").presign("ADMIN", "admin-secret", 60, 0);
    call.path = "/open".to_owned();
    assert_eq!(w.send(call).await.code(), "SignatureDoesNotMatch");

    let call = Call::new("GET", "/bkt").header("x-amz-expected-bucket-owner", "acc-admin");
    assert_eq!(w.send(call.sign("ADMIN", "admin-secret")).await.status, 200);
    let call = Call::new("GET", "/bkt").header("x-amz-expected-bucket-owner", "acc-other");
    let got = w.send(call.sign("ADMIN", "admin-secret")).await;
    assert_eq!((got.status, got.code()), (403, "AccessDenied"));
}

#[tokio::test]
async fn every_operation_heeds_the_expected_owner() {
    let w = World::new();
    w.bucket("own").await;
    w.filer.put("own", "k");
    let before = w.filer.writes();
    let ask = |method, target: &str, name: &str, owner: &str| {
        let mut call = Call::new(method, target).header(name, owner);
        if name.contains("source") {
            call = call.header("x-amz-copy-source", "/own/k");
        }
        w.send(call.sign("ADMIN", "admin-secret"))
    };
    let (here, source) = (
        "x-amz-expected-bucket-owner",
        "x-amz-source-expected-bucket-owner",
    );
    for (method, target, name) in [
        ("HEAD", "/own/k", here),
        ("GET", "/own/k", here),
        ("GET", "/own/k?attributes", here),
        ("GET", "/own/k?tagging", here),
        ("DELETE", "/own/k", here),
        ("POST", "/own/k?uploads", here),
        ("GET", "/own?uploads", here),
        ("PUT", "/own/k2", source),
        ("PUT", "/own/k2?partNumber=1&uploadId=x", source),
    ] {
        let got = ask(method, target, name, "acc-other").await;
        assert_eq!(got.status, 403, "{method} {target} {name}");
    }
    let put = Call::new("PUT", "/own/k").header(here, "acc-other");
    let put = put.body("new").sign("ADMIN", "admin-secret");
    assert_eq!(w.send(put).await.code(), "AccessDenied");
    assert_eq!(w.filer.writes(), before, "nothing was changed");
    assert_eq!(ask("HEAD", "/own/k", here, "acc-admin").await.status, 200);
}

#[tokio::test]
async fn permissions_hold_for_every_way_in() {
    let w = World::new();
    for b in ["bkt", "bkt234", "open", "opener"] {
        w.bucket(b).await;
    }
    let all: &[(&str, &str, &'static str, &str, bool)] = &[
        (
            "READER",
            "reader-secret",
            "GET",
            "/bkt234?list-type=2",
            false,
        ),
        ("READER", "reader-secret", "GET", "/bkt234/k", false),
        ("READER", "reader-secret", "PUT", "/bkt234", false),
        ("READER", "reader-secret", "DELETE", "/bkt234", false),
        (
            "HOMED",
            "homed-secret",
            "GET",
            "/bkt234?prefix=home%2F",
            false,
        ),
        ("OTHER", "other-secret", "GET", "/bkt234?list-type=2", true),
        ("", "", "GET", "/open/none?acl", true),
        ("", "", "GET", "/open?list-type=2", false),
        ("", "", "GET", "/opener/none?acl", false),
        ("", "", "DELETE", "/open/none", false),
        ("", "", "GET", "/", false),
    ];
    for (key, secret, method, target, ok) in all {
        let call = Call::new(method, target);
        let call = if key.is_empty() {
            call
        } else {
            call.sign(key, secret)
        };
        let got = w.send(call).await;
        assert_eq!(
            got.status != 403,
            *ok,
            "{key} {method} {target}: {} {}",
            got.status,
            got.body
        );
        if !ok {
            assert_eq!(got.code(), "AccessDenied");
        }
    }
    let got = w
        .send(Call::new("HEAD", "/bkt234").sign("READER", "reader-secret"))
        .await;
    assert_eq!(
        (got.status, got.header("x-amz-bucket-region")),
        (403, "us-east-1")
    );
}

#[tokio::test]
async fn prefixes_bind_listings_copies_and_multi_deletes() {
    let w = World::new();
    w.bucket("bkt").await;
    w.bucket("two").await;
    for key in ["home/a", "homeless", "k"] {
        w.filer.put("bkt", key);
    }
    let send = |call: Call| w.send(call.sign("HOMED", "homed-secret"));
    for (target, ok) in [
        ("/bkt?list-type=2&prefix=home%2F", true),
        ("/bkt?list-type=2&prefix=home%2Fa", true),
        ("/bkt?list-type=2&prefix=home", false),
        ("/bkt?list-type=2", false),
        ("/bkt?prefix=home%2F", true),
        ("/bkt", false),
        ("/bkt?uploads", false),
        ("/bkt?prefix=home%2F&uploads", true),
        ("/bkt/home/a?acl", true),
        ("/bkt/homeless?acl", false),
        ("/bkt/home/../k?acl", true),
        ("/bkt?acl", false),
        ("/bkt?location", true),
    ] {
        let got = send(Call::new("GET", target)).await;
        assert_eq!(got.status != 403, ok, "{target}: {}", got.body);
    }
    let copy = |from: &str, to: &str| send(Call::new("PUT", to).header("x-amz-copy-source", from));
    for (from, to, denied) in [
        ("/bkt/home/a", "/bkt/k", true),
        ("/bkt/k", "/bkt/home/b", true),
        ("/bkt/home%2F..%2Fk", "/bkt/home/b", false),
        ("bkt/%6B", "/bkt/home/b", true),
        ("/two/k", "/bkt/home/b", true),
        ("/bkt/home/a?versionId=7", "/bkt/home/b", false),
    ] {
        let got = copy(from, to).await;
        assert_eq!(
            got.status == 403,
            denied,
            "{from} -> {to}: {} {}",
            got.status,
            got.body
        );
    }
    let delete = |keys: &[&str]| {
        let body = format!(
            "<Delete><Object><Key>{}</Key></Object></Delete>",
            keys.join("</Key></Object><Object><Key>")
        );
        let md5 = {
            use base64::Engine as _;
            use md5::Digest as _;
            base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body.as_bytes()))
        };
        send(
            Call::new("POST", "/bkt?delete")
                .body(body)
                .header("content-md5", &md5),
        )
    };
    assert_eq!(delete(&["home/a", "k"]).await.code(), "AccessDenied");
    assert_eq!(
        w.admin("GET", "/bkt?list-type=2").await.tags("Key").len(),
        3
    );
    let got = delete(&["home/a"]).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(
        w.admin("GET", "/bkt?list-type=2").await.tags("Key"),
        ["homeless", "k"]
    );
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_identities() {
    let w = World::new();
    let file = w.dir.path().join("s3.json");
    write(&file, r#"{"identities":[{"name":"x","actions":["Raed"]}]}"#);
    let error = w.gateway.reload().unwrap_err().to_string();
    assert!(
        error.contains("s3.json: identities[0].actions[0]: \"Raed\""),
        "{error}"
    );
    assert_eq!(w.admin("GET", "/").await.status, 200);
    write(
        &file,
        r#"{"identities":[{"name":"x","credentials":[{"accessKey":"NEW","secretKey":"s"}],"actions":["Admin"]}]}"#,
    );
    w.gateway.reload().unwrap();
    assert_eq!(w.admin("GET", "/").await.code(), "InvalidAccessKeyId");
    assert_eq!(
        w.send(Call::new("GET", "/").sign("NEW", "s")).await.status,
        200
    );
}
