//! The types that openraft is told to use. Nothing outside `raft` names them.

use std::io::Cursor;

use openraft::BasicNode;

use crate::topology::command::{Command, Outcome};

/// A main server's number among the voters.
pub(crate) type NodeId = u64;

openraft::declare_raft_types!(
    /// Commands in, outcomes out.
    pub(crate) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = NodeId,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Membership = openraft::StoredMembership<NodeId, BasicNode>;
pub(crate) type RaftStorageError = openraft::StorageError<NodeId>;
