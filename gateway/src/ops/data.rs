//! The data path's handles: fid leases, the chunk writer and the chunk reader of the client crate.

use crate::config::GatewayConfig;
use crate::gateway::Deps;

/// What puts and gets go through.
pub(crate) struct DataPath {}

impl DataPath {
    /// Handles over the three services.
    pub(crate) fn new(_config: &GatewayConfig, _deps: &Deps) -> Self {
        Self {}
    }

    /// Closes what is open.
    #[expect(clippy::unused_async, reason = "closing leases waits for the filer")]
    pub(crate) async fn stop(&self) {}
}
