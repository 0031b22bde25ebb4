//! Why the gateway refuses, and as which S3 error it says so. `s3/error.rs` turns these into s3s's type: the one table.

use std::borrow::Cow;

use halofs_client::{FilerError, MasterError, VolumeError};
use halofs_runtime::admission::Busy;
use halofs_types::{Advice, ErrorKind};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $text:literal,)*) => {
        /// The S3 error codes that halofs answers, each with its status and its usual sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the sentence beside each says it")]
        pub enum Code { $($name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// As it stands in `<Code>`.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => stringify!($name),)* } }
            /// HTTP status.
            pub fn status(self) -> u16 { match self { $(Self::$name => $status,)* } }
            /// `<Message>` when there is nothing better to say.
            pub fn sentence(self) -> &'static str { match self { $(Self::$name => $text,)* } }
        }
    };
}

codes! {
    AccessControlListNotSupported = 400 "The bucket does not allow ACLs",
    AccessDenied = 403 "Access Denied",
    AccessForbidden = 403 "CORSResponse: CORS is not enabled for this bucket",
    AuthorizationHeaderMalformed = 400 "The authorization header is malformed",
    AuthorizationQueryParametersError = 400 "The authorization query parameters that you provided are not valid",
    BadDigest = 400 "The checksum you specified did not match what we received",
    BucketAlreadyExists = 409 "The requested bucket name is not available. Select a different name and try again",
    BucketAlreadyOwnedByYou = 409 "Your previous request to create the named bucket succeeded and you already own it",
    BucketNotEmpty = 409 "The bucket you tried to delete is not empty",
    ConditionalRequestConflict = 409 "A conflicting operation occurred during the request. Try again",
    EntityTooLarge = 400 "Your proposed upload exceeds the maximum allowed size",
    EntityTooSmall = 400 "Your proposed upload is smaller than the minimum allowed size",
    IllegalLocationConstraintException = 400 "The location constraint is incompatible with this endpoint's region",
    IncompleteBody = 400 "You did not provide the number of bytes specified by the Content-Length HTTP header",
    InternalError = 500 "We encountered an internal error. Please try again",
    InvalidAccessKeyId = 403 "The access key ID you provided does not exist in our records",
    InvalidArgument = 400 "Invalid Argument",
    InvalidBucketAclWithObjectOwnership = 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    InvalidBucketName = 400 "The specified bucket is not valid",
    InvalidDigest = 400 "The Content-MD5 you specified is not valid",
    InvalidEncryptionAlgorithmError = 400 "The encryption request that you specified is not valid",
    InvalidLocationConstraint = 400 "The specified location constraint is not valid",
    InvalidObjectState = 403 "The operation is not valid for the object's storage class",
    InvalidPart = 400 "One or more of the specified parts could not be found, or its entity tag did not match",
    InvalidPartNumber = 416 "The requested partnumber is not satisfiable",
    InvalidPartOrder = 400 "The list of parts was not in ascending order",
    InvalidRange = 416 "The requested range is not satisfiable",
    InvalidRedirectLocation = 400 "The website redirect location must have a prefix of 'http://' or 'https://' or '/'",
    InvalidRequest = 400 "Invalid Request",
    InvalidStorageClass = 400 "The storage class you specified is not valid",
    InvalidTag = 400 "The tag provided was not a valid tag",
    InvalidToken = 400 "The provided token is malformed or otherwise not valid",
    InvalidURI = 400 "Couldn't parse the specified URI",
    KeyTooLongError = 400 "Your key is too long",
    MalformedTrailerError = 400 "The request contained trailing data that was not well-formed or did not conform to our published schema",
    MalformedXML = 400 "The XML you provided was not well-formed or did not validate against our published schema",
    MaxMessageLengthExceeded = 400 "Your request was too large",
    MetadataTooLarge = 400 "Your metadata headers exceed the maximum allowed metadata size",
    MethodNotAllowed = 405 "The specified method is not allowed against this resource",
    MissingContentLength = 411 "You must provide the Content-Length HTTP header",
    MissingRequestBodyError = 400 "Request body is empty",
    NoSuchBucket = 404 "The specified bucket does not exist",
    NoSuchBucketPolicy = 404 "The bucket policy does not exist",
    NoSuchCORSConfiguration = 404 "The CORS configuration does not exist",
    NoSuchConfiguration = 404 "The specified configuration does not exist",
    NoSuchKey = 404 "The specified key does not exist",
    NoSuchLifecycleConfiguration = 404 "The lifecycle configuration does not exist",
    NoSuchObjectLockConfiguration = 404 "The specified object does not have an object lock configuration",
    NoSuchPublicAccessBlockConfiguration = 404 "The public access block configuration was not found",
    NoSuchTagSet = 404 "The TagSet does not exist",
    NoSuchUpload = 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed",
    NoSuchVersion = 404 "The version ID specified in the request does not match an existing version",
    NoSuchWebsiteConfiguration = 404 "The specified bucket does not have a website configuration",
    NotImplemented = 501 "A header or operation you asked for is not implemented",
    ObjectLockConfigurationNotFoundError = 404 "Object Lock configuration does not exist for this bucket",
    PreconditionFailed = 412 "At least one of the preconditions that you specified did not hold",
    ReplicationConfigurationNotFoundError = 404 "The replication configuration was not found",
    RequestTimeout = 400 "Your socket connection to the server was not read from or written to within the timeout period",
    ServiceUnavailable = 503 "Service is unable to handle request. Reduce your request rate",
    SignatureDoesNotMatch = 403 "The request signature we calculated does not match the signature you provided",
    SlowDown = 503 "Please reduce your request rate",
    XAmzContentChecksumMismatch = 400 "The checksum you specified did not match what we received",
    XAmzContentSHA256Mismatch = 400 "The provided 'x-amz-content-sha256' header does not match what was computed",
}

/// Why the gateway could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// An S3 rule says no.
    #[error("{}: {message}", code.as_str())]
    Refused {
        /// As which error.
        code: Code,
        /// What exactly.
        message: Cow<'static, str>,
    },
    /// The filer said no.
    #[error(transparent)]
    Filer(#[from] FilerError),
    /// A volume said no.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Main said no.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// Too many bytes in flight.
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl GatewayError {
    /// A refusal with its own words.
    pub fn refused(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
        }
    }

    /// For programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { code, .. } => match code.status() {
                403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                500 => ErrorKind::Internal,
                501 => ErrorKind::Unsupported,
                503 => ErrorKind::Unavailable,
                _ => ErrorKind::Invalid,
            },
            Self::Filer(e) => e.kind(),
            Self::Volume(e) => e.kind(),
            Self::Master(e) => e.kind(),
            Self::Busy(_) => ErrorKind::Exhausted,
        }
    }

    /// For whoever acts.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Refused { .. } => Advice::FixRequest,
            Self::Filer(e) => e.advice(),
            Self::Volume(e) => e.advice(),
            Self::Master(e) => e.advice(),
            Self::Busy(_) => Advice::RetrySame(std::time::Duration::from_secs(1)),
        }
    }
}

impl From<Code> for GatewayError {
    fn from(code: Code) -> Self {
        Self::refused(code, code.sentence())
    }
}
