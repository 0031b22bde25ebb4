//! The HTTP server that every port uses: connection cap, timeouts, TLS, request ids, one log line a request.
//!
//! | module | what it holds |
//! |---|---|
//! | [`body`] | request bodies that time out, response bodies, collecting with admission |
//! | [`mod@serve`] | listeners, the connection cap, draining |
//! | `conn` | one connection: the guarded socket, its deadlines, lingering close |
//! | `exchange` | one request: its id, checks, counters, log line |
//!
//! A panic of a handler aborts the process through the hook of [`crate::telemetry`]: state after it is not trusted.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

pub mod body;
mod conn;
mod exchange;
pub mod serve;
#[cfg(test)]
mod tests;

pub use body::{
    BodyError, Caller, CollectError, Collected, HttpBody, RequestBody, RequestBodyError, collect,
    empty, full, step as admission_step,
};
pub use serve::{ServeOptions, Timeouts, bind, serve};

/// A request as handlers get it.
pub type HttpRequest = http::Request<RequestBody>;
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
    /// For the handler to say who asks; ports without identities leave it alone.
    pub caller: Caller,
}

/// Answers the requests of a port.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        &self,
        req: HttpRequest,
        ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>>;
}
