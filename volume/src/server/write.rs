//! PUT and POST: a body becomes a needle.
//!
//! Order: query and headers → admission → body → inflate → MD5 → [`VolumeApi::put_needle`](halofs_client::volume::VolumeApi).
//! A body is never form-parsed for parameters: those come from the query alone.

use std::collections::VecDeque;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{NeedleName, PutNeedle, Stored};
use halofs_runtime::admission::Admission;
use halofs_runtime::http::{
    CollectError, HttpRequest, HttpResponse, admission_step, collect, empty,
};
use halofs_types::Timestamp;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, Response, StatusCode};
use md5::{Digest, Md5};
use serde::Serialize;

use super::NativeVolume;
use super::form::{self, Upload};
use super::name;
use super::path::{Query, Target};
use super::reply::{self, Op, Refusal};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Bodies over this are hashed and inflated on a thread that may block.
const INLINE_BYTES: u64 = 256 << 10;
/// Bytes inflated at a time.
const INFLATE_STEP: usize = 1 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Uploaded {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    size: u64,
    e_tag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_md5: Option<String>,
}

/// What query and headers say about an upload.
struct Wishes {
    modified: Option<Timestamp>,
    manifest: bool,
    pairs: Vec<(String, String)>,
    pretty: bool,
}

impl Wishes {
    fn parse(query: &Query, headers: &HeaderMap) -> Result<Self, Refusal> {
        if query.get("ttl").is_some_and(|t| !matches!(t, "" | "0")) {
            let reason = "ttl is not built yet; upload without it";
            return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, reason));
        }
        let modified = match query.get("ts").filter(|t| !t.is_empty()) {
            None => None,
            Some(t) => match t.parse::<u64>() {
                // The last second of the year 9999: later ones have no HTTP date.
                Ok(secs) if secs <= 253_402_300_799 => Some(Timestamp::from_secs(secs)),
                _ => return Err(Refusal::bad("ts is not a time in Unix seconds")),
            },
        };
        Ok(Self {
            modified,
            manifest: query.on("cm"),
            pairs: name::pairs(headers)?,
            pretty: query.has("pretty"),
        })
    }
}

impl NativeVolume {
    pub(super) async fn write(
        &self,
        req: HttpRequest,
        target: Target,
        query: &Query,
    ) -> Result<HttpResponse, Refusal> {
        let wishes = Wishes::parse(query, req.headers())?;
        let mut upload = self.receive(req).await?;
        let limit = self.config.file_bytes_max;
        match upload
            .encoding
            .as_deref()
            .map(|e| e.trim().to_ascii_lowercase())
            .as_deref()
        {
            None | Some("" | "identity") => {}
            Some("gzip" | "x-gzip") => upload = inflate(upload, limit, &self.admission).await?,
            Some(other) => {
                let reason = format!(
                    "Content-Encoding {other:?} is not understood; send gzip or the plain bytes"
                );
                return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
            }
        }
        let md5 = match upload.md5.take() {
            Some(sent) => Some(check_md5(&sent, &upload).await?),
            None => None,
        };
        if wishes.manifest {
            check_manifest(&upload)?;
        }
        let Described {
            name,
            shown,
            mime,
            compress,
        } = describe(&upload, &target, wishes.pairs, wishes.modified);
        let put = PutNeedle {
            fid: target.fid,
            body: upload.pieces.into_iter().collect::<Pieces>(),
            owner: None,
            name,
            compress,
            manifest: wishes.manifest,
        };
        let stored = self
            .api
            .put_needle(put)
            .await
            .map_err(|e| Refusal::volume(&e, Op::Write))?;
        drop(upload.permits);
        Ok(answer(&stored, shown, mime, md5, wishes.pretty))
    }

    async fn receive(&self, req: HttpRequest) -> Result<Upload, Refusal> {
        let (head, body) = req.into_parts();
        let text = |name: HeaderName| {
            head.headers
                .get(name)
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let limit = self.config.file_bytes_max;
        let kind = text(CONTENT_TYPE).unwrap_or_default();
        if head.method == Method::POST && kind.to_ascii_lowercase().contains("form-data") {
            let mut upload = form::read(body, &kind, limit, &self.admission).await?;
            upload.md5 = upload.md5.or_else(|| text(CONTENT_MD5));
            return Ok(upload);
        }
        let got = collect(body, limit, Some(&self.admission)).await?;
        let disposition = head.headers.get(CONTENT_DISPOSITION);
        Ok(Upload {
            pieces: got.pieces,
            len: got.len,
            permits: got.permits,
            name: disposition.and_then(|v| name::disposition_name(v.as_bytes(), true)),
            mime: kind,
            encoding: text(CONTENT_ENCODING),
            md5: text(CONTENT_MD5),
        })
    }
}

/// An upload's name, type and storage.
struct Described {
    name: NeedleName,
    /// The name that the answer shows.
    shown: String,
    mime: String,
    compress: bool,
}

fn describe(
    upload: &Upload,
    target: &Target,
    pairs: Vec<(String, String)>,
    modified: Option<Timestamp>,
) -> Described {
    let sent = upload.name.as_deref().and_then(name::clean);
    let shown = sent
        .or_else(|| name::clean(&target.last))
        .unwrap_or_default()
        .to_owned();
    // The fid itself says nothing that the URL does not say: it is shown, but not stored.
    let bare = sent.is_none() && target.name.is_none() && target.extension.is_none();
    let stored = if bare { String::new() } else { shown.clone() };
    // What curl calls every body says nothing about it.
    let form_type = upload.mime.starts_with("application/x-www-form-urlencoded");
    let mime = if form_type {
        String::new()
    } else {
        name::mime_to_store(&upload.mime, &stored)
    };
    let given = if form_type { "" } else { upload.mime.as_str() };
    let first = upload.pieces.front().map_or(&b""[..], |p| p.as_ref());
    let compress = name::compressible(given, name::split_extension(&stored).1, first);
    let name = NeedleName {
        name: stored,
        mime: mime.clone(),
        pairs,
        modified,
    };
    Described {
        name,
        shown,
        mime,
        compress,
    }
}

fn answer(
    stored: &Stored,
    name: String,
    mime: String,
    md5: Option<String>,
    pretty: bool,
) -> HttpResponse {
    let etag = format!("{:08x}", stored.crc32c);
    let mut response = if stored.unchanged {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let body = Uploaded {
            name,
            size: stored.size,
            e_tag: etag.clone(),
            mime,
            content_md5: md5.clone(),
        };
        reply::json(StatusCode::CREATED, &body, pretty)
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(ETAG, value);
    }
    if let Some(value) = md5.and_then(|m| HeaderValue::from_str(&m).ok()) {
        headers.insert(CONTENT_MD5, value);
    }
    response
}

/// Runs CPU work of a large body where it may block.
async fn heavy<T: Send + 'static>(
    len: u64,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if len <= INLINE_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server is stopping"))?
}

async fn check_md5(sent: &str, upload: &Upload) -> Result<String, Refusal> {
    let want = BASE64.decode(sent.trim()).ok().filter(|d| d.len() == 16);
    let want = want.ok_or_else(|| {
        Refusal::bad(format!(
            "Content-MD5 {sent:?} is not the base64 of 16 bytes"
        ))
    })?;
    let pieces = upload.pieces.clone();
    heavy(upload.len, move || {
        let mut hash = Md5::new();
        for piece in &pieces {
            hash.update(piece);
        }
        let got = hash.finalize();
        let got_text = BASE64.encode(got);
        if want == got.as_slice() {
            Ok(got_text)
        } else {
            let sent = BASE64.encode(&want);
            Err(Refusal::bad(format!(
                "Content-MD5 did not match: received {sent}, computed {got_text}"
            )))
        }
    })
    .await
}

fn check_manifest(upload: &Upload) -> Result<(), Refusal> {
    let all: Vec<u8> = upload.pieces.iter().flatten().copied().collect();
    let manifest: serde_json::Value = serde_json::from_slice(&all)
        .map_err(|e| Refusal::bad(format!("the chunk manifest is not JSON: {e}")))?;
    if manifest
        .get("chunks")
        .is_some_and(serde_json::Value::is_array)
    {
        Ok(())
    } else {
        Err(Refusal::bad("the chunk manifest has no list of chunks"))
    }
}

/// The pieces of a body as one reader.
struct PieceReader(VecDeque<Bytes>);

impl Read for PieceReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        use std::io::BufRead;
        let ready = self.fill_buf()?;
        let n = ready.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), ready.get(..n)) {
            to.copy_from_slice(from);
        }
        self.consume(n);
        Ok(n)
    }
}

impl std::io::BufRead for PieceReader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        Ok(self.0.front().map_or(&[], |p| p.as_ref()))
    }

    fn consume(&mut self, n: usize) {
        if let Some(front) = self.0.front_mut() {
            front.advance(n.min(front.len()));
        }
    }
}

/// Replaces a gzip body by its plain bytes, which are counted before they are made.
async fn inflate(upload: Upload, limit: u64, admission: &Admission) -> Result<Upload, Refusal> {
    let Upload {
        pieces,
        mut permits,
        name,
        mime,
        encoding,
        md5,
        len: sent,
    } = upload;
    let mut granted = usize::try_from(sent).unwrap_or(usize::MAX);
    let mut reader = MultiGzDecoder::new(PieceReader(pieces));
    let mut out = VecDeque::new();
    let mut len = 0;
    loop {
        // The compressed pieces go as they are read, but their permits stay: count on from those.
        let want = granted.saturating_add(INFLATE_STEP);
        let more = admission_step(admission, &mut granted, want).await;
        permits.extend(more.map_err(CollectError::from)?);
        let (back, piece) = heavy(u64::MAX, move || {
            let mut piece = Vec::new();
            let step = u64::try_from(INFLATE_STEP).unwrap_or(u64::MAX);
            let read = reader.by_ref().take(step).read_to_end(&mut piece);
            read.map_err(|e| Refusal::bad(format!("the gzip body cannot be inflated: {e}")))?;
            Ok((reader, piece))
        })
        .await?;
        reader = back;
        let last = piece.len() < INFLATE_STEP;
        len += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if len > limit {
            return Err(CollectError::TooLarge { limit }.into());
        }
        out.push_back(Bytes::from(piece));
        if last {
            break;
        }
    }
    Ok(Upload {
        pieces: out,
        len,
        permits,
        name,
        mime,
        encoding,
        md5,
    })
}
