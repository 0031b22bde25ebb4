//! What can change the replicated state. Commands are entries of the Raft log (JSON, tagged by `op`), so a variant is
//! never renamed or reused; new fields get a serde default.

use halofs_types::Uuid;
use serde::{Deserialize, Serialize};

use super::hex16;
use super::layout::LayoutKey;
use super::state::{ClusterIdentity, VolumeState};

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Command {
    /// The first command of a cluster. A second one must name the same identity.
    Genesis {
        /// See there.
        identity: ClusterIdentity,
    },
    /// The intent to have a volume; its number is computed in apply.
    NewVolume {
        /// Its identity: creating is idempotent by it.
        #[serde(with = "hex16")]
        uuid: Uuid,
        /// What it is for.
        layout: LayoutKey,
        /// Where.
        node: String,
        /// Identity of the collection if this volume is its first.
        #[serde(with = "hex16")]
        collection_uuid: Uuid,
    },
    /// The volume's server confirmed it.
    VolumeActive {
        /// Which.
        vid: u32,
        /// Must be its identity.
        #[serde(with = "hex16")]
        uuid: Uuid,
    },
    /// A node starts to lead volumes: each gets epoch + 1 under one new incarnation, if its epoch still is the one
    /// named (`replication.md` 1, 2).
    OpenEpochs {
        /// The node.
        node: String,
        /// Volumes and the epochs that main saw.
        volumes: Vec<(u32, u64)>,
    },
    /// A range of needle keys, computed in apply.
    NewKeyRange {
        /// How many.
        keys: u64,
    },
    /// Keys up to `above` exist somewhere: never hand them out.
    RaiseKeys {
        /// The highest key seen.
        above: u64,
    },
    /// A collection gets its identity.
    NewCollection {
        /// Name.
        name: String,
        /// Identity if the name is new.
        #[serde(with = "hex16")]
        uuid: Uuid,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was no command of ours (a membership change, a leader's first entry).
    Nothing,
    /// Done.
    Done,
    /// Not done, and why. The state is as it was.
    Refused {
        /// For people.
        reason: String,
    },
    /// The volume as it is now.
    Volume {
        /// See there.
        volume: Box<VolumeState>,
    },
    /// The epochs opened. Volumes whose epoch had moved on are left out.
    Epochs {
        /// Volume and its new epoch.
        opened: Vec<(u32, u64)>,
    },
    /// Keys `first..first + count`.
    Keys {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The collection's identity.
    Collection {
        /// See there.
        #[serde(with = "hex16")]
        uuid: Uuid,
    },
}
