//! What tests of main need of its surroundings: a volume server that keeps no needles, a store whose disk fills up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::VolumeError;
use halofs_client::master::{AssignRequest, NodeReply, NodeReport, VolumeOwner, VolumeReport};
use halofs_client::volume::{
    CreateVolume, Deleted, ListedNeedle, NeedleReader, PutNeedle, Stored, VolumeApi,
};
use halofs_runtime::{OsRng, RealClock};
use halofs_store::{Batch, KvStore, MemStore, Row, StoreError};
use halofs_types::{FileId, NeedleKey, Placement, Uuid, VolumeId};
use parking_lot::Mutex;

use crate::config::{Deps, MasterConfig};
use crate::master::Master;
use crate::topology::state::ClusterIdentity;

/// A store on a disk that fills up.
pub(crate) struct Limited {
    rows: MemStore,
    pub(crate) full: AtomicBool,
}

impl Limited {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: MemStore::new(Uuid([1; 16])),
            full: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl KvStore for Limited {
    fn store_uuid(&self) -> Uuid {
        self.rows.store_uuid()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.rows.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError> {
        self.rows.scan(from, to, limit)
    }
    async fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full("no bytes free".to_owned()));
        }
        self.rows.commit(batch).await
    }
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<u64, StoreError>> {
        let mut answers = Vec::new();
        for batch in batches {
            answers.push(self.commit(batch).await);
        }
        answers
    }
}

/// A volume server that keeps no needles.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) volumes: Mutex<BTreeMap<u32, VolumeReport>>,
    pub(crate) low_space: Mutex<bool>,
    pub(crate) broken: Mutex<bool>,
    pub(crate) max_key: Mutex<u64>,
}

impl Fake {
    /// What a restart does: nothing is led any more.
    pub(crate) fn restart(&self) {
        self.volumes
            .lock()
            .values_mut()
            .for_each(|v| v.leads = None);
    }

    pub(crate) fn fill(&self, vid: u32, size: u64) {
        self.volumes.lock().get_mut(&vid).unwrap().size = size;
    }
}

#[async_trait]
impl VolumeApi for Fake {
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError> {
        Err(VolumeError::NoVolume(put.fid.volume))
    }
    async fn open_needle(
        &self,
        fid: FileId,
        _: Option<[u8; 16]>,
        _: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        Err(VolumeError::NotFound(fid))
    }
    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        _: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        fids.into_iter().map(|_| Ok(Deleted::Absent)).collect()
    }
    async fn list_needles(
        &self,
        _: VolumeId,
        _: NeedleKey,
        _: NeedleKey,
        _: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        Ok(Vec::new())
    }
    async fn create_volume(&self, c: CreateVolume) -> Result<(), VolumeError> {
        if *self.broken.lock() {
            return Err(VolumeError::Full {
                dir: "/d".into(),
                free: 1,
                reserve: 2,
            });
        }
        let report = VolumeReport {
            id: c.id,
            uuid: c.uuid,
            collection: c.collection,
            owner: c.owner,
            placement: c.placement,
            size: 8192,
            files: 0,
            deleted_files: 0,
            deleted_bytes: 0,
            read_only: false,
            generation: 0,
            epoch: c.epoch,
            leads: Some(c.epoch),
            modified_secs: 0,
            disk_type: "hdd".into(),
        };
        self.volumes.lock().insert(c.id.0, report);
        Ok(())
    }
    async fn lead(&self, volume: VolumeId, epoch: u64) -> Result<(), VolumeError> {
        let mut all = self.volumes.lock();
        let v = all
            .get_mut(&volume.0)
            .ok_or(VolumeError::NoVolume(volume))?;
        assert!(
            v.leads.is_none_or(|l| l < epoch) && v.epoch < epoch,
            "epochs only grow"
        );
        (v.epoch, v.leads) = (epoch, Some(epoch));
        Ok(())
    }
    async fn node_report(&self) -> NodeReport {
        NodeReport {
            url: "127.0.0.1:8080".into(),
            public_url: "localhost:8080".into(),
            disk_total: 1 << 40,
            disk_free: 1 << 39,
            low_space: *self.low_space.lock(),
            volumes: self.volumes.lock().values().cloned().collect(),
            max_key: *self.max_key.lock(),
            ..NodeReport::default()
        }
    }
    fn apply_reply(&self, reply: &NodeReply) {
        assert_eq!(reply.volume_size_limit, 4 << 30);
    }
}

pub(crate) async fn open(
    store: Arc<dyn KvStore>,
    genesis: bool,
) -> Result<Arc<Master>, halofs_client::MasterError> {
    let config = MasterConfig {
        identity: ClusterIdentity {
            cluster: Uuid([7; 16]),
            kek_id: "k".into(),
            kek_check: "c".into(),
        },
        genesis,
        url: "127.0.0.1:9333".into(),
        default_placement: Placement::default(),
        volume_size_limit: 4 << 30,
        fsync: true,
    };
    Master::open(
        config,
        Deps {
            clock: Arc::new(RealClock),
            rng: Arc::new(OsRng),
            store,
        },
    )
    .await
}

pub(crate) fn wish(owner: VolumeOwner) -> AssignRequest {
    AssignRequest {
        count: 10,
        collection: String::new(),
        owner,
        placement: None,
        disk_type: String::new(),
        data_center: String::new(),
        rack: String::new(),
        data_node: String::new(),
        avoid: None,
    }
}
