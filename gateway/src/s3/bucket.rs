//! Buckets.

use std::future::{Ready, ready};

use halofs_types::{BucketId, limits};
use s3s::dto::{
    self, BucketLocationConstraint, CreateBucketConfiguration, CreateBucketInput,
    CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, ListDirectoryBucketsInput, ListDirectoryBucketsOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::caller;
use super::error::s3_error;
use super::xml::{self, Xml, answer};
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::bucket::{self, ListWish};
use crate::ops::list::Token;

/// GET /.
pub(crate) async fn list_buckets(
    gw: &Gateway,
    req: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let identity = caller(&req.extensions)?;
    let ListBucketsInput {
        bucket_region,
        continuation_token,
        max_buckets,
        prefix,
    } = req.input;
    let limit = match max_buckets.map(usize::try_from) {
        None => limits::BUCKET_PAGE_MAX,
        Some(Ok(n)) if (1..=limits::BUCKET_PAGE_MAX).contains(&n) => n,
        Some(_) => {
            return Err(s3_error(
                Code::InvalidArgument,
                "max-buckets must be from 1 to 10000".to_owned(),
            ));
        }
    };
    let after = match &continuation_token {
        None => None,
        Some(token) => {
            let name = Token::decode(BucketId(0), token)?;
            Some(String::from_utf8(name.to_vec()).map_err(|_| Code::InvalidArgument)?)
        }
    };
    let wish = ListWish {
        prefix: prefix.clone().unwrap_or_default(),
        after,
        limit,
        region: bucket_region,
    };
    let page = bucket::list(gw, identity, wish).await?;
    let mut x = Xml::new("ListAllMyBucketsResult", page.buckets.len() * 192);
    xml::owner(&mut x, "Owner", &identity.owner);
    x.open("Buckets");
    for b in &page.buckets {
        x.open("Bucket");
        x.field("Name", &b.name);
        x.time("CreationDate", b.created);
        x.field("BucketRegion", bucket::region(gw, b));
        x.close("Bucket");
    }
    x.close("Buckets");
    if let Some(last) = page.buckets.last().filter(|_| page.truncated) {
        x.field(
            "ContinuationToken",
            &Token::encode(BucketId(0), last.name.as_bytes()),
        );
    }
    if let Some(prefix) = &prefix {
        x.field("Prefix", prefix);
    }
    Ok(answer(x))
}

/// GET / of directory buckets: there are none.
pub(crate) fn list_directory_buckets(
    _gw: &Gateway,
    _req: S3Request<ListDirectoryBucketsInput>,
) -> Ready<S3Result<S3Response<ListDirectoryBucketsOutput>>> {
    let mut x = Xml::new("ListAllMyDirectoryBucketsResult", 32);
    x.raw("<Buckets></Buckets>");
    ready(Ok(answer(x)))
}

/// PUT /bucket.
pub(crate) async fn create_bucket(
    gw: &Gateway,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let owner = caller(&req.extensions)?.owner.clone();
    // The headers among these fields were judged by `ops::refuse`.
    let CreateBucketInput {
        acl,
        bucket: name,
        bucket_namespace: _,
        create_bucket_configuration,
        grant_full_control: _,
        grant_read: _,
        grant_read_acp: _,
        grant_write: _,
        grant_write_acp: _,
        object_lock_enabled_for_bucket: _,
        object_ownership: _,
    } = req.input;
    if acl.is_some_and(|a| a.as_str() != dto::BucketCannedACL::PRIVATE) {
        return Err(Code::InvalidBucketAclWithObjectOwnership.into());
    }
    let region = constraint(create_bucket_configuration)?;
    bucket::create(gw, &name, &owner, &region).await?;
    let location = Some(format!("/{name}"));
    Ok(S3Response::new(CreateBucketOutput {
        bucket_arn: None,
        location,
    }))
}

fn constraint(configuration: Option<CreateBucketConfiguration>) -> Result<String, GatewayError> {
    let Some(configuration) = configuration else {
        return Ok(String::new());
    };
    let CreateBucketConfiguration {
        bucket,
        location,
        location_constraint,
        tags,
    } = configuration;
    let refused = |message: &'static str| Err(GatewayError::refused(Code::NotImplemented, message));
    if bucket.is_some() || location.is_some() {
        return refused("Directory buckets are not implemented");
    }
    if tags.is_some_and(|t| !t.is_empty()) {
        return refused("Bucket tags are not implemented");
    }
    Ok(location_constraint
        .map(|c| c.as_str().to_owned())
        .unwrap_or_default())
}

/// HEAD /bucket.
pub(crate) async fn head_bucket(
    gw: &Gateway,
    req: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let HeadBucketInput {
        bucket,
        expected_bucket_owner,
    } = req.input;
    let bucket = bucket::open(gw, &bucket, expected_bucket_owner.as_deref()).await?;
    let region = bucket::region(gw, &bucket).to_owned();
    Ok(S3Response::new(HeadBucketOutput {
        access_point_alias: Some(false),
        bucket_arn: None,
        bucket_location_name: None,
        bucket_location_type: None,
        bucket_region: Some(region),
    }))
}

/// DELETE /bucket.
pub(crate) async fn delete_bucket(
    gw: &Gateway,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let DeleteBucketInput {
        bucket,
        expected_bucket_owner,
    } = req.input;
    if expected_bucket_owner.is_some() {
        bucket::open(gw, &bucket, expected_bucket_owner.as_deref()).await?;
    }
    gw.filer
        .delete_bucket(&bucket)
        .await
        .map_err(GatewayError::from)?;
    Ok(S3Response::new(DeleteBucketOutput {}))
}

/// GET /bucket?location: `us-east-1` is written as nothing.
pub(crate) async fn get_bucket_location(
    gw: &Gateway,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let GetBucketLocationInput {
        bucket,
        expected_bucket_owner,
    } = req.input;
    let bucket = bucket::open(gw, &bucket, expected_bucket_owner.as_deref()).await?;
    let region = bucket::region(gw, &bucket);
    let shown = (region != "us-east-1").then(|| BucketLocationConstraint::from(region.to_owned()));
    Ok(S3Response::new(GetBucketLocationOutput {
        location_constraint: shown,
    }))
}
