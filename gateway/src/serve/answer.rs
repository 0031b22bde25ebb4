//! What every answer carries: a request id in header and error body, a body only where HTTP allows one.

use std::borrow::Cow;

use halofs_runtime::http::{HttpBody, HttpResponse, empty, full};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;

use crate::error::{Code, GatewayError};
use crate::s3::error::table;
use crate::s3::xml;
use crate::serve::ENCRYPTION;
use crate::serve::early::Place;

/// `x-amz-id-2` and `<HostId>`: names the software, not the machine.
const HOST_ID: &str = "halofs";

/// What an error body says about its request; written out only when there is one.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// HEAD answers have no body.
    pub(crate) method: Method,
    /// Where.
    pub(crate) uri: Uri,
    /// What that names.
    pub(crate) place: Place,
    /// The bucket of a virtual-host request.
    pub(crate) host_bucket: Option<String>,
    /// See [`halofs_runtime::http::RequestContext`].
    pub(crate) request_id: String,
}

impl Subject {
    /// `/bucket/key`, decoded.
    fn resource(&self) -> String {
        let path = percent_encoding::percent_decode_str(self.uri.path()).decode_utf8_lossy();
        match &self.host_bucket {
            Some(bucket) => format!("/{bucket}{path}"),
            None => path.into_owned(),
        }
    }

    /// The bucket that is named, decoded.
    pub(crate) fn bucket(&self) -> String {
        let resource = self.resource();
        let name = resource.trim_start_matches('/');
        name.split_once('/').map_or(name, |(b, _)| b).to_owned()
    }

    /// The tail of an `<Error>`.
    fn tail(&self, code: &str) -> String {
        let resource = self.resource();
        let name = resource.trim_start_matches('/');
        let (bucket, key) = name.split_once('/').unwrap_or((name, ""));
        let mut out = String::with_capacity(160 + resource.len() * 2);
        let mut field = |name: &str, text: &str| {
            out.push('<');
            out.push_str(name);
            out.push('>');
            xml::escape(&mut out, &printable(text));
            out.push_str("</");
            out.push_str(name);
            out.push('>');
        };
        if !bucket.is_empty() && code.contains("Bucket") {
            field("BucketName", bucket);
        }
        if !key.is_empty() && matches!(code, "NoSuchKey" | "KeyTooLongError") {
            field("Key", key);
        }
        if code == Code::MethodNotAllowed.as_str() {
            field("Method", self.method.as_str());
            field("ResourceType", self.place.name());
        }
        field("Resource", &resource);
        field("RequestId", &self.request_id);
        field("HostId", HOST_ID);
        out
    }
}

/// Text that any XML parser takes: an error must be readable whatever the key was.
fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    if text.contains(bad) {
        Cow::Owned(text.replace(bad, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// An error that s3s had no part in.
pub(crate) fn refuse(subject: &Subject, error: &GatewayError) -> HttpResponse {
    let (code, message) = table(error);
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(subject, status, code, &message)
}

fn respond(subject: &Subject, status: StatusCode, code: Code, message: &str) -> HttpResponse {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>");
    out.push_str(code.as_str());
    out.push_str("</Code><Message>");
    xml::escape(&mut out, message);
    out.push_str("</Message>");
    out.push_str(&subject.tail(code.as_str()));
    out.push_str("</Error>");
    let body = if subject.method == Method::HEAD {
        empty()
    } else {
        full(out)
    };
    let mut res = http::Response::new(body);
    *res.status_mut() = status;
    res.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if code == Code::MethodNotAllowed {
        let methods = HeaderValue::from_static(subject.place.methods());
        res.headers_mut().insert(ALLOW, methods);
    }
    stamp(subject, &mut res);
    res
}

/// The head of an answer whose document is not known yet.
pub(crate) fn begun(
    subject: &Subject,
    body: HttpBody,
    encryption: Option<HeaderValue>,
) -> HttpResponse {
    let mut res = http::Response::new(body);
    let headers = res.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Some(value) = encryption {
        headers.insert(ENCRYPTION, value);
    }
    stamp(subject, &mut res);
    res
}

fn stamp(subject: &Subject, res: &mut HttpResponse) {
    if let Ok(id) = HeaderValue::from_str(&subject.request_id) {
        res.headers_mut().insert("x-amz-request-id", id);
    }
    res.headers_mut()
        .insert("x-amz-id-2", HeaderValue::from_static(HOST_ID));
}

/// Finishes an answer of s3s. `broken` is what was found wrong with the request's body.
pub(crate) async fn finish(
    subject: &Subject,
    res: HttpResponse,
    broken: Option<Code>,
) -> HttpResponse {
    let mut res = match broken {
        Some(code) if res.status() == StatusCode::INTERNAL_SERVER_ERROR => {
            return refuse(subject, &code.into());
        }
        Some(_) | None => res,
    };
    let status = res.status();
    let bodyless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if status.is_client_error() || status.is_server_error() {
        let (mut parts, body) = res.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        res = http::Response::from_parts(parts, explained(subject, body).await);
    } else if bodyless || subject.method == Method::HEAD {
        *res.body_mut() = empty();
        res.headers_mut().remove(TRANSFER_ENCODING);
    }
    if bodyless {
        res.headers_mut().remove(CONTENT_LENGTH);
        res.headers_mut().remove(CONTENT_TYPE);
    }
    stamp(subject, &mut res);
    res
}

/// s3s says `<Code>` and `<Message>` only.
async fn explained(subject: &Subject, body: HttpBody) -> HttpBody {
    if subject.method == Method::HEAD {
        return empty();
    }
    let bytes = match body.collect().await {
        Ok(all) => all.to_bytes(),
        Err(error) => {
            tracing::warn!(error = %error, "an error body could not be read");
            return empty();
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let Some(head) = text.trim_end().strip_suffix("</Error>") else {
        return full(bytes);
    };
    let code = head
        .split_once("<Code>")
        .and_then(|(_, t)| t.split_once("</Code>"))
        .map_or("", |(c, _)| c);
    full(format!("{head}{}</Error>", subject.tail(code)))
}
