//! Time behind a trait, so that tests own it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use halofs_types::Timestamp;

/// Wall and monotonic time. No other code asks the operating system.
pub trait Clock: Send + Sync + 'static {
    /// Wall time. May jump.
    fn now(&self) -> Timestamp;
    /// Nanoseconds from an arbitrary start; never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Completes after `d` of this clock's time.
    fn sleep(&self, d: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn monotonic_ns(&self) -> u64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(t.tv_sec).unwrap_or(0);
        secs.saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(t.tv_nsec).unwrap_or(0))
    }

    fn sleep(&self, d: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(d))
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    state: parking_lot::Mutex<(u64, u64)>,
    moved: tokio::sync::Notify,
}

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            state: parking_lot::Mutex::new((now.0, 0)),
            moved: tokio::sync::Notify::new(),
        })
    }

    /// Sets the wall clock, as an operator or a wrong time server does. The monotonic one stays.
    pub fn set_wall(&self, now: Timestamp) {
        self.state.lock().0 = now.0;
    }

    /// Moves both clocks forward and wakes whoever sleeps.
    pub fn advance(&self, d: Duration) {
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        {
            let mut s = self.state.lock();
            s.0 = s.0.saturating_add(ns);
            s.1 = s.1.saturating_add(ns);
        }
        self.moved.notify_waiters();
    }
}

/// A [`ManualClock`] that services can hold.
#[derive(Debug, Clone)]
pub struct SharedManualClock(pub Arc<ManualClock>);

impl Clock for SharedManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.state.lock().0)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.state.lock().1
    }

    fn sleep(&self, d: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = Arc::clone(&self.0);
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let until = clock.state.lock().1.saturating_add(ns);
        Box::pin(async move {
            loop {
                let moved = clock.moved.notified();
                if clock.state.lock().1 >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}
