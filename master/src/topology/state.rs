//! The replicated state, and its rows in the key-value store (format 1).
//!
//! | key | value (JSON, sealed by the store) |
//! |---|---|
//! | `state/meta` | [`MetaRow`]: format version, applied log id, membership, cluster identity, counters |
//! | `state/volume/<vid, 4 bytes BE>` | [`VolumeState`] |
//! | `state/collection/<name>` | [`CollectionState`] |
//!
//! Invariants: (1) rows and the applied log id change in one batch, so that a restart never applies an entry twice;
//! (2) counters only grow; (3) a volume id or key that was handed out once is never handed out again.
//! Why JSON: a handful of small rows that people may have to read; the version field comes first in `MetaRow`, and
//! unknown fields are refused there by the version, not by the decoder.

use std::collections::BTreeMap;

use halofs_types::Uuid;
use serde::{Deserialize, Serialize};

use super::hex16;
use super::layout::LayoutKey;

/// The version of the rows that this code writes.
pub const FORMAT: u32 = 1;

/// Identity of the cluster and of the root key that opens it. The key itself is never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// Random, made at genesis.
    #[serde(with = "hex16")]
    pub cluster: Uuid,
    /// Which root key: an id derived from it.
    pub kek_id: String,
    /// A value that only this root key yields.
    pub kek_check: String,
}

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeLife {
    /// Main wants it; no server confirmed it yet (`replication.md` 24).
    Creating,
    /// It exists.
    Active,
}

/// What `replication.md` 1 asks Raft to hold of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeState {
    /// Its number.
    pub vid: u32,
    /// Its random identity, also in its superblock.
    #[serde(with = "hex16")]
    pub uuid: Uuid,
    /// Collection, owner, placement, disk type, ttl.
    pub layout: LayoutKey,
    /// Identity of the collection.
    #[serde(with = "hex16")]
    pub collection_uuid: Uuid,
    /// See there.
    pub life: VolumeLife,
    /// +1 whenever a server starts to lead it.
    pub epoch: u64,
    /// The node that leads `epoch`.
    pub primary: String,
    /// Which life of that node.
    pub incarnation: u64,
    /// Nodes whose copy holds every acknowledged byte.
    pub in_sync: Vec<String>,
    /// +1 a vacuum.
    pub generation: u64,
    /// Closed for ever at (generation, length, chain in hex).
    pub sealed: Option<(u64, u64, String)>,
    /// The one job that runs on it.
    pub job: Option<String>,
}

/// A name space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionState {
    /// Bound into every key of its volumes.
    #[serde(with = "hex16")]
    pub uuid: Uuid,
}

/// The counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The next volume id.
    pub next_vid: u32,
    /// The next needle key that no range covers.
    pub next_key: u64,
    /// The next incarnation of a node.
    pub next_incarnation: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            next_vid: 1,
            next_key: 1,
            next_incarnation: 1,
        }
    }
}

/// `state/meta`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetaRow<Applied> {
    /// [`FORMAT`].
    pub version: u32,
    /// The log id that these rows include, with the membership.
    pub applied: Applied,
    /// Absent before genesis.
    pub identity: Option<ClusterIdentity>,
    /// See there.
    pub counters: Counters,
}

/// Everything that is replicated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Absent before genesis.
    pub identity: Option<ClusterIdentity>,
    /// See there.
    pub counters: Counters,
    /// By number.
    pub volumes: BTreeMap<u32, VolumeState>,
    /// By name.
    pub collections: BTreeMap<String, CollectionState>,
}

/// Rows that a command changed beside `state/meta`, which every command changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dirty {
    /// This volume's.
    Volume(u32),
    /// This collection's.
    Collection(String),
}
