//! The native HTTP API of main.
