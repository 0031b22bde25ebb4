//! Settings of main and the parts it is given.

use std::sync::Arc;

use halofs_runtime::{Clock, Rng};
use halofs_store::KvStore;
use halofs_types::Placement;

use crate::topology::state::ClusterIdentity;

/// Settings.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// The cluster that the data directory belongs to, and its root key's id and check value.
    pub identity: ClusterIdentity,
    /// Whether main may begin a new state. Without it an empty state is refused: volumes exist whose epochs only the
    /// lost state knew.
    pub genesis: bool,
    /// `host:port` that main answers on.
    pub url: String,
    /// Of assigns that name none.
    pub default_placement: Placement,
    /// `-volumeSizeLimitMB` in bytes.
    pub volume_size_limit: u64,
    /// Whether writes are synced; shown in `/metrics`.
    pub fsync: bool,
}

/// The parts.
#[derive(Clone)]
pub struct Deps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Cookies and identities.
    pub rng: Arc<dyn Rng>,
    /// Where Raft's log and the state live.
    pub store: Arc<dyn KvStore>,
}
