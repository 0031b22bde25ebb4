//! Mounting a volume that is there: head and keys, state, checkpoint, the log from there on, quarantine of what does
//! not stand. Idempotent: a mount that is cut short anywhere is simply done again.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use halofs_client::error::VolumeError;
use halofs_runtime::disk::{self, Open};
use halofs_runtime::{Disk, DiskFile};
use halofs_types::VolumeId;
use sha2::{Digest, Sha256};

use crate::config::Deps;
use crate::format::state::{State, TORN_MAX};
use crate::format::{FormatError, superblock};

use super::checkpoint;
use super::head::{self, Head, io_error, refused};
use super::log::Paths;
use super::recover::{self, Scan, Start};
use super::view::{Published, View};
use super::window::Window;

/// What a mount found of the log.
#[derive(Debug)]
pub struct Found {
    /// The end of the last good mark.
    pub start: Start,
    /// Records behind it, which wait for a mark.
    pub tail: Vec<recover::Found>,
    /// The end of the tail.
    pub end: u64,
    /// Where the reading began: what a checkpoint covers.
    pub read_from: u64,
}

/// A mounted volume.
#[derive(Debug)]
pub struct Mounted {
    /// For readers.
    pub view: View,
    /// Its state file's content.
    pub state: State,
    /// Its log.
    pub found: Found,
}

/// How to mount.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Sync what was cut; false is a seeded fault.
    pub sync_cut: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { sync_cut: true }
    }
}

/// See the module.
pub fn mount(
    deps: &Deps,
    paths: &Paths,
    id: VolumeId,
    options: Options,
) -> Result<Mounted, VolumeError> {
    let (file, head) = open(deps, paths, id)?;
    let state = load_state(&*deps.disk, paths, &head)?;
    let whole = !sync_what_was_left(&*file, id) || state.as_ref().is_none_or(|s| s.fenced);
    let mut state = state.unwrap_or_else(|| State {
        volume: head.sb.volume,
        copy: deps.rng.id16(),
        generation: head.sb.generation,
        ..State::default()
    });
    let (scan, mut published, read_from) = read_log(deps, paths, (id, &head), &state, whole)?;
    cut_end(&*file, paths, &scan, whole, options)?;
    state.epoch = state.epoch.max(scan.epoch);
    remember_torn(&*deps.disk, paths, &mut state, &scan)?;
    published.unknown.extend_from_slice(&scan.unknown);
    published.end = scan.end;
    published.epoch = scan.epoch;
    let tail_ns = scan.tail.iter().map(|f| f.append_ns).max();
    let newest = tail_ns.unwrap_or(0).max(published.modified_ns);
    let view = View {
        id,
        collection: state.collection.clone(),
        head,
        path: paths.vol.clone(),
        file,
        published: parking_lot::RwLock::new(published),
        fenced: false.into(),
        leads: 0.into(),
        last_ns: newest.into(),
    };
    let start = Start {
        offset: scan.end,
        chain: scan.chain,
        epoch: scan.epoch,
    };
    Ok(Mounted {
        view,
        state,
        found: Found {
            start,
            tail: scan.tail,
            end: scan.tail_end,
            read_from,
        },
    })
}

/// The file, and its head with the keys.
fn open(
    deps: &Deps,
    paths: &Paths,
    id: VolumeId,
) -> Result<(Arc<dyn DiskFile>, Head), VolumeError> {
    let file = deps.disk.open(&paths.vol, Open::ReadWrite);
    let file = file.map_err(|e| io_error("open", &paths.vol, &e))?;
    let head = head::load(deps, &*file, &paths.vol)?;
    if head.sb.volume_id != id.0 {
        return Err(refused(
            &paths.vol,
            format!("holds volume {}, not {id}", head.sb.volume_id),
        ));
    }
    Ok((file, head))
}

/// A process that was killed leaves written batches that no sync covered, and a whole one would be served. A failure
/// says the same as a fence does: nothing is known of what is cached, and the file has to be read whole.
fn sync_what_was_left(file: &dyn DiskFile, id: VolumeId) -> bool {
    let synced = file.sync_all();
    if let Err(e) = &synced {
        tracing::error!(volume = %id, error = %e, "the volume's file could not be synced; it is read whole from its disk");
    }
    synced.is_ok()
}

/// Reads the log from the checkpoint on, or `whole`, past the page cache: after a failed sync that holds bytes that the
/// disk does not. What does not stand behind the log's end goes to quarantine.
fn read_log(
    deps: &Deps,
    paths: &Paths,
    (id, head): (VolumeId, &Head),
    state: &State,
    whole: bool,
) -> Result<(Scan, Published, u64), VolumeError> {
    let at = |op, e: io::Error| io_error(op, &paths.vol, &e);
    let direct = deps.disk.open(&paths.vol, Open::ReadDirect);
    let direct = direct.map_err(|e| at("open for direct reads", e))?;
    let mut window = Window::new(&*direct).map_err(|e| at("read", e))?;
    let known = if whole {
        None
    } else {
        checkpoint::load(&*deps.disk, &paths.ckpt, head, &mut window)
    };
    let (start, mut published) =
        known.unwrap_or_else(|| (Start::of_log(head), Published::default()));
    let seg_log2 = head.sb.seg_log2;
    let mut apply = |f: &recover::Found| published.apply(f.applied(), seg_log2);
    let scan = recover::scan(head, &mut window, start, &state.torn, &mut apply)
        .map_err(|e| at("read the log", e))?;
    report(id, &scan);
    if let Some((from, to)) = scan.cut {
        quarantine(&*deps.disk, paths, id, &mut window, (from, to))?;
    }
    Ok((scan, published, start.offset))
}

/// Cuts what went to quarantine. What a failed sync left in the page cache alone is cut too: the page that the next
/// batch is written to would carry it to the disk, behind that batch.
fn cut_end(
    file: &dyn DiskFile,
    paths: &Paths,
    scan: &Scan,
    whole: bool,
    options: Options,
) -> Result<(), VolumeError> {
    if scan.cut.is_none() && !whole {
        return Ok(());
    }
    let at = |op, e: io::Error| io_error(op, &paths.vol, &e);
    file.set_len(scan.tail_end).map_err(|e| at("cut", e))?;
    if options.sync_cut {
        file.sync_all().map_err(|e| at("sync the cut", e))?;
    }
    Ok(())
}

/// Before any later mark makes these ranges look like rot.
fn remember_torn(
    disk: &dyn Disk,
    paths: &Paths,
    state: &mut State,
    scan: &Scan,
) -> Result<(), VolumeError> {
    if scan.torn.is_empty() {
        return Ok(());
    }
    state.torn.extend_from_slice(&scan.torn);
    if state.torn.len() > TORN_MAX {
        return Err(refused(
            &paths.vol,
            format!("has over {TORN_MAX} torn batches; its disk loses writes"),
        ));
    }
    let wrote = disk::replace(disk, &paths.state, &state.encode(), true);
    wrote.map_err(|e| io_error("write the state", &paths.state, &e))
}

/// The state file; `None` when there is none or it is damaged: then nothing is known, and the log is read whole.
fn load_state(disk: &dyn Disk, paths: &Paths, head: &Head) -> Result<Option<State>, VolumeError> {
    let at = |e: io::Error| io_error("read the state", &paths.state, &e);
    if !disk.exists(&paths.state).map_err(at)? {
        return Ok(None);
    }
    let bytes = disk::read_all(disk, &paths.state).map_err(at)?;
    match State::decode(&bytes) {
        Ok(s) if s.volume == head.sb.volume => Ok(Some(s)),
        Ok(_) => Ok(None),
        Err(e @ FormatError::Newer { .. }) => Err(refused(&paths.state, e.to_string())),
        Err(e) => {
            tracing::warn!(path = %paths.state.display(), error = %e, "the state file is damaged; the log is read whole");
            Ok(None)
        }
    }
}

fn report(id: VolumeId, scan: &Scan) {
    if scan.rotten > 0 {
        let unknown = scan.unknown.len();
        tracing::error!(volume = %id, rotten = scan.rotten, unknown, "records of this volume are damaged");
    }
    if !scan.torn.is_empty() {
        tracing::warn!(volume = %id, torn = scan.torn.len(), "part of the last batch never reached the disk; it was not acknowledged");
    }
    if let Some((from, to)) = scan.cut {
        tracing::warn!(volume = %id, from, bytes = to - from, "unacknowledged bytes at the log's end go to quarantine");
    }
}

/// Copies `from..to` of the log to `quarantine/<vid>.<offset>.<hash>`; the same bytes again make no second file.
fn quarantine(
    disk: &dyn Disk,
    paths: &Paths,
    id: VolumeId,
    window: &mut Window<'_>,
    (from, to): (u64, u64),
) -> Result<(), VolumeError> {
    let dir = paths.dir.join("quarantine");
    let copied = (|| {
        let mut hash = Sha256::new();
        window.each(from, to, |_, piece| {
            hash.update(piece);
            true
        })?;
        let hash = hex::encode(
            hash.finalize()
                .first_chunk::<8>()
                .copied()
                .unwrap_or_default(),
        );
        let path = dir.join(format!("{id}.{from}.{hash}"));
        disk.create_dir_all(&dir)?;
        if disk.exists(&path)? {
            return Ok(());
        }
        copy(disk, window, (from, to), &path)?;
        disk.sync_dir(&dir)
    })();
    match copied {
        // These bytes were never acknowledged: a full disk is no reason to keep the volume from its readers.
        Err(e) if e.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(volume = %id, "no room to keep the cut bytes in quarantine");
            Ok(())
        }
        other => other.map_err(|e| io_error("write the quarantine", &dir, &e)),
    }
}

fn copy(
    disk: &dyn Disk,
    window: &mut Window<'_>,
    (from, to): (u64, u64),
    path: &Path,
) -> io::Result<()> {
    let temp = path.with_extension("tmp");
    if disk.exists(&temp)? {
        disk.remove(&temp)?;
    }
    let file = disk.create_secret(&temp)?;
    let mut failed = Ok(());
    window.each(from, to, |at, piece| {
        failed = file.write_at(&[IoSlice::new(piece)], at - from);
        failed.is_ok()
    })?;
    failed?;
    file.sync_all()?;
    disk.rename(&temp, path)
}

/// Whether the bytes of a file could be a volume at all.
pub fn looks_like_volume(file: &dyn DiskFile) -> bool {
    file.len().is_ok_and(|n| n >= superblock::HEAD)
}
