//! The first start of a data folder, and every later one's check that key and data belong together.
//!
//! `cluster.json` (made once, never changed):
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `format` | number, 1 | a larger one is refused: a newer halofs wrote it |
//! | `cluster_uuid` | 32 hex digits | binds every volume and row to this cluster |
//! | `kek_id` | 16 hex digits | id of the root key that seals the data |
//!
//! Why this order: lock, then the sockets, so that a start that fails on a taken port leaves no key, then key, then `cluster.json`, then anything that is sealed. A crash between any two leaves
//! either nothing, or a key that seals nothing yet and is taken over by the next start. A root key is made only while
//! no sealed thing exists; it is never made beside data that another key sealed (`replication.md` 25).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use halofs_runtime::disk::{self, DiskLock};
use halofs_runtime::{Disk, Rng};
use halofs_seal::{FileKeyProvider, KeyProvider};
use halofs_types::Uuid;
use serde::{Deserialize, Serialize};

/// The newest `cluster.json` this build reads.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct ClusterFile {
    format: u32,
    cluster_uuid: String,
    kek_id: String,
}

/// An opened data folder.
pub(crate) struct Home {
    /// Held until the process ends.
    pub(crate) _lock: Box<dyn DiskLock>,
    /// This cluster.
    pub(crate) cluster: Uuid,
    /// Wraps and unwraps data keys.
    pub(crate) keys: Arc<dyn KeyProvider>,
    /// Where the root key is.
    pub(crate) key_file: PathBuf,
    /// Whether this start made the cluster.
    pub(crate) first: bool,
    /// Whether nothing was stored yet when it was opened: the root key may never have been backed up.
    pub(crate) fresh: bool,
}

/// Takes `dir` for this process, making it when it is absent.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> anyhow::Result<Box<dyn DiskLock>> {
    disk.create_dir_all(dir)
        .with_context(|| format!("making {}", dir.display()))?;
    let lock_path = dir.join("LOCK");
    match disk.lock(&lock_path) {
        Ok(lock) => Ok(lock),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            bail!(
                "{} is in use by another halofs process; stop it or choose another -dir",
                dir.display()
            )
        }
        Err(e) => Err(e).with_context(|| format!("locking {}", lock_path.display())),
    }
}

/// Opens `dir`, which `lock` guards, and makes key and identity when it holds nothing yet.
pub(crate) fn open(
    disk: &dyn Disk,
    rng: &dyn Rng,
    dir: &Path,
    key_file: Option<&Path>,
    lock: Box<dyn DiskLock>,
) -> anyhow::Result<Home> {
    let key_file = key_file.map_or_else(|| dir.join("root.key"), Path::to_path_buf);
    let cluster_file = dir.join("cluster.json");
    if disk.exists(&cluster_file)? {
        let (cluster, keys) = reopen(disk, dir, &cluster_file, &key_file)?;
        return Ok(Home {
            _lock: lock,
            cluster,
            keys,
            key_file,
            first: false,
            fresh: !has_volumes(disk, dir)?,
        });
    }
    if let Some(found) = sealed_thing(disk, dir)? {
        bail!(
            "{} is missing although {} exists; restore it from a backup. No root key was made and nothing was changed",
            cluster_file.display(),
            found.display()
        );
    }
    let provider = if disk.exists(&key_file)? {
        FileKeyProvider::open(disk, &key_file)?
    } else {
        FileKeyProvider::create(disk, rng, &key_file)?
    };
    let cluster = Uuid(rng.id16());
    let content = ClusterFile {
        format: FORMAT,
        cluster_uuid: cluster.to_string(),
        kek_id: provider.kek_id().to_owned(),
    };
    let text = serde_json::to_vec_pretty(&content)?;
    disk::replace(disk, &cluster_file, &text, false)
        .with_context(|| format!("writing {}", cluster_file.display()))?;
    Ok(Home {
        _lock: lock,
        cluster,
        keys: Arc::new(provider),
        key_file,
        first: true,
        fresh: true,
    })
}

fn reopen(
    disk: &dyn Disk,
    dir: &Path,
    cluster_file: &Path,
    key_file: &Path,
) -> anyhow::Result<(Uuid, Arc<dyn KeyProvider>)> {
    let shown = cluster_file.display();
    let text = disk::read_all(disk, cluster_file).with_context(|| format!("reading {shown}"))?;
    let content: ClusterFile =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is damaged"))?;
    if content.format > FORMAT {
        bail!(
            "{shown} has format {}; this halofs reads up to {FORMAT}: use a newer one",
            content.format
        );
    }
    let cluster: Uuid = content
        .cluster_uuid
        .parse()
        .with_context(|| format!("{shown}: cluster_uuid"))?;
    if !disk.exists(key_file)? {
        bail!(
            "the data under {} is sealed under root key {}, and {} is missing; restore it from your backup. Nothing \
             was changed",
            dir.display(),
            content.kek_id,
            key_file.display()
        );
    }
    let keys = FileKeyProvider::open(disk, key_file)?;
    if keys.kek_id() != content.kek_id {
        bail!(
            "{} holds root key {}, but the data under {} is sealed under root key {}; nothing was changed",
            key_file.display(),
            keys.kek_id(),
            dir.display(),
            content.kek_id
        );
    }
    Ok((cluster, Arc::new(keys)))
}

/// The first thing under `dir` that some root key seals.
fn sealed_thing(disk: &dyn Disk, dir: &Path) -> io::Result<Option<PathBuf>> {
    for store in ["main", "filer"] {
        let path = dir.join(store);
        if disk.exists(&path)? {
            return Ok(Some(path));
        }
    }
    first_volume(disk, dir)
}

/// Whether any volume is under `dir`: then main's state must exist too.
pub(crate) fn has_volumes(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    first_volume(disk, dir).map(|v| v.is_some())
}

fn first_volume(disk: &dyn Disk, dir: &Path) -> io::Result<Option<PathBuf>> {
    let volumes = dir.join("volumes");
    if !disk.exists(&volumes)? {
        return Ok(None);
    }
    let volume = disk
        .list(&volumes)?
        .into_iter()
        .find(|e| Path::new(&e.name).extension().is_some_and(|x| x == "vol"));
    Ok(volume.map(|e| volumes.join(e.name)))
}

#[cfg(test)]
mod tests {
    use halofs_runtime::RealDisk;
    use halofs_runtime::rng::OsRng;

    use super::*;

    fn start(dir: &Path) -> anyhow::Result<Home> {
        open(&RealDisk, &OsRng, dir, None, lock(&RealDisk, dir)?)
    }

    #[test]
    fn first_start_makes_the_key_and_later_ones_check_it() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a/b");
        let first = start(&dir).unwrap();
        assert!(first.first && first.fresh);
        let busy = start(&dir).err().unwrap().to_string();
        assert!(busy.contains("in use"), "{busy}");
        let cluster = first.cluster;
        drop(first);
        let again = start(&dir).unwrap();
        assert!(!again.first && again.cluster == cluster);
        assert!(
            again.fresh,
            "the key may not be backed up: nothing is stored"
        );
        let key = disk::read_all(&RealDisk, &again.key_file).unwrap();
        drop(again);

        RealDisk.remove(&dir.join("root.key")).unwrap();
        let missing = start(&dir).err().unwrap().to_string();
        assert!(
            missing.contains("is missing") && !dir.join("root.key").exists(),
            "{missing}"
        );
        disk::replace(&RealDisk, &dir.join("root.key"), &[b'a'; 64], true).unwrap();
        let wrong = start(&dir).err().unwrap().to_string();
        assert!(wrong.contains("is sealed under root key"), "{wrong}");
        disk::replace(&RealDisk, &dir.join("root.key"), &key, true).unwrap();
        RealDisk.create_dir_all(&dir.join("volumes")).unwrap();
        disk::replace(&RealDisk, &dir.join("volumes/1.vol"), b"x", false).unwrap();
        assert!(!start(&dir).unwrap().fresh);
    }

    #[test]
    fn no_key_is_made_beside_data() {
        for thing in ["main", "filer", "volumes/1.vol"] {
            let tmp = tempfile::tempdir().unwrap();
            let path = tmp.path().join(thing);
            if thing.contains("vol") {
                RealDisk.create_dir_all(disk::parent(&path)).unwrap();
                disk::replace(&RealDisk, &path, b"x", false).unwrap();
            } else {
                RealDisk.create_dir_all(&path).unwrap();
            }
            let refused = start(tmp.path()).err().unwrap().to_string();
            assert!(refused.contains("cluster.json is missing"), "{refused}");
            assert!(!tmp.path().join("root.key").exists());
        }
    }
}
