//! The data path over services in memory: leases, writer, reader together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_types::checksum::ChecksumAlgorithm;
use halofs_types::range::ByteRange;
use halofs_types::{AttemptId, BucketId, LeaseId, Timestamp, VolumeId, limits};

use crate::error::{DataError, FilerError, VolumeError};
use crate::filer::FilerApi;
use crate::lease::{LeaseConfig, LeasePool};
use crate::memory::{Memory, State};
use crate::reader::{ChunkReader, Content};
use crate::writer::{ChunkStore, ChunkWriter, WriteTarget, Written};

const CHUNK: usize = limits::CHUNK_BYTES;

struct Rig {
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
    leases: LeasePool,
    store: ChunkStore,
}

fn rig(keys: u64) -> Rig {
    let memory = Memory::new();
    let clock = ManualClock::new(Timestamp::from_secs(1));
    let config = LeaseConfig {
        keys,
        ..LeaseConfig::default()
    };
    let shared = Arc::new(SharedManualClock(Arc::clone(&clock)));
    let leases = LeasePool::new(memory.clone(), memory.clone(), shared, config);
    let store = ChunkStore::new(memory.clone(), leases.clone(), memory.store_uuid());
    Rig {
        memory,
        clock,
        leases,
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
        ChunkWriter::new(&self.store, target, [ChecksumAlgorithm::Sha256])
    }

    async fn write(&self, body: &[u8], piece: usize) -> Result<Written, DataError> {
        let mut w = self.writer();
        for p in body.chunks(piece) {
            w.push(Bytes::copy_from_slice(p)).await?;
        }
        w.finish().await
    }

    async fn read(&self, written: &Written, start: u64, end: u64) -> Result<Vec<u8>, DataError> {
        let reader = ChunkReader::new(
            self.memory.clone(),
            &written.chunks,
            ByteRange { start, end },
        );
        match reader.start().await? {
            Content::Whole(bytes) => Ok(bytes.to_vec()),
            Content::Stream(mut pieces) => {
                let mut all = Vec::new();
                while let Some(piece) = pieces.next().await {
                    all.extend_from_slice(&piece?);
                }
                Ok(all)
            }
        }
    }

    /// Lets background work run until the state is as wished.
    async fn until(&self, wish: impl Fn(&State) -> bool) {
        let reached = async {
            while !wish(&self.memory.state.lock()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("the state never came");
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n)
        .map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap_or(0))
        .collect()
}

#[tokio::test]
async fn bodies_of_every_shape_come_back_and_hash_right() {
    let rig = rig(1000);
    for (size, piece) in [
        (0, 1),
        (1, 1),
        (4096, 4096),
        (300_000, 1000),
        (CHUNK, 70_001),
        (CHUNK + 1, 1 << 20),
        (3 * CHUNK - 5, 16 << 20),
    ] {
        let body = bytes(size);
        let written = rig.write(&body, piece).await.unwrap();
        assert_eq!(written.size, size as u64);
        assert_eq!(written.chunks.len(), size.div_ceil(CHUNK));
        assert!(
            written
                .chunks
                .iter()
                .rev()
                .skip(1)
                .all(|c| c.len as usize == CHUNK)
        );
        assert_eq!(written.sums.md5[..], ChecksumAlgorithm::Md5.of(&body)[..]);
        assert_eq!(
            written.sums.get(ChecksumAlgorithm::Sha256),
            Some(ChecksumAlgorithm::Sha256.of(&body))
        );
        let n = size as u64;
        let cut = n / 3;
        for (start, end) in [(0, n), (cut, n), (cut, n.saturating_sub(1).max(cut))] {
            if start < end {
                let want = &body[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
                assert!(
                    rig.read(&written, start, end).await.unwrap() == want,
                    "{size} {start}..{end}"
                );
            }
        }
        written.committed();
    }
    assert!(rig.memory.state.lock().puts.0 <= 3);
}

#[tokio::test]
async fn a_chunk_that_a_volume_refuses_goes_to_another_under_a_new_fid() {
    let rig = rig(1000);
    let v = VolumeId(1);
    let refusal = VolumeError::ReadOnly {
        volume: v,
        reason: "test",
    };
    rig.memory
        .state
        .lock()
        .refuse_puts
        .extend([VolumeError::Fenced(v), refusal]);
    let written = rig.write(b"abc", 3).await.unwrap();
    assert_eq!(written.chunks[0].fid.volume, VolumeId(3));
    let asked: Vec<_> = rig
        .memory
        .state
        .lock()
        .assigns
        .iter()
        .map(|a| a.avoid)
        .collect();
    assert_eq!(asked, [None, Some(VolumeId(1)), Some(VolumeId(2))]);
    written.committed();
    // The leases left behind are closed with the fids that were tried.
    rig.until(|s| s.closed.len() == 2 && s.closed.iter().all(|(_, unnamed)| unnamed.len() == 1))
        .await;
}

#[tokio::test]
async fn an_error_that_no_other_volume_cures_ends_the_put() {
    let rig = rig(1000);
    let io = VolumeError::Io {
        op: "write",
        path: "v".into(),
        error: "EIO".into(),
    };
    rig.memory.state.lock().refuse_puts.push_back(io.clone());
    assert_eq!(
        rig.write(b"abc", 3).await.unwrap_err(),
        DataError::Volume(io)
    );
}

#[tokio::test]
async fn a_lease_is_closed_once_it_is_exhausted_and_nothing_is_in_flight() {
    let rig = rig(2);
    let first = rig.leases.take(None).await.unwrap();
    let mut second = rig.leases.take(None).await.unwrap();
    assert_eq!(first.lease(), second.lease());
    let lease = first.lease();
    second.begin_write();
    let fid = second.fid();
    let third = rig.leases.take(None).await.unwrap();
    assert_ne!(third.lease(), lease);
    drop(first);
    assert!(
        !rig.memory
            .state
            .lock()
            .closed
            .iter()
            .any(|(l, _)| *l == lease)
    );
    drop(second);
    rig.until(|s| s.closed.contains(&(lease, vec![fid]))).await;
    drop(third);
    rig.leases.stop().await;
    assert!(rig.memory.state.lock().leases.is_empty());
    assert!(rig.leases.take(None).await.is_err());
}

#[tokio::test]
async fn an_unknown_outcome_keeps_its_lease_open_for_ever() {
    let rig = rig(1000);
    let mut written = rig.write(b"abc", 3).await.unwrap();
    let leases = written.leases();
    written.begin_commit();
    drop(written);
    rig.leases.stop().await;
    let s = rig.memory.state.lock();
    assert!(s.closed.is_empty());
    assert!(s.leases.contains_key(&leases[0]));
}

#[tokio::test]
async fn committed_fids_are_not_collected_and_failed_ones_are() {
    let rig = rig(1000);
    let kept = rig.write(b"kept", 4).await.unwrap();
    let failed = rig.write(b"lost", 4).await.unwrap();
    let dropped = rig.write(b"gone", 4).await.unwrap();
    let (a, b) = (failed.chunks[0].fid, dropped.chunks[0].fid);
    kept.committed();
    failed.not_committed();
    drop(dropped);
    rig.leases.stop().await;
    let closed: Vec<(LeaseId, Vec<_>)> = rig.memory.state.lock().closed.clone();
    assert!(
        closed.iter().any(|(_, unnamed)| *unnamed == [a, b]),
        "{closed:?}"
    );
}

#[tokio::test]
async fn the_next_lease_is_open_before_it_is_needed_and_idle_ones_are_closed() {
    let rig = rig(4);
    for _ in 0..3 {
        rig.write(b"x", 1).await.unwrap().committed();
    }
    rig.until(|s| s.assigns.len() == 2 && s.leases.len() == 2)
        .await;
    drop(rig.write(b"x", 1).await.unwrap());
    drop(rig.write(b"x", 1).await.unwrap());
    rig.until(|s| s.closed.len() == 1).await;
    // Two ticks without a put: the fid that nobody named is handed over.
    rig.clock.advance(Duration::from_secs(121));
    rig.until(|s| s.ticks > 0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        rig.clock.advance(Duration::from_secs(121));
    }
    rig.until(|s| s.closed.len() == 2).await;
}

#[tokio::test]
async fn a_lost_lease_is_not_used_again_nor_closed() {
    let rig = rig(1000);
    let ticket = rig.leases.take(None).await.unwrap();
    let lease = ticket.lease();
    rig.leases.lost(lease);
    drop(ticket);
    let other = rig.leases.take(None).await.unwrap();
    assert_ne!(other.lease(), lease);
    drop(other);
    rig.leases.stop().await;
    assert!(
        !rig.memory
            .state
            .lock()
            .closed
            .iter()
            .any(|(l, _)| *l == lease)
    );
}

/// The machine slept longer than a lease lives: the pool learns it from the renewal, not from puts that fail.
#[tokio::test]
async fn leases_that_are_gone_are_dropped_at_the_next_tick() {
    let rig = rig(4);
    for _ in 0..3 {
        rig.write(b"x", 1).await.unwrap().committed();
    }
    rig.until(|s| s.leases.len() == 2).await;
    let gone: Vec<LeaseId> = {
        let mut s = rig.memory.state.lock();
        s.leases.drain().map(|(id, _)| id).collect()
    };
    rig.clock.advance(Duration::from_secs(121));
    rig.until(|s| s.renewals > 2).await;
    let ticket = rig.leases.take(None).await.unwrap();
    assert!(!gone.contains(&ticket.lease()));
    drop(ticket);
    rig.leases.stop().await;
    let s = rig.memory.state.lock();
    assert!(s.closed.iter().all(|(id, _)| !gone.contains(id)));
}

#[tokio::test]
async fn a_missing_or_foreign_needle_is_an_error_before_anything_is_sent() {
    let rig = rig(1000);
    let body = bytes(9 << 20);
    let written = rig.write(&body, 1 << 20).await.unwrap();
    let fid = written.chunks[0].fid;
    let needle = rig.memory.state.lock().needles.remove(&fid).unwrap();
    let gone = rig.read(&written, 0, body.len() as u64).await.unwrap_err();
    assert_eq!(gone, DataError::Volume(VolumeError::NotFound(fid)));
    let mut other = needle;
    other.commit = [0; 16];
    rig.memory.state.lock().needles.insert(fid, other);
    let wrong = rig.read(&written, 5, 6).await.unwrap_err();
    assert_eq!(wrong, DataError::Volume(VolumeError::Mismatch(fid)));
    assert_eq!(
        rig.memory.open_lease(fid, 1).await.map(|_| ()),
        Ok::<(), FilerError>(())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_share_leases_and_lose_nothing() {
    let rig = Arc::new(rig(64));
    let tasks = (0..32_usize).map(|i| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            for n in 0..20 {
                let body = bytes(i * 100 + n);
                let written = rig.write(&body, 37).await.unwrap();
                let back = rig.read(&written, 0, body.len() as u64).await.unwrap();
                assert_eq!(back, body);
                written.committed();
            }
        })
    });
    for t in tasks.collect::<Vec<_>>() {
        t.await.unwrap();
    }
    rig.leases.stop().await;
    let s = rig.memory.state.lock();
    assert!(s.leases.is_empty());
    assert!(s.closed.iter().all(|(_, unnamed)| unnamed.is_empty()));
}
