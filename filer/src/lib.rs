//! The filer: names, and the transactions that make bytes visible under them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`key`] | every key of the store |
//! | `model` | values of the rows |
//! | [`service`] | [`Filer`]: buckets, objects, listings, uploads, leases |
//! | `background` | what runs by itself: collectors, expiry, orphan scan |
//! | [`metrics`] | counters |
//!
//! Laws. Every commit checks its bucket's row and every row that it was decided upon, by revision. What a commit
//! replaces is queued for deletion in the same transaction; nothing else deletes needles. A row is never changed
//! without its check: a check that fails means that another commit won, and the decision is made anew.
//!
//! Lock order: none is held while another is taken, and none over an await.

pub mod config;
pub mod key;
pub mod metrics;
pub mod service;
mod time;

mod background;
mod model;

pub use config::{Deps, FilerConfig};
pub use metrics::FilerMetrics;
pub use service::Filer;
