//! What main knows. The *intent* ([`state`]) is replicated by Raft and changes only through [`command`]s that
//! [`apply`] computes; what servers report is *observed* and lives in memory alone. [`view`] joins the two for readers.
//! All of it is pure: no clock, no I/O, no randomness (random values arrive inside the commands).
//!
//! | module | what it holds |
//! |---|---|
//! | [`state`] | the replicated state and its rows |
//! | [`command`] | what can change it |
//! | [`apply`] | how |
//! | [`layout`] | which volumes may take whose needles |
//! | [`view`] | intent and observation, joined |

pub mod apply;
pub mod command;
pub mod layout;
pub mod state;
pub mod view;

/// Sixteen bytes as 32 hex digits in JSON.
pub(crate) mod hex16 {
    use halofs_types::Uuid;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Uuid, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
