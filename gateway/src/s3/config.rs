//! Operations that are not built: reads say what AWS says of a bucket where nothing is configured, writes say 501. The
//! bucket must exist, and the object where the answer speaks of one; permission was checked before.

use std::future::{Ready, ready};

use halofs_types::object::{Bucket, Object};
use http::HeaderMap;
use s3s::{S3Request, S3Response, S3Result, dto};

use super::error::s3_error;
use super::xml::{self, Xml, answer};
use crate::error::Code;
use crate::gateway::Gateway;
use crate::ops::bucket;

/// The bucket of a request that may name its expected owner.
async fn open(gw: &Gateway, headers: &HeaderMap, name: &str) -> S3Result<Bucket> {
    let expected = headers
        .get("x-amz-expected-bucket-owner")
        .map(|v| v.to_str().unwrap_or("\u{fffd}"));
    Ok(bucket::open(gw, name, expected).await?)
}

async fn object(gw: &Gateway, bucket: &Bucket, key: &str) -> S3Result<Object> {
    let found = gw
        .filer
        .lookup(bucket.id, key.as_bytes())
        .await
        .map_err(crate::GatewayError::from)?;
    found
        .map(|f| f.object)
        .ok_or_else(|| Code::NoSuchKey.into())
}

/// What is not there; a thing that is not built is called by its name.
fn absent(code: Code, operation: &str) -> s3s::S3Error {
    match code {
        Code::NotImplemented => s3_error(code, format!("{operation} is not implemented")),
        _ => code.into(),
    }
}

macro_rules! of_bucket {
    ($($name:ident($input:ident) -> $output:ident: $code:ident;)*) => {
        $(
        pub(crate) async fn $name(
            gw: &Gateway,
            req: S3Request<dto::$input>,
        ) -> S3Result<S3Response<dto::$output>> {
            open(gw, &req.headers, &req.input.bucket).await?;
            let operation = stringify!($input).trim_end_matches("Input");
            Err(absent(Code::$code, operation))
        }
    )*

        /// What each of them says.
        const OF_BUCKET: &[(&str, Code)] = &[$((stringify!($input), Code::$code),)*];
    };
}

/// Whether the operation is refused with 501 in any bucket that exists.
pub(super) fn is_unbuilt(operation: &str) -> bool {
    OF_BUCKET.iter().any(|(input, code)| {
        *code == Code::NotImplemented && input.strip_suffix("Input") == Some(operation)
    })
}

macro_rules! of_object {
    ($($name:ident($input:ident) -> $output:ident: $code:ident;)*) => {$(
        pub(crate) async fn $name(
            gw: &Gateway,
            req: S3Request<dto::$input>,
        ) -> S3Result<S3Response<dto::$output>> {
            let bucket = open(gw, &req.headers, &req.input.bucket).await?;
            object(gw, &bucket, &req.input.key).await?;
            Err(Code::$code.into())
        }
    )*};
}

macro_rules! document {
    ($($name:ident($input:ident) -> $output:ident: $root:literal $content:literal;)*) => {$(
        pub(crate) async fn $name(
            gw: &Gateway,
            req: S3Request<dto::$input>,
        ) -> S3Result<S3Response<dto::$output>> {
            open(gw, &req.headers, &req.input.bucket).await?;
            let mut x = Xml::new($root, $content.len());
            x.raw($content);
            Ok(answer(x))
        }
    )*};
}

of_bucket! {
    create_bucket_metadata_configuration(CreateBucketMetadataConfigurationInput) -> CreateBucketMetadataConfigurationOutput: NotImplemented;
    create_bucket_metadata_table_configuration(CreateBucketMetadataTableConfigurationInput) -> CreateBucketMetadataTableConfigurationOutput: NotImplemented;
    create_session(CreateSessionInput) -> CreateSessionOutput: NotImplemented;
    delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput) -> DeleteBucketAnalyticsConfigurationOutput: NoSuchConfiguration;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput: NotImplemented;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput: NotImplemented;
    delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput) -> DeleteBucketIntelligentTieringConfigurationOutput: NoSuchConfiguration;
    delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput) -> DeleteBucketInventoryConfigurationOutput: NoSuchConfiguration;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput: NotImplemented;
    delete_bucket_metadata_configuration(DeleteBucketMetadataConfigurationInput) -> DeleteBucketMetadataConfigurationOutput: NotImplemented;
    delete_bucket_metadata_table_configuration(DeleteBucketMetadataTableConfigurationInput) -> DeleteBucketMetadataTableConfigurationOutput: NotImplemented;
    delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput) -> DeleteBucketMetricsConfigurationOutput: NoSuchConfiguration;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput: NotImplemented;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput: NotImplemented;
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput: NotImplemented;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput: NotImplemented;
    delete_object_annotation(DeleteObjectAnnotationInput) -> DeleteObjectAnnotationOutput: NotImplemented;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput: NotImplemented;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput: NotImplemented;
    get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput) -> GetBucketAnalyticsConfigurationOutput: NoSuchConfiguration;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput: NoSuchCORSConfiguration;
    get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput) -> GetBucketIntelligentTieringConfigurationOutput: NoSuchConfiguration;
    get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput) -> GetBucketInventoryConfigurationOutput: NoSuchConfiguration;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput: NoSuchLifecycleConfiguration;
    get_bucket_metadata_configuration(GetBucketMetadataConfigurationInput) -> GetBucketMetadataConfigurationOutput: NoSuchConfiguration;
    get_bucket_metadata_table_configuration(GetBucketMetadataTableConfigurationInput) -> GetBucketMetadataTableConfigurationOutput: NoSuchConfiguration;
    get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput) -> GetBucketMetricsConfigurationOutput: NoSuchConfiguration;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput: NoSuchBucketPolicy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput: NoSuchBucketPolicy;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput: ReplicationConfigurationNotFoundError;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput: NoSuchTagSet;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput: NoSuchWebsiteConfiguration;
    get_object_annotation(GetObjectAnnotationInput) -> GetObjectAnnotationOutput: NotImplemented;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput: ObjectLockConfigurationNotFoundError;
    get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput: NotImplemented;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput: NoSuchPublicAccessBlockConfiguration;
    list_object_annotations(ListObjectAnnotationsInput) -> ListObjectAnnotationsOutput: NotImplemented;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput: NotImplemented;
    post_object(PostObjectInput) -> PostObjectOutput: NotImplemented;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput: NotImplemented;
    put_bucket_analytics_configuration(PutBucketAnalyticsConfigurationInput) -> PutBucketAnalyticsConfigurationOutput: NotImplemented;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput: NotImplemented;
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput: NotImplemented;
    put_bucket_intelligent_tiering_configuration(PutBucketIntelligentTieringConfigurationInput) -> PutBucketIntelligentTieringConfigurationOutput: NotImplemented;
    put_bucket_inventory_configuration(PutBucketInventoryConfigurationInput) -> PutBucketInventoryConfigurationOutput: NotImplemented;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput: NotImplemented;
    put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput: NotImplemented;
    put_bucket_metrics_configuration(PutBucketMetricsConfigurationInput) -> PutBucketMetricsConfigurationOutput: NotImplemented;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput: NotImplemented;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput: NotImplemented;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput: NotImplemented;
    put_bucket_replication(PutBucketReplicationInput) -> PutBucketReplicationOutput: NotImplemented;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput: NotImplemented;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput: NotImplemented;
    put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput: NotImplemented;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput: NotImplemented;
    put_object_annotation(PutObjectAnnotationInput) -> PutObjectAnnotationOutput: NotImplemented;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput: NotImplemented;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput: NotImplemented;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput: NotImplemented;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput: NotImplemented;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput: NotImplemented;
    rename_object(RenameObjectInput) -> RenameObjectOutput: NotImplemented;
    select_object_content(SelectObjectContentInput) -> SelectObjectContentOutput: NotImplemented;
    update_bucket_metadata_annotation_table_configuration(UpdateBucketMetadataAnnotationTableConfigurationInput) -> UpdateBucketMetadataAnnotationTableConfigurationOutput: NotImplemented;
    update_bucket_metadata_inventory_table_configuration(UpdateBucketMetadataInventoryTableConfigurationInput) -> UpdateBucketMetadataInventoryTableConfigurationOutput: NotImplemented;
    update_bucket_metadata_journal_table_configuration(UpdateBucketMetadataJournalTableConfigurationInput) -> UpdateBucketMetadataJournalTableConfigurationOutput: NotImplemented;
    update_object_encryption(UpdateObjectEncryptionInput) -> UpdateObjectEncryptionOutput: NotImplemented;
}

of_object! {
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput: NoSuchObjectLockConfiguration;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput: NoSuchObjectLockConfiguration;
    restore_object(RestoreObjectInput) -> RestoreObjectOutput: InvalidObjectState;
}

document! {
    get_bucket_abac(GetBucketAbacInput) -> GetBucketAbacOutput: "AbacStatus"
        "<Status>Disabled</Status>";
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput: "AccelerateConfiguration"
        "";
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput: "ServerSideEncryptionConfiguration"
        "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>";
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput: "BucketLoggingStatus"
        "";
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput: "NotificationConfiguration"
        "";
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput: "OwnershipControls"
        "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>";
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput: "RequestPaymentConfiguration"
        "<Payer>BucketOwner</Payer>";
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput: "VersioningConfiguration"
        "";
    list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput: "ListBucketAnalyticsConfigurationResult"
        "<IsTruncated>false</IsTruncated>";
    list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput: "ListBucketIntelligentTieringConfigurationsOutput"
        "<IsTruncated>false</IsTruncated>";
    list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput: "ListInventoryConfigurationsResult"
        "<IsTruncated>false</IsTruncated>";
    list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput: "ListMetricsConfigurationsResult"
        "<IsTruncated>false</IsTruncated>";
}

/// The owner may do everything, and nobody else is named.
fn owner_only<T: Default>(bucket: &Bucket) -> S3Response<T> {
    let mut x = Xml::new("AccessControlPolicy", 512);
    xml::owner(&mut x, "Owner", &bucket.owner);
    x.raw("<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
    x.raw(" xsi:type=\"CanonicalUser\">");
    x.field("ID", &bucket.owner.id);
    if !bucket.owner.display_name.is_empty() {
        x.field("DisplayName", &bucket.owner.display_name);
    }
    x.raw("</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>");
    answer(x)
}

/// GET /bucket?acl.
pub(crate) async fn get_bucket_acl(
    gw: &Gateway,
    req: S3Request<dto::GetBucketAclInput>,
) -> S3Result<S3Response<dto::GetBucketAclOutput>> {
    Ok(owner_only(
        &open(gw, &req.headers, &req.input.bucket).await?,
    ))
}

/// GET /bucket/key?acl.
pub(crate) async fn get_object_acl(
    gw: &Gateway,
    req: S3Request<dto::GetObjectAclInput>,
) -> S3Result<S3Response<dto::GetObjectAclOutput>> {
    let bucket = open(gw, &req.headers, &req.input.bucket).await?;
    object(gw, &bucket, &req.input.key).await?;
    Ok(owner_only(&bucket))
}

/// GET /bucket/key?tagging: no object has tags yet.
pub(crate) async fn get_object_tagging(
    gw: &Gateway,
    req: S3Request<dto::GetObjectTaggingInput>,
) -> S3Result<S3Response<dto::GetObjectTaggingOutput>> {
    let bucket = open(gw, &req.headers, &req.input.bucket).await?;
    object(gw, &bucket, &req.input.key).await?;
    let mut x = Xml::new("Tagging", 64);
    x.raw("<TagSet></TagSet>");
    Ok(answer(x))
}

/// DELETE /bucket?website: there is none, so it is gone.
pub(crate) async fn delete_bucket_website(
    gw: &Gateway,
    req: S3Request<dto::DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<dto::DeleteBucketWebsiteOutput>> {
    open(gw, &req.headers, &req.input.bucket).await?;
    Ok(S3Response::new(dto::DeleteBucketWebsiteOutput {}))
}

/// PUT /bucket?requestPayment: what holds already may be said again.
pub(crate) async fn put_bucket_request_payment(
    gw: &Gateway,
    req: S3Request<dto::PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<dto::PutBucketRequestPaymentOutput>> {
    open(gw, &req.headers, &req.input.bucket).await?;
    let payer = req.input.request_payment_configuration.payer;
    let same = payer.as_str() == dto::Payer::BUCKET_OWNER;
    let done = S3Response::new(dto::PutBucketRequestPaymentOutput {});
    if same {
        Ok(done)
    } else {
        Err(absent(Code::NotImplemented, "Requester pays"))
    }
}

/// PUT /bucket?accelerate: what holds already may be said again.
pub(crate) async fn put_bucket_accelerate_configuration(
    gw: &Gateway,
    req: S3Request<dto::PutBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<dto::PutBucketAccelerateConfigurationOutput>> {
    open(gw, &req.headers, &req.input.bucket).await?;
    let status = req.input.accelerate_configuration.status;
    let same = status.is_some_and(|s| s.as_str() == dto::BucketAccelerateStatus::SUSPENDED);
    let done = S3Response::new(dto::PutBucketAccelerateConfigurationOutput {});
    if same {
        Ok(done)
    } else {
        Err(absent(Code::NotImplemented, "Transfer acceleration"))
    }
}

/// PUT /bucket?abac: what holds already may be said again.
pub(crate) async fn put_bucket_abac(
    gw: &Gateway,
    req: S3Request<dto::PutBucketAbacInput>,
) -> S3Result<S3Response<dto::PutBucketAbacOutput>> {
    open(gw, &req.headers, &req.input.bucket).await?;
    let status = req.input.abac_status.status;
    let same = status.is_some_and(|s| s.as_str() == dto::BucketAbacStatus::DISABLED);
    let done = S3Response::new(dto::PutBucketAbacOutput {});
    if same {
        Ok(done)
    } else {
        Err(absent(
            Code::NotImplemented,
            "Attribute-based access control",
        ))
    }
}

/// POST /WriteGetObjectResponse: a part of Object Lambda.
pub(crate) fn write_get_object_response(
    _gw: &Gateway,
    _req: S3Request<dto::WriteGetObjectResponseInput>,
) -> Ready<S3Result<S3Response<dto::WriteGetObjectResponseOutput>>> {
    ready(Err(absent(Code::NotImplemented, "WriteGetObjectResponse")))
}
