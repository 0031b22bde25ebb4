//! The API of every halofs service as async traits in our own types, and what gateway and tools build on them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`master`] | [`master::MasterApi`]: ids, locations, growth |
//! | [`volume`] | [`volume::VolumeApi`]: needles |
//! | [`filer`] | [`filer::FilerApi`]: buckets, objects, uploads, leases |
//! | [`pieces`] | [`pieces::Pieces`]: a body as a list of byte strings |
//! | [`lease`] | [`lease::LeasePool`]: fids in advance, and what became of each |
//! | [`writer`] | [`writer::ChunkWriter`]: a body hashed, cut and stored while it arrives |
//! | [`reader`] | [`reader::ChunkReader`]: bytes of an object, verified, read ahead |
//! | `memory` | the three services in memory, for tests (feature `memory`) |
//! | [`error`] | one typed error per service, each with a kind and an advice |

pub mod error;
pub mod filer;
pub mod lease;
pub mod master;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod pieces;
pub mod reader;
pub mod volume;
pub mod writer;

pub use error::{DataError, FilerError, MasterError, VolumeError};
pub use pieces::Pieces;
