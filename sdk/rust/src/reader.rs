//! Bytes of an object on their way out: only the chunks that a range touches, every byte verified before it leaves.
//!
//! A read names the commit that the filer knows for each chunk, so a stale or misdirected copy is an error and never an
//! answer. What fits one piece costs one open and one read. Longer ranges are read ahead by a task through a bounded
//! channel; the first piece is read before that task starts, so that a missing chunk is known before anything is sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use halofs_types::object::ChunkRef;
use halofs_types::range::ByteRange;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{DataError, VolumeError};
use crate::master::VolumeOwner;
use crate::volume::{Encoding, NeedleReader, VolumeApi};

/// A range up to this long is one piece.
const ONE_PIECE_BYTES: u64 = 1 << 20;
/// Pieces of longer ranges.
const PIECE_BYTES: u64 = 512 << 10;
/// Pieces read ahead of the one that is being sent.
const AHEAD: usize = 2;

/// A stretch of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    chunk: ChunkRef,
    start: u64,
    end: u64,
}

/// Reads a range of an object.
pub struct ChunkReader {
    volume: Arc<dyn VolumeApi>,
    left: VecDeque<Stretch>,
    open: Option<Box<dyn NeedleReader>>,
    piece: u64,
}

impl ChunkReader {
    /// Of `range` within the object that consists of `chunks`.
    pub fn new(volume: Arc<dyn VolumeApi>, chunks: &[ChunkRef], range: ByteRange) -> Self {
        let left = stretches(chunks, range);
        let one = left.len() <= 1 && range.end.saturating_sub(range.start) <= ONE_PIECE_BYTES;
        let piece = if one { ONE_PIECE_BYTES } else { PIECE_BYTES };
        Self {
            volume,
            left,
            open: None,
            piece,
        }
    }

    /// The next piece; `None` at the end of the range.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        let Some(stretch) = self.left.front_mut() else {
            return Ok(None);
        };
        let needle = match self.open.take() {
            Some(open) => open,
            None => open(self.volume.as_ref(), stretch.chunk).await?,
        };
        let end = stretch.end.min(stretch.start + self.piece);
        let bytes = needle.read(Encoding::Identity, stretch.start, end).await?;
        if bytes.len() as u64 != end - stretch.start {
            return Err(damaged(stretch.chunk, "fewer bytes than the chunk has"));
        }
        stretch.start = end;
        if end == stretch.end {
            self.left.pop_front();
        } else {
            self.open = Some(needle);
        }
        Ok(Some(bytes))
    }

    /// Reads the first piece, then either has everything or reads the rest ahead.
    pub async fn start(mut self) -> Result<Content, DataError> {
        let first = self.next().await?.unwrap_or_default();
        if self.left.is_empty() {
            return Ok(Content::Whole(first));
        }
        let (pieces, rest) = mpsc::channel(AHEAD);
        let task = tokio::spawn(read_ahead(self, pieces));
        Ok(Content::Stream(PieceStream {
            first: Some(first),
            rest,
            task,
        }))
    }
}

/// The one place that chooses a copy; with one copy there is nothing to choose.
async fn open(volume: &dyn VolumeApi, chunk: ChunkRef) -> Result<Box<dyn NeedleReader>, DataError> {
    let needle = volume
        .open_needle(chunk.fid, Some(chunk.commit), VolumeOwner::Filer)
        .await?;
    if needle.info().size != u64::from(chunk.len) {
        return Err(damaged(chunk, "another length than the filer knows"));
    }
    Ok(needle)
}

fn damaged(chunk: ChunkRef, what: &'static str) -> DataError {
    DataError::Volume(VolumeError::Damaged {
        fid: chunk.fid,
        what,
    })
}

async fn read_ahead(mut reader: ChunkReader, pieces: mpsc::Sender<Result<Bytes, DataError>>) {
    loop {
        let next = match reader.next().await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = next.is_err();
        // The receiver is gone when the client is.
        if pieces.send(next).await.is_err() || failed {
            return;
        }
    }
}

fn stretches(chunks: &[ChunkRef], range: ByteRange) -> VecDeque<Stretch> {
    let mut out = VecDeque::new();
    let mut at = 0_u64;
    for chunk in chunks {
        let end = at + u64::from(chunk.len);
        if at >= range.end {
            break;
        }
        if end > range.start {
            let stretch = Stretch {
                chunk: *chunk,
                start: range.start.saturating_sub(at),
                end: range.end.min(end) - at,
            };
            out.push_back(stretch);
        }
        at = end;
    }
    out
}

/// The bytes of a range.
pub enum Content {
    /// All of them.
    Whole(Bytes),
    /// The first piece and what follows it.
    Stream(PieceStream),
}

/// Pieces in order; an error ends them.
pub struct PieceStream {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, DataError>>,
    task: JoinHandle<()>,
}

impl Stream for PieceStream {
    type Item = Result<Bytes, DataError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest.poll_recv(cx)
    }
}

impl Drop for PieceStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
