//! Everything that a request of the S3 face needs, in one place.

use std::sync::Arc;

use arc_swap::ArcSwap;
use halofs_client::filer::FilerApi;
use halofs_client::master::MasterApi;
use halofs_client::volume::VolumeApi;
use halofs_runtime::admission::Admission;
use halofs_runtime::metrics::Registry;
use halofs_runtime::{Clock, Rng};

use crate::auth::credentials::{IdentityError, IdentitySource};
use crate::auth::identity::Identities;
use crate::config::GatewayConfig;
use crate::ops::data::DataPath;

/// What the wiring passes in.
#[derive(Clone)]
pub struct Deps {
    /// Names.
    pub filer: Arc<dyn FilerApi>,
    /// Ids.
    pub master: Arc<dyn MasterApi>,
    /// Bytes.
    pub volume: Arc<dyn VolumeApi>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Byte permits of the process: every port that reads or sends bodies takes from the same.
    pub admission: Admission,
    /// What `/-/metrics` shows.
    pub registry: Arc<Registry>,
}

/// The S3 gateway.
pub struct Gateway {
    /// Names.
    pub(crate) filer: Arc<dyn FilerApi>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) rng: Arc<dyn Rng>,
    /// Byte permits: taken before a body is read.
    pub(crate) admission: Admission,
    /// Settings.
    pub(crate) config: GatewayConfig,
    /// What `/-/metrics` shows.
    pub(crate) registry: Arc<Registry>,
    /// Where identities come from.
    source: IdentitySource,
    /// Who may do what; swapped whole on reload.
    pub(crate) identities: ArcSwap<Identities>,
    /// Leases, chunk writer and chunk reader.
    pub(crate) data: DataPath,
}

impl Gateway {
    /// A gateway that answers for the identities of `source`. The first start makes the credentials file here.
    pub fn new(
        config: GatewayConfig,
        source: IdentitySource,
        deps: Deps,
    ) -> Result<Arc<Self>, IdentityError> {
        let identities = ArcSwap::from_pointee(source.load()?);
        let data = DataPath::new(&config, &deps);
        let Deps {
            filer,
            master: _,
            volume: _,
            clock,
            rng,
            admission,
            registry,
        } = deps;
        Ok(Arc::new(Self {
            filer,
            clock,
            rng,
            admission,
            config,
            registry,
            source,
            identities,
            data,
        }))
    }

    /// Reads the identities anew (SIGHUP). A broken file is an error, and the old identities stay.
    pub fn reload(&self) -> Result<(), IdentityError> {
        self.identities.store(Arc::new(self.source.reload()?));
        Ok(())
    }

    /// Drains what runs in the background: open leases are closed.
    pub async fn stop(&self) {
        self.data.stop().await;
    }
}
