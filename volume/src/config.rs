//! What a volume server is told, and what it is given.

use std::path::PathBuf;
use std::sync::Arc;

use halofs_runtime::{Clock, Disk, Rng};
use halofs_seal::KeyProvider;
use halofs_types::{Uuid, limits};

/// Settings of a volume server.
#[derive(Debug, Clone)]
pub struct VolumeConfig {
    /// Where the volumes are; made when absent.
    pub dir: PathBuf,
    /// `host:port` for servers.
    pub url: String,
    /// `host:port` for clients.
    pub public_url: String,
    /// Empty is `DefaultDataCenter`.
    pub data_center: String,
    /// Empty is `DefaultRack`.
    pub rack: String,
    /// Empty is `hdd`.
    pub disk_type: String,
    /// Soft ceiling of volumes, 0 for none.
    pub max_volumes: u32,
    /// Sync every batch before its acks. `false` is loud: it loses up to a second of acked writes on a power cut.
    pub fsync: bool,
    /// The largest volume in bytes, until main says otherwise.
    pub volume_size_limit: u64,
    /// Free bytes below which no new volumes are made and main stops assigning; `None`: 5 % of the disk, at most 2 GiB.
    pub soft_free: Option<u64>,
    /// Free bytes below which puts are refused; `None`: 2 % of the disk, 160 to 512 MiB, but never more
    /// than a fifth of a small disk.
    pub hard_free: Option<u64>,
}

impl VolumeConfig {
    /// Defaults for a folder.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            url: String::new(),
            public_url: String::new(),
            data_center: String::new(),
            rack: String::new(),
            disk_type: String::new(),
            max_volumes: 0,
            fsync: true,
            volume_size_limit: limits::VOLUME_SIZE_MB_DEFAULT << 20,
            soft_free: None,
            hard_free: None,
        }
    }
}

/// The world that a volume server lives in.
#[derive(Clone)]
pub struct Deps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Who unwraps data keys.
    pub keys: Arc<dyn KeyProvider>,
    /// Volumes of another cluster are refused.
    pub cluster: Uuid,
}
