//! Authorisation, once, before any operation runs. s3s has parsed host, path and query into one target and verified the
//! signature over it; the same target is what the operation gets. Whatever only the parsed input shows (a listing's
//! prefix, a copy's source, the keys of a multi-delete) is checked in that operation's hook, with the same rules.

use std::borrow::Cow;
use std::sync::Arc;

use halofs_runtime::http::RequestContext;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    CopyObjectInput, CopySource, DeleteObjectsInput, ListMultipartUploadsInput,
    ListObjectVersionsInput, ListObjectsInput, ListObjectsV2Input, UploadPartCopyInput,
};
use s3s::path::S3Path;
use s3s::{S3Error, S3Request, S3Result};

use super::vouch::Vouched;
use super::{caller, config};
use crate::auth::actions::{self, Row, Target};
use crate::auth::identity::{Action, Identity, Resource};
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::{bucket, refuse};
use crate::serve::lenient::Seen;

/// Looks secrets up for signature checks.
pub(crate) struct Keys(pub(crate) Arc<Gateway>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.identities.load().find(access_key) {
            Some((credential, _)) => Ok(SecretKey::from(credential.secret_key.as_str())),
            None => Err(Code::InvalidAccessKeyId.into()),
        }
    }
}

/// Decides who may do what.
pub(crate) struct Access(pub(crate) Arc<Gateway>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let identity = self.admit(cx)?;
        self.of_owner(cx).await?;
        cx.extensions_mut().insert(identity);
        Ok(())
    }

    async fn list_objects(&self, req: &mut S3Request<ListObjectsInput>) -> S3Result<()> {
        names(
            &req.extensions,
            &req.input.bucket,
            req.input.prefix.as_deref(),
        )
    }

    async fn list_objects_v2(&self, req: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        names(
            &req.extensions,
            &req.input.bucket,
            req.input.prefix.as_deref(),
        )
    }

    async fn list_object_versions(
        &self,
        req: &mut S3Request<ListObjectVersionsInput>,
    ) -> S3Result<()> {
        names(
            &req.extensions,
            &req.input.bucket,
            req.input.prefix.as_deref(),
        )
    }

    async fn list_multipart_uploads(
        &self,
        req: &mut S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<()> {
        names(
            &req.extensions,
            &req.input.bucket,
            req.input.prefix.as_deref(),
        )
    }

    async fn copy_object(&self, req: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        source(&req.extensions, &req.input.copy_source)?;
        self.of_source_owner(&req.headers, &req.input.copy_source)
            .await
    }

    async fn upload_part_copy(&self, req: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        source(&req.extensions, &req.input.copy_source)?;
        self.of_source_owner(&req.headers, &req.input.copy_source)
            .await
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let claims =
            |n: &http::HeaderName| n == "content-md5" || n.as_str().starts_with("x-amz-checksum-");
        if !req.headers.keys().any(claims) {
            let message =
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
            return Err(GatewayError::refused(Code::InvalidRequest, message).into());
        }
        if req.extensions.get::<Seen>().is_some_and(Seen::hides_text) {
            return Err(Code::MalformedXML.into());
        }
        let identity = caller(&req.extensions)?;
        let bucket = &req.input.bucket;
        let all = req.input.delete.objects.iter();
        // One key that may not be deleted refuses them all: nothing is half done.
        let mine = all
            .map(|o| &o.key)
            .all(|k| identity.may(Action::Write, Resource::Key(bucket, k)));
        if mine {
            Ok(())
        } else {
            Err(Code::AccessDenied.into())
        }
    }
}

impl Access {
    /// Who asks, if they may.
    fn admit(&self, cx: &mut S3AccessContext<'_>) -> Result<Arc<Identity>, GatewayError> {
        let vouched = cx.extensions_mut().get::<Vouched>().cloned();
        let caller = cx.extensions_mut().get::<RequestContext>();
        let caller = caller.map(|c| c.caller.clone()).unwrap_or_default();
        let identities = self.0.identities.load();
        let key = cx.credentials().map(|c| c.access_key.as_str());
        let key = key.or(vouched.as_ref().map(|Vouched(key)| &**key));
        caller.name(key.unwrap_or("anonymous"));
        let signed = key.is_some();
        let identity = match key {
            Some(key) => {
                let found = identities.find(key).map(|(_, i)| i);
                found.ok_or(Code::InvalidAccessKeyId)?
            }
            None => identities.anonymous().ok_or(Code::AccessDenied)?,
        };
        let query = pairs(cx.uri().query().unwrap_or_default());
        refuse_token(cx.headers(), &query)?;
        if !signed {
            refuse_overrides(&query)?;
        }
        let row = actions::find(cx.s3_op().name()).ok_or(Code::NotImplemented)?;
        if !allowed(identity, signed, row, cx.s3_path()) {
            return Err(Code::AccessDenied.into());
        }
        shape(row, cx.s3_path(), &query)?;
        let kind = if row.writes {
            refuse::Kind::Write
        } else {
            refuse::Kind::Read
        };
        refuse::headers(kind, cx.headers())?;
        Ok(Arc::clone(identity))
    }

    /// What needs the bucket's row: its owner must be the one that the client expects, and a write that is not built is
    /// refused before its document is read, whatever that holds.
    async fn of_owner(&self, cx: &S3AccessContext<'_>) -> Result<(), GatewayError> {
        let operation = cx.s3_op().name();
        let Some(name) = cx.s3_path().get_bucket_name() else {
            return Ok(());
        };
        let unbuilt = config::is_unbuilt(operation);
        let expected = expected(cx.headers(), "x-amz-expected-bucket-owner");
        if operation == "CreateBucket" || (!unbuilt && expected.is_none()) {
            return Ok(());
        }
        bucket::open(&self.0, name, expected).await?;
        if unbuilt {
            let message = format!("{operation} is not implemented");
            return Err(GatewayError::refused(Code::NotImplemented, message));
        }
        Ok(())
    }

    /// The source of a copy may have an expected owner of its own.
    async fn of_source_owner(
        &self,
        headers: &http::HeaderMap,
        source: &CopySource,
    ) -> S3Result<()> {
        let expected = expected(headers, "x-amz-source-expected-bucket-owner");
        if let (Some(_), CopySource::Bucket { bucket, .. }) = (expected, source) {
            bucket::open(&self.0, bucket, expected).await?;
        }
        Ok(())
    }
}

/// An account id that no account has when the header is not text.
fn expected<'h>(headers: &'h http::HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}"))
}

fn allowed(identity: &Identity, signed: bool, row: &Row, path: &S3Path) -> bool {
    let bucket = path.get_bucket_name().unwrap_or_default();
    let resource = match row.target {
        Target::Service if signed => return true,
        Target::Service => Resource::Service,
        Target::Bucket => Resource::Bucket(bucket),
        Target::BucketPart | Target::Names => Resource::BucketPart(bucket),
        Target::Key => match path.get_object_key() {
            Some(key) => Resource::Key(bucket, key),
            None => return false,
        },
    };
    identity.may(row.action, resource)
}

fn refuse_token(headers: &http::HeaderMap, query: &[Pair<'_>]) -> Result<(), GatewayError> {
    let in_query = query
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("X-Amz-Security-Token"));
    if in_query || headers.contains_key("x-amz-security-token") {
        return Err(GatewayError::refused(
            Code::InvalidToken,
            "Session tokens are not implemented",
        ));
    }
    Ok(())
}

/// Response overrides are for those who signed the request.
fn refuse_overrides(query: &[Pair<'_>]) -> Result<(), GatewayError> {
    const OVERRIDES: [&str; 6] = [
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
    ];
    if query.iter().any(|(name, _)| OVERRIDES.contains(&&**name)) {
        return Err(GatewayError::refused(
            Code::InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    Ok(())
}

/// What no operation accepts: NUL in a key, a sub-resource of something else, a version of an unversioned bucket.
fn shape(row: &Row, path: &S3Path, query: &[Pair<'_>]) -> Result<(), GatewayError> {
    if path.get_object_key().is_some_and(|k| k.contains('\0')) {
        return Err(GatewayError::refused(
            Code::InvalidArgument,
            "An object key may not contain the byte NUL",
        ));
    }
    if let Some(name) = actions::foreign(row, query.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))) {
        let message = format!("The sub-resource {name:?} is not implemented");
        return Err(GatewayError::refused(Code::NotImplemented, message));
    }
    for (name, value) in query {
        match name.as_ref() {
            "versionId" if row.target == Target::Key => version(value)?,
            "list-type" if value != "2" && value != "1" => {
                return Err(GatewayError::refused(
                    Code::InvalidArgument,
                    "Invalid List Type",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn version(id: &str) -> Result<(), GatewayError> {
    if id == "null" {
        return Ok(());
    }
    Err(GatewayError::refused(
        Code::InvalidArgument,
        "Invalid version id specified",
    ))
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The query, decoded as s3s decodes it before it routes: what is checked is what was routed.
fn pairs(query: &str) -> Vec<Pair<'_>> {
    let all = query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    all.map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> Cow<'_, str> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    if decoded.contains('+') {
        Cow::Owned(decoded.replace('+', " "))
    } else {
        decoded
    }
}

fn names(extensions: &http::Extensions, bucket: &str, prefix: Option<&str>) -> S3Result<()> {
    let may = caller(extensions)?.may(
        Action::List,
        Resource::Names(bucket, prefix.unwrap_or_default()),
    );
    if may {
        Ok(())
    } else {
        Err(Code::AccessDenied.into())
    }
}

fn source(extensions: &http::Extensions, source: &CopySource) -> S3Result<()> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            if !caller(extensions)?.may(Action::Read, Resource::Key(bucket, key)) {
                return Err(Code::AccessDenied.into());
            }
            version_id
                .as_deref()
                .map_or(Ok(()), version)
                .map_err(S3Error::from)
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(S3Error::from(GatewayError::refused(
                Code::NotImplemented,
                "A copy source is bucket/key: access points and outposts are not implemented",
            )))
        }
    }
}
