//! What runs by itself. Each collector is a method that does one round, so that tests can drive it, and a task that
//! calls it at intervals of the filer's clock until the filer stops.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::service::Filer;

/// Starts the tasks.
pub(crate) fn start(_filer: &Arc<Filer>) -> Vec<JoinHandle<()>> {
    Vec::new()
}
