//! The one executor of tasks. It works through a plan task by task; whatever fails is planned again later.

use std::sync::Arc;
use std::time::Duration;

use halofs_client::MasterError;
use halofs_client::volume::CreateVolume;
use halofs_types::{Uuid, VolumeId};

use super::Master;
use crate::growth::{Site, Task, choose_node, plan};
use crate::topology::command::{Command, Outcome};
use crate::topology::layout::LayoutKey;
use crate::topology::state::VolumeState;

/// After a failed creation its layout rests so long.
const CREATE_PAUSE: Duration = Duration::from_secs(2);

impl Master {
    pub(super) async fn keep_reconciling(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.reconcile_due.notified() => {}
            }
            self.reconcile().await;
        }
    }

    async fn reconcile(&self) {
        let _one = self.executing.lock().await;
        let wanted = self.wanted.lock().clone();
        for task in plan(&self.view(), &self.settings, &wanted) {
            if self.stopping.is_cancelled() {
                return;
            }
            let layout = match &task {
                Task::Intend { layout, .. } => Some(layout.clone()),
                Task::Create { vid } => self
                    .view()
                    .volumes
                    .get(vid)
                    .map(|v| v.intent.layout.clone()),
            };
            let Some(layout) = layout else { continue };
            if self.rests(&layout) {
                continue;
            }
            if let Err(error) = self.execute(task).await {
                tracing::warn!(%error, collection = %layout.collection, "a volume could not be made");
                self.block(layout, error.to_string());
            }
        }
    }

    fn rests(&self, layout: &LayoutKey) -> bool {
        let now = self.deps.clock.monotonic_ns();
        self.blocked
            .lock()
            .get(layout)
            .is_some_and(|(until, _)| *until > now)
    }

    fn block(&self, layout: LayoutKey, why: String) {
        self.stats.volumes_failed.add(1);
        let pause = u64::try_from(CREATE_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        let until = self.deps.clock.monotonic_ns().saturating_add(pause);
        self.blocked.lock().insert(layout, (until, why));
        self.changed.notify_waiters();
    }

    async fn execute(&self, task: Task) -> Result<(), MasterError> {
        match task {
            Task::Intend { layout, node } => self.make(layout, node).await.map(|_| ()),
            Task::Create { vid } => {
                let volume = self.raft.read(|s| s.volumes.get(&vid).cloned());
                match volume {
                    Some(volume) => self.create(&volume).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Decides on a volume and has it made.
    async fn make(&self, layout: LayoutKey, node: String) -> Result<VolumeId, MasterError> {
        let command = Command::NewVolume {
            uuid: Uuid(self.deps.rng.id16()),
            layout,
            node,
            collection_uuid: Uuid(self.deps.rng.id16()),
        };
        match self.raft.write(command).await? {
            Outcome::Volume { volume } => {
                self.rebuild();
                self.create(&volume).await?;
                Ok(VolumeId(volume.vid))
            }
            Outcome::Refused { reason } => Err(MasterError::Storage(reason)),
            other => Err(MasterError::Storage(format!(
                "a new volume was answered with {other:?}"
            ))),
        }
    }

    /// Has a decided volume made by its server, confirms it, and takes in the server's new report.
    async fn create(&self, volume: &VolumeState) -> Result<(), MasterError> {
        let api = self.nodes.read().get(&volume.primary).map(Arc::clone);
        let Some(api) = api else {
            return Err(MasterError::Unavailable(format!(
                "node {} is not attached",
                volume.primary
            )));
        };
        let create = CreateVolume {
            id: VolumeId(volume.vid),
            uuid: volume.uuid,
            collection: volume.layout.collection.clone(),
            collection_uuid: volume.collection_uuid,
            owner: volume.layout.owner.into(),
            placement: volume.layout.placement(),
            epoch: volume.epoch,
            generation: volume.generation,
        };
        api.create_volume(create)
            .await
            .map_err(|e| MasterError::Unavailable(e.to_string()))?;
        self.raft
            .write(Command::VolumeActive {
                vid: volume.vid,
                uuid: volume.uuid,
            })
            .await?;
        self.stats.volumes_created.add(1);
        self.blocked.lock().remove(&volume.layout);
        self.pulse(&volume.primary, &*api).await
    }

    /// Makes `count` volumes of a layout now, whatever the plan says (`/vol/grow`). What was made before a failure
    /// stays and counts.
    pub async fn grow(
        &self,
        layout: &LayoutKey,
        site: &Site,
        count: u32,
    ) -> Result<u32, MasterError> {
        let _one = self.executing.lock().await;
        let mut made = 0;
        for _ in 0..count {
            let node = choose_node(&self.view(), layout, site).map(|n| n.id.clone());
            let done = match node {
                Ok(node) => self.make(layout.clone(), node).await,
                Err(detail) => Err(MasterError::NoSpace {
                    collection: layout.collection.clone(),
                    placement: layout.placement().to_string(),
                    detail,
                }),
            };
            match done {
                Ok(_) => made += 1,
                Err(error) if made == 0 => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, made, count, "growth stopped early");
                    break;
                }
            }
        }
        Ok(made)
    }
}
