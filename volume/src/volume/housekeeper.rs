//! One thread a server for file work that no request waits for: checkpoints and space written ahead.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use halofs_runtime::{Disk, DiskFile};
use parking_lot::Mutex;

use super::ahead::{Ahead, AheadError};
use super::checkpoint;
use super::writer::Queue;

/// Chores that wait, at most: a checkpoint holds its volume's index once.
const WAITING: usize = 4;

/// Something to do.
pub enum Chore {
    /// Replace a checkpoint.
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// Its bytes.
        image: Vec<u8>,
    },
    /// Write zeros ahead.
    Zeros {
        /// Whose.
        ahead: Arc<Ahead>,
        /// A handle of its own.
        file: Arc<dyn DiskFile>,
        /// Up to here.
        target: u64,
        /// Cleared when done.
        busy: Arc<AtomicBool>,
        /// Told when a sync fails.
        queue: Arc<Queue>,
    },
}

/// The thread's handle.
pub struct Housekeeper {
    send: Mutex<Option<SyncSender<Chore>>>,
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Housekeeper {
    /// Starts the thread.
    pub fn start(disk: Arc<dyn Disk>) -> io::Result<Arc<Self>> {
        let (send, chores) = sync_channel(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("volume-housekeeper".to_owned())
            .spawn(move || work(&*disk, &chores, &count))?;
        Ok(Arc::new(Self {
            send: Mutex::new(Some(send)),
            waiting,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Whether a chore would be taken now.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < WAITING
    }

    /// Gives a chore unless too many wait; the answer says whether it was taken.
    pub fn give(&self, chore: Chore) -> bool {
        let send = self.send.lock();
        let Some(send) = send.as_ref() else {
            return false;
        };
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let taken = send.try_send(chore).is_ok();
        if !taken {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// Does what waits, then ends the thread.
    pub fn stop(&self) {
        self.send.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the housekeeper of the volumes ended badly");
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Housekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Housekeeper({} waiting)",
            self.waiting.load(Ordering::Relaxed)
        )
    }
}

fn work(disk: &dyn Disk, chores: &Receiver<Chore>, waiting: &AtomicUsize) {
    while let Ok(chore) = chores.recv() {
        waiting.fetch_sub(1, Ordering::AcqRel);
        match chore {
            Chore::Checkpoint { path, image } => {
                if let Err(e) = checkpoint::write(disk, &path, &image) {
                    tracing::warn!(path = %path.display(), error = %e, "a checkpoint was not written; the next mount reads more of the log");
                }
            }
            Chore::Zeros {
                ahead,
                file,
                target,
                busy,
                queue,
            } => {
                match ahead.extend(&*file, target) {
                    Err(AheadError::Sync(e)) => queue.fence(e),
                    Err(AheadError::Write(e)) => {
                        tracing::warn!(error = %e, "no space was written ahead");
                    }
                    Ok(()) => {}
                }
                busy.store(false, Ordering::Release);
            }
        }
    }
}
