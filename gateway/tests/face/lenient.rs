//! What S3 reads although the parser behind the face refuses it, signed or not; regions; whom the log names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;

use super::sign::Call;
use super::world::{Got, World};

async fn head(w: &World, headers: &[(&str, &str)], signed: bool) -> Got {
    let mut call = Call::new("HEAD", "/bkt/k");
    if !signed {
        call = call.presign("ADMIN", "admin-secret", 60, 0);
    }
    for (name, value) in headers {
        call = call.header(name, value);
    }
    if signed {
        call = call.sign("ADMIN", "admin-secret");
    }
    w.send(call).await
}

#[tokio::test]
async fn ranges_that_are_none_are_ignored() {
    let w = World::new();
    w.bucket("bkt").await;
    w.filer.put("bkt", "k");
    for (range, status, length, shown) in [
        ("bytes=1-1", 206, "1", "bytes 1-1/3"),
        ("bytes=-2", 206, "2", "bytes 1-2/3"),
        ("bytes=1-99999999999999999999", 206, "2", "bytes 1-2/3"),
        ("Bytes=1-1", 206, "1", "bytes 1-1/3"),
        ("bytes=3-", 416, "", ""),
        ("bytes=-0", 416, "", ""),
        ("bytes=99999999999999999999-", 416, "", ""),
        ("bytes=0-0,2-2", 200, "3", ""),
        ("bytes=2-1", 200, "3", ""),
        ("bytes=a-b", 200, "3", ""),
        ("bytes=", 200, "3", ""),
        ("bytes", 200, "3", ""),
        ("lines=0-1", 200, "3", ""),
    ] {
        for signed in [true, false] {
            let got = head(&w, &[("range", range)], signed).await;
            assert_eq!(got.status, status, "{range} {signed}");
            assert_eq!(got.header("content-range"), shown, "{range} {signed}");
            if status < 300 {
                assert_eq!(got.header("content-length"), length, "{range} {signed}");
            }
        }
    }
    let part = w
        .send(
            Call::new("HEAD", "/bkt/k?partNumber=1")
                .header("range", "bytes=0-0")
                .sign("ADMIN", "admin-secret"),
        )
        .await;
    assert_eq!(part.status, 400, "a part of a range");
}

#[tokio::test]
async fn dates_that_are_none_are_ignored() {
    let w = World::new();
    w.bucket("bkt").await;
    w.filer.put("bkt", "k");
    let (since, unless) = ("if-modified-since", "if-unmodified-since");
    for (name, value, status) in [
        (since, "Tue, 14 Nov 2023 22:13:20 GMT", 304),
        (since, "Tuesday, 14-Nov-23 22:13:20 GMT", 304),
        (since, "Tue, 14 Nov 2023 22:13:19 GMT", 200),
        (since, "yesterday", 200),
        (since, "2033-11-14T22:13:20Z", 200),
        (unless, "Tue, 14 Nov 2023 22:13:19 GMT", 412),
        (unless, "Tue Nov 14 22:13:19 2023", 412),
        (unless, "1700000000", 200),
    ] {
        for signed in [true, false] {
            let got = head(&w, &[(name, value)], signed).await;
            assert_eq!(got.status, status, "{name}: {value} {signed}");
        }
    }
    let both = [(since, "rubbish"), ("range", "rubbish")];
    assert_eq!(head(&w, &both, true).await.status, 200);
}

#[tokio::test]
async fn a_changed_request_is_still_signed_as_it_was_sent() {
    let w = World::new();
    w.bucket("bkt").await;
    w.filer.put("bkt", "k");
    let call = || Call::new("HEAD", "/bkt/k").header("range", "bytes=0-0,2-2");
    let mut edited = call().sign("ADMIN", "admin-secret");
    for (name, value) in &mut edited.headers {
        if name == "range" {
            "bytes=0-0,1-1".clone_into(value);
        }
    }
    assert_eq!(
        w.send(edited).await.status,
        403,
        "the signed range was changed"
    );
    let mut moved = call().sign("ADMIN", "admin-secret");
    moved.path = "/bkt/other".to_owned();
    assert_eq!(w.send(moved).await.status, 403);
    for (key, secret) in [("ADMIN", "guess"), ("NOBODY", "x")] {
        assert_eq!(w.send(call().sign(key, secret)).await.status, 403);
    }
    assert_eq!(w.send(call()).await.status, 403, "unsigned");
    let expired = call().presign("ADMIN", "admin-secret", 60, 120);
    assert_eq!(w.send(expired).await.status, 403);
    // Permissions are those of whoever signed.
    w.bucket("bkt234").await;
    w.filer.put("bkt234", "k");
    let reader = |target: &str| {
        let call = Call::new("HEAD", target).header("range", "rubbish");
        w.send(call.sign("READER", "reader-secret"))
    };
    assert_eq!(reader("/bkt/k").await.status, 200);
    assert_eq!(reader("/bkt234/k").await.status, 403);
    let token = call().header("x-amz-security-token", "t");
    assert_eq!(
        w.send(token.sign("ADMIN", "admin-secret")).await.status,
        400
    );
}

#[tokio::test]
async fn overrides_are_for_those_who_signed() {
    let w = World::new();
    w.bucket("open").await;
    w.filer.put("open", "k");
    let target = "/open/k?response-content-type=text%2Fplain";
    let got = w.send(Call::new("HEAD", target)).await;
    assert_eq!(got.status, 400);
    assert_eq!(w.send(Call::new("HEAD", "/open/k")).await.status, 200);
    for range in ["bytes=0-0", "rubbish"] {
        let call = Call::new("HEAD", target).header("range", range);
        let got = w.send(call.sign("ADMIN", "admin-secret")).await;
        assert_eq!(got.header("content-type"), "text/plain", "{range}");
    }
}

fn delete(keys: &str) -> Call {
    let body = format!("<Delete>{keys}</Delete>");
    let md5 = STANDARD.encode(md5::Md5::digest(body.as_bytes()));
    Call::new("POST", "/bkt?delete")
        .body(body)
        .header("content-md5", &md5)
}

#[tokio::test]
async fn keys_with_control_characters_are_deleted() {
    let w = World::new();
    w.bucket("bkt").await;
    let keys = [
        "a\u{1}",
        "b\u{1f}<&",
        "c\u{fffe}",
        "d\u{1f600}",
        "e\r",
        "f",
        "g&#1;",
    ];
    for key in keys {
        w.filer.put("bkt", key);
    }
    let listed = || async { w.admin("GET", "/bkt?list-type=2").await.tags("Key").len() };
    assert_eq!(listed().await, keys.len());
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let document: String = [
        "a&#x1;",
        "b&#31;&lt;&amp;",
        "c&#xFFFE;",
        "d&#x1F600;",
        "e&#13;",
        "<![CDATA[g&#1;]]>",
    ]
    .map(object)
    .concat();
    // Nobody but its signer may say so.
    let mut forged = delete(&document).sign("ADMIN", "admin-secret");
    forged.body = String::from_utf8(forged.body)
        .unwrap()
        .replace("a&#x1;", "a&#x2;")
        .into();
    assert_eq!(w.send(forged).await.status, 400);
    let got = w
        .send(delete(&document).sign("READER", "reader-secret"))
        .await;
    assert_eq!(got.code(), "AccessDenied");
    assert_eq!(w.send(delete(&document)).await.code(), "AccessDenied");
    assert_eq!(listed().await, keys.len());

    let got = w
        .send(delete(&document).sign("ADMIN", "admin-secret"))
        .await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(
        got.tags("Key"),
        [
            "a&#x1;",
            "b&#x1f;&lt;&amp;",
            "c&#xfffe;",
            "d\u{1f600}",
            "e&#13;",
            "g&amp;#1;"
        ],
        "{}",
        got.body
    );
    assert_eq!(listed().await, 1);
    // A raw control character has always been read.
    w.filer.put("bkt", "h\u{2}");
    let got = w
        .send(delete(&object("h\u{2}")).sign("ADMIN", "admin-secret"))
        .await;
    assert_eq!(
        (got.status, got.tag("Key")),
        (200, Some("h&#x2;")),
        "{}",
        got.body
    );
    let nul = delete(&object("f&#0;")).sign("ADMIN", "admin-secret");
    assert_eq!(w.send(nul).await.code(), "MalformedXML");
    let broken = delete("<Object><Key>f&#1;</Key>").sign("ADMIN", "admin-secret");
    assert_eq!(w.send(broken).await.code(), "MalformedXML");
    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn refused_heads_tell_the_region() {
    let w = World::new();
    let body = "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let made = Call::new("PUT", "/west").body(body);
    assert_eq!(w.send(made.sign("ADMIN", "admin-secret")).await.status, 200);
    let header = "x-amz-bucket-region";
    for target in ["/west", "/west/k"] {
        for (what, call) in [
            ("secret", Call::new("HEAD", target).sign("ADMIN", "guess")),
            ("key", Call::new("HEAD", target).sign("NOBODY", "x")),
            ("nobody", Call::new("HEAD", target)),
            (
                "rights",
                Call::new("HEAD", target).sign("READER", "reader-secret"),
            ),
            (
                "scope",
                Call::new("HEAD", target).sign_as(
                    "ADMIN",
                    "admin-secret",
                    "UNSIGNED-PAYLOAD",
                    "r/iam",
                ),
            ),
        ] {
            let got = w.send(call).await;
            assert!(matches!(got.status, 400 | 403), "{what} {}", got.status);
            assert_eq!(got.header(header), "eu-west-1", "{what} {target}");
            assert_eq!(got.body, "");
        }
    }
    let none = w
        .send(Call::new("HEAD", "/nobucket").sign("ADMIN", "guess"))
        .await;
    assert_eq!((none.status, none.header(header)), (403, ""));
    let get = w
        .send(Call::new("GET", "/west").sign("ADMIN", "guess"))
        .await;
    assert_eq!((get.status, get.header(header)), (403, ""));
}

#[tokio::test]
async fn methods_that_are_not_allowed_say_which_are() {
    let w = World::new();
    w.bucket("bkt").await;
    for (method, target, allow) in [
        ("PUT", "/", "GET"),
        ("HEAD", "/", "GET"),
        ("PATCH", "/bkt", "DELETE, GET, HEAD, PUT"),
        ("POST", "/bkt/k", "DELETE, GET, HEAD, PUT"),
    ] {
        let got = w.admin(method, target).await;
        assert_eq!(
            (got.status, got.header("allow")),
            (405, allow),
            "{method} {target}"
        );
        let got = w.send(Call::new(method, target)).await;
        assert_eq!(got.status, 405, "{method} {target}, unsigned");
    }
    let vhost = Call::new("PUT", "/").header("host", "vhost.s3.test");
    let got = w.send(vhost.sign("ADMIN", "admin-secret")).await;
    assert_eq!(got.status, 200, "{}", got.body);
}

#[tokio::test]
async fn the_log_is_told_who_asks() {
    let w = World::new();
    w.bucket("bkt").await;
    w.bucket("open").await;
    w.filer.put("open", "k");
    let admin = |call: Call| call.sign("ADMIN", "admin-secret");
    for (call, who) in [
        (admin(Call::new("HEAD", "/bkt")), Some("ADMIN")),
        (
            admin(Call::new("HEAD", "/open/k").header("range", "x")),
            Some("ADMIN"),
        ),
        (
            Call::new("GET", "/bkt").presign("ADMIN", "admin-secret", 60, 0),
            Some("ADMIN"),
        ),
        (
            Call::new("PUT", "/none").sign("READER", "reader-secret"),
            Some("READER"),
        ),
        (Call::new("HEAD", "/open/k"), Some("anonymous")),
        (Call::new("HEAD", "/bkt"), Some("anonymous")),
        (Call::new("HEAD", "/bkt").sign("ADMIN", "guess"), None),
        (Call::new("HEAD", "/bkt").sign("NOBODY", "x"), None),
        (admin(Call::new("OPTIONS", "/bkt")), None),
        (Call::new("GET", "/-/healthz"), None),
    ] {
        let asked = format!("{call:?}");
        let (_, caller) = w.send_named(call).await;
        assert_eq!(caller.known(), who, "{asked}");
    }
}

#[tokio::test]
async fn bytes_are_counted_with_those_of_other_ports() {
    let w = World::new();
    w.bucket("bkt").await;
    let put = || {
        w.send(
            Call::new("PUT", "/bkt/k")
                .body("abc")
                .sign("ADMIN", "admin-secret"),
        )
    };
    let elsewhere = w.admission.acquire(w.admission.total()).await.unwrap();
    let got = put().await;
    assert_eq!((got.status, got.code()), (503, "SlowDown"));
    drop(elsewhere);
    assert_ne!(put().await.code(), "SlowDown");
}
