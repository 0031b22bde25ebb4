//! A body on its way in: hashed, cut into chunks and stored while it arrives.
//!
//! Three things overlap: receiving, hashing (batches on the blocking pool), and sealing plus writing the chunk before
//! the one that fills. A body of one small piece pays for none of that: it is hashed where it is and stored by one
//! call. Pieces are never glued. What is held is the chunk that fills and the one that is being stored, plain or sealed:
//! a volume frees the pieces as it seals them, so a body of any length costs about 16 MiB.
//! Chunks of all writers together are admitted by bytes ([`PUT_BYTES`]), and a writer takes no more of its body until
//! its full chunk is admitted: many uploads at a time wait for the disk with one chunk each.
//!
//! A large chunk is lent to the volume and not kept beside it. One that comes back untouched goes to another volume; one
//! that was sealed when its write failed is gone, and the client, told to try again, sends it anew.
//!
//! Every attempt to store a chunk takes a new fid (`replication.md` 18). A writer or a [`Written`] that is dropped
//! leaves its fids *unnamed*: they are collected when their lease closes.

use std::sync::Arc;

use bytes::Bytes;
use halofs_types::checksum::{BodyHasher, BodySums, ChecksumAlgorithm};
use halofs_types::object::ChunkRef;
use halofs_types::{Advice, AttemptId, BucketId, LeaseId, Uuid, VolumeId, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{DataError, VolumeError};
use crate::lease::{LeasePool, Ticket};
use crate::pieces::Pieces;
use crate::volume::{NeedleName, NeedleOwner, PutNeedle, VolumeApi};

/// Bytes of a body up to which it is hashed in place.
const INLINE_HASH_BYTES: usize = 256 << 10;
/// Bytes that are hashed by one job of the blocking pool.
const HASH_BATCH_BYTES: usize = 1 << 20;
/// Chunks of one writer that are being stored at a time.
const PUTS_IN_FLIGHT: usize = 1;
/// Chunk bytes of all writers that are being stored at a time; chunks under [`COUNTED_BYTES`] are not counted.
const PUT_BYTES: usize = 16 << 20;
/// See [`PUT_BYTES`].
const COUNTED_BYTES: usize = 1 << 20;
/// The unit of [`PUT_BYTES`].
const PUT_UNIT: usize = 64 << 10;
/// Fids tried for one chunk.
const ATTEMPTS: u32 = 3;

/// Where bytes go and come from: the volumes, and the leases that cover what is written.
#[derive(Clone)]
pub struct ChunkStore {
    volume: Arc<dyn VolumeApi>,
    leases: LeasePool,
    store: Uuid,
    puts: Arc<Semaphore>,
}

/// Whose bytes are written.
#[derive(Debug, Clone)]
pub struct WriteTarget {
    /// The bucket.
    pub bucket: BucketId,
    /// The object key.
    pub key: Bytes,
    /// This attempt.
    pub attempt: AttemptId,
    /// Part number, 0 for a whole object.
    pub part: u32,
}

impl ChunkStore {
    /// `store` is the filer's identity: it goes into every needle's owner.
    pub fn new(volume: Arc<dyn VolumeApi>, leases: LeasePool, store: Uuid) -> Self {
        Self {
            volume,
            leases,
            store,
            puts: Arc::new(Semaphore::new(PUT_BYTES / PUT_UNIT)),
        }
    }

    /// The volumes.
    pub fn volume(&self) -> &Arc<dyn VolumeApi> {
        &self.volume
    }

    /// The leases.
    pub fn leases(&self) -> &LeasePool {
        &self.leases
    }

    /// Stores one chunk that was admitted, trying other volumes when one refuses.
    async fn put(
        &self,
        mut body: Pieces,
        owner: NeedleOwner,
        _room: Option<OwnedSemaphorePermit>,
    ) -> Result<(ChunkRef, Ticket), DataError> {
        let len = u32::try_from(body.len()).map_err(|_| too_large(body.len()))?;
        let mut avoid: Option<VolumeId> = None;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            let mut ticket = self.leases.take(avoid).await?;
            let fid = ticket.fid();
            ticket.begin_write();
            let (given, loan) = if body.len() < COUNTED_BYTES {
                (body.clone(), None)
            } else {
                let (pieces, loan) = std::mem::take(&mut body).lend();
                (pieces, Some(loan))
            };
            let put = PutNeedle {
                fid,
                body: given,
                owner: Some(owner.clone()),
                name: NeedleName::default(),
                compress: false,
                manifest: false,
            };
            match self.volume.put_needle(put).await {
                Ok(stored) => {
                    return Ok((
                        ChunkRef {
                            fid,
                            len,
                            commit: stored.commit,
                        },
                        ticket,
                    ));
                }
                Err(error) if left > 0 && error.advice() == Advice::RetryElsewhere => {
                    if let Some(loan) = loan {
                        body = loan.back().ok_or_else(|| error.clone())?;
                    }
                    tracing::warn!(%fid, %error, "chunk goes to another volume");
                    avoid = Some(fid.volume);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Admits a chunk, once there is room for it.
    async fn room(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, DataError> {
        if bytes < COUNTED_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(PUT_UNIT)).map_err(|_| too_large(bytes))?;
        let room = Arc::clone(&self.puts).acquire_many_owned(units).await;
        room.map(Some).map_err(|_| DataError::Stopping)
    }
}

fn too_large(bytes: usize) -> DataError {
    DataError::Volume(VolumeError::TooLarge {
        what: "a chunk",
        got: u64::try_from(bytes).unwrap_or(u64::MAX),
        limit: u64::from(u32::MAX),
    })
}

/// Takes a body piece by piece.
pub struct ChunkWriter {
    store: ChunkStore,
    target: WriteTarget,
    size: u64,
    /// The chunk that fills.
    filling: Pieces,
    chunk: u32,
    puts: JoinSet<Result<(u32, ChunkRef, Ticket), DataError>>,
    done: Vec<(u32, ChunkRef, Ticket)>,
    hashing: Hashing,
}

/// The hasher is here or with a job of the blocking pool.
struct Hashing {
    hasher: Option<Box<BodyHasher>>,
    job: Option<JoinHandle<Box<BodyHasher>>>,
    batch: Pieces,
}

impl Hashing {
    /// Hands the batch to the blocking pool, once the one before is done.
    async fn submit(&mut self) -> Result<(), DataError> {
        let mut hasher = self.take().await?;
        let batch = std::mem::take(&mut self.batch);
        self.job = Some(tokio::task::spawn_blocking(move || {
            batch.iter().for_each(|p| hasher.update(p));
            hasher
        }));
        Ok(())
    }

    async fn take(&mut self) -> Result<Box<BodyHasher>, DataError> {
        if let Some(job) = self.job.take() {
            // A job fails only when the runtime stops.
            return job.await.map_err(|_| DataError::Stopping);
        }
        self.hasher.take().ok_or(DataError::Stopping)
    }

    async fn finish(mut self) -> Result<BodySums, DataError> {
        if self.batch.len() > INLINE_HASH_BYTES {
            self.submit().await?;
        }
        let mut hasher = self.take().await?;
        self.batch.iter().for_each(|p| hasher.update(p));
        Ok(hasher.finish())
    }
}

impl ChunkWriter {
    /// A writer of `target` that computes `more` beside MD5 and CRC64NVME.
    pub fn new(
        store: &ChunkStore,
        target: WriteTarget,
        more: impl IntoIterator<Item = ChecksumAlgorithm>,
    ) -> Self {
        let hashing = Hashing {
            hasher: Some(Box::new(BodyHasher::new(more))),
            job: None,
            batch: Pieces::new(),
        };
        Self {
            store: store.clone(),
            target,
            size: 0,
            filling: Pieces::new(),
            chunk: 0,
            puts: JoinSet::new(),
            done: Vec::new(),
            hashing,
        }
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next piece; waits while too much is on its way.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), DataError> {
        self.size += piece.len() as u64;
        self.hashing.batch.push(piece.clone());
        if self.hashing.batch.len() >= HASH_BATCH_BYTES {
            self.hashing.submit().await?;
        }
        self.filling.push(piece);
        // A full chunk waits for one more byte: the last one is stored by `finish`.
        while self.filling.len() > limits::CHUNK_BYTES {
            let body = self.filling.split_to(limits::CHUNK_BYTES);
            self.start_put(body).await?;
        }
        Ok(())
    }

    fn owner(&self) -> NeedleOwner {
        NeedleOwner {
            store: self.store.store,
            bucket: self.target.bucket,
            key: self.target.key.clone(),
            attempt: self.target.attempt,
            part: self.target.part,
            chunk: self.chunk,
        }
    }

    async fn start_put(&mut self, body: Pieces) -> Result<(), DataError> {
        while self.puts.len() >= PUTS_IN_FLIGHT {
            self.reap().await?;
        }
        let room = self.store.room(body.len()).await?;
        let (store, owner, chunk) = (self.store.clone(), self.owner(), self.chunk);
        self.chunk += 1;
        self.puts.spawn(async move {
            let (at, ticket) = store.put(body, owner, room).await?;
            Ok((chunk, at, ticket))
        });
        Ok(())
    }

    async fn reap(&mut self) -> Result<(), DataError> {
        if let Some(joined) = self.puts.join_next().await {
            self.done.push(joined.map_err(|_| DataError::Stopping)??);
        }
        Ok(())
    }

    /// Stores the rest and waits until everything is durable.
    pub async fn finish(mut self) -> Result<Written, DataError> {
        let rest = std::mem::take(&mut self.filling);
        let (owner, chunk) = (self.owner(), self.chunk);
        let hashing = self.hashing;
        let (sums, last) = if rest.is_empty() {
            (hashing.finish().await?, None)
        } else if hashing.job.is_none() && rest.len() <= INLINE_HASH_BYTES {
            let sums = hashing.finish().await?;
            (sums, Some(self.store.put(rest, owner, None).await?))
        } else {
            let store = &self.store;
            let put = async {
                let room = store.room(rest.len()).await?;
                store.put(rest, owner, room).await
            };
            let (sums, last) = tokio::try_join!(hashing.finish(), put)?;
            (sums, Some(last))
        };
        while let Some(joined) = self.puts.join_next().await {
            self.done.push(joined.map_err(|_| DataError::Stopping)??);
        }
        self.done
            .extend(last.map(|(at, ticket)| (chunk, at, ticket)));
        self.done.sort_unstable_by_key(|(n, ..)| *n);
        let (mut chunks, mut tickets) = (
            Vec::with_capacity(self.done.len()),
            Vec::with_capacity(self.done.len()),
        );
        for (_, at, ticket) in self.done {
            chunks.push(at);
            tickets.push(ticket);
        }
        Ok(Written {
            size: self.size,
            chunks,
            sums,
            tickets,
        })
    }
}

/// A body that is durable and that nobody names yet.
#[derive(Debug)]
pub struct Written {
    /// Bytes.
    pub size: u64,
    /// Its chunks in order.
    pub chunks: Vec<ChunkRef>,
    /// Its hashes.
    pub sums: BodySums,
    tickets: Vec<Ticket>,
}

impl Written {
    /// The leases that cover the chunks: preconditions of the commit.
    pub fn leases(&self) -> Vec<LeaseId> {
        let mut leases: Vec<LeaseId> = self.tickets.iter().map(Ticket::lease).collect();
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    /// Call before the commit is sent: from now on, dropping this means that its outcome is unknown.
    pub fn begin_commit(&mut self) {
        self.tickets.iter_mut().for_each(Ticket::begin_commit);
    }

    /// The commit succeeded.
    pub fn committed(self) {
        self.tickets.into_iter().for_each(Ticket::committed);
    }

    /// The commit failed for certain: the chunks are garbage.
    pub fn not_committed(self) {
        self.tickets.into_iter().for_each(Ticket::not_committed);
    }
}

#[cfg(test)]
#[path = "writer_held_tests.rs"]
mod held_tests;
#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
