//! The native HTTP API of a volume server: decodes, asks a [`VolumeApi`], encodes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`path`] | the URL forms of a fid, query parameters |
//! | [`name`] | file names, mime types, dispositions, header pairs |
//! | [`read`] | GET and HEAD: conditionals, ranges, gzip negotiation |
//! | [`stream`] | needle bytes as a response body, one piece ahead |
//! | [`write`] | PUT and POST: limits, MD5, inflating |
//! | [`form`] | multipart uploads |
//! | [`status`] | status, health and the page for people |
//! | [`reply`] | JSON answers; the one table of error statuses |
//!
//! GET errors have no body, as clients of the original expect; every other error is `{"error": "..."}`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use halofs_client::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::{Deleted, VolumeApi};
use halofs_runtime::admission::Admission;
use halofs_runtime::http::{Handler, HttpRequest, HttpResponse, RequestContext, empty, full};
use halofs_runtime::metrics::{self as exposition, Registry};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN,
};
use http::{Method, Response, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

mod form;
mod name;
mod path;
mod read;
mod reply;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod write;

use path::{Query, Target};
use reply::{Op, Refusal};

/// Settings of the native port.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// The largest file in bytes (`-fileSizeLimitMB`).
    pub file_bytes_max: u64,
    /// Shown by `/status`.
    pub dir: String,
    /// Refuses everything but reads (`-port.public`).
    pub read_only: bool,
}

/// Answers the native port of a volume server.
pub struct NativeVolume {
    api: Arc<dyn VolumeApi>,
    config: NativeConfig,
    admission: Admission,
    registry: Arc<Registry>,
    stopping: CancellationToken,
}

impl std::fmt::Debug for NativeVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeVolume")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl NativeVolume {
    /// `admission` counts the bodies of all ports of the process; `registry` is what `/metrics` shows; `stopping` makes
    /// the health pages answer 503.
    pub fn new(
        api: Arc<dyn VolumeApi>,
        config: NativeConfig,
        admission: Admission,
        registry: Arc<Registry>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            api,
            config,
            admission,
            registry,
            stopping,
        }
    }

    async fn answer(&self, req: HttpRequest) -> HttpResponse {
        let cors = req.headers().contains_key(ORIGIN);
        let read = matches!(*req.method(), Method::GET | Method::HEAD);
        let pretty = Query::of(req.uri()).is_ok_and(|q| q.has("pretty"));
        let mut response = match self.route(req).await {
            Ok(response) => response,
            Err(refusal) if read => refusal.bare(),
            Err(refusal) => refusal.json(pretty),
        };
        if cors {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        response
    }

    async fn route(&self, req: HttpRequest) -> Result<HttpResponse, Refusal> {
        let method = req.method().clone();
        if method == Method::OPTIONS {
            return Ok(self.options());
        }
        if matches!(method, Method::GET | Method::HEAD) {
            if let Some(page) = self.page(&req).await {
                return Ok(page);
            }
            return self.read(&req, method == Method::HEAD).await;
        }
        let writes = matches!(method, Method::PUT | Method::POST | Method::DELETE);
        if !writes || self.config.read_only {
            return Err(Refusal::bad(format!("unsupported method {method}")));
        }
        let target = Target::parse(req.uri().path())?;
        let query = Query::of(req.uri())?;
        if method == Method::DELETE {
            return self.delete(&target, &query).await;
        }
        self.write(req, target, &query).await
    }

    fn options(&self) -> HttpResponse {
        let methods = if self.config.read_only {
            "GET, OPTIONS"
        } else {
            "PUT, POST, GET, DELETE, OPTIONS"
        };
        let mut response = Response::new(empty());
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(methods));
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        response
    }

    async fn page(&self, req: &HttpRequest) -> Option<HttpResponse> {
        let pretty = || Query::of(req.uri()).is_ok_and(|q| q.has("pretty"));
        Some(match req.uri().path() {
            "/status" => {
                let report = self.api.node_report().await;
                reply::json(
                    StatusCode::OK,
                    &status::document(&self.config.dir, &report),
                    pretty(),
                )
            }
            "/healthz" | "/readyz" => {
                let stopping = self.stopping.is_cancelled();
                let status = if stopping {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::OK
                };
                let mut response =
                    Response::new(full(if stopping { "stopping\n" } else { "ok\n" }));
                *response.status_mut() = status;
                response
            }
            "/metrics" => {
                let mut response = Response::new(full(self.registry.render()));
                let kind = HeaderValue::from_static(exposition::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/" | "/ui/index.html" => {
                let report = self.api.node_report().await;
                let mut response = Response::new(full(status::page(&report)));
                let kind = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => return None,
        })
    }

    async fn delete(&self, target: &Target, query: &Query) -> Result<HttpResponse, Refusal> {
        let pretty = query.has("pretty");
        let mut answers = self
            .api
            .delete_needles(vec![target.fid], VolumeOwner::Native)
            .await;
        let gone = |size: u64| {
            Ok(reply::json(
                StatusCode::ACCEPTED,
                &json!({ "size": size }),
                pretty,
            ))
        };
        match answers.pop() {
            Some(Ok(Deleted::Yes { size })) => gone(size),
            Some(
                Ok(Deleted::Absent) | Err(VolumeError::NotFound(_) | VolumeError::NoVolume(_)),
            ) => Ok(reply::json(
                StatusCode::NOT_FOUND,
                &json!({ "size": 0 }),
                pretty,
            )),
            Some(Err(e)) => Err(Refusal::volume(&e, Op::Delete)),
            None => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the delete was not answered",
            )),
        }
    }
}

impl Handler for NativeVolume {
    fn handle(
        &self,
        req: HttpRequest,
        _ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        Box::pin(self.answer(req))
    }
}
