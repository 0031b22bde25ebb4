//! Main: which volumes exist, who leads them, and which fids are free.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | settings and parts |
//! | [`master`] | [`Master`]: the service |
//! | [`topology`] | replicated intent, commands, and the view that joins intent with reports; pure |
//! | `raft` | openraft over the key-value store, and nothing else knows openraft |
//! | [`assign`] | which volume takes the next needles; pure |
//! | [`growth`] | which volumes are missing; pure |
//! | `keys` | needle keys from ranges in memory |
//! | [`stats`] | counters |
//! | [`server`] | the native HTTP API |

pub mod assign;
pub mod config;
#[cfg(test)]
mod fake;
pub mod growth;
mod keys;
pub mod master;
mod raft;
pub mod server;
pub mod stats;
pub mod topology;

pub use config::{Deps, MasterConfig};
pub use master::Master;
