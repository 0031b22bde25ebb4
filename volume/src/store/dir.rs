//! A volume folder: one process at a time (`LOCK`), one cluster for ever (`dir.uuid`).
//!
//! `dir.uuid` is text, two lines: `cluster <32 hex>` and `dir <32 hex>`; written when the folder is new, refused when it
//! names another cluster. Files that are not ours are left alone.

use std::io;
use std::path::Path;

use halofs_client::error::VolumeError;
use halofs_runtime::disk::{self, DiskLock};
use halofs_types::{Uuid, VolumeId};

use crate::config::Deps;
use crate::volume::head::{io_error, refused};

/// Makes the folder if need be, locks it and checks whose it is. Returns the lock and the numbers of its volumes.
pub(super) fn open(
    deps: &Deps,
    dir: &Path,
) -> Result<(Box<dyn DiskLock>, Vec<VolumeId>), VolumeError> {
    let disk = &*deps.disk;
    let at = |op, path: &Path, e: io::Error| io_error(op, path, &e);
    disk.create_dir_all(dir).map_err(|e| at("create", dir, e))?;
    let lock_path = dir.join("LOCK");
    let lock = disk.lock(&lock_path).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => {
            refused(dir, "another halofs process uses this folder".to_owned())
        }
        _ => at("lock", &lock_path, e),
    })?;
    let entries = disk.list(dir).map_err(|e| at("list", dir, e))?;
    let mut volumes: Vec<VolumeId> = entries
        .iter()
        .filter(|e| !e.is_dir)
        .filter_map(|e| e.name.strip_suffix(".vol"))
        .filter_map(|stem| {
            stem.parse::<VolumeId>()
                .ok()
                .filter(|id| id.to_string() == stem)
        })
        .collect();
    volumes.sort_unstable();
    check_uuid(deps, dir)?;
    Ok((lock, volumes))
}

fn check_uuid(deps: &Deps, dir: &Path) -> Result<(), VolumeError> {
    let disk = &*deps.disk;
    let path = dir.join("dir.uuid");
    let at = |op, e: io::Error| io_error(op, &path, &e);
    if !disk.exists(&path).map_err(|e| at("look at", e))? {
        let text = format!("cluster {}\ndir {}\n", deps.cluster, Uuid(deps.rng.id16()));
        return disk::replace(disk, &path, text.as_bytes(), false).map_err(|e| at("write", e));
    }
    let bytes = disk::read_all(disk, &path).map_err(|e| at("read", e))?;
    let text = String::from_utf8_lossy(&bytes);
    let named = text
        .lines()
        .find_map(|l| l.strip_prefix("cluster "))
        .and_then(|u| u.parse::<Uuid>().ok());
    match named {
        Some(cluster) if cluster == deps.cluster => Ok(()),
        Some(cluster) => Err(refused(
            dir,
            format!(
                "belongs to cluster {cluster}; this is cluster {}",
                deps.cluster
            ),
        )),
        None => Err(refused(
            &path,
            "does not name a cluster; restore it or move the folder away".to_owned(),
        )),
    }
}
