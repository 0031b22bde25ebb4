//! Request and response bodies.
//!
//! A [`RequestBody`] ends in [`RequestBodyError::Stalled`] when it yields nothing for [`BODY_STALL`] although somebody
//! waits for it. Its timer is made only when a read has to wait, and is not touched by the pieces that arrive: it looks
//! at what happened when it fires, so a stall is noticed after one to two times the limit.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::admission::{Admission, Busy, PAGE, Permit};
use crate::clock::Clock;

/// An error of a response body's stream: the connection is cut.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every response.
pub type HttpBody = UnsyncBoxBody<Bytes, BodyError>;

/// A request body that somebody waits for may be silent for this long.
pub const BODY_STALL: Duration = Duration::from_secs(30);
/// Pieces smaller than this are copied together, so that a body of tiny chunks does not cost more than its bytes.
const PIECE_MIN: usize = 16 << 10;
/// Size of the blocks that tiny pieces are copied into, and the admission step of a body of unknown length.
const BLOCK: usize = 64 << 10;
/// Bytes that a body of unknown length asks admission for at once.
const ADMISSION_STEP: usize = 1 << 20;

/// A body of one byte string.
pub fn full(bytes: impl Into<Bytes>) -> HttpBody {
    use http_body_util::BodyExt;
    HttpBody::new(http_body_util::Full::new(bytes.into()).map_err(|never| match never {}))
}

/// No body.
pub fn empty() -> HttpBody {
    full(Bytes::new())
}

/// Why a request body ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// Nothing arrived for [`BODY_STALL`]: 408.
    #[error("the body did not arrive in time")]
    Stalled,
    /// The client left, or the framing of the body is broken: 400 if anybody still listens.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// What the server keeps of a request's body after the handler took it.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Body bytes that arrived.
    pub(crate) bytes_in: AtomicU64,
    /// The body was dropped before its end: an HTTP/1.1 connection cannot be used again.
    pub(crate) unread: AtomicBool,
    /// The connection carries other requests beside this one.
    pub(crate) multiplexed: bool,
    /// What was not read of a body that shares its connection; see `exchange`.
    pub(crate) leftover: Mutex<Option<Incoming>>,
    /// Who asks, once the handler knows.
    pub(crate) caller: OnceLock<Box<str>>,
}

/// Who asks, as the log line of the request names them: whoever finds it out says so here. Never a secret.
#[derive(Debug, Clone, Default)]
pub struct Caller(pub(crate) Arc<Exchange>);

impl Caller {
    /// Names the caller; the first name counts.
    pub fn name(&self, name: &str) {
        self.0.caller.get_or_init(|| name.into());
    }

    /// The name, if anybody said it.
    pub fn known(&self) -> Option<&str> {
        self.0.caller.get().map(AsRef::as_ref)
    }
}

enum Source {
    Wire(Incoming),
    Memory(Option<Bytes>),
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of a request as handlers get it.
pub struct RequestBody {
    source: Source,
    clock: Option<Arc<dyn Clock>>,
    exchange: Arc<Exchange>,
    /// In a mutex only so that the body is `Sync`; never locked.
    timer: Mutex<Option<Sleep>>,
    progress: bool,
    ended: bool,
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody")
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}

impl RequestBody {
    pub(crate) fn wire(body: Incoming, clock: Arc<dyn Clock>, exchange: Arc<Exchange>) -> Self {
        let ended = body.is_end_stream();
        Self {
            source: Source::Wire(body),
            clock: Some(clock),
            exchange,
            timer: Mutex::new(None),
            progress: false,
            ended,
        }
    }

    /// A body that is in memory already: for tests of handlers, and for requests made inside the process.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let ended = bytes.is_empty();
        Self {
            source: Source::Memory(Some(bytes).filter(|b| !b.is_empty())),
            clock: None,
            exchange: Arc::default(),
            timer: Mutex::new(None),
            progress: false,
            ended,
        }
    }

    /// Its length when the client declared one.
    pub fn declared_len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(clock) = &self.clock else {
            return Poll::Pending;
        };
        let slot = self.timer.get_mut();
        loop {
            let timer = slot.get_or_insert_with(|| {
                self.progress = false;
                clock.sleep(BODY_STALL)
            });
            ready!(timer.as_mut().poll(cx));
            *slot = None;
            if !self.progress {
                return Poll::Ready(());
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Memory(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Source::Wire(body) => Pin::new(body).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.progress = true;
                if let Some(data) = frame.data_ref() {
                    let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    this.exchange.bytes_in.fetch_add(len, Ordering::Relaxed);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => {
                Poll::Ready(Some(Err(RequestBodyError::Broken(e.to_string()))))
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_stalled(cx));
                Poll::Ready(Some(Err(RequestBodyError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Wire(body) => body.is_end_stream(),
            Source::Memory(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Wire(body) => body.size_hint(),
            Source::Memory(bytes) => {
                let len = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !self.is_end_stream() {
            self.exchange.unread.store(true, Ordering::Relaxed);
            if self.exchange.multiplexed
                && let Source::Wire(body) =
                    std::mem::replace(&mut self.source, Source::Memory(None))
            {
                *self.exchange.leftover.lock() = Some(body);
            }
        }
    }
}

/// A whole request body, and the permits that count it.
#[derive(Debug, Default)]
pub struct Collected {
    /// The bytes in order, no piece empty.
    pub pieces: VecDeque<Bytes>,
    /// Their sum.
    pub len: u64,
    /// Held as long as the bytes are.
    pub permits: Vec<Permit>,
}

/// Why a body was not collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// More bytes than allowed; nothing was read when the length was declared.
    #[error("the body is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Admission was not granted in time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The body ended early.
    #[error(transparent)]
    Body(#[from] RequestBodyError),
}

/// Reads a body whole. Admission for a declared length is asked for before the body is polled, so that `100 Continue`
/// goes out only when there is room; for a body of unknown length it is asked for as the bytes arrive.
pub async fn collect(
    body: RequestBody,
    limit: u64,
    admission: Option<&Admission>,
) -> Result<Collected, CollectError> {
    let declared = body.declared_len();
    if declared.is_some_and(|n| n > limit) {
        return Err(CollectError::TooLarge { limit });
    }
    let mut out = Collected::default();
    let mut granted = 0;
    if let (Some(admission), Some(n)) = (admission, declared)
        && n > 0
    {
        let n = usize::try_from(n).map_err(|_| CollectError::TooLarge { limit })?;
        out.permits.push(admission.acquire(n).await?);
        granted = n;
    }
    let mut body = std::pin::pin!(body);
    let mut tail = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        out.len = out
            .len
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if out.len > limit {
            return Err(CollectError::TooLarge { limit });
        }
        if let Some(admission) = admission {
            let len = usize::try_from(out.len).unwrap_or(usize::MAX);
            out.permits
                .extend(step(admission, &mut granted, len).await?);
        }
        keep(&mut out.pieces, &mut tail, piece, declared);
    }
    if !tail.is_empty() {
        out.pieces.push_back(tail.freeze());
    }
    Ok(out)
}

/// Asks for one more step when `len` bytes are more than what is granted. A body that holds the whole budget goes on: it
/// cannot wait for itself.
pub async fn step(
    admission: &Admission,
    granted: &mut usize,
    len: usize,
) -> Result<Option<Permit>, Busy> {
    // Permits are whole pages: a body that asked for the page that it half holds already would wait for itself.
    *granted = granted.checked_next_multiple_of(PAGE).unwrap_or(*granted);
    let left = admission.total().saturating_sub(*granted);
    if len <= *granted || left == 0 {
        return Ok(None);
    }
    let want = ADMISSION_STEP.max(len - *granted).next_multiple_of(PAGE);
    let want = left.min(want);
    let permit = admission.acquire(want).await?;
    *granted = granted.saturating_add(want);
    Ok(Some(permit))
}

/// Appends a piece as it is when it is large or the whole of the body, else into the block at the tail.
fn keep(pieces: &mut VecDeque<Bytes>, tail: &mut BytesMut, piece: Bytes, declared: Option<u64>) {
    let whole = declared.and_then(|n| usize::try_from(n).ok()) == Some(piece.len());
    if whole || piece.len() >= PIECE_MIN {
        if !tail.is_empty() {
            pieces.push_back(tail.split().freeze());
        }
        pieces.push_back(piece);
        return;
    }
    if piece.is_empty() {
        return;
    }
    if !tail.is_empty() && tail.capacity() - tail.len() < piece.len() {
        pieces.push_back(std::mem::take(tail).freeze());
    }
    if tail.is_empty() && tail.capacity() < piece.len() {
        let left = declared
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(BLOCK);
        *tail = BytesMut::with_capacity(left.clamp(piece.len(), BLOCK));
    }
    tail.extend_from_slice(&piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_pieces_share_blocks() {
        let (mut pieces, mut tail) = (VecDeque::new(), BytesMut::new());
        for i in 0..100_000u32 {
            keep(
                &mut pieces,
                &mut tail,
                Bytes::copy_from_slice(&i.to_le_bytes()[..1]),
                None,
            );
        }
        keep(
            &mut pieces,
            &mut tail,
            Bytes::from(vec![7; PIECE_MIN]),
            None,
        );
        assert!(tail.is_empty());
        assert_eq!(pieces.len(), 3);
        let sum: usize = pieces.iter().map(Bytes::len).sum();
        assert_eq!(sum, 100_000 + PIECE_MIN);
        let all: Vec<u8> = pieces.iter().flatten().copied().collect();
        assert!((0..100_000u32).all(|i| all[i as usize] == i.to_le_bytes()[0]));
    }

    #[tokio::test]
    async fn a_body_larger_than_the_budget_takes_all_of_it() {
        let budget = Admission::new(3 << 20, Duration::ZERO);
        let mut granted = 0;
        let mut permits = Vec::new();
        for len in [1, 1 << 20, (1 << 20) + 1, 3 << 20, 100 << 20] {
            permits.extend(step(&budget, &mut granted, len).await.unwrap());
        }
        assert_eq!((granted, permits.len(), budget.free()), (3 << 20, 3, 0));
    }

    #[tokio::test]
    async fn collect_counts_and_limits() {
        let got = collect(RequestBody::from_bytes("abc"), 3, None)
            .await
            .unwrap();
        assert_eq!((got.len, got.pieces.len()), (3, 1));
        let e = collect(RequestBody::from_bytes("abcd"), 3, None)
            .await
            .unwrap_err();
        assert_eq!(e, CollectError::TooLarge { limit: 3 });
        let full = Admission::new(4096, Duration::ZERO);
        let _all = full.acquire(4096).await.unwrap();
        let e = collect(RequestBody::from_bytes("a"), 3, Some(&full))
            .await
            .unwrap_err();
        assert_eq!(e, CollectError::Busy(Busy));
    }
}
