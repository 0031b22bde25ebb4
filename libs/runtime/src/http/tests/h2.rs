//! HTTP/2 over plain sockets.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::conn::LINGER;
use super::start;

#[tokio::test]
async fn h2_by_prior_knowledge_on_a_plain_port() {
    let server = start(|_| {});
    let io = hyper_util::rt::TokioIo::new(server.connect().await);
    let exec = hyper_util::rt::TokioExecutor::new();
    let (mut send, conn) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Full<Bytes>>(exec, io)
            .await
            .unwrap();
    let driver = tokio::spawn(conn);
    for (method, path, want) in [
        ("POST", "/", "abc"),
        ("HEAD", "/id", ""),
        ("GET", "/empty", ""),
    ] {
        let req = http::Request::builder()
            .method(method)
            .uri(format!("http://a{path}"))
            .body(http_body_util::Full::from("abc"))
            .unwrap();
        let answer = send.send_request(req).await.unwrap();
        assert!(answer.headers().contains_key("x-amz-request-id"));
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body, want);
    }
    drop(send);
    server.stop.cancel();
    server.done.await.unwrap();
    driver.abort();
}

/// Frame types, flags and codes of RFC 9113 that the test below reads or writes.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![len[1], len[2], len[3], kind, flags, 0, 0, 0, stream];
    out.extend_from_slice(payload);
    out
}

/// The next frame's kind, flags and payload.
async fn next(s: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    s.read_exact(&mut head).await.unwrap();
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    s.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], payload)
}

/// Reads up to the frame that is wanted; a reset of the stream before it fails the test.
async fn until(s: &mut TcpStream, kind: u8, flags: u8) {
    loop {
        let (k, f, _) = next(s).await;
        if k == kind && f & flags == flags {
            return;
        }
        assert_ne!(k, RST_STREAM, "the stream is reset before its time");
    }
}

#[tokio::test]
async fn an_early_answer_comes_well_before_the_reset_of_its_stream() {
    let server = start(|_| {});
    let mut s = server.connect().await;
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "PUT"),
        (":scheme", "http"),
        (":path", "/early"),
        (":authority", "a"),
    ] {
        // A literal without indexing: a zero, then both strings with their lengths.
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend_from_slice(text.as_bytes());
        }
    }
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, b""));
    sent.extend(frame(HEADERS, END_HEADERS, 1, &head));
    s.write_all(&sent).await.unwrap();
    until(&mut s, HEADERS, 0).await;
    until(&mut s, DATA, END_STREAM).await;
    // What the client still sends is taken.
    for _ in 0..4 {
        s.write_all(&frame(DATA, 0, 1, &[0; 16_000])).await.unwrap();
    }
    s.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
    until(&mut s, PING, ACK).await;
    // Not for ever.
    server.clock.advance(LINGER);
    let code = loop {
        if let (RST_STREAM, _, code) = next(&mut s).await {
            break code;
        }
    };
    assert_eq!(code, [0; 4], "NO_ERROR: the answer stands");
    server.stop.cancel();
    drop(s);
    tokio::time::timeout(Duration::from_secs(20), server.done)
        .await
        .expect("nothing lingers")
        .unwrap();
}
