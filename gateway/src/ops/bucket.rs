//! Buckets: lookup, creation, removal, and the listing of them.

use halofs_client::FilerError;
use halofs_client::filer::{BucketPage, ListBuckets, NewBucket};
use halofs_types::limits;
use halofs_types::object::{Bucket, Owner};

use crate::auth::identity::Identity;
use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;

/// The bucket of a request. `expected_owner` is `x-amz-expected-bucket-owner`: another owner is 403.
pub(crate) async fn open(
    gw: &Gateway,
    name: &str,
    expected_owner: Option<&str>,
) -> Result<Bucket, GatewayError> {
    let bucket = gw.filer.bucket(name).await?;
    match expected_owner {
        Some(expected) if expected != bucket.owner.id => Err(Code::AccessDenied.into()),
        Some(_) | None => Ok(bucket),
    }
}

/// Makes a bucket for an account. A name that is taken answers differently to its owner.
pub(crate) async fn create(
    gw: &Gateway,
    name: &str,
    owner: &Owner,
    region: &str,
) -> Result<Bucket, GatewayError> {
    check_new_name(name)?;
    check_region(&gw.config.region, region)?;
    let new = NewBucket {
        name: name.to_owned(),
        owner: owner.clone(),
        region: region.to_owned(),
    };
    match gw.filer.create_bucket(new).await {
        Ok(bucket) => Ok(bucket),
        Err(FilerError::BucketExists { owner: theirs, .. }) if theirs == owner.id => {
            Err(Code::BucketAlreadyOwnedByYou.into())
        }
        Err(e) => Err(e.into()),
    }
}

/// The region that clients are told: the bucket's own, or the server's.
pub(crate) fn region<'a>(gw: &'a Gateway, bucket: &'a Bucket) -> &'a str {
    if bucket.region.is_empty() {
        &gw.config.region
    } else {
        &bucket.region
    }
}

/// Names that AWS keeps for itself, beyond the syntax that routing already demands.
fn check_new_name(name: &str) -> Result<(), GatewayError> {
    const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    if PREFIXES.iter().any(|p| name.starts_with(p)) || SUFFIXES.iter().any(|s| name.ends_with(s)) {
        return Err(GatewayError::refused(
            Code::InvalidBucketName,
            "The specified bucket name begins or ends with characters that are reserved",
        ));
    }
    Ok(())
}

/// A client's own region is taken as it came, so that its settings need not follow `-s3.region`; what no region can be
/// called is a mistake.
fn check_region(ours: &str, region: &str) -> Result<(), GatewayError> {
    let words: Vec<&str> = region.split('-').collect();
    let named = match words.split_last() {
        Some((number, names)) if names.len() >= 2 => {
            let word = |w: &&str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase());
            let digits =
                (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            names.iter().all(word) && digits
        }
        Some(_) | None => false,
    };
    if region.is_empty() || region == ours || region == "EU" || (named && region.len() <= 64) {
        Ok(())
    } else {
        Err(Code::InvalidLocationConstraint.into())
    }
}

/// What ListBuckets asks for.
#[derive(Debug, Default)]
pub(crate) struct ListWish {
    /// Only names with this prefix.
    pub(crate) prefix: String,
    /// Only names after this one.
    pub(crate) after: Option<String>,
    /// At most so many.
    pub(crate) limit: usize,
    /// Only buckets of this region.
    pub(crate) region: Option<String>,
}

/// A page of the buckets that `identity` may see. Buckets it may not see cost a row each and no place in the page.
pub(crate) async fn list(
    gw: &Gateway,
    identity: &Identity,
    wish: ListWish,
) -> Result<BucketPage, GatewayError> {
    let mut page = BucketPage::default();
    let mut after = wish.after;
    loop {
        let ask = ListBuckets {
            prefix: wish.prefix.clone(),
            after: after.clone(),
            limit: limits::BUCKET_PAGE_MAX.min(wish.limit.saturating_add(1)),
            owner: None,
        };
        let got = gw.filer.list_buckets(ask).await?;
        after = got.buckets.last().map(|b| b.name.clone());
        for bucket in got.buckets {
            let here = wish
                .region
                .as_deref()
                .is_none_or(|r| r == region(gw, &bucket));
            if here && identity.sees(&bucket.name) {
                if page.buckets.len() == wish.limit {
                    page.truncated = true;
                    return Ok(page);
                }
                page.buckets.push(bucket);
            }
        }
        if !got.truncated {
            return Ok(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_and_odd_regions_are_refused() {
        for bad in ["xn--abc", "sthree-x", "abc-s3alias", "abc--x-s3", "a.mrap"] {
            assert!(check_new_name(bad).is_err(), "{bad}");
        }
        assert!(check_new_name("plain-bucket.1").is_ok());
        for ok in ["", "us-east-1", "eu-west-1", "us-gov-west-1", "EU", "home"] {
            assert!(check_region("home", ok).is_ok(), "{ok}");
        }
        let long = format!("us-{}-1", "x".repeat(64));
        for bad in [
            "mars",
            "eu west",
            "eu-west",
            "-west-1",
            "eu-west-",
            "eu-WEST-1",
            "us-east-100",
            &long,
        ] {
            assert!(check_region("home", bad).is_err(), "{bad}");
        }
    }
}
