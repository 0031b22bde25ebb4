//! What a writer holds: every byte of a body is counted from where it is made to where it is freed, sealed ones too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_types::{AttemptId, BucketId, FileId, NeedleKey, Timestamp, VolumeId, limits};
use tokio::sync::Semaphore;

use crate::error::{DataError, VolumeError};
use crate::filer::FilerApi;
use crate::lease::{LeaseConfig, LeasePool};
use crate::master::{NodeReply, NodeReport, VolumeOwner};
use crate::memory::Memory;
use crate::volume::{
    CreateVolume, Deleted, ListedNeedle, NeedleReader, PutNeedle, Stored, VolumeApi,
};
use crate::writer::{ChunkStore, ChunkWriter, PUT_BYTES, WriteTarget};

const CHUNK: usize = limits::CHUNK_BYTES;
const MIB: usize = 1 << 20;
/// Bytes that the hasher may hold beside the chunks: a batch that fills and one that is hashed.
const HASHED_LATE: usize = 2 * MIB;

/// Bytes that are alive.
#[derive(Default)]
struct Held {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Held {
    fn take(self: &Arc<Self>, bytes: usize) -> Counted {
        let now = self.now.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.peak.fetch_max(now, Ordering::SeqCst);
        Counted(vec![7; bytes], Arc::clone(self))
    }

    fn piece(self: &Arc<Self>, bytes: usize) -> Bytes {
        Bytes::from_owner(self.take(bytes))
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }
}

struct Counted(Vec<u8>, Arc<Held>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

/// Seals as a volume does, piece by piece, and holds the sealed bytes until it is told to have written them.
struct Sealing {
    memory: Arc<Memory>,
    held: Arc<Held>,
    /// A permit a put.
    written: Semaphore,
    sealed: AtomicUsize,
    /// Errors of puts that were sealed.
    fail: AtomicUsize,
}

#[async_trait]
impl VolumeApi for Sealing {
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError> {
        if let Some(error) = self.memory.state.lock().refuse_puts.pop_front() {
            return Err(error);
        }
        let PutNeedle { fid, mut body, .. } = put;
        let size = body.len() as u64;
        let mut record = Vec::new();
        while let Some(piece) = body.pop() {
            record.push(self.held.take(piece.len()));
        }
        self.sealed.fetch_add(1, Ordering::SeqCst);
        let order = self.written.acquire().await;
        order.map_err(|_| VolumeError::Stopping)?.forget();
        if self.fail.load(Ordering::SeqCst) > 0 {
            self.fail.fetch_sub(1, Ordering::SeqCst);
            return Err(VolumeError::Fenced(fid.volume));
        }
        drop(record);
        Ok(Stored {
            commit: [1; 16],
            size,
            crc32c: 0,
            unchanged: false,
        })
    }

    async fn open_needle(
        &self,
        fid: FileId,
        commit: Option<[u8; 16]>,
        owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        self.memory.open_needle(fid, commit, owner).await
    }

    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        self.memory.delete_needles(fids, owner).await
    }

    async fn list_needles(
        &self,
        volume: VolumeId,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        self.memory.list_needles(volume, first, last, limit).await
    }

    async fn create_volume(&self, create: CreateVolume) -> Result<(), VolumeError> {
        self.memory.create_volume(create).await
    }

    async fn lead(&self, volume: VolumeId, epoch: u64) -> Result<(), VolumeError> {
        self.memory.lead(volume, epoch).await
    }

    async fn node_report(&self) -> NodeReport {
        self.memory.node_report().await
    }

    fn apply_reply(&self, reply: &NodeReply) {
        self.memory.apply_reply(reply);
    }
}

struct Rig {
    held: Arc<Held>,
    volume: Arc<Sealing>,
    store: ChunkStore,
}

fn rig() -> Rig {
    let (memory, held) = (Memory::new(), Arc::<Held>::default());
    let volume = Arc::new(Sealing {
        memory: Arc::clone(&memory),
        held: Arc::clone(&held),
        written: Semaphore::new(0),
        sealed: AtomicUsize::new(0),
        fail: AtomicUsize::new(0),
    });
    let clock = ManualClock::new(Timestamp::from_secs(1));
    let shared = Arc::new(SharedManualClock(clock));
    let config = LeaseConfig::default();
    let leases = LeasePool::new(memory.clone(), memory.clone(), shared, config);
    let store = ChunkStore::new(volume.clone(), leases, memory.store_uuid());
    Rig {
        held,
        volume,
        store,
    }
}

impl Rig {
    fn writer(&self) -> ChunkWriter {
        let target = WriteTarget {
            bucket: BucketId(1),
            key: Bytes::from_static(b"k"),
            attempt: AttemptId([3; 16]),
            part: 0,
        };
        ChunkWriter::new(&self.store, target, [])
    }

    /// Pushes `n` bytes as pieces of `piece`.
    async fn push(&self, w: &mut ChunkWriter, n: usize, piece: usize) {
        for _ in 0..n / piece {
            w.push(self.held.piece(piece)).await.unwrap();
        }
    }

    /// Waits until so many puts are sealed and wait to be written.
    async fn sealed(&self, n: usize) {
        let reached = async {
            while self.volume.sealed.load(Ordering::SeqCst) < n {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("the puts never came");
    }
}

#[tokio::test]
async fn one_body_holds_one_chunk_that_fills_and_one_that_is_stored() {
    let rig = rig();
    let mut w = rig.writer();
    let piece = 64 << 10;
    rig.push(&mut w, CHUNK + piece, piece).await;
    for n in 1..=4 {
        // The chunk before is sealed and not yet written while the next one fills to its last byte.
        rig.sealed(n).await;
        rig.push(&mut w, CHUNK - piece, piece).await;
        assert!(rig.held.now() >= 2 * CHUNK, "the test holds what it is for");
        rig.volume.written.add_permits(1);
        rig.push(&mut w, piece, piece).await;
    }
    rig.volume.written.add_permits(2);
    let written = w.finish().await.unwrap();
    assert_eq!((written.chunks.len(), rig.held.now()), (6, 0));
    let peak = rig.held.peak();
    assert!(peak <= 2 * CHUNK + HASHED_LATE + 2 * piece, "{peak}");
    written.committed();
}

#[tokio::test]
async fn a_body_that_waits_for_its_turn_takes_no_more_than_its_chunk() {
    let rig = rig();
    let admitted = PUT_BYTES / CHUNK;
    let mut first = Vec::new();
    for _ in 0..admitted {
        let mut w = rig.writer();
        rig.push(&mut w, CHUNK, MIB).await;
        rig.push(&mut w, 1, 1).await;
        first.push(w);
    }
    rig.sealed(admitted).await;
    let mut late = rig.writer();
    rig.push(&mut late, CHUNK, MIB).await;
    let mut more = Box::pin(late.push(rig.held.piece(1)));
    assert!(futures::poll!(more.as_mut()).is_pending());
    rig.volume.written.add_permits(1);
    more.await.unwrap();
    rig.volume.written.add_permits(100);
    for w in first.into_iter().chain([late]) {
        w.finish().await.unwrap().committed();
    }
    assert_eq!(rig.held.now(), 0);
}

#[tokio::test]
async fn a_large_chunk_that_comes_back_goes_elsewhere_and_one_that_was_sealed_does_not() {
    let rig = rig();
    let write = async || {
        let mut w = rig.writer();
        rig.push(&mut w, 2 * MIB, MIB).await;
        w.finish().await
    };
    rig.volume.written.add_permits(100);
    let refusals = &rig.volume.memory.state;
    refusals
        .lock()
        .refuse_puts
        .extend([VolumeError::Fenced(VolumeId(1)), VolumeError::Stopping]);
    let written = write().await.unwrap();
    assert_eq!(written.chunks[0].len as usize, 2 * MIB);
    assert_eq!(rig.volume.sealed.load(Ordering::SeqCst), 1);
    written.committed();
    rig.volume.fail.store(1, Ordering::SeqCst);
    let failed = write().await.unwrap_err();
    assert!(
        matches!(failed, DataError::Volume(VolumeError::Fenced(_))),
        "{failed}"
    );
    assert_eq!(rig.volume.sealed.load(Ordering::SeqCst), 2);
}
