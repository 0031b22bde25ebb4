//! Multipart uploads. As in `object`: every field of an input is named, what the access check refuses is `_`.

use bytes::Bytes;
use halofs_client::filer::ListUploads;
use halofs_runtime::http::RequestContext;
use halofs_types::Timestamp;
use halofs_types::object::{Owner, Part, SystemHeaders, Upload};
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::complete::{CompletePlan, ListedPart, complete};
use crate::ops::multipart::{
    self, CreatePlan, PartPlace, checksum_kind, part_number, put_part, upload_checksum, upload_id,
};
use crate::ops::payload::{Claims, show};
use crate::ops::put::Labels;
use crate::s3::caller;
use crate::s3::convert::{
    RequestStream, checksum_type, count, etag, named_answer, named_checksums, page_size,
    precondition, set_checksum, spell, take_trailers, time, user_metadata,
};
use crate::s3::copy::named;
pub(crate) use crate::s3::copy::upload_part_copy;
use crate::s3::xml::url_encode;
use crate::serve::slow::begin;

/// CreateMultipartUpload.
pub(crate) async fn create_multipart_upload(
    gw: &Gateway,
    req: S3Request<dto::CreateMultipartUploadInput>,
) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
    let initiator = caller(&req.extensions)?.owner.clone();
    let dto::CreateMultipartUploadInput {
        bucket,
        cache_control,
        checksum_algorithm,
        checksum_type: kind,
        content_disposition,
        content_encoding,
        content_language,
        content_type,
        expires,
        key,
        metadata,
        server_side_encryption,
        website_redirect_location,
        // The access check sees these.
        acl: _,
        bucket_key_enabled: _,
        expected_bucket_owner: _,
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
        storage_class: _,
        tagging: _,
    } = req.input;
    let headers = SystemHeaders {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires,
        website_redirect: website_redirect_location,
    };
    let kind = kind.as_ref().map(dto::ChecksumType::as_str);
    let checksum = upload_checksum(named(checksum_algorithm.as_ref())?, kind)?;
    let labels = Labels {
        headers,
        user_metadata: user_metadata(metadata),
    };
    let plan = CreatePlan {
        bucket: bucket.clone(),
        key: key.clone(),
        labels,
        checksum,
        initiator,
    };
    let upload = multipart::create(gw, plan).await?;
    Ok(named_answer(dto::CreateMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(spell(key)),
        upload_id: Some(upload.id.to_string()),
        checksum_algorithm: algorithm_of(&upload),
        checksum_type: kind_of(&upload),
        server_side_encryption,
        ..Default::default()
    }))
}

fn algorithm_of(upload: &Upload) -> Option<dto::ChecksumAlgorithm> {
    upload
        .checksum
        .map(|(a, _)| dto::ChecksumAlgorithm::from_static(a.name()))
}

fn kind_of(upload: &Upload) -> Option<dto::ChecksumType> {
    upload.checksum.map(|(_, kind)| checksum_type(kind))
}

/// UploadPart.
pub(crate) async fn upload_part(
    gw: &Gateway,
    req: S3Request<dto::UploadPartInput>,
) -> S3Result<S3Response<dto::UploadPartOutput>> {
    let dto::UploadPartInput {
        body,
        bucket,
        content_length,
        key,
        part_number: number,
        upload_id: id,
        // `Claims::read` takes these from the headers.
        checksum_algorithm: _,
        checksum_crc32: _,
        checksum_crc32c: _,
        checksum_crc64nvme: _,
        checksum_md5: _,
        checksum_sha1: _,
        checksum_sha256: _,
        checksum_sha512: _,
        checksum_xxhash128: _,
        checksum_xxhash3: _,
        checksum_xxhash64: _,
        content_md5: _,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    let claims = Claims::read(&req.headers, content_length)?;
    let place = PartPlace {
        bucket,
        key,
        number: part_number(number)?,
        upload: upload_id(&id)?,
    };
    let trailers = take_trailers(req.trailing_headers);
    let part = put_part(gw, place, claims, RequestStream::new(body), trailers).await?;
    let mut out = dto::UploadPartOutput {
        e_tag: Some(etag(hex::encode(part.md5))),
        ..Default::default()
    };
    if let Some((algorithm, value)) = &part.checksum {
        set_checksum!(out, algorithm, show(value));
    }
    Ok(S3Response::new(out))
}

/// CompleteMultipartUpload.
pub(crate) async fn complete_multipart_upload(
    gw: &Gateway,
    req: S3Request<dto::CompleteMultipartUploadInput>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    begin(&req.extensions);
    let location = location(&req);
    let dto::CompleteMultipartUploadInput {
        bucket,
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_md5,
        checksum_sha1,
        checksum_sha256,
        checksum_sha512,
        checksum_type: kind,
        checksum_xxhash128,
        checksum_xxhash3,
        checksum_xxhash64,
        if_match,
        if_none_match,
        key,
        mpu_object_size,
        multipart_upload,
        upload_id: id,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    let checksums = named_checksums!(
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_md5,
        checksum_sha1,
        checksum_sha256,
        checksum_sha512,
        checksum_xxhash128,
        checksum_xxhash3,
        checksum_xxhash64
    );
    let listed = multipart_upload.and_then(|m| m.parts).unwrap_or_default();
    let size = mpu_object_size
        .map(u64::try_from)
        .transpose()
        .map_err(|_| {
            GatewayError::refused(
                Code::InvalidRequest,
                "Value for x-amz-mp-object-size header is invalid.",
            )
        })?;
    let plan = CompletePlan {
        bucket: bucket.clone(),
        key: key.clone(),
        upload: upload_id(&id)?,
        parts: listed
            .into_iter()
            .map(listed_part)
            .collect::<Result<_, _>>()?,
        precondition: precondition(if_match, if_none_match)?,
        checksums,
        kind: kind
            .as_ref()
            .map(|k| checksum_kind(k.as_str()))
            .transpose()?,
        size,
    };
    let done = complete(gw, plan).await?;
    let mut out = dto::CompleteMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(spell(key)),
        location,
        e_tag: Some(etag(done.etag)),
        ..Default::default()
    };
    if let Some(shown) = done.checksum {
        out.checksum_type = Some(checksum_type(shown.kind));
        set_checksum!(out, shown.algorithm, shown.text);
    }
    Ok(named_answer(out))
}

fn listed_part(part: dto::CompletedPart) -> Result<ListedPart, GatewayError> {
    let dto::CompletedPart {
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_md5,
        checksum_sha1,
        checksum_sha256,
        checksum_sha512,
        checksum_xxhash128,
        checksum_xxhash3,
        checksum_xxhash64,
        e_tag,
        part_number,
    } = part;
    Ok(ListedPart {
        number: part_number.ok_or(Code::MalformedXML)?,
        etag: e_tag.ok_or(Code::MalformedXML)?.into_value(),
        checksums: named_checksums!(
            checksum_crc32,
            checksum_crc32c,
            checksum_crc64nvme,
            checksum_md5,
            checksum_sha1,
            checksum_sha256,
            checksum_sha512,
            checksum_xxhash128,
            checksum_xxhash3,
            checksum_xxhash64
        ),
    })
}

/// The URL of the object as the client reached us.
fn location<T>(req: &S3Request<T>) -> Option<String> {
    let host = req.headers.get(http::header::HOST)?.to_str().ok()?;
    let tls = req
        .extensions
        .get::<RequestContext>()
        .is_some_and(|c| c.tls);
    let scheme = if tls { "https" } else { "http" };
    Some(format!("{scheme}://{host}{}", req.uri.path()))
}

/// AbortMultipartUpload.
pub(crate) async fn abort_multipart_upload(
    gw: &Gateway,
    req: S3Request<dto::AbortMultipartUploadInput>,
) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
    let dto::AbortMultipartUploadInput {
        bucket,
        if_match_initiated_time,
        key,
        upload_id: id,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
    } = req.input;
    let initiated = if_match_initiated_time
        .as_ref()
        .map(|at| Timestamp::from_secs(dto_secs(at)));
    multipart::abort(gw, &bucket, &key, upload_id(&id)?, initiated).await?;
    Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
}

/// Whole seconds since the Unix epoch.
fn dto_secs(at: &dto::Timestamp) -> u64 {
    let mut text = Vec::new();
    let written = at.format(dto::TimestampFormat::HttpDate, &mut text);
    let text = written.ok().and_then(|()| String::from_utf8(text).ok());
    text.and_then(|t| Timestamp::parse_http_date(&t))
        .map_or(0, Timestamp::secs)
}

fn initiator(owner: &Owner) -> dto::Initiator {
    dto::Initiator {
        display_name: Some(owner.display_name.clone()),
        id: Some(owner.id.clone()),
    }
}

fn owner(owner: &Owner) -> dto::Owner {
    dto::Owner {
        display_name: Some(owner.display_name.clone()),
        id: Some(owner.id.clone()),
    }
}

/// ListParts.
pub(crate) async fn list_parts(
    gw: &Gateway,
    req: S3Request<dto::ListPartsInput>,
) -> S3Result<S3Response<dto::ListPartsOutput>> {
    let dto::ListPartsInput {
        bucket,
        key,
        max_parts,
        part_number_marker,
        upload_id: id,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    let limit = page_size(max_parts, "max-parts")?;
    let after = u32::try_from(part_number_marker.unwrap_or(0)).map_err(|_| {
        GatewayError::refused(
            Code::InvalidArgument,
            "Argument part-number-marker must be an integer between 0 and 2147483647",
        )
    })?;
    let (owned, upload, parts, more) =
        multipart::list_parts(gw, &bucket, &key, upload_id(&id)?, after, limit).await?;
    let next = parts.last().and_then(|p| i32::try_from(p.number).ok());
    Ok(named_answer(dto::ListPartsOutput {
        bucket: Some(bucket),
        key: Some(spell(key)),
        upload_id: Some(id),
        checksum_algorithm: algorithm_of(&upload),
        checksum_type: kind_of(&upload),
        initiator: Some(initiator(&upload.initiator)),
        owner: Some(owner(&owned.owner)),
        is_truncated: Some(more),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: next.or(Some(0)),
        part_number_marker: part_number_marker.or(Some(0)),
        parts: Some(parts.iter().map(shown_part).collect()),
        storage_class: Some(dto::StorageClass::from(upload.storage_class)),
        abort_date: None,
        abort_rule_id: None,
        request_charged: None,
    }))
}

fn shown_part(part: &Part) -> dto::Part {
    let mut out = dto::Part {
        e_tag: Some(etag(hex::encode(part.md5))),
        last_modified: Some(time(part.modified)),
        part_number: i32::try_from(part.number).ok(),
        size: Some(count(part.size)),
        ..Default::default()
    };
    if let Some((algorithm, value)) = &part.checksum {
        set_checksum!(out, algorithm, show(value));
    }
    out
}

/// ListMultipartUploads.
pub(crate) async fn list_multipart_uploads(
    gw: &Gateway,
    req: S3Request<dto::ListMultipartUploadsInput>,
) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
    let dto::ListMultipartUploadsInput {
        bucket,
        delimiter,
        encoding_type,
        key_marker,
        max_uploads,
        prefix,
        upload_id_marker,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
    } = req.input;
    let limit = page_size(max_uploads, "max-uploads")?;
    let encodes = match encoding_type.as_ref().map(dto::EncodingType::as_str) {
        None => false,
        Some(dto::EncodingType::URL) => true,
        Some(_) => {
            let message = "Invalid Encoding Method specified in Request";
            return Err(GatewayError::refused(Code::InvalidArgument, message).into());
        }
    };
    let encode = |text: String| {
        if encodes { encoded(&text) } else { spell(text) }
    };
    let key_marker = key_marker.unwrap_or_default();
    // A marker of an upload means nothing without that of a key.
    let upload_marker = upload_id_marker
        .clone()
        .filter(|m| !m.is_empty() && !key_marker.is_empty());
    let upload_marker = upload_marker
        .map(|m| m.parse())
        .transpose()
        .map_err(|_| GatewayError::refused(Code::InvalidArgument, "Invalid uploadId marker"))?;
    let list = ListUploads {
        prefix: prefix.clone().unwrap_or_default().into(),
        delimiter: delimiter.clone().unwrap_or_default().into(),
        key_marker: Bytes::copy_from_slice(key_marker.as_bytes()),
        upload_marker,
        limit,
    };
    let (owned, page) = multipart::list_uploads(gw, &bucket, list).await?;
    let text = |key: &Bytes| encode(String::from_utf8_lossy(key).into_owned());
    let (next_key, next_upload) = match &page.next {
        Some((key, upload)) if page.truncated => (Some(text(key)), upload.map(|u| u.to_string())),
        _ => (None, None),
    };
    let uploads = page.uploads.iter().map(|u| dto::MultipartUpload {
        checksum_algorithm: algorithm_of(u),
        checksum_type: kind_of(u),
        initiated: Some(time(u.initiated)),
        initiator: Some(initiator(&u.initiator)),
        key: Some(text(&u.key)),
        owner: Some(owner(&owned.owner)),
        storage_class: Some(dto::StorageClass::from(u.storage_class.clone())),
        upload_id: Some(u.id.to_string()),
    });
    let prefixes = page.prefixes.iter().map(|p| dto::CommonPrefix {
        prefix: Some(text(p)),
    });
    Ok(named_answer(dto::ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        common_prefixes: Some(prefixes.collect()),
        bucket: Some(bucket),
        delimiter: delimiter.map(encode),
        encoding_type,
        is_truncated: Some(page.truncated),
        key_marker: Some(encode(key_marker)),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: next_key,
        next_upload_id_marker: next_upload,
        prefix: Some(encode(prefix.unwrap_or_default())),
        request_charged: None,
        upload_id_marker: Some(upload_id_marker.unwrap_or_default()),
    }))
}

/// A key or prefix under `encoding-type=url`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    url_encode(&mut out, text.as_bytes());
    out
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
