//! Main's API: fids, locations, and the node's reports.

use async_trait::async_trait;
use halofs_types::{FileId, Placement, Uuid, VolumeId};

use crate::error::MasterError;

/// Whose needles a volume holds (`replication.md` 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VolumeOwner {
    /// The filer: create-only; invisible to native clients.
    Filer,
    /// Native clients: overwrite allowed.
    Native,
}

/// What an assign asks for.
#[derive(Debug, Clone)]
pub struct AssignRequest {
    /// Keys to reserve, at least 1, at most [`halofs_types::limits::ASSIGN_COUNT_MAX`].
    pub count: u64,
    /// Name space; empty is the default one.
    pub collection: String,
    /// Who will write.
    pub owner: VolumeOwner,
    /// `None`: the server's default.
    pub placement: Option<Placement>,
    /// `hdd` when empty.
    pub disk_type: String,
    /// Only this data centre, rack or `ip:port`, when not empty.
    pub data_center: String,
    /// See `data_center`.
    pub rack: String,
    /// See `data_center`.
    pub data_node: String,
    /// A volume that just refused a write of ours: another is chosen if there is one.
    pub avoid: Option<VolumeId>,
}

/// Where a copy of a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// `host:port` for servers.
    pub url: String,
    /// `host:port` for clients.
    pub public_url: String,
}

/// A reserved family of fids: `first`, `first_1`, … of one volume and one cookie.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The first.
    pub first: FileId,
    /// How many.
    pub count: u64,
    /// Every copy of the volume, its primary first.
    pub locations: Vec<Location>,
}

/// One volume as its server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeReport {
    /// Which.
    pub id: VolumeId,
    /// Its random identity, in the superblock.
    pub uuid: Uuid,
    /// Name space.
    pub collection: String,
    /// Whose.
    pub owner: VolumeOwner,
    /// As in the superblock.
    pub placement: Placement,
    /// Bytes of the file's log (space written ahead not counted).
    pub size: u64,
    /// Live needles.
    pub files: u64,
    /// Tombstoned and superseded needles.
    pub deleted_files: u64,
    /// Bytes of their records: what a vacuum would give back.
    pub deleted_bytes: u64,
    /// Refuses writes: fenced, damaged or full.
    pub read_only: bool,
    /// +1 a vacuum.
    pub generation: u64,
    /// Of the last mark.
    pub epoch: u64,
    /// The epoch it leads now; `None` after a start, until main opens a new one.
    pub leads: Option<u64>,
    /// When the newest record was sealed, Unix seconds.
    pub modified_secs: u64,
    /// Its disk's type.
    pub disk_type: String,
}

/// A volume server's report.
#[derive(Debug, Clone, Default)]
pub struct NodeReport {
    /// `host:port`.
    pub url: String,
    /// `host:port`.
    pub public_url: String,
    /// Empty is `DefaultDataCenter`.
    pub data_center: String,
    /// Empty is `DefaultRack`.
    pub rack: String,
    /// Soft ceiling of volumes, 0 for none.
    pub max_volumes: u32,
    /// Bytes of its disk.
    pub disk_total: u64,
    /// Free bytes of its disk.
    pub disk_free: u64,
    /// Below the soft watermark: no new volumes, no assigns.
    pub low_space: bool,
    /// All of its volumes.
    pub volumes: Vec<VolumeReport>,
    /// The highest needle key that any of its volumes holds.
    pub max_key: u64,
}

/// What main tells a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReply {
    /// The effective volume size limit in bytes.
    pub volume_size_limit: u64,
    /// Epochs that this node leads from now on, for volumes of its report that wait for one.
    pub lead: Vec<(VolumeId, u64)>,
}

/// Main, in this process or another.
#[async_trait]
pub trait MasterApi: Send + Sync + 'static {
    /// Reserves fids, growing the layout first when it has no writable volume. Waits up to 10 s for growth.
    async fn assign(&self, req: AssignRequest) -> Result<Assignment, MasterError>;
    /// Where a volume is.
    async fn lookup(&self, volume: VolumeId) -> Result<Vec<Location>, MasterError>;
    /// A node's report, at start and every pulse.
    async fn report(&self, node: NodeReport) -> Result<NodeReply, MasterError>;
}
