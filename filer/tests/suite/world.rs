//! A filer on a store, with a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{CommitObject, Committed, FilerApi, NewBucket, Precondition};
use halofs_client::volume::NeedleOwner;
use halofs_filer::{Deps, Filer, FilerConfig};
use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{OsRng, RealDisk, Rng};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_store::rocks::{RocksConfig, RocksDeps, RocksStore};
use halofs_store::{KvStore, MemStore};
use halofs_types::object::{Bucket, ChunkRef, Object, Owner, SystemHeaders};
use halofs_types::{AttemptId, Cookie, FileId, LeaseId, NeedleKey, Timestamp, Uuid, VolumeId};

use crate::fake::FakeVolumes;

/// A commit that is never late.
pub(crate) const NOW: Timestamp = Timestamp(u64::MAX);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) filer: Arc<Filer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) volumes: Arc<FakeVolumes>,
    pub(crate) store: Arc<dyn KvStore>,
    pub(crate) config: FilerConfig,
    next_key: AtomicU64,
    _dir: Option<tempfile::TempDir>,
}

/// Intervals beyond every test, so that only the test runs the collectors.
fn config() -> FilerConfig {
    let never = Duration::from_secs(1 << 40);
    FilerConfig {
        gc_every: never,
        lease_every: never,
        done_every: never,
        upload_every: never,
        orphan_every: None,
        orphan_rest: Duration::ZERO,
        clock_every: never,
        ..FilerConfig::default()
    }
}

pub(crate) fn rocks(path: &std::path::Path) -> Arc<RocksStore> {
    let deps = RocksDeps {
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
        disk: Arc::new(RealDisk),
        rng: Arc::new(OsRng),
    };
    RocksStore::open(RocksConfig::new(path, Uuid([7; 16])), deps).unwrap()
}

impl World {
    /// One on each store.
    pub(crate) async fn both() -> [Self; 2] {
        let dir = tempfile::tempdir().unwrap();
        let on_rocks = rocks(dir.path());
        [
            Self::on(Arc::new(MemStore::new(Uuid([1; 16]))), None).await,
            Self::on(on_rocks, Some(dir)).await,
        ]
    }

    pub(crate) async fn in_memory() -> Self {
        Self::on(Arc::new(MemStore::new(Uuid([1; 16]))), None).await
    }

    pub(crate) async fn on(store: Arc<dyn KvStore>, dir: Option<tempfile::TempDir>) -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
        let volumes = Arc::new(FakeVolumes::default());
        let config = config();
        let filer = open(&config, &clock, &store, &volumes).await;
        Self {
            filer,
            clock,
            volumes,
            store,
            config,
            next_key: AtomicU64::new(1),
            _dir: dir,
        }
    }

    /// Another incarnation of the filer on the same store.
    pub(crate) async fn restart(&mut self) {
        self.filer.stop().await;
        self.filer = open(&self.config, &self.clock, &self.store, &self.volumes).await;
    }

    /// The filer stops, time passes, another incarnation starts.
    pub(crate) async fn stop_for(&mut self, d: Duration) {
        self.filer.stop().await;
        self.clock.advance(d);
        self.filer = open(&self.config, &self.clock, &self.store, &self.volumes).await;
    }

    /// Another incarnation, and the one before had no time for anything.
    pub(crate) async fn kill(&mut self) {
        self.filer = open(&self.config, &self.clock, &self.store, &self.volumes).await;
    }

    /// Another incarnation on another store, over the same volumes.
    pub(crate) async fn replace_store(&mut self, store: Arc<dyn KvStore>) {
        self.filer.stop().await;
        self.store = store;
        self.filer = open(&self.config, &self.clock, &self.store, &self.volumes).await;
    }

    pub(crate) async fn bucket(&self, name: &str) -> Bucket {
        let owner = Owner {
            id: "me".to_owned(),
            display_name: "Me".to_owned(),
        };
        self.filer
            .create_bucket(NewBucket {
                name: name.to_owned(),
                owner,
                region: String::new(),
            })
            .await
            .unwrap()
    }

    pub(crate) fn fid(&self) -> FileId {
        let key = NeedleKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        FileId {
            volume: VolumeId(1),
            key,
            cookie: Cookie(9),
        }
    }

    pub(crate) async fn lease(&self, count: u64) -> (LeaseId, FileId) {
        let key = NeedleKey(self.next_key.fetch_add(count, Ordering::Relaxed));
        let first = FileId {
            volume: VolumeId(1),
            key,
            cookie: Cookie(9),
        };
        (self.filer.open_lease(first, count).await.unwrap(), first)
    }

    /// Writes a needle as the gateway would.
    pub(crate) fn needle(&self, fid: FileId, bucket: &Bucket, key: &[u8], part: u32) -> ChunkRef {
        let owner = NeedleOwner {
            store: self.store.store_uuid(),
            bucket: bucket.id,
            key: Bytes::copy_from_slice(key),
            attempt: AttemptId::default(),
            part,
            chunk: 0,
        };
        self.volumes.add(fid, owner);
        ChunkRef {
            fid,
            len: 5,
            commit: [3; 16],
        }
    }

    pub(crate) async fn put_if(
        &self,
        bucket: &Bucket,
        key: &[u8],
        etag: &str,
        precondition: Precondition,
    ) -> Result<Committed, FilerError> {
        let chunk = self.needle(self.fid(), bucket, key, 0);
        self.filer
            .commit_object(commit(bucket, key, object(etag, vec![chunk]), precondition))
            .await
    }

    pub(crate) async fn put(&self, bucket: &Bucket, key: &[u8], etag: &str) -> Committed {
        self.put_if(bucket, key, etag, Precondition::None)
            .await
            .unwrap()
    }

    pub(crate) async fn etag(&self, bucket: &Bucket, key: &[u8]) -> Option<String> {
        self.filer
            .lookup(bucket.id, key)
            .await
            .unwrap()
            .map(|f| f.object.etag)
    }
}

async fn open(
    config: &FilerConfig,
    clock: &Arc<ManualClock>,
    store: &Arc<dyn KvStore>,
    volumes: &Arc<FakeVolumes>,
) -> Arc<Filer> {
    let deps = Deps {
        clock: Arc::new(SharedManualClock(Arc::clone(clock))),
        rng: Arc::new(OsRng),
        store: Arc::clone(store),
        volumes: Arc::clone(volumes) as _,
    };
    Filer::open(config.clone(), deps).await.unwrap()
}

pub(crate) fn attempt() -> AttemptId {
    AttemptId(OsRng.id16())
}

pub(crate) fn object(etag: &str, chunks: Vec<ChunkRef>) -> Object {
    Object {
        size: chunks.iter().map(|c| u64::from(c.len)).sum(),
        etag: etag.to_owned(),
        crc64nvme: SeededRng::new(4).u64(),
        checksum: None,
        modified: Timestamp(0),
        headers: SystemHeaders {
            content_type: Some("text/plain".to_owned()),
            ..SystemHeaders::default()
        },
        user_metadata: vec![("a".to_owned(), "b".to_owned())],
        storage_class: "STANDARD".to_owned(),
        chunks,
        parts: Vec::new(),
        attempt: attempt(),
    }
}

pub(crate) fn commit(
    bucket: &Bucket,
    key: &[u8],
    object: Object,
    precondition: Precondition,
) -> CommitObject {
    let key = Bytes::copy_from_slice(key);
    CommitObject {
        bucket: bucket.clone(),
        key,
        object,
        precondition,
        leases: Vec::new(),
        sent: NOW,
    }
}
