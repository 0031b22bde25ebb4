//! PUT, POST and DELETE.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use halofs_runtime::admission::Admission;
use md5::{Digest, Md5};
use serde_json::json;

use super::{LIMIT, chunked, gzip, noise, start, start_with};

fn md5_of(bytes: &[u8]) -> String {
    BASE64.encode(Md5::digest(bytes))
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (head, body) in parts {
        out.extend_from_slice(format!("--XyZ\r\n{head}\r\n\r\n").as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--XyZ--\r\n");
    out
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=XyZ";

#[tokio::test]
async fn raw_uploads() {
    let s = start();
    let put = s
        .put("/3,01637037d6", &["Content-Type: image/x-a"], b"hello")
        .await;
    assert_eq!(put.status, 201);
    assert_eq!(
        put.json(),
        json!({"name": "3,01637037d6", "size": 5, "eTag": "9a71bb4c", "mime": "image/x-a"})
    );
    assert_eq!(put.header("etag"), "\"9a71bb4c\"");
    assert_eq!(
        s.fake.info(1).name.name,
        "",
        "the fid is not stored as a name"
    );
    let again = s
        .put("/3,01637037d6", &["Content-Type: image/x-a"], b"hello")
        .await;
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (204, 0, "\"9a71bb4c\"")
    );
    let update = s.put("/3,01637037d6", &[], b"other").await;
    assert_eq!(update.status, 201);
    assert_eq!(s.get("/3,01637037d6", &[]).await.text(), "other");
    let named = s.call("POST", "/3,02637037d6/dir.d/a", &[], b"x").await;
    assert_eq!(named.status, 400);
    let named = s
        .call(
            "POST",
            "/3,02637037d6/a.txt?pretty=1",
            &["Content-Type: text/plain"],
            b"x",
        )
        .await;
    assert!(
        named.text().starts_with("{\n  \"name\": \"a.txt\""),
        "{}",
        named.text()
    );
    assert_eq!(s.fake.info(2).name.name, "a.txt");
}

#[tokio::test]
async fn post_without_a_type_and_urlencoded_bodies_are_raw() {
    let s = start();
    for (i, headers) in [
        &[][..],
        &["Content-Type: application/x-www-form-urlencoded"][..],
        &["Content-Type: application/octet-stream"][..],
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/3,0{}637037d6", i + 1);
        let put = s.call("POST", &path, headers, b"a=b&ts=1&ttl=5m").await;
        assert_eq!(put.status, 201, "{headers:?}");
        assert_eq!(s.get(&path, &[]).await.text(), "a=b&ts=1&ttl=5m");
        assert_eq!(s.fake.info(u64::try_from(i).unwrap() + 1).name.mime, "");
    }
}

#[tokio::test]
async fn multipart_uploads() {
    let s = start();
    let rows: Vec<(Vec<u8>, &str, &str, &[u8])> = vec![
        (
            form(&[(
                "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: image/x",
                b"one",
            )]),
            "a.bin",
            "image/x",
            b"one",
        ),
        (
            form(&[
                (
                    "Content-Disposition: form-data; name=\"note\"",
                    b"not the file",
                ),
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"b.bin\"",
                    b"two",
                ),
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"c.bin\"",
                    b"three",
                ),
            ]),
            "b.bin",
            "",
            b"two",
        ),
        (
            form(&[("Content-Disposition: form-data; name=\"file\"", b"nameless")]),
            "",
            "",
            b"nameless",
        ),
        (
            form(&[(
                "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\x.jpg\"\r\nContent-Type: image/jpeg",
                b"pic",
            )]),
            "x.jpg",
            "",
            b"pic",
        ),
        (
            form(&[(
                "Content-Disposition: form-data; name=\"file\"; filename=\"empty\"",
                b"",
            )]),
            "empty",
            "",
            b"",
        ),
        (
            form(&[(
                "Content-Disposition: form-data; name=\"file\"; filename=\"z\"\r\nContent-Encoding: gzip",
                &gzip(b"plain"),
            )]),
            "z",
            "",
            b"plain",
        ),
    ];
    for (i, (body, name, mime, want)) in rows.iter().enumerate() {
        let path = format!("/3,{:02x}637037d6", i + 1);
        let key = u64::try_from(i).unwrap() + 1;
        let sent = s.call("POST", &path, &[FORM], body).await;
        assert_eq!(sent.status, 201, "{sent:?}");
        assert_eq!(sent.json()["size"], want.len());
        let info = s.fake.info(key);
        assert_eq!(
            (info.name.name.as_str(), info.name.mime.as_str()),
            (*name, *mime)
        );
        assert_eq!(s.get(&path, &[]).await.body, *want);
        for n in [1, 7, 4096] {
            let again = s
                .call(
                    "POST",
                    &path,
                    &[FORM, "Transfer-Encoding: chunked"],
                    &chunked(body, n),
                )
                .await;
            assert_eq!(again.status, 204, "chunks of {n}: {again:?}");
        }
    }
}

#[tokio::test]
async fn a_multipart_file_of_the_limit_fits_and_one_byte_more_does_not() {
    let s = start();
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"big\"";
    let exact = noise(usize::try_from(LIMIT).unwrap());
    for chunks in [false, true] {
        let send = async |body: Vec<u8>| {
            if chunks {
                s.call(
                    "POST",
                    "/3,01637037d6",
                    &[FORM, "Transfer-Encoding: chunked"],
                    &chunked(&body, 50_000),
                )
                .await
            } else {
                s.call("POST", "/3,01637037d6", &[FORM], &body).await
            }
        };
        assert!(matches!(
            send(form(&[(head, &exact)])).await.status,
            201 | 204
        ));
        let mut more = exact.clone();
        more.push(0);
        let got = send(form(&[(head, &more)])).await;
        assert_eq!(got.status, 400);
        assert_eq!(
            got.json()["error"],
            format!("file over the limited {LIMIT} bytes")
        );
    }
    assert!(s.get("/3,01637037d6", &[]).await.body == exact);
}

#[tokio::test]
async fn chunked_bodies_and_limits() {
    let s = start();
    let body = noise(300_000);
    let put = s
        .put(
            "/3,01637037d6",
            &["Transfer-Encoding: chunked"],
            &chunked(&body, 1000),
        )
        .await;
    assert_eq!(put.json()["size"], 300_000);
    assert!(s.get("/3,01637037d6", &[]).await.body == body);
    let limit = usize::try_from(LIMIT).unwrap();
    assert_eq!(
        s.put("/3,02637037d6", &[], &vec![0; limit]).await.status,
        201
    );
    for headers in [&[][..], &["Transfer-Encoding: chunked"][..]] {
        let over = vec![0; limit + 1];
        let sent = if headers.is_empty() {
            over
        } else {
            chunked(&over, 65_536)
        };
        let got = s.put("/3,03637037d6", headers, &sent).await;
        assert_eq!(got.status, 400);
        assert_eq!(
            got.json()["error"],
            format!("file over the limited {LIMIT} bytes")
        );
    }
    assert_eq!(s.fake.count(), 2);
}

#[tokio::test]
async fn md5_is_checked_and_echoed() {
    let s = start();
    let md5 = md5_of(b"hello");
    let put = s
        .put("/3,01637037d6", &[&format!("Content-MD5: {md5}")], b"hello")
        .await;
    assert_eq!((put.status, put.header("content-md5")), (201, md5.as_str()));
    assert_eq!(put.json()["contentMd5"], md5);
    let wrong = s
        .put("/3,02637037d6", &[&format!("Content-MD5: {md5}")], b"other")
        .await;
    assert_eq!(wrong.status, 400);
    let text = wrong.json()["error"].as_str().unwrap().to_owned();
    assert!(
        text.contains(&md5) && text.contains(&md5_of(b"other")),
        "{text}"
    );
    let zipped = [&format!("Content-MD5: {md5}")[..], "Content-Encoding: gzip"];
    assert_eq!(
        s.put("/3,03637037d6", &zipped, &gzip(b"hello"))
            .await
            .status,
        201
    );
    let part =
        format!("Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-MD5: {md5}");
    assert_eq!(
        s.call(
            "POST",
            "/3,04637037d6",
            &[FORM],
            &form(&[(&part, b"hello")])
        )
        .await
        .status,
        201
    );
    assert_eq!(
        s.call(
            "POST",
            "/3,05637037d6",
            &[FORM],
            &form(&[(&part, b"hellx")])
        )
        .await
        .status,
        400
    );
    let large = noise(1 << 20);
    let header = format!("Content-MD5: {}", md5_of(&large));
    assert_eq!(s.put("/3,06637037d6", &[&header], &large).await.status, 201);
}

#[tokio::test]
async fn gzip_bodies_are_inflated_and_limited() {
    let s = start();
    let plain = b"some words ".repeat(100_000);
    let mut two = gzip(b"some ");
    two.extend(gzip(b"words"));
    for (key, body, want) in [
        (1, gzip(&plain), plain.clone()),
        (2, two, b"some words".to_vec()),
        (3, gzip(b""), vec![]),
    ] {
        let path = format!("/3,0{key}637037d6");
        let put = s
            .put(
                &path,
                &["Content-Encoding: gzip", "Content-Type: text/plain"],
                &body,
            )
            .await;
        assert_eq!(
            (put.status, put.json()["size"].as_u64()),
            (201, Some(want.len() as u64))
        );
        assert!(s.get(&path, &[]).await.body == want);
        assert!(s.fake.compress.lock()[&key]);
    }
    let bomb = gzip(&vec![0; usize::try_from(LIMIT).unwrap() + 1]);
    assert!(bomb.len() < 10_000);
    let got = s
        .put("/3,04637037d6", &["Content-Encoding: gzip"], &bomb)
        .await;
    assert_eq!(
        got.json()["error"],
        format!("file over the limited {LIMIT} bytes")
    );
}

#[tokio::test]
async fn a_gzip_body_may_inflate_to_more_than_the_whole_budget() {
    let s = start_with(|_| {}, Admission::new(2 << 20, Duration::from_millis(50)));
    let plain = vec![0; usize::try_from(LIMIT).unwrap()];
    let body = gzip(&plain);
    // What was sent is no multiple of what the budget is counted in.
    assert!(!body.len().is_multiple_of(4096));
    let got = s
        .put("/3,05637037d6", &["Content-Encoding: gzip"], &body)
        .await;
    assert_eq!(
        (got.status, got.json()["size"].as_u64()),
        (201, Some(LIMIT))
    );
    assert_eq!(s.admission.free(), s.admission.total());
}

#[tokio::test]
async fn pairs_and_time() {
    let s = start();
    let put = s
        .put(
            "/3,01637037d6?ts=1000000000",
            &["Seaweed-Colour: red", "Halofs-X-Size: 3"],
            b"x",
        )
        .await;
    assert_eq!(put.status, 201);
    let got = s.get("/3,01637037d6", &[]).await;
    assert_eq!((got.header("colour"), got.header("x-size")), ("red", "3"));
    assert_eq!(got.header("last-modified"), "Sun, 09 Sep 2001 01:46:40 GMT");
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "ETag",
        "Content-Type",
        "Set-Cookie",
        "Access-Control-Allow-Origin",
    ] {
        let bad = s
            .put("/3,02637037d6", &[&format!("Seaweed-{name}: 1")], b"x")
            .await;
        assert_eq!(bad.status, 400, "{name}");
    }
    let big = "v".repeat(25_000);
    let bad = s
        .put(
            "/3,02637037d6",
            &[&format!("Seaweed-A: {big}"), &format!("Seaweed-B: {big}")],
            b"x",
        )
        .await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn families_and_deletes() {
    let s = start();
    for (path, body) in [
        ("/3,01637037d6", "zero"),
        ("/3,01637037d6_1", "one"),
        ("/3/01637037d6_2.txt", "two"),
    ] {
        assert_eq!(s.put(path, &[], body.as_bytes()).await.status, 201);
    }
    assert_eq!(s.get("/3,02637037d6", &[]).await.text(), "one");
    assert_eq!(s.get("/3,03637037d6", &[]).await.text(), "two");
    let gone = s.call("DELETE", "/3,01637037d6_1", &[], b"").await;
    assert_eq!((gone.status, gone.text()), (202, "{\"size\":3}"));
    let again = s.call("DELETE", "/3,02637037d6", &[], b"").await;
    assert_eq!((again.status, again.text()), (404, "{\"size\":0}"));
    assert_eq!(s.get("/3,02637037d6", &[]).await.status, 404);
    let other = s.call("DELETE", "/3,01637037d7", &[], b"").await;
    assert_eq!(
        (other.status, &other.json()["error"]),
        (400, &json!("File Random Cookie does not match."))
    );
    assert_eq!(
        s.call("DELETE", "/9,01637037d6", &[], b"").await.text(),
        "{\"size\":0}"
    );
    assert_eq!(s.get("/3,01637037d6", &[]).await.text(), "zero");
}

#[tokio::test]
async fn what_compresses_is_asked_to() {
    let s = start();
    for (key, headers, body, want) in [
        (1, &["Content-Type: text/html"][..], &b"<p>"[..], true),
        (
            2,
            &["Content-Type: image/jpeg"][..],
            &b"\xff\xd8\xff"[..],
            false,
        ),
        (3, &[][..], &b"plain words"[..], true),
        (4, &[][..], &b"\0\x01\x02"[..], false),
        (
            5,
            &["Content-Disposition: inline; filename=a.zip"][..],
            &b"words"[..],
            false,
        ),
        (
            6,
            &["Content-Disposition: inline; filename=a.json"][..],
            &b"\0"[..],
            true,
        ),
    ] {
        s.put(&format!("/3,0{key}637037d6"), headers, body).await;
        assert_eq!(s.fake.compress.lock()[&key], want, "{key}");
    }
}
