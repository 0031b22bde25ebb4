//! What runs by itself. Each collector is a method that does one round, so that tests can drive it, and a task that
//! calls it at intervals of the filer's clock until the filer stops.
//!
//! | collector | what it does |
//! |---|---|
//! | [`gc`] | deletes ripe needles of the queue |
//! | [`sweep`] | ends leases that were not renewed, queues what their fids wrote and no row names |
//! | [`expiry`] | ends old uploads, removes old answers |
//! | [`orphan`] | compares needles with rows, once a week |
//! | [`restored`] | at the start: keeps the sweeps and the scan from their work when the rows are older than the needles |
//!
//! Only the queue's collector deletes needles, and only what a transaction queued.

use std::sync::Arc;
use std::time::Duration;

use halofs_client::error::FilerError;
use halofs_types::Timestamp;
use tokio::task::JoinHandle;

use crate::key;
use crate::service::Filer;

mod expiry;
mod gc;
mod named;
mod orphan;
mod restored;
mod sweep;

/// Calls `round` at intervals until the filer stops. A failed round is logged and tried again at the next one.
fn every<F, R>(
    filer: &Arc<Filer>,
    name: &'static str,
    interval: Duration,
    round: F,
) -> JoinHandle<()>
where
    F: Fn(Arc<Filer>) -> R + Send + 'static,
    R: Future<Output = Result<(), FilerError>> + Send,
{
    let filer = Arc::clone(filer);
    tokio::spawn(async move {
        while filer.pause(interval).await {
            let cancelled = filer.cancel.clone();
            let outcome = tokio::select! {
                () = cancelled.cancelled() => return,
                outcome = round(Arc::clone(&filer)) => outcome,
            };
            if let Err(e) = outcome {
                tracing::warn!(collector = name, error = %e, "a round failed; it will be tried again");
            }
        }
    })
}

/// Starts the tasks.
pub(crate) fn start(filer: &Arc<Filer>) -> Vec<JoinHandle<()>> {
    let config = filer.config.clone();
    let queued_before = key::garbage_ripe(Timestamp(filer.ripe().0.saturating_sub(1)));
    let mut tasks = vec![
        every(filer, "garbage", config.gc_every, |f| async move {
            f.run_gc_once().await.map(|_| ())
        }),
        every(filer, "leases", config.lease_every, |f| async move {
            f.run_leases_once().await.map(|_| ())
        }),
        every(filer, "answers", config.done_every, |f| async move {
            f.run_done_once().await.map(|_| ())
        }),
        every(filer, "clock", config.clock_every, |f| async move {
            f.run_clock_once().await
        }),
        tokio::spawn(gc::count(Arc::clone(filer), queued_before)),
    ];
    if config.upload_life.is_some() {
        let round = |f: Arc<Filer>| async move { f.run_uploads_once().await.map(|_| ()) };
        tasks.push(every(filer, "uploads", config.upload_every, round));
    }
    if let Some(interval) = config.orphan_every {
        let round = move |f: Arc<Filer>| async move { f.run_orphans_when_due(interval).await };
        tasks.push(every(filer, "orphans", config.orphan_look, round));
    }
    tasks
}
