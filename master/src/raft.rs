//! Raft, and the only place that knows openraft (decision 4): a move to another version stays in here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`types`] | the types that openraft is told to use |
//! | [`log_store`] | log and vote in the key-value store |
//! | [`state_machine`] | applied rows and snapshots in the key-value store |
//! | [`rows`] | the key-value store as both see it: a full disk makes them wait |
//! | [`network`] | peers: none yet |
//!
//! One voter. Its election needs nobody else, so it is held at once at start instead of after the time-out, and the
//! service is ready within milliseconds of its store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use halofs_client::MasterError;
use halofs_runtime::Clock;
use halofs_store::KvStore;
use openraft::{BasicNode, Config, ServerState, SnapshotPolicy};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::topology::command::{Command, Outcome};
use crate::topology::state::State;

#[expect(
    clippy::result_large_err,
    reason = "openraft's error type; errors here end the process"
)]
mod log_store;
mod network;
mod rows;
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
    /// A write waits for space.
    full: watch::Receiver<bool>,
    stop: CancellationToken,
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

/// Nothing of it tells how much is missing, so that a repeat is the same text.
fn no_space() -> MasterError {
    MasterError::Unavailable(
        "the disk of main is full: it decides nothing new until there is space; free some"
            .to_owned(),
    )
}

/// Returns once a write waits for space.
async fn filled(mut full: watch::Receiver<bool>) {
    if full.wait_for(|full| *full).await.is_err() {
        std::future::pending::<()>().await;
    }
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
    pub(crate) async fn open(
        store: Arc<dyn KvStore>,
        clock: Arc<dyn Clock>,
        addr: &str,
    ) -> Result<Self, MasterError> {
        let stop = CancellationToken::new();
        let rows = rows::Rows::new(store, clock, stop.clone());
        let full = rows.full();
        let refused = tokio::select! {
            node = Self::lead(rows, stop.clone(), addr) => return node,
            () = filled(full) => no_space(),
        };
        // Whatever waits for space gives up, and openraft with it.
        stop.cancel();
        Err(refused)
    }

    async fn lead(
        rows: rows::Rows,
        stop: CancellationToken,
        addr: &str,
    ) -> Result<Self, MasterError> {
        let full = rows.full();
        let log = log_store::LogStore::open(rows.clone()).map_err(storage)?;
        let machine = state_machine::StateMachine::open(rows).map_err(storage)?;
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
        let node = Self {
            raft,
            state,
            full,
            stop,
        };
        // A leader serves only what it has applied of the earlier terms.
        node.raft.ensure_linearizable().await.map_err(storage)?;
        Ok(node)
    }

    /// Replicates a command and returns what it did. A refusal is an outcome, not an error. While the disk is full no
    /// command is taken; the one that met it may still be decided later, so every command does no harm when it comes
    /// late or twice.
    pub(crate) async fn write(&self, command: Command) -> Result<Outcome, MasterError> {
        tokio::select! {
            biased;
            () = filled(self.full.clone()) => Err(no_space()),
            done = self.raft.client_write(command) => done.map(|r| r.data).map_err(storage),
        }
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
        self.stop.cancel();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
    }
}
