//! The S3 face of halofs: what S3 means, on top of the filer's names and the volumes' bytes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | [`GatewayConfig`] |
//! | [`gateway`] | [`Gateway`]: everything that a request needs |
//! | [`error`] | [`GatewayError`], and the closed list of S3 codes that it may become |
//! | `ops` | semantics in our own types; no name of the s3s crate |
//! | `s3` | the s3s trait: each method unpacks, calls, packs |
//! | [`auth`] | identities, credentials, and the one place where a request is authorised |
//! | [`serve`] | the HTTP handler: own routes, s3s, and what every answer carries |

pub mod auth;
pub mod config;
pub mod error;
pub mod gateway;
pub mod serve;

mod ops;
mod s3;

pub use auth::credentials::{IdentityError, IdentitySource};
pub use config::GatewayConfig;
pub use error::{Code, GatewayError};
pub use gateway::{Deps, Gateway};
pub use serve::S3Handler;
