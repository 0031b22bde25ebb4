//! Objects: put, get, head, delete. Inputs are taken apart field by field, so that a new one cannot be dropped silently.
//! What the access check refuses (locks, keys, grants, tags, classes: `ops/refuse.rs`) is `_` here.

use halofs_types::conditional::Conditions;
use halofs_types::object::{Object, SystemHeaders};
use halofs_types::range::RangeSpec;
use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, ETAG, EXPIRES, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED,
};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::delete::{DeleteKey, check_version, delete, delete_many};
use crate::ops::get::{Ask, Got, Outcome, Wish, get, head};
use crate::ops::payload::{Claims, show};
use crate::ops::put::{Labels, PutPlan, ShownChecksum, put, shown_checksum};
pub(crate) use crate::s3::attributes::get_object_attributes;
use crate::s3::convert::{
    RequestStream, ResponseStream, checksum_type, count, date_text, etag, metadata, named_answer,
    precondition, set_checksum, spell, tag_text, take_trailers, time, user_metadata,
};
pub(crate) use crate::s3::copy::copy_object;
use crate::s3::error::table;

/// PutObject.
pub(crate) async fn put_object(
    gw: &Gateway,
    req: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    let dto::PutObjectInput {
        body,
        bucket,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        content_length,
        content_type,
        expires,
        if_match,
        if_none_match,
        key,
        metadata,
        server_side_encryption,
        website_redirect_location,
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
        write_offset_bytes: _,
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
    let plan = PutPlan {
        bucket,
        key,
        labels: Labels {
            headers,
            user_metadata: user_metadata(metadata),
        },
        precondition: precondition(if_match, if_none_match)?,
        claims: Claims::read(&req.headers, content_length)?,
    };
    let done = put(
        gw,
        plan,
        RequestStream::new(body),
        take_trailers(req.trailing_headers),
    )
    .await?;
    let mut out = dto::PutObjectOutput {
        e_tag: Some(etag(done.etag)),
        checksum_type: Some(checksum_type(done.checksum.kind)),
        server_side_encryption,
        ..Default::default()
    };
    set_checksum!(out, done.checksum.algorithm, done.checksum.text);
    Ok(S3Response::new(out))
}

/// The conditions of a read, as text.
struct ReadConditions {
    matches: Option<String>,
    none_match: Option<String>,
    modified_since: Option<String>,
    unmodified_since: Option<String>,
    range: Option<String>,
}

impl ReadConditions {
    fn ask(&self, wish: Wish) -> Ask<'_> {
        let conditions = Conditions {
            if_match: self.matches.as_deref(),
            if_none_match: self.none_match.as_deref(),
            if_modified_since: self.modified_since.as_deref(),
            if_unmodified_since: self.unmodified_since.as_deref(),
        };
        Ask {
            conditions,
            if_range: self.range.as_deref(),
            wish,
        }
    }
}

/// A header that s3s does not know.
fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn wish(range: Option<dto::Range>, part: Option<i32>) -> Result<Wish, GatewayError> {
    match (range, part) {
        (None, None) => Ok(Wish::Whole),
        (Some(_), Some(_)) => Err(GatewayError::refused(
            Code::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (
            Some(dto::Range::Int {
                first,
                last: Some(last),
            }),
            None,
        ) => Ok(Wish::Range(RangeSpec::Closed(first, last))),
        (Some(dto::Range::Int { first, last: None }), None) => {
            Ok(Wish::Range(RangeSpec::From(first)))
        }
        (Some(dto::Range::Suffix { length }), None) => Ok(Wish::Range(RangeSpec::Suffix(length))),
        (None, Some(n)) => match u32::try_from(n) {
            Ok(n) if (1..=halofs_types::limits::PARTS_MAX).contains(&n) => Ok(Wish::Part(n)),
            _ => Err(GatewayError::refused(
                Code::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )),
        },
    }
}

/// A version id in a read: an object without versions has the version `null`.
pub(crate) fn read_version(version: Option<&str>) -> Result<(), GatewayError> {
    match version {
        None | Some("null") => Ok(()),
        Some("") => check_version(Some("")),
        Some(_) => Err(Code::NoSuchVersion.into()),
    }
}

/// GetObject.
pub(crate) async fn get_object(
    gw: &Gateway,
    req: S3Request<dto::GetObjectInput>,
) -> S3Result<S3Response<dto::GetObjectOutput>> {
    let if_range = header_text(&req.headers, IF_RANGE);
    let dto::GetObjectInput {
        bucket,
        checksum_mode,
        if_match,
        if_modified_since,
        if_none_match,
        if_unmodified_since,
        key,
        part_number,
        range,
        version_id,
        // s3s writes these over the answer's own.
        response_cache_control: _,
        response_content_disposition: _,
        response_content_encoding: _,
        response_content_language: _,
        response_content_type: _,
        response_expires: _,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    read_version(version_id.as_deref())?;
    let wish = wish(range, part_number)?;
    let conditions = ReadConditions {
        matches: tag_text(if_match.as_ref()),
        none_match: tag_text(if_none_match.as_ref()),
        modified_since: date_text(if_modified_since.as_ref()),
        unmodified_since: date_text(if_unmodified_since.as_ref()),
        range: if_range,
    };
    let found = get(gw, &bucket, &key, conditions.ask(wish)).await;
    let (got, content, permit) = match found? {
        Outcome::Found(found) => found,
        Outcome::NotModified(object) => return Err(not_modified(&object)),
    };
    let with_checksum = checksum_mode.is_some_and(|m| m.as_str() == dto::ChecksumMode::ENABLED);
    let shown = with_checksum.then(|| read_checksum(&got)).flatten();
    let Got {
        object,
        range,
        partial,
        part,
    } = got;
    let mut out = dto::GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(ResponseStream::blob(content, permit)),
        content_length: Some(count(range.end - range.start)),
        content_range: partial.then(|| range.content_range(object.size)),
        e_tag: Some(etag(object.etag.as_str())),
        last_modified: Some(time(object.modified)),
        metadata: metadata(&object),
        parts_count: part.and(i32::try_from(object.parts.len()).ok()),
        cache_control: object.headers.cache_control,
        content_disposition: object.headers.content_disposition,
        content_encoding: object.headers.content_encoding,
        content_language: object.headers.content_language,
        content_type: object.headers.content_type.or_else(default_type),
        expires: object.headers.expires,
        website_redirect_location: object.headers.website_redirect,
        ..Default::default()
    };
    if let Some(shown) = shown {
        out.checksum_type = Some(checksum_type(shown.kind));
        set_checksum!(out, shown.algorithm, shown.text);
    }
    Ok(S3Response::new(out))
}

/// HeadObject.
pub(crate) async fn head_object(
    gw: &Gateway,
    req: S3Request<dto::HeadObjectInput>,
) -> S3Result<S3Response<dto::HeadObjectOutput>> {
    let if_range = header_text(&req.headers, IF_RANGE);
    let dto::HeadObjectInput {
        bucket,
        checksum_mode,
        if_match,
        if_modified_since,
        if_none_match,
        if_unmodified_since,
        key,
        part_number,
        range,
        response_cache_control,
        response_content_disposition,
        response_content_encoding,
        response_content_language,
        response_content_type,
        response_expires,
        version_id,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    read_version(version_id.as_deref())?;
    let wish = wish(range, part_number)?;
    let conditions = ReadConditions {
        matches: tag_text(if_match.as_ref()),
        none_match: tag_text(if_none_match.as_ref()),
        modified_since: date_text(if_modified_since.as_ref()),
        unmodified_since: date_text(if_unmodified_since.as_ref()),
        range: if_range,
    };
    let found = head(gw, &bucket, &key, conditions.ask(wish)).await;
    let got = match found? {
        Outcome::Found(got) => got,
        Outcome::NotModified(object) => return Err(not_modified(&object)),
    };
    let with_checksum = checksum_mode.is_some_and(|m| m.as_str() == dto::ChecksumMode::ENABLED);
    let shown = with_checksum.then(|| read_checksum(&got)).flatten();
    let Got {
        object,
        range,
        partial,
        part,
    } = got;
    let mut out = dto::HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(count(range.end - range.start)),
        content_range: partial.then(|| range.content_range(object.size)),
        e_tag: Some(etag(object.etag.as_str())),
        last_modified: Some(time(object.modified)),
        metadata: metadata(&object),
        parts_count: part.and(i32::try_from(object.parts.len()).ok()),
        cache_control: response_cache_control.or(object.headers.cache_control),
        content_disposition: response_content_disposition.or(object.headers.content_disposition),
        content_encoding: response_content_encoding.or(object.headers.content_encoding),
        content_language: response_content_language.or(object.headers.content_language),
        content_type: response_content_type
            .or(object.headers.content_type)
            .or_else(default_type),
        expires: date_text(response_expires.as_ref()).or(object.headers.expires),
        website_redirect_location: object.headers.website_redirect,
        ..Default::default()
    };
    if let Some(shown) = shown {
        out.checksum_type = Some(checksum_type(shown.kind));
        set_checksum!(out, shown.algorithm, shown.text);
    }
    let mut answer = S3Response::new(out);
    if partial {
        // s3s sends 200 for every HEAD; the handler takes the status from here.
        answer.extensions.insert(http::StatusCode::PARTIAL_CONTENT);
    }
    Ok(answer)
}

#[expect(clippy::unnecessary_wraps, reason = "for or_else")]
fn default_type() -> Option<String> {
    Some("binary/octet-stream".to_owned())
}

/// The checksum of what is sent: of the object when all of it is, of the part when a part is, none for other ranges.
fn read_checksum(got: &Got) -> Option<ShownChecksum> {
    let of = shown_checksum(&got.object);
    match &got.part {
        Some(part) => Some(ShownChecksum {
            text: show(part.checksum.as_ref()?),
            ..of
        }),
        None if got.partial && got.range.len() < got.object.size => None,
        None => Some(of),
    }
}

/// 304 with the headers that RFC 9110 §15.4.5 asks for.
fn not_modified(object: &Object) -> S3Error {
    let mut headers = HeaderMap::new();
    let mut add = |name, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    };
    add(ETAG, Some(format!("\"{}\"", object.etag)));
    add(LAST_MODIFIED, Some(object.modified.http_date()));
    add(CACHE_CONTROL, object.headers.cache_control.clone());
    add(EXPIRES, object.headers.expires.clone());
    let mut e = S3Error::new(S3ErrorCode::NotModified);
    e.set_status_code(http::StatusCode::NOT_MODIFIED);
    e.set_headers(headers);
    e
}

/// DeleteObject.
pub(crate) async fn delete_object(
    gw: &Gateway,
    req: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    let dto::DeleteObjectInput {
        bucket,
        if_match,
        key,
        version_id,
        // The access check sees these.
        bypass_governance_retention: _,
        expected_bucket_owner: _,
        if_match_last_modified_time: _,
        if_match_size: _,
        mfa: _,
        request_payer: _,
    } = req.input;
    check_version(version_id.as_deref())?;
    delete(gw, &bucket, key, precondition(if_match, None)?).await?;
    Ok(S3Response::new(dto::DeleteObjectOutput::default()))
}

/// DeleteObjects. The body's checksum was verified by the handler, which has its bytes.
pub(crate) async fn delete_objects(
    gw: &Gateway,
    req: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    let dto::DeleteObjectsInput {
        bucket,
        delete: dto::Delete { objects, quiet },
        checksum_algorithm: _,
        // The access check sees these.
        bypass_governance_retention: _,
        expected_bucket_owner: _,
        mfa: _,
        request_payer: _,
    } = req.input;
    let mut keys = Vec::with_capacity(objects.len());
    for dto::ObjectIdentifier {
        e_tag,
        key,
        last_modified_time,
        size,
        version_id,
    } in objects
    {
        let asks = last_modified_time.is_some() || size.is_some();
        keys.push(DeleteKey {
            key,
            version: version_id,
            precondition: precondition(e_tag.map(any_or_tag), None)?,
            refused: asks.then_some("LastModifiedTime and Size are for directory buckets"),
        });
    }
    let answers = delete_many(gw, &bucket, keys).await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, answer) in answers {
        match answer {
            Ok(()) if quiet == Some(true) => {}
            Ok(()) => deleted.push(dto::DeletedObject {
                key: Some(spell(key)),
                ..Default::default()
            }),
            Err(error) => {
                let (code, message) = table(&error);
                errors.push(dto::Error {
                    code: Some(code.as_str().to_owned()),
                    key: Some(spell(key)),
                    message: Some(message),
                    version_id: None,
                });
            }
        }
    }
    Ok(named_answer(dto::DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        request_charged: None,
    }))
}

fn any_or_tag(tag: dto::ETag) -> dto::ETagCondition {
    if tag.value() == "*" {
        dto::ETagCondition::Any
    } else {
        dto::ETagCondition::ETag(tag)
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
