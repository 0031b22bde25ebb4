//! Identities, credentials, and the one place where a request is authorised.
//!
//! | module | what it holds |
//! |---|---|
//! | [`identity`] | who exists and what each may do |
//! | [`config`] | `-s3.config` |
//! | [`credentials`] | the credentials file, and where identities come from |
//! | `actions` | which grant each S3 operation needs |
//! | `scheme` | what an `Authorization` header must look like before its signature is worth a look |

pub mod config;
pub mod credentials;
pub mod identity;

pub(crate) mod actions;
pub(crate) mod scheme;
