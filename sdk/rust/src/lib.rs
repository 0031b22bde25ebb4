//! The API of every halofs service as async traits in our own types, and what gateway and tools build on them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`master`] | [`master::MasterApi`]: ids, locations, growth |
//! | [`volume`] | [`volume::VolumeApi`]: needles |
//! | [`filer`] | [`filer::FilerApi`]: buckets, objects, uploads, leases |
//! | [`pieces`] | [`pieces::Pieces`]: a body as a list of byte strings |
//! | [`error`] | one typed error per service, each with a kind and an advice |

pub mod error;
pub mod filer;
pub mod master;
pub mod pieces;
pub mod volume;

pub use error::{FilerError, MasterError, VolumeError};
pub use pieces::Pieces;
