//! CompleteMultipartUpload: what the client lists is checked against the parts that are there, then one transaction of
//! the filer makes the object visible. No byte is read: the ETag follows from the parts' MD5s, CRCs combine, and
//! composite checksums are hashes of the parts' checksums. A repeat after success answers the same.

use std::collections::HashMap;

use bytes::Bytes;
use halofs_client::FilerError;
use halofs_client::filer::{Committed, CompleteUpload, Precondition};
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum, combine_crc64nvme};
use halofs_types::object::{Bucket, Object, Part, PartInfo, Upload};
use halofs_types::{AttemptId, Timestamp, limits};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::payload::{mismatch, show};
use crate::ops::put::{STORAGE_CLASS, ShownChecksum, check_early, shown_checksum};

/// A part as the client lists it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListedPart {
    /// Its number.
    pub(crate) number: i32,
    /// Its ETag, without quotes.
    pub(crate) etag: String,
    /// The checksums that the client names for it, as shown.
    pub(crate) checksums: Vec<(ChecksumAlgorithm, String)>,
}

/// A CompleteMultipartUpload.
#[derive(Debug)]
pub(crate) struct CompletePlan {
    /// Bucket name.
    pub(crate) bucket: String,
    /// Object key.
    pub(crate) key: String,
    /// The upload.
    pub(crate) upload: AttemptId,
    /// In the client's order.
    pub(crate) parts: Vec<ListedPart>,
    /// Must hold on arrival and in the commit.
    pub(crate) precondition: Precondition,
    /// The checksums that the client names for the whole, as shown.
    pub(crate) checksums: Vec<(ChecksumAlgorithm, String)>,
    /// The kind that the client names.
    pub(crate) kind: Option<ChecksumKind>,
    /// `x-amz-mp-object-size`.
    pub(crate) size: Option<u64>,
}

/// What a Complete answers.
#[derive(Debug)]
pub(crate) struct Completed {
    /// Without quotes.
    pub(crate) etag: String,
    /// Unknown when a repeat finds that the object was replaced since.
    pub(crate) checksum: Option<ShownChecksum>,
}

/// The largest object (AWS: 50 TB since 2025; here what the part limits allow).
const OBJECT_BYTES_MAX: u64 = limits::PUT_BYTES_MAX * limits::PARTS_MAX as u64;

/// Completes an upload.
pub(crate) async fn complete(gw: &Gateway, plan: CompletePlan) -> Result<Completed, GatewayError> {
    check_order(&plan.parts)?;
    let bucket = gw.filer.bucket(&plan.bucket).await?;
    let upload = match gw
        .filer
        .upload(bucket.id, plan.key.as_bytes(), plan.upload)
        .await
    {
        Ok(upload) => upload,
        Err(FilerError::NoUpload(id)) => return repeated(gw, &bucket, &plan, id).await,
        Err(error) => return Err(error.into()),
    };
    check_early(gw, &bucket, &plan.key, &plan.precondition).await?;
    let stored = all_parts(gw, &bucket, &plan).await?;
    let chosen = choose(&plan, &upload, &stored)?;
    let object = assemble(&plan, upload, &chosen)?;
    let shown = shown_checksum(&object);
    let complete = CompleteUpload {
        bucket: bucket.clone(),
        key: Bytes::copy_from_slice(plan.key.as_bytes()),
        upload: plan.upload,
        parts: chosen.iter().map(|p| (p.number, p.attempt)).collect(),
        object,
        precondition: plan.precondition.clone(),
    };
    match gw.filer.complete_upload(complete).await {
        Ok(Committed { etag, .. }) => Ok(Completed {
            etag,
            checksum: Some(shown),
        }),
        // Another Complete of the same upload won.
        Err(FilerError::NoUpload(id)) => repeated(gw, &bucket, &plan, id).await,
        Err(error) => Err(error.into()),
    }
}

/// The answer that an earlier Complete of this upload gave, if it succeeded.
async fn repeated(
    gw: &Gateway,
    bucket: &Bucket,
    plan: &CompletePlan,
    id: String,
) -> Result<Completed, GatewayError> {
    let key = plan.key.as_bytes();
    let Some(Committed { etag, .. }) = gw.filer.completed(bucket.id, key, plan.upload).await?
    else {
        return Err(FilerError::NoUpload(id).into());
    };
    let found = gw.filer.lookup(bucket.id, key).await?;
    let checksum = found
        .filter(|f| f.object.attempt == plan.upload)
        .map(|f| shown_checksum(&f.object));
    Ok(Completed { etag, checksum })
}

fn check_order(parts: &[ListedPart]) -> Result<(), GatewayError> {
    if parts.is_empty() || parts.len() > limits::PARTS_MAX as usize {
        return Err(Code::MalformedXML.into());
    }
    if parts
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.number >= b.number))
    {
        return Err(Code::InvalidPartOrder.into());
    }
    Ok(())
}

async fn all_parts(
    gw: &Gateway,
    bucket: &Bucket,
    plan: &CompletePlan,
) -> Result<HashMap<u32, Part>, GatewayError> {
    let mut all = HashMap::with_capacity(plan.parts.len());
    let mut after = 0;
    loop {
        let key = plan.key.as_bytes();
        let (page, more) = gw
            .filer
            .list_parts(bucket.id, key, plan.upload, after, limits::PAGE_MAX)
            .await?;
        let Some(last) = page.last().map(|p| p.number) else {
            break;
        };
        after = last;
        all.extend(page.into_iter().map(|p| (p.number, p)));
        if !more {
            break;
        }
    }
    Ok(all)
}

/// The stored parts that the client lists, each what the client says it is.
fn choose<'a>(
    plan: &CompletePlan,
    upload: &Upload,
    stored: &'a HashMap<u32, Part>,
) -> Result<Vec<&'a Part>, GatewayError> {
    let mut chosen = Vec::with_capacity(plan.parts.len());
    for listed in &plan.parts {
        let part = u32::try_from(listed.number)
            .ok()
            .and_then(|n| stored.get(&n))
            .ok_or(Code::InvalidPart)?;
        if !hex::encode(part.md5).eq_ignore_ascii_case(&listed.etag) {
            return Err(Code::InvalidPart.into());
        }
        for (algorithm, value) in &listed.checksums {
            if part_checksum(part, *algorithm).is_none_or(|raw| show(&raw) != *value) {
                return Err(Code::InvalidPart.into());
            }
        }
        if let Some((a, ChecksumKind::Composite)) = upload.checksum
            && !listed.checksums.iter().any(|(b, _)| *b == a)
        {
            return Err(GatewayError::refused(
                Code::InvalidRequest,
                format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for \
                     each part. It was missing for part {} in the request.",
                    a.name().to_lowercase(),
                    part.number
                ),
            ));
        }
        chosen.push(part);
    }
    let but_last = chosen.len().saturating_sub(1);
    if chosen
        .iter()
        .take(but_last)
        .any(|p| p.size < limits::PART_BYTES_MIN)
    {
        return Err(Code::EntityTooSmall.into());
    }
    Ok(chosen)
}

fn part_checksum(part: &Part, algorithm: ChecksumAlgorithm) -> Option<Bytes> {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => Some(Bytes::copy_from_slice(&part.crc64nvme.to_be_bytes())),
        ChecksumAlgorithm::Md5 => Some(Bytes::copy_from_slice(&part.md5)),
        _ => part
            .checksum
            .as_ref()
            .filter(|(a, _)| *a == algorithm)
            .map(|(_, v)| v.clone()),
    }
}

fn assemble(plan: &CompletePlan, upload: Upload, parts: &[&Part]) -> Result<Object, GatewayError> {
    let size = parts
        .iter()
        .try_fold(0_u64, |n, p| n.checked_add(p.size))
        .ok_or(Code::EntityTooLarge)?;
    if size > OBJECT_BYTES_MAX {
        return Err(Code::EntityTooLarge.into());
    }
    if plan.size.is_some_and(|wanted| wanted != size) {
        return Err(GatewayError::refused(
            Code::InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed",
        ));
    }
    let md5s = ChecksumAlgorithm::Md5.composite(parts.iter().map(|p| &p.md5[..]));
    let crc64nvme = parts
        .iter()
        .fold(0, |crc, p| combine_crc64nvme(crc, p.crc64nvme, p.size));
    let algorithm = upload.checksum.map(|(a, _)| a);
    let object = Object {
        size,
        etag: format!("{}-{}", hex::encode(md5s), parts.len()),
        crc64nvme,
        checksum: whole_checksum(upload.checksum, parts)?,
        modified: Timestamp::default(),
        headers: upload.headers,
        user_metadata: upload.user_metadata,
        storage_class: STORAGE_CLASS.to_owned(),
        chunks: parts
            .iter()
            .flat_map(|p| p.chunks.iter().copied())
            .collect(),
        parts: parts
            .iter()
            .map(|p| PartInfo {
                number: p.number,
                size: p.size,
                checksum: algorithm.and_then(|a| part_checksum(p, a)),
            })
            .collect(),
        attempt: plan.upload,
    };
    check_claims(plan, &object)?;
    Ok(object)
}

/// The checksum of the algorithm and kind that the upload was begun with.
fn whole_checksum(
    wanted: Option<(ChecksumAlgorithm, ChecksumKind)>,
    parts: &[&Part],
) -> Result<Option<ObjectChecksum>, GatewayError> {
    let Some((algorithm, kind)) = wanted else {
        return Ok(None);
    };
    let raw: Option<Vec<Bytes>> = parts.iter().map(|p| part_checksum(p, algorithm)).collect();
    let raw = raw.ok_or(Code::InvalidPart)?;
    let value = match kind {
        ChecksumKind::Composite => algorithm.composite(raw.iter().map(|b| &b[..])),
        ChecksumKind::FullObject => {
            let empty = algorithm.of(b"");
            let whole = parts
                .iter()
                .zip(&raw)
                .try_fold(empty, |crc, (p, raw)| algorithm.combine(&crc, raw, p.size));
            whole.ok_or(Code::InternalError)?
        }
    };
    Ok(Some(ObjectChecksum {
        algorithm,
        kind,
        value,
    }))
}

/// The kind and the checksums of the whole that the client names are the object's.
fn check_claims(plan: &CompletePlan, object: &Object) -> Result<(), GatewayError> {
    let ShownChecksum {
        algorithm,
        kind,
        text: shown,
    } = shown_checksum(object);
    if plan.kind.is_some_and(|k| k != kind) {
        return Err(GatewayError::refused(
            Code::InvalidRequest,
            format!(
                "The upload was created with the checksum type {}.",
                kind.name()
            ),
        ));
    }
    for (claimed, value) in &plan.checksums {
        let crc64nvme = show(&object.crc64nvme.to_be_bytes());
        let holds = if *claimed == algorithm {
            let bare = shown.rsplit_once('-').map_or(shown.as_str(), |(v, _)| v);
            *value == shown || value == bare
        } else {
            *claimed == ChecksumAlgorithm::Crc64Nvme && *value == crc64nvme
        };
        if !holds {
            return Err(mismatch(*claimed));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = limits::PART_BYTES_MIN;

    fn part(number: u32, fill: u8, size: u64, algorithm: ChecksumAlgorithm) -> (Part, Vec<u8>) {
        let data = vec![fill; usize::try_from(size).unwrap()];
        let part = Part {
            number,
            size,
            md5: ChecksumAlgorithm::Md5.of(&data)[..].try_into().unwrap(),
            crc64nvme: u64::from_be_bytes(
                ChecksumAlgorithm::Crc64Nvme.of(&data)[..]
                    .try_into()
                    .unwrap(),
            ),
            checksum: Some((algorithm, algorithm.of(&data))),
            modified: Timestamp::default(),
            chunks: Vec::new(),
            attempt: AttemptId([u8::try_from(number).unwrap(); 16]),
        };
        (part, data)
    }

    fn upload(checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> Upload {
        Upload {
            id: AttemptId([9; 16]),
            key: Bytes::from_static(b"k"),
            initiator: halofs_types::object::Owner::default(),
            initiated: Timestamp::default(),
            headers: halofs_types::object::SystemHeaders::default(),
            user_metadata: Vec::new(),
            storage_class: STORAGE_CLASS.to_owned(),
            checksum,
        }
    }

    fn plan(parts: Vec<ListedPart>) -> CompletePlan {
        CompletePlan {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            upload: AttemptId([9; 16]),
            parts,
            precondition: Precondition::None,
            checksums: Vec::new(),
            kind: None,
            size: None,
        }
    }

    fn listed(part: &Part) -> ListedPart {
        let checksums = part.checksum.iter().map(|(a, v)| (*a, show(v))).collect();
        ListedPart {
            number: i32::try_from(part.number).unwrap(),
            etag: hex::encode(part.md5),
            checksums,
        }
    }

    #[test]
    fn a_full_object_crc_is_that_of_the_bytes() {
        for algorithm in [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32c,
            ChecksumAlgorithm::Crc64Nvme,
        ] {
            let (a, mut bytes) = part(1, 7, SIZE, algorithm);
            let (b, more) = part(3, 8, 1000, algorithm);
            bytes.extend(more);
            let upload = upload(Some((algorithm, ChecksumKind::FullObject)));
            let object = assemble(&plan(vec![listed(&a), listed(&b)]), upload, &[&a, &b]).unwrap();
            let sum = object.checksum.clone().unwrap();
            assert_eq!(
                (sum.value, object.size),
                (algorithm.of(&bytes), bytes.len() as u64)
            );
            assert_eq!(
                object.crc64nvme.to_be_bytes()[..],
                ChecksumAlgorithm::Crc64Nvme.of(&bytes)[..]
            );
            assert!(object.etag.ends_with("-2"));
        }
    }

    #[test]
    fn a_composite_is_the_hash_of_the_hashes_and_needs_every_part_s() {
        let sha = ChecksumAlgorithm::Sha256;
        let (a, _) = part(1, 7, SIZE, sha);
        let (b, _) = part(2, 8, 10, sha);
        let stored: HashMap<u32, Part> = [(1, a.clone()), (2, b.clone())].into();
        let upload = upload(Some((sha, ChecksumKind::Composite)));
        let mut p = plan(vec![listed(&a), listed(&b)]);
        let chosen = choose(&p, &upload, &stored).unwrap();
        let object = assemble(&p, upload.clone(), &chosen).unwrap();
        let both = [&sha.of(&vec![7; 5 << 20])[..], &sha.of(&[8; 10])[..]].concat();
        assert_eq!(
            shown_checksum(&object).text,
            format!("{}-2", show(&sha.of(&both)))
        );
        p.checksums = vec![(sha, show(&sha.of(b"other")))];
        assert!(assemble(&p, upload.clone(), &chosen).is_err());
        p.parts[1].checksums.clear();
        assert!(choose(&p, &upload, &stored).is_err());
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let crc = ChecksumAlgorithm::Crc32;
        let (a, _) = part(1, 7, 10, crc);
        let (b, _) = part(2, 8, 10, crc);
        let stored: HashMap<u32, Part> = [(1, a.clone()), (2, b.clone())].into();
        let u = upload(None);
        let code = |r: Result<Vec<&Part>, GatewayError>| match r {
            Err(GatewayError::Refused { code, .. }) => Some(code),
            _ => None,
        };
        let both = plan(vec![listed(&a), listed(&b)]);
        assert_eq!(code(choose(&both, &u, &stored)), Some(Code::EntityTooSmall));
        let mut wrong = listed(&a);
        wrong.etag = "0".repeat(32);
        assert_eq!(
            code(choose(&plan(vec![wrong]), &u, &stored)),
            Some(Code::InvalidPart)
        );
        let mut missing = listed(&a);
        missing.number = 3;
        assert_eq!(
            code(choose(&plan(vec![missing]), &u, &stored)),
            Some(Code::InvalidPart)
        );
        assert!(check_order(&[]).is_err());
        assert!(check_order(&[listed(&b), listed(&a)]).is_err());
        assert!(check_order(&[listed(&a), listed(&a)]).is_err());
        let mut sized = plan(vec![listed(&a)]);
        sized.size = Some(11);
        assert!(assemble(&sized, u, &[&a]).is_err());
    }
}
