//! The server over real loopback sockets, with a clock that only the test moves.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use halofs_types::Timestamp;

use super::body::BODY_STALL;
use super::{
    CollectError, Handler, HttpRequest, HttpResponse, RequestBodyError, RequestContext,
    ServeOptions, bind, collect, full, serve,
};
use crate::clock::{Clock, ManualClock, SharedManualClock};
use crate::metrics::PortMetrics;
use crate::rng::OsRng;

mod access;
mod h2;

/// Answers by path.
struct Echo {
    started: Notify,
    release: Semaphore,
}

impl Handler for Echo {
    fn handle(
        &self,
        req: HttpRequest,
        ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        Box::pin(async move {
            let path = req.uri().path().to_owned();
            match path.as_str() {
                "/id" => Response::new(full(ctx.request_id)),
                "/who" => {
                    ctx.caller.name("AKEXAMPLE");
                    ctx.caller.name("somebody else");
                    with(StatusCode::FORBIDDEN, "no")
                }
                "/early" => with(StatusCode::FORBIDDEN, "no"),
                "/empty" => with(StatusCode::NO_CONTENT, "must not be sent"),
                "/same" => with(StatusCode::NOT_MODIFIED, "must not be sent"),
                "/big" => Response::new(full(vec![b'x'; 32 << 20])),
                "/wait" => {
                    self.started.notify_one();
                    let _released = self.release.acquire().await;
                    Response::new(full("waited"))
                }
                _ => {
                    if path == "/notify" {
                        self.started.notify_one();
                    }
                    match collect(req.into_body(), 1 << 20, None).await {
                        Ok(all) => {
                            let text: Vec<u8> = all.pieces.iter().flatten().copied().collect();
                            Response::new(full(text))
                        }
                        Err(CollectError::Body(RequestBodyError::Stalled)) => {
                            with(StatusCode::REQUEST_TIMEOUT, "slow")
                        }
                        Err(_) => with(StatusCode::BAD_REQUEST, "body"),
                    }
                }
            }
        })
    }
}

fn with(status: StatusCode, text: &'static str) -> HttpResponse {
    let mut r = Response::new(full(text));
    *r.status_mut() = status;
    r
}

struct Server {
    addr: std::net::SocketAddr,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    done: JoinHandle<()>,
    metrics: Arc<PortMetrics>,
    echo: Arc<Echo>,
}

fn start(change: impl FnOnce(&mut ServeOptions)) -> Server {
    let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
    clock.advance(Duration::from_secs(1));
    let metrics = PortMetrics::new("test");
    let shared: Arc<dyn Clock> = Arc::new(SharedManualClock(Arc::clone(&clock)));
    let mut options = ServeOptions::new(Arc::clone(&metrics), shared, Arc::new(OsRng));
    change(&mut options);
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let echo = Arc::new(Echo {
        started: Notify::new(),
        release: Semaphore::new(0),
    });
    let handler: Arc<dyn Handler> = echo.clone();
    let done = tokio::spawn(serve(vec![listener], handler, options, stop.clone()));
    Server {
        addr,
        clock,
        stop,
        done,
        metrics,
        echo,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut s = self.connect().await;
        s.write_all(request).await.unwrap();
        read_all(&mut s).await
    }

    async fn settle(&self, what: impl Fn(&PortMetrics) -> bool) {
        let met = async {
            while !what(&self.metrics) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), met)
            .await
            .expect("the counters settle");
    }

    /// Moves the clock until the server closes the socket.
    async fn until_closed(&self, s: &mut TcpStream, step: Duration) -> (Duration, String) {
        let mut gone = Duration::ZERO;
        let mut got = Vec::new();
        loop {
            let mut buf = [0; 4096];
            match tokio::time::timeout(Duration::from_millis(50), s.read(&mut buf)).await {
                Ok(Ok(0) | Err(_)) => return (gone, String::from_utf8_lossy(&got).into_owned()),
                Ok(Ok(n)) => got.extend_from_slice(&buf[..n]),
                Err(_) => {
                    self.clock.advance(step);
                    gone += step;
                }
            }
        }
    }
}

async fn read_all(s: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let limit = Duration::from_secs(20);
    // A reset after the answer is as good as a close.
    let _end = tokio::time::timeout(limit, s.read_to_end(&mut all))
        .await
        .expect("the server closes");
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads one answer with Content-Length.
async fn read_one(s: &mut TcpStream) -> String {
    let mut all = Vec::new();
    loop {
        let mut byte = [0; 1];
        s.read_exact(&mut byte).await.unwrap();
        all.push(byte[0]);
        if all.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(all).unwrap();
    let len = head.lines().find_map(|l| {
        l.to_ascii_lowercase()
            .strip_prefix("content-length: ")
            .map(|n| n.parse::<usize>().unwrap())
    });
    let mut body = vec![0; len.unwrap_or(0)];
    s.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn every_answer_has_its_own_id_server_and_date() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..50 {
        s.write_all(b"GET /id HTTP/1.1\r\nHost: a\r\nx-amz-request-id: spoofed\r\n\r\n")
            .await
            .unwrap();
        let answer = read_one(&mut s).await;
        let (head, id) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("x-amz-request-id: {id}")),
            "{answer}"
        );
        assert_eq!(id.len(), 32);
        assert!(
            head.contains("server: HaloFS 0.") && head.contains("date: "),
            "{answer}"
        );
        assert!(ids.insert(id.to_owned()));
    }
    server
        .settle(|m| m.answered("GET", 200) == 50 && m.in_flight.get() == 0)
        .await;
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_connection_closed() {
    let server = start(|_| {});
    let next = "GET /id HTTP/1.1\r\nHost: a\r\n\r\n";
    let many = "x: 1\r\n".repeat(150);
    let long = "y".repeat(70_000);
    let rows: Vec<(&str, String, &str)> = vec![
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc".into(), "400"),
        ("length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc".into(), "400"),
        ("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc".into(), "400"),
        ("negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".into(), "400"),
        ("length overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".into(), "400"),
        ("chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n".into(), "501"),
        ("gzip then chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(), "501"),
        ("chunked not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".into(), "400"),
        ("unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".into(), "400"),
        ("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), "400"),
        ("obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n".into(), "400"),
        ("blank before colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc".into(), "400"),
        ("NUL in value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n".into(), "400"),
        ("no host", "GET /id HTTP/1.1\r\n\r\n".into(), "400"),
        ("two hosts", "GET /id HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), "400"),
        ("bad version", "GET / HTTP/3.7\r\nHost: a\r\n\r\n".into(), "400"),
        ("no version", "GET /\r\n\r\n".into(), "400"),
        ("garbage", "\u{1}\u{2}\u{3}\r\n\r\n".into(), "400"),
        ("control byte in path", "GET /a\u{1}b HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("too many headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
        ("head too long", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), "431"),
        ("bad chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc".into(), "400"),
        ("signed chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc".into(), "400"),
        ("0x chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n".into(), "400"),
        ("chunk size overflow", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na".into(), "400"),
        ("chunk longer than said", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n".into(), "400"),
    ];
    for (what, request, want) in rows {
        let answer = server.raw(format!("{request}{next}").as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, want, "{what}: {answer}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{what}: {answer}");
    }
}

#[tokio::test]
async fn length_and_chunked_together_never_smuggle() {
    let server = start(|_| {});
    for heads in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{heads}\r\n1\r\nZ\r\n0\r\n\r\nGET /id HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = server.raw(request.as_bytes()).await;
        // RFC 9112 6.1: chunked wins, and the connection ends after the answer.
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nZ"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn truncated_bodies_never_count_as_whole() {
    let server = start(|_| {});
    for request in [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        let mut s = server.connect().await;
        s.write_all(request).await.unwrap();
        s.shutdown().await.unwrap();
        let answer = read_all(&mut s).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    for (request, status, length) in [
        ("HEAD /id", "200", Some("content-length: 32")),
        ("GET /empty", "204", None),
        ("GET /same", "304", None),
        ("HEAD /early", "403", Some("content-length: 2")),
    ] {
        s.write_all(
            format!("{request} HTTP/1.1\r\nHost: a\r\n\r\nGET /id HTTP/1.1\r\nHost: a\r\n\r\n")
                .as_bytes(),
        )
        .await
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(s.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(
            length.is_some_and(|l| head.contains(l)),
            length.is_some(),
            "{head}"
        );
        assert!(
            length.is_some() || !head.contains("content-length"),
            "{head}"
        );
        assert!(
            read_one(&mut s).await.starts_with("HTTP/1.1 200"),
            "the next answer follows at once"
        );
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    let body = vec![b'x'; 8 << 20];
    s.write_all(
        format!(
            "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    )
    .await
    .unwrap();
    s.write_all(&body).await.unwrap();
    s.shutdown().await.unwrap();
    let answer = read_all(&mut s).await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"),
        "{answer}"
    );
    assert!(answer.ends_with("no"), "{answer}");
}

#[tokio::test]
async fn continue_is_sent_only_when_the_body_is_wanted() {
    let server = start(|_| {});
    let head = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut s = server.connect().await;
    s.write_all(head("/early").as_bytes()).await.unwrap();
    assert!(read_one(&mut s).await.starts_with("HTTP/1.1 403"));
    let mut s = server.connect().await;
    s.write_all(head("/").as_bytes()).await.unwrap();
    assert!(read_one(&mut s).await.starts_with("HTTP/1.1 100"));
    s.write_all(b"abc").await.unwrap();
    assert!(read_one(&mut s).await.ends_with("abc"));
}

#[tokio::test]
async fn an_expectation_without_a_body_ends_the_connection() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    s.write_all(
        b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
    )
    .await
    .unwrap();
    let answer = read_all(&mut s).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn slow_heads_idle_connections_and_stuck_readers_are_cut() {
    let server = start(|_| {});
    let s1 = Duration::from_secs(1);
    let mut never = server.connect().await;
    server.settle(|m| m.connections.get() == 1).await;
    let (gone, _) = server.until_closed(&mut never, s1).await;
    assert!((10..=12).contains(&gone.as_secs()), "no head: {gone:?}");

    let mut partial = server.connect().await;
    partial.write_all(b"GET /id HTTP/1.1\r\nHo").await.unwrap();
    let (gone, _) = server.until_closed(&mut partial, s1).await;
    assert!((10..=12).contains(&gone.as_secs()), "half a head: {gone:?}");

    let mut later = server.connect().await;
    later
        .write_all(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_one(&mut later).await;
    later.write_all(b"GET /id HT").await.unwrap();
    let (gone, _) = server.until_closed(&mut later, s1).await;
    assert!(
        (10..=22).contains(&gone.as_secs()),
        "half a later head: {gone:?}"
    );

    let mut idle = server.connect().await;
    idle.write_all(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_one(&mut idle).await;
    let (gone, _) = server.until_closed(&mut idle, s1).await;
    assert!((60..=72).contains(&gone.as_secs()), "idle: {gone:?}");

    let mut stuck = server.connect().await;
    stuck
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    server.settle(|m| m.bytes_out.get() >= 32 << 20).await;
    assert_eq!(server.metrics.connections.get(), 1);
    for _ in 0..200 {
        if server.metrics.connections.get() == 0 {
            break;
        }
        server.clock.advance(s1);
        let pause = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>());
        pause.await.unwrap_err();
    }
    assert_eq!(
        server.metrics.connections.get(),
        0,
        "a reader that takes nothing is cut"
    );
}

#[tokio::test]
async fn a_body_that_stalls_ends_in_408() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    s.write_all(b"POST /notify HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await
        .unwrap();
    server.echo.started.notified().await;
    let (gone, answer) = server.until_closed(&mut s, Duration::from_secs(1)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let limit = BODY_STALL.as_secs();
    assert!(
        (limit..=2 * limit + 4).contains(&gone.as_secs()),
        "{gone:?}"
    );
}

#[tokio::test]
async fn over_the_cap_connections_wait() {
    let server = start(|o| o.connections_max = 1);
    let mut first = server.connect().await;
    first
        .write_all(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_one(&mut first).await;
    let mut second = server.connect().await;
    second
        .write_all(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut buf = [0; 1];
    tokio::time::timeout(Duration::from_millis(50), second.read(&mut buf))
        .await
        .unwrap_err();
    drop(first);
    assert!(read_one(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn draining_lets_requests_finish_and_closes_idle_connections() {
    let server = start(|_| {});
    let mut idle = server.connect().await;
    idle.write_all(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_one(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    server.echo.started.notified().await;
    server.stop.cancel();
    assert_eq!(read_all(&mut idle).await, "");
    server.echo.release.add_permits(1);
    assert!(read_all(&mut busy).await.ends_with("waited"));
    server.done.await.unwrap();
}

#[tokio::test]
async fn draining_cuts_what_does_not_finish() {
    let server = start(|_| {});
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    server.echo.started.notified().await;
    server.stop.cancel();
    let (gone, answer) = server.until_closed(&mut busy, Duration::from_secs(1)).await;
    assert!(
        (8..=9).contains(&gone.as_secs()) && answer.is_empty(),
        "{gone:?} {answer}"
    );
    server.done.await.unwrap();
}

/// The time of the test certificate.
#[derive(Debug)]
struct CertificateTime;

impl rustls::time_provider::TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            Duration::from_secs(2_000_000_000),
        ))
    }
}

fn client(alpn: &[u8]) -> tokio_rustls::TlsConnector {
    let pem = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/localhost.crt"
    ))
    .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for cert in rustls_pemfile::certs(&mut pem.as_slice()) {
        roots.add(cert.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config =
        rustls::ClientConfig::builder_with_details(provider, Arc::new(CertificateTime))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn tls_speaks_both_versions_and_plain_text_is_turned_away() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("c"), dir.path().join("k"));
    std::fs::copy(data.join("localhost.crt"), &cert).unwrap();
    std::fs::copy(data.join("localhost.key"), &key).unwrap();
    let disk = crate::RealDisk;
    let certificate = crate::tls::Certificate::load(&disk, &cert, &key).unwrap();
    let config = certificate.server_config().unwrap();
    let server = start(|o| o.tls = Some(config));
    let name = || rustls::pki_types::ServerName::try_from("localhost").unwrap();
    for round in 0..2 {
        let plain = server.connect().await;
        let mut s = client(b"http/1.1").connect(name(), plain).await.unwrap();
        s.write_all(b"GET /id HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let s = client(b"h2")
            .connect(name(), server.connect().await)
            .await
            .unwrap();
        assert_eq!(s.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let exec = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(s);
        let (mut send, conn) =
            hyper::client::conn::http2::handshake::<_, _, http_body_util::Full<Bytes>>(exec, io)
                .await
                .unwrap();
        let driver = tokio::spawn(conn);
        let req = http::Request::builder()
            .uri("https://localhost/id")
            .body(http_body_util::Full::default())
            .unwrap();
        assert_eq!(send.send_request(req).await.unwrap().status(), 200);
        driver.abort();
        if round == 0 {
            std::fs::remove_file(&key).unwrap();
            assert!(certificate.reload(&disk).is_err(), "the old pair stays");
        }
    }
    let answer = server.raw(b"GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    std::fs::copy(data.join("localhost.crt"), &key).unwrap();
    let e = certificate.reload(&disk).unwrap_err().to_string();
    assert!(e.contains("holds no PEM private key"), "{e}");
}
