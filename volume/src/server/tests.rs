//! The native port over real sockets, with a volume that lives in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use halofs_runtime::admission::Admission;
use halofs_runtime::http::{Handler, ServeOptions, bind, serve};
use halofs_runtime::metrics::{PortMetrics, Registry};
use halofs_runtime::{OsRng, RealClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{NativeConfig, NativeVolume};

mod bad;
mod fake;
mod reads;
mod writes;

use fake::Fake;

/// Files of the test server are at most this large.
const LIMIT: u64 = 3 << 20;

struct Server {
    addr: SocketAddr,
    fake: Arc<Fake>,
    admission: Admission,
    stopping: CancellationToken,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn start() -> Server {
    start_with(|_| {}, Admission::new(64 << 20, Duration::from_millis(50)))
}

fn start_with(change: impl FnOnce(&mut NativeConfig), admission: Admission) -> Server {
    let fake = Arc::new(Fake::default());
    let mut config = NativeConfig {
        file_bytes_max: LIMIT,
        dir: "/data".into(),
        read_only: false,
    };
    change(&mut config);
    let registry = Registry::new();
    let metrics = PortMetrics::new("volumeServer");
    registry.register(metrics.clone());
    let stopping = CancellationToken::new();
    let native = NativeVolume::new(
        fake.clone(),
        config,
        admission.clone(),
        registry,
        stopping.clone(),
    );
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let options = ServeOptions::new(metrics, Arc::new(RealClock), Arc::new(OsRng));
    let handler: Arc<dyn Handler> = Arc::new(native);
    tokio::spawn(serve(vec![listener], handler, options, stop.clone()));
    Server {
        addr,
        fake,
        admission,
        stopping,
        stop,
    }
}

impl Server {
    /// Sends bytes as they are and reads one answer until the server closes. `cut` closes our side after sending.
    async fn raw(&self, request: &[u8], cut: bool) -> Answer {
        let mut s = TcpStream::connect(self.addr).await.unwrap();
        // The server may answer and close before it has read everything.
        let _sent = s.write_all(request).await;
        if cut {
            let _half = s.shutdown().await;
        }
        let mut all = Vec::new();
        let limit = Duration::from_secs(30);
        let _end = tokio::time::timeout(limit, s.read_to_end(&mut all))
            .await
            .expect("the server closes");
        parse(&all)
    }

    /// `headers` are whole lines without their ends.
    async fn call(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for line in headers {
            request.push_str(line);
            request.push_str("\r\n");
        }
        let chunked = headers
            .iter()
            .any(|h| h.to_ascii_lowercase().starts_with("transfer-encoding"));
        let bodiless = body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS");
        if !chunked && !bodiless {
            request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.raw(&bytes, false).await
    }

    async fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.call("GET", path, headers, b"").await
    }

    async fn put(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.call("PUT", path, headers, body).await
    }
}

fn parse(all: &[u8]) -> Answer {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(all)));
    let head = std::str::from_utf8(&all[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|l| {
            l.split_once(": ")
                .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
        })
        .collect();
    Answer {
        status,
        headers,
        body: all[end + 4..].to_vec(),
    }
}

/// A body in chunks of `n` bytes.
fn chunked(body: &[u8], n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(n) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// Bytes that do not compress and do not repeat.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}
