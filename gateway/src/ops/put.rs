//! PutObject.

use bytes::Bytes;
use futures::Stream;
use halofs_client::filer::{CommitObject, Committed, Found, Precondition};
use halofs_client::writer::Written;
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use halofs_types::object::{Bucket, Object, SystemHeaders};
use halofs_types::{AttemptId, Timestamp, limits};
use http::HeaderMap;

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::data::check_key;
use crate::ops::payload::{Claims, Received, receive, show};

/// What S3 stores beside the bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    /// Headers as they came.
    pub(crate) headers: SystemHeaders,
    /// `x-amz-meta-*`.
    pub(crate) user_metadata: Vec<(String, String)>,
}

impl Labels {
    /// Refuses metadata over the limit and takes `aws-chunked` out of the content encoding.
    pub(crate) fn checked(mut self) -> Result<Self, GatewayError> {
        let bytes: usize = self
            .user_metadata
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        if bytes > limits::USER_METADATA_BYTES_MAX {
            return Err(Code::MetadataTooLarge.into());
        }
        for (name, _) in &mut self.user_metadata {
            name.make_ascii_lowercase();
        }
        self.user_metadata.sort_unstable();
        self.headers.content_encoding = self
            .headers
            .content_encoding
            .as_deref()
            .and_then(stored_encoding);
        Ok(self)
    }
}

/// A content encoding without `aws-chunked`, which belongs to the transfer.
fn stored_encoding(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// A PutObject.
#[derive(Debug)]
pub(crate) struct PutPlan {
    /// Bucket name.
    pub(crate) bucket: String,
    /// Object key.
    pub(crate) key: String,
    /// What is stored beside the bytes.
    pub(crate) labels: Labels,
    /// Must hold on arrival and in the commit.
    pub(crate) precondition: Precondition,
    /// What the client says about the body.
    pub(crate) claims: Claims,
}

/// An object that is visible now.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    /// Without quotes.
    pub(crate) etag: String,
    /// Last-Modified.
    pub(crate) modified: Timestamp,
    /// To show: the client's, or CRC64NVME.
    pub(crate) checksum: ShownChecksum,
}

/// `STANDARD`.
pub(crate) const STORAGE_CLASS: &str = "STANDARD";

/// Stores a body and makes it visible. What can be refused is refused before the body is asked for.
pub(crate) async fn put<S>(
    gw: &Gateway,
    plan: PutPlan,
    body: S,
    trailers: impl FnOnce() -> Option<HeaderMap> + Send,
) -> Result<Put, GatewayError>
where
    S: Stream<Item = Result<Bytes, GatewayError>> + Unpin + Send,
{
    let PutPlan {
        bucket,
        key,
        labels,
        precondition,
        claims,
    } = plan;
    check_key(&key)?;
    let labels = labels.checked()?;
    let bucket = gw.filer.bucket(&bucket).await?;
    check_early(gw, &bucket, &key, &precondition).await?;
    let _bytes = admit(gw, claims.length).await?;
    let attempt = AttemptId(gw.rng.id16());
    let writer = gw
        .data
        .writer(&bucket, &key, 0, attempt, claims.algorithm());
    let Received { written, checksum } = receive(writer, &claims, body, trailers).await?;
    let checksum = checksum.map(|(algorithm, value)| ObjectChecksum {
        algorithm,
        kind: ChecksumKind::FullObject,
        value,
    });
    let object = whole_object(&written, labels, checksum, attempt);
    commit(gw, bucket, key, written, object, precondition).await
}

/// Waits until the bytes that an upload of this length holds in memory are free. Refuses what the filer's disk has no
/// room for: its needles would be written and get no name.
pub(crate) async fn admit(
    gw: &Gateway,
    length: u64,
) -> Result<halofs_runtime::admission::Permit, GatewayError> {
    gw.filer.room(length)?;
    let held = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(limits::CHUNK_BYTES);
    Ok(gw.admission.acquire(held).await?)
}

/// The object that one body makes.
pub(crate) fn whole_object(
    written: &Written,
    labels: Labels,
    checksum: Option<ObjectChecksum>,
    attempt: AttemptId,
) -> Object {
    Object {
        size: written.size,
        etag: hex::encode(written.sums.md5),
        crc64nvme: written.sums.crc64nvme,
        checksum,
        modified: Timestamp::default(),
        headers: labels.headers,
        user_metadata: labels.user_metadata,
        storage_class: STORAGE_CLASS.to_owned(),
        chunks: written.chunks.clone(),
        parts: Vec::new(),
        attempt,
    }
}

/// Makes a written body visible as `object`.
pub(crate) async fn commit(
    gw: &Gateway,
    bucket: Bucket,
    key: String,
    mut written: Written,
    object: Object,
    precondition: Precondition,
) -> Result<Put, GatewayError> {
    let checksum = shown_checksum(&object);
    let leases = written.leases();
    written.begin_commit();
    let commit = CommitObject {
        bucket,
        key: key.into(),
        object,
        precondition,
        leases,
        sent: gw.filer.time(),
    };
    match gw.filer.commit_object(commit).await {
        Ok(Committed { modified, etag }) => {
            written.committed();
            Ok(Put {
                etag,
                modified,
                checksum,
            })
        }
        Err(error) => {
            gw.data.commit_failed(written, &error);
            Err(error.into())
        }
    }
}

/// A checksum as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownChecksum {
    /// Which algorithm.
    pub(crate) algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub(crate) kind: ChecksumKind,
    /// Base64; a composite one carries the number of its parts.
    pub(crate) text: String,
}

/// The checksum that answers show: the one the client chose, or the CRC64NVME that every object has.
pub(crate) fn shown_checksum(object: &Object) -> ShownChecksum {
    let Some(ObjectChecksum {
        algorithm,
        kind,
        value,
    }) = &object.checksum
    else {
        return ShownChecksum {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            text: show(&object.crc64nvme.to_be_bytes()),
        };
    };
    let text = match kind {
        ChecksumKind::FullObject => show(value),
        ChecksumKind::Composite => format!("{}-{}", show(value), object.parts.len()),
    };
    ShownChecksum {
        algorithm: *algorithm,
        kind: *kind,
        text,
    }
}

/// 412 (404 for an ETag of what is not there) before the body is read, if the condition fails already.
pub(crate) async fn check_early(
    gw: &Gateway,
    bucket: &Bucket,
    key: &str,
    precondition: &Precondition,
) -> Result<(), GatewayError> {
    if *precondition == Precondition::None {
        return Ok(());
    }
    let found = gw.filer.lookup(bucket.id, key.as_bytes()).await?;
    match (precondition, found) {
        (Precondition::None, _) | (Precondition::Absent, None) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(Code::PreconditionFailed.into()),
        (Precondition::EtagIn(_), None) => Err(Code::NoSuchKey.into()),
        (Precondition::EtagIn(tags), Some(Found { object, .. })) => {
            let holds = tags.iter().any(|t| t == "*" || *t == object.etag);
            if holds {
                Ok(())
            } else {
                Err(Code::PreconditionFailed.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_not_stored() {
        for (came, stored) in [
            ("aws-chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, AWS-Chunked", Some("gzip")),
            ("gzip,br", Some("gzip,br")),
            ("", None),
        ] {
            assert_eq!(stored_encoding(came).as_deref(), stored, "{came}");
        }
    }

    #[test]
    fn metadata_has_a_limit_and_lower_case_names() {
        let of = |n: usize| Labels {
            user_metadata: vec![("Mtime".to_owned(), "x".repeat(n))],
            ..Labels::default()
        };
        assert!(of(limits::USER_METADATA_BYTES_MAX - 4).checked().is_err());
        let ok = of(limits::USER_METADATA_BYTES_MAX - 5).checked().unwrap();
        assert_eq!(ok.user_metadata[0].0, "mtime");
    }
}
