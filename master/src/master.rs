//! Main itself: holds the replicated intent, what servers report, and the view that joins them; answers assigns from
//! memory; keeps layouts supplied with volumes.
//!
//! Background work, all ended by [`Master::stop`]: one pulse a node (report, epochs to lead), one reconciler
//! (`growth::plan`, then the tasks one after the other), one keeper of the key pool.
//! Lock order: `executing`, then `pulsing` (both asynchronous); the others are held for a moment, one at a time, and
//! never over an await.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use halofs_client::MasterError;
use halofs_client::master::{
    AssignRequest, Assignment, Location, MasterApi, NodeReply, NodeReport,
};
use halofs_client::volume::VolumeApi;
use halofs_types::limits::KEY_RANGE;
use halofs_types::{Cookie, FileId, NeedleKey, Placement, VolumeId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assign::{Wish, pick};
use crate::config::{Deps, MasterConfig};
use crate::growth::choose_node;
use crate::keys::KeyPool;
use crate::raft::Consensus;
use crate::stats::Stats;
use crate::topology::command::{Command, Outcome};
use crate::topology::layout::{LayoutKey, Owner};
use crate::topology::state::VolumeLife;
use crate::topology::view::{NodeView, Observed, Settings, View};

mod exec;
mod pulse;

/// How long an assign waits for growth.
const ASSIGN_WAIT: Duration = Duration::from_secs(10);
/// Keys above this are not followed: a client that made one up must not use up the key space.
const FOLLOWED_KEY_MAX: u64 = 1 << 63;

/// Main.
pub struct Master {
    config: MasterConfig,
    settings: Settings,
    deps: Deps,
    raft: Consensus,
    keys: KeyPool,
    observed: RwLock<Observed>,
    view: RwLock<Arc<View>>,
    nodes: RwLock<BTreeMap<String, Arc<dyn VolumeApi>>>,
    /// Layouts that an assign asked for and that have no volume yet.
    wanted: Mutex<BTreeSet<LayoutKey>>,
    /// Layouts whose last volume could not be made: until when (monotonic) nobody tries, and why.
    blocked: Mutex<HashMap<LayoutKey, (u64, String)>>,
    /// Volumes that refused to be led, and until when (monotonic) they are not asked again.
    resting: Mutex<BTreeMap<u32, u64>>,
    /// One report at a time, so that an older one never replaces a newer one.
    pulsing: tokio::sync::Mutex<()>,
    /// One plan or growth at a time, so that two never make up for the same lack.
    executing: tokio::sync::Mutex<()>,
    /// The view changed, or a creation failed, or keys arrived.
    changed: Notify,
    reconcile_due: Notify,
    keys_due: Notify,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// What happened so far.
    pub stats: Stats,
}

impl Master {
    /// Opens the state, elects itself, and starts the background work.
    pub async fn open(config: MasterConfig, deps: Deps) -> Result<Arc<Self>, MasterError> {
        let raft = Consensus::open(
            Arc::clone(&deps.store),
            Arc::clone(&deps.clock),
            &config.url,
        )
        .await?;
        if raft.read(|s| s.identity.is_none()) && !config.genesis {
            raft.stop().await;
            return Err(MasterError::Storage(
                "main's state is empty although this data directory holds volumes; restore its main/ folder from a \
                 backup"
                    .to_owned(),
            ));
        }
        if let Outcome::Refused { reason } = raft
            .write(Command::Genesis {
                identity: config.identity.clone(),
            })
            .await?
        {
            raft.stop().await;
            return Err(MasterError::Storage(reason));
        }
        let settings = Settings::new(config.volume_size_limit);
        let view = raft.read(|s| View::build(s, &Observed::new(), &settings));
        let master = Arc::new(Self {
            config,
            settings,
            deps,
            raft,
            keys: KeyPool::default(),
            observed: RwLock::default(),
            view: RwLock::new(Arc::new(view)),
            nodes: RwLock::default(),
            wanted: Mutex::default(),
            blocked: Mutex::default(),
            resting: Mutex::default(),
            pulsing: tokio::sync::Mutex::default(),
            executing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            reconcile_due: Notify::new(),
            keys_due: Notify::new(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            stats: Stats::default(),
        });
        master.refill_keys().await?;
        master.tasks.spawn(Arc::clone(&master).keep_keys());
        master.tasks.spawn(Arc::clone(&master).keep_reconciling());
        Ok(master)
    }

    /// Ends the background work and Raft.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.changed.notify_waiters();
        self.tasks.close();
        self.tasks.wait().await;
        self.raft.stop().await;
    }

    /// The present picture.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// Settings that status pages show.
    pub fn config(&self) -> &MasterConfig {
        &self.config
    }

    /// (leads, term, applied index).
    pub fn raft_status(&self) -> (bool, u64, u64) {
        let s = self.raft.status();
        (s.leader, s.term, s.applied)
    }

    /// The highest volume id handed out.
    pub fn max_volume_id(&self) -> u32 {
        self.raft.read(|s| s.counters.next_vid).saturating_sub(1)
    }

    /// The clock that status pages use.
    pub fn clock(&self) -> &dyn halofs_runtime::Clock {
        &*self.deps.clock
    }

    /// Joins intent and observation anew and wakes whoever waits for a change.
    fn rebuild(&self) {
        let observed = self.observed.read().clone();
        let view = self
            .raft
            .read(|s| View::build(s, &observed, &self.settings));
        self.wanted.lock().retain(|w| view.layout(w).is_none());
        *self.view.write() = Arc::new(view);
        self.changed.notify_waiters();
    }

    /// Takes in a node's report under the id that the intent knows it by. Volumes in `not_yet` get no new epoch.
    async fn observe(
        &self,
        id: &str,
        report: NodeReport,
        not_yet: &BTreeSet<u32>,
    ) -> Result<NodeReply, MasterError> {
        self.stats.reports.add(1);
        let volume_size_limit = self.settings.effective_limit(report.disk_total);
        let report = Arc::new(report);
        self.observed
            .write()
            .insert(id.to_owned(), Arc::clone(&report));
        // What a report shows is true whether or not something can be decided upon it.
        let lead = self.decide(id, &report, not_yet).await;
        self.rebuild();
        self.reconcile_due.notify_one();
        Ok(NodeReply {
            volume_size_limit,
            lead: lead?,
        })
    }

    /// The commands that follow from a report, and the epochs that its node leads from now on.
    async fn decide(
        &self,
        id: &str,
        report: &NodeReport,
        not_yet: &BTreeSet<u32>,
    ) -> Result<Vec<(VolumeId, u64)>, MasterError> {
        let mut confirmed = Vec::new();
        let mut waiting = Vec::new();
        let next_key = self.raft.read(|s| {
            for volume in &report.volumes {
                let Some(intent) = s
                    .volumes
                    .get(&volume.id.0)
                    .filter(|v| v.uuid == volume.uuid)
                else {
                    continue;
                };
                if intent.life == VolumeLife::Creating {
                    confirmed.push((intent.vid, intent.uuid));
                }
                if volume.leads.is_none() && !not_yet.contains(&intent.vid) {
                    waiting.push((intent.vid, intent.epoch));
                }
            }
            s.counters.next_key
        });
        for (vid, uuid) in confirmed {
            self.raft.write(Command::VolumeActive { vid, uuid }).await?;
        }
        if report.max_key >= next_key && report.max_key < FOLLOWED_KEY_MAX {
            self.raft
                .write(Command::RaiseKeys {
                    above: report.max_key,
                })
                .await?;
            self.keys.clear();
            self.keys_due.notify_one();
        }
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let command = Command::OpenEpochs {
            node: id.to_owned(),
            volumes: waiting,
        };
        let Outcome::Epochs { opened } = self.raft.write(command).await? else {
            return Ok(Vec::new());
        };
        Ok(opened
            .into_iter()
            .map(|(vid, epoch)| (VolumeId(vid), epoch))
            .collect())
    }

    /// One round of an assign: fids, or `None` when it has to wait for the next change.
    fn try_assign(&self, wish: &Wish) -> Result<Option<Assignment>, MasterError> {
        let view = self.view();
        let Some(writable) = pick(&view, wish) else {
            self.want(&view, wish)?;
            return Ok(None);
        };
        let taken = self.keys.take(wish.step);
        if taken.refill {
            self.keys_due.notify_one();
        }
        let (Some(first), Some(node)) = (taken.first, view.node(writable.node)) else {
            return Ok(None);
        };
        let cookie = Cookie(self.deps.rng.u32());
        let first = FileId {
            volume: writable.volume,
            key: NeedleKey(first),
            cookie,
        };
        Ok(Some(Assignment {
            first,
            count: wish.count,
            locations: vec![node.location()],
        }))
    }

    /// Asks for growth, or says which constraint forbids it.
    fn want(&self, view: &View, wish: &Wish) -> Result<(), MasterError> {
        let placement = wish.layout.placement();
        let no_space = |detail: String| MasterError::NoSpace {
            collection: wish.layout.collection.clone(),
            placement: placement.to_string(),
            detail,
        };
        let dc = &wish.site.data_center;
        let centers: BTreeSet<&str> = view.nodes.iter().map(NodeView::data_center).collect();
        if !dc.is_empty() && !centers.is_empty() && !centers.contains(dc.as_str()) {
            let centers: Vec<&str> = centers.into_iter().collect();
            return Err(MasterError::Invalid {
                field: "dataCenter",
                reason: format!("{dc} is not known; there is {}", centers.join(", ")),
            });
        }
        choose_node(view, &wish.layout, &wish.site).map_err(no_space)?;
        if placement != Placement::default() {
            return Err(MasterError::Unsupported(
                "this version keeps one copy of a volume: replication other than 000 comes with clusters of several \
                 nodes",
            ));
        }
        let now = self.deps.clock.monotonic_ns();
        let why = self
            .blocked
            .lock()
            .get(&wish.layout)
            .filter(|(until, _)| *until > now)
            .map(|(_, why)| why.clone());
        if let Some(why) = why {
            return Err(no_space(why));
        }
        self.wanted.lock().insert(wish.layout.clone());
        self.reconcile_due.notify_one();
        Ok(())
    }

    async fn refill_keys(&self) -> Result<(), MasterError> {
        if let Outcome::Keys { first, count } = self
            .raft
            .write(Command::NewKeyRange { keys: KEY_RANGE })
            .await?
        {
            self.keys.add(first, count);
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// Keys of its own for a wish larger than a range.
    async fn assign_large(&self, wish: &Wish) -> Result<Option<u64>, MasterError> {
        match self
            .raft
            .write(Command::NewKeyRange { keys: wish.step })
            .await?
        {
            Outcome::Keys { first, .. } => Ok(Some(first)),
            Outcome::Refused { reason } => Err(MasterError::Unavailable(reason)),
            _ => Ok(None),
        }
    }

    async fn keep_keys(self: Arc<Self>) {
        let mut said = String::new();
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.keys_due.notified() => {}
            }
            let Err(error) = self.refill_keys().await else {
                said.clear();
                continue;
            };
            if error.to_string() != said {
                tracing::error!(%error, "no new key range");
                said = error.to_string();
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.deps.clock.sleep(Duration::from_secs(1)) => self.keys_due.notify_one(),
            }
        }
    }

    async fn assign_waiting(&self, wish: &Wish) -> Result<Assignment, MasterError> {
        let start = self.deps.clock.monotonic_ns();
        let wait_ns = u64::try_from(ASSIGN_WAIT.as_nanos()).unwrap_or(u64::MAX);
        // A wish that no range can hold gets keys of its own; the pool is asked for one key only to pick the volume.
        let own = if wish.step > KEY_RANGE / 2 {
            self.assign_large(wish).await?
        } else {
            None
        };
        let wish = if own.is_some() {
            Wish {
                step: 1,
                ..wish.clone()
            }
        } else {
            wish.clone()
        };
        loop {
            let changed = self.changed.notified();
            if let Some(mut done) = self.try_assign(&wish)? {
                if let Some(first) = own {
                    done.first.key = NeedleKey(first);
                }
                return Ok(done);
            }
            let waited = self.deps.clock.monotonic_ns().saturating_sub(start);
            let left = Duration::from_nanos(wait_ns.saturating_sub(waited));
            if left.is_zero() || self.stopping.is_cancelled() {
                return Err(MasterError::Unavailable(
                    "no volume became writable within 10 s".to_owned(),
                ));
            }
            tokio::select! {
                () = changed => {}
                () = self.deps.clock.sleep(left) => {}
            }
        }
    }

    /// Whether native clients may see a volume (`replication.md` 18).
    pub fn is_native(&self, volume: VolumeId) -> bool {
        self.view()
            .volumes
            .get(&volume.0)
            .is_some_and(|v| v.intent.layout.owner == Owner::Native)
    }
}

#[async_trait]
impl MasterApi for Master {
    async fn assign(&self, req: AssignRequest) -> Result<Assignment, MasterError> {
        let wish = Wish::new(req, self.config.default_placement)?;
        let done = match self.try_assign(&wish) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => self.assign_waiting(&wish).await,
            Err(e) => Err(e),
        };
        if done.is_ok() {
            self.stats.assigns.add(1);
        } else {
            self.stats.assign_errors.add(1);
        }
        done
    }

    async fn lookup(&self, volume: VolumeId) -> Result<Vec<Location>, MasterError> {
        let view = self.view();
        if !view.volumes.contains_key(&volume.0) {
            return Err(MasterError::UnknownVolume(volume));
        }
        let locations = view.locations(volume);
        if locations.is_empty() {
            return Err(MasterError::Unavailable(format!(
                "no copy of volume {volume} has reported"
            )));
        }
        Ok(locations)
    }

    async fn report(&self, node: NodeReport) -> Result<NodeReply, MasterError> {
        let id = node.url.clone();
        self.observe(&id, node, &BTreeSet::new()).await
    }
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
