//! The ordered key-value store under the filer and main's Raft state: one trait, two implementations, one suite.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kv`] | [`kv::KvStore`], batches, checks, errors |
//! | [`mem`] | the store in memory |
//! | [`rocks`] | the store on RocksDB: sealed values, group commit |
//! | [`wal`] | the check of RocksDB's log before it is opened |
//! | [`conformance`] | the suite that every implementation passes |

pub mod conformance;
pub mod kv;
pub mod mem;
pub mod rocks;
pub mod wal;

pub use kv::{Batch, Check, KvStore, Op, Row, StoreError};
pub use mem::MemStore;
pub use rocks::{RocksConfig, RocksStore};
