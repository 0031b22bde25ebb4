//! Which grant each S3 operation needs, and which query keys it understands. `docs/s3-actions.md` shows the same table;
//! a test holds the two together.

use super::identity::Action;

/// What of the request the grant must cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// No bucket: any signed request.
    Service,
    /// The bucket as a whole.
    Bucket,
    /// Any part of the bucket.
    BucketPart,
    /// The key.
    Key,
    /// The names under the prefix that is asked for.
    Names,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its S3 name.
    pub(crate) name: &'static str,
    /// The grant it needs.
    pub(crate) action: Action,
    /// On what.
    pub(crate) target: Target,
    /// Whether it changes anything.
    pub(crate) writes: bool,
    /// The sub-resources that mean it, or that it takes.
    pub(crate) subresources: &'static [&'static str],
}

const fn row(
    name: &'static str,
    action: Action,
    target: Target,
    writes: bool,
    subresources: &'static [&'static str],
) -> Row {
    Row {
        name,
        action,
        target,
        writes,
        subresources,
    }
}

/// The operation of that name. An unknown one is nobody's.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    let at = TABLE.binary_search_by(|r| r.name.cmp(name)).ok()?;
    TABLE.get(at)
}

/// Query keys that are parameters, not sub-resources: an operation that does not know one ignores it.
const PARAMETERS: &[&str] = &[
    "annotation-prefix",
    "annotationName",
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-directory-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
    "x-id",
];

/// Whether `key` is a sub-resource of some operation.
pub(crate) fn is_subresource(key: &str) -> bool {
    TABLE.iter().any(|r| r.subresources.contains(&key))
}

/// The first query key that asks for something that `row` is not. A sub-resource of another operation is one, and so
/// is any key without a value that nobody knows: both must never fall through to a listing, a read or a delete.
pub(crate) fn foreign<'q>(
    row: &Row,
    pairs: impl Iterator<Item = (&'q str, &'q str)>,
) -> Option<&'q str> {
    pairs
        .filter(|(key, _)| !row.subresources.contains(key))
        .find(|(key, value)| {
            let known =
                PARAMETERS.contains(key) || key.starts_with("response-") || is_signature(key);
            is_subresource(key) || (value.is_empty() && !key.is_empty() && !known)
        })
        .map(|(key, _)| key)
}

fn is_signature(key: &str) -> bool {
    key.get(..6)
        .is_some_and(|p| p.eq_ignore_ascii_case("x-amz-"))
}

/// Sorted by name.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row("AbortMultipartUpload", Action::Write, Target::Key, true, &["uploadId"]),
    row("CompleteMultipartUpload", Action::Write, Target::Key, true, &["uploadId"]),
    row("CopyObject", Action::Write, Target::Key, true, &[]),
    row("CreateBucket", Action::Admin, Target::Bucket, true, &[]),
    row("CreateBucketMetadataConfiguration", Action::Admin, Target::Bucket, true, &["metadataConfiguration"]),
    row("CreateBucketMetadataTableConfiguration", Action::Admin, Target::Bucket, true, &["metadataTable"]),
    row("CreateMultipartUpload", Action::Write, Target::Key, true, &["uploads"]),
    row("CreateSession", Action::Read, Target::Bucket, true, &["session"]),
    row("DeleteBucket", Action::Admin, Target::Bucket, true, &[]),
    row("DeleteBucketAnalyticsConfiguration", Action::Admin, Target::Bucket, true, &["analytics"]),
    row("DeleteBucketCors", Action::Admin, Target::Bucket, true, &["cors"]),
    row("DeleteBucketEncryption", Action::Admin, Target::Bucket, true, &["encryption"]),
    row("DeleteBucketIntelligentTieringConfiguration", Action::Admin, Target::Bucket, true, &["intelligent-tiering"]),
    row("DeleteBucketInventoryConfiguration", Action::Admin, Target::Bucket, true, &["inventory"]),
    row("DeleteBucketLifecycle", Action::Admin, Target::Bucket, true, &["lifecycle"]),
    row("DeleteBucketMetadataConfiguration", Action::Admin, Target::Bucket, true, &["metadataConfiguration"]),
    row("DeleteBucketMetadataTableConfiguration", Action::Admin, Target::Bucket, true, &["metadataTable"]),
    row("DeleteBucketMetricsConfiguration", Action::Admin, Target::Bucket, true, &["metrics"]),
    row("DeleteBucketOwnershipControls", Action::Admin, Target::Bucket, true, &["ownershipControls"]),
    row("DeleteBucketPolicy", Action::Admin, Target::Bucket, true, &["policy"]),
    row("DeleteBucketReplication", Action::Admin, Target::Bucket, true, &["replication"]),
    row("DeleteBucketTagging", Action::Tagging, Target::Bucket, true, &["tagging"]),
    row("DeleteBucketWebsite", Action::Admin, Target::Bucket, true, &["website"]),
    row("DeleteObject", Action::Write, Target::Key, true, &[]),
    row("DeleteObjectAnnotation", Action::Write, Target::Key, true, &["annotation"]),
    row("DeleteObjectTagging", Action::Tagging, Target::Key, true, &["tagging"]),
    row("DeleteObjects", Action::Write, Target::BucketPart, true, &["delete"]),
    row("DeletePublicAccessBlock", Action::Admin, Target::Bucket, true, &["publicAccessBlock"]),
    row("GetBucketAbac", Action::Read, Target::Bucket, false, &["abac"]),
    row("GetBucketAccelerateConfiguration", Action::Read, Target::Bucket, false, &["accelerate"]),
    row("GetBucketAcl", Action::Read, Target::Bucket, false, &["acl"]),
    row("GetBucketAnalyticsConfiguration", Action::Read, Target::Bucket, false, &["analytics"]),
    row("GetBucketCors", Action::Read, Target::Bucket, false, &["cors"]),
    row("GetBucketEncryption", Action::Read, Target::Bucket, false, &["encryption"]),
    row("GetBucketIntelligentTieringConfiguration", Action::Read, Target::Bucket, false, &["intelligent-tiering"]),
    row("GetBucketInventoryConfiguration", Action::Read, Target::Bucket, false, &["inventory"]),
    row("GetBucketLifecycleConfiguration", Action::Read, Target::Bucket, false, &["lifecycle"]),
    row("GetBucketLocation", Action::Read, Target::BucketPart, false, &["location"]),
    row("GetBucketLogging", Action::Read, Target::Bucket, false, &["logging"]),
    row("GetBucketMetadataConfiguration", Action::Read, Target::Bucket, false, &["metadataConfiguration"]),
    row("GetBucketMetadataTableConfiguration", Action::Read, Target::Bucket, false, &["metadataTable"]),
    row("GetBucketMetricsConfiguration", Action::Read, Target::Bucket, false, &["metrics"]),
    row("GetBucketNotificationConfiguration", Action::Read, Target::Bucket, false, &["notification"]),
    row("GetBucketOwnershipControls", Action::Read, Target::Bucket, false, &["ownershipControls"]),
    row("GetBucketPolicy", Action::Read, Target::Bucket, false, &["policy"]),
    row("GetBucketPolicyStatus", Action::Read, Target::Bucket, false, &["policyStatus"]),
    row("GetBucketReplication", Action::Read, Target::Bucket, false, &["replication"]),
    row("GetBucketRequestPayment", Action::Read, Target::Bucket, false, &["requestPayment"]),
    row("GetBucketTagging", Action::Tagging, Target::Bucket, false, &["tagging"]),
    row("GetBucketVersioning", Action::Read, Target::Bucket, false, &["versioning"]),
    row("GetBucketWebsite", Action::Read, Target::Bucket, false, &["website"]),
    row("GetObject", Action::Read, Target::Key, false, &["partNumber"]),
    row("GetObjectAcl", Action::Read, Target::Key, false, &["acl"]),
    row("GetObjectAnnotation", Action::Read, Target::Key, false, &["annotation"]),
    row("GetObjectAttributes", Action::Read, Target::Key, false, &["attributes"]),
    row("GetObjectLegalHold", Action::Read, Target::Key, false, &["legal-hold"]),
    row("GetObjectLockConfiguration", Action::Read, Target::Bucket, false, &["object-lock"]),
    row("GetObjectRetention", Action::Read, Target::Key, false, &["retention"]),
    row("GetObjectTagging", Action::Read, Target::Key, false, &["tagging"]),
    row("GetObjectTorrent", Action::Read, Target::Key, false, &["torrent"]),
    row("GetPublicAccessBlock", Action::Read, Target::Bucket, false, &["publicAccessBlock"]),
    row("HeadBucket", Action::List, Target::BucketPart, false, &[]),
    row("HeadObject", Action::Read, Target::Key, false, &["partNumber"]),
    row("ListBucketAnalyticsConfigurations", Action::Read, Target::Bucket, false, &["analytics"]),
    row("ListBucketIntelligentTieringConfigurations", Action::Read, Target::Bucket, false, &["intelligent-tiering"]),
    row("ListBucketInventoryConfigurations", Action::Read, Target::Bucket, false, &["inventory"]),
    row("ListBucketMetricsConfigurations", Action::Read, Target::Bucket, false, &["metrics"]),
    row("ListBuckets", Action::List, Target::Service, false, &[]),
    row("ListDirectoryBuckets", Action::List, Target::Service, false, &[]),
    row("ListMultipartUploads", Action::List, Target::Names, false, &["uploads"]),
    row("ListObjectAnnotations", Action::Read, Target::Key, false, &["annotation"]),
    row("ListObjectVersions", Action::List, Target::Names, false, &["versions"]),
    row("ListObjects", Action::List, Target::Names, false, &[]),
    row("ListObjectsV2", Action::List, Target::Names, false, &[]),
    row("ListParts", Action::Write, Target::Key, false, &["uploadId"]),
    row("PostObject", Action::Write, Target::Bucket, true, &[]),
    row("PutBucketAbac", Action::Admin, Target::Bucket, true, &["abac"]),
    row("PutBucketAccelerateConfiguration", Action::Admin, Target::Bucket, true, &["accelerate"]),
    row("PutBucketAcl", Action::Admin, Target::Bucket, true, &["acl"]),
    row("PutBucketAnalyticsConfiguration", Action::Admin, Target::Bucket, true, &["analytics"]),
    row("PutBucketCors", Action::Admin, Target::Bucket, true, &["cors"]),
    row("PutBucketEncryption", Action::Admin, Target::Bucket, true, &["encryption"]),
    row("PutBucketIntelligentTieringConfiguration", Action::Admin, Target::Bucket, true, &["intelligent-tiering"]),
    row("PutBucketInventoryConfiguration", Action::Admin, Target::Bucket, true, &["inventory"]),
    row("PutBucketLifecycleConfiguration", Action::Admin, Target::Bucket, true, &["lifecycle"]),
    row("PutBucketLogging", Action::Admin, Target::Bucket, true, &["logging"]),
    row("PutBucketMetricsConfiguration", Action::Admin, Target::Bucket, true, &["metrics"]),
    row("PutBucketNotificationConfiguration", Action::Admin, Target::Bucket, true, &["notification"]),
    row("PutBucketOwnershipControls", Action::Admin, Target::Bucket, true, &["ownershipControls"]),
    row("PutBucketPolicy", Action::Admin, Target::Bucket, true, &["policy"]),
    row("PutBucketReplication", Action::Admin, Target::Bucket, true, &["replication"]),
    row("PutBucketRequestPayment", Action::Admin, Target::Bucket, true, &["requestPayment"]),
    row("PutBucketTagging", Action::Tagging, Target::Bucket, true, &["tagging"]),
    row("PutBucketVersioning", Action::Admin, Target::Bucket, true, &["versioning"]),
    row("PutBucketWebsite", Action::Admin, Target::Bucket, true, &["website"]),
    row("PutObject", Action::Write, Target::Key, true, &[]),
    row("PutObjectAcl", Action::Admin, Target::Key, true, &["acl"]),
    row("PutObjectAnnotation", Action::Write, Target::Key, true, &["annotation"]),
    row("PutObjectLegalHold", Action::Write, Target::Key, true, &["legal-hold"]),
    row("PutObjectLockConfiguration", Action::Admin, Target::Bucket, true, &["object-lock"]),
    row("PutObjectRetention", Action::Write, Target::Key, true, &["retention"]),
    row("PutObjectTagging", Action::Tagging, Target::Key, true, &["tagging"]),
    row("PutPublicAccessBlock", Action::Admin, Target::Bucket, true, &["publicAccessBlock"]),
    row("RenameObject", Action::Write, Target::Key, true, &["renameObject"]),
    row("RestoreObject", Action::Write, Target::Key, true, &["restore"]),
    row("SelectObjectContent", Action::Read, Target::Key, false, &["select", "select-type"]),
    row("UpdateBucketMetadataAnnotationTableConfiguration", Action::Admin, Target::Bucket, true, &["metadataAnnotationTable"]),
    row("UpdateBucketMetadataInventoryTableConfiguration", Action::Admin, Target::Bucket, true, &["metadataInventoryTable"]),
    row("UpdateBucketMetadataJournalTableConfiguration", Action::Admin, Target::Bucket, true, &["metadataJournalTable"]),
    row("UpdateObjectEncryption", Action::Write, Target::Key, true, &["encryption"]),
    row("UploadPart", Action::Write, Target::Key, true, &["partNumber", "uploadId"]),
    row("UploadPartCopy", Action::Write, Target::Key, true, &["partNumber", "uploadId"]),
    row("WriteGetObjectResponse", Action::Admin, Target::Bucket, true, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = include_str!("../../../docs/s3-actions.md");

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.windows(2).all(|w| w[0].name < w[1].name));
        assert!(find("GetObject").is_some() && find("GetObjec").is_none());
    }

    #[test]
    fn document_and_table_agree() {
        let shown: Vec<(String, String, String)> = DOC
            .lines()
            .filter_map(|l| {
                let cells: Vec<&str> = l.trim_matches('|').split('|').map(str::trim).collect();
                let [name, action, target, ..] = cells[..] else {
                    return None;
                };
                let name = name.strip_prefix('`')?.strip_suffix('`')?;
                Some((name.to_owned(), action.to_owned(), target.to_owned()))
            })
            .collect();
        let said = |t: Target| match t {
            Target::Service => "everything",
            Target::Bucket => "bucket",
            Target::BucketPart => "any part of the bucket",
            Target::Key => "key",
            Target::Names => "prefix",
        };
        let table: Vec<_> = TABLE
            .iter()
            .map(|r| {
                (
                    r.name.to_owned(),
                    r.action.name().to_owned(),
                    said(r.target).to_owned(),
                )
            })
            .collect();
        assert_eq!(shown, table);
    }

    #[test]
    fn foreign_query_keys_are_found() {
        let check =
            |op: &str, key, value| foreign(find(op).unwrap(), std::iter::once((key, value)));
        assert_eq!(check("DeleteBucket", "acl", ""), Some("acl"));
        assert_eq!(check("DeleteObject", "acl", ""), Some("acl"));
        assert_eq!(check("ListObjects", "frobnicate", ""), Some("frobnicate"));
        assert_eq!(check("ListObjects", "frobnicate", "1"), None);
        assert_eq!(check("ListObjects", "prefix", ""), None);
        assert_eq!(check("GetBucketAcl", "acl", ""), None);
        assert_eq!(check("GetObject", "x-id", "GetObject"), None);
        assert_eq!(check("GetObject", "response-content-type", ""), None);
        assert_eq!(check("GetObject", "X-Amz-Security-Token", ""), None);
        assert_eq!(check("PutObject", "partNumber", "1"), Some("partNumber"));
    }
}
