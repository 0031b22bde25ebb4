//! Writing and reading `<vid>.ckpt`.

use std::io;
use std::path::Path;

use halofs_runtime::{Disk, disk};

use crate::format::checkpoint::{self, CheckpointHead};

use super::head::Head;
use super::recover::{self, Start};
use super::view::Published;
use super::window::Window;

/// The checkpoint's bytes for a published state that ends at a synced mark.
pub fn image(head: &Head, published: &Published, at: &Start) -> Vec<u8> {
    let ck = CheckpointHead {
        volume: head.sb.volume,
        generation: head.sb.generation,
        offset: at.offset,
        chain: at.chain,
        epoch: at.epoch,
        append_ns: published.modified_ns,
        dead_files: published.dead_files,
        dead_bytes: published.dead_bytes,
        ranges: published.unknown.clone(),
    };
    checkpoint::encode(&ck, published.index.len(), published.index.iter())
}

/// Replaces the checkpoint.
pub fn write(disk: &dyn Disk, path: &Path, image: &[u8]) -> io::Result<()> {
    disk::replace(disk, path, image, true)
}

/// The checkpoint, if there is one that fits the volume: its own checksum, the volume, the generation, and the mark that
/// ends at its offset, read again from the log.
pub fn load(
    disk: &dyn Disk,
    path: &Path,
    head: &Head,
    log: &mut Window<'_>,
) -> Option<(Start, Published)> {
    if !disk.exists(path).unwrap_or(false) {
        return None;
    }
    let read = disk::read_all(disk, path);
    let (start, published) = match read
        .map_err(|e| e.to_string())
        .and_then(|b| decode(&b, head, log))
    {
        Ok(got) => got,
        Err(why) => {
            tracing::warn!(path = %path.display(), why, "the checkpoint is not used; the log is read whole");
            return None;
        }
    };
    Some((start, published))
}

fn decode(bytes: &[u8], head: &Head, log: &mut Window<'_>) -> Result<(Start, Published), String> {
    let mut published = Published::default();
    let index = &mut published.index;
    let ck = checkpoint::decode(bytes, |e| {
        index.set(e);
    });
    let ck = ck.map_err(|e| e.to_string())?;
    if ck.volume != head.sb.volume || ck.generation != head.sb.generation {
        return Err("it is another volume's or generation's".to_owned());
    }
    // A log without a mark has nothing to read again: its start follows from the head.
    let empty = Start::of_log(head);
    if ck.offset != empty.offset || ck.chain != empty.chain || ck.epoch != empty.epoch {
        let mark = recover::mark_ending_at(head, log, ck.offset).map_err(|e| e.to_string())?;
        if mark.is_none_or(|m| m.chain != ck.chain || m.epoch != ck.epoch) {
            return Err("the mark it names is not in the log".to_owned());
        }
    }
    published.modified_ns = ck.append_ns;
    published.dead_files = ck.dead_files;
    published.dead_bytes = ck.dead_bytes;
    published.unknown = ck.ranges;
    published.end = ck.offset;
    published.epoch = ck.epoch;
    Ok((
        Start {
            offset: ck.offset,
            chain: ck.chain,
            epoch: ck.epoch,
        },
        published,
    ))
}
