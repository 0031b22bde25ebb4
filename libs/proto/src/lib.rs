//! Messages that are stored or sent, generated from `proto/*.proto`. Fields are never reused.

/// Sealed metadata of needles.
#[allow(
    missing_docs,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in proto/needle.proto"
)]
pub mod needle {
    include!(concat!(env!("OUT_DIR"), "/halofs.needle.v1.rs"));
}

/// Values of the filer's rows.
#[allow(
    missing_docs,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in proto/filer.proto"
)]
pub mod filer {
    include!(concat!(env!("OUT_DIR"), "/halofs.filer.v1.rs"));
}
