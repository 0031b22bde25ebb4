//! Identities, credentials, and the one place where a request is authorised.

pub mod identity;
