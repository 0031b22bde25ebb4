//! ListObjects, both versions. The answer is written straight into bytes: a page of 1,000 keys is one allocation that
//! grows, not a tree of owned strings that a general serialiser walks.

use halofs_client::filer::ListPage;
use halofs_types::object::Bucket;
use s3s::dto::{ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output};
use s3s::{S3Request, S3Response, S3Result};

use super::xml::{self, Xml, answer};
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops;
use crate::ops::list::{Listing, Token};

/// GET /bucket.
pub(crate) async fn list_objects(
    gw: &Gateway,
    req: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let ListObjectsInput {
        bucket,
        delimiter,
        encoding_type,
        expected_bucket_owner,
        marker,
        max_keys,
        optional_object_attributes: _,
        prefix,
        request_payer: _,
    } = req.input;
    let encode = encoding(encoding_type.as_ref().map(s3s::dto::EncodingType::as_str))?;
    let listing = Listing::new(prefix, delimiter, marker.clone(), max_keys)?;
    let bucket = ops::bucket::open(gw, &bucket, expected_bucket_owner.as_deref()).await?;
    let page = ops::list::page(gw, &bucket, &listing).await?;
    let mut x = Xml::new("ListBucketResult", page.entries.len() * 384);
    head(&mut x, &bucket, &listing, encode);
    x.name_field("Marker", marker.unwrap_or_default().as_bytes(), encode);
    if let Some(next) = &page.next {
        x.name_field("NextMarker", next, encode);
    }
    entries(&mut x, &bucket, &page, encode, true);
    Ok(answer(x))
}

/// GET /bucket?list-type=2.
pub(crate) async fn list_objects_v2(
    gw: &Gateway,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let ListObjectsV2Input {
        bucket,
        continuation_token,
        delimiter,
        encoding_type,
        expected_bucket_owner,
        fetch_owner,
        max_keys,
        optional_object_attributes: _,
        prefix,
        request_payer: _,
        start_after,
    } = req.input;
    let encode = encoding(encoding_type.as_ref().map(s3s::dto::EncodingType::as_str))?;
    let mut listing = Listing::new(prefix, delimiter, start_after.clone(), max_keys)?;
    let bucket = ops::bucket::open(gw, &bucket, expected_bucket_owner.as_deref()).await?;
    if let Some(token) = &continuation_token {
        listing.after = Token::decode(bucket.id, token)?;
    }
    let page = ops::list::page(gw, &bucket, &listing).await?;
    let mut x = Xml::new("ListBucketResult", page.entries.len() * 384);
    head(&mut x, &bucket, &listing, encode);
    x.number("KeyCount", page.entries.len() + page.prefixes.len());
    if let Some(start) = &start_after {
        x.name_field("StartAfter", start.as_bytes(), encode);
    }
    if let Some(token) = &continuation_token {
        x.field("ContinuationToken", token);
    }
    if let Some(next) = &page.next {
        x.field("NextContinuationToken", &Token::encode(bucket.id, next));
    }
    entries(&mut x, &bucket, &page, encode, fetch_owner.unwrap_or(false));
    Ok(answer(x))
}

fn encoding(kind: Option<&str>) -> Result<bool, GatewayError> {
    match kind {
        None => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(GatewayError::refused(
            Code::InvalidArgument,
            "Invalid Encoding Method specified in Request",
        )),
    }
}

fn head(x: &mut Xml, bucket: &Bucket, listing: &Listing, encode: bool) {
    x.field("Name", &bucket.name);
    x.name_field("Prefix", &listing.prefix, encode);
    if !listing.delimiter.is_empty() {
        x.name_field("Delimiter", &listing.delimiter, encode);
    }
    x.number("MaxKeys", listing.max_keys);
    if encode {
        x.field("EncodingType", "url");
    }
}

fn entries(x: &mut Xml, bucket: &Bucket, page: &ListPage, encode: bool, owner: bool) {
    x.flag("IsTruncated", page.next.is_some());
    for entry in &page.entries {
        let o = &entry.object;
        x.open("Contents");
        x.name_field("Key", &entry.key, encode);
        x.time("LastModified", o.modified);
        x.open("ETag");
        x.raw("&quot;");
        x.raw(&o.etag);
        x.raw("&quot;");
        x.close("ETag");
        let (algorithm, kind) = ops::list::checksum_names(o);
        x.field("ChecksumAlgorithm", algorithm);
        x.field("ChecksumType", kind);
        x.number("Size", o.size);
        if owner {
            xml::owner(x, "Owner", &bucket.owner);
        }
        x.field("StorageClass", &o.storage_class);
        x.close("Contents");
    }
    for prefix in &page.prefixes {
        x.open("CommonPrefixes");
        x.name_field("Prefix", prefix, encode);
        x.close("CommonPrefixes");
    }
}
