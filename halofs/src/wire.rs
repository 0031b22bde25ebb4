//! Build and start order of `halofs server`, in one screen, and the reverse at its stop.
//!
//! | module | what it holds |
//! |---|---|
//! | [`listen`] | which addresses may be bound, and their sockets |
//! | [`address`] | the address of this machine that others are told when every address is bound |
//! | [`observe`] | metrics of volumes and filer, space pressure |
//! | [`filer_port`] | the filer's port: health and metrics until its API is built |
//!
//! Start: settings that name files → lock → sockets → keys → main (its own leader at once), the volumes' mount and the
//! filer's store, side by side → epochs from main → filer → gateway → listeners. The sockets are bound before anything is
//! made or opened, so that a taken port is said at once, and accept only at the end. Stop: listeners drain, then gateway,
//! filer and its store, main and its store, volumes, each before what it uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use halofs_client::filer::FilerApi;
use halofs_client::master::{MasterApi, VolumeOwner};
use halofs_client::volume::VolumeApi;
use halofs_filer::{Filer, FilerConfig};
use halofs_gateway::auth::credentials::IdentitySource;
use halofs_gateway::{Gateway, GatewayConfig};
use halofs_master::topology::state::ClusterIdentity;
use halofs_master::{Master, MasterConfig};
use halofs_runtime::admission::Admission;
use halofs_runtime::http::{Handler, ServeOptions, serve};
use halofs_runtime::metrics::{PortMetrics, Registry};
use halofs_runtime::tls::Certificate;
use halofs_runtime::{Clock, Disk, OsRng, RealClock, RealDisk, Rng};
use halofs_store::rocks::RocksDeps;
use halofs_store::{KvStore, RocksConfig, RocksStore};
use halofs_types::Placement;
use halofs_types::limits::{ADMISSION_WAIT_SECS, ORPHAN_SCAN_SECS};
use halofs_volume::server::{NativeConfig, NativeVolume};
use halofs_volume::{VolumeConfig, VolumeServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::ServerArgs;
use crate::genesis::{self, Home};

mod address;
pub(crate) mod filer_port;
mod folder;
pub(crate) mod listen;
mod observe;

use filer_port::FilerPort;
use listen::Listeners;

/// Requests that run when the stop signal comes may finish in this time; the rest of the 10 s is for the services.
const DRAIN: Duration = Duration::from_secs(6);

/// What everything of this process is given.
#[derive(Clone)]
struct World {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    disk: Arc<dyn Disk>,
    registry: Arc<Registry>,
}

/// The stores under main and filer; whoever opened them stops them, after their users.
struct Stores {
    main: Arc<dyn KvStore>,
    filer: Arc<dyn KvStore>,
}

/// A running server.
pub(crate) struct Server {
    world: World,
    pub(crate) home: Home,
    pub(crate) listeners: listen::Addresses,
    pub(crate) identities: IdentitySource,
    /// The credentials file was gone, and this start made another.
    pub(crate) new_credentials: bool,
    certificate: Option<Arc<Certificate>>,
    master: Arc<Master>,
    volume: Arc<VolumeServer>,
    filer: Arc<Filer>,
    gateway: Arc<Gateway>,
    admission: Admission,
    stores: Stores,
    stop: CancellationToken,
    ports: TaskTracker,
}

impl Server {
    /// Starts everything; returns when every port answers.
    pub(crate) async fn start(args: &ServerArgs, main_port_given: bool) -> anyhow::Result<Self> {
        let world = World {
            clock: Arc::new(RealClock),
            rng: Arc::new(OsRng),
            disk: Arc::new(RealDisk),
            registry: Registry::new(),
        };
        let identities = checked_identities(&world, args)?;
        let certificate = match (&args.s3_cert, &args.s3_key) {
            (Some(cert), Some(key)) => Some(Certificate::load(&*world.disk, cert, key)?),
            _ => None,
        };
        listen::allowed(args)?;
        let lock = genesis::lock(&*world.disk, &args.dir)?;
        let bound = Listeners::bind(args, main_port_given)?;
        let key_file = args.key_file.as_deref();
        let home = genesis::open(&*world.disk, &*world.rng, &args.dir, key_file, lock)?;
        let new_credentials = new_credentials(&world, &home, &identities)?;
        folder::check(&*world.disk, &args.dir)?;
        let (master, volume, stores) = open_services(&world, &home, &bound.at, args).await?;
        let node = folder::remember(&*world.disk, &args.dir)?;
        master
            .attach(&node, Arc::clone(&volume) as Arc<dyn VolumeApi>)
            .await?;
        folder::name_missing(&master.view());
        let filer = open_filer(&world, &stores.filer, &volume, args).await?;
        // One budget for the bytes that all ports hold.
        let wait = Duration::from_secs(ADMISSION_WAIT_SECS);
        let admission = Admission::new(args.bytes_in_flight(), wait);
        let gateway = Gateway::new(
            gateway_config(args),
            identities.clone(),
            halofs_gateway::Deps {
                filer: Arc::clone(&filer) as Arc<dyn FilerApi>,
                master: Arc::clone(&master) as Arc<dyn MasterApi>,
                volume: Arc::clone(&volume) as Arc<dyn VolumeApi>,
                clock: Arc::clone(&world.clock),
                rng: Arc::clone(&world.rng),
                admission: admission.clone(),
                registry: Arc::clone(&world.registry),
            },
        )?;
        let (stop, ports) = (CancellationToken::new(), TaskTracker::new());
        let listeners = bound.at.clone();
        let server = Self {
            world,
            home,
            listeners,
            identities,
            new_credentials,
            certificate,
            master,
            volume,
            filer,
            gateway,
            admission,
            stores,
            stop,
            ports,
        };
        server.listen(bound, args)?;
        Ok(server)
    }

    fn listen(&self, bound: Listeners, args: &ServerArgs) -> anyhow::Result<()> {
        let registry = &self.world.registry;
        halofs_master::server::metrics::register(&self.master, registry);
        observe::register(registry, &self.master, &self.volume, &self.filer);
        let volume = NativeVolume::new(
            Arc::clone(&self.volume) as Arc<dyn VolumeApi>,
            native_config(args),
            self.admission.clone(),
            Arc::clone(registry),
            self.stop.clone(),
        );
        let volume: Arc<dyn Handler> = Arc::new(volume);
        let main = halofs_master::server::NativeMain::new(
            Arc::clone(&self.master),
            Arc::clone(registry),
            Some(Arc::clone(&volume)),
        );
        let filer = FilerPort::new(Arc::clone(registry));
        let tls = self
            .certificate
            .as_ref()
            .map(Certificate::server_config)
            .transpose()?;
        self.serve("master", bound.main, Arc::new(main), None, args);
        self.serve("volumeServer", vec![bound.volume], volume, None, args);
        self.serve("filer", vec![bound.filer], Arc::new(filer), None, args);
        self.serve(
            "s3",
            vec![bound.s3],
            Arc::new(self.gateway.handler()),
            tls,
            args,
        );
        let (clock, stop) = (Arc::clone(&self.world.clock), self.stop.clone());
        self.ports.spawn(observe::watch_space(
            clock,
            Arc::clone(&self.master),
            Arc::clone(&self.filer),
            stop,
        ));
        self.ports.close();
        Ok(())
    }

    fn serve(
        &self,
        name: &'static str,
        sockets: Vec<TcpListener>,
        handler: Arc<dyn Handler>,
        tls: Option<Arc<rustls::ServerConfig>>,
        args: &ServerArgs,
    ) {
        let metrics = PortMetrics::new(name);
        self.world
            .registry
            .register(Arc::clone(&metrics) as Arc<dyn halofs_runtime::metrics::Collect>);
        let mut options = ServeOptions::new(
            metrics,
            Arc::clone(&self.world.clock),
            Arc::clone(&self.world.rng),
        );
        options.tls = tls;
        options.connections_max = usize::try_from(args.connections).unwrap_or(usize::MAX);
        options.timeouts.drain = DRAIN;
        self.ports
            .spawn(serve(sockets, handler, options, self.stop.clone()));
    }

    /// Reads identities and certificate again; what is broken is said and the old one stays.
    pub(crate) fn reload(&self) {
        match self.gateway.reload() {
            Ok(()) => tracing::info!("identities were read again"),
            Err(error) => {
                tracing::error!(%error, "identities were not read again; the old ones stay");
            }
        }
        if let Some(certificate) = &self.certificate {
            match certificate.reload(&*self.world.disk) {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => {
                    tracing::error!(%error, "the certificate was not read again; the old one stays");
                }
            }
        }
    }

    /// Drains and stops everything.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ports.wait().await;
        self.gateway.stop().await;
        self.filer.stop().await;
        self.stores.filer.stop().await;
        self.master.stop().await;
        self.stores.main.stop().await;
        self.volume.stop().await;
    }
}

/// Main, the volumes and the stores. Each recovers from its own files only, so that after a crash they do it side by
/// side. Where one of them is missing they go one after the other instead: main first, which knows whether there are
/// volumes, and the filer's rows last, when the volumes can say whether any are missed.
async fn open_services(
    world: &World,
    home: &Home,
    at: &listen::Addresses,
    args: &ServerArgs,
) -> anyhow::Result<(Arc<Master>, Arc<VolumeServer>, Stores)> {
    let mut whole = true;
    for file in ["main/CURRENT", "filer/CURRENT", "volumes.uuid"] {
        whole &= world.disk.exists(&args.dir.join(file))?;
    }
    if whole {
        let ((master, main), volume, filer) = tokio::try_join!(
            open_main(world, home, at, args),
            open_volumes(world, home, at, args),
            open_filer_store(world, home, args),
        )?;
        return Ok((master, volume, Stores { main, filer }));
    }
    let (master, main) = open_main(world, home, at, args).await?;
    folder::check_against(&*world.disk, &args.dir, master.view().volumes.len())?;
    let volume = open_volumes(world, home, at, args).await?;
    let path = args.dir.join("filer");
    // A new store beside old volumes would answer that every object is gone.
    if !world.disk.exists(&path.join("CURRENT"))? {
        let report = volume.node_report().await;
        anyhow::ensure!(
            report.volumes.iter().all(|v| v.owner != VolumeOwner::Filer),
            "{} is missing or empty although volumes of the filer exist; restore it from a backup. Nothing was changed",
            path.display()
        );
    }
    let filer = open_filer_store(world, home, args).await?;
    Ok((master, volume, Stores { main, filer }))
}

async fn store(
    world: &World,
    home: &Home,
    path: &Path,
    shape: impl FnOnce(&mut RocksConfig),
) -> anyhow::Result<Arc<dyn KvStore>> {
    let mut config = RocksConfig::new(path, home.cluster);
    shape(&mut config);
    let deps = RocksDeps {
        keys: Arc::clone(&home.keys),
        disk: Arc::clone(&world.disk),
        rng: Arc::clone(&world.rng),
    };
    let opened = tokio::task::spawn_blocking(move || RocksStore::open(config, deps)).await?;
    Ok(opened?)
}

async fn open_main(
    world: &World,
    home: &Home,
    at: &listen::Addresses,
    args: &ServerArgs,
) -> anyhow::Result<(Arc<Master>, Arc<dyn KvStore>)> {
    // A few rows: small buffers. Its writes are rare and always synced.
    let store = store(world, home, &args.dir.join("main"), |c| {
        c.write_buffer_bytes = 2 << 20;
        c.block_cache_bytes = 1 << 20;
    })
    .await?;
    let kek = home.keys.kek_id().to_owned();
    let config = MasterConfig {
        // The id is itself derived from the root key, so it is also what checks the key.
        identity: ClusterIdentity {
            cluster: home.cluster,
            kek_id: kek.clone(),
            kek_check: kek,
        },
        genesis: !genesis::has_volumes(&*world.disk, &args.dir)?,
        url: at.main.clone(),
        default_placement: Placement::default(),
        volume_size_limit: args.volume_size_mb.saturating_mul(1 << 20),
        fsync: args.fsync,
    };
    let deps = halofs_master::Deps {
        clock: Arc::clone(&world.clock),
        rng: Arc::clone(&world.rng),
        store: Arc::clone(&store),
    };
    let master = Master::open(config, deps)
        .await
        .context("main does not start")?;
    Ok((master, store))
}

async fn open_volumes(
    world: &World,
    home: &Home,
    at: &listen::Addresses,
    args: &ServerArgs,
) -> anyhow::Result<Arc<VolumeServer>> {
    let mut config = VolumeConfig::new(args.dir.join("volumes"));
    config.url.clone_from(&at.volume);
    config.public_url.clone_from(&at.volume_public);
    config.data_center.clone_from(&args.data_center);
    config.rack.clone_from(&args.rack);
    config.disk_type.clone_from(&args.disk);
    config.max_volumes = args.volume_max;
    config.fsync = args.fsync;
    config.volume_size_limit = args.volume_size_mb.saturating_mul(1 << 20);
    config.soft_free = args.soft_free(world.disk.space(&args.dir)?.total)?;
    let deps = halofs_volume::Deps {
        clock: Arc::clone(&world.clock),
        rng: Arc::clone(&world.rng),
        disk: Arc::clone(&world.disk),
        keys: Arc::clone(&home.keys),
        cluster: home.cluster,
    };
    let opened = tokio::task::spawn_blocking(move || VolumeServer::open(config, deps)).await?;
    opened.context("the volumes are not mounted")
}

async fn open_filer_store(
    world: &World,
    home: &Home,
    args: &ServerArgs,
) -> anyhow::Result<Arc<dyn KvStore>> {
    store(world, home, &args.dir.join("filer"), |c| {
        c.fsync = args.fsync;
    })
    .await
}

async fn open_filer(
    world: &World,
    store: &Arc<dyn KvStore>,
    volume: &Arc<VolumeServer>,
    args: &ServerArgs,
) -> anyhow::Result<Arc<Filer>> {
    let day = 24 * 3600;
    let config = FilerConfig {
        upload_life: Some(Duration::from_secs(
            u64::from(args.upload_expiry_days) * day,
        )),
        orphan_every: args
            .orphan_scan
            .then(|| Duration::from_secs(ORPHAN_SCAN_SECS)),
        rows_confirmed: args.confirm_restore,
        rows_may_lag: !args.fsync,
        ..FilerConfig::default()
    };
    let deps = halofs_filer::Deps {
        clock: Arc::clone(&world.clock),
        rng: Arc::clone(&world.rng),
        store: Arc::clone(store),
        volumes: Arc::clone(volume) as Arc<dyn VolumeApi>,
    };
    Filer::open(config, deps)
        .await
        .context("the filer does not start")
}

fn gateway_config(args: &ServerArgs) -> GatewayConfig {
    let domains = args.s3_domain.split(',').filter(|d| !d.is_empty());
    GatewayConfig {
        domain_names: domains.map(str::to_owned).collect(),
        region: args.s3_region.clone(),
        ..GatewayConfig::default()
    }
}

fn native_config(args: &ServerArgs) -> NativeConfig {
    NativeConfig {
        file_bytes_max: args.file_size_mb.saturating_mul(1 << 20),
        dir: args.dir.join("volumes").display().to_string(),
        read_only: false,
    }
}

/// Where identities come from. What is wrong with those that were given is said before anything is opened; a
/// credentials file of our own is read, and made, by the gateway.
fn checked_identities(world: &World, args: &ServerArgs) -> anyhow::Result<IdentitySource> {
    let identities = identity_source(world, args);
    if identities.credentials_in_use().is_none() {
        identities.load()?;
    }
    if let Some(path) = &args.s3_config {
        let (mode, _) = world.disk.mode_owner(path)?;
        if mode & 0o077 != 0 {
            let shown = path.display();
            tracing::warn!("others can read the secrets in {shown}: run chmod 600 {shown}");
        }
    }
    Ok(identities)
}

/// Whether this start will make credentials although it is not the first.
fn new_credentials(
    world: &World,
    home: &Home,
    identities: &IdentitySource,
) -> anyhow::Result<bool> {
    let Some(path) = identities.credentials_in_use().filter(|_| !home.first) else {
        return Ok(false);
    };
    let gone = !world.disk.exists(path)?;
    if gone {
        let shown = path.display();
        tracing::warn!(
            "{shown} is missing: new credentials are made, the old ones are no longer valid"
        );
    }
    Ok(gone)
}

fn identity_source(world: &World, args: &ServerArgs) -> IdentitySource {
    use halofs_gateway::auth::identity::Credential;
    use halofs_runtime::config::env;
    let keys = env("HALOFS_ACCESS_KEY").map(|access_key| Credential {
        access_key,
        secret_key: env("HALOFS_SECRET_KEY").unwrap_or_default(),
    });
    IdentitySource {
        disk: Arc::clone(&world.disk),
        rng: Arc::clone(&world.rng),
        keys,
        config_file: args.s3_config.clone(),
        credentials_file: args.dir.join("credentials"),
    }
}
