//! What a request must look like before its signature is worth a look: at most one way of signing, the scheme we know,
//! a credential scope of S3. Without this a repeated or mangled `Authorization` header would make a request anonymous,
//! and a wrong scope would be answered in words that no client expects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::{Code, GatewayError};

const V4: &str = "AWS4-HMAC-SHA256";
/// Services of a credential scope that this endpoint answers for.
pub(crate) const SERVICES: [&str; 2] = ["s3", "s3express"];
/// Ways of sending a body; that of ECDSA is refused where it is met.
const MODES: [&str; 6] = [
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
];
const USE_V4: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";

/// Looks at the ways in which a request claims to be signed.
pub(crate) fn check(headers: &HeaderMap, query: Option<&str>) -> Result<(), GatewayError> {
    content_sha256(headers)?;
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next();
    let presigned = presigned(query)?;
    if values.next().is_some() || (header.is_some() && presigned) {
        return Err(GatewayError::refused(
            Code::InvalidArgument,
            "Only one auth mechanism allowed",
        ));
    }
    match header {
        None => Ok(()),
        Some(value) => match value.to_str() {
            Ok(text) => authorization(text),
            Err(_) => Err(GatewayError::refused(
                Code::InvalidArgument,
                "Unsupported Authorization Type",
            )),
        },
    }
}

/// `x-amz-content-sha256` is a hash or names a way of sending the body; both decide how the body is read.
fn content_sha256(headers: &HeaderMap) -> Result<(), GatewayError> {
    let mut values = headers.get_all("x-amz-content-sha256").iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let value = value.to_str().unwrap_or_default();
    let hex = value.len() == 64
        && value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let base64 = || STANDARD.decode(value).is_ok_and(|raw| raw.len() == 32);
    if values.next().is_none() && (MODES.contains(&value) || hex || base64()) {
        return Ok(());
    }
    Err(GatewayError::refused(
        Code::InvalidArgument,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    ))
}

fn authorization(text: &str) -> Result<(), GatewayError> {
    let (scheme, rest) = text
        .trim_start()
        .split_once([' ', ','])
        .unwrap_or((text, ""));
    match scheme {
        V4 => {}
        "AWS" => return Err(GatewayError::refused(Code::InvalidRequest, USE_V4)),
        "AWS4-ECDSA-P256-SHA256" => {
            return Err(GatewayError::refused(
                Code::NotImplemented,
                "AWS4-ECDSA-P256-SHA256 is not implemented",
            ));
        }
        _ => {
            return Err(GatewayError::refused(
                Code::InvalidArgument,
                "Unsupported Authorization Type",
            ));
        }
    }
    let field = |name: &str| {
        rest.split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
    };
    for name in ["Credential", "SignedHeaders", "Signature"] {
        if field(name).is_none_or(str::is_empty) {
            return Err(malformed(&format!(
                "The authorization header requires three components: {name} is missing"
            )));
        }
    }
    scope(field("Credential").unwrap_or_default()).map_err(malformed)?;
    Ok(())
}

fn malformed(why: &str) -> GatewayError {
    let message = format!("The authorization header is malformed; {why}");
    GatewayError::refused(Code::AuthorizationHeaderMalformed, message)
}

/// `<access key>/<date>/<region>/s3/aws4_request`.
fn scope(credential: &str) -> Result<(), &'static str> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, date, _region, service, terminator] = parts[..] else {
        return Err(
            "the credential must have five parts: access key, date, region, service and aws4_request",
        );
    };
    if key.is_empty() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the credential must begin with an access key and a date of eight digits");
    }
    // Directory buckets are asked for under a name of their own, and are answered like the rest.
    if !SERVICES.contains(&service) {
        return Err("incorrect service: this endpoint belongs to \"s3\"");
    }
    if terminator != "aws4_request" {
        return Err("incorrect terminal: expected \"aws4_request\"");
    }
    Ok(())
}

/// The query parameters of a signature.
const NEEDED: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Whether a pair of a query belongs to a signature.
pub(crate) fn is_signature(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    let plain = percent_encoding::percent_decode_str(name);
    NEEDED.iter().any(|n| plain.clone().eq(n.bytes()))
}

/// Whether a request claims to be signed.
pub(crate) fn is_signed(headers: &HeaderMap, query: Option<&str>) -> bool {
    headers.contains_key(AUTHORIZATION) || query.is_some_and(|q| q.split('&').any(is_signature))
}

/// Whether the query signs the request; half a signature is an error, not an unsigned request.
fn presigned(query: Option<&str>) -> Result<bool, GatewayError> {
    let Some(query) = query else { return Ok(false) };
    let names = || {
        query
            .split('&')
            .map(|p| p.split_once('=').unwrap_or((p, "")))
    };
    if names().any(|(n, _)| n == "AWSAccessKeyId") && names().any(|(n, _)| n == "Signature") {
        return Err(GatewayError::refused(Code::InvalidRequest, USE_V4));
    }
    let present = NEEDED
        .iter()
        .filter(|n| names().any(|(name, _)| name == **n))
        .count();
    if present == 0 {
        return Ok(false);
    }
    let wrong =
        |why: &str| GatewayError::refused(Code::AuthorizationQueryParametersError, why.to_owned());
    if present < NEEDED.len() {
        return Err(wrong(
            "Query-string authentication version 4 requires X-Amz-Algorithm, X-Amz-Credential, \
            X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Expires",
        ));
    }
    for (name, value) in names() {
        match name {
            "X-Amz-Algorithm" if value != V4 => {
                return Err(wrong("X-Amz-Algorithm only supports AWS4-HMAC-SHA256"));
            }
            "X-Amz-Credential" => {
                let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                scope(&value).map_err(|why| {
                    wrong(&format!(
                        "Error parsing the X-Amz-Credential parameter; {why}"
                    ))
                })?;
            }
            _ => {}
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
        Signature=00";
    const SIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fr%2Fs3%2Faws4_request\
        &X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=00";

    fn said(auth: &[&str], query: Option<&str>) -> Option<Code> {
        let mut map = HeaderMap::new();
        for a in auth {
            map.append(
                AUTHORIZATION,
                HeaderValue::from_bytes(a.as_bytes()).unwrap(),
            );
        }
        match check(&map, query) {
            Ok(()) => None,
            Err(GatewayError::Refused { code, .. }) => Some(code),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_scheme_has_its_answer() {
        let bad_scope = |from: &str, to: &str| GOOD.replace(from, to);
        let malformed = Some(Code::AuthorizationHeaderMalformed);
        assert_eq!(said(&[], None), None);
        assert_eq!(said(&[GOOD], None), None);
        assert_eq!(said(&[GOOD, GOOD], None), Some(Code::InvalidArgument));
        assert_eq!(said(&[GOOD], Some(SIGNED)), Some(Code::InvalidArgument));
        assert_eq!(said(&["Basic dTpw"], None), Some(Code::InvalidArgument));
        assert_eq!(said(&["\u{e9}"], None), Some(Code::InvalidArgument));
        assert_eq!(said(&["AWS AK:sig"], None), Some(Code::InvalidRequest));
        assert_eq!(
            said(&["AWS4-ECDSA-P256-SHA256 Credential=x"], None),
            Some(Code::NotImplemented)
        );
        assert_eq!(said(&["AWS4-HMAC-SHA256"], None), malformed);
        assert_eq!(said(&["AWS4-HMAC-SHA256 Credential=AK"], None), malformed);
        assert_eq!(
            said(&[&bad_scope("Signature=00", "Signature=")], None),
            malformed
        );
        assert_eq!(said(&[&bad_scope("/s3/", "/s3tables/")], None), malformed);
        assert_eq!(said(&[&bad_scope("aws4_request", "aws4")], None), malformed);
        assert_eq!(said(&[&bad_scope("20260101", "2026")], None), malformed);
        assert_eq!(said(&[&bad_scope("AK/", "")], None), malformed);
    }

    #[test]
    fn a_content_hash_is_a_hash_or_a_way_of_sending() {
        let said = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for v in values {
                map.append("x-amz-content-sha256", HeaderValue::from_str(v).unwrap());
            }
            check(&map, None).is_ok()
        };
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let base64 = "CD/lALXcA07augfdOdp72AwIg85a9zWDJ5zoXrZub80=";
        assert!(said(&[]) && said(&[hex]) && said(&[base64]) && MODES.iter().all(|m| said(&[m])));
        let upper = hex.to_ascii_uppercase();
        for bad in [
            "",
            "zz",
            "STREAMING-NONSENSE",
            &hex[1..],
            upper.as_str(),
            &base64[4..],
        ] {
            assert!(!said(&[bad]), "{bad}");
        }
        assert!(!said(&[hex, hex]));
    }

    #[test]
    fn half_a_query_signature_is_an_error() {
        let query = Some(Code::AuthorizationQueryParametersError);
        assert_eq!(said(&[], Some("prefix=a")), None);
        assert_eq!(said(&[], Some(SIGNED)), None);
        assert_eq!(said(&[], Some("X-Amz-Signature=00")), query);
        assert_eq!(
            said(&[], Some(&SIGNED.replace("X-Amz-Signature=00", "x=y"))),
            query
        );
        assert_eq!(
            said(&[], Some(&SIGNED.replace("HMAC-SHA256", "MD5"))),
            query
        );
        assert_eq!(
            said(&[], Some(&SIGNED.replace("%2Fs3%2F", "%2Fiam%2F"))),
            query
        );
        assert_eq!(
            said(&[], Some("AWSAccessKeyId=a&Signature=b&Expires=1")),
            Some(Code::InvalidRequest)
        );
    }
}
