//! The two kinds of server that are measured, as requests on one worker's connections.

use std::collections::HashMap;
use std::io;

use tokio_rustls::TlsConnector;

use super::conn::{Answer, Body, Conn};
use super::sign::{Credentials, Signer, encode};

/// Where requests go.
#[derive(Clone)]
pub(super) enum Target {
    /// An S3 endpoint, `host:port`, and a bucket.
    S3 {
        host: String,
        bucket: String,
        credentials: Credentials,
        tls: Option<TlsConnector>,
    },
    /// A main server, `host:port`.
    Native { main: String, collection: String },
}

/// How a needle or object is named for reading.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// Address of the server.
    pub(super) host: String,
    /// Path of the URL.
    pub(super) path: String,
}

/// One worker's connections and buffers.
pub(super) struct Session {
    target: Target,
    signer: Option<Signer>,
    conns: HashMap<String, Conn>,
    head: Vec<u8>,
    block: Vec<u8>,
}

/// Why a request counts as an error.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self(format!("connection: {e}"))
    }
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) keys: usize,
    pub(super) prefixes: usize,
    pub(super) next: Option<String>,
}

fn unexpected(what: &str, answer: &Answer, body: &[u8]) -> Failure {
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    Failure(format!("{what}: status {} {text}", answer.status))
}

impl Target {
    fn tls(&self) -> Option<&TlsConnector> {
        match self {
            Self::S3 { tls, .. } => tls.as_ref(),
            Self::Native { .. } => None,
        }
    }
}

impl Session {
    pub(super) fn new(target: Target, block: Vec<u8>) -> Self {
        let signer = match &target {
            Target::S3 {
                host, credentials, ..
            } => Some(Signer::new(credentials.clone(), host.clone())),
            Target::Native { .. } => None,
        };
        Self {
            target,
            signer,
            conns: HashMap::new(),
            head: Vec::new(),
            block,
        }
    }

    /// Sends the request whose head is in `self.head`. A kept connection that the server has closed is opened anew,
    /// once; then the request cannot have been answered.
    async fn exchange(
        &mut self,
        host: &str,
        stamp_len: Option<(u64, u64)>,
        is_head: bool,
        mut keep: Option<&mut Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let body = stamp_len.map(|(stamp, len)| Body {
            block: &self.block,
            stamp,
            len,
        });
        let mut kept = self.conns.remove(host);
        loop {
            let (mut conn, fresh) = match kept.take() {
                Some(c) => (c, false),
                None => (Conn::connect(host, self.target.tls()).await?, true),
            };
            match conn
                .exchange(&self.head, body, is_head, keep.as_deref_mut())
                .await
            {
                Ok(answer) => {
                    if !answer.close {
                        self.conns.insert(host.to_owned(), conn);
                    }
                    return Ok(answer);
                }
                Err(e) if fresh => return Err(e.into()),
                Err(_) => {}
            }
        }
    }

    async fn s3(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        stamp_len: Option<(u64, u64)>,
        now: u64,
        keep: Option<&mut Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let Target::S3 { host, .. } = &self.target else {
            return Err(Failure("this operation needs -api=s3".to_owned()));
        };
        let host = host.clone();
        let signer = self.signer.as_mut().expect("an S3 session has a signer");
        let length = stamp_len
            .map(|(_, len)| len)
            .or(if method == "POST" || method == "PUT" {
                Some(0)
            } else {
                None
            });
        signer.head(&mut self.head, (method, path, query), length, now);
        self.exchange(&host, stamp_len, method == "HEAD", keep)
            .await
    }

    fn bucket(&self) -> &str {
        match &self.target {
            Target::S3 { bucket, .. } => bucket,
            Target::Native { .. } => "",
        }
    }

    /// Creates the bucket unless it is there.
    pub(super) async fn create_bucket(&mut self, now: u64) -> Result<(), Failure> {
        let path = format!("/{}", self.bucket());
        let mut body = Vec::new();
        let answer = self
            .s3("PUT", &path, "", None, now, Some(&mut body))
            .await?;
        if answer.status == 200 || answer.status == 409 {
            Ok(())
        } else {
            Err(unexpected("create bucket", &answer, &body))
        }
    }

    /// Stores an object of `len` bytes under a key, or a needle under a new fid.
    pub(super) async fn put(
        &mut self,
        key: &str,
        stamp: u64,
        len: u64,
        now: u64,
    ) -> Result<Name, Failure> {
        match &self.target {
            Target::S3 { host, bucket, .. } => {
                let name = Name {
                    host: host.clone(),
                    path: format!("/{bucket}/{key}"),
                };
                let mut body = Vec::new();
                let answer = self
                    .s3(
                        "PUT",
                        &name.path,
                        "",
                        Some((stamp, len)),
                        now,
                        Some(&mut body),
                    )
                    .await?;
                if answer.status == 200 {
                    Ok(name)
                } else {
                    Err(unexpected("put", &answer, &body))
                }
            }
            Target::Native { main, collection } => {
                let main = main.clone();
                let name = self.assign(&main, &collection.clone()).await?;
                self.plain_head("PUT", &name, Some(len));
                let mut body = Vec::new();
                let answer = self
                    .exchange(&name.host, Some((stamp, len)), false, Some(&mut body))
                    .await?;
                if answer.status / 100 == 2 {
                    Ok(name)
                } else {
                    Err(unexpected("upload", &answer, &body))
                }
            }
        }
    }

    fn plain_head(&mut self, method: &str, name: &Name, length: Option<u64>) {
        self.head.clear();
        for piece in [
            method,
            " ",
            &name.path,
            " HTTP/1.1\r\nHost: ",
            &name.host,
            "\r\n",
        ] {
            self.head.extend_from_slice(piece.as_bytes());
        }
        if let Some(n) = length {
            self.head
                .extend_from_slice(format!("Content-Length: {n}\r\n").as_bytes());
        }
        self.head.extend_from_slice(b"\r\n");
    }

    async fn assign(&mut self, main: &str, collection: &str) -> Result<Name, Failure> {
        let path = if collection.is_empty() {
            "/dir/assign".to_owned()
        } else {
            format!("/dir/assign?collection={}", encode(collection))
        };
        self.plain_head(
            "GET",
            &Name {
                host: main.to_owned(),
                path,
            },
            None,
        );
        let mut body = Vec::with_capacity(256);
        let answer = self.exchange(main, None, false, Some(&mut body)).await?;
        let text = std::str::from_utf8(&body).unwrap_or_default();
        match (json_text(text, "fid"), json_text(text, "url")) {
            (Some(fid), Some(url)) if answer.status == 200 => Ok(Name {
                host: url.to_owned(),
                path: format!("/{fid}"),
            }),
            _ => Err(unexpected("assign", &answer, &body)),
        }
    }

    /// Reads all of an object or needle and checks that it is what was stored.
    pub(super) async fn get(
        &mut self,
        name: &Name,
        stamp: u64,
        len: u64,
        now: u64,
    ) -> Result<(), Failure> {
        let answer = if self.signer.is_some() {
            self.s3("GET", &name.path, "", None, now, None).await?
        } else {
            self.plain_head("GET", name, None);
            self.exchange(&name.host, None, false, None).await?
        };
        if answer.status != 200 {
            return Err(unexpected("get", &answer, b""));
        }
        if answer.body_len != len {
            return Err(Failure(format!(
                "get: {} bytes instead of {len}",
                answer.body_len
            )));
        }
        if len >= 8 && answer.stamp != Some(stamp) {
            return Err(Failure("get: the bytes of another object".to_owned()));
        }
        Ok(())
    }

    /// Removes an object or needle.
    pub(super) async fn delete(&mut self, name: &Name, now: u64) -> Result<(), Failure> {
        let mut body = Vec::new();
        let answer = if self.signer.is_some() {
            self.s3("DELETE", &name.path, "", None, now, Some(&mut body))
                .await?
        } else {
            self.plain_head("DELETE", name, None);
            self.exchange(&name.host, None, false, Some(&mut body))
                .await?
        };
        if answer.status / 100 == 2 {
            Ok(())
        } else {
            Err(unexpected("delete", &answer, &body))
        }
    }

    /// One page of ListObjectsV2.
    pub(super) async fn list(
        &mut self,
        prefix: &str,
        delimiter: &str,
        token: Option<&str>,
        now: u64,
    ) -> Result<Page, Failure> {
        let mut parts = vec![
            "list-type=2".to_owned(),
            "max-keys=1000".to_owned(),
            format!("prefix={}", encode(prefix)),
        ];
        parts.extend(token.map(|t| format!("continuation-token={}", encode(t))));
        parts.extend((!delimiter.is_empty()).then(|| format!("delimiter={}", encode(delimiter))));
        parts.sort();
        let query = parts.join("&");
        let path = format!("/{}", self.bucket());
        let mut body = Vec::new();
        let answer = self
            .s3("GET", &path, &query, None, now, Some(&mut body))
            .await?;
        if answer.status != 200 {
            return Err(unexpected("list", &answer, &body));
        }
        let text = String::from_utf8_lossy(&body);
        let more = text.contains("<IsTruncated>true</IsTruncated>");
        Ok(Page {
            keys: text.matches("<Key>").count(),
            prefixes: text.matches("<CommonPrefixes>").count(),
            next: if more {
                between(&text, "<NextContinuationToken>", "</NextContinuationToken>")
            } else {
                None
            },
        })
    }

    /// Begins a multipart upload of a key; its id.
    pub(super) async fn create_upload(&mut self, key: &str, now: u64) -> Result<String, Failure> {
        let path = format!("/{}/{key}", self.bucket());
        let mut body = Vec::new();
        let answer = self
            .s3("POST", &path, "uploads=", None, now, Some(&mut body))
            .await?;
        let id = between(&String::from_utf8_lossy(&body), "<UploadId>", "</UploadId>");
        id.filter(|_| answer.status == 200)
            .ok_or_else(|| unexpected("create upload", &answer, &body))
    }

    /// Uploads a part; its ETag.
    pub(super) async fn part(
        &mut self,
        key: &str,
        upload: &str,
        number: u64,
        len: u64,
        now: u64,
    ) -> Result<String, Failure> {
        let path = format!("/{}/{key}", self.bucket());
        let query = format!("partNumber={number}&uploadId={}", encode(upload));
        let mut body = Vec::new();
        let answer = self
            .s3(
                "PUT",
                &path,
                &query,
                Some((number, len)),
                now,
                Some(&mut body),
            )
            .await?;
        let etag = answer.etag.clone().filter(|_| answer.status == 200);
        etag.ok_or_else(|| unexpected("part", &answer, &body))
    }

    /// Completes a multipart upload of the parts with these ETags, numbered from 1.
    pub(super) async fn complete(
        &mut self,
        key: &str,
        upload: &str,
        etags: &[String],
        now: u64,
    ) -> Result<(), Failure> {
        let part = |(n, etag): (usize, &String)| {
            let (number, quoted) = (n + 1, etag.replace('"', "&quot;"));
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{quoted}</ETag></Part>")
        };
        let parts: String = etags.iter().enumerate().map(part).collect();
        let xml = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let path = format!("/{}/{key}", self.bucket());
        let query = format!("uploadId={}", encode(upload));
        // The body is sent as it is: the first eight bytes are its own stamp.
        let len = xml.len() as u64;
        let first = xml
            .as_bytes()
            .first_chunk::<8>()
            .expect("the document begins with its tag");
        let stamp = u64::from_le_bytes(*first);
        let block = std::mem::replace(&mut self.block, xml.into_bytes());
        let mut body = Vec::new();
        let answer = self
            .s3(
                "POST",
                &path,
                &query,
                Some((stamp, len)),
                now,
                Some(&mut body),
            )
            .await;
        self.block = block;
        let answer = answer?;
        let text = String::from_utf8_lossy(&body);
        if answer.status == 200 && !text.contains("<Error>") {
            Ok(())
        } else {
            Err(unexpected("complete", &answer, &body))
        }
    }
}

/// The value of a text field in a flat JSON object whose values need no unescaping.
fn json_text<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = json;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].ends_with('"');
        rest = &rest[at + name.len()..];
        if before && let Some(after) = rest.strip_prefix('"') {
            let value = after
                .trim_start()
                .strip_prefix(':')?
                .trim_start()
                .strip_prefix('"')?;
            return value.split('"').next();
        }
    }
    None
}

fn between(text: &str, open: &str, close: &str) -> Option<String> {
    let from = text.find(open)? + open.len();
    let len = text[from..].find(close)?;
    let raw = &text[from..from + len];
    Some(
        raw.replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_picked_apart() {
        let json = r#"{"count":1,"fid":"3,01637037d6","publicUrl":"a:1","url": "127.0.0.1:8080"}"#;
        assert_eq!(json_text(json, "fid"), Some("3,01637037d6"));
        assert_eq!(json_text(json, "url"), Some("127.0.0.1:8080"));
        assert_eq!(json_text(json, "error"), None);
        assert_eq!(
            between("<A>x&amp;y</A>", "<A>", "</A>").as_deref(),
            Some("x&y")
        );
    }
}
