//! The folder of volumes is the one that belongs to this data folder: a disk that is not mounted, or another one in its
//! place, stops the start, and no empty folder is made over it.
//!
//! `volumes.uuid` in the data folder is text, one line: `dir <32 hex>`, the same as in `volumes/dir.uuid`. It is written
//! once the folder of volumes is there, and never changed.

use std::path::Path;

use anyhow::{Context, bail};
use halofs_master::topology::state::VolumeLife;
use halofs_master::topology::view::View;
use halofs_runtime::Disk;
use halofs_runtime::disk;

/// Refuses a folder of volumes that is gone or another one. Before anything is opened.
pub(super) fn check(disk: &dyn Disk, dir: &Path) -> anyhow::Result<()> {
    let Some(known) = read(disk, &dir.join("volumes.uuid"))? else {
        return Ok(());
    };
    let shown = dir.join("volumes");
    let shown = shown.display();
    match read(disk, &dir.join("volumes/dir.uuid"))? {
        Some(there) if there == known => Ok(()),
        Some(there) => bail!(
            "{shown} is the folder of volumes {there}, and {} belongs with {known}: mount its disk there. Nothing was \
             changed",
            dir.display()
        ),
        None => bail!(
            "{shown} is missing or empty, and the volumes of {known} were there: mount their disk or restore them from \
             a backup. Nothing was changed"
        ),
    }
}

/// Refuses a missing folder while main knows of volumes in it, as in a data folder that has no `volumes.uuid` yet.
pub(super) fn check_against(disk: &dyn Disk, dir: &Path, volumes: usize) -> anyhow::Result<()> {
    if volumes > 0 && read(disk, &dir.join("volumes/dir.uuid"))?.is_none() {
        bail!(
            "{} is missing or empty although main knows {volumes} volumes: mount their disk or restore them from a \
             backup. No folder was made",
            dir.join("volumes").display()
        );
    }
    Ok(())
}

/// The id under which main knows this server's volumes: its folder's, which stays when ports and addresses change. From
/// now on the data folder belongs with it.
pub(super) fn remember(disk: &dyn Disk, dir: &Path) -> anyhow::Result<String> {
    let path = dir.join("volumes/dir.uuid");
    let id = read(disk, &path)?
        .with_context(|| format!("{} does not name its folder", path.display()))?;
    let mark = dir.join("volumes.uuid");
    if !disk.exists(&mark)? {
        disk::replace(disk, &mark, format!("dir {id}\n").as_bytes(), false)
            .with_context(|| format!("writing {}", mark.display()))?;
    }
    Ok(id)
}

/// Names the volumes that main knows and that no file is there for. The others are served.
pub(super) fn name_missing(view: &View) {
    let missing = view
        .volumes
        .values()
        .filter(|v| v.intent.life == VolumeLife::Active && v.copy.is_none());
    for volume in missing {
        tracing::error!(
            volume = volume.intent.vid,
            "main knows this volume and no server reports it: what lies in it cannot be read"
        );
    }
}

/// What the line `dir` of a file says; `None` without the file.
fn read(disk: &dyn Disk, path: &Path) -> anyhow::Result<Option<String>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let text = disk::read_all(disk, path).with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let id = text.lines().find_map(|l| l.strip_prefix("dir "));
    let id = id.with_context(|| format!("{} is damaged: it names no folder", path.display()))?;
    Ok(Some(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use halofs_runtime::RealDisk;

    use super::*;

    fn folder(dir: &Path, id: &str) {
        RealDisk.create_dir_all(&dir.join("volumes")).unwrap();
        let text = format!("cluster {}\ndir {id}\n", "7".repeat(32));
        disk::replace(
            &RealDisk,
            &dir.join("volumes/dir.uuid"),
            text.as_bytes(),
            false,
        )
        .unwrap();
    }

    #[test]
    fn a_folder_that_is_gone_or_another_is_refused_by_name() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path();
        check(&RealDisk, dir).unwrap();
        check_against(&RealDisk, dir, 0).unwrap();
        let refused = check_against(&RealDisk, dir, 3).unwrap_err().to_string();
        assert!(
            refused.contains("volumes is missing") && refused.contains('3'),
            "{refused}"
        );

        folder(dir, "aa");
        assert_eq!(remember(&RealDisk, dir).unwrap(), "aa");
        check(&RealDisk, dir).unwrap();
        check_against(&RealDisk, dir, 3).unwrap();

        RealDisk
            .rename(&dir.join("volumes"), &dir.join("away"))
            .unwrap();
        let refused = check(&RealDisk, dir).unwrap_err().to_string();
        assert!(refused.contains("volumes is missing or empty"), "{refused}");
        // An empty mount point is no better.
        RealDisk.create_dir_all(&dir.join("volumes")).unwrap();
        assert!(check(&RealDisk, dir).is_err());
        folder(dir, "bb");
        let refused = check(&RealDisk, dir).unwrap_err().to_string();
        assert!(
            refused.contains("bb") && refused.contains("aa"),
            "{refused}"
        );
    }
}
