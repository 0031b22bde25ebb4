//! GetObject and HeadObject.

use halofs_client::filer::Found;
use halofs_client::reader::Content;
use halofs_client::{DataError, VolumeError};
use halofs_runtime::admission::Permit;
use halofs_types::conditional::{Conditions, Verdict, evaluate_read};
use halofs_types::object::{Bucket, Object, PartInfo};
use halofs_types::range::{ByteRange, RangeSpec};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;

/// How often a read looks the row up again when a chunk is gone (`replication.md` 20).
const LOOKUPS: u32 = 3;
/// Bytes that a read holds in memory at a time.
const HELD_BYTES: u64 = 1 << 20;

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Everything.
    Whole,
    /// A `Range` header.
    Range(RangeSpec),
    /// `partNumber`.
    Part(u32),
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Got {
    /// The object.
    pub(crate) object: Object,
    /// The bytes that answer the wish.
    pub(crate) range: ByteRange,
    /// The answer is 206 with Content-Range.
    pub(crate) partial: bool,
    /// The part that was asked for.
    pub(crate) part: Option<PartInfo>,
}

/// A read may stop without an error of ours.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// Go on.
    Found(T),
    /// 304 for this object.
    NotModified(Box<Object>),
}

/// The bucket and the current object of a key.
pub(crate) async fn lookup(
    gw: &Gateway,
    bucket: &str,
    key: &str,
) -> Result<(Bucket, Found), GatewayError> {
    let bucket = gw.filer.bucket(bucket).await?;
    let found = gw.filer.lookup(bucket.id, key.as_bytes()).await?;
    Ok((bucket, found.ok_or(Code::NoSuchKey)?))
}

/// Everything of a read but the bytes.
pub(crate) async fn head(
    gw: &Gateway,
    bucket: &str,
    key: &str,
    conditions: Conditions<'_>,
    wish: Wish,
) -> Result<Outcome<Got>, GatewayError> {
    let (_, found) = lookup(gw, bucket, key).await?;
    decide(found.object, conditions, wish)
}

/// A read with its first bytes. A chunk that is gone means that the object was replaced after its row was read: the
/// row is read again, as long as nothing was sent.
pub(crate) async fn get(
    gw: &Gateway,
    bucket: &str,
    key: &str,
    conditions: Conditions<'_>,
    wish: Wish,
) -> Result<Outcome<(Got, Option<Content>, Option<Permit>)>, GatewayError> {
    let mut seen = None;
    let mut left = LOOKUPS;
    loop {
        left -= 1;
        let (_, found) = lookup(gw, bucket, key).await?;
        let revision = found.revision;
        let got = match decide(found.object, conditions, wish)? {
            Outcome::NotModified(object) => return Ok(Outcome::NotModified(object)),
            Outcome::Found(got) => got,
        };
        if got.range.is_empty() {
            return Ok(Outcome::Found((got, None, None)));
        }
        let held = usize::try_from(got.range.len().min(HELD_BYTES)).unwrap_or(usize::MAX);
        let permit = gw.admission.acquire(held).await?;
        match gw.data.open(&got.object.chunks, got.range).await {
            Ok(content) => return Ok(Outcome::Found((got, Some(content), Some(permit)))),
            Err(error) if left > 0 && is_gone(&error) && seen != Some(revision) => {
                seen = Some(revision);
            }
            Err(error) => {
                tracing::error!(%error, bucket, "a chunk of a live object cannot be read");
                return Err(error.into());
            }
        }
    }
}

fn is_gone(error: &DataError) -> bool {
    matches!(
        error,
        DataError::Volume(
            VolumeError::NotFound(_) | VolumeError::NoVolume(_) | VolumeError::Mismatch(_)
        )
    )
}

fn decide(
    object: Object,
    conditions: Conditions<'_>,
    wish: Wish,
) -> Result<Outcome<Got>, GatewayError> {
    match evaluate_read(conditions, &object.etag, object.modified) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(Outcome::NotModified(Box::new(object))),
        Verdict::Failed => return Err(Code::PreconditionFailed.into()),
    }
    resolve(object, wish).map(Outcome::Found)
}

fn resolve(object: Object, wish: Wish) -> Result<Got, GatewayError> {
    let whole = ByteRange {
        start: 0,
        end: object.size,
    };
    match wish {
        Wish::Whole => Ok(Got {
            object,
            range: whole,
            partial: false,
            part: None,
        }),
        Wish::Range(spec) => {
            let range = spec.resolve(object.size).ok_or(Code::InvalidRange)?;
            Ok(Got {
                object,
                range,
                partial: true,
                part: None,
            })
        }
        Wish::Part(1) if object.parts.is_empty() => {
            let partial = object.size > 0;
            Ok(Got {
                object,
                range: whole,
                partial,
                part: None,
            })
        }
        Wish::Part(number) => {
            let mut start = 0_u64;
            for part in &object.parts {
                let end = start + part.size;
                if part.number == number {
                    let part = Some(part.clone());
                    let range = ByteRange { start, end };
                    return Ok(Got {
                        object,
                        range,
                        partial: !range.is_empty(),
                        part,
                    });
                }
                start = end;
            }
            Err(Code::InvalidPartNumber.into())
        }
    }
}
