//! Signatures of requests that s3s verifies but could not read. A route of s3s verifies the signature, over the request
//! as it was sent and over its body, and vouches for whoever signed; the request then comes back in words that s3s reads,
//! unsigned, with the voucher in its extensions, where no client can put one.

use std::sync::Arc;

use bytes::Bytes;
use halofs_types::limits;
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use crate::error::Code;

/// The access key that signed the request that this one stands for.
#[derive(Debug, Clone)]
pub(crate) struct Vouched(pub(crate) Arc<str>);

/// Marks a request whose signature is all that is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verify;

/// The route.
pub(crate) struct Voucher;

#[async_trait::async_trait]
impl S3Route for Voucher {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, extensions: &mut Extensions) -> bool {
        extensions.get::<Verify>().is_some()
    }

    /// Answers the body as it was signed.
    async fn call(&self, mut req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let credentials = req.credentials.ok_or(Code::AccessDenied)?;
        let bytes = match req.method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ => req
                .input
                .store_all_limited(limits::XML_BYTES_MAX)
                .await
                .map_err(|_| Code::IncompleteBody)?,
        };
        let mut answer = S3Response::new(Body::from(bytes));
        let vouched = Vouched(credentials.access_key.into());
        answer.extensions.insert(vouched);
        Ok(answer)
    }
}
