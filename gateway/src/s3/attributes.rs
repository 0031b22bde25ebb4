//! GetObjectAttributes.

use halofs_types::limits;
use halofs_types::object::Object;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::get::lookup;
use crate::ops::payload::show;
use crate::ops::put::shown_checksum;
use crate::s3::convert::{checksum_type, count, etag, page_size, set_checksum, time};
use crate::s3::object::read_version;

/// GetObjectAttributes.
pub(crate) async fn get_object_attributes(
    gw: &Gateway,
    req: S3Request<dto::GetObjectAttributesInput>,
) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
    let dto::GetObjectAttributesInput {
        bucket,
        key,
        max_parts,
        object_attributes,
        part_number_marker,
        version_id,
        // The access check sees these.
        expected_bucket_owner: _,
        request_payer: _,
        sse_customer_algorithm: _,
        sse_customer_key: _,
        sse_customer_key_md5: _,
    } = req.input;
    read_version(version_id.as_deref())?;
    let limit = page_size(max_parts, "max-parts")?;
    let after =
        u32::try_from(part_number_marker.unwrap_or(0)).map_err(|_| Code::InvalidArgument)?;
    let names = object_attributes
        .iter()
        .flat_map(|a| a.as_str().split(','))
        .map(str::trim);
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let known = [
            dto::ObjectAttributes::CHECKSUM,
            dto::ObjectAttributes::ETAG,
            dto::ObjectAttributes::OBJECT_PARTS,
            dto::ObjectAttributes::OBJECT_SIZE,
            dto::ObjectAttributes::STORAGE_CLASS,
        ];
        if !known.contains(&name) {
            return Err(GatewayError::refused(
                Code::InvalidArgument,
                "Invalid attribute name specified.",
            )
            .into());
        }
        wanted.push(name);
    }
    let (_, found) = lookup(gw, &bucket, &key).await?;
    let object = found.object;
    let asks = |name: &str| wanted.contains(&name);
    let mut out = dto::GetObjectAttributesOutput {
        last_modified: Some(time(object.modified)),
        ..Default::default()
    };
    if asks(dto::ObjectAttributes::ETAG) {
        out.e_tag = Some(etag(object.etag.as_str()));
    }
    if asks(dto::ObjectAttributes::OBJECT_SIZE) {
        out.object_size = Some(count(object.size));
    }
    if asks(dto::ObjectAttributes::STORAGE_CLASS) {
        out.storage_class = Some(dto::StorageClass::from(object.storage_class.clone()));
    }
    if asks(dto::ObjectAttributes::CHECKSUM) {
        let shown = shown_checksum(&object);
        let mut sums = dto::Checksum {
            checksum_type: Some(checksum_type(shown.kind)),
            ..Default::default()
        };
        // Here a composite one is shown without the number of its parts.
        let text = shown.text.split('-').next().unwrap_or_default().to_owned();
        set_checksum!(sums, shown.algorithm, text);
        out.checksum = Some(sums);
    }
    if asks(dto::ObjectAttributes::OBJECT_PARTS) && !object.parts.is_empty() {
        out.object_parts = Some(parts(&object, after, limit));
    }
    Ok(S3Response::new(out))
}

/// A page of the parts; as in AWS they are listed one by one only where they have checksums.
fn parts(object: &Object, after: u32, limit: usize) -> dto::GetObjectAttributesParts {
    let total = i32::try_from(object.parts.len()).ok();
    let Some(sum) = &object.checksum else {
        return dto::GetObjectAttributesParts {
            total_parts_count: total,
            ..Default::default()
        };
    };
    // Numbered as `partNumber` reads them.
    let skip = usize::try_from(after).unwrap_or(usize::MAX);
    let mut rest = (1_i32..).zip(&object.parts).skip(skip);
    let page: Vec<_> = rest.by_ref().take(limit.min(limits::PAGE_MAX)).collect();
    let shown = page.iter().map(|(number, p)| {
        let mut part = dto::ObjectPart {
            part_number: Some(*number),
            size: Some(count(p.size)),
            ..Default::default()
        };
        if let Some(value) = &p.checksum {
            set_checksum!(part, sum.algorithm, show(value));
        }
        part
    });
    dto::GetObjectAttributesParts {
        parts: Some(shown.collect()),
        is_truncated: Some(rest.next().is_some()),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: page.last().map(|(number, _)| *number),
        part_number_marker: i32::try_from(after).ok(),
        total_parts_count: total,
    }
}
