//! The s3s trait: each method unpacks its input, calls `ops`, and packs the answer.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::auth::identity::Identity;
use crate::gateway::Gateway;

pub(crate) mod convert;
pub(crate) mod error;
pub(crate) mod multipart;
pub(crate) mod object;

/// The S3 trait over a gateway.
pub(crate) struct S3Front {
    gateway: Arc<Gateway>,
}

impl S3Front {
    /// Over this gateway.
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }
}

macro_rules! operations {
    ($($module:ident :: $name:ident($input:ident) -> $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for S3Front {
            $(
                async fn $name(&self, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                    $module::$name(&self.gateway, req).await
                }
            )*
        }
    };
}

operations! {
    object::put_object(PutObjectInput) -> PutObjectOutput;
    object::get_object(GetObjectInput) -> GetObjectOutput;
    object::head_object(HeadObjectInput) -> HeadObjectOutput;
    object::delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    object::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    object::copy_object(CopyObjectInput) -> CopyObjectOutput;
    object::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput;
    multipart::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    multipart::upload_part(UploadPartInput) -> UploadPartOutput;
    multipart::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    multipart::complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    multipart::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    multipart::list_parts(ListPartsInput) -> ListPartsOutput;
    multipart::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
}

/// Who asks: the access check put it there.
pub(crate) fn caller(extensions: &http::Extensions) -> S3Result<&Arc<Identity>> {
    extensions
        .get::<Arc<Identity>>()
        .ok_or_else(|| crate::error::Code::AccessDenied.into())
}
