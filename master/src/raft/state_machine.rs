//! The replicated state under Raft: applies entries, keeps its rows (`topology::state`) with the applied log id in one
//! batch, and makes snapshots.
//!
//! | key | value |
//! |---|---|
//! | `state/…` | see `topology::state` |
//! | `raft/snapshot/meta` | the newest snapshot's log id and membership |
//! | `raft/snapshot/data` | the whole [`State`] of that moment, JSON |
//!
//! The rows are the truth; a snapshot only lets the log be cut and a new peer catch up. Readers see an entry's effect
//! as soon as it is applied: it is durable in the log by then, so writing the rows afterwards loses nothing.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

use halofs_store::{Batch, Op};
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use openraft::{BasicNode, EntryPayload, OptionalSend, Snapshot, SnapshotMeta};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::log_store::{any, encode, get, read_error, write_error};
use super::rows::Rows;
use super::types::{Entry, LogId, Membership, NodeId, RaftStorageError, TypeConfig};
use crate::topology::apply::apply;
use crate::topology::command::Outcome;
use crate::topology::state::{CollectionState, Dirty, FORMAT, MetaRow, State, VolumeState};

const META: &[u8] = b"state/meta";
const VOLUME: &[u8] = b"state/volume/";
const COLLECTION: &[u8] = b"state/collection/";
/// The first key after every `state/` row: `/` + 1.
const STATE_END: &[u8] = b"state0";
const SNAPSHOT_META: &[u8] = b"raft/snapshot/meta";
const SNAPSHOT_DATA: &[u8] = b"raft/snapshot/data";

/// How far the log was applied, and who votes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
}

/// The machine; the shared state is what readers look at.
pub(crate) struct StateMachine {
    rows: Rows,
    state: Arc<RwLock<State>>,
    applied: Applied,
}

/// A frozen copy of the state on its way to a snapshot.
pub(crate) struct Frozen {
    rows: Rows,
    state: State,
    applied: Applied,
}

#[derive(Debug, thiserror::Error)]
#[error("main's state has format {0}; this program reads format {FORMAT}")]
struct NewerFormat(u32);

impl StateMachine {
    /// Reads the rows.
    pub(crate) fn open(rows: Rows) -> Result<Self, RaftStorageError> {
        let mut state = State::default();
        let mut applied = Applied::default();
        if let Some(meta) = get::<MetaRow<Applied>>(&rows, META)? {
            if meta.version != FORMAT {
                return Err(read_error(any(&NewerFormat(meta.version))));
            }
            state.identity = meta.identity;
            state.counters = meta.counters;
            applied = meta.applied;
        }
        for (_, row) in scan_all(&rows, VOLUME)? {
            let v: VolumeState = serde_json::from_slice(&row).map_err(|e| read_error(any(&e)))?;
            state.volumes.insert(v.vid, v);
        }
        for (key, row) in scan_all(&rows, COLLECTION)? {
            let c: CollectionState =
                serde_json::from_slice(&row).map_err(|e| read_error(any(&e)))?;
            let name = key.get(COLLECTION.len()..).unwrap_or_default();
            state
                .collections
                .insert(String::from_utf8_lossy(name).into_owned(), c);
        }
        Ok(Self {
            rows,
            state: Arc::new(RwLock::new(state)),
            applied,
        })
    }

    /// What readers look at.
    pub(crate) fn state(&self) -> Arc<RwLock<State>> {
        Arc::clone(&self.state)
    }

    async fn write(&self, batch: Batch) -> Result<(), RaftStorageError> {
        self.rows
            .write(batch)
            .await
            .map_err(|e| write_error(any(&e)))
    }
}

/// All rows under a prefix that ends with `/`.
fn scan_all(rows: &Rows, prefix: &[u8]) -> Result<Vec<(Vec<u8>, bytes::Bytes)>, RaftStorageError> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    let mut from = prefix.to_vec();
    let mut all = Vec::new();
    loop {
        let page = rows
            .scan(&from, &end, 1024)
            .map_err(|e| read_error(any(&e)))?;
        let Some((last, _)) = page.last() else {
            return Ok(all);
        };
        from = [last, &[0][..]].concat();
        all.extend(page.into_iter().map(|(k, row)| (k.to_vec(), row.value)));
    }
}

fn volume_key(vid: u32) -> Vec<u8> {
    [VOLUME, &vid.to_be_bytes()].concat()
}

fn collection_key(name: &str) -> Vec<u8> {
    [COLLECTION, name.as_bytes()].concat()
}

/// The batch that makes the rows equal `state` where it is dirty.
fn rows(
    state: &State,
    applied: &Applied,
    dirty: &BTreeSet<Dirty>,
    mut batch: Batch,
) -> Result<Batch, RaftStorageError> {
    for row in dirty {
        batch = match row {
            Dirty::Volume(vid) => match state.volumes.get(vid) {
                Some(v) => batch.put(volume_key(*vid), encode(v)?),
                None => batch.delete(volume_key(*vid)),
            },
            Dirty::Collection(name) => match state.collections.get(name) {
                Some(c) => batch.put(collection_key(name), encode(c)?),
                None => batch.delete(collection_key(name)),
            },
        };
    }
    let meta = MetaRow {
        version: FORMAT,
        applied: applied.clone(),
        identity: state.identity.clone(),
        counters: state.counters.clone(),
    };
    Ok(batch.put(META, encode(&meta)?))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Frozen;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), RaftStorageError> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut outcomes = Vec::new();
        let mut dirty = BTreeSet::new();
        let batch = {
            let mut state = self.state.write();
            for entry in entries {
                self.applied.last = Some(entry.log_id);
                let outcome = match entry.payload {
                    EntryPayload::Blank => Outcome::Nothing,
                    EntryPayload::Membership(m) => {
                        self.applied.membership = Membership::new(Some(entry.log_id), m);
                        Outcome::Nothing
                    }
                    EntryPayload::Normal(command) => {
                        let (outcome, changed) = apply(&mut state, command);
                        dirty.extend(changed);
                        outcome
                    }
                };
                outcomes.push(outcome);
            }
            rows(&state, &self.applied, &dirty, Batch::default())?
        };
        self.write(batch).await?;
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Frozen {
        let state = self.state.read().clone();
        Frozen {
            rows: self.rows.clone(),
            state,
            applied: self.applied.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, RaftStorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<NodeId, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), RaftStorageError> {
        let data = snapshot.into_inner();
        let state: State = serde_json::from_slice(&data).map_err(|e| read_error(any(&e)))?;
        let applied = Applied {
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        let mut dirty: BTreeSet<Dirty> = state.volumes.keys().map(|v| Dirty::Volume(*v)).collect();
        dirty.extend(
            state
                .collections
                .keys()
                .map(|c| Dirty::Collection(c.clone())),
        );
        let mut batch = Batch::default();
        batch
            .ops
            .push(Op::DeleteRange(b"state/"[..].into(), STATE_END.into()));
        let batch = rows(&state, &applied, &dirty, batch)?;
        let batch = batch
            .put(SNAPSHOT_META, encode(meta)?)
            .put(SNAPSHOT_DATA, data);
        self.write(batch).await?;
        *self.state.write() = state;
        self.applied = applied;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<TypeConfig>>, RaftStorageError> {
        let Some(meta) = get::<SnapshotMeta<NodeId, BasicNode>>(&self.rows, SNAPSHOT_META)? else {
            return Ok(None);
        };
        let row = self
            .rows
            .get(SNAPSHOT_DATA)
            .map_err(|e| read_error(any(&e)))?;
        Ok(row.map(|r| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(r.value.to_vec())),
        }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Frozen {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, RaftStorageError> {
        let data = encode(&self.state)?;
        let snapshot_id = self.applied.last.map_or_else(
            || "0".to_owned(),
            |l| format!("{}-{}", l.leader_id, l.index),
        );
        let meta = SnapshotMeta {
            last_log_id: self.applied.last,
            last_membership: self.applied.membership.clone(),
            snapshot_id,
        };
        let batch = Batch::default()
            .put(SNAPSHOT_META, encode(&meta)?)
            .put(SNAPSHOT_DATA, data.clone());
        self.rows
            .write(batch)
            .await
            .map_err(|e| write_error(any(&e)))?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(data)),
        })
    }
}
