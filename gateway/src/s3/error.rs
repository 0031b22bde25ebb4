//! The one table from our errors to S3's.

use halofs_client::{FilerError, MasterError, VolumeError};
use s3s::{S3Error, S3ErrorCode};

use crate::error::{Code, GatewayError};

impl From<GatewayError> for S3Error {
    fn from(error: GatewayError) -> Self {
        let (code, message) = table(&error);
        if code == Code::InternalError {
            tracing::error!(%error, "a request failed");
        }
        s3_error(code, message)
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        s3_error(code, code.sentence().to_owned())
    }
}

/// An S3 error of that code with its own sentence.
pub(crate) fn s3_error(code: Code, message: String) -> S3Error {
    let known = S3ErrorCode::from_bytes(code.as_str().as_bytes());
    let mut out = S3Error::with_message(known.unwrap_or(S3ErrorCode::InternalError), message);
    if let Ok(status) = http::StatusCode::from_u16(code.status()) {
        out.set_status_code(status);
    }
    out
}

/// What an error is called and what it says. What is inside a disk or a row never leaves the process: the log has it.
pub(crate) fn table(error: &GatewayError) -> (Code, String) {
    match error {
        GatewayError::Refused { code, message } => (*code, message.clone().into_owned()),
        GatewayError::Filer(e) => filer(e),
        GatewayError::Volume(e) => volume(e),
        GatewayError::Master(e) => master(e),
        GatewayError::Busy(_) => plain(Code::SlowDown),
    }
}

fn plain(code: Code) -> (Code, String) {
    (code, code.sentence().to_owned())
}

fn filer(e: &FilerError) -> (Code, String) {
    match e {
        FilerError::NoBucket(_) => plain(Code::NoSuchBucket),
        FilerError::BucketExists { .. } => plain(Code::BucketAlreadyExists),
        FilerError::BucketNotEmpty(_) => plain(Code::BucketNotEmpty),
        FilerError::NoKey => plain(Code::NoSuchKey),
        FilerError::NoUpload(_) => plain(Code::NoSuchUpload),
        FilerError::InvalidPart(_) => plain(Code::InvalidPart),
        FilerError::PreconditionFailed => plain(Code::PreconditionFailed),
        FilerError::Conflict => plain(Code::ConditionalRequestConflict),
        FilerError::Invalid { .. } => (Code::InvalidArgument, e.to_string()),
        FilerError::Damaged(_) => plain(Code::InternalError),
        FilerError::Full(_) => (Code::ServiceUnavailable, FULL.to_owned()),
        // Clients send the body again after a 503, which is what a lost lease asks for.
        FilerError::LeaseGone | FilerError::Unavailable(_) => plain(Code::ServiceUnavailable),
    }
}

/// What a client reads when the disk is full.
const FULL: &str =
    "The server's disk is full. Reads and deletes still work; free space or add a node";

fn volume(e: &VolumeError) -> (Code, String) {
    match e {
        VolumeError::Full { .. } => (Code::ServiceUnavailable, FULL.to_owned()),
        VolumeError::Fenced(_)
        | VolumeError::ReadOnly { .. }
        | VolumeError::AtLimit { .. }
        | VolumeError::Stopping => plain(Code::ServiceUnavailable),
        VolumeError::TooLarge { .. } => plain(Code::EntityTooLarge),
        VolumeError::NoVolume(_)
        | VolumeError::NotFound(_)
        | VolumeError::WrongCookie(_)
        | VolumeError::Exists(_)
        | VolumeError::Mismatch(_)
        | VolumeError::Damaged { .. }
        | VolumeError::Io { .. }
        | VolumeError::Refused { .. } => plain(Code::InternalError),
    }
}

fn master(e: &MasterError) -> (Code, String) {
    match e {
        MasterError::NoSpace { .. } => (Code::ServiceUnavailable, FULL.to_owned()),
        MasterError::Unavailable(_) => plain(Code::ServiceUnavailable),
        MasterError::UnknownVolume(_)
        | MasterError::Invalid { .. }
        | MasterError::Unsupported(_)
        | MasterError::Storage(_) => plain(Code::InternalError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_keeps_its_name_and_status() {
        for code in Code::ALL {
            let e = S3Error::from(*code);
            assert_eq!(e.code().as_str(), code.as_str());
            assert_eq!(
                e.status_code().map(|s| s.as_u16()),
                Some(code.status()),
                "{}",
                code.as_str()
            );
        }
    }
}
