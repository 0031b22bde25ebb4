//! GetObject and HeadObject.

use halofs_client::filer::Found;
use halofs_client::reader::Content;
use halofs_client::{DataError, VolumeError};
use halofs_runtime::admission::Permit;
use halofs_types::conditional::{Conditions, Verdict, evaluate_read, if_range_holds};
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

/// What is asked of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The four conditions.
    pub(crate) conditions: Conditions<'a>,
    /// `If-Range`: where it does not hold, a range is not one.
    pub(crate) if_range: Option<&'a str>,
    /// Which bytes.
    pub(crate) wish: Wish,
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
    ask: Ask<'_>,
) -> Result<Outcome<Got>, GatewayError> {
    let (_, found) = lookup(gw, bucket, key).await?;
    decide(found.object, ask)
}

/// A read with its first bytes. A chunk that is gone means that the object was replaced after its row was read: the
/// row is read again, as long as nothing was sent.
pub(crate) async fn get(
    gw: &Gateway,
    bucket: &str,
    key: &str,
    ask: Ask<'_>,
) -> Result<Outcome<(Got, Option<Content>, Option<Permit>)>, GatewayError> {
    let mut seen = None;
    let mut left = LOOKUPS;
    loop {
        left -= 1;
        let (_, found) = lookup(gw, bucket, key).await?;
        let revision = found.revision;
        let got = match decide(found.object, ask)? {
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

fn decide(object: Object, ask: Ask<'_>) -> Result<Outcome<Got>, GatewayError> {
    match evaluate_read(ask.conditions, &object.etag, object.modified) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(Outcome::NotModified(Box::new(object))),
        Verdict::Failed => return Err(Code::PreconditionFailed.into()),
    }
    let wish = match ask.wish {
        Wish::Range(_) if !if_range_holds(ask.if_range, &object.etag, object.modified) => {
            Wish::Whole
        }
        wish => wish,
    };
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
        // Parts are counted from 1 in their order, whatever numbers the upload used.
        Wish::Part(number) => {
            let at = usize::try_from(number)
                .unwrap_or(usize::MAX)
                .saturating_sub(1);
            let start: u64 = object.parts.iter().take(at).map(|p| p.size).sum();
            if let Some(part) = object.parts.get(at).cloned() {
                let range = ByteRange {
                    start,
                    end: start + part.size,
                };
                let partial = !range.is_empty();
                return Ok(Got {
                    object,
                    range,
                    partial,
                    part: Some(part),
                });
            }
            Err(Code::InvalidPartNumber.into())
        }
    }
}
