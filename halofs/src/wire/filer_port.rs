//! The filer's port: health and metrics. The filer's own HTTP API comes later and is refused by name.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use halofs_runtime::http::{Handler, HttpRequest, HttpResponse, RequestContext, full};
use halofs_runtime::metrics::{CONTENT_TYPE, Registry};
use http::{HeaderValue, Response, StatusCode, header};

/// Answers the filer's port.
pub(crate) struct FilerPort {
    registry: Arc<Registry>,
}

impl FilerPort {
    /// `registry` is what `/metrics` shows.
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    fn answer(&self, path: &str) -> HttpResponse {
        let (status, kind, body) = match path {
            "/healthz" | "/readyz" => (StatusCode::OK, "application/json", r#"{"status":"ok"}"#.to_owned()),
            "/metrics" => (StatusCode::OK, CONTENT_TYPE, self.registry.render()),
            _ => (
                StatusCode::NOT_IMPLEMENTED,
                "application/json",
                r#"{"error":"the filer's HTTP API is not built yet: use S3, or the native API of main and volume"}"#
                    .to_owned(),
            ),
        };
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

impl Handler for FilerPort {
    fn handle(
        &self,
        req: HttpRequest,
        _ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        let response = self.answer(req.uri().path());
        Box::pin(std::future::ready(response))
    }
}
