//! CopyObject, and the bytes of UploadPartCopy.
//!
//! A needle has one owner (`replication.md` 22): a copy writes new needles, read and written in this process. Only a
//! copy of an object onto itself that replaces what is stored beside the bytes keeps them, by compare-and-set on the
//! row that was read.

use futures::StreamExt;
use halofs_client::filer::{Committed, Found, Precondition};
use halofs_client::reader::Content;
use halofs_client::writer::{ChunkWriter, Written};
use halofs_client::{DataError, FilerError, VolumeError};
use halofs_types::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use halofs_types::conditional::{Conditions, Verdict, evaluate_read};
use halofs_types::object::{Bucket, ChunkRef, Object};
use halofs_types::range::ByteRange;
use halofs_types::{AttemptId, limits};

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::data::check_key;
use crate::ops::get::lookup;
use crate::ops::put::{Labels, Put, admit, check_early, commit, shown_checksum, whole_object};

/// How often a copy starts again because its source was replaced under it.
const ATTEMPTS: u32 = 3;

/// Where a copy comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Bucket name.
    pub(crate) bucket: String,
    /// Object key.
    pub(crate) key: String,
    /// `x-amz-copy-source-if-match`.
    pub(crate) if_match: Option<String>,
    /// `x-amz-copy-source-if-none-match`.
    pub(crate) if_none_match: Option<String>,
    /// `x-amz-copy-source-if-modified-since`.
    pub(crate) if_modified_since: Option<String>,
    /// `x-amz-copy-source-if-unmodified-since`.
    pub(crate) if_unmodified_since: Option<String>,
}

impl Source {
    /// The object to copy, if its conditions hold: every failure is 412.
    pub(crate) async fn find(&self, gw: &Gateway) -> Result<Found, GatewayError> {
        let (_, found) = lookup(gw, &self.bucket, &self.key).await?;
        let conditions = Conditions {
            if_match: self.if_match.as_deref(),
            if_none_match: self.if_none_match.as_deref(),
            if_modified_since: self.if_modified_since.as_deref(),
            if_unmodified_since: self.if_unmodified_since.as_deref(),
        };
        match evaluate_read(conditions, &found.object.etag, found.object.modified) {
            Verdict::Proceed => Ok(found),
            Verdict::NotModified | Verdict::Failed => Err(Code::PreconditionFailed.into()),
        }
    }
}

/// A CopyObject.
#[derive(Debug)]
pub(crate) struct CopyPlan {
    /// From.
    pub(crate) source: Source,
    /// To this bucket.
    pub(crate) bucket: String,
    /// Under this key.
    pub(crate) key: String,
    /// `REPLACE`: what to store beside the bytes instead of the source's.
    pub(crate) replace: Option<Labels>,
    /// Never copied from the source.
    pub(crate) website_redirect: Option<String>,
    /// Storage class or encryption were named: reason enough to copy an object onto itself.
    pub(crate) renamed_class: bool,
    /// The checksum to compute; `None`: the source's algorithm.
    pub(crate) checksum: Option<ChecksumAlgorithm>,
    /// Of the destination.
    pub(crate) precondition: Precondition,
}

impl CopyPlan {
    fn onto_itself(&self) -> bool {
        self.source.bucket == self.bucket && self.source.key == self.key
    }

    fn labels(&self, source: &Object) -> Labels {
        let mut labels = self.replace.clone().unwrap_or_else(|| Labels {
            headers: source.headers.clone(),
            user_metadata: source.user_metadata.clone(),
        });
        labels
            .headers
            .website_redirect
            .clone_from(&self.website_redirect);
        labels
    }
}

/// Copies an object.
pub(crate) async fn copy(gw: &Gateway, mut plan: CopyPlan) -> Result<Put, GatewayError> {
    check_key(&plan.key)?;
    plan.replace = plan.replace.take().map(Labels::checked).transpose()?;
    let changes = plan.replace.is_some() || plan.website_redirect.is_some() || plan.renamed_class;
    if plan.onto_itself() && !changes && plan.checksum.is_none() {
        return Err(GatewayError::refused(
            Code::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let bucket = gw.filer.bucket(&plan.bucket).await?;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let found = plan.source.find(gw).await?;
        check_early(gw, &bucket, &plan.key, &plan.precondition).await?;
        let keeps = plan
            .checksum
            .is_none_or(|a| a == shown_checksum(&found.object).algorithm);
        let done = if plan.onto_itself() && keeps {
            replace(gw, &plan, &bucket, found).await
        } else {
            rewrite(gw, &plan, &bucket, &found.object).await
        };
        match done {
            Err(error) if left > 0 && is_stale(&error, plan.onto_itself()) => {}
            done => return done,
        }
    }
}

/// The source changed between its row and its bytes, or between its row and the commit.
fn is_stale(error: &GatewayError, onto_itself: bool) -> bool {
    match error {
        GatewayError::Volume(e) => {
            matches!(
                e,
                VolumeError::NotFound(_) | VolumeError::NoVolume(_) | VolumeError::Mismatch(_)
            )
        }
        GatewayError::Filer(FilerError::Conflict) => onto_itself,
        _ => false,
    }
}

async fn replace(
    gw: &Gateway,
    plan: &CopyPlan,
    bucket: &Bucket,
    found: Found,
) -> Result<Put, GatewayError> {
    let Found {
        mut object,
        revision,
    } = found;
    let labels = plan.labels(&object);
    object.headers = labels.headers;
    object.user_metadata = labels.user_metadata;
    // Its own, or the answer of the put that made the object would answer a replacement that lost.
    object.attempt = AttemptId(gw.rng.id16());
    let checksum = shown_checksum(&object);
    let key = plan.key.clone().into();
    let Committed { modified, etag } = gw
        .filer
        .replace_object(bucket.clone(), key, revision, object)
        .await?;
    Ok(Put {
        etag,
        modified,
        checksum,
    })
}

async fn rewrite(
    gw: &Gateway,
    plan: &CopyPlan,
    bucket: &Bucket,
    source: &Object,
) -> Result<Put, GatewayError> {
    let whole = ByteRange {
        start: 0,
        end: source.size,
    };
    check_size(whole)?;
    let algorithm = plan
        .checksum
        .or(source.checksum.as_ref().map(|c| c.algorithm));
    let attempt = AttemptId(gw.rng.id16());
    let writer = gw.data.writer(bucket, &plan.key, 0, attempt, algorithm);
    let _bytes = admit(gw, whole.end).await?;
    let written = copy_bytes(gw, writer, &source.chunks, whole).await?;
    let checksum = algorithm.and_then(|a| {
        let value = written.sums.get(a)?;
        Some(ObjectChecksum {
            algorithm: a,
            kind: ChecksumKind::FullObject,
            value,
        })
    });
    let object = whole_object(&written, plan.labels(source), checksum, attempt);
    commit(
        gw,
        bucket.clone(),
        plan.key.clone(),
        written,
        object,
        plan.precondition.clone(),
    )
    .await
}

/// Refuses ranges over what one copy may move.
pub(crate) fn check_size(range: ByteRange) -> Result<(), GatewayError> {
    if range.len() > limits::PUT_BYTES_MAX {
        return Err(GatewayError::refused(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {}",
                limits::PUT_BYTES_MAX
            ),
        ));
    }
    Ok(())
}

/// Moves a range of chunks into a writer.
pub(crate) async fn copy_bytes(
    gw: &Gateway,
    mut writer: ChunkWriter,
    chunks: &[ChunkRef],
    range: ByteRange,
) -> Result<Written, DataError> {
    if !range.is_empty() {
        match gw.data.open(chunks, range).await? {
            Content::Whole(bytes) => writer.push(bytes).await?,
            Content::Stream(mut pieces) => {
                while let Some(piece) = pieces.next().await {
                    writer.push(piece?).await?;
                }
            }
        }
    }
    if writer.size() != range.end - range.start {
        return Err(DataError::Stopping);
    }
    writer.finish().await
}
