//! One connection: the socket as hyper sees it, and its deadlines.
//!
//! No timer is touched by a request. The socket and the requests only note times in atomics; one sleep a connection
//! looks at them and computes when to look again.
//!
//! ```text
//! accepted ──head──▶ busy ──answer ends──▶ idle ──first byte of a head──▶ reading a head ──head──▶ busy
//!    │ head timeout    │ a write makes no progress       │ idle timeout        │ head timeout
//!    ▼                 ▼                                 ▼                     ▼
//!   cut               cut                               cut                   cut
//! ```
//!
//! HTTP/2 frames arrive at any time, so an idle HTTP/2 connection has only the idle deadline.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};

use super::serve::Timeouts;
use crate::clock::Clock;

/// How long an unread request body is read and thrown away after the answer, so that the client sees the answer and not a
/// reset.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// Bytes thrown away at most while lingering.
pub(crate) const LINGER_BYTES: usize = 64 << 20;

/// Times are [`Clock::monotonic_ns`], 0 means "not now".
#[derive(Debug)]
pub(crate) struct ConnState {
    accepted: u64,
    /// Requests whose answer is not complete.
    busy: AtomicU32,
    /// Whether any head was complete.
    served: AtomicBool,
    /// When the last answer ended.
    idle_since: AtomicU64,
    /// When the first byte after the last answer came.
    head_since: AtomicU64,
    /// Since when the peer takes no bytes.
    write_stuck_since: AtomicU64,
    /// HTTP/2.
    pub(crate) h2: AtomicBool,
    /// A request body was not read to its end.
    pub(crate) unread: AtomicBool,
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Head,
    Idle,
    Write,
}

impl ConnState {
    pub(crate) fn new(now: u64) -> Arc<Self> {
        Arc::new(Self {
            accepted: now,
            busy: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            write_stuck_since: AtomicU64::new(0),
            h2: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        })
    }

    /// A head is complete.
    pub(crate) fn begin(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
    }

    /// An answer is complete, or was given up.
    pub(crate) fn end(&self, now: u64) {
        self.idle_since.store(now, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// `Err` when a deadline has passed, else how long until the next could.
    fn check(&self, now: u64, limits: &Timeouts) -> Result<Duration, Expired> {
        let left = |since: u64, limit: Duration, why: Expired| {
            let gone = Duration::from_nanos(now.saturating_sub(since));
            limit.checked_sub(gone).filter(|d| !d.is_zero()).ok_or(why)
        };
        let stuck = self.write_stuck_since.load(Ordering::Relaxed);
        let write = if stuck == 0 {
            limits.write
        } else {
            left(stuck, limits.write, Expired::Write)?
        };
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Ok(write.min(limits.idle));
        }
        let head_since = self.head_since.load(Ordering::Relaxed);
        let rest = if !self.served.load(Ordering::Relaxed) {
            left(self.accepted, limits.head, Expired::Head)?
        } else if head_since != 0 && !self.h2.load(Ordering::Relaxed) {
            left(head_since, limits.head, Expired::Head)?
        } else {
            left(
                self.idle_since.load(Ordering::Relaxed),
                limits.idle,
                Expired::Idle,
            )?
        };
        // A head that starts just now must be caught in time, though nobody wakes this task for it.
        Ok(rest.min(write).min(limits.head))
    }

    /// Completes when a deadline has passed.
    pub(crate) async fn watch(&self, clock: &dyn Clock, limits: &Timeouts) -> Expired {
        loop {
            match self.check(clock.monotonic_ns(), limits) {
                Ok(next) => clock.sleep(next).await,
                Err(why) => return why,
            }
        }
    }
}

/// A socket that notes progress in a [`ConnState`] and lingers on shutdown.
pub(crate) struct Guarded<S> {
    io: S,
    state: Arc<ConnState>,
    clock: Arc<dyn Clock>,
    linger: Option<Linger>,
}

struct Linger {
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
    left: usize,
    closed: bool,
}

impl<S> Guarded<S> {
    pub(crate) fn new(io: S, state: Arc<ConnState>, clock: Arc<dyn Clock>) -> Self {
        Self {
            io,
            state,
            clock,
            linger: None,
        }
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        let stuck = &self.state.write_stuck_since;
        match polled {
            Poll::Pending if stuck.load(Ordering::Relaxed) == 0 => {
                stuck.store(self.clock.monotonic_ns().max(1), Ordering::Relaxed);
            }
            Poll::Ready(_) if stuck.load(Ordering::Relaxed) != 0 => {
                stuck.store(0, Ordering::Relaxed);
                // The end of an answer may leave hyper's buffer long after its request ended.
                let now = self.clock.monotonic_ns();
                self.state.idle_since.store(now, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl<S: Read + Write + Unpin> Guarded<S> {
    /// Reads and throws away until the peer closes, or time or bytes are used up.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else {
            return Poll::Ready(());
        };
        let mut space = [0; 8192];
        loop {
            if linger.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buf = hyper::rt::ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf.unfilled()));
            let n = buf.filled().len();
            linger.left = linger.left.saturating_sub(n);
            if read.is_err() || n == 0 || linger.left == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: Read + Unpin> Read for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let state = &self.state;
        if polled.is_ready()
            && state.busy.load(Ordering::Relaxed) == 0
            && state.head_since.load(Ordering::Relaxed) == 0
        {
            state
                .head_since
                .store(self.clock.monotonic_ns().max(1), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: Read + Write + Unpin> Write for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.state.unread.load(Ordering::Relaxed) {
            return Pin::new(&mut this.io).poll_shutdown(cx);
        }
        let clock = &this.clock;
        let linger = this.linger.get_or_insert_with(|| Linger {
            deadline: clock.sleep(LINGER),
            left: LINGER_BYTES,
            closed: false,
        });
        if !linger.closed {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            linger.closed = true;
        }
        this.poll_linger(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(&polled);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn deadlines_follow_the_diagram() {
        let limits = Timeouts::default();
        let c = ConnState::new(100 * S);
        assert_eq!(c.check(109 * S, &limits), Ok(Duration::from_secs(1)));
        assert_eq!(c.check(110 * S, &limits), Err(Expired::Head));
        c.begin();
        assert!(
            c.check(500 * S, &limits).is_ok(),
            "a handler may take its time"
        );
        c.write_stuck_since.store(500 * S, Ordering::Relaxed);
        assert_eq!(c.check(530 * S, &limits), Err(Expired::Write));
        c.write_stuck_since.store(0, Ordering::Relaxed);
        c.end(600 * S);
        assert!(c.check(659 * S, &limits).is_ok());
        assert_eq!(c.check(660 * S, &limits), Err(Expired::Idle));
        c.head_since.store(601 * S, Ordering::Relaxed);
        assert_eq!(c.check(611 * S, &limits), Err(Expired::Head));
        c.h2.store(true, Ordering::Relaxed);
        assert!(c.check(611 * S, &limits).is_ok());
    }
}
