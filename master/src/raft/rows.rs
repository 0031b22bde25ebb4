//! The store as Raft sees it: a full disk makes it wait.
//!
//! To openraft an error of its storage is the end of the node. A full disk is not an end: it passes, and until then
//! reads and deletes must go on. So a write that the disk has no room for is tried again until it has, or until the
//! node stops; that is safe because Raft's batches carry no checks and say the same twice. Whoever sends a command
//! learns from [`Rows::full`] that it is not decided now, instead of waiting for the operator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use halofs_runtime::Clock;
use halofs_store::{Batch, KvStore, Row, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// A handle on the rows; clones share it.
#[derive(Clone)]
pub(crate) struct Rows {
    store: Arc<dyn KvStore>,
    clock: Arc<dyn Clock>,
    full: Arc<watch::Sender<bool>>,
    stop: CancellationToken,
}

impl Rows {
    pub(crate) fn new(
        store: Arc<dyn KvStore>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            clock,
            full: Arc::new(watch::Sender::new(false)),
            stop,
        }
    }

    /// Whether a write waits for space.
    pub(crate) fn full(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.store.get(key)
    }

    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, StoreError> {
        self.store.scan(from, to, limit)
    }

    /// Writes a batch, however long the disk is full. Main's rows are few, and nothing is deleted or found without
    /// them: they may use the space kept for deletes.
    pub(crate) async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let batch = batch.frees();
        loop {
            let error = match self.store.commit(batch.clone()).await {
                Ok(_) => {
                    if self.full.send_replace(false) {
                        tracing::info!("main's disk has space again");
                    }
                    return Ok(());
                }
                Err(e @ (StoreError::Full(_) | StoreError::Uncertain(_))) => e,
                Err(e) => return Err(e),
            };
            if !self.full.send_replace(true) {
                tracing::error!(%error, "main decides nothing new until its disk has space");
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(error),
                () = self.clock.sleep(RETRY) => {}
            }
        }
    }
}
