//! A body on its way in: what the client claims about it, and whether that is so.
//!
//! Nothing is committed before the body's stream ended cleanly (the signature of a body is known only then) and every
//! claim held: length, Content-MD5, one checksum from a header or a trailer. A header wins over an announced trailer
//! of the same name; an announced trailer that never comes is an error where the body has trailers at all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use halofs_client::writer::{ChunkWriter, Written};
use halofs_types::checksum::{ALGORITHMS, ChecksumAlgorithm};
use halofs_types::limits;
use http::HeaderMap;

use crate::error::{Code, GatewayError};

/// What a client says about a body before it sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `Content-MD5`.
    pub(crate) md5: Option<[u8; 16]>,
    /// One `x-amz-checksum-…`.
    pub(crate) checksum: Option<(ChecksumAlgorithm, Bytes)>,
    /// `x-amz-trailer` names this one, and the body has trailers.
    pub(crate) trailer: Option<ChecksumAlgorithm>,
    /// Bytes of the decoded body.
    pub(crate) length: u64,
}

impl Claims {
    /// Reads the claims; `length` is that of the decoded body.
    pub(crate) fn read(headers: &HeaderMap, length: Option<i64>) -> Result<Self, GatewayError> {
        let length = length.ok_or(Code::MissingContentLength)?;
        let length = u64::try_from(length).map_err(|_| Code::InvalidArgument)?;
        if length > limits::PUT_BYTES_MAX {
            return Err(Code::EntityTooLarge.into());
        }
        let md5 = text(headers, "content-md5")?.map(content_md5).transpose()?;
        let checksum = header_checksum(headers)?;
        let trailer = if checksum.is_some() {
            None
        } else {
            announced(headers)?
        };
        let named = text(headers, "x-amz-sdk-checksum-algorithm")?
            .map(algorithm)
            .transpose()?;
        let found = checksum.as_ref().map(|(a, _)| *a).or(trailer);
        match (named, found) {
            (Some(_), None) => Err(invalid(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                 headers were found.",
            )),
            (Some(a), Some(b)) if a != b => Err(invalid(
                "Value for x-amz-sdk-checksum-algorithm header is invalid.",
            )),
            _ => Ok(Self {
                md5,
                checksum,
                trailer,
                length,
            }),
        }
    }

    /// The claims of a Complete's document. Its checksum headers are the object's and not the document's.
    pub(crate) fn read_complete(headers: &HeaderMap) -> Result<Self, GatewayError> {
        let md5 = text(headers, "content-md5")?.map(content_md5).transpose()?;
        Ok(Self {
            md5,
            ..Self::default()
        })
    }

    /// The algorithm that the client chose.
    pub(crate) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.as_ref().map(|(a, _)| *a).or(self.trailer)
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> GatewayError {
    GatewayError::refused(Code::InvalidRequest, message)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, GatewayError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(format!("duplicate header: {name}")));
    }
    let value = value
        .to_str()
        .map_err(|_| invalid(format!("Value for {name} header is invalid.")))?;
    Ok(Some(value.trim()))
}

fn content_md5(value: &str) -> Result<[u8; 16], GatewayError> {
    let raw = STANDARD.decode(value).map_err(|_| Code::InvalidDigest)?;
    raw.try_into().map_err(|_| Code::InvalidDigest.into())
}

/// The algorithm of that name.
pub(crate) fn algorithm(name: &str) -> Result<ChecksumAlgorithm, GatewayError> {
    name.parse().map_err(|_| {
        invalid("Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                 [CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128]")
    })
}

/// A value as it stands in a header, trailer or XML element.
pub(crate) fn value(algorithm: ChecksumAlgorithm, text: &str) -> Result<Bytes, GatewayError> {
    match STANDARD.decode(text) {
        Ok(raw) if raw.len() == algorithm.value_len() => Ok(raw.into()),
        _ => Err(invalid(format!(
            "Value for {} header is invalid.",
            algorithm.header()
        ))),
    }
}

/// A raw value as S3 shows it.
pub(crate) fn show(raw: &[u8]) -> String {
    STANDARD.encode(raw)
}

fn header_checksum(
    headers: &HeaderMap,
) -> Result<Option<(ChecksumAlgorithm, Bytes)>, GatewayError> {
    let mut found = None;
    for a in ALGORITHMS {
        let Some(shown) = text(headers, a.header())? else {
            continue;
        };
        if found.is_some() {
            return Err(invalid(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        found = Some((a, value(a, shown)?));
    }
    Ok(found)
}

/// The checksum that trailers will carry, in the modes that have trailers.
fn announced(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, GatewayError> {
    let mode = headers
        .get("x-amz-content-sha256")
        .map(http::HeaderValue::as_bytes);
    if !mode.is_some_and(|m| m.ends_with(b"-TRAILER")) {
        return Ok(None);
    }
    let Some(names) = text(headers, "x-amz-trailer")? else {
        return Ok(None);
    };
    let mut found = None;
    for name in names.split(',').map(str::trim) {
        let Some(a) = ALGORITHMS
            .into_iter()
            .find(|a| a.header().eq_ignore_ascii_case(name))
        else {
            continue;
        };
        if found.replace(a).is_some() {
            return Err(invalid(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
    }
    Ok(found)
}

/// A body that arrived, is durable, and is what the client claimed.
pub(crate) struct Received {
    /// Its chunks and hashes.
    pub(crate) written: Written,
    /// The checksum that the client chose.
    pub(crate) checksum: Option<(ChecksumAlgorithm, Bytes)>,
}

/// Takes a whole body. `trailers` is asked once the stream ended.
pub(crate) async fn receive<S>(
    mut writer: ChunkWriter,
    claims: &Claims,
    mut body: S,
    trailers: impl FnOnce() -> Option<HeaderMap> + Send,
) -> Result<Received, GatewayError>
where
    S: Stream<Item = Result<Bytes, GatewayError>> + Unpin + Send,
{
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if writer.size() + piece.len() as u64 > claims.length {
            return Err(Code::IncompleteBody.into());
        }
        writer.push(piece).await?;
    }
    if writer.size() != claims.length {
        return Err(Code::IncompleteBody.into());
    }
    drop(body);
    let checksum = match (&claims.checksum, claims.trailer) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(a)) => Some((a, trailer_value(a, trailers().as_ref())?)),
        (None, None) => None,
    };
    let written = writer.finish().await?;
    if claims.md5.is_some_and(|md5| md5 != written.sums.md5) {
        return Err(GatewayError::refused(
            Code::BadDigest,
            "The Content-MD5 you specified did not match what we received.",
        ));
    }
    if let Some((a, wanted)) = &checksum
        && written.sums.get(*a).as_ref() != Some(wanted)
    {
        return Err(mismatch(*a));
    }
    Ok(Received { written, checksum })
}

/// A checksum that is not the body's.
pub(crate) fn mismatch(algorithm: ChecksumAlgorithm) -> GatewayError {
    GatewayError::refused(
        Code::BadDigest,
        format!("The {algorithm} you specified did not match the calculated checksum."),
    )
}

fn trailer_value(
    a: ChecksumAlgorithm,
    trailers: Option<&HeaderMap>,
) -> Result<Bytes, GatewayError> {
    let shown = trailers.map(|t| text(t, a.header())).transpose()?.flatten();
    match shown {
        Some(shown) => value(a, shown),
        None => Err(Code::MalformedTrailerError.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(pairs: &[(&'static str, &str)]) -> Result<Claims, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Claims::read(&headers, Some(3)).map_err(|e| match e {
            GatewayError::Refused { code, .. } => code,
            other => panic!("{other}"),
        })
    }

    const CRC: (&str, &str) = ("x-amz-checksum-crc32", "NSRBwg==");

    #[test]
    fn claims_are_read_and_bad_ones_refused() {
        let ok = claims(&[CRC, ("content-md5", "kAFQmDzST7DWlj99KOF/cg==")]).unwrap();
        assert_eq!(
            ok.checksum,
            Some((
                ChecksumAlgorithm::Crc32,
                ChecksumAlgorithm::Crc32.of(b"abc")
            ))
        );
        assert_eq!(
            ok.md5.map(|m| m.to_vec()),
            Some(ChecksumAlgorithm::Md5.of(b"abc").to_vec())
        );
        for (pairs, code) in [
            (&[("content-md5", "AAAA")][..], Code::InvalidDigest),
            (&[("content-md5", "?")], Code::InvalidDigest),
            (&[("x-amz-checksum-crc32", "AAAA")], Code::InvalidRequest),
            (
                &[("x-amz-checksum-crc32", "not base64")],
                Code::InvalidRequest,
            ),
            (
                &[CRC, ("x-amz-checksum-sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=")],
                Code::InvalidRequest,
            ),
            (
                &[CRC, ("x-amz-sdk-checksum-algorithm", "SHA1")],
                Code::InvalidRequest,
            ),
            (
                &[("x-amz-sdk-checksum-algorithm", "CRC32")],
                Code::InvalidRequest,
            ),
            (
                &[("x-amz-sdk-checksum-algorithm", "CRC31")],
                Code::InvalidRequest,
            ),
        ] {
            assert_eq!(claims(pairs), Err(code), "{pairs:?}");
        }
        assert!(Claims::read(&HeaderMap::new(), None).is_err());
    }

    #[test]
    fn a_header_wins_over_an_announced_trailer_which_counts_in_trailer_modes_only() {
        let announce = ("x-amz-trailer", "x-amz-checksum-crc32");
        let signed = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        let trailer = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(claims(&[announce, signed]).unwrap().trailer, None);
        assert_eq!(
            claims(&[announce, trailer]).unwrap().trailer,
            Some(ChecksumAlgorithm::Crc32)
        );
        let both = claims(&[announce, trailer, CRC]).unwrap();
        assert_eq!(
            (both.trailer, both.algorithm()),
            (None, Some(ChecksumAlgorithm::Crc32))
        );
    }
}
