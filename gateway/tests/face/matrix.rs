//! Every way to write, times every way to sign it wrongly, times every payload mode: nothing gets through, and nothing
//! behind the face is touched.

use super::sign::Call;
use super::world::World;

/// Methods and targets that change something.
const WRITES: [(&str, &str, Option<&str>); 12] = [
    ("PUT", "/bkt/k", None),
    (
        "PUT",
        "/bkt/k?partNumber=1&uploadId=00112233445566778899aabbccddeeff",
        None,
    ),
    ("PUT", "/bkt/copy", Some("/bkt/k")),
    (
        "PUT",
        "/bkt/k?partNumber=1&uploadId=00112233445566778899aabbccddeeff",
        Some("/bkt/k"),
    ),
    ("POST", "/bkt/k?uploads", None),
    (
        "POST",
        "/bkt/k?uploadId=00112233445566778899aabbccddeeff",
        None,
    ),
    (
        "DELETE",
        "/bkt/k?uploadId=00112233445566778899aabbccddeeff",
        None,
    ),
    ("DELETE", "/bkt/k", None),
    ("POST", "/bkt?delete", None),
    ("PUT", "/newbucket", None),
    ("DELETE", "/bkt", None),
    ("PUT", "/bkt?policy", None),
];

const MODES: [&str; 8] = [
    "UNSIGNED-PAYLOAD",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    "nonsense",
];

const FORGERIES: [&str; 9] = [
    "unsigned",
    "wrong secret",
    "wrong key",
    "wrong signature",
    "no signature",
    "header and query",
    "query, wrong secret",
    "query, expired",
    "another target",
];

fn base(write: (&'static str, &str, Option<&str>)) -> Call {
    let (method, target, source) = write;
    let call = Call::new(method, target)
        .header("x-amz-decoded-content-length", "0")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    match source {
        Some(s) => call.header("x-amz-copy-source", s),
        None => call,
    }
}

fn forge(how: &str, call: Call, mode: &str) -> Call {
    const SCOPE: &str = "us-east-1/s3";
    match how {
        "unsigned" => call.header("x-amz-content-sha256", mode),
        "wrong secret" => call.sign_as("ADMIN", "guess", mode, SCOPE),
        "wrong key" => call.sign_as("NOBODY", "admin-secret", mode, SCOPE),
        "wrong signature" => edit(call.sign_as("ADMIN", "admin-secret", mode, SCOPE), |v| {
            let last = if v.ends_with('0') { '1' } else { '0' };
            v.pop();
            v.push(last);
        }),
        "no signature" => edit(call.sign_as("ADMIN", "admin-secret", mode, SCOPE), |v| {
            v.truncate(v.find(", Signature=").unwrap_or(0));
        }),
        "header and query" => call.sign_as("ADMIN", "admin-secret", mode, SCOPE).presign(
            "ADMIN",
            "admin-secret",
            60,
            0,
        ),
        "query, wrong secret" => call
            .presign("ADMIN", "guess", 60, 0)
            .header("x-amz-content-sha256", mode),
        "query, expired" => call
            .presign("ADMIN", "admin-secret", 60, 3600)
            .header("x-amz-content-sha256", mode),
        _ => {
            let mut moved = call.sign_as("ADMIN", "admin-secret", mode, SCOPE);
            moved.path += if moved.path.matches('/').count() == 1 {
                "x"
            } else {
                "/x"
            };
            moved
        }
    }
}

fn edit(mut call: Call, change: impl Fn(&mut String)) -> Call {
    call.headers
        .iter_mut()
        .filter(|(n, _)| n == "authorization")
        .for_each(|(_, v)| change(v));
    call
}

#[tokio::test]
async fn no_forgery_writes() {
    let w = World::new();
    w.bucket("bkt").await;
    w.filer.put("bkt", "k");
    let before = w.filer.writes();
    let mut tried = 0;
    for write in WRITES {
        for mode in MODES {
            for how in FORGERIES {
                let got = w.send(forge(how, base(write), mode)).await;
                let refused = matches!(got.status, 400 | 403 | 501);
                assert!(
                    refused,
                    "{write:?} {mode} {how}: {} {}",
                    got.status, got.body
                );
                assert_eq!(w.filer.writes(), before, "{write:?} {mode} {how}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, WRITES.len() * MODES.len() * FORGERIES.len());
    assert!(tried >= 400, "{tried}");
    let good = Call::new("DELETE", "/bkt/k").sign("ADMIN", "admin-secret");
    assert_eq!(w.send(good).await.status, 204);
    assert!(w.filer.writes() > before, "the counter sees a write");
}
