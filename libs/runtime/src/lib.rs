//! Process plumbing without domain nouns: time, randomness and files behind traits.
//!
//! | module | what it holds |
//! |---|---|
//! | [`admission`] | byte permits for bodies |
//! | [`http`] | the HTTP server of every port |
//! | [`clock`] | wall and monotonic time |
//! | [`metrics`] | counters in Prometheus form |
//! | [`rng`] | random bytes |
//! | [`config`] | flags, environment and file, one name each |
//! | [`disk`] | files, folders, locks; `disk::replace` is the crash-safe small write |

pub mod admission;
pub mod clock;
pub mod config;
pub mod disk;
pub mod http;
pub mod metrics;
pub mod rng;

pub use clock::{Clock, RealClock};
pub use disk::{Disk, DiskFile, RealDisk};
pub use rng::{OsRng, Rng};
