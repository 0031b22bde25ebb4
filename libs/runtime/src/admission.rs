//! Byte permits: every body is counted before it is read, and waits its turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget of body bytes in flight.
#[derive(Debug, Clone)]
pub struct Admission {
    units: Arc<Semaphore>,
    total: u32,
    wait: Duration,
}

/// Bytes granted until dropped.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its units")] OwnedSemaphorePermit);

/// The budget stayed used up for the whole wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are in flight")]
pub struct Busy;

/// Permits are counted in pages, so that any budget fits a semaphore.
pub(crate) const PAGE: usize = 4096;

impl Admission {
    /// A budget of `bytes`; a request waits up to `wait`.
    pub fn new(bytes: usize, wait: Duration) -> Self {
        let total = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX / 2).max(1);
        Self {
            units: Arc::new(Semaphore::new(total as usize)),
            total,
            wait,
        }
    }

    /// Waits for `bytes`, first come first served. A wish over the whole budget takes all of it.
    pub async fn acquire(&self, bytes: usize) -> Result<Permit, Busy> {
        let units = u32::try_from(bytes.div_ceil(PAGE))
            .unwrap_or(u32::MAX)
            .clamp(1, self.total);
        // Only who has to wait needs a timer.
        if let Ok(permit) = Arc::clone(&self.units).try_acquire_many_owned(units) {
            return Ok(Permit(permit));
        }
        let waiting = Arc::clone(&self.units).acquire_many_owned(units);
        match tokio::time::timeout(self.wait, waiting).await {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }

    /// The whole budget: whoever holds this much need not ask for more.
    pub fn total(&self) -> usize {
        self.total as usize * PAGE
    }

    /// Bytes not granted now.
    pub fn free(&self) -> usize {
        self.units.available_permits() * PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn over_budget_waits_then_is_busy() {
        let a = Admission::new(8192, Duration::from_millis(20));
        let first = a.acquire(1_000_000).await.unwrap();
        assert_eq!(a.acquire(1).await.unwrap_err(), Busy);
        drop(first);
        let _second = a.acquire(1).await.unwrap();
        assert_eq!(a.free(), 4096);
    }
}
