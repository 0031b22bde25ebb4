//! Listeners: accept, the connection cap, TLS, and draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use halofs_types::limits;

use super::Handler;
use super::conn::{ConnState, Expired, Guarded, LINGER, LINGER_BYTES};
use super::exchange::Exchanges;
use crate::clock::Clock;
use crate::metrics::PortMetrics;
use crate::rng::Rng;

/// Heads over this many bytes are answered 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of one HTTP/2 stream, and of one HTTP/2 connection, that may arrive before a handler asks for them.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 2 << 20;
const H2_STREAMS_MAX: u32 = 128;
const H2_FRAME_BYTES: u32 = 64 << 10;
/// Wait after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From accept, or from the first byte of a later head, to the end of the head.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// A peer that takes no byte for this long is cut.
    pub write: Duration,
    /// How long requests may finish after the stop signal, before they are cut.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(8),
        }
    }
}

/// How a port is served.
#[derive(Clone)]
pub struct ServeOptions {
    /// TLS for every connection; ALPN offers h2 and http/1.1.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Open connections; over it, accept waits.
    pub connections_max: usize,
    /// See [`Timeouts`].
    pub timeouts: Timeouts,
    /// Counters of the port; its name goes into the log.
    pub metrics: Arc<PortMetrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub rng: Arc<dyn Rng>,
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions")
            .field("port", &self.metrics.port())
            .finish_non_exhaustive()
    }
}

impl ServeOptions {
    /// Plain text, default deadlines and cap.
    pub fn new(metrics: Arc<PortMetrics>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self {
            tls: None,
            connections_max: limits::CONNECTIONS_MAX,
            timeouts: Timeouts::default(),
            metrics,
            clock,
            rng,
        }
    }
}

/// Everything the connections of a port share.
pub(crate) struct Port {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) metrics: Arc<PortMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    timeouts: Timeouts,
    tls: Option<TlsAcceptor>,
    http: auto::Builder<TokioExecutor>,
    /// Requests may finish, no new ones.
    drain: CancellationToken,
    /// Everything ends now.
    cut: CancellationToken,
    /// What the end of [`serve`] waits for.
    tasks: TaskTracker,
}

impl Port {
    /// Reads the rest of a request's body after its answer and throws it away, until it ends, or time or bytes are used
    /// up.
    pub(crate) fn linger(self: &Arc<Self>, mut body: Incoming) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let port = Arc::clone(self);
        self.tasks.spawn(async move {
            let rest = async {
                let mut left = LINGER_BYTES;
                while let Some(Ok(frame)) = body.frame().await {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if left == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                () = rest => {}
                () = port.clock.sleep(LINGER) => {}
                () = port.cut.cancelled() => {}
            }
        });
    }
}

/// A listening socket. Port 0 picks a free one.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Serves until `stop`, then drains: returns when every connection is closed, at the latest after
/// [`Timeouts::drain`]. One handler may answer on several sockets.
pub async fn serve(
    listeners: Vec<TcpListener>,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
    stop: CancellationToken,
) {
    let cut = CancellationToken::new();
    let tasks = TaskTracker::new();
    let port = Arc::new(Port {
        handler,
        metrics: options.metrics,
        clock: options.clock,
        rng: options.rng,
        timeouts: options.timeouts,
        tls: options.tls.map(TlsAcceptor::from),
        http: builder(),
        drain: stop.clone(),
        cut: cut.clone(),
        tasks: tasks.clone(),
    });
    let room = Arc::new(Semaphore::new(options.connections_max));
    for listener in listeners {
        let (port, room, tasks) = (Arc::clone(&port), Arc::clone(&room), tasks.clone());
        tasks
            .clone()
            .spawn(async move { accept(&listener, &port, &room, &tasks).await });
    }
    stop.cancelled().await;
    tasks.close();
    let grace = port.clock.sleep(port.timeouts.drain);
    tokio::select! {
        () = tasks.wait() => {}
        () = grace => {
            tracing::warn!(port = port.metrics.port(), left = tasks.len(), "requests were cut at the end of the drain");
            cut.cancel();
            tasks.wait().await;
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The head's deadline is ours (see `conn`); hyper's own would arm a timer for every request.
    http.http1()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .writev(true);
    http.http2()
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_frame_size(H2_FRAME_BYTES)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    http
}

async fn accept(
    listener: &TcpListener,
    port: &Arc<Port>,
    room: &Arc<Semaphore>,
    tasks: &TaskTracker,
) {
    loop {
        let next = async {
            let permit = Arc::clone(room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = port.drain.cancelled() => return,
            next = next => next,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, peer))) => {
                let port = Arc::clone(port);
                tasks.spawn(async move { connection(stream, peer, &port, permit).await });
            }
            (Err(_), _) => return,
            (_, Err(error)) => {
                tracing::warn!(port = port.metrics.port(), %error, "accept failed");
                port.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts an open connection.
struct Open<'a>(&'a PortMetrics);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.add(-1);
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    port: &Arc<Port>,
    _permit: OwnedSemaphorePermit,
) {
    port.metrics.connections.add(1);
    let _open = Open(&port.metrics);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY was refused");
    }
    let state = ConnState::new(port.clock.monotonic_ns());
    let exchanges = Exchanges {
        port: Arc::clone(port),
        conn: Arc::clone(&state),
        peer,
        peer_text: peer.to_string().into(),
        tls: port.tls.is_some(),
        id: u128::from_le_bytes(port.rng.id16()),
        next: AtomicU64::new(0),
    };
    let served = async {
        match &port.tls {
            None => converse(stream, exchanges, port, &state).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => converse(stream, exchanges, port, &state).await,
                Err(error) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
            },
        }
    };
    tokio::select! {
        () = served => {}
        why = state.watch(&*port.clock, &port.timeouts) => {
            if why != Expired::Idle {
                tracing::debug!(%peer, ?why, "a connection was cut at a deadline");
            }
        }
        () = port.cut.cancelled() => {}
    }
}

async fn converse<S>(stream: S, exchanges: Exchanges, port: &Port, state: &Arc<ConnState>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let peer = exchanges.peer;
    let io = Guarded::new(
        TokioIo::new(stream),
        Arc::clone(state),
        Arc::clone(&port.clock),
    );
    let mut conn = std::pin::pin!(port.http.serve_connection(io, exchanges));
    let ended = tokio::select! {
        ended = conn.as_mut() => ended,
        () = port.drain.cancelled() => {
            conn.as_mut().graceful_shutdown();
            conn.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}
