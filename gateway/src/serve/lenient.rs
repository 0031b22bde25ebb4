//! Calls s3s so that what its parser refuses and S3 reads is answered all the same (`mend`). A changed request has lost
//! its signature: s3s verifies the original first, and the change counts as signed by the same key (`s3/vouch.rs`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use halofs_runtime::http::HttpResponse;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use parking_lot::Mutex;

use super::body::{CheckedBody, CheckedBodyError};
use super::mend;
use crate::auth::scheme;
use crate::s3::service::Service;
use crate::s3::vouch::Vouched;

/// Answers a request. `None`: nothing sensible can be said, the connection is cut.
pub(crate) async fn call(
    service: &Service,
    mut parts: Parts,
    body: CheckedBody,
) -> Option<HttpResponse> {
    if let Some(headers) = mend::headers(&parts.method, &parts.headers) {
        let vouched = match vouch(service, &parts, Bytes::new()).await? {
            Ok((vouched, _)) => vouched,
            Err(refusal) => return Some(refusal),
        };
        parts.headers = headers;
        return service
            .call(Request::from_parts(bare(parts, vouched), body))
            .await;
    }
    if !deletes_many(&parts) {
        return service.call(Request::from_parts(parts, body)).await;
    }
    let head = parts.clone();
    let seen = Seen::default();
    parts.extensions.insert(seen.clone());
    let body = Watched {
        inner: body,
        seen: seen.clone(),
    };
    let answer = service.call(Request::from_parts(parts, body)).await?;
    if answer.status() != StatusCode::BAD_REQUEST {
        return Some(answer);
    }
    // s3s refused before anything was deleted. Only a document that arrived whole and reads otherwise is tried again.
    let sent = seen.whole().filter(|d| mend::document(d).is_some());
    let Some(sent) = sent else {
        return Some(answer);
    };
    let (vouched, document) = match vouch(service, &head, sent).await? {
        Ok(signed) => signed,
        Err(refusal) => return Some(refusal),
    };
    let Some(document) = mend::document(&document) else {
        return Some(answer);
    };
    let mut parts = bare(head, vouched);
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(document.len()));
    let body = Full::new(Bytes::from(document));
    service.call(Request::from_parts(parts, body)).await
}

/// Who signed the request, and its body as it was signed; nobody signed an unsigned one.
async fn vouch(
    service: &Service,
    parts: &Parts,
    body: Bytes,
) -> Option<Result<(Option<Vouched>, Bytes), HttpResponse>> {
    if !scheme::is_signed(&parts.headers, parts.uri.query()) {
        return Some(Ok((None, body)));
    }
    let answer = service.vouch(parts.clone(), body).await?;
    Some(answer.map(|(vouched, body)| (Some(vouched), body)))
}

/// The request without what signed it.
fn bare(mut parts: Parts, vouched: Option<Vouched>) -> Parts {
    let Some(vouched) = vouched else {
        return parts;
    };
    parts.extensions.insert(vouched);
    parts.headers.remove(AUTHORIZATION);
    for name in [
        "x-amz-content-sha256",
        "x-amz-decoded-content-length",
        "x-amz-trailer",
    ] {
        parts.headers.remove(name);
    }
    let kept = |query: &str| {
        let pairs = query.split('&').filter(|p| !scheme::is_signature(p));
        pairs.collect::<Vec<_>>().join("&")
    };
    if let Some(query) = parts.uri.query().map(kept) {
        let mut uri = parts.uri.clone().into_parts();
        let mark = if query.is_empty() { "" } else { "?" };
        uri.path_and_query = format!("{}{mark}{query}", parts.uri.path()).parse().ok();
        if let Ok(uri) = Uri::from_parts(uri) {
            parts.uri = uri;
        }
    }
    parts
}

fn deletes_many(parts: &Parts) -> bool {
    let mut names = parts.uri.query().unwrap_or_default().split('&');
    parts.method == Method::POST && names.any(|n| n == "delete" || n.starts_with("delete="))
}

/// What arrived of a body, for a second look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<(Vec<Bytes>, bool)>>);

impl Seen {
    /// All of it, once it ended.
    fn whole(&self) -> Option<Bytes> {
        let seen = self.0.lock();
        seen.1.then(|| seen.0.concat().into())
    }

    /// Whether it holds text that the parsed document does not show.
    pub(crate) fn hides_text(&self) -> bool {
        mend::hides_text(&self.0.lock().0.concat())
    }
}

/// A body that keeps what it yields.
struct Watched {
    inner: CheckedBody,
    seen: Seen,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = CheckedBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CheckedBodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let mut seen = self.seen.0.lock();
        match &frame {
            Some(Ok(frame)) => {
                seen.0.extend(frame.data_ref().cloned());
                seen.1 = self.inner.is_end_stream();
            }
            Some(Err(_)) => seen.1 = false,
            None => seen.1 = true,
        }
        drop(seen);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
