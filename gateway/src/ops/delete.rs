//! DeleteObject and DeleteObjects.

use bytes::Bytes;
use halofs_client::filer::Precondition;
use halofs_types::limits;

use crate::error::{Code, GatewayError};
use crate::gateway::Gateway;
use crate::ops::data::check_key;
use crate::ops::put::check_early;

/// Refuses a version id that an object without versions does not have.
pub(crate) fn check_version(version: Option<&str>) -> Result<(), GatewayError> {
    match version {
        None | Some("null") => Ok(()),
        Some("") => Err(GatewayError::refused(
            Code::InvalidArgument,
            "Version id cannot be the empty string",
        )),
        Some(_) => Err(GatewayError::refused(
            Code::InvalidArgument,
            "Invalid version id specified",
        )),
    }
}

/// Deletes one key; what is not there is deleted already.
pub(crate) async fn delete(
    gw: &Gateway,
    bucket: &str,
    key: String,
    precondition: Precondition,
) -> Result<(), GatewayError> {
    check_key(&key)?;
    let bucket = gw.filer.bucket(bucket).await?;
    check_early(gw, &bucket, &key, &precondition).await?;
    let mut answers = gw
        .filer
        .delete_objects(&bucket, vec![(key.into(), precondition)])
        .await;
    let answer = answers.pop().ok_or(Code::InternalError)?;
    Ok(answer?)
}

/// One key of a DeleteObjects.
#[derive(Debug)]
pub(crate) struct DeleteKey {
    /// The key.
    pub(crate) key: String,
    /// `VersionId`.
    pub(crate) version: Option<String>,
    /// Must hold.
    pub(crate) precondition: Precondition,
    /// Asks for what is not built.
    pub(crate) refused: Option<&'static str>,
}

/// Deletes many keys, each for itself, all submitted together; answers in order.
pub(crate) async fn delete_many(
    gw: &Gateway,
    bucket: &str,
    keys: Vec<DeleteKey>,
) -> Result<Vec<(String, Result<(), GatewayError>)>, GatewayError> {
    if keys.is_empty() || keys.len() > limits::PAGE_MAX {
        return Err(Code::MalformedXML.into());
    }
    let bucket = gw.filer.bucket(bucket).await?;
    let mut answers: Vec<(String, Result<(), GatewayError>)> = Vec::with_capacity(keys.len());
    let mut asked: Vec<usize> = Vec::with_capacity(keys.len());
    let mut batch: Vec<(Bytes, Precondition)> = Vec::with_capacity(keys.len());
    for DeleteKey {
        key,
        version,
        precondition,
        refused,
    } in keys
    {
        let checked = check_key(&key)
            .and_then(|()| check_version(version.as_deref()))
            .and_then(|()| {
                refused.map_or(Ok(()), |m| {
                    Err(GatewayError::refused(Code::NotImplemented, m))
                })
            });
        if checked.is_ok() {
            asked.push(answers.len());
            batch.push((Bytes::copy_from_slice(key.as_bytes()), precondition));
        }
        answers.push((key, checked));
    }
    let done = gw.filer.delete_objects(&bucket, batch).await;
    if done.len() != asked.len() {
        return Err(Code::InternalError.into());
    }
    for (at, outcome) in asked.into_iter().zip(done) {
        if let Some((_, answer)) = answers.get_mut(at) {
            *answer = outcome.map_err(GatewayError::from);
        }
    }
    Ok(answers)
}
