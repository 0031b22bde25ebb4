//! GET and HEAD of a needle.
//!
//! Order: find and check the cookie → choose the representation → preconditions → range → admission → first piece → head.
//! A request with a byte range is answered from the identity representation, whatever it accepts; the gzip form has an
//! ETag of its own (`"<8 hex>-gzip"`).

use std::borrow::Cow;

use bytes::Bytes;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::{Encoding, NeedleInfo, NeedleReader};
use halofs_runtime::http::{HttpRequest, HttpResponse, empty, full};
use halofs_types::conditional::{self, Conditions, Verdict};
use halofs_types::range::{self, ByteRange, Ranges};
use halofs_types::{Timestamp, limits};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::NativeVolume;
use super::name;
use super::path::{Query, Target};
use super::reply::{Op, Refusal};
use super::stream::{self, Segment};

/// Query parameters that replace headers of the answer.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-expires", header::EXPIRES),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
];

/// The form of a needle that an answer has.
struct Representation {
    encoding: Encoding,
    size: u64,
    /// Without quotes.
    etag: String,
    /// Of the form that was not chosen, if there is one.
    other: Option<String>,
    modified: Timestamp,
}

impl Representation {
    fn choose(info: &NeedleInfo, headers: &HeaderMap, ranged: bool) -> Self {
        let plain = format!("{:08x}", info.crc32c);
        let modified = info.name.modified.unwrap_or(info.appended);
        let Some(gzip_size) = info.gzip_size else {
            return Self {
                encoding: Encoding::Identity,
                size: info.size,
                etag: plain,
                other: None,
                modified,
            };
        };
        let zipped = format!("{plain}-gzip");
        if !ranged && accepts_gzip(headers) {
            let (etag, other) = (zipped, Some(plain));
            return Self {
                encoding: Encoding::Gzip,
                size: gzip_size,
                etag,
                other,
                modified,
            };
        }
        let (etag, other) = (plain, Some(zipped));
        Self {
            encoding: Encoding::Identity,
            size: info.size,
            etag,
            other,
            modified,
        }
    }
}

impl NativeVolume {
    pub(super) async fn read(
        &self,
        req: &HttpRequest,
        head: bool,
    ) -> Result<HttpResponse, Refusal> {
        let target = Target::parse(req.uri().path())?;
        let query = Query::of(req.uri())?;
        let failed = |e| Refusal::volume(&e, Op::Read);
        let reader = self
            .api
            .open_needle(target.fid, None, VolumeOwner::Native)
            .await
            .map_err(failed)?;
        if reader.info().manifest && !query.off("cm") {
            let reason = "this file is a chunk manifest, which is not assembled yet; ask with cm=false for its JSON";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, reason));
        }
        let headers = req.headers();
        let wanted = headers
            .get(header::RANGE)
            .and_then(|v| v.to_str().ok())
            .filter(|_| !head);
        let ranged = wanted.is_some_and(|r| range::parse(r).is_some());
        let form = Representation::choose(reader.info(), headers, ranged);
        match verdict(headers, &form) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(bodiless(StatusCode::NOT_MODIFIED, &form)),
            Verdict::Failed => return Ok(bodiless(StatusCode::PRECONDITION_FAILED, &form)),
        }
        let if_range = headers
            .get(header::IF_RANGE)
            .map(|v| v.to_str().unwrap_or("unreadable"));
        let holds = conditional::if_range_holds(if_range, &form.etag, form.modified);
        let wanted = range::decide(wanted.filter(|_| holds), form.size);
        if wanted == Ranges::Unsatisfiable {
            return Ok(unsatisfiable(&form));
        }
        let kind = content_type(&*reader, &target).await?;
        let mut answer = headers_of(reader.info(), &form, &target, &query, &kind)?;
        let (status, segments) = plan(&wanted, &form, reader.info(), &kind, &mut answer)?;
        let length = stream::length(&segments);
        answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let body = if head || length == 0 {
            empty()
        } else {
            let pieces = usize::try_from(stream::PIECE).unwrap_or(usize::MAX) * stream::PIECES;
            let permit = self
                .admission
                .acquire(usize::try_from(length).unwrap_or(usize::MAX).min(pieces))
                .await
                .map_err(|_| Refusal::busy())?;
            stream::body(reader, form.encoding, segments, permit)
                .await
                .map_err(failed)?
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = answer;
        Ok(response)
    }
}

/// Sniffing reads the first bytes, and only when neither the needle nor the name says what it is.
async fn content_type(reader: &dyn NeedleReader, target: &Target) -> Result<String, Refusal> {
    let info = reader.info();
    let extension = extension(info, target);
    let known = name::type_to_send(&info.name.mime, extension, b"\0");
    if known != "application/octet-stream" || info.size == 0 {
        return Ok(known);
    }
    if extension.and_then(name::type_of).is_some() {
        return Ok(known);
    }
    let sniffed = info
        .size
        .min(u64::try_from(name::SNIFF_BYTES).unwrap_or(512));
    let first = reader
        .read(Encoding::Identity, 0, sniffed)
        .await
        .map_err(|e| Refusal::volume(&e, Op::Read))?;
    Ok(name::sniff(&first).to_owned())
}

fn extension<'a>(info: &'a NeedleInfo, target: &'a Target) -> Option<&'a str> {
    target
        .extension
        .as_deref()
        .or_else(|| name::split_extension(&info.name.name).1)
}

/// A header that may come in several lines, as one list.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |all, line| {
        Cow::Owned(format!("{all}, {line}"))
    }))
}

fn verdict(headers: &HeaderMap, form: &Representation) -> Verdict {
    let if_match = list(headers, header::IF_MATCH);
    let if_none_match = list(headers, header::IF_NONE_MATCH);
    let one = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    // Whoever knows the tag of either form knows the state of the needle, and that is what If-Match asks about.
    let matched = match (if_match.as_deref(), &form.other) {
        (Some(tags), Some(other)) if conditional::names(tags, other, false) => Some("*"),
        (tags, _) => tags,
    };
    let conditions = Conditions {
        if_match: matched,
        if_none_match: if_none_match.as_deref(),
        if_modified_since: one(header::IF_MODIFIED_SINCE),
        if_unmodified_since: one(header::IF_UNMODIFIED_SINCE),
    };
    conditional::evaluate_read(conditions, &form.etag, form.modified)
}

/// Whether `Accept-Encoding` prefers gzip to identity, or likes both the same (RFC 9110 §12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let Some(all) = list(headers, header::ACCEPT_ENCODING) else {
        return false;
    };
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in all.split(',') {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let q = quality(parameters);
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(q),
            "identity" => identity = Some(q),
            "*" => any = Some(q),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// Thousandths; a weight that cannot be read counts as 0.
fn quality(parameters: &str) -> u16 {
    let Some((_, value)) = parameters.split_once('=') else {
        return 1000;
    };
    let value = value.split(';').next().unwrap_or(value).trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.get(..3).and_then(|d| d.parse::<u16>().ok())) {
        ("1", _) => 1000,
        ("0", Some(n)) => n,
        _ => 0,
    }
}

fn validators(headers: &mut HeaderMap, form: &Representation) -> Result<(), Refusal> {
    let internal = |_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a header of the answer cannot be written",
        )
    };
    let etag = HeaderValue::from_str(&format!("\"{}\"", form.etag)).map_err(internal)?;
    headers.insert(header::ETAG, etag);
    let modified = HeaderValue::from_str(&form.modified.http_date()).map_err(internal)?;
    headers.insert(header::LAST_MODIFIED, modified);
    if form.other.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    Ok(())
}

fn bodiless(status: StatusCode, form: &Representation) -> HttpResponse {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    match validators(response.headers_mut(), form) {
        Ok(()) => response,
        Err(refusal) => refusal.bare(),
    }
}

fn unsatisfiable(form: &Representation) -> HttpResponse {
    let mut response = Response::new(full("the range is not satisfiable\n"));
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{}", form.size)) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    response
}

/// Every header of a success but the length and those of a range.
fn headers_of(
    info: &NeedleInfo,
    form: &Representation,
    target: &Target,
    query: &Query,
    kind: &str,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(12);
    name::set_pairs(&mut headers, &info.name.pairs);
    validators(&mut headers, form)?;
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let octets = || HeaderValue::from_static("application/octet-stream");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(kind).unwrap_or_else(|_| octets()),
    );
    if form.encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let shown = target
        .name
        .as_deref()
        .and_then(name::clean)
        .unwrap_or(&info.name.name);
    let attachment = query.on("dl");
    if !shown.is_empty() {
        if let Some(value) = name::disposition(shown, attachment) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    } else if attachment {
        headers.insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        );
    }
    for (parameter, name) in OVERRIDES {
        let Some(value) = query.get(parameter).filter(|v| !v.is_empty()) else {
            continue;
        };
        let short = value.len() <= limits::USER_METADATA_BYTES_MAX;
        match HeaderValue::from_str(value) {
            Ok(value) if short => headers.insert(name, value),
            _ => return Err(Refusal::bad(format!("{parameter} is not a header value"))),
        };
    }
    Ok(headers)
}

/// Status and body of the answer; sets what a range adds to the head.
fn plan(
    ranges: &Ranges,
    form: &Representation,
    info: &NeedleInfo,
    kind: &str,
    headers: &mut HeaderMap,
) -> Result<(StatusCode, Vec<Segment>), Refusal> {
    let internal = |_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a header of the answer cannot be written",
        )
    };
    let Ranges::Some(wanted) = ranges else {
        return Ok((StatusCode::OK, vec![Segment::Needle(0, form.size)]));
    };
    if let [ByteRange { start, end }] = wanted[..] {
        let value = ByteRange { start, end }.content_range(form.size);
        headers.insert(
            header::CONTENT_RANGE,
            HeaderValue::from_str(&value).map_err(internal)?,
        );
        return Ok((
            StatusCode::PARTIAL_CONTENT,
            vec![Segment::Needle(start, end)],
        ));
    }
    // A MAC that the file's author could not know when writing it.
    let boundary = format!("{:032x}", u128::from_le_bytes(info.commit));
    let mut segments = Vec::with_capacity(wanted.len() * 2 + 1);
    for (i, part) in wanted.iter().enumerate() {
        let lead = if i == 0 { "" } else { "\r\n" };
        let range = part.content_range(form.size);
        let text =
            format!("{lead}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
        segments.push(Segment::Text(Bytes::from(text)));
        segments.push(Segment::Needle(part.start, part.end));
    }
    segments.push(Segment::Text(Bytes::from(format!(
        "\r\n--{boundary}--\r\n"
    ))));
    let value = format!("multipart/byteranges; boundary={boundary}");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&value).map_err(internal)?,
    );
    Ok((StatusCode::PARTIAL_CONTENT, segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding() {
        for (value, want) in [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("identity, gzip;q=0.5", false),
            ("identity;q=0.2, gzip;q=0.5", true),
            ("gzip;q=x", false),
            ("", false),
            ("br", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), want, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
