//! The filer on both stores, over volumes in memory.

mod collectors;
mod crash;
mod fake;
mod listing;
mod objects;
mod uploads;
mod world;
