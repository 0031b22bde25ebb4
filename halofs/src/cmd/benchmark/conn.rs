//! A keep-alive HTTP/1.1 connection that costs little: one buffer each way, no parsing beyond what is needed.

use std::io;

use tokio_rustls::TlsConnector;

use super::stream::Stream;

/// One write for head and body up to this many bytes.
const JOIN: usize = 128 << 10;
const READ: usize = 256 << 10;
const HEAD_MAX: usize = 64 << 10;

/// A connection and what was read ahead on it.
pub(super) struct Conn {
    stream: Stream,
    out: Vec<u8>,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    /// Requests answered on it.
    pub(super) served: u64,
}

/// A body that is made while it is sent: `len` bytes of the block over and over, each copy beginning with the stamp.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) block: &'a [u8],
    pub(super) stamp: u64,
    pub(super) len: u64,
}

/// An answer, its body counted or kept.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body_len: u64,
    /// The first eight bytes of the body.
    pub(super) stamp: Option<u64>,
    pub(super) etag: Option<String>,
    /// The server closes the connection.
    pub(super) close: bool,
}

struct Head {
    answer: Answer,
    length: Option<u64>,
    chunked: bool,
}

/// Where the bytes of an answer's body go.
struct Sink<'a> {
    answer: Answer,
    first: [u8; 8],
    keep: Option<&'a mut Vec<u8>>,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Conn {
    pub(super) async fn connect(addr: &str, tls: Option<&TlsConnector>) -> io::Result<Self> {
        let stream = Stream::connect(addr, tls).await?;
        let buf = vec![0; READ].into_boxed_slice();
        Ok(Self {
            stream,
            out: Vec::new(),
            buf,
            start: 0,
            end: 0,
            served: 0,
        })
    }

    /// Sends a request and reads its answer; the body goes to `keep`, if given.
    pub(super) async fn exchange(
        &mut self,
        head: &[u8],
        body: Option<Body<'_>>,
        is_head: bool,
        keep: Option<&mut Vec<u8>>,
    ) -> io::Result<Answer> {
        self.send(head, body).await?;
        let answer = self.receive(is_head, keep).await?;
        self.served += 1;
        Ok(answer)
    }

    async fn send(&mut self, head: &[u8], body: Option<Body<'_>>) -> io::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(head);
        if let Some(body) = body {
            let mut left = body.len;
            while left > 0 {
                let n = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(body.block.len());
                let stamp = body.stamp.to_le_bytes();
                let skip = n.min(stamp.len());
                self.out.extend_from_slice(&stamp[..skip]);
                if self.out.len() + n <= JOIN {
                    self.out.extend_from_slice(&body.block[skip..n]);
                } else {
                    self.stream.write_all(&self.out).await?;
                    self.out.clear();
                    self.stream.write_all(&body.block[skip..n]).await?;
                }
                left -= n as u64;
            }
        }
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
        }
        self.stream.flush().await
    }

    /// Reads more; false at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.buf.len() {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = self.stream.read(&mut self.buf[self.end..]).await?;
        self.end += n;
        Ok(n > 0)
    }

    async fn head(&mut self) -> io::Result<Head> {
        let mut seen = 0;
        loop {
            let have = &self.buf[self.start..self.end];
            let from = seen.min(have.len());
            if let Some(at) = have[from..].windows(4).position(|w| w == b"\r\n\r\n") {
                let len = from + at + 4;
                let head = parse_head(&have[..len])?;
                self.start += len;
                return Ok(head);
            }
            if have.len() > HEAD_MAX {
                return Err(bad("the answer's head is too large"));
            }
            seen = have.len().saturating_sub(3);
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn receive(&mut self, is_head: bool, keep: Option<&mut Vec<u8>>) -> io::Result<Answer> {
        let mut head = self.head().await?;
        while head.answer.status / 100 == 1 {
            head = self.head().await?;
        }
        let empty = is_head || head.answer.status == 204 || head.answer.status == 304;
        let mut sink = Sink {
            answer: head.answer,
            first: [0; 8],
            keep,
        };
        if empty {
            return Ok(sink.answer);
        }
        if head.chunked {
            self.chunked(&mut sink).await?;
        } else if let Some(n) = head.length {
            self.counted(n, &mut sink).await?;
        } else {
            sink.answer.close = true;
            while self.start < self.end || self.fill().await? {
                let n = self.end - self.start;
                self.take(n, &mut sink);
            }
        }
        Ok(sink.answer)
    }

    async fn chunked(&mut self, sink: &mut Sink<'_>) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let digits = line.split(|b| *b == b';').next().unwrap_or_default();
            let text = std::str::from_utf8(digits).map_err(|_| bad("chunk size"))?;
            let n = u64::from_str_radix(text.trim(), 16).map_err(|_| bad("chunk size"))?;
            if n == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.counted(n, sink).await?;
            self.line().await?;
        }
    }

    async fn counted(&mut self, len: u64, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            if self.start == self.end && !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let n = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.end - self.start);
            self.take(n, sink);
            left -= n as u64;
        }
        Ok(())
    }

    fn take(&mut self, n: usize, sink: &mut Sink<'_>) {
        sink.push(&self.buf[self.start..self.start + n]);
        self.start += n;
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            while self.start < self.end {
                let b = self.buf[self.start];
                self.start += 1;
                if b == b'\n' {
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    return Ok(line);
                }
                line.push(b);
            }
            if line.len() > HEAD_MAX || !self.fill().await? {
                return Err(bad("a line of the chunked body"));
            }
        }
    }
}

impl Sink<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let at = usize::try_from(self.answer.body_len).unwrap_or(usize::MAX);
        if at < 8 {
            for (to, from) in self.first[at..].iter_mut().zip(bytes) {
                *to = *from;
            }
            if at + bytes.len() >= 8 {
                self.answer.stamp = Some(u64::from_le_bytes(self.first));
            }
        }
        self.answer.body_len += bytes.len() as u64;
        if let Some(keep) = &mut self.keep {
            keep.extend_from_slice(bytes);
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<Head> {
    let mut lines = head.split(|b| *b == b'\n');
    let first = lines.next().unwrap_or_default();
    let status = first
        .get(9..12)
        .and_then(|s| std::str::from_utf8(s).ok())
        .and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| bad("the answer's first line"))?;
    let answer = Answer {
        status,
        close: first.starts_with(b"HTTP/1.0"),
        ..Answer::default()
    };
    let mut out = Head {
        answer,
        length: None,
        chunked: false,
    };
    for line in lines {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        let name = &line[..colon];
        if name.eq_ignore_ascii_case(b"content-length") {
            out.length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            out.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            out.answer.close |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"etag") {
            out.answer.etag = Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn answer_of(bytes: &'static [u8], keep: &mut Vec<u8>) -> io::Result<Answer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut s, _) = listener.accept().await.unwrap();
            let mut buf = [0; 1024];
            let n = s.read(&mut buf).await.unwrap();
            // In small pieces, so that every boundary is crossed.
            for piece in bytes.chunks(7) {
                s.write_all(piece).await.unwrap();
                s.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            n
        });
        let mut conn = Conn::connect(&addr, None).await.unwrap();
        let answer = conn
            .exchange(b"GET / HTTP/1.1\r\n\r\n", None, false, Some(keep))
            .await;
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn counted_and_chunked_bodies() {
        let mut body = Vec::new();
        let a = answer_of(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n0123456789",
            &mut body,
        );
        let a = a.await.unwrap();
        assert_eq!(
            (a.status, a.body_len, a.etag.as_deref()),
            (200, 10, Some("\"x\""))
        );
        assert_eq!(a.stamp, Some(u64::from_le_bytes(*b"01234567")));
        assert_eq!(body, b"0123456789");
        body.clear();
        let a = answer_of(
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            &mut body,
        );
        assert_eq!(
            (a.await.unwrap().status, body.as_slice()),
            (404, b"abc0123456789".as_slice())
        );
    }

    #[tokio::test]
    async fn a_cut_body_is_an_error() {
        let e = answer_of(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
            &mut Vec::new(),
        )
        .await
        .unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
    }
}
