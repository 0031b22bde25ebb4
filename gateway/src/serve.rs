//! The HTTP handler of the S3 port: own routes under `/-/` (no bucket can be called `-`), then early refusals that read
//! no body, then s3s, then what every answer carries.
//!
//! | module | what it holds |
//! |---|---|
//! | `host` | which bucket a `Host` header names |
//! | `body` | request bodies that are checked against their headers |
//! | `answer` | request ids, error bodies, bodyless answers |

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use halofs_client::filer::ListBuckets;
use halofs_runtime::http::{Handler, HttpRequest, HttpResponse, RequestContext, full};
use halofs_runtime::metrics;
use halofs_types::limits;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::auth::{actions, scheme};
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::s3::service::Service;

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod host;

use answer::Subject;
use body::CheckedBody;
use host::Hosts;

/// The handler of the S3 port.
pub struct S3Handler {
    gateway: Arc<Gateway>,
    hosts: Hosts,
    service: Service,
}

impl std::fmt::Debug for S3Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Handler")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// The handler of the S3 port.
    pub fn handler(self: &Arc<Self>) -> S3Handler {
        let hosts = Hosts::new(&self.config.domain_names);
        let service = Service::new(self, hosts.clone());
        S3Handler {
            gateway: Arc::clone(self),
            hosts,
            service,
        }
    }
}

impl Handler for S3Handler {
    fn handle(
        &self,
        req: HttpRequest,
        ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        Box::pin(self.answer(req, ctx))
    }
}

impl S3Handler {
    async fn answer(&self, req: HttpRequest, ctx: RequestContext) -> HttpResponse {
        let host_bucket = host_of(&req)
            .and_then(|h| self.hosts.bucket(h))
            .map(str::to_owned);
        let virtual_host = host_bucket.is_some();
        let subject = Subject {
            method: req.method().clone(),
            uri: req.uri().clone(),
            host_bucket,
            request_id: ctx.request_id,
        };
        if !virtual_host && let Some(own) = req.uri().path().strip_prefix("/-/") {
            return self.own(&subject, req.method(), own).await;
        }
        match self.s3(&subject, req, virtual_host).await {
            Ok(res) => res,
            Err(error) => answer::refuse(&subject, &error),
        }
    }

    async fn s3(
        &self,
        subject: &Subject,
        req: HttpRequest,
        virtual_host: bool,
    ) -> Result<HttpResponse, GatewayError> {
        early(&req)?;
        let mut req = req;
        if !virtual_host {
            collapse_root(&mut req);
        }
        let parsed = !streams(&req, virtual_host);
        let (parts, body) = req.into_parts();
        let length = body.declared_len();
        let expects_body = length != Some(0);
        // Bytes of objects are admitted where they are read; documents are small, and are admitted here.
        let (body, permit) = if parsed && expects_body {
            let mut names = parts.uri.query().unwrap_or_default().split('&');
            let completes =
                parts.method == Method::POST && names.any(|n| n.starts_with("uploadId="));
            let limit = if completes {
                limits::COMPLETE_BYTES_MAX
            } else {
                limits::XML_BYTES_MAX
            };
            let bytes = length.map_or(Ok(limit), usize::try_from);
            let bytes = bytes.ok().filter(|n| *n <= limit);
            let bytes = bytes.ok_or(Code::MaxMessageLengthExceeded)?;
            let body = CheckedBody::checked(body, &parts.headers, completes, limit)?;
            (body, Some(self.gateway.admission.acquire(bytes).await?))
        } else {
            (CheckedBody::plain(body), None)
        };
        let verdict = body.verdict();
        let res = self
            .service
            .call(http::Request::from_parts(parts, body))
            .await
            .ok_or(Code::InternalError)?;
        drop(permit);
        Ok(answer::finish(subject, res, verdict.code()).await)
    }

    /// `/-/healthz`, `/-/readyz`, `/-/metrics`.
    async fn own(&self, subject: &Subject, method: &Method, path: &str) -> HttpResponse {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::refuse(subject, &Code::MethodNotAllowed.into());
        }
        match path {
            "healthz" => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
            "readyz" => self.ready().await,
            "metrics" => text(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                self.gateway.registry.render(),
            ),
            _ => answer::refuse(
                subject,
                &GatewayError::refused(Code::NoSuchKey, "There is nothing here"),
            ),
        }
    }

    async fn ready(&self) -> HttpResponse {
        match self
            .gateway
            .filer
            .list_buckets(ListBuckets {
                limit: 1,
                ..ListBuckets::default()
            })
            .await
        {
            Ok(_) => text(StatusCode::OK, "text/plain", "ready\n".to_owned()),
            Err(error) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                format!("not ready: {error}\n"),
            ),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    let mut res = http::Response::new(full(body));
    *res.status_mut() = status;
    res.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    res
}

fn host_of(req: &HttpRequest) -> Option<&str> {
    match req.headers().get(HOST) {
        Some(host) => host.to_str().ok(),
        None => req.uri().authority().map(http::uri::Authority::as_str),
    }
}

/// Refusals that need neither identity nor body: with `Expect: 100-continue` the body is never sent.
fn early(req: &HttpRequest) -> Result<(), GatewayError> {
    if req.method() == Method::OPTIONS {
        return Err(Code::AccessForbidden.into());
    }
    scheme::check(req.headers(), req.uri().query())?;
    control_characters(req.uri().query().unwrap_or_default())?;
    let form = req
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| {
            v.trim_start()
                .get(..19)
                .is_some_and(|p| p.eq_ignore_ascii_case("multipart/form-data"))
        });
    if form && req.method() == Method::POST {
        return Err(GatewayError::refused(
            Code::NotImplemented,
            "POST with a form is not implemented",
        ));
    }
    if req.uri().path() == "/WriteGetObjectResponse" {
        return Err(GatewayError::refused(
            Code::NotImplemented,
            "WriteGetObjectResponse is not implemented",
        ));
    }
    Ok(())
}

/// Only names may hold control characters: what else does is refused before an error could repeat it.
fn control_characters(query: &str) -> Result<(), GatewayError> {
    const NAMES: [&str; 6] = [
        "prefix",
        "delimiter",
        "marker",
        "start-after",
        "key-marker",
        "annotation-prefix",
    ];
    let bad = |text: &str| {
        text.contains('%')
            && percent_encoding::percent_decode_str(text).any(|b| b < b' ' || b == 0x7f)
    };
    let mut pairs = query
        .split('&')
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    if query.contains('%')
        && pairs.any(|(name, value)| bad(name) || (bad(value) && !NAMES.contains(&name)))
    {
        return Err(GatewayError::refused(
            Code::InvalidArgument,
            "A query parameter that is not a name may not contain control characters",
        ));
    }
    Ok(())
}

/// `GET //` means `GET /`: clients that join an endpoint and an empty bucket send it, and sign the latter.
fn collapse_root(req: &mut HttpRequest) {
    let path = req.uri().path();
    if path.len() < 2 || path.bytes().any(|b| b != b'/') {
        return;
    }
    let query = req.uri().query().map(|q| format!("/?{q}"));
    let mut parts = req.uri().clone().into_parts();
    parts.path_and_query = query.as_deref().unwrap_or("/").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *req.uri_mut() = uri;
    }
}

/// Whether the body is the bytes of an object: PUT of a key, or of a part of one, and not of its sub-resources. A wrong
/// guess costs a check or a limit, never an object: s3s decides by its own routing.
fn streams(req: &HttpRequest, virtual_host: bool) -> bool {
    let path = req.uri().path().strip_prefix('/').unwrap_or_default();
    let key = if virtual_host {
        path
    } else {
        path.split_once('/').map_or("", |(_, k)| k)
    };
    let query = req.uri().query().unwrap_or_default();
    let mut names = query
        .split('&')
        .map(|p| p.split('=').next().unwrap_or_default());
    req.method() == Method::PUT
        && !key.is_empty()
        && names.all(|n| matches!(n, "partNumber" | "uploadId") || !actions::is_subresource(n))
}
