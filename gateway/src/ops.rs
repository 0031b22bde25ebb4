//! What each S3 operation means, in our own types: no name of the s3s crate below this module.

pub(crate) mod bucket;
pub(crate) mod complete;
pub(crate) mod copy;
pub(crate) mod data;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod multipart;
pub(crate) mod payload;
pub(crate) mod put;
pub(crate) mod refuse;
