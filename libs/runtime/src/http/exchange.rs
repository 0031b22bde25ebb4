//! One request from its head to the end of its answer: id, checks, counters and the log line.
//!
//! An answer may end before the request's body has arrived. An HTTP/1.1 connection then lingers and closes (`conn`). On
//! HTTP/2 the stream would be reset with `NO_ERROR` at once, and curl 7.88 then loses an answer that it had already got:
//! so the rest of the body is read and thrown away for a while, and only what still comes after that is reset.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SERVER, TRANSFER_ENCODING};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::{BodyError, Caller, Exchange, HttpBody, RequestBody, empty, full};
use super::conn::ConnState;
use super::serve::Port;
use super::{HttpResponse, RequestContext};
use crate::telemetry::access::AccessLine;

/// What every answer says of us.
const SERVER_VALUE: &str = concat!("HaloFS ", env!("CARGO_PKG_VERSION"));
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// Logged for a request whose handler was dropped because the client left.
const CLIENT_GONE: u16 = 499;

/// Answers the requests of one connection.
pub(crate) struct Exchanges {
    pub(crate) port: Arc<Port>,
    pub(crate) conn: Arc<ConnState>,
    pub(crate) peer: SocketAddr,
    /// `peer` as every log line shows it.
    pub(crate) peer_text: Arc<str>,
    pub(crate) tls: bool,
    /// Random; the n-th request's id is computed from it, so that a request costs no call of the kernel.
    pub(crate) id: u128,
    pub(crate) next: AtomicU64,
}

/// Odd, so that the ids of one connection never repeat; irrational in bits, so that they do not look alike.
const ID_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Exchanges {
    fn request_id(&self) -> String {
        let n = u128::from(self.next.fetch_add(1, Ordering::Relaxed));
        let id = self.id.wrapping_add(n.wrapping_mul(ID_STEP));
        let mut text = String::with_capacity(32);
        for byte in id.to_be_bytes() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }
}

type Answer =
    Pin<Box<dyn Future<Output = Result<Response<CountedBody>, std::convert::Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Exchanges {
    type Response = Response<CountedBody>;
    type Error = std::convert::Infallible;
    type Future = Answer;

    fn call(&self, req: Request<Incoming>) -> Answer {
        let version = req.version();
        let exchange = Arc::new(Exchange {
            multiplexed: version == Version::HTTP_2,
            ..Exchange::default()
        });
        self.conn.begin();
        self.port.metrics.in_flight.add(1);
        if version == Version::HTTP_2 {
            self.conn.h2.store(true, Ordering::Relaxed);
        }
        let end = End {
            port: Arc::clone(&self.port),
            conn: Arc::clone(&self.conn),
            exchange: Arc::clone(&exchange),
            method: req.method().clone(),
            uri: req.uri().clone(),
            peer: Arc::clone(&self.peer_text),
            request_id: self.request_id(),
            started: self.port.clock.monotonic_ns(),
            status: CLIENT_GONE,
            bytes_out: 0,
            whole: false,
        };
        let ctx = RequestContext {
            peer: self.peer,
            request_id: end.request_id.clone(),
            tls: self.tls,
            caller: Caller(Arc::clone(&exchange)),
        };
        let refused = refuse(&req);
        // A body of no bytes is never asked for, so its `100 Continue` never comes. botocore remembers the final status
        // that it got instead, and takes it for the answer to the connection's next upload.
        let unasked = version < Version::HTTP_2
            && req.headers().contains_key(EXPECT)
            && req.body().is_end_stream();
        let clock = Arc::clone(&self.port.clock);
        let req = req.map(|body| RequestBody::wire(body, clock, exchange));
        Box::pin(async move {
            let response = match refused {
                Some(response) => {
                    drop(req);
                    response
                }
                None => end.port.handler.handle(req, ctx).await,
            };
            let mut response = finish(response, end, version);
            if unasked {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

/// Requests that no handler should see: HTTP/1.1 without exactly one `Host`, and transfer codings that hyper would hand
/// on undecoded.
fn refuse<B>(req: &Request<B>) -> Option<HttpResponse> {
    let headers = req.headers();
    if req.version() == Version::HTTP_11 && headers.get_all(HOST).iter().count() != 1 {
        return Some(plain(
            StatusCode::BAD_REQUEST,
            "a request has exactly one Host header\n",
        ));
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    if codings
        .into_iter()
        .any(|v| !v.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Some(plain(
            StatusCode::NOT_IMPLEMENTED,
            "the only transfer coding is chunked\n",
        ));
    }
    None
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    // Whoever sends this may see requests where we see bodies.
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Adds the headers of every answer and hangs the end of the request onto its body.
fn finish(response: HttpResponse, mut end: End, version: Version) -> Response<CountedBody> {
    let (mut head, mut body) = response.into_parts();
    head.headers
        .insert(SERVER, HeaderValue::from_static(SERVER_VALUE));
    if let Ok(id) = HeaderValue::from_str(&end.request_id) {
        head.headers.insert(REQUEST_ID, id);
    }
    if end.exchange.unread.load(Ordering::Relaxed) && version < Version::HTTP_2 {
        // The rest of the body is on its way: the connection cannot carry another request.
        end.conn.unread.store(true, Ordering::Relaxed);
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let bodiless = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
    if bodiless {
        head.headers.remove(CONTENT_LENGTH);
        body = empty();
    } else if end.method == Method::HEAD {
        if let Some(len) = body.size_hint().exact()
            && !head.headers.contains_key(CONTENT_LENGTH)
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        body = empty();
    }
    end.status = head.status.as_u16();
    let expected = if bodiless || end.method == Method::HEAD {
        Some(0)
    } else {
        expected(&head.headers, &body)
    };
    Response::from_parts(
        head,
        CountedBody {
            body,
            expected,
            end,
        },
    )
}

fn expected(headers: &HeaderMap, body: &HttpBody) -> Option<u64> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    declared.or_else(|| body.size_hint().exact())
}

/// Dropped when the answer is complete or given up; then it counts and logs.
struct End {
    port: Arc<Port>,
    conn: Arc<ConnState>,
    exchange: Arc<Exchange>,
    method: Method,
    uri: Uri,
    peer: Arc<str>,
    request_id: String,
    started: u64,
    status: u16,
    bytes_out: u64,
    whole: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let now = self.port.clock.monotonic_ns();
        let ns = now.saturating_sub(self.started);
        let bytes_in = self.exchange.bytes_in.load(Ordering::Relaxed);
        if self.exchange.multiplexed {
            let leftover = self.exchange.leftover.lock().take();
            if let Some(body) = leftover.filter(|_| self.whole) {
                self.port.linger(body);
            }
        } else if self.exchange.unread.load(Ordering::Relaxed) {
            self.conn.unread.store(true, Ordering::Relaxed);
        }
        self.conn.end(now);
        let metrics = &self.port.metrics;
        metrics.in_flight.add(-1);
        metrics.bytes_in.add(bytes_in);
        metrics.bytes_out.add(self.bytes_out);
        metrics.request(&self.method, self.status, ns);
        let line = AccessLine {
            at: self.port.clock.now(),
            port: metrics.port(),
            method: self.method.as_str(),
            path: Redacted(&self.uri),
            status: self.status,
            bytes_in,
            bytes_out: self.bytes_out,
            ns,
            peer: &self.peer,
            caller: self.exchange.caller.get().map_or("-", AsRef::as_ref),
            request_id: &self.request_id,
            whole: self.whole,
        };
        line.log();
    }
}

/// Query parameters whose values are never logged.
const SECRETS: [&str; 6] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "jwt",
    "signature",
    "awsaccesskeyid",
];

/// A path and query as it goes into the log.
pub(crate) struct Redacted<'a>(pub(crate) &'a Uri);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.path())?;
        let Some(query) = self.0.query() else {
            return Ok(());
        };
        for (i, pair) in query.split('&').enumerate() {
            f.write_str(if i == 0 { "?" } else { "&" })?;
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if is_secret(name) {
                write!(f, "{name}=...")?;
            } else {
                f.write_str(pair)?;
            }
        }
        Ok(())
    }
}

/// Compares after undoing percent escapes, since `%6awt` is `jwt` to a handler.
fn is_secret(name: &str) -> bool {
    if name.contains('%') {
        let plain: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
        return SECRETS
            .iter()
            .any(|s| s.as_bytes().eq_ignore_ascii_case(&plain));
    }
    SECRETS.iter().any(|s| s.eq_ignore_ascii_case(name))
}

/// A response body that counts what leaves and ends its request when it is dropped.
pub(crate) struct CountedBody {
    body: HttpBody,
    expected: Option<u64>,
    end: End,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let n = frame.data_ref().map_or(0, Bytes::len);
                this.end.bytes_out += u64::try_from(n).unwrap_or(u64::MAX);
            }
            Poll::Ready(Some(Err(e))) => {
                tracing::warn!(
                    request_id = %this.end.request_id,
                    bytes_out = this.end.bytes_out,
                    error = %e,
                    "an answer was cut because its body failed",
                );
            }
            Poll::Ready(None) => this.end.whole = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        // Hyper does not poll a body past its declared length.
        self.end.whole |= self.body.is_end_stream() || self.expected == Some(self.end.bytes_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_the_log() {
        let uri: Uri = "/b/k?X-Amz-Signature=abc&x=1&X-Amz-Credential=me%2F1&jwt=t&%6Awt=u&X-Amz-Security-Token"
            .parse()
            .unwrap();
        assert_eq!(
            Redacted(&uri).to_string(),
            "/b/k?X-Amz-Signature=...&x=1&X-Amz-Credential=...&jwt=...&%6Awt=...&X-Amz-Security-Token=..."
        );
    }
}
