//! One volume: its log, its index, its reader and its writer thread.
//!
//! | module | what it does |
//! |---|---|
//! | [`head`], [`mount`], [`recover`], [`window`], [`checkpoint`] | bring a volume up from its files |
//! | [`log`] | the log without threads: the order of write, sync, publish, ack |
//! | [`writer`], [`housekeeper`], [`ahead`] | the threads around it |
//! | [`index`], [`view`] | what readers see |
//! | [`encode`], [`put`](mod@put), [`delete`] | from a request to a sealed record |
//! | [`reader`] | from a place in the file to verified bytes |

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use halofs_client::error::VolumeError;
use halofs_client::master::VolumeReport;
use halofs_client::volume::ListedNeedle;
use halofs_types::{Cookie, FileId, NeedleKey, Placement, Uuid};
use parking_lot::Mutex;

use crate::counters::Counters;

use self::log::VolumeLog;
use self::reader::Needle;
use self::view::View;
use self::writer::{Queue, WriterDeps};

pub mod ahead;
pub mod checkpoint;
pub mod delete;
pub mod encode;
pub mod head;
pub mod housekeeper;
pub mod index;
pub mod log;
pub mod mount;
pub mod put;
pub mod reader;
pub mod recover;
pub mod view;
pub mod window;
pub mod writer;

/// A volume that is mounted, with its writer.
#[derive(Debug)]
pub struct Volume {
    view: Arc<View>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    size_limit: Arc<AtomicU64>,
    counters: Arc<Counters>,
}

impl Volume {
    /// Starts the writer of a log.
    pub fn start(log: VolumeLog, deps: WriterDeps) -> std::io::Result<Self> {
        let (view, queue) = (Arc::clone(log.view()), Queue::new());
        let (size_limit, counters) = (Arc::clone(&deps.size_limit), Arc::clone(&deps.counters));
        let thread = writer::start(log, Arc::clone(&queue), deps)?;
        Ok(Self {
            view,
            queue,
            thread: Mutex::new(Some(thread)),
            size_limit,
            counters,
        })
    }

    /// What readers share.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The writer's queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Opens a live needle; the wrong cookie is `NotFound`.
    pub fn open(&self, fid: FileId, commit: Option<&[u8; 16]>) -> Result<Needle, VolumeError> {
        self.view.check_serving()?;
        let index::Slot::Live { offset, plain_len } = reader::locate(&self.view, fid)? else {
            return Err(VolumeError::NotFound(fid));
        };
        let needle = reader::open(&self.view, fid, (offset, plain_len), commit)?;
        if needle.cookie() == fid.cookie.0 {
            Ok(needle)
        } else {
            Err(VolumeError::NotFound(fid))
        }
    }

    /// Live needles with keys in `first..=last`, at most `limit`, ascending. Damaged ones are left out, for nobody can
    /// say whose they are, and noted: a sweep that goes by this list never takes them away.
    pub fn list(
        &self,
        first: NeedleKey,
        last: NeedleKey,
        limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        self.view.check_serving()?;
        let mut out = Vec::new();
        let mut from = first.0;
        while out.len() < limit && from <= last.0 {
            let found = self
                .view
                .published
                .read()
                .index
                .range(from, last.0, limit - out.len());
            let Some(newest) = found.last().map(|f| f.0) else {
                break;
            };
            for (key, offset, plain_len) in found {
                let fid = FileId {
                    volume: self.view.id,
                    key: NeedleKey(key),
                    cookie: Cookie(0),
                };
                match reader::open(&self.view, fid, (offset, plain_len), None) {
                    Ok(needle) => {
                        let fid = FileId {
                            cookie: Cookie(needle.cookie()),
                            ..fid
                        };
                        out.push(ListedNeedle {
                            fid,
                            owner: needle.meta().owner.clone(),
                        });
                    }
                    Err(VolumeError::Damaged { fid, what }) => {
                        self.counters.damaged_needles.note(fid, what);
                    }
                    Err(e) => return Err(e),
                }
            }
            let Some(next) = newest.checked_add(1) else {
                break;
            };
            from = next;
        }
        Ok(out)
    }

    /// The volume's line in the node's report.
    pub fn report(&self, disk_type: &str, read_only: bool) -> VolumeReport {
        let sb = &self.view.head.sb;
        let p = self.view.published.read();
        VolumeReport {
            id: self.view.id,
            uuid: Uuid(sb.volume),
            collection: self.view.collection.clone(),
            owner: self.view.head.owner(),
            placement: Placement::from_byte(sb.placement),
            size: p.end,
            files: p.index.live(),
            deleted_files: p.dead_files,
            deleted_bytes: p.dead_bytes,
            read_only: read_only || self.view.is_fenced(),
            generation: sb.generation,
            epoch: p.epoch,
            leads: self.view.leads(),
            modified_secs: p.modified_ns / 1_000_000_000,
            disk_type: disk_type.to_owned(),
        }
    }

    /// The highest key, deleted ones too.
    pub fn max_key(&self) -> u64 {
        self.view.published.read().index.max_key()
    }

    /// Heap bytes of its index.
    pub fn index_bytes(&self) -> usize {
        self.view.published.read().index.heap_bytes()
    }

    /// Takes no more writes; [`Self::join`] waits for the end.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Waits until the writer has drained its queue, written a checkpoint and stopped.
    pub fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!(volume = %self.view.id, "a volume's writer ended badly");
        }
    }
}

impl Drop for Volume {
    /// Without [`Self::close`], as when a start fails half-way: the writer ends and writes nothing more, no checkpoint
    /// and no state, so that the next mount finds what a kill would have left.
    fn drop(&mut self) {
        self.queue.abandon();
        self.join();
    }
}
