//! The s3s trait: each method unpacks its input, calls `ops`, and packs the answer.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::auth::identity::Identity;
use crate::gateway::Gateway;

pub(crate) mod access;
pub(crate) mod attributes;
mod bucket;
mod config;
pub(crate) mod convert;
pub(crate) mod copy;
pub(crate) mod error;
mod list;
pub(crate) mod multipart;
pub(crate) mod object;
pub(crate) mod service;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod vouch;
pub(crate) mod xml;

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
    bucket::list_buckets(ListBucketsInput) -> ListBucketsOutput;
    bucket::create_bucket(CreateBucketInput) -> CreateBucketOutput;
    bucket::head_bucket(HeadBucketInput) -> HeadBucketOutput;
    bucket::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    bucket::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    bucket::list_directory_buckets(ListDirectoryBucketsInput) -> ListDirectoryBucketsOutput;
    list::list_objects(ListObjectsInput) -> ListObjectsOutput;
    list::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    config::create_bucket_metadata_configuration(CreateBucketMetadataConfigurationInput) -> CreateBucketMetadataConfigurationOutput;
    config::create_bucket_metadata_table_configuration(CreateBucketMetadataTableConfigurationInput) -> CreateBucketMetadataTableConfigurationOutput;
    config::create_session(CreateSessionInput) -> CreateSessionOutput;
    config::delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput) -> DeleteBucketAnalyticsConfigurationOutput;
    config::delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput;
    config::delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput;
    config::delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput) -> DeleteBucketIntelligentTieringConfigurationOutput;
    config::delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput) -> DeleteBucketInventoryConfigurationOutput;
    config::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    config::delete_bucket_metadata_configuration(DeleteBucketMetadataConfigurationInput) -> DeleteBucketMetadataConfigurationOutput;
    config::delete_bucket_metadata_table_configuration(DeleteBucketMetadataTableConfigurationInput) -> DeleteBucketMetadataTableConfigurationOutput;
    config::delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput) -> DeleteBucketMetricsConfigurationOutput;
    config::delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput;
    config::delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput;
    config::delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput;
    config::delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
    config::delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput;
    config::delete_object_annotation(DeleteObjectAnnotationInput) -> DeleteObjectAnnotationOutput;
    config::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
    config::delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput;
    config::get_bucket_abac(GetBucketAbacInput) -> GetBucketAbacOutput;
    config::get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput;
    config::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
    config::get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput) -> GetBucketAnalyticsConfigurationOutput;
    config::get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput;
    config::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput;
    config::get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput) -> GetBucketIntelligentTieringConfigurationOutput;
    config::get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput) -> GetBucketInventoryConfigurationOutput;
    config::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput;
    config::get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    config::get_bucket_metadata_configuration(GetBucketMetadataConfigurationInput) -> GetBucketMetadataConfigurationOutput;
    config::get_bucket_metadata_table_configuration(GetBucketMetadataTableConfigurationInput) -> GetBucketMetadataTableConfigurationOutput;
    config::get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput) -> GetBucketMetricsConfigurationOutput;
    config::get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput;
    config::get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput;
    config::get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput;
    config::get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput;
    config::get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput;
    config::get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput;
    config::get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput;
    config::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    config::get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput;
    config::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
    config::get_object_annotation(GetObjectAnnotationInput) -> GetObjectAnnotationOutput;
    config::get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput;
    config::get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput;
    config::get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput;
    config::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    config::get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput;
    config::get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput;
    config::list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput;
    config::list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput;
    config::list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput;
    config::list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput;
    config::list_object_annotations(ListObjectAnnotationsInput) -> ListObjectAnnotationsOutput;
    config::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
    config::post_object(PostObjectInput) -> PostObjectOutput;
    config::put_bucket_abac(PutBucketAbacInput) -> PutBucketAbacOutput;
    config::put_bucket_accelerate_configuration(PutBucketAccelerateConfigurationInput) -> PutBucketAccelerateConfigurationOutput;
    config::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput;
    config::put_bucket_analytics_configuration(PutBucketAnalyticsConfigurationInput) -> PutBucketAnalyticsConfigurationOutput;
    config::put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput;
    config::put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput;
    config::put_bucket_intelligent_tiering_configuration(PutBucketIntelligentTieringConfigurationInput) -> PutBucketIntelligentTieringConfigurationOutput;
    config::put_bucket_inventory_configuration(PutBucketInventoryConfigurationInput) -> PutBucketInventoryConfigurationOutput;
    config::put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput;
    config::put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput;
    config::put_bucket_metrics_configuration(PutBucketMetricsConfigurationInput) -> PutBucketMetricsConfigurationOutput;
    config::put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput;
    config::put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput;
    config::put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput;
    config::put_bucket_replication(PutBucketReplicationInput) -> PutBucketReplicationOutput;
    config::put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput;
    config::put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput;
    config::put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput;
    config::put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput;
    config::put_object_acl(PutObjectAclInput) -> PutObjectAclOutput;
    config::put_object_annotation(PutObjectAnnotationInput) -> PutObjectAnnotationOutput;
    config::put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput;
    config::put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput;
    config::put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput;
    config::put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput;
    config::put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput;
    config::rename_object(RenameObjectInput) -> RenameObjectOutput;
    config::restore_object(RestoreObjectInput) -> RestoreObjectOutput;
    config::select_object_content(SelectObjectContentInput) -> SelectObjectContentOutput;
    config::update_bucket_metadata_annotation_table_configuration(UpdateBucketMetadataAnnotationTableConfigurationInput) -> UpdateBucketMetadataAnnotationTableConfigurationOutput;
    config::update_bucket_metadata_inventory_table_configuration(UpdateBucketMetadataInventoryTableConfigurationInput) -> UpdateBucketMetadataInventoryTableConfigurationOutput;
    config::update_bucket_metadata_journal_table_configuration(UpdateBucketMetadataJournalTableConfigurationInput) -> UpdateBucketMetadataJournalTableConfigurationOutput;
    config::update_object_encryption(UpdateObjectEncryptionInput) -> UpdateObjectEncryptionOutput;
    config::write_get_object_response(WriteGetObjectResponseInput) -> WriteGetObjectResponseOutput;
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
