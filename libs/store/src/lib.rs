//! The ordered key-value store under the filer and main's Raft state: one trait, two implementations, one suite.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kv`] | [`kv::KvStore`], batches, checks, errors |

pub mod kv;

pub use kv::{Batch, Check, KvStore, Op, Row, StoreError};
