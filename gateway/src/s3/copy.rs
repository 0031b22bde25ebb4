//! CopyObject and UploadPartCopy.

use halofs_types::checksum::ChecksumAlgorithm;
use halofs_types::object::SystemHeaders;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::copy::{CopyPlan, Source, copy};
use crate::ops::multipart::{PartPlace, copy_part, part_number, upload_id};
use crate::ops::payload::{algorithm, show};
use crate::ops::put::Labels;
use crate::s3::convert::{
    checksum_type, date_text, etag, precondition, set_checksum, tag_text, time, user_metadata,
};
use crate::s3::object::read_version;
use crate::serve::slow::begin;

/// The conditions on a copy's source.
struct SourceConditions {
    matches: Option<dto::ETagCondition>,
    none_match: Option<dto::ETagCondition>,
    modified_since: Option<dto::Timestamp>,
    unmodified_since: Option<dto::Timestamp>,
}

fn source(from: dto::CopySource, conditions: &SourceConditions) -> Result<Source, GatewayError> {
    let dto::CopySource::Bucket {
        bucket,
        key,
        version_id,
    } = from
    else {
        return Err(GatewayError::refused(
            Code::NotImplemented,
            "Access points and Outposts are not implemented as copy sources",
        ));
    };
    read_version(version_id.as_deref())?;
    Ok(Source {
        bucket: bucket.into_string(),
        key: key.into_string(),
        if_match: tag_text(conditions.matches.as_ref()),
        if_none_match: tag_text(conditions.none_match.as_ref()),
        if_modified_since: date_text(conditions.modified_since.as_ref()),
        if_unmodified_since: date_text(conditions.unmodified_since.as_ref()),
    })
}

/// `REPLACE` or `COPY`; anything else is refused.
fn replaces(directive: Option<&dto::MetadataDirective>) -> Result<bool, GatewayError> {
    match directive.map(dto::MetadataDirective::as_str) {
        None | Some(dto::MetadataDirective::COPY) => Ok(false),
        Some(dto::MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(GatewayError::refused(
            Code::InvalidArgument,
            "Unknown metadata directive.",
        )),
    }
}

/// An optional algorithm by name.
pub(crate) fn named(
    name: Option<&dto::ChecksumAlgorithm>,
) -> Result<Option<ChecksumAlgorithm>, GatewayError> {
    name.map(|a| algorithm(a.as_str())).transpose()
}

/// CopyObject.
pub(crate) async fn copy_object(
    gw: &Gateway,
    req: S3Request<dto::CopyObjectInput>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    begin(&req.extensions);
    let dto::CopyObjectInput {
        bucket,
        cache_control,
        checksum_algorithm,
        content_disposition,
        content_encoding,
        content_language,
        content_type,
        copy_source,
        copy_source_if_match,
        copy_source_if_modified_since,
        copy_source_if_none_match,
        copy_source_if_unmodified_since,
        expires,
        if_match,
        if_none_match,
        key,
        metadata,
        metadata_directive,
        server_side_encryption,
        storage_class,
        website_redirect_location,
        // No object has tags or annotations yet: copying and replacing them are the same.
        annotation_directive: _,
        tagging: _,
        tagging_directive: _,
        // The access check sees these.
        acl: _,
        bucket_key_enabled: _,
        copy_source_sse_customer_algorithm: _,
        copy_source_sse_customer_key: _,
        copy_source_sse_customer_key_md5: _,
        expected_bucket_owner: _,
        expected_source_bucket_owner: _,
        grant_full_control: _,
        grant_read: _,
        grant_read_acp: _,
        grant_write_acp: _,
        object_lock_legal_hold_status: _,
        object_lock_mode: _,
        object_lock_retain_until_date: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
        ssekms_encryption_context: _,
        ssekms_key_id: _,
    } = req.input;
    let conditions = SourceConditions {
        matches: copy_source_if_match,
        none_match: copy_source_if_none_match,
        modified_since: copy_source_if_modified_since,
        unmodified_since: copy_source_if_unmodified_since,
    };
    let headers = SystemHeaders {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires,
        website_redirect: None,
    };
    let labels = Labels {
        headers,
        user_metadata: user_metadata(metadata),
    };
    let plan = CopyPlan {
        source: source(copy_source, &conditions)?,
        bucket,
        key,
        replace: replaces(metadata_directive.as_ref())?.then_some(labels),
        website_redirect: website_redirect_location,
        renamed_class: storage_class.is_some() || server_side_encryption.is_some(),
        checksum: named(checksum_algorithm.as_ref())?,
        precondition: precondition(if_match, if_none_match)?,
    };
    let done = copy(gw, plan).await?;
    let mut result = dto::CopyObjectResult {
        e_tag: Some(etag(done.etag)),
        last_modified: Some(time(done.modified)),
        checksum_type: Some(checksum_type(done.checksum.kind)),
        ..Default::default()
    };
    set_checksum!(result, done.checksum.algorithm, done.checksum.text);
    Ok(S3Response::new(dto::CopyObjectOutput {
        copy_object_result: Some(result),
        server_side_encryption,
        ..Default::default()
    }))
}

/// UploadPartCopy.
pub(crate) async fn upload_part_copy(
    gw: &Gateway,
    req: S3Request<dto::UploadPartCopyInput>,
) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
    begin(&req.extensions);
    let dto::UploadPartCopyInput {
        bucket,
        copy_source,
        copy_source_if_match,
        copy_source_if_modified_since,
        copy_source_if_none_match,
        copy_source_if_unmodified_since,
        copy_source_range,
        key,
        part_number: number,
        upload_id: id,
        // The access check sees these.
        copy_source_sse_customer_algorithm: _,
        copy_source_sse_customer_key: _,
        copy_source_sse_customer_key_md5: _,
        expected_bucket_owner: _,
        expected_source_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    let conditions = SourceConditions {
        matches: copy_source_if_match,
        none_match: copy_source_if_none_match,
        modified_since: copy_source_if_modified_since,
        unmodified_since: copy_source_if_unmodified_since,
    };
    let source = source(copy_source, &conditions)?;
    let place = PartPlace {
        bucket,
        key,
        number: part_number(number)?,
        upload: upload_id(&id)?,
    };
    let part = copy_part(gw, place, source, copy_source_range.as_deref()).await?;
    let mut result = dto::CopyPartResult {
        e_tag: Some(etag(hex::encode(part.md5))),
        last_modified: Some(time(part.modified)),
        ..Default::default()
    };
    if let Some((algorithm, value)) = &part.checksum {
        set_checksum!(result, algorithm, show(value));
    }
    Ok(S3Response::new(dto::UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..Default::default()
    }))
}
