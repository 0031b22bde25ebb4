//! Objects.

use s3s::dto;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::gateway::Gateway;

/// PutObject.
pub(crate) async fn put_object(
    _gw: &Gateway,
    _req: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    Err(s3_error!(NotImplemented))
}

/// GetObject.
pub(crate) async fn get_object(
    _gw: &Gateway,
    _req: S3Request<dto::GetObjectInput>,
) -> S3Result<S3Response<dto::GetObjectOutput>> {
    Err(s3_error!(NotImplemented))
}

/// HeadObject.
pub(crate) async fn head_object(
    _gw: &Gateway,
    _req: S3Request<dto::HeadObjectInput>,
) -> S3Result<S3Response<dto::HeadObjectOutput>> {
    Err(s3_error!(NotImplemented))
}

/// DeleteObject.
pub(crate) async fn delete_object(
    _gw: &Gateway,
    _req: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    Err(s3_error!(NotImplemented))
}

/// DeleteObjects.
pub(crate) async fn delete_objects(
    _gw: &Gateway,
    _req: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    Err(s3_error!(NotImplemented))
}

/// CopyObject.
pub(crate) async fn copy_object(
    _gw: &Gateway,
    _req: S3Request<dto::CopyObjectInput>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    Err(s3_error!(NotImplemented))
}

/// GetObjectAttributes.
pub(crate) async fn get_object_attributes(
    _gw: &Gateway,
    _req: S3Request<dto::GetObjectAttributesInput>,
) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
    Err(s3_error!(NotImplemented))
}
