//! The store in memory: for tests, and the model that RocksDB is compared with. Nothing is durable.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_types::Uuid;
use parking_lot::RwLock;

use crate::kv::{Batch, Check, KvStore, Op, Row, StoreError};

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Bytes, Row>,
    revision: u64,
}

/// An ordered map behind a lock.
#[derive(Debug)]
pub struct MemStore {
    state: RwLock<State>,
    uuid: Uuid,
}

impl MemStore {
    /// Empty.
    pub fn new(uuid: Uuid) -> Self {
        Self {
            state: RwLock::new(State::default()),
            uuid,
        }
    }

    fn apply(&self, batch: Batch) -> Result<u64, StoreError> {
        let mut state = self.state.write();
        if let Some(i) = batch.checks.iter().position(|c| !state.holds(c)) {
            return Err(StoreError::CheckFailed(i));
        }
        state.revision += 1;
        let revision = state.revision;
        for op in batch.ops {
            match op {
                Op::Put(key, value) => {
                    state.rows.insert(key, Row { value, revision });
                }
                Op::Delete(key) => {
                    state.rows.remove(&key);
                }
                Op::DeleteRange(from, to) => {
                    let gone: Vec<Bytes> =
                        state.range(&from, &to).map(|(k, _)| k.clone()).collect();
                    for key in gone {
                        state.rows.remove(&key);
                    }
                }
            }
        }
        Ok(revision)
    }
}

impl State {
    fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Row)> {
        let end = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to)
        };
        // An inverted range is empty; the map would panic on it.
        let start = if !to.is_empty() && from >= to {
            to
        } else {
            from
        };
        self.rows.range::<[u8], _>((Bound::Included(start), end))
    }

    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Absent(key) => !self.rows.contains_key(key),
            Check::Exists(key) => self.rows.contains_key(key),
            Check::At(key, revision) => self.rows.get(key).is_some_and(|r| r.revision == *revision),
            Check::RangeEmpty(from, to) => self.range(from, to).next().is_none(),
        }
    }
}

#[async_trait]
impl KvStore for MemStore {
    fn store_uuid(&self) -> Uuid {
        self.uuid
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.state.read().rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError> {
        let state = self.state.read();
        let page = state.range(from, to).take(limit);
        Ok(page.map(|(k, r)| (k.clone(), r.clone())).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        self.apply(batch)
    }

    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<u64, StoreError>> {
        batches.into_iter().map(|b| self.apply(b)).collect()
    }
}
