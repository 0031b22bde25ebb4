//! What readers of a volume share with its writer: the published index, the file and a few flags.
//!
//! Invariant: what [`Published`] says is on disk and synced under a mark (with `-fsync=false`: written). It changes only
//! in `VolumeLog::publish`, after the sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use halofs_client::error::VolumeError;
use halofs_runtime::{Clock, DiskFile};
use halofs_types::VolumeId;
use parking_lot::RwLock;

use super::head::Head;
use super::index::{Index, Slot};

/// What readers may see.
#[derive(Debug, Default)]
pub struct Published {
    /// Every needle.
    pub index: Index,
    /// End of the published log.
    pub end: u64,
    /// The newest published record was sealed then.
    pub modified_ns: u64,
    /// Tombstoned and superseded needles.
    pub dead_files: u64,
    /// Bytes of their records and of the tombstones.
    pub dead_bytes: u64,
    /// The epoch of the last mark.
    pub epoch: u64,
    /// Rotten ranges that may hide the newest record of any key before them.
    pub unknown: Vec<(u64, u64)>,
}

impl Published {
    /// Applies one record in file order.
    pub fn apply(&mut self, rec: Applied, seg_log2: u8) {
        let old = if rec.tombstone {
            self.index.delete(rec.key)
        } else {
            self.index.put(rec.key, rec.offset, rec.plain_len)
        };
        if matches!(old, Slot::Live { .. }) {
            self.dead_files += 1;
            self.dead_bytes += old.record_len(seg_log2);
        }
        if rec.tombstone {
            self.dead_bytes += rec.len;
        }
        self.modified_ns = self.modified_ns.max(rec.append_ns);
    }

    /// One past the last rotten byte that may hide a record.
    pub fn unknown_end(&self) -> u64 {
        self.unknown.iter().map(|r| r.1).max().unwrap_or(0)
    }
}

/// A record as the index sees it.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// Its needle.
    pub key: u64,
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
    /// Plaintext bytes.
    pub plain_len: u32,
    /// Takes the needle away.
    pub tombstone: bool,
    /// When it was sealed.
    pub append_ns: u64,
}

/// A volume as readers and sealers hold it.
pub struct View {
    /// Its number.
    pub id: VolumeId,
    /// Its collection's name.
    pub collection: String,
    /// Its head and keys.
    pub head: Head,
    /// Its file's path, for messages.
    pub path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) published: RwLock<Published>,
    pub(crate) fenced: AtomicBool,
    /// The epoch that this incarnation leads; 0: none, the volume neither serves nor takes writes.
    pub(crate) leads: AtomicU64,
    pub(crate) last_ns: AtomicU64,
}

impl View {
    /// What is known of a key, and whether damage may hide a newer record of it.
    pub fn find(&self, key: u64) -> (Slot, bool) {
        let p = self.published.read();
        let slot = p.index.get(key);
        let hidden = match slot {
            _ if p.unknown.is_empty() => false,
            Slot::Live { offset, .. } => offset < p.unknown_end(),
            Slot::Absent | Slot::Deleted => true,
        };
        (slot, hidden)
    }

    /// The epoch of the last mark.
    pub fn published_epoch(&self) -> u64 {
        self.published.read().epoch
    }

    /// The epoch that this incarnation leads.
    pub fn leads(&self) -> Option<u64> {
        Some(self.leads.load(Ordering::Acquire)).filter(|e| *e != 0)
    }

    /// Whether a sync failed.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Refuses until main has opened an epoch for this incarnation.
    pub fn check_serving(&self) -> Result<(), VolumeError> {
        match self.leads() {
            Some(_) => Ok(()),
            None => Err(VolumeError::ReadOnly {
                volume: self.id,
                reason: "it waits for main to open its epoch",
            }),
        }
    }

    /// Refuses writes of a fenced or waiting volume.
    pub fn check_writable(&self) -> Result<(), VolumeError> {
        if self.is_fenced() {
            return Err(VolumeError::Fenced(self.id));
        }
        self.check_serving()
    }

    /// The time of a new record: now, and later than every record before it.
    pub fn next_ns(&self, clock: &dyn Clock) -> u64 {
        let now = clock.now().0;
        let next = |prev: u64| Some(now.max(prev + 1));
        match self
            .last_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
        {
            Ok(prev) | Err(prev) => now.max(prev + 1),
        }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({}, {})", self.id, self.head.uuid())
    }
}
