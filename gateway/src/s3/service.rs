//! The s3s service: its limits, its hosts, its access checks.

use std::sync::Arc;

use bytes::Bytes;
use halofs_runtime::http::HttpBody;
use halofs_types::limits;
use http_body_util::BodyExt;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Result, StdError};

use super::S3Front;
use super::access::{Access, Keys};
use super::convert::{StandIns, references};
use super::vouch::{Verify, Vouched, Voucher};
use super::xml::Document;
use crate::auth::scheme::SERVICES;
use crate::gateway::Gateway;
use crate::serve::host::Hosts;

/// s3s over a gateway.
#[derive(Debug)]
pub(crate) struct Service {
    inner: S3Service,
}

struct HostAdapter(Hosts);

impl S3Host for HostAdapter {
    /// A host that is none of ours is path style: nothing is guessed from it.
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let plain = VirtualHost::new(host);
        Ok(match self.0.bucket(host) {
            Some(bucket) => plain.with_bucket(bucket),
            None => plain,
        })
    }
}

fn config() -> S3Config {
    let mut c = S3Config::default();
    // Smaller for all but one operation: `serve` sees to it.
    c.xml_max_body_size = limits::COMPLETE_BYTES_MAX;
    c.aws_chunked_stream_max_chunk_size = limits::SIGNED_CHUNK_BYTES_MAX;
    c.put_object_max_size = Some(limits::PUT_BYTES_MAX);
    // Forms are not built; nothing of one is ever worth keeping in memory.
    c.post_object_max_file_size = 0;
    c.form_max_field_size = 4096;
    c.form_max_fields_size = 4096;
    c.form_max_parts = 1;
    c.sig_v4_allowed_services = SERVICES.map(str::to_owned).to_vec();
    c.custom_route_max_body_size = Some(limits::XML_BYTES_MAX as u64);
    c.enable_sig_v2 = false;
    c
}

impl Service {
    /// Builds it.
    pub(crate) fn new(gateway: &Arc<Gateway>, hosts: Hosts) -> Self {
        let mut builder = S3ServiceBuilder::new(S3Front::new(Arc::clone(gateway)));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config()))));
        builder.set_auth(Keys(Arc::clone(gateway)));
        builder.set_access(Access(Arc::clone(gateway)));
        builder.set_route(Voucher);
        if !hosts.is_empty() {
            builder.set_host(HostAdapter(hosts));
        }
        Self {
            inner: builder.build(),
        }
    }

    /// Answers a request. `None`: nothing sensible can be said, the connection is cut.
    pub(crate) async fn call<B>(&self, req: http::Request<B>) -> Option<http::Response<HttpBody>>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        StdError: From<B::Error>,
    {
        let empty = http_body::Body::is_end_stream(req.body());
        let req = req.map(|body| {
            if empty {
                Body::empty()
            } else {
                Body::http_body(body)
            }
        });
        let (mut parts, body) = self.send(req).await?.into_parts();
        if let Some(status) = parts.extensions.remove::<http::StatusCode>() {
            parts.status = status;
        }
        let spelled = parts.extensions.remove::<StandIns>();
        let spelled = spelled.and_then(|StandIns| references(&body.bytes()?));
        let body = match (parts.extensions.remove::<Document>(), spelled) {
            (Some(Document(bytes)), _) => halofs_runtime::http::full(bytes),
            (None, Some(text)) => halofs_runtime::http::full(text),
            (None, None) => body.boxed_unsync(),
        };
        Some(http::Response::from_parts(parts, body))
    }

    /// Who signed a request, and its body as it was signed; or why it is refused.
    pub(crate) async fn vouch(
        &self,
        mut head: http::request::Parts,
        body: Bytes,
    ) -> Option<Result<(Vouched, Bytes), http::Response<HttpBody>>> {
        head.extensions.insert(Verify);
        let req = http::Request::from_parts(head, Body::from(body));
        let (mut parts, body) = self.send(req).await?.into_parts();
        Some(match parts.extensions.remove::<Vouched>() {
            Some(vouched) => Ok((vouched, body.bytes().unwrap_or_default())),
            None => Err(http::Response::from_parts(parts, body.boxed_unsync())),
        })
    }

    async fn send(&self, req: http::Request<Body>) -> Option<http::Response<Body>> {
        match self.inner.call(req).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::warn!(%error, "a request ended without an answer");
                None
            }
        }
    }
}
