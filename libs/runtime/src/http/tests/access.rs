//! The log line of a request.

use super::start;
use crate::telemetry::sink::Sink;

/// The server runs on the test's own thread, so that its lines come here.
#[tokio::test(flavor = "current_thread")]
async fn a_line_names_the_caller_and_no_secret() {
    let sink = Sink::default();
    let out = sink.clone();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || out.clone())
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let server = start(|_| {});
    let mut stream = server.connect().await;
    for head in [
        "GET /who?X-Amz-Signature=5ec7e7&a=b HTTP/1.1\r\nHost: a\r\nAuthorization: AWS4-HMAC-SHA256 Signature=5ec7e7\r\n\r\n",
        "GET /id HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
            .await
            .unwrap();
    }
    let mut answers = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answers)
        .await
        .unwrap();
    server.stop.cancel();
    server.done.await.unwrap();
    let text = String::from_utf8(sink.0.lock().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| l.contains(" access: ")).collect();
    let [first, second] = lines[..] else {
        panic!("{text}")
    };
    assert!(
        first.contains(" path=/who?X-Amz-Signature=...&a=b status=403 "),
        "{first}"
    );
    assert!(first.contains(" caller=AKEXAMPLE "), "{first}");
    assert!(second.contains(" caller=- "), "{second}");
    assert!(!text.contains("5ec7e7"), "{text}");
}
