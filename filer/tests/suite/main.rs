//! The filer on both stores, over volumes in memory.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod collectors;
mod crash;
mod fake;
mod listing;
mod objects;
mod time;
mod uploads;
mod world;
