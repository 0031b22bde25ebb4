//! Between s3s's types and ours: bodies, tags, times, labels, checksums.

use std::error::Error;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use halofs_client::DataError;
use halofs_client::filer::Precondition;
use halofs_client::reader::{Content, PieceStream};
use halofs_runtime::admission::Permit;
use halofs_runtime::http::RequestBodyError;
use halofs_types::Timestamp;
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind};
use halofs_types::limits;
use halofs_types::object::Object;
use s3s::dto;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{BodySizeLimitExceeded, S3Response, TrailingHeaders};

use crate::error::{Code, GatewayError};

/// A request body in our errors.
pub(crate) struct RequestStream(Option<dto::StreamingBlob>);

impl RequestStream {
    /// No body is an empty one.
    pub(crate) fn new(body: Option<dto::StreamingBlob>) -> Self {
        Self(body)
    }
}

impl Stream for RequestStream {
    type Item = Result<Bytes, GatewayError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_next(cx);
        polled.map(|item| item.map(|piece| piece.map_err(|e| broken_body(e.as_ref()))))
    }
}

/// Why a body's stream ended: the first cause that we know.
fn broken_body(error: &(dyn Error + Send + Sync + 'static)) -> GatewayError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(code) = known_cause(e) {
            return code.into();
        }
        cause = e.source();
    }
    tracing::debug!(%error, "a request body broke off");
    Code::IncompleteBody.into()
}

fn known_cause(e: &(dyn Error + 'static)) -> Option<Code> {
    if let Some(e) = e.downcast_ref::<UploadStreamError>() {
        return match e {
            UploadStreamError::Sha256Mismatch => Some(Code::XAmzContentSHA256Mismatch),
            UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => {
                Some(Code::IncompleteBody)
            }
            UploadStreamError::Underlying(_) => None,
        };
    }
    if let Some(e) = e.downcast_ref::<AwsChunkedStreamError>() {
        return match e {
            AwsChunkedStreamError::SignatureMismatch => Some(Code::SignatureDoesNotMatch),
            AwsChunkedStreamError::ChunkMetaTooLarge(..)
            | AwsChunkedStreamError::ChunkDataTooLarge(..) => Some(Code::EntityTooLarge),
            AwsChunkedStreamError::TrailersTooLarge(..)
            | AwsChunkedStreamError::TooManyTrailerHeaders(..) => Some(Code::MalformedTrailerError),
            AwsChunkedStreamError::FormatError
            | AwsChunkedStreamError::Incomplete
            | AwsChunkedStreamError::LengthMismatch => Some(Code::IncompleteBody),
            AwsChunkedStreamError::Underlying(_) => None,
        };
    }
    if e.is::<BodySizeLimitExceeded>() {
        return Some(Code::EntityTooLarge);
    }
    e.downcast_ref::<RequestBodyError>().map(|e| match e {
        RequestBodyError::Stalled => Code::RequestTimeout,
        RequestBodyError::Broken(_) => Code::IncompleteBody,
    })
}

/// The trailers of a body, once it ended.
pub(crate) fn take_trailers(
    handle: Option<TrailingHeaders>,
) -> impl FnOnce() -> Option<http::HeaderMap> + Send {
    move || handle.and_then(|h| h.take())
}

/// Bytes on their way out, counted until the last one left.
pub(crate) struct ResponseStream {
    content: Content,
    _permit: Option<Permit>,
}

impl ResponseStream {
    /// A response body.
    pub(crate) fn blob(content: Option<Content>, permit: Option<Permit>) -> dto::StreamingBlob {
        match content {
            None => dto::StreamingBlob::from_bytes(Bytes::new()),
            Some(content) => dto::StreamingBlob::wrap(Self {
                content,
                _permit: permit,
            }),
        }
    }
}

impl Stream for ResponseStream {
    type Item = Result<Bytes, DataError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Content::Stream(pieces) => Pin::<&mut PieceStream>::new(pieces).poll_next(cx),
        }
    }
}

/// An ETag as s3s writes it.
pub(crate) fn etag(etag: impl Into<String>) -> dto::ETag {
    dto::ETag::Strong(etag.into())
}

/// A time as s3s writes it.
pub(crate) fn time(at: Timestamp) -> dto::Timestamp {
    at.system_time().into()
}

/// A count as s3s writes it.
pub(crate) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A condition of a read, as a header says it.
pub(crate) fn tag_text(condition: Option<&dto::ETagCondition>) -> Option<String> {
    condition.map(|c| match c {
        dto::ETagCondition::Any => "*".to_owned(),
        dto::ETagCondition::ETag(dto::ETag::Strong(tag)) => format!("\"{tag}\""),
        dto::ETagCondition::ETag(dto::ETag::Weak(tag)) => format!("W/\"{tag}\""),
    })
}

/// A date condition of a read, as a header says it.
pub(crate) fn date_text(at: Option<&dto::Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    at?.format(dto::TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// The condition of a write. S3 knows `If-None-Match: *` and `If-Match` with one tag.
pub(crate) fn precondition(
    if_match: Option<dto::ETagCondition>,
    if_none_match: Option<dto::ETagCondition>,
) -> Result<Precondition, GatewayError> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (None, Some(dto::ETagCondition::Any)) => Ok(Precondition::Absent),
        (Some(condition), None) => Ok(Precondition::EtagIn(match condition {
            dto::ETagCondition::Any => vec!["*".to_owned()],
            dto::ETagCondition::ETag(dto::ETag::Strong(tag)) => vec![tag],
            // A weak tag never matches strongly.
            dto::ETagCondition::ETag(dto::ETag::Weak(_)) => Vec::new(),
        })),
        (_, Some(dto::ETagCondition::ETag(_))) | (Some(_), Some(_)) => Err(GatewayError::refused(
            Code::NotImplemented,
            "A write takes either If-Match with one ETag or If-None-Match: *",
        )),
    }
}

/// User metadata as s3s writes it.
pub(crate) fn metadata(object: &Object) -> Option<dto::Metadata> {
    let pairs = object.user_metadata.iter().cloned();
    (!object.user_metadata.is_empty()).then(|| pairs.collect())
}

/// User metadata as we keep it.
pub(crate) fn user_metadata(metadata: Option<dto::Metadata>) -> Vec<(String, String)> {
    metadata.unwrap_or_default().into_iter().collect()
}

/// `x-amz-checksum-type`.
pub(crate) fn checksum_type(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(kind.name())
}

/// Writes a shown checksum into the field of an s3s type that is its algorithm's.
macro_rules! set_checksum {
    ($to:expr, $algorithm:expr, $shown:expr) => {{
        use halofs_types::checksum::ChecksumAlgorithm as Alg;
        let shown = Some($shown);
        match $algorithm {
            Alg::Crc32 => $to.checksum_crc32 = shown,
            Alg::Crc32c => $to.checksum_crc32c = shown,
            Alg::Crc64Nvme => $to.checksum_crc64nvme = shown,
            Alg::Sha1 => $to.checksum_sha1 = shown,
            Alg::Sha256 => $to.checksum_sha256 = shown,
            Alg::Sha512 => $to.checksum_sha512 = shown,
            Alg::Md5 => $to.checksum_md5 = shown,
            Alg::Xxhash64 => $to.checksum_xxhash64 = shown,
            Alg::Xxhash3 => $to.checksum_xxhash3 = shown,
            Alg::Xxhash128 => $to.checksum_xxhash128 = shown,
        }
    }};
}
pub(crate) use set_checksum;

/// The checksums of an s3s type's fields that are there, by algorithm.
macro_rules! named_checksums {
    ($($field:ident),* $(,)?) => {{
        let mut named = Vec::new();
        $(if let Some(value) = $field {
            named.push(($crate::s3::convert::field_algorithm(stringify!($field)), value));
        })*
        named
    }};
}
pub(crate) use named_checksums;

/// The algorithm of a field `checksum_…`.
pub(crate) fn field_algorithm(field: &str) -> ChecksumAlgorithm {
    let name = field.strip_prefix("checksum_").unwrap_or(field);
    name.parse()
        .expect("named_checksums! is given fields of the ten algorithms")
}

/// Marks an answer whose text may hold stand-ins; see [`spell`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct StandIns;

/// An answer with keys in it.
pub(crate) fn named_answer<T>(out: T) -> S3Response<T> {
    let mut answer = S3Response::new(out);
    answer.extensions.insert(StandIns);
    answer
}

/// The first of 32 code points that Unicode keeps for a program's own use and never for text.
const STAND_IN: u32 = 0xfdd0;

/// A key as s3s may write it into XML. It refuses control characters there, which keys may hold: each has a stand-in,
/// and the service writes the reference that AWS writes in its place.
pub(crate) fn spell(text: String) -> String {
    if !text.contains(refused_in_xml) {
        return text;
    }
    let stand_in = |c: char| match char::from_u32(STAND_IN + u32::from(c)) {
        Some(s) if refused_in_xml(c) => s,
        _ => c,
    };
    text.chars().map(stand_in).collect()
}

fn refused_in_xml(c: char) -> bool {
    c < ' ' && !matches!(c, '\t' | '\n' | '\r')
}

/// A document with references for its stand-ins; `None` if it has none.
pub(crate) fn references(document: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let hidden = |c: char| match c {
        '\u{fffe}' | '\u{ffff}' => Some(u32::from(c)),
        _ => u32::from(c).checked_sub(STAND_IN).filter(|n| *n < 32),
    };
    if !text.contains(|c| hidden(c).is_some()) {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match hidden(c) {
            Some(n) => {
                let _infallible = write!(out, "&#x{n:x};");
            }
            None => out.push(c),
        }
    }
    Some(out)
}

/// A page size as asked for, within the limit; negative ones are refused.
pub(crate) fn page_size(asked: Option<i32>, name: &'static str) -> Result<usize, GatewayError> {
    let asked = asked.map_or(Ok(limits::PAGE_MAX), usize::try_from);
    asked.map(|n| n.min(limits::PAGE_MAX)).map_err(|_| {
        GatewayError::refused(
            Code::InvalidArgument,
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )
    })
}

#[cfg(test)]
mod tests {
    use halofs_types::checksum::ALGORITHMS;

    use super::*;

    #[test]
    fn every_field_has_its_algorithm() {
        for a in ALGORITHMS {
            assert_eq!(
                field_algorithm(&format!("checksum_{}", a.name().to_lowercase())),
                a
            );
        }
    }

    #[test]
    fn write_conditions_are_one_tag_or_nothing_there() {
        let tag = || Some("\"a\"".parse::<dto::ETagCondition>().unwrap());
        let any = || Some(dto::ETagCondition::Any);
        assert_eq!(precondition(None, None).unwrap(), Precondition::None);
        assert_eq!(precondition(None, any()).unwrap(), Precondition::Absent);
        assert_eq!(
            precondition(tag(), None).unwrap(),
            Precondition::EtagIn(vec!["a".to_owned()])
        );
        assert_eq!(
            precondition(any(), None).unwrap(),
            Precondition::EtagIn(vec!["*".to_owned()])
        );
        assert!(precondition(None, tag()).is_err());
        assert!(precondition(tag(), any()).is_err());
    }

    #[test]
    fn control_characters_reach_the_answer_as_references() {
        assert_eq!(spell("a\tb é".to_owned()), "a\tb é");
        let document = format!("<Key>{}</Key>", spell("a\u{1}\u{1f}\nb".to_owned()));
        assert_eq!(
            references(document.as_bytes()).unwrap(),
            "<Key>a&#x1;&#x1f;\nb</Key>"
        );
        assert_eq!(references(b"<Key>a</Key>"), None);
        let last = references("<Key>\u{ffff}</Key>".as_bytes());
        assert_eq!(last.unwrap(), "<Key>&#xffff;</Key>");
    }

    #[test]
    fn broken_bodies_are_named() {
        let code = |e: &(dyn Error + Send + Sync + 'static)| match broken_body(e) {
            GatewayError::Refused { code, .. } => code,
            other => panic!("{other}"),
        };
        let nested = AwsChunkedStreamError::Underlying(Box::new(RequestBodyError::Stalled));
        assert_eq!(code(&nested), Code::RequestTimeout);
        assert_eq!(
            code(&UploadStreamError::Sha256Mismatch),
            Code::XAmzContentSHA256Mismatch
        );
        assert_eq!(
            code(&AwsChunkedStreamError::SignatureMismatch),
            Code::SignatureDoesNotMatch
        );
        assert_eq!(code(&std::io::Error::other("reset")), Code::IncompleteBody);
    }
}
