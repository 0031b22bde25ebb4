//! The volume server: sealed needles in append-only volume files.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | what a server is told and given |
//! | [`format`] | every byte of a volume's files, pure |
//! | [`volume`] | one volume: log, index, recovery, reading, sealing, the writer thread |

pub mod config;
pub mod format;
pub mod volume;

pub use config::{Deps, VolumeConfig};
