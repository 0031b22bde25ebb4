//! Fids in advance: leases on ranges of them, and what became of each fid (`replication.md` 19).
//!
//! A lease is the written intent of this process to store needles under a range of fids. It is a synced row of the
//! filer *before* the first of its fids is used, so that whatever a crash leaves behind is found by scanning the leases
//! that died, and nothing else. While the process lives it remembers the outcome of every fid:
//!
//! - *unused* and *named* (a commit made it part of an object): nothing to do;
//! - *unnamed* (perhaps written, certainly not committed): handed to the filer for collection when the lease closes;
//! - *unknown* (a commit was sent and its answer never came): the lease is never closed. It stops being renewed, dies,
//!   and the filer's collector finds out; until the row is gone the late commit may still succeed, afterwards it fails.
//!
//! One lease is active, the next one is opened when a quarter of the keys are left, so that no put waits for main.
//! A lease is closed once it is exhausted (or lies idle with something to collect) and none of its fids is in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use halofs_runtime::Clock;
use halofs_types::{FileId, LeaseId, Placement, VolumeId, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{DataError, FilerError};
use crate::filer::FilerApi;
use crate::master::{AssignRequest, MasterApi, VolumeOwner};

/// How often leases are renewed and idle ones looked for: a lease lives 10 min without a renewal.
const TICK: Duration = Duration::from_mins(2);

/// What the pool asks main for.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    /// Name space of the volumes; empty is the default one.
    pub collection: String,
    /// `None`: main's default.
    pub placement: Option<Placement>,
    /// Fids of one lease, at most [`limits::LEASE_KEYS_MAX`].
    pub keys: u64,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            collection: String::new(),
            placement: None,
            keys: limits::LEASE_KEYS_MAX,
        }
    }
}

/// Hands out fids that are covered by a live lease. Clones share one pool.
#[derive(Clone)]
pub struct LeasePool {
    shared: Arc<Shared>,
}

struct Shared {
    master: Arc<dyn MasterApi>,
    filer: Arc<dyn FilerApi>,
    clock: Arc<dyn Clock>,
    config: LeaseConfig,
    state: Mutex<State>,
    /// Held while a lease is opened for takers that wait: one opens, the others find it.
    opening: tokio::sync::Mutex<()>,
    wake: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    open: HashMap<LeaseId, Lease>,
    active: Option<LeaseId>,
    next: Option<LeaseId>,
    /// The background task was asked for `next`.
    wanted: bool,
    to_close: Vec<(LeaseId, Vec<FileId>)>,
    task: Option<JoinHandle<()>>,
    stopping: bool,
}

struct Lease {
    first: FileId,
    count: u64,
    /// Handed out so far.
    used: u64,
    in_flight: u64,
    unnamed: Vec<FileId>,
    unknown: bool,
    /// No more fids are handed out.
    retired: bool,
    /// `used` at the last tick.
    used_at_tick: u64,
}

/// What became of a fid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unused,
    Named,
    Unnamed,
    Unknown,
}

/// One fid to store a needle under, once. Dropped without a word it counts as unnamed if it was used.
pub struct Ticket {
    shared: Arc<Shared>,
    lease: LeaseId,
    fid: FileId,
    outcome: Outcome,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("fid", &self.fid)
            .field("lease", &self.lease)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    /// The fid.
    pub fn fid(&self) -> FileId {
        self.fid
    }

    /// The lease that covers it.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// From now on a needle may exist under the fid.
    pub fn begin_write(&mut self) {
        self.outcome = Outcome::Unnamed;
    }

    /// A commit that names the fid is about to be sent: until its answer is known nobody may collect the needle.
    pub fn begin_commit(&mut self) {
        self.outcome = Outcome::Unknown;
    }

    /// The commit succeeded.
    pub fn committed(mut self) {
        self.outcome = Outcome::Named;
    }

    /// The commit failed for certain.
    pub fn not_committed(mut self) {
        self.outcome = Outcome::Unnamed;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ready = self
            .shared
            .state
            .lock()
            .settle(self.lease, self.fid, self.outcome);
        if ready {
            self.shared.wake.notify_one();
        }
    }
}

impl State {
    /// A fid of the active lease, or of the next one when that is exhausted or on the volume to avoid.
    fn hand_out(&mut self, avoid: Option<VolumeId>) -> Option<(LeaseId, FileId)> {
        loop {
            let id = self.active?;
            let lease = self.open.get_mut(&id)?;
            if lease.used < lease.count && avoid != Some(lease.first.volume) {
                let fid = lease.first.with_delta(lease.used)?;
                lease.used += 1;
                lease.in_flight += 1;
                return Some((id, fid));
            }
            self.active = self.next.take();
            self.retire(id);
        }
    }

    /// Whether the next lease should be opened now; says so once.
    fn wants_next(&mut self) -> bool {
        if self.wanted || self.next.is_some() {
            return false;
        }
        let Some(lease) = self.active.and_then(|id| self.open.get(&id)) else {
            return false;
        };
        self.wanted = lease.count - lease.used <= lease.count / 4;
        self.wanted
    }

    fn retire(&mut self, id: LeaseId) -> bool {
        if let Some(lease) = self.open.get_mut(&id) {
            lease.retired = true;
        }
        self.finish_if_done(id)
    }

    fn lost(&mut self, id: LeaseId) {
        if self.active == Some(id) {
            self.active = self.next.take();
        } else if self.next == Some(id) {
            self.next = None;
        }
        if let Some(lease) = self.open.get_mut(&id) {
            // There is no row to close, and its fids are the collector's.
            lease.unknown = true;
        }
        self.retire(id);
    }

    fn settle(&mut self, id: LeaseId, fid: FileId, outcome: Outcome) -> bool {
        let Some(lease) = self.open.get_mut(&id) else {
            return false;
        };
        lease.in_flight = lease.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Unnamed => lease.unnamed.push(fid),
            Outcome::Unknown => lease.unknown = true,
            Outcome::Unused | Outcome::Named => {}
        }
        self.finish_if_done(id)
    }

    /// Takes a lease that is over out of the table. True when there is something to close.
    fn finish_if_done(&mut self, id: LeaseId) -> bool {
        if !self
            .open
            .get(&id)
            .is_some_and(|l| l.retired && l.in_flight == 0)
        {
            return false;
        }
        let Some(lease) = self.open.remove(&id) else {
            return false;
        };
        if lease.unknown {
            return false;
        }
        self.to_close.push((id, lease.unnamed));
        true
    }

    /// Retires an active lease that nobody used since the last tick and that has something to collect.
    fn retire_idle(&mut self) {
        let Some(id) = self.active else { return };
        let Some(lease) = self.open.get_mut(&id) else {
            return;
        };
        let idle = lease.used == lease.used_at_tick && lease.in_flight == 0;
        lease.used_at_tick = lease.used;
        if idle && (lease.unknown || !lease.unnamed.is_empty()) {
            self.active = self.next.take();
            self.retire(id);
        }
    }
}

impl LeasePool {
    /// A pool that opens its first lease when the first fid is taken.
    pub fn new(
        master: Arc<dyn MasterApi>,
        filer: Arc<dyn FilerApi>,
        clock: Arc<dyn Clock>,
        config: LeaseConfig,
    ) -> Self {
        let shared = Shared {
            master,
            filer,
            clock,
            config,
            state: Mutex::default(),
            opening: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            stop: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A fid nobody has used, on another volume than `avoid` if main has one.
    pub async fn take(&self, avoid: Option<VolumeId>) -> Result<Ticket, DataError> {
        if let Some(ticket) = self.try_take(avoid)? {
            return Ok(ticket);
        }
        let _one = self.shared.opening.lock().await;
        if let Some(ticket) = self.try_take(avoid)? {
            return Ok(ticket);
        }
        let (id, lease) = self.shared.open(avoid).await?;
        let mut state = self.shared.state.lock();
        state.open.insert(id, lease);
        if let Some(former) = state.active.replace(id) {
            state.retire(former);
        }
        // Main may have had no other volume than the one to avoid: what it gave is the answer.
        let (lease, fid) = state.hand_out(None).ok_or(DataError::Stopping)?;
        drop(state);
        Ok(self.ticket(lease, fid))
    }

    fn try_take(&self, avoid: Option<VolumeId>) -> Result<Option<Ticket>, DataError> {
        let mut state = self.shared.state.lock();
        if state.stopping {
            return Err(DataError::Stopping);
        }
        if state.task.is_none() {
            state.task = Some(tokio::spawn(background(Arc::clone(&self.shared))));
        }
        let taken = state.hand_out(avoid);
        let wake = state.wants_next() || !state.to_close.is_empty();
        drop(state);
        if wake {
            self.shared.wake.notify_one();
        }
        Ok(taken.map(|(lease, fid)| self.ticket(lease, fid)))
    }

    fn ticket(&self, lease: LeaseId, fid: FileId) -> Ticket {
        Ticket {
            shared: Arc::clone(&self.shared),
            lease,
            fid,
            outcome: Outcome::Unused,
        }
    }

    /// The filer said that a lease is gone: no more of its fids.
    pub fn lost(&self, lease: LeaseId) {
        self.shared.state.lock().lost(lease);
    }

    /// Hands out nothing more and closes every lease that has no fid in flight and no unknown outcome. The others are
    /// the collector's after the next start.
    pub async fn stop(&self) {
        let task = {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            state.task.take()
        };
        self.shared.stop.cancel();
        if let Some(task) = task {
            let _ = task.await;
        }
        {
            let mut state = self.shared.state.lock();
            state.active = None;
            state.next = None;
            let open: Vec<LeaseId> = state.open.keys().copied().collect();
            for id in open {
                state.retire(id);
            }
        }
        self.shared.close_ready().await;
    }
}

impl Shared {
    async fn open(&self, avoid: Option<VolumeId>) -> Result<(LeaseId, Lease), DataError> {
        let request = AssignRequest {
            count: self.config.keys.clamp(1, limits::LEASE_KEYS_MAX),
            collection: self.config.collection.clone(),
            owner: VolumeOwner::Filer,
            placement: self.config.placement,
            disk_type: String::new(),
            data_center: String::new(),
            rack: String::new(),
            data_node: String::new(),
            avoid,
        };
        let given = self.master.assign(request).await?;
        let id = self.filer.open_lease(given.first, given.count).await?;
        let lease = Lease {
            first: given.first,
            count: given.count,
            used: 0,
            in_flight: 0,
            unnamed: Vec::new(),
            unknown: false,
            retired: false,
            used_at_tick: 0,
        };
        Ok((id, lease))
    }

    async fn open_next(&self) {
        if !self.state.lock().wanted {
            return;
        }
        let opened = self.open(None).await;
        let mut state = self.state.lock();
        state.wanted = false;
        match opened {
            Ok((id, lease)) => {
                state.open.insert(id, lease);
                if state.active.is_none() {
                    state.active = Some(id);
                } else if let Some(former) = state.next.replace(id) {
                    state.retire(former);
                }
            }
            // Whoever takes the last fid tries again and gets the error.
            Err(error) => tracing::warn!(%error, "no fid lease in advance"),
        }
    }

    async fn close_ready(&self) {
        let ready = std::mem::take(&mut self.state.lock().to_close);
        for (id, unnamed) in ready {
            let count = unnamed.len();
            match self.filer.close_lease(id, unnamed.clone()).await {
                Ok(()) => tracing::debug!(lease = %id, unnamed = count, "fid lease closed"),
                // The row went without us: the collector has it.
                Err(FilerError::LeaseGone) => {}
                Err(error) => {
                    tracing::warn!(lease = %id, %error, "fid lease not closed yet");
                    self.state.lock().to_close.push((id, unnamed));
                }
            }
        }
    }

    async fn renew(&self) {
        let (open, pending): (Vec<LeaseId>, Vec<LeaseId>) = {
            let mut state = self.state.lock();
            state.retire_idle();
            (
                state.open.keys().copied().collect(),
                state.to_close.iter().map(|(id, _)| *id).collect(),
            )
        };
        let leases: Vec<LeaseId> = open.into_iter().chain(pending).collect();
        if leases.is_empty() {
            return;
        }
        match self.filer.renew_leases(leases.clone()).await {
            Ok(()) => {}
            Err(FilerError::LeaseGone) => self.drop_gone(leases).await,
            Err(error) => tracing::warn!(%error, "fid leases not renewed"),
        }
    }

    /// Finds the leases that are gone, as after a long sleep of the machine, before a put runs into each of them.
    async fn drop_gone(&self, leases: Vec<LeaseId>) {
        for id in leases {
            if self.filer.renew_leases(vec![id]).await == Err(FilerError::LeaseGone) {
                tracing::warn!(lease = %id, "a fid lease is gone");
                self.state.lock().lost(id);
            }
        }
    }
}

/// Opens ahead, closes what is over, renews.
async fn background(shared: Arc<Shared>) {
    loop {
        let mut tick = shared.clock.sleep(TICK);
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = &mut tick => break,
                () = shared.wake.notified() => {
                    shared.open_next().await;
                    shared.close_ready().await;
                }
            }
        }
        shared.renew().await;
        shared.close_ready().await;
    }
}
