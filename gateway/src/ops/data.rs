//! The data path's handles: fid leases, the chunk writer and the chunk reader of the client crate.

use std::sync::Arc;

use bytes::Bytes;
use halofs_client::lease::{LeaseConfig, LeasePool};
use halofs_client::reader::{ChunkReader, Content};
use halofs_client::writer::{ChunkStore, ChunkWriter, WriteTarget, Written};
use halofs_client::{DataError, FilerError};
use halofs_types::checksum::ChecksumAlgorithm;
use halofs_types::object::{Bucket, ChunkRef};
use halofs_types::range::ByteRange;
use halofs_types::{AttemptId, limits};

use crate::config::GatewayConfig;
use crate::error::{Code, GatewayError};
use crate::gateway::Deps;

/// What puts and gets go through.
pub(crate) struct DataPath {
    chunks: ChunkStore,
}

impl DataPath {
    /// Handles over the three services.
    pub(crate) fn new(config: &GatewayConfig, deps: &Deps) -> Self {
        let lease = LeaseConfig {
            placement: config.placement,
            ..LeaseConfig::default()
        };
        let (master, filer) = (Arc::clone(&deps.master), Arc::clone(&deps.filer));
        let leases = LeasePool::new(master, filer, Arc::clone(&deps.clock), lease);
        let chunks = ChunkStore::new(Arc::clone(&deps.volume), leases, deps.filer.store_uuid());
        Self { chunks }
    }

    /// A writer for one attempt to write an object (part 0) or a part.
    pub(crate) fn writer(
        &self,
        bucket: &Bucket,
        key: &str,
        part: u32,
        attempt: AttemptId,
        more: impl IntoIterator<Item = ChecksumAlgorithm>,
    ) -> ChunkWriter {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let target = WriteTarget {
            bucket: bucket.id,
            key,
            attempt,
            part,
        };
        ChunkWriter::new(&self.chunks, target, more)
    }

    /// A reader of a range.
    pub(crate) fn reader(&self, chunks: &[ChunkRef], range: ByteRange) -> ChunkReader {
        ChunkReader::new(Arc::clone(self.chunks.volume()), chunks, range)
    }

    /// Opens a range; its first piece is read.
    pub(crate) async fn open(
        &self,
        chunks: &[ChunkRef],
        range: ByteRange,
    ) -> Result<Content, DataError> {
        self.reader(chunks, range).start().await
    }

    /// A commit failed: says so to the leases. Where the outcome is unknown the fids stay covered by their lease.
    pub(crate) fn commit_failed(&self, written: Written, error: &FilerError) {
        match error {
            FilerError::Unavailable(_) => drop(written),
            FilerError::LeaseGone => {
                for lease in written.leases() {
                    self.chunks.leases().lost(lease);
                }
                drop(written);
            }
            _ => written.not_committed(),
        }
    }

    /// Closes what is open.
    pub(crate) async fn stop(&self) {
        self.chunks.leases().stop().await;
    }
}

impl From<DataError> for GatewayError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Master(e) => Self::Master(e),
            DataError::Volume(e) => Self::Volume(e),
            DataError::Filer(e) => Self::Filer(e),
            DataError::Stopping => Code::ServiceUnavailable.into(),
        }
    }
}

/// Refuses keys that S3 does not store.
pub(crate) fn check_key(key: &str) -> Result<(), GatewayError> {
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(Code::KeyTooLongError.into());
    }
    if key.is_empty() {
        return Err(GatewayError::refused(
            Code::InvalidArgument,
            "An object key has at least one byte",
        ));
    }
    Ok(())
}
