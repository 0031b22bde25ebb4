//! Servers of this process: main asks them for their reports instead of waiting to be told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use halofs_client::MasterError;
use halofs_client::volume::VolumeApi;

use super::Master;

/// Between two reports (`architecture.md` §5).
const PULSE: Duration = Duration::from_millis(400);
/// A volume that refused to be led is not asked again for so long: every try is a command in the log.
const LEAD_PAUSE: Duration = Duration::from_secs(30);

impl Master {
    /// Takes a server of this process into the cluster under a stable id: opens epochs for its volumes, has them led,
    /// and keeps asking for its report until [`Master::stop`].
    pub async fn attach(
        self: &Arc<Self>,
        id: &str,
        api: Arc<dyn VolumeApi>,
    ) -> Result<(), MasterError> {
        self.nodes.write().insert(id.to_owned(), Arc::clone(&api));
        self.pulse(id, &*api).await?;
        self.tasks
            .spawn(Arc::clone(self).keep_pulsing(id.to_owned(), api));
        Ok(())
    }

    async fn keep_pulsing(self: Arc<Self>, id: String, api: Arc<dyn VolumeApi>) {
        let mut said = String::new();
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.deps.clock.sleep(PULSE) => {}
            }
            match self.pulse(&id, &*api).await {
                Ok(()) => said.clear(),
                // Once, not at every pulse.
                Err(error) if error.to_string() == said => {}
                Err(error) => {
                    tracing::error!(%error, node = %id, "nothing could be decided upon a report");
                    said = error.to_string();
                }
            }
        }
    }

    /// One report, and the leads that follow from it. One at a time: an older report never replaces a newer one.
    pub(super) async fn pulse(&self, id: &str, api: &dyn VolumeApi) -> Result<(), MasterError> {
        let _one = self.pulsing.lock().await;
        let now = self.deps.clock.monotonic_ns();
        let mut rest: BTreeSet<u32> = {
            let mut resting = self.resting.lock();
            resting.retain(|_, until| *until > now);
            resting.keys().copied().collect()
        };
        let reply = self.observe(id, api.node_report().await, &rest).await?;
        api.apply_reply(&reply);
        if reply.lead.is_empty() {
            return Ok(());
        }
        let pause = u64::try_from(LEAD_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        for (volume, epoch) in &reply.lead {
            rest.insert(volume.0);
            if let Err(error) = api.lead(*volume, *epoch).await {
                tracing::warn!(%error, %volume, epoch, "a volume is not led");
                self.resting
                    .lock()
                    .insert(volume.0, now.saturating_add(pause));
            }
        }
        let reply = self.observe(id, api.node_report().await, &rest).await?;
        api.apply_reply(&reply);
        Ok(())
    }
}
