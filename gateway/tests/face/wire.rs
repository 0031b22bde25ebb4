//! The face behind a real socket.

use std::fmt::Write as _;
use std::sync::Arc;

use halofs_runtime::RealClock;
use halofs_runtime::http::{ServeOptions, bind, serve};
use halofs_runtime::metrics::PortMetrics;
use halofs_runtime::rng::SeededRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::sign::Call;
use super::world::World;

struct Port {
    addr: std::net::SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn listen(w: &World) -> Port {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let metrics = PortMetrics::new("s3");
    let options = ServeOptions::new(metrics, Arc::new(RealClock), Arc::new(SeededRng::new(3)));
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(
        vec![listener],
        Arc::new(w.gateway.handler()),
        options,
        stop.clone(),
    ));
    Port { addr, stop, task }
}

impl Port {
    /// Sends the head of a call, and nothing of its body; what comes back until the connection closes.
    async fn head_only(&self, call: &Call) -> String {
        let mut s = TcpStream::connect(self.addr).await.unwrap();
        let query = if call.query.is_empty() {
            String::new()
        } else {
            format!("?{}", call.query)
        };
        let mut head = format!("{} {}{query} HTTP/1.1\r\n", call.method, call.path);
        for (n, v) in &call.headers {
            write!(head, "{n}: {v}\r\n").unwrap();
        }
        head.push_str("connection: close\r\n\r\n");
        s.write_all(head.as_bytes()).await.unwrap();
        let mut out = Vec::new();
        s.read_to_end(&mut out).await.unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[tokio::test]
async fn early_errors_never_ask_for_the_body() {
    let w = World::new();
    w.bucket("bkt").await;
    let port = listen(&w);
    let put = |target: &str| {
        Call::new("PUT", target)
            .header("expect", "100-continue")
            .header("content-length", "1000000")
    };
    let hash = "UNSIGNED-PAYLOAD";
    let cases = [
        (put("/bkt/k"), "403", "AccessDenied"),
        (
            put("/bkt/k").sign_as("ADMIN", "guess", hash, "r/s3"),
            "403",
            "SignatureDoesNotMatch",
        ),
        (
            put("/bkt/k").sign_as("READER", "reader-secret", hash, "r/s3"),
            "403",
            "AccessDenied",
        ),
        (
            put("/nobucket/k").sign_as("ADMIN", "admin-secret", hash, "r/s3"),
            "404",
            "NoSuchBucket",
        ),
        (
            put("/bkt?frob").sign_as("ADMIN", "admin-secret", hash, "r/s3"),
            "501",
            "NotImplemented",
        ),
        (
            put("/bkt/k")
                .header("x-amz-storage-class", "GLACIER")
                .sign_as("ADMIN", "admin-secret", hash, "r/s3"),
            "400",
            "InvalidStorageClass",
        ),
    ];
    for (call, status, code) in cases {
        let got = port.head_only(&call).await;
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{code}: {got}"
        );
        assert!(
            got.contains(&format!("<Code>{code}</Code>")) && !got.contains("100 Continue"),
            "{got}"
        );
        assert_eq!(got.matches("x-amz-request-id").count(), 1, "{got}");
        let id = got
            .split("x-amz-request-id: ")
            .nth(1)
            .and_then(|t| t.split("\r\n").next())
            .unwrap();
        assert!(
            id.len() == 32 && got.contains(&format!("<RequestId>{id}</RequestId>")),
            "{got}"
        );
    }
    port.stop.cancel();
    port.task.await.unwrap();
}

#[tokio::test]
async fn heads_and_deletes_have_no_body_on_the_wire() {
    let w = World::new();
    w.bucket("bkt").await;
    let port = listen(&w);
    for (method, target, status) in [
        ("HEAD", "/nobucket", "404"),
        ("HEAD", "/bkt", "200"),
        ("HEAD", "/", "405"),
        ("DELETE", "/bkt/none", "204"),
    ] {
        let got = port
            .head_only(&Call::new(method, target).sign("ADMIN", "admin-secret"))
            .await;
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {target}: {got}"
        );
        assert!(got.ends_with("\r\n\r\n"), "{method} {target}: {got}");
    }
    port.stop.cancel();
    port.task.await.unwrap();
}
