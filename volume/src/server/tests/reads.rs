//! GET, HEAD, OPTIONS and the pages.

use super::fake::{STORED, STORED_TEXT};
use super::{gunzip, noise, start, start_with};
use halofs_runtime::admission::Admission;
use std::time::Duration;

const HTML: &str = "text/html";

#[tokio::test]
async fn every_url_form_reads_and_writes() {
    let s = start();
    for (i, form) in [
        "/3,{}637037d6",
        "/3/{}637037d6",
        "/3,{}637037d6.jpg",
        "/3/{}637037d6.jpg",
        "/3/{}637037d6/photo.jpg",
        "/3,{}637037d6/photo.jpg",
        "/3%2C{}637037d6",
    ]
    .iter()
    .enumerate()
    {
        let path = form.replace("{}", &format!("{:02x}", i + 1));
        let put = s.put(&path, &[], b"body").await;
        assert_eq!(put.status, 201, "{path}: {put:?}");
        for again in ["/3,{}637037d6", "/3/{}637037D6", form] {
            let path = again.replace("{}", &format!("{:02x}", i + 1));
            let got = s.get(&path, &[]).await;
            assert_eq!((got.status, got.text()), (200, "body"), "{path}");
        }
        let got = s.get(&path, &[]).await;
        if form.ends_with("photo.jpg") {
            assert_eq!(
                got.header("content-disposition"),
                "inline; filename=\"photo.jpg\""
            );
        }
        if form.ends_with("jpg") {
            assert_eq!(got.header("content-type"), "image/jpeg", "{path}");
        }
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let s = start();
    s.put(
        "/3,01637037d6",
        &["Content-Type: text/x-thing", "Seaweed-Colour: red"],
        b"hello",
    )
    .await;
    let get = s.get("/3,01637037d6", &[]).await;
    let head = s
        .call("HEAD", "/3,01637037d6", &["Range: bytes=0-1"], b"")
        .await;
    assert_eq!((get.status, get.text()), (200, "hello"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    for (name, want) in [
        ("content-length", "5"),
        ("content-type", "text/x-thing"),
        ("etag", "\"9a71bb4c\""),
        ("accept-ranges", "bytes"),
        ("last-modified", STORED_TEXT),
        ("colour", "red"),
    ] {
        assert_eq!(get.header(name), want, "{name}");
        assert_eq!(head.header(name), want, "{name}");
    }
    assert!(get.header("vary").is_empty());
    assert_eq!(get.header("x-amz-request-id").len(), 32);
    assert!(get.header("server").starts_with("HaloFS "));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let s = start();
    assert_eq!(s.put("/3,01637037d6", &[], b"").await.status, 201);
    let got = s.get("/3,01637037d6", &[]).await;
    assert_eq!(
        (got.status, got.header("etag"), got.header("content-length")),
        (200, "\"00000000\"", "0")
    );
    assert_eq!(got.header("last-modified"), STORED_TEXT);
    assert_eq!(
        s.get("/3,01637037d7", &[]).await.status,
        404,
        "the cookie is checked"
    );
    assert_eq!(
        s.get("/3,01637037d6", &["Range: bytes=0-"]).await.status,
        416
    );
}

#[tokio::test]
async fn conditional_reads() {
    let s = start();
    s.put("/3,01637037d6", &["Content-Type: image/x"], b"hello")
        .await;
    let (at, before) = (STORED_TEXT, "Tue, 14 Nov 2023 22:13:19 GMT");
    for (headers, want) in [
        (vec!["If-None-Match: \"9a71bb4c\"".to_owned()], 304),
        (vec!["If-None-Match: \"x\", W/\"9a71bb4c\"".into()], 304),
        (
            vec![
                "If-None-Match: \"x\"".into(),
                "If-None-Match: \"9a71bb4c\"".into(),
            ],
            304,
        ),
        (vec!["If-None-Match: *".into()], 304),
        (vec!["If-None-Match: \"x\"".into()], 200),
        (vec![format!("If-Modified-Since: {at}")], 304),
        (vec![format!("If-Modified-Since: {before}")], 200),
        (vec!["If-Modified-Since: rubbish".into()], 200),
        (
            vec![
                "If-None-Match: \"x\"".into(),
                format!("If-Modified-Since: {at}"),
            ],
            200,
        ),
        (vec!["If-Match: \"9a71bb4c\"".into()], 200),
        (vec!["If-Match: *".into()], 200),
        (vec!["If-Match: \"x\"".into()], 412),
        (vec!["If-Match: W/\"9a71bb4c\"".into()], 412),
        (vec![format!("If-Unmodified-Since: {before}")], 412),
        (vec![format!("If-Unmodified-Since: {at}")], 200),
        (
            vec![
                "If-Match: \"9a71bb4c\"".into(),
                format!("If-Unmodified-Since: {before}"),
            ],
            200,
        ),
    ] {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        for method in ["GET", "HEAD"] {
            let got = s.call(method, "/3,01637037d6", &lines, b"").await;
            assert_eq!(got.status, want, "{method} {headers:?}");
            assert_eq!(got.header("etag"), "\"9a71bb4c\"", "{headers:?}");
            assert_eq!(
                got.body.len(),
                if want == 200 && method == "GET" { 5 } else { 0 }
            );
        }
    }
}

#[tokio::test]
async fn single_ranges() {
    let s = start();
    let body = noise(2_500_000);
    s.put("/3,01637037d6", &[], &body).await;
    let n = body.len();
    for (range, want) in [
        ("bytes=0-0", Some(0..1)),
        ("bytes=0-4", Some(0..5)),
        ("bytes=1048575-1048576", Some(1_048_575..1_048_577)),
        ("bytes=2499999-", Some(n - 1..n)),
        ("bytes=-1", Some(n - 1..n)),
        ("bytes=-99999999", Some(0..n)),
        ("bytes=100-99999999", Some(100..n)),
        ("Bytes=0-4", Some(0..5)),
        ("lines=0-4", None),
    ] {
        let got = s.get("/3,01637037d6", &[&format!("Range: {range}")]).await;
        let (status, bytes) = want.clone().map_or((200, 0..n), |w| (206, w));
        assert_eq!(got.status, status, "{range}");
        assert!(got.body == body[bytes.clone()], "{range}");
        assert_eq!(got.header("content-length"), bytes.len().to_string());
        if want.is_some() {
            let expected = format!("bytes {}-{}/{n}", bytes.start, bytes.end - 1);
            assert_eq!(got.header("content-range"), expected);
        }
    }
    for (if_range, want) in [
        ("\"00000001\"".to_owned(), 200),
        (STORED_TEXT.to_owned(), 206),
        ("Tue, 14 Nov 2023 22:13:19 GMT".to_owned(), 200),
        ("W/\"00000001\"".to_owned(), 200),
        (
            s.get("/3,01637037d6", &[]).await.header("etag").to_owned(),
            206,
        ),
    ] {
        let got = s
            .get(
                "/3,01637037d6",
                &["Range: bytes=0-4", &format!("If-Range: {if_range}")],
            )
            .await;
        assert_eq!(got.status, want, "{if_range}");
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let s = start();
    let body = noise(2_200_000);
    s.put("/3,01637037d6", &["Content-Type: video/x"], &body)
        .await;
    let n = body.len();
    let got = s
        .get("/3,01637037d6", &["Range: bytes=0-1, 5-1100000,-3"])
        .await;
    assert_eq!(got.status, 206);
    let kind = got.header("content-type").to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert_eq!(got.header("content-length"), got.body.len().to_string());
    let mut want = Vec::new();
    for (i, r) in [0..2, 5..1_100_001, n - 3..n].into_iter().enumerate() {
        let lead = if i == 0 { "" } else { "\r\n" };
        let (first, last) = (r.start, r.end - 1);
        want.extend_from_slice(
            format!("{lead}--{boundary}\r\nContent-Type: video/x\r\nContent-Range: bytes {first}-{last}/{n}\r\n\r\n")
                .as_bytes(),
        );
        want.extend_from_slice(&body[r]);
    }
    want.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(got.body == want);
    let whole = s.get("/3,01637037d6", &["Range: bytes=0-,0-"]).await;
    assert_eq!(
        (whole.status, whole.body.len()),
        (200, n),
        "more than everything is everything"
    );
}

#[tokio::test]
async fn gzip_is_negotiated() {
    let s = start();
    let text = "the same words again and again ".repeat(2000);
    s.put(
        "/3,01637037d6",
        &[&format!("Content-Type: {HTML}")],
        text.as_bytes(),
    )
    .await;
    let plain = s.get("/3,01637037d6", &[]).await;
    let etag = plain.header("etag").to_owned();
    assert_eq!(
        (plain.text(), plain.header("vary")),
        (text.as_str(), "Accept-Encoding")
    );
    let zipped = s.get("/3,01637037d6", &["Accept-Encoding: gzip"]).await;
    assert_eq!(
        (zipped.header("content-encoding"), zipped.header("vary")),
        ("gzip", "Accept-Encoding")
    );
    assert_eq!(gunzip(&zipped.body), text.as_bytes());
    let zipped_tag = format!("{}-gzip\"", etag.trim_end_matches('"'));
    assert_eq!(zipped.header("etag"), zipped_tag);
    let head = s
        .call("HEAD", "/3,01637037d6", &["Accept-Encoding: gzip"], b"")
        .await;
    assert_eq!(head.header("content-length"), zipped.body.len().to_string());
    let part = s
        .get(
            "/3,01637037d6",
            &["Accept-Encoding: gzip", "Range: bytes=4-7"],
        )
        .await;
    assert_eq!(
        (part.status, part.text(), part.header("etag")),
        (206, "same", etag.as_str())
    );
    assert!(part.header("content-encoding").is_empty());
    for (headers, want) in [
        (
            [
                "Accept-Encoding: gzip",
                &format!("If-None-Match: {zipped_tag}"),
            ],
            304,
        ),
        (
            ["Accept-Encoding: gzip", &format!("If-None-Match: {etag}")],
            200,
        ),
        (
            ["Accept-Encoding: br", &format!("If-None-Match: {etag}")],
            304,
        ),
        (["Accept-Encoding: gzip", &format!("If-Match: {etag}")], 200),
        (
            ["Accept-Encoding: br", &format!("If-Match: {zipped_tag}")],
            200,
        ),
        (["Accept-Encoding: gzip", "If-Match: \"x-gzip\""], 412),
    ] {
        assert_eq!(
            s.get("/3,01637037d6", &headers).await.status,
            want,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn names_types_and_overrides() {
    let s = start();
    s.put(
        "/3,01637037d6",
        &["Content-Disposition: attachment; filename=\"snö.txt\""],
        b"words",
    )
    .await;
    let got = s.get("/3,01637037d6", &[]).await;
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        got.header("content-disposition"),
        "inline; filename=\"sn_.txt\"; filename*=UTF-8''sn%C3%B6.txt"
    );
    let got = s.get("/3/01637037d6/other.css?dl=true", &[]).await;
    assert_eq!(
        got.header("content-disposition"),
        "attachment; filename=\"other.css\""
    );
    assert_eq!(got.header("content-type"), "text/css; charset=utf-8");
    s.put("/3,02637037d6", &[], b"\x89PNG\r\n\x1a\n....").await;
    let got = s
        .get(
            "/3,02637037d6?width=3&height=x&readDeleted=true&mode=fit&crop_x1=q",
            &[],
        )
        .await;
    assert_eq!((got.status, got.header("content-type")), (200, "image/png"));
    assert!(got.header("content-disposition").is_empty());
    let path = "/3,02637037d6?response-content-type=a/b&response-cache-control=no-store&response-expires=0\
                &response-content-disposition=inline&response-content-language=de&response-content-encoding=x";
    let got = s.get(path, &[]).await;
    for (name, want) in [
        ("content-type", "a/b"),
        ("cache-control", "no-store"),
        ("expires", "0"),
        ("content-disposition", "inline"),
        ("content-language", "de"),
        ("content-encoding", "x"),
    ] {
        assert_eq!(got.header(name), want, "{name}");
    }
}

#[tokio::test]
async fn damage_is_a_clean_500_or_a_cut() {
    let s = start();
    let body = noise(2_500_000);
    s.put("/3,77637037d6", &[], &body).await;
    *s.fake.damaged_from.lock() = Some(0);
    let got = s.get("/3,77637037d6.bin", &[]).await;
    assert_ne!(got.status, 200);
    assert!(got.body.is_empty());
    *s.fake.damaged_from.lock() = Some(2_000_000);
    let got = s.get("/3,77637037d6.bin", &[]).await;
    assert_eq!((got.status, got.header("content-length")), (200, "2500000"));
    assert!(
        got.body.len() <= 2_000_000 && body.starts_with(&got.body),
        "{}",
        got.body.len()
    );
    let got = s.get("/3,77637037d6.bin", &["Range: bytes=5-9"]).await;
    assert!(got.status == 206 && got.body == body[5..10]);
}

#[tokio::test]
async fn large_files_stream_and_their_permits_come_back() {
    let s = start();
    let body = noise(3 << 20);
    assert_eq!(s.put("/3,01637037d6", &[], &body).await.status, 201);
    let got = s.get("/3,01637037d6", &[]).await;
    assert!(got.body == body);
    while s.admission.free() < 64 << 20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn over_the_budget_both_ways_answer_429() {
    let s = start_with(|_| {}, Admission::new(1 << 20, Duration::from_millis(20)));
    assert_eq!(s.put("/3,01637037d6", &[], b"x").await.status, 201);
    let all = s.admission.acquire(1 << 20).await.unwrap();
    for method in ["GET", "PUT"] {
        let got = s
            .call(
                method,
                "/3,01637037d6",
                &[],
                if method == "PUT" { b"y" } else { b"" },
            )
            .await;
        assert_eq!(got.status, 429);
        assert!(
            got.json()["error"]
                .as_str()
                .unwrap()
                .contains("bytes are in flight")
        );
        assert_eq!(got.header("retry-after"), "1");
    }
    drop(all);
    assert_eq!(s.get("/3,01637037d6", &[]).await.status, 200);
    let larger = noise(2 << 20);
    let got = s
        .put(
            "/3,02637037d6",
            &["Transfer-Encoding: chunked"],
            &super::chunked(&larger, 70_000),
        )
        .await;
    assert_eq!(
        got.status, 201,
        "a body over the budget takes all of it and goes on"
    );
}

#[tokio::test]
async fn cors_and_options() {
    let s = start();
    s.put("/3,01637037d6", &[], b"x").await;
    let got = s.get("/3,01637037d6", &["Origin: http://x"]).await;
    assert_eq!(got.header("access-control-allow-origin"), "*");
    assert_eq!(got.header("access-control-allow-credentials"), "true");
    assert!(
        s.get("/3,01637037d6", &[])
            .await
            .header("access-control-allow-origin")
            .is_empty()
    );
    let got = s
        .call("OPTIONS", "/3,01637037d6", &["Origin: http://x"], b"")
        .await;
    assert_eq!(
        (got.status, got.header("access-control-allow-methods")),
        (200, "PUT, POST, GET, DELETE, OPTIONS")
    );
    let public = start_with(
        |c| c.read_only = true,
        Admission::new(1 << 20, Duration::ZERO),
    );
    let got = public.call("OPTIONS", "/", &[], b"").await;
    assert_eq!(got.header("access-control-allow-methods"), "GET, OPTIONS");
    assert_eq!(public.put("/3,01637037d6", &[], b"x").await.status, 400);
    assert_eq!(
        public
            .call("DELETE", "/3,01637037d6", &[], b"")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn pages() {
    let s = start();
    let got = s.get("/status?pretty=y", &[]).await;
    let json = got.json();
    assert_eq!(json["DiskStatuses"][0]["dir"], "/data");
    assert_eq!(json["DiskStatuses"][0]["percent_free"], 25);
    assert_eq!(json["DiskStatuses"][0]["used"], 150);
    assert!(got.text().starts_with("{\n  \"") && json["Volumes"].is_array());
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let metrics = s.get("/metrics", &[]).await;
    assert!(
        metrics
            .text()
            .contains("HaloFS_volumeServer_request_total{type=\"GET\",code=\"200\"} 1\n")
    );
    assert!(
        s.get("/", &[])
            .await
            .text()
            .contains("<title>HaloFS volume server")
    );
    assert_eq!(s.get("/ui/index.html", &[]).await.status, 200);
    assert_eq!(
        (
            s.get("/healthz", &[]).await.status,
            s.get("/readyz", &[]).await.status
        ),
        (200, 200)
    );
    s.stopping.cancel();
    assert_eq!(
        (
            s.get("/healthz", &[]).await.status,
            s.get("/readyz", &[]).await.status
        ),
        (503, 503)
    );
}

#[tokio::test]
async fn manifests_are_told_apart() {
    let s = start();
    let manifest =
        br#"{"name":"a","size":1,"chunks":[{"fid":"3,02637037d6","offset":0,"size":1}]}"#;
    let put = s
        .put(
            "/3,01637037d6?cm=true",
            &["Content-Type: application/json"],
            manifest,
        )
        .await;
    assert_eq!(put.status, 201);
    assert!(s.fake.info(1).manifest);
    let raw = s.get("/3,01637037d6?cm=false", &[]).await;
    assert_eq!((raw.status, raw.body.as_slice()), (200, &manifest[..]));
    let assembled = s.get("/3,01637037d6", &[]).await;
    assert_eq!(assembled.status, 501);
    assert!(
        assembled.json()["error"]
            .as_str()
            .unwrap()
            .contains("cm=false")
    );
    assert_eq!(s.fake.info(1).appended, STORED);
}
