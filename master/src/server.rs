//! The native HTTP API of main (`/dir/assign`, `/dir/lookup`, status pages): decodes, asks [`Master`], encodes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`params`] | parameters from query string and form body |
//! | [`reply`] | JSON answers and errors |
//! | [`dir`] | assign, lookup, grow |
//! | [`submit`] | assign and upload in one request |
//! | [`status`] | the status documents and the page for people |
//! | [`metrics`] | what `/metrics` says of main |
//!
//! The shapes are those that six existing clients parse (decision 15): no field more in `/dir/lookup`, no `count` in an
//! error, numbers and names as they were. Every mistake is answered with a JSON object that has `error`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use halofs_runtime::http::{Handler, HttpRequest, HttpResponse, RequestContext, full};
use halofs_runtime::metrics::{self as exposition, Registry};
use halofs_types::VolumeId;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use serde_json::json;

use crate::master::Master;

mod dir;
pub mod metrics;
mod params;
mod reply;
mod status;
mod submit;

use params::{BadParams, Params};
use reply::Reply;

/// Bytes of a form body.
const FORM_BYTES_MAX: u64 = 64 << 10;

/// Answers main's port.
pub struct NativeMain {
    master: Arc<Master>,
    registry: Arc<Registry>,
    uploads: Option<Arc<dyn Handler>>,
}

impl NativeMain {
    /// `registry` is what `/metrics` shows; `uploads` is the port of a volume server in this process, for `/submit`.
    pub fn new(
        master: Arc<Master>,
        registry: Arc<Registry>,
        uploads: Option<Arc<dyn Handler>>,
    ) -> Self {
        Self {
            master,
            registry,
            uploads,
        }
    }

    async fn answer(&self, req: HttpRequest, ctx: RequestContext) -> HttpResponse {
        let method = req.method().clone();
        let path = req.uri().path().to_owned();
        if let Some(redirect) = self.redirect(&req) {
            return redirect;
        }
        if let (Some(uploads), "/submit", &Method::POST) = (&self.uploads, path.as_str(), &method) {
            return submit::submit(&self.master, uploads, req, ctx).await;
        }
        let params = match Params::read(req, FORM_BYTES_MAX).await {
            Ok(params) => params,
            Err(BadParams { status, reason }) => {
                return Reply::error(status, &reason).into_response(false);
            }
        };
        let pretty = params.has("pretty");
        if path == "/dir/assign" {
            return match dir::assign(&self.master, &params).await {
                Ok(assigned) => reply::written(StatusCode::OK, &assigned, pretty),
                Err(reply) => reply.into_response(pretty),
            };
        }
        match self.route(&method, &path, &params).await {
            Ok(reply) => reply.into_response(pretty),
            Err(response) => response,
        }
    }

    /// `Err` is an answer that is not JSON.
    async fn route(
        &self,
        method: &Method,
        path: &str,
        params: &Params,
    ) -> Result<Reply, HttpResponse> {
        let master = &self.master;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        Ok(match path {
            "/dir/lookup" => dir::lookup(master, params),
            "/dir/status" => Reply::ok(status::topology(master)),
            "/vol/status" => Reply::ok(status::volumes(master)),
            "/vol/grow" => dir::grow(master, params).await,
            "/vol/vacuum" => dir::vacuum(params),
            "/col/delete" => dir::delete_collection(master, params),
            "/collection/info" => status::collection(master, params.get("collection")),
            "/submit" if *method == Method::POST => dir::not_built(
                "no volume server runs in this process: ask /dir/assign for a fid and upload to its url",
            ),
            "/submit" => not_allowed("POST"),
            "/cluster/status" if reads => Reply::ok(status::cluster(master)),
            "/cluster/status" => not_allowed("GET, HEAD"),
            "/cluster/healthz" | "/readyz" => self.ready(),
            "/healthz" => Reply::ok(json!({ "status": "ok" })),
            "/metrics" => return Err(text(exposition::CONTENT_TYPE, self.registry.render())),
            "/" | "/ui/index.html" => return Err(page(status::page(master))),
            _ => Reply::error(
                StatusCode::NOT_FOUND,
                &format!("there is nothing at {path}"),
            ),
        })
    }

    fn ready(&self) -> Reply {
        if self.master.raft_status().0 {
            Reply::ok(json!({ "status": "ok" }))
        } else {
            Reply::error(StatusCode::SERVICE_UNAVAILABLE, "main has no leader")
                .with(RETRY_AFTER, "1")
        }
    }

    /// A path that names a fid goes on to the volume's server, with method and body kept (308). Its body is not read.
    fn redirect(&self, req: &HttpRequest) -> Option<HttpResponse> {
        let path = req.uri().path();
        let name = path.strip_prefix('/')?;
        let (volume, _) = name.split_once([',', '/']).unwrap_or((name, ""));
        if !volume.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let known = volume
            .parse::<VolumeId>()
            .ok()
            .filter(|v| self.master.is_native(*v));
        let locations = known
            .map(|v| self.master.view().locations(v))
            .unwrap_or_default();
        let Some(to) = locations.first() else {
            let reason = match known {
                Some(v) => format!("no copy of volume {v} has reported"),
                None => format!("volume id {volume} not found"),
            };
            return Some(Reply::error(StatusCode::NOT_FOUND, &reason).into_response(false));
        };
        let query = req
            .uri()
            .query()
            .map(|q| format!("?{q}"))
            .unwrap_or_default();
        let target = format!("http://{}{path}{query}", to.public_url);
        let mut response = Reply::new(StatusCode::PERMANENT_REDIRECT, json!({ "url": target }))
            .into_response(false);
        if let Ok(value) = HeaderValue::from_str(&target) {
            response.headers_mut().insert(LOCATION, value);
        }
        Some(response)
    }
}

fn not_allowed(allow: &'static str) -> Reply {
    Reply::error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("this answers to {allow} only"),
    )
    .with(ALLOW, allow)
}

fn text(kind: &'static str, body: String) -> HttpResponse {
    let mut response = http::Response::new(full(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply::harden(&mut response);
    response
}

fn page(body: String) -> HttpResponse {
    let mut response = text("text/html; charset=utf-8", body);
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    );
    response
        .headers_mut()
        .insert("content-security-policy", policy);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Handler for NativeMain {
    fn handle(
        &self,
        req: HttpRequest,
        ctx: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        Box::pin(self.answer(req, ctx))
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
