//! The filer's time: what ages are measured with.
//!
//! A wall clock jumps: a bad battery, an operator, a wrong time server. Uploads that expire all at once, or never, must
//! not follow from that. So ages are differences of a time of the filer's own. It began as the wall clock of the
//! store's first start, runs with the monotonic clock while the filer runs, and stands in the row `meta/clock` every few
//! minutes. Over a stop it goes on by as much as the wall clock did, by a day at most and never back. So whatever the
//! wall clock does, an upload lives as long as it may in hours of a running filer, less a day a start.
//!
//! A crash after a jump back loses the minutes since the row was written: what was recorded in them looks younger than
//! it is, never older.
//!
//! Times that clients see (Last-Modified, Initiated) are the wall clock's.

use std::time::Duration;

use halofs_client::error::FilerError;
use halofs_proto::filer as pb;
use halofs_runtime::Clock;
use halofs_store::KvStore;
use halofs_types::Timestamp;
use prost::Message;

use crate::config::nanos;
use crate::service::{Filer, Plan, store_error};
use crate::{key, model};

/// A stop counts for so long at most.
const STOP_MAX: Duration = Duration::from_hours(24);

/// See the module.
#[derive(Debug)]
pub(crate) struct FilerTime {
    /// The filer's time at the start of this incarnation.
    at_start: u64,
    /// The monotonic clock's.
    monotonic: u64,
}

impl FilerTime {
    /// Goes on from where the last incarnation was.
    pub(crate) fn open(store: &dyn KvStore, clock: &dyn Clock) -> Result<Self, FilerError> {
        let wall = clock.now().0;
        let at_start = match store.get(key::CLOCK).map_err(store_error)? {
            None => wall,
            Some(row) => {
                let last: pb::Clock = model::decode(&row.value, "the filer's time")?;
                let stopped = wall.saturating_sub(last.wall_ns).min(nanos(STOP_MAX));
                last.time_ns.saturating_add(stopped)
            }
        };
        Ok(Self {
            at_start,
            monotonic: clock.monotonic_ns(),
        })
    }

    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let ran = clock.monotonic_ns().saturating_sub(self.monotonic);
        Timestamp(self.at_start.saturating_add(ran))
    }
}

impl Filer {
    /// The filer's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.time.now(self.clock.as_ref())
    }

    /// Records the time, so that the next incarnation goes on from it.
    pub async fn run_clock_once(&self) -> Result<(), FilerError> {
        let row = pb::Clock {
            time_ns: self.now().0,
            wall_ns: self.clock.now().0,
        };
        let mut plan = Plan::default();
        plan.frees();
        plan.put(key::CLOCK.into(), row.encode_to_vec());
        self.commit(plan).await.map(|_| ())
    }
}
