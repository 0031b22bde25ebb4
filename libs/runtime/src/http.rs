//! The HTTP server that every port uses: connection cap, timeouts, TLS, request ids, one log line a request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

/// An error of a response body's stream: the connection is cut.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every response.
pub type HttpBody = UnsyncBoxBody<Bytes, BodyError>;
/// A request as handlers get it.
pub type HttpRequest = http::Request<Incoming>;
/// A handler's answer.
pub type HttpResponse = http::Response<HttpBody>;

/// What the server knows of a request beside its bytes.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The peer's socket address.
    pub peer: SocketAddr,
    /// 32 hex digits, also sent as `x-amz-request-id`; a client's own value is ignored.
    pub request_id: String,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// Answers the requests of a port.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, req: HttpRequest, ctx: RequestContext) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>>;
}

/// A body of one byte string.
pub fn full(bytes: impl Into<Bytes>) -> HttpBody {
    use http_body_util::BodyExt;
    HttpBody::new(http_body_util::Full::new(bytes.into()).map_err(|never| match never {}))
}

/// No body.
pub fn empty() -> HttpBody {
    full(Bytes::new())
}
