//! One volume: its log, its index, its reader and its writer thread.

pub mod ahead;
pub mod checkpoint;
pub mod encode;
pub mod head;
pub mod index;
pub mod log;
pub mod mount;
pub mod recover;
pub mod view;
pub mod window;
