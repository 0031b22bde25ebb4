//! The volume server: sealed needles in append-only volume files.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | what a server is told and given |
//! | [`store`] | all volumes of a server: [`VolumeServer`], which implements `VolumeApi` |
//! | [`server`] | the native HTTP API |
//! | [`volume`] | one volume: log, index, recovery, reading, sealing, the writer thread |
//! | [`mod@format`] | every byte of a volume's files, pure |
//! | [`meta`], [`gzip`] | sealed metadata; compression of native bodies |
//! | [`counters`] | what is counted |

pub mod config;
pub mod counters;
pub mod format;
pub mod gzip;
pub mod meta;
pub mod server;
pub mod store;
pub mod volume;

pub use config::{Deps, VolumeConfig};
pub use store::VolumeServer;
