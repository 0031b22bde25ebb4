//! All volumes of one server: mounting, finding, creating, reporting, stopping.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use halofs_client::error::VolumeError;
use halofs_client::master::{NodeReply, NodeReport, VolumeOwner};
use halofs_client::volume::{
    CreateVolume, Deleted, ListedNeedle, NeedleReader, PutNeedle, Stored, VolumeApi,
};
use halofs_runtime::disk::DiskLock;
use halofs_types::{FileId, NeedleKey, VolumeId};
use parking_lot::{Mutex, RwLock};

use crate::config::{Deps, VolumeConfig};
use crate::counters::Counters;
use crate::volume::Volume;
use crate::volume::head::{io_error, refused};
use crate::volume::housekeeper::Housekeeper;
use crate::volume::index::Slot;
use crate::volume::log::VolumeLog;
use crate::volume::writer::WriterDeps;

mod dir;
mod space;

use self::space::SpaceGuard;

/// Volumes that are mounted at a time.
const MOUNTS: usize = 4;

/// A volume server's core.
pub struct VolumeServer {
    config: VolumeConfig,
    deps: Deps,
    space: SpaceGuard,
    housekeeper: Arc<Housekeeper>,
    counters: Arc<Counters>,
    size_limit: Arc<AtomicU64>,
    volumes: RwLock<HashMap<VolumeId, Arc<Volume>>>,
    stopping: AtomicBool,
    /// One creation at a time. Held by the blocking work itself: a caller that goes away does not end it.
    creating: Arc<tokio::sync::Mutex<()>>,
    /// Volumes whose files could not be mounted, and why.
    offline: Vec<(VolumeId, VolumeError)>,
    _lock: Box<dyn DiskLock>,
}

impl VolumeServer {
    /// Locks the folder and mounts every volume in it. A volume under another key, of another cluster or of a newer
    /// format stops the start; one that is damaged beyond reading is left offline and named.
    pub fn open(config: VolumeConfig, deps: Deps) -> Result<Arc<Self>, VolumeError> {
        let (lock, ids) = dir::open(&deps, &config.dir)?;
        if !config.fsync {
            tracing::warn!(
                "-fsync=false: acknowledged writes of the last second are lost in a power cut"
            );
        }
        let housekeeper = Housekeeper::start(Arc::clone(&deps.disk));
        let housekeeper =
            housekeeper.map_err(|e| io_error("start a thread for", &config.dir, &e))?;
        let mut server = Self {
            space: SpaceGuard::new(Arc::clone(&deps.disk), Arc::clone(&deps.clock), &config),
            housekeeper,
            counters: Arc::default(),
            size_limit: Arc::new(AtomicU64::new(config.volume_size_limit)),
            volumes: RwLock::default(),
            stopping: AtomicBool::new(false),
            creating: Arc::default(),
            offline: Vec::new(),
            _lock: lock,
            config,
            deps,
        };
        server.space.refresh();
        for (id, mounted) in mount_all(&server.deps, &server.config, &ids) {
            match mounted {
                Ok(log) => server.start(log)?,
                Err(e @ VolumeError::Refused { .. }) => {
                    server.stop_now();
                    return Err(e);
                }
                Err(e) => {
                    tracing::error!(volume = %id, error = %e, "a volume cannot be mounted and is offline");
                    server.offline.push((id, e));
                }
            }
        }
        Ok(Arc::new(server))
    }

    fn start(&self, log: VolumeLog) -> Result<(), VolumeError> {
        let (id, path) = (log.view().id, log.paths().vol.clone());
        let deps = WriterDeps {
            clock: Arc::clone(&self.deps.clock),
            housekeeper: Arc::clone(&self.housekeeper),
            counters: Arc::clone(&self.counters),
            size_limit: Arc::clone(&self.size_limit),
            roomy: self.space.roomy(),
        };
        let volume =
            Volume::start(log, deps).map_err(|e| io_error("start the writer of", &path, &e))?;
        self.volumes.write().insert(id, Arc::new(volume));
        Ok(())
    }

    /// A volume of this server.
    pub fn volume(&self, id: VolumeId) -> Option<Arc<Volume>> {
        self.volumes.read().get(&id).cloned()
    }

    /// The volume, for who may see it: to native clients filer volumes do not exist, and the other way round.
    fn find(&self, id: VolumeId, owner: VolumeOwner) -> Result<Arc<Volume>, VolumeError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(VolumeError::Stopping);
        }
        let volume = self.volume(id).filter(|v| v.view().head.owner() == owner);
        volume.ok_or(VolumeError::NoVolume(id))
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings.
    pub fn config(&self) -> &VolumeConfig {
        &self.config
    }

    /// Heap bytes and entries of all indexes.
    pub fn index_size(&self) -> (usize, usize) {
        let volumes = self.volumes.read();
        volumes.values().fold((0, 0), |(bytes, n), v| {
            (
                bytes + v.index_bytes(),
                n + v.view().published.read().index.len(),
            )
        })
    }

    /// Volumes that could not be mounted, and why.
    pub fn offline(&self) -> &[(VolumeId, VolumeError)] {
        &self.offline
    }

    /// Drains every writer, writes checkpoints and states, and ends the threads.
    pub async fn stop(self: &Arc<Self>) {
        let server = Arc::clone(self);
        if tokio::task::spawn_blocking(move || server.stop_now())
            .await
            .is_err()
        {
            tracing::error!("the volume server did not stop cleanly");
        }
    }

    /// [`Self::stop`] on the caller's thread.
    pub fn stop_now(&self) {
        self.stopping.store(true, Ordering::Release);
        // First: a checkpoint that it still writes must not meet the final one.
        self.housekeeper.stop();
        let volumes: Vec<_> = self.volumes.read().values().cloned().collect();
        for volume in &volumes {
            volume.close();
        }
        for volume in &volumes {
            volume.join();
        }
    }

    fn is_live(&self, fid: FileId) -> bool {
        self.volume(fid.volume)
            .is_some_and(|v| matches!(v.view().find(fid.key.0).0, Slot::Live { .. }))
    }

    fn note<T>(&self, result: Result<T, VolumeError>) -> Result<T, VolumeError> {
        match &result {
            Err(VolumeError::Damaged { fid, what }) => {
                self.counters.damaged.add(1);
                // Not a key that damage of an unknown one hides: it may never have been there.
                if self.is_live(*fid) {
                    self.counters.damaged_needles.note(*fid, what);
                }
            }
            Err(VolumeError::Mismatch(_)) => self.counters.damaged.add(1),
            Err(VolumeError::Full {
                free: 0,
                reserve: 0,
                ..
            }) => return Err(self.space.full_error()),
            _ => {}
        }
        result
    }
}

/// Mounts volumes, several at a time: most of a mount is waiting for the disk. Answers in order.
fn mount_all(
    deps: &Deps,
    config: &VolumeConfig,
    ids: &[VolumeId],
) -> Vec<(VolumeId, Result<VolumeLog, VolumeError>)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(ids.len()));
    let work = || {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mounted = VolumeLog::mount(deps, config.dir.clone(), *id, config.fsync);
            done.lock().push((*id, mounted));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..ids.len().min(MOUNTS) {
            let helper = std::thread::Builder::new().name("volume-mount".to_owned());
            // Without it this thread does all of them.
            if let Err(e) = helper.spawn_scoped(scope, work) {
                tracing::warn!(error = %e, "volumes are mounted one after the other");
            }
        }
        work();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(id, _)| *id);
    done
}

impl std::fmt::Debug for VolumeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "VolumeServer({}, {} volumes)",
            self.config.dir.display(),
            self.volumes.read().len()
        )
    }
}

#[async_trait]
impl VolumeApi for VolumeServer {
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError> {
        let owner = if put.owner.is_some() {
            VolumeOwner::Filer
        } else {
            VolumeOwner::Native
        };
        let volume = self.find(put.fid.volume, owner)?;
        self.space.check_put(put.body.len() as u64)?;
        let stored = self.note(volume.put(&self.deps.clock, &self.deps.rng, put).await)?;
        if stored.unchanged {
            self.counters.unchanged.add(1);
        } else {
            self.counters.puts.add(1);
            self.counters.put_bytes.add(stored.size);
        }
        Ok(stored)
    }

    async fn open_needle(
        &self,
        fid: FileId,
        commit: Option<[u8; 16]>,
        owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        let volume = self.find(fid.volume, owner)?;
        let needle = self.note(volume.open(fid, commit.as_ref()))?;
        self.counters.opens.add(1);
        Ok(Box::new(needle))
    }

    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        let mut by_volume: HashMap<VolumeId, (Vec<usize>, Vec<FileId>)> = HashMap::new();
        for (i, fid) in fids.iter().enumerate() {
            let group = by_volume.entry(fid.volume).or_default();
            group.0.push(i);
            group.1.push(*fid);
        }
        let groups = by_volume.into_iter().map(async |(id, (places, fids))| {
            let answers = match self.find(id, owner) {
                Ok(volume) => volume.delete(&self.deps.clock, &self.deps.rng, &fids).await,
                Err(e) => fids.iter().map(|_| Err(e.clone())).collect(),
            };
            (places, answers)
        });
        let mut out: Vec<_> = fids.iter().map(|_| Err(VolumeError::Stopping)).collect();
        for (places, answers) in futures::future::join_all(groups).await {
            for (i, answer) in places.into_iter().zip(answers) {
                let answer = self.note(answer);
                if matches!(answer, Ok(Deleted::Yes { .. })) {
                    self.counters.deletes.add(1);
                    if let Some(fid) = fids.get(i) {
                        self.counters.damaged_needles.forget(*fid);
                    }
                }
                if let Some(o) = out.get_mut(i) {
                    *o = answer;
                }
            }
        }
        out
    }

    async fn list_needles(
        &self,
        volume: VolumeId,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        let volume = self.volume(volume).ok_or(VolumeError::NoVolume(volume))?;
        let listed = tokio::task::spawn_blocking(move || volume.list(first, last, limit)).await;
        listed.unwrap_or(Err(VolumeError::Stopping))
    }

    async fn create_volume(&self, create: CreateVolume) -> Result<(), VolumeError> {
        let one = Arc::clone(&self.creating).lock_owned().await;
        if let Some(there) = self.volume(create.id) {
            let uuid = there.view().head.uuid();
            if uuid == create.uuid {
                return Ok(());
            }
            return Err(refused(
                &there.view().path,
                format!("holds volume {uuid}, not {}", create.uuid),
            ));
        }
        if let Some((id, e)) = self.offline.iter().find(|(id, _)| *id == create.id) {
            return Err(refused(
                &self.config.dir,
                format!("volume {id} is there and offline: {e}"),
            ));
        }
        if self.space.is_low() {
            return Err(self.space.full_error());
        }
        let (deps, dir, fsync) = (
            self.deps.clone(),
            self.config.dir.clone(),
            self.config.fsync,
        );
        let made = tokio::task::spawn_blocking(move || {
            (VolumeLog::create(&deps, dir, &create, fsync), one)
        });
        let (log, _one) = made.await.map_err(|_| VolumeError::Stopping)?;
        self.start(log?)
    }

    async fn lead(&self, volume: VolumeId, epoch: u64) -> Result<(), VolumeError> {
        let found = self.volume(volume).ok_or(VolumeError::NoVolume(volume))?;
        found.queue().lead(epoch).await
    }

    async fn node_report(&self) -> NodeReport {
        let space = self.space.refresh();
        let c = &self.config;
        let disk_type = if c.disk_type.is_empty() {
            "hdd"
        } else {
            &c.disk_type
        };
        let full = self.space.check_put(0).is_err();
        let mut volumes: Vec<_> = self.volumes.read().values().cloned().collect();
        volumes.sort_by_key(|v| v.view().id);
        NodeReport {
            url: c.url.clone(),
            public_url: c.public_url.clone(),
            data_center: c.data_center.clone(),
            rack: c.rack.clone(),
            max_volumes: c.max_volumes,
            disk_total: space.total,
            disk_free: space.free,
            low_space: self.space.is_low(),
            max_key: volumes.iter().map(|v| v.max_key()).max().unwrap_or(0),
            volumes: volumes.iter().map(|v| v.report(disk_type, full)).collect(),
        }
    }

    fn apply_reply(&self, reply: &NodeReply) {
        self.size_limit
            .store(reply.volume_size_limit, Ordering::Relaxed);
        for (id, epoch) in &reply.lead {
            if let Some(volume) = self.volume(*id)
                && let Err(e) = volume.queue().lead_later(*epoch)
            {
                tracing::warn!(volume = %id, epoch, error = %e, "the epoch was not opened");
            }
        }
    }
}
