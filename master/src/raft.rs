//! Raft, and the only place that knows openraft (decision 4): a move to another version stays in here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`types`] | the types that openraft is told to use |
//! | [`log_store`] | log and vote in the key-value store |
//! | [`state_machine`] | applied rows and snapshots in the key-value store |
//! | [`network`] | peers: none yet |
//!
//! One voter. Its election needs nobody else, so it is held at once at start instead of after the time-out, and the
//! service is ready within milliseconds of its store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use halofs_client::MasterError;
use halofs_store::KvStore;
use openraft::{BasicNode, Config, ServerState, SnapshotPolicy};
use parking_lot::RwLock;

use crate::topology::command::{Command, Outcome};
use crate::topology::state::State;

#[expect(
    clippy::result_large_err,
    reason = "openraft's error type; errors here end the process"
)]
mod log_store;
mod network;
#[expect(
    clippy::result_large_err,
    reason = "openraft's error type; errors here end the process"
)]
mod state_machine;
mod types;

/// The only voter.
const SELF: types::NodeId = 1;
/// How long the start waits for the election.
const ELECTION_WAIT: Duration = Duration::from_secs(10);
/// Entries after which a snapshot is made and the log cut.
const SNAPSHOT_EVERY: u64 = 1000;

/// The running Raft node.
pub(crate) struct Consensus {
    raft: types::Raft,
    state: Arc<RwLock<State>>,
}

/// What status pages show of Raft.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RaftStatus {
    /// Whether this node leads.
    pub(crate) leader: bool,
    /// The term.
    pub(crate) term: u64,
    /// The last applied entry.
    pub(crate) applied: u64,
}

fn storage(e: impl std::fmt::Display) -> MasterError {
    MasterError::Storage(e.to_string())
}

fn config() -> Result<Arc<Config>, MasterError> {
    let config = Config {
        cluster_name: "halofs".to_owned(),
        heartbeat_interval: 150,
        election_timeout_min: 500,
        election_timeout_max: 900,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: 100,
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(storage)
}

impl Consensus {
    /// Opens log and state, makes the node a cluster of one when it is new, and returns once it leads.
    pub(crate) async fn open(store: Arc<dyn KvStore>, addr: &str) -> Result<Self, MasterError> {
        let log = log_store::LogStore::open(Arc::clone(&store)).map_err(storage)?;
        let machine = state_machine::StateMachine::open(store).map_err(storage)?;
        let state = machine.state();
        let raft = types::Raft::new(SELF, config()?, network::NoPeers, log, machine)
            .await
            .map_err(storage)?;
        if raft.is_initialized().await.map_err(storage)? {
            raft.trigger().elect().await.map_err(storage)?;
        } else {
            let members = BTreeMap::from([(SELF, BasicNode::new(addr))]);
            raft.initialize(members).await.map_err(storage)?;
        }
        let leads = raft
            .wait(Some(ELECTION_WAIT))
            .state(ServerState::Leader, "the only voter elects itself")
            .await;
        leads.map_err(|e| MasterError::Unavailable(e.to_string()))?;
        let node = Self { raft, state };
        // A leader serves only what it has applied of the earlier terms.
        node.raft.ensure_linearizable().await.map_err(storage)?;
        Ok(node)
    }

    /// Replicates a command and returns what it did. A refusal is an outcome, not an error.
    pub(crate) async fn write(&self, command: Command) -> Result<Outcome, MasterError> {
        self.raft
            .client_write(command)
            .await
            .map(|r| r.data)
            .map_err(storage)
    }

    /// Looks at the applied state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    /// For status pages.
    pub(crate) fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics();
        let m = metrics.borrow();
        RaftStatus {
            leader: m.state == ServerState::Leader,
            term: m.current_term,
            applied: m.last_applied.map_or(0, |l| l.index),
        }
    }

    /// Stops the node; everything acknowledged is synced already.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
    }
}
