//! Volumes in memory: needles with owners, deleted and listed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use halofs_client::error::VolumeError;
use halofs_client::master::{NodeReply, NodeReport, VolumeOwner, VolumeReport};
use halofs_client::volume::{
    CreateVolume, Deleted, ListedNeedle, NeedleOwner, NeedleReader, PutNeedle, Stored, VolumeApi,
};
use halofs_types::{FileId, NeedleKey, Placement, Uuid, VolumeId};
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct FakeVolumes {
    pub(crate) needles: Mutex<BTreeMap<(VolumeId, NeedleKey), (FileId, NeedleOwner)>>,
    pub(crate) refuse: AtomicBool,
    /// Calls of `delete_needles`, and the largest.
    pub(crate) deletes: AtomicUsize,
    pub(crate) largest: AtomicUsize,
}

impl FakeVolumes {
    pub(crate) fn add(&self, fid: FileId, owner: NeedleOwner) {
        self.needles
            .lock()
            .insert((fid.volume, fid.key), (fid, owner));
    }

    pub(crate) fn has(&self, fid: FileId) -> bool {
        self.needles.lock().contains_key(&(fid.volume, fid.key))
    }

    pub(crate) fn count(&self) -> usize {
        self.needles.lock().len()
    }

    fn ready(&self, volume: VolumeId) -> Result<(), VolumeError> {
        if self.refuse.load(Ordering::Relaxed) {
            Err(VolumeError::NoVolume(volume))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl VolumeApi for FakeVolumes {
    async fn put_needle(&self, _put: PutNeedle) -> Result<Stored, VolumeError> {
        Err(VolumeError::Stopping)
    }

    async fn open_needle(
        &self,
        fid: FileId,
        _commit: Option<[u8; 16]>,
        _owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        Err(VolumeError::NotFound(fid))
    }

    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        assert_eq!(owner, VolumeOwner::Filer);
        self.deletes.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(fids.len(), Ordering::Relaxed);
        let gone = |fid: FileId| {
            self.ready(fid.volume)?;
            let removed = self.needles.lock().remove(&(fid.volume, fid.key));
            Ok(removed.map_or(Deleted::Absent, |_| Deleted::Yes { size: 5 }))
        };
        fids.into_iter().map(gone).collect()
    }

    async fn list_needles(
        &self,
        volume: VolumeId,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        self.ready(volume)?;
        let needles = self.needles.lock();
        let page = needles.range((volume, first)..=(volume, last)).take(limit);
        Ok(page
            .map(|(_, (fid, owner))| ListedNeedle {
                fid: *fid,
                owner: Some(owner.clone()),
            })
            .collect())
    }

    async fn create_volume(&self, _create: CreateVolume) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn lead(&self, _volume: VolumeId, _epoch: u64) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn node_report(&self) -> NodeReport {
        let report = VolumeReport {
            id: VolumeId(1),
            uuid: Uuid([1; 16]),
            collection: String::new(),
            owner: VolumeOwner::Filer,
            placement: Placement::default(),
            size: 0,
            files: 0,
            deleted_files: 0,
            deleted_bytes: 0,
            read_only: false,
            generation: 0,
            epoch: 1,
            leads: Some(1),
            modified_secs: 0,
            disk_type: String::new(),
        };
        NodeReport {
            volumes: vec![report],
            ..NodeReport::default()
        }
    }

    fn apply_reply(&self, _reply: &NodeReply) {}
}
