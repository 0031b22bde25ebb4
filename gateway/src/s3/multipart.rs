//! Multipart uploads.

use s3s::dto;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::gateway::Gateway;

/// CreateMultipartUpload.
pub(crate) async fn create_multipart_upload(
    _gw: &Gateway,
    _req: S3Request<dto::CreateMultipartUploadInput>,
) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
    Err(s3_error!(NotImplemented))
}

/// UploadPart.
pub(crate) async fn upload_part(
    _gw: &Gateway,
    _req: S3Request<dto::UploadPartInput>,
) -> S3Result<S3Response<dto::UploadPartOutput>> {
    Err(s3_error!(NotImplemented))
}

/// UploadPartCopy.
pub(crate) async fn upload_part_copy(
    _gw: &Gateway,
    _req: S3Request<dto::UploadPartCopyInput>,
) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
    Err(s3_error!(NotImplemented))
}

/// CompleteMultipartUpload.
pub(crate) async fn complete_multipart_upload(
    _gw: &Gateway,
    _req: S3Request<dto::CompleteMultipartUploadInput>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    Err(s3_error!(NotImplemented))
}

/// AbortMultipartUpload.
pub(crate) async fn abort_multipart_upload(
    _gw: &Gateway,
    _req: S3Request<dto::AbortMultipartUploadInput>,
) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
    Err(s3_error!(NotImplemented))
}

/// ListParts.
pub(crate) async fn list_parts(
    _gw: &Gateway,
    _req: S3Request<dto::ListPartsInput>,
) -> S3Result<S3Response<dto::ListPartsOutput>> {
    Err(s3_error!(NotImplemented))
}

/// ListMultipartUploads.
pub(crate) async fn list_multipart_uploads(
    _gw: &Gateway,
    _req: S3Request<dto::ListMultipartUploadsInput>,
) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
    Err(s3_error!(NotImplemented))
}
