//! Bad requests: each gets its exact status, a sentence where one is due, and leaves nothing behind.

use super::{LIMIT, chunked, gzip, start};

/// method, path, header lines, body, status, part of the error's sentence (empty: no body is looked at).
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [u8], u16, &'a str);

const OK: &str = "/3,0b637037d6";
const FORM: &str = "Content-Type: multipart/form-data; boundary=XyZ";
const FILE: &[u8] = b"--XyZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nabc\r\n--XyZ--\r\n";

async fn run(rows: &[Row<'_>]) {
    let s = start();
    for (method, path, headers, body, status, sentence) in rows {
        let got = s.call(method, path, headers, body).await;
        let what = format!("{method} {path} {headers:?}: {got:?}");
        assert_eq!(got.status, *status, "{what}");
        assert_eq!(got.header("x-amz-request-id").len(), 32, "{what}");
        if sentence.is_empty() {
            assert!(
                !matches!(*method, "GET" | "HEAD") || got.body.is_empty() || got.status == 416,
                "{what}"
            );
        } else {
            let json = got.json();
            assert!(json["error"].as_str().unwrap().contains(sentence), "{what}");
            assert_eq!(json.as_object().unwrap().len(), 1, "{what}");
            assert_eq!(got.header("content-type"), "application/json");
            assert_eq!(got.header("x-content-type-options"), "nosniff");
        }
    }
    assert_eq!(s.fake.count(), 0, "a refused request stored something");
    while s.admission.free() < 64 << 20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bad_paths() {
    let rows: Vec<Row<'_>> = vec![
        ("PUT", "/", &[], b"x", 400, "there is no comma"),
        ("PUT", "/3", &[], b"x", 400, "there is no comma"),
        ("PUT", "/3,", &[], b"x", 400, "9 to 24 hex digits"),
        ("PUT", "/3/", &[], b"x", 400, "9 to 24 hex digits"),
        ("PUT", "/,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/x,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/0,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/-3,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/+3,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/3%20,01637037d6", &[], b"x", 400, "volume id"),
        ("PUT", "/4294967296,01637037d6", &[], b"x", 400, "volume id"),
        (
            "PUT",
            "/18446744073709551619,01637037d6",
            &[],
            b"x",
            400,
            "volume id",
        ),
        ("PUT", "/3,637037d6", &[], b"x", 400, "9 to 24 hex digits"),
        (
            "PUT",
            "/3,00000000000000000163700000",
            &[],
            b"x",
            400,
            "9 to 24 hex digits",
        ),
        ("PUT", "/3,0163703zd6", &[], b"x", 400, "not a hex digit"),
        ("PUT", "/3,0x1637037d6", &[], b"x", 400, "not a hex digit"),
        ("PUT", "/3,00637037d6", &[], b"x", 400, "key 0"),
        ("PUT", "/3,01637037d6_", &[], b"x", 400, "delta"),
        ("PUT", "/3,01637037d6_x", &[], b"x", 400, "delta"),
        ("PUT", "/3,01637037d6_-1", &[], b"x", 400, "delta"),
        (
            "PUT",
            "/3,01637037d6_18446744073709551615",
            &[],
            b"x",
            400,
            "delta",
        ),
        (
            "PUT",
            "/3,01637037d6_1_1",
            &[],
            b"x",
            400,
            "not a hex digit",
        ),
        ("PUT", "/3/01637037d6/a/b", &[], b"x", 400, "a path is"),
        ("PUT", "/3,01637037d6/a/b/c", &[], b"x", 400, "a path is"),
        ("PUT", "/3,01637037d6/", &[], b"x", 400, "not a file name"),
        ("PUT", "/3,01637037d6/..", &[], b"x", 400, "not a file name"),
        ("PUT", "/3/01637037d6/.", &[], b"x", 400, "not a file name"),
        (
            "PUT",
            "/3/01637037d6/a%00b",
            &[],
            b"x",
            400,
            "not a file name",
        ),
        (
            "PUT",
            "/3/01637037d6/a%0Ab",
            &[],
            b"x",
            400,
            "not a file name",
        ),
        ("PUT", "/3,%ff%fe", &[], b"x", 400, "not UTF-8"),
        (
            "PUT",
            "/3/01637037d6.jpg/a.jpg",
            &[],
            b"x",
            400,
            "hex digit",
        ),
        ("PUT", "/../3,01637037d6", &[], b"x", 400, "volume id"),
        ("DELETE", "/3", &[], b"", 400, "there is no comma"),
        ("DELETE", "/3,0163703zd6", &[], b"", 400, "not a hex digit"),
        ("POST", "/status", &[], b"x", 400, "there is no comma"),
        ("GET", "/3", &[], b"", 400, ""),
        ("GET", "/3,xyz", &[], b"", 400, ""),
        ("GET", "/favicon.ico", &[], b"", 400, ""),
        ("HEAD", "/4294967296,01637037d6", &[], b"", 400, ""),
        ("GET", "/3,01637037d6?x=%ff", &[], b"", 400, ""),
    ];
    run(&rows).await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn bad_methods_queries_and_headers() {
    let long = format!("{OK}?response-content-type={}", "x".repeat(3000));
    let rows: Vec<Row<'_>> = vec![
        ("PATCH", OK, &[], b"x", 400, "unsupported method PATCH"),
        ("TRACE", OK, &[], b"", 400, "unsupported method TRACE"),
        ("BREW", OK, &[], b"x", 400, "unsupported method BREW"),
        (
            "PROPFIND",
            "/",
            &[],
            b"x",
            400,
            "unsupported method PROPFIND",
        ),
        (
            "PUT",
            "/3,0b637037d6?ts=x",
            &[],
            b"x",
            400,
            "ts is not a time",
        ),
        (
            "PUT",
            "/3,0b637037d6?ts=-1",
            &[],
            b"x",
            400,
            "ts is not a time",
        ),
        (
            "PUT",
            "/3,0b637037d6?ts=999999999999",
            &[],
            b"x",
            400,
            "ts is not a time",
        ),
        (
            "PUT",
            "/3,0b637037d6?ttl=5m",
            &[],
            b"x",
            406,
            "ttl is not built yet",
        ),
        ("PUT", "/3,0b637037d6?ts=%ff", &[], b"x", 400, "not UTF-8"),
        (
            "PUT",
            "/3,0b637037d6?cm=true",
            &[],
            b"x",
            400,
            "manifest is not JSON",
        ),
        (
            "PUT",
            "/3,0b637037d6?cm=true",
            &[],
            b"{}",
            400,
            "no list of chunks",
        ),
        (
            "PUT",
            "/3,0b637037d6?cm=1",
            &[],
            b"",
            400,
            "manifest is not JSON",
        ),
        (
            "PUT",
            OK,
            &["Content-MD5: abc"],
            b"x",
            400,
            "not the base64 of 16 bytes",
        ),
        (
            "PUT",
            OK,
            &["Content-MD5: YWJj"],
            b"x",
            400,
            "not the base64 of 16 bytes",
        ),
        (
            "PUT",
            OK,
            &["Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg=="],
            b"x",
            400,
            "Content-MD5 did not match",
        ),
        (
            "PUT",
            OK,
            &["Content-Encoding: gzip"],
            b"plain",
            400,
            "cannot be inflated",
        ),
        (
            "PUT",
            OK,
            &["Content-Encoding: gzip"],
            b"",
            400,
            "cannot be inflated",
        ),
        (
            "PUT",
            OK,
            &["Content-Encoding: br"],
            b"x",
            415,
            "send gzip or the plain bytes",
        ),
        (
            "PUT",
            OK,
            &["Content-Encoding: gzip, gzip"],
            b"x",
            415,
            "send gzip or the plain bytes",
        ),
        (
            "PUT",
            OK,
            &["Seaweed-Content-Length: 5"],
            b"x",
            400,
            "a pair cannot be called",
        ),
        (
            "PUT",
            OK,
            &["Halofs-Transfer-Encoding: chunked"],
            b"x",
            400,
            "a pair cannot be called",
        ),
        (
            "PUT",
            OK,
            &["Seaweed-: 5"],
            b"x",
            400,
            "a pair cannot be called",
        ),
        (
            "PUT",
            OK,
            &["Seaweed-A: sn\u{f6}"],
            b"x",
            400,
            "not visible ASCII",
        ),
        ("GET", &long, &[], b"", 404, ""),
    ];
    run(&rows).await;
}

#[tokio::test]
async fn bad_bodies() {
    let mut cut = gzip(&super::noise(5000));
    cut.truncate(3000);
    let mut garbage = gzip(b"abc");
    garbage.extend_from_slice(b"more");
    let mut flipped = gzip(b"abcabcabc");
    let n = flipped.len();
    flipped[n - 6] ^= 1;
    let unclosed = &FILE[..FILE.len() - 4];
    let over = vec![0; usize::try_from(LIMIT).unwrap() + 1];
    let over_chunked = chunked(&over, 10_000);
    let many = format!(
        "{}--XyZ--\r\n",
        "--XyZ\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n".repeat(101)
    );
    let gz = ["Content-Encoding: gzip"];
    let rows: Vec<Row<'_>> = vec![
        ("PUT", OK, &gz, &cut, 400, "cannot be inflated"),
        ("PUT", OK, &gz, &garbage, 400, "cannot be inflated"),
        ("PUT", OK, &gz, &flipped, 400, "cannot be inflated"),
        ("PUT", OK, &[], &over, 400, "file over the limited"),
        (
            "PUT",
            OK,
            &["Transfer-Encoding: chunked"],
            &over_chunked,
            400,
            "file over the limited",
        ),
        (
            "POST",
            OK,
            &["Content-Type: multipart/form-data"],
            FILE,
            400,
            "no usable boundary",
        ),
        (
            "POST",
            OK,
            &["Content-Type: multipart/form-data; boundary="],
            FILE,
            400,
            "multipart form",
        ),
        (
            "POST",
            OK,
            &["Content-Type: x-form-data"],
            FILE,
            400,
            "no usable boundary",
        ),
        ("POST", OK, &[FORM], b"", 400, "multipart form"),
        (
            "POST",
            OK,
            &[FORM],
            b"no boundary at all",
            400,
            "multipart form",
        ),
        ("POST", OK, &[FORM], b"--XyZ--\r\n", 400, "no part"),
        ("POST", OK, &[FORM], unclosed, 400, "multipart form"),
        ("POST", OK, &[FORM], &FILE[..40], 400, "multipart form"),
        (
            "POST",
            OK,
            &["Content-Type: multipart/form-data; boundary=Other"],
            FILE,
            400,
            "multipart form",
        ),
        (
            "POST",
            OK,
            &[FORM],
            many.as_bytes(),
            400,
            "more than 100 parts",
        ),
    ];
    run(&rows).await;
}

#[tokio::test]
async fn errors_of_the_volume_have_one_table() {
    let rows: Vec<Row<'_>> = vec![
        ("GET", "/3,e2637037d6", &[], b"", 500, ""),
        ("GET", "/3,e4637037d6", &[], b"", 503, "stopping"),
        ("GET", "/3,e5637037d6", &[], b"", 500, ""),
        ("GET", "/3,e6637037d6", &[], b"", 500, ""),
        ("GET", "/3,e9637037d6", &[], b"", 500, ""),
        ("GET", "/3,0b637037d6", &[], b"", 404, ""),
        ("GET", "/9,0b637037d6", &[], b"", 404, ""),
        ("GET", "/4,0b637037d6", &[], b"", 404, ""),
        ("HEAD", "/3,0b637037d6", &[], b"", 404, ""),
        (
            "PUT",
            "/9,0b637037d6",
            &[],
            b"x",
            500,
            "volume 9 not found on this server",
        ),
        (
            "PUT",
            "/4,0b637037d6",
            &[],
            b"x",
            500,
            "volume 4 not found on this server",
        ),
        ("PUT", "/3,e1637037d6", &[], b"x", 507, "is full"),
        ("PUT", "/3,e2637037d6", &[], b"x", 500, "fenced"),
        (
            "PUT",
            "/3,e3637037d6",
            &[],
            b"x",
            500,
            "volume 3 is read only",
        ),
        ("PUT", "/3,e4637037d6", &[], b"x", 503, "stopping"),
        ("PUT", "/3,e5637037d6", &[], b"x", 500, "EIO"),
        ("PUT", "/3,e7637037d6", &[], b"x", 409, "exists already"),
        ("PUT", "/3,e8637037d6", &[], b"x", 400, "the limit is 1"),
        ("PUT", "/3,ea637037d6", &[], b"x", 500, "newer"),
        ("DELETE", "/3,e2637037d6", &[], b"", 500, "fenced"),
        ("DELETE", "/3,e3637037d6", &[], b"", 500, "read only"),
        ("DELETE", "/3,e4637037d6", &[], b"", 503, "stopping"),
    ];
    run(&rows).await;
}

#[tokio::test]
async fn bad_ranges() {
    let s = start();
    s.put(OK, &[], b"0123456789").await;
    for range in [
        "bytes=10-",
        "bytes=10-11",
        "bytes=-0",
        "bytes=3-1",
        "bytes=",
        "bytes=a-b",
        "bytes=1",
        "bytes=--1",
        "bytes=5-x",
        "bytes=,",
        "bytes=11-,12-",
    ] {
        let got = s.get(OK, &[&format!("Range: {range}")]).await;
        assert_eq!(
            (got.status, got.header("content-range")),
            (416, "bytes */10"),
            "{range}"
        );
    }
    let wrong = s.put("/3,0b637037d7", &[], b"x").await;
    assert_eq!(wrong.status, 500);
    assert!(
        wrong.json()["error"]
            .as_str()
            .unwrap()
            .contains("mismatching cookie")
    );
    for value in ["%0D%0AX:1", "%00"] {
        let got = s
            .get(&format!("{OK}?response-cache-control={value}"), &[])
            .await;
        assert_eq!((got.status, got.body.len()), (400, 0), "{value}");
    }
}

#[tokio::test]
async fn broken_framing_stores_nothing() {
    let s = start();
    for request in [
        "PUT /3,0b637037d6 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "PUT /3,0b637037d6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "PUT /3,0b637037d6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "PUT /3,0b637037d6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "PUT /3,0b637037d6 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "PUT /3,0b637037d6 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let got = s.raw(request.as_bytes(), true).await;
        assert_eq!(got.status, 400, "{request}");
    }
    assert_eq!(s.fake.count(), 0);
}
