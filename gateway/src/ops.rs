//! What each S3 operation means, in our own types: no name of the s3s crate below this module.

pub(crate) mod bucket;
pub(crate) mod data;
pub(crate) mod refuse;
