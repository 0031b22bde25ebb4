//! Multipart uploads: create, parts, lists, abort. Complete is in `complete`.

use bytes::Bytes;
use futures::Stream;
use halofs_client::filer::{ListUploads, UploadPage};
use halofs_client::writer::Written;
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind};
use halofs_types::object::{Bucket, Owner, Part, Upload};
use halofs_types::range::{ByteRange, RangeSpec, parse};
use halofs_types::{AttemptId, Timestamp, limits};
use http::HeaderMap;

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::copy::{Source, check_size, copy_bytes};
use crate::ops::data::check_key;
use crate::ops::payload::{Claims, Received, receive};
use crate::ops::put::{Labels, STORAGE_CLASS, admit};

/// The upload that an id names; what cannot be an id names none.
pub(crate) fn upload_id(text: &str) -> Result<AttemptId, GatewayError> {
    text.parse().map_err(|_| Code::NoSuchUpload.into())
}

/// A part number within the limits.
pub(crate) fn part_number(n: i32) -> Result<u32, GatewayError> {
    match u32::try_from(n) {
        Ok(n) if (1..=limits::PARTS_MAX).contains(&n) => Ok(n),
        _ => Err(GatewayError::refused(
            Code::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

/// What an upload's parts and object carry: the algorithm, and a kind that it can have.
pub(crate) fn upload_checksum(
    algorithm: Option<ChecksumAlgorithm>,
    kind: Option<&str>,
) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, GatewayError> {
    let kind = kind.map(checksum_kind).transpose()?;
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(GatewayError::refused(
            Code::InvalidRequest,
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(a), None) => Ok(Some((a, a.default_kind()))),
        (Some(a), Some(kind)) if a.allows(kind) => Ok(Some((a, kind))),
        (Some(a), Some(kind)) => Err(GatewayError::refused(
            Code::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {a} checksum algorithm.",
                kind.name()
            ),
        )),
    }
}

/// The kind of that name.
pub(crate) fn checksum_kind(name: &str) -> Result<ChecksumKind, GatewayError> {
    name.parse().map_err(|_| {
        GatewayError::refused(
            Code::InvalidRequest,
            "Value for x-amz-checksum-type header is invalid.",
        )
    })
}

/// A CreateMultipartUpload.
#[derive(Debug)]
pub(crate) struct CreatePlan {
    /// Bucket name.
    pub(crate) bucket: String,
    /// Object key.
    pub(crate) key: String,
    /// What the object will carry.
    pub(crate) labels: Labels,
    /// See [`upload_checksum`].
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Who begins it.
    pub(crate) initiator: Owner,
}

/// Begins an upload.
pub(crate) async fn create(gw: &Gateway, plan: CreatePlan) -> Result<Upload, GatewayError> {
    check_key(&plan.key)?;
    let labels = plan.labels.checked()?;
    let bucket = gw.filer.bucket(&plan.bucket).await?;
    let new = Upload {
        id: AttemptId::default(),
        key: plan.key.into(),
        initiator: plan.initiator,
        initiated: Timestamp::default(),
        headers: labels.headers,
        user_metadata: labels.user_metadata,
        storage_class: STORAGE_CLASS.to_owned(),
        checksum: plan.checksum,
    };
    Ok(gw.filer.create_upload(&bucket, new).await?)
}

/// Which part of which upload.
#[derive(Debug, Clone)]
pub(crate) struct PartPlace {
    /// Bucket name.
    pub(crate) bucket: String,
    /// Object key.
    pub(crate) key: String,
    /// The upload.
    pub(crate) upload: AttemptId,
    /// 1..=10000.
    pub(crate) number: u32,
}

/// Stores a part from a request's body.
pub(crate) async fn put_part<S>(
    gw: &Gateway,
    place: PartPlace,
    claims: Claims,
    body: S,
    trailers: impl FnOnce() -> Option<HeaderMap> + Send,
) -> Result<Part, GatewayError>
where
    S: Stream<Item = Result<Bytes, GatewayError>> + Unpin + Send,
{
    check_key(&place.key)?;
    let bucket = gw.filer.bucket(&place.bucket).await?;
    let upload = gw
        .filer
        .upload(bucket.id, place.key.as_bytes(), place.upload)
        .await?;
    let wanted = upload.checksum.map(|(a, _)| a);
    match (wanted, claims.algorithm()) {
        (Some(a), Some(b)) if a != b => {
            return Err(GatewayError::refused(
                Code::InvalidRequest,
                format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                    a.name().to_lowercase(),
                    b.name().to_lowercase()
                ),
            ));
        }
        _ => {}
    }
    let _bytes = admit(gw, claims.length).await?;
    let attempt = AttemptId(gw.rng.id16());
    let more = wanted.or(claims.algorithm());
    let writer = gw
        .data
        .writer(&bucket, &place.key, place.number, attempt, more);
    let Received {
        written,
        checksum: _,
    } = receive(writer, &claims, body, trailers).await?;
    commit_part(gw, &bucket, &place, written, more, attempt).await
}

async fn commit_part(
    gw: &Gateway,
    bucket: &Bucket,
    place: &PartPlace,
    mut written: Written,
    algorithm: Option<ChecksumAlgorithm>,
    attempt: AttemptId,
) -> Result<Part, GatewayError> {
    let part = Part {
        number: place.number,
        size: written.size,
        md5: written.sums.md5,
        crc64nvme: written.sums.crc64nvme,
        checksum: algorithm.and_then(|a| Some((a, written.sums.get(a)?))),
        modified: gw.clock.now(),
        chunks: written.chunks.clone(),
        attempt,
    };
    let leases = written.leases();
    written.begin_commit();
    let stored = gw
        .filer
        .put_part(
            bucket,
            place.key.as_bytes(),
            place.upload,
            part.clone(),
            leases,
        )
        .await;
    match stored {
        Ok(()) => {
            written.committed();
            Ok(part)
        }
        Err(error) => {
            gw.data.commit_failed(written, &error);
            Err(error.into())
        }
    }
}

/// The bytes of a source that `x-amz-copy-source-range` names: `bytes=first-last`, inside the source.
fn copy_range(header: Option<&str>, size: u64) -> Result<ByteRange, GatewayError> {
    let Some(header) = header else {
        return Ok(ByteRange {
            start: 0,
            end: size,
        });
    };
    let specs = header
        .starts_with("bytes=")
        .then(|| parse(header))
        .flatten();
    match specs.and_then(Result::ok).as_deref() {
        Some([RangeSpec::Closed(first, last)]) if first <= last && *last < size => Ok(ByteRange {
            start: *first,
            end: last + 1,
        }),
        Some([RangeSpec::Closed(first, last)]) if first <= last => Err(GatewayError::refused(
            Code::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        )),
        _ => Err(GatewayError::refused(
            Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
    }
}

/// Stores a part from another object's bytes.
pub(crate) async fn copy_part(
    gw: &Gateway,
    place: PartPlace,
    source: Source,
    range: Option<&str>,
) -> Result<Part, GatewayError> {
    check_key(&place.key)?;
    let bucket = gw.filer.bucket(&place.bucket).await?;
    let upload = gw
        .filer
        .upload(bucket.id, place.key.as_bytes(), place.upload)
        .await?;
    let found = source.find(gw).await?;
    let range = copy_range(range, found.object.size)?;
    check_size(range)?;
    let _bytes = admit(gw, range.end - range.start).await?;
    let attempt = AttemptId(gw.rng.id16());
    let algorithm = upload.checksum.map(|(a, _)| a);
    let writer = gw
        .data
        .writer(&bucket, &place.key, place.number, attempt, algorithm);
    let written = copy_bytes(gw, writer, &found.object.chunks, range).await?;
    commit_part(gw, &bucket, &place, written, algorithm, attempt).await
}

/// An upload with a page of its parts.
pub(crate) async fn list_parts(
    gw: &Gateway,
    bucket: &str,
    key: &str,
    id: AttemptId,
    after: u32,
    limit: usize,
) -> Result<(Bucket, Upload, Vec<Part>, bool), GatewayError> {
    let bucket = gw.filer.bucket(bucket).await?;
    let upload = gw.filer.upload(bucket.id, key.as_bytes(), id).await?;
    let limit = limit.min(limits::PAGE_MAX);
    let (parts, more) = gw
        .filer
        .list_parts(bucket.id, key.as_bytes(), id, after, limit)
        .await?;
    Ok((bucket, upload, parts, more))
}

/// A page of the open uploads of a bucket.
pub(crate) async fn list_uploads(
    gw: &Gateway,
    bucket: &str,
    list: ListUploads,
) -> Result<(Bucket, UploadPage), GatewayError> {
    let bucket = gw.filer.bucket(bucket).await?;
    let page = gw.filer.list_uploads(bucket.id, list).await?;
    Ok((bucket, page))
}

/// Drops an upload; `initiated` is the time that it must have begun at.
pub(crate) async fn abort(
    gw: &Gateway,
    bucket: &str,
    key: &str,
    id: AttemptId,
    initiated: Option<Timestamp>,
) -> Result<(), GatewayError> {
    let bucket = gw.filer.bucket(bucket).await?;
    if let Some(at) = initiated {
        let upload = gw.filer.upload(bucket.id, key.as_bytes(), id).await?;
        if upload.initiated.secs() != at.secs() {
            return Err(Code::PreconditionFailed.into());
        }
    }
    Ok(gw.filer.abort_upload(&bucket, key.as_bytes(), id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_ranges_are_closed_and_inside() {
        assert_eq!(copy_range(None, 5).unwrap(), ByteRange { start: 0, end: 5 });
        assert_eq!(
            copy_range(Some("bytes=1-4"), 5).unwrap(),
            ByteRange { start: 1, end: 5 }
        );
        for bad in [
            "bytes=1-5",
            "bytes=3-1",
            "bytes=1-",
            "bytes=-2",
            "1-2",
            "bytes=0-1,2-3",
            "bytes=a-b",
            "x=1-2",
        ] {
            assert!(copy_range(Some(bad), 5).is_err(), "{bad}");
        }
    }

    #[test]
    fn checksum_kinds_fit_their_algorithm() {
        let of = |a: Option<ChecksumAlgorithm>, k| upload_checksum(a, k).ok();
        let sha = ChecksumAlgorithm::Sha256;
        let nvme = ChecksumAlgorithm::Crc64Nvme;
        assert_eq!(of(None, None), Some(None));
        assert_eq!(of(None, Some("COMPOSITE")), None);
        assert_eq!(
            of(Some(sha), None),
            Some(Some((sha, ChecksumKind::Composite)))
        );
        assert_eq!(of(Some(sha), Some("FULL_OBJECT")), None);
        assert_eq!(
            of(Some(nvme), None),
            Some(Some((nvme, ChecksumKind::FullObject)))
        );
        assert_eq!(of(Some(nvme), Some("COMPOSITE")), None);
        assert_eq!(of(Some(nvme), Some("WHOLE")), None);
    }

    #[test]
    fn part_numbers_and_upload_ids() {
        assert!(
            part_number(0).is_err() && part_number(10_001).is_err() && part_number(-1).is_err()
        );
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        assert!(upload_id("nope").is_err());
    }
}
