//! Background tasks with names: a service owns a group, and stopping it waits for every one and says who did not stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Tasks of one service.
pub struct TaskGroup {
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
    tasks: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl std::fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.tasks.lock().iter().map(|(name, _)| *name).collect();
        f.debug_tuple("TaskGroup").field(&names).finish()
    }
}

impl TaskGroup {
    /// A group that stops with `stop` or by [`stop`](Self::stop).
    pub fn new(clock: Arc<dyn Clock>, stop: &CancellationToken) -> Self {
        Self {
            stop: stop.child_token(),
            clock,
            tasks: Mutex::new(Vec::new()),
        }
    }

    /// The signal that the group's tasks watch.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task; it must end soon after [`stopping`](Self::stopping) fires.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        tasks.retain(|(_, t)| !t.is_finished());
        tasks.push((name, tokio::spawn(task)));
    }

    /// Signals, then waits up to `limit` in all. Answers the names of tasks that did not stop; those are aborted.
    pub async fn stop(&self, limit: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let mut deadline = self.clock.sleep(limit);
        let mut late = Vec::new();
        for (name, mut task) in tasks {
            if !late.is_empty() {
                if !task.is_finished() {
                    task.abort();
                    late.push(name);
                }
                continue;
            }
            tokio::select! {
                _ended = &mut task => {}
                () = &mut deadline => {
                    task.abort();
                    late.push(name);
                }
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;

    #[tokio::test]
    async fn stop_names_who_does_not_end() {
        let group = TaskGroup::new(Arc::new(RealClock), &CancellationToken::new());
        let stopping = group.stopping();
        group.spawn("good", async move { stopping.cancelled().await });
        group.spawn("bad", std::future::pending());
        group.spawn("worse", std::future::pending());
        assert_eq!(
            group.stop(Duration::from_millis(20)).await,
            ["bad", "worse"]
        );
    }
}
