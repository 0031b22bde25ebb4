//! Keys and sealing: every use of AES-256-GCM and HMAC over stored bytes is in this crate, so that the backend can
//! change in one place. Pure but for [`FileKeyProvider`], which reads and makes the root key file through `Disk`.
//!
//! Key tree: root key (file) → data key (*DEK*) of a volume or a store, wrapped by the root key → key of one needle or
//! one value, derived from the DEK, the record's identity and a fresh 24-byte salt. No derived key seals two texts, so
//! nonces are derived too and no counter has to survive anything.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kdf`] | SP 800-108 counter mode over HMAC-SHA256 |
//! | [`key`] | [`Dek`] and [`RootKey`]: 32 bytes, zeroized |
//! | [`provider`] | [`KeyProvider`]: wraps and unwraps DEKs; [`FileKeyProvider`] |
//! | [`needle`] | the sealing of needle records and the superblock's key checks |
//! | [`value`] | [`ValueSealer`]: the sealing of metadata values |

pub mod error;
pub mod kdf;
pub mod key;
pub mod needle;
pub mod provider;
pub mod value;

pub use error::SealError;
pub use kdf::kbkdf;
pub use key::{Dek, RootKey};
pub use needle::{NeedleKeys, NeedleSealer};
pub use provider::{DekScope, FileKeyProvider, KeyProvider};
pub use value::ValueSealer;

mod gcm;
