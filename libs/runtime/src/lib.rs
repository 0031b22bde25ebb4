//! Process plumbing without domain nouns: time, randomness and files behind traits.
//!
//! | module | what it holds |
//! |---|---|
//! | [`admission`] | byte permits for bodies |
//! | [`buffers`] | large buffers that are used again |
//! | [`http`] | the HTTP server of every port |
//! | [`clock`] | wall and monotonic time |
//! | [`metrics`] | counters in Prometheus form |
//! | [`shutdown`] | the signals of the process |
//! | [`tasks`] | named background tasks of a service |
//! | [`telemetry`] | the log; panics end the process |
//! | [`tls`] | certificate, key and ALPN of a listener |
//! | [`rng`] | random bytes |
//! | [`config`] | flags, environment and file, one name each |
//! | [`disk`] | files, folders, locks; `disk::replace` is the crash-safe small write |

pub mod admission;
pub mod buffers;
pub mod clock;
pub mod config;
pub mod disk;
pub mod http;
pub mod metrics;
pub mod rng;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;

pub use clock::{Clock, RealClock};
pub use disk::{Disk, DiskFile, RealDisk};
pub use rng::{OsRng, Rng};
