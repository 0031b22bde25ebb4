//! The HTTP handler of the S3 port: own routes under `/-/` (no bucket can be called `-`), then early refusals that read
//! no body, then s3s, then what every answer carries.
//!
//! | module | what it holds |
//! |---|---|
//! | `host` | which bucket a `Host` header names |
//! | `early` | refusals before anything is read |
//! | `body` | request bodies that are checked against their headers |
//! | `mend`, `lenient` | what S3 reads and s3s refuses |
//! | `slow` | answers that begin before they are known |
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

use crate::auth::actions;
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::bucket;
use crate::s3::service::Service;

pub(crate) mod answer;
pub(crate) mod body;
mod early;
pub(crate) mod host;
pub(crate) mod lenient;
mod mend;
pub(crate) mod slow;

use answer::Subject;
use body::CheckedBody;
use early::Place;
use host::Hosts;
use slow::Begun;

/// Said again by the answer.
const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// The handler of the S3 port.
pub struct S3Handler(Arc<Front>);

/// What answers share.
struct Front {
    gateway: Arc<Gateway>,
    hosts: Hosts,
    service: Service,
}

impl std::fmt::Debug for S3Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Handler")
            .field("hosts", &self.0.hosts)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// The handler of the S3 port.
    pub fn handler(self: &Arc<Self>) -> S3Handler {
        let hosts = Hosts::new(&self.config.domain_names);
        let service = Service::new(self, hosts.clone());
        S3Handler(Arc::new(Front {
            gateway: Arc::clone(self),
            hosts,
            service,
        }))
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
    async fn answer(&self, mut req: HttpRequest, ctx: RequestContext) -> HttpResponse {
        let host_bucket = host_of(&req)
            .and_then(|h| self.0.hosts.bucket(h))
            .map(str::to_owned);
        let virtual_host = host_bucket.is_some();
        let subject = Subject {
            method: req.method().clone(),
            uri: req.uri().clone(),
            place: Place::of(req.uri().path(), virtual_host),
            host_bucket,
            request_id: ctx.request_id.clone(),
        };
        req.extensions_mut().insert(ctx);
        if !virtual_host && let Some(own) = req.uri().path().strip_prefix("/-/") {
            return self.0.own(&subject, req.method(), own).await;
        }
        if !slow::may_last(&req) {
            return self.0.whole(&subject, req, virtual_host).await;
        }
        let begun = Begun::default();
        req.extensions_mut().insert(begun.clone());
        let early = subject.clone();
        let encryption = req.headers().get(ENCRYPTION).cloned();
        let front = Arc::clone(&self.0);
        let work = Box::pin(async move { front.whole(&subject, req, virtual_host).await });
        let clock = Arc::clone(&self.0.gateway.clock);
        slow::answer(work, begun, clock, |body| {
            answer::begun(&early, body, encryption)
        })
        .await
    }
}

impl Front {
    async fn whole(&self, subject: &Subject, req: HttpRequest, virtual_host: bool) -> HttpResponse {
        let answer = self.s3(subject, req, virtual_host).await;
        let mut res = answer.unwrap_or_else(|error| answer::refuse(subject, &error));
        self.tell_region(subject, &mut res).await;
        res
    }

    /// An answer to HEAD has no body that could name the region which a client should have signed for. Clients look for
    /// this header instead, above all in an answer that refuses them.
    async fn tell_region(&self, subject: &Subject, res: &mut HttpResponse) {
        const REGION: &str = "x-amz-bucket-region";
        let refused = matches!(
            res.status(),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN
        );
        if subject.method != Method::HEAD || !refused || res.headers().contains_key(REGION) {
            return;
        }
        // What is not there has no region, and what cannot be looked up tells none.
        if let Ok(bucket) = self.gateway.filer.bucket(&subject.bucket()).await
            && let Ok(region) = bucket::region(&self.gateway, &bucket).parse()
        {
            res.headers_mut().insert(REGION, region);
        }
    }

    async fn s3(
        &self,
        subject: &Subject,
        req: HttpRequest,
        virtual_host: bool,
    ) -> Result<HttpResponse, GatewayError> {
        early::check(&req, virtual_host)?;
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
        let res = lenient::call(&self.service, parts, body)
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
