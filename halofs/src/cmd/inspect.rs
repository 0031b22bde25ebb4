//! `halofs inspect PATH`: says what a file or store folder of ours is and prints it, offline, without changing it.
//! Everything that is not sealed is shown without a key; `-key.file` shows what the seals hide, except file contents.
//!
//! | module | what it prints |
//! |---|---|
//! | [`volume`] | volume files, their state and checkpoint |
//! | [`store`] | the RocksDB folders of main and filer |

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use halofs_runtime::disk::{self, Open};
use halofs_runtime::{Disk, RealDisk};
use halofs_seal::{FileKeyProvider, KeyProvider};

use super::say;
use crate::cli::InspectArgs;

mod store;
mod volume;

/// Prints one thing.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let disk = RealDisk;
    let path = args.path.as_path();
    let keys = args
        .key_file
        .as_deref()
        .map(|k| FileKeyProvider::open(&disk, k))
        .transpose()?;
    if path.is_dir() {
        if disk.exists(&path.join("CURRENT"))? {
            return store::print(path, keys);
        }
        return folder(&disk, path);
    }
    let file = disk
        .open(path, Open::Read)
        .with_context(|| format!("opening {}", path.display()))?;
    let mut head = [0; 8];
    let got = file.read_at(&mut head, 0)?;
    match head.get(..got).unwrap_or_default() {
        b"HALOVOL1" => volume::print(&*file, keys.as_ref().map(|k| k as &dyn KeyProvider)),
        b"HALOSTA1" => volume::print_state(&disk::read_all(&disk, path)?),
        b"HALOCKP1" => volume::print_checkpoint(&disk::read_all(&disk, path)?),
        _ => small_file(&disk, path),
    }
}

/// A data folder: what is in it, one line each.
fn folder(disk: &dyn Disk, path: &Path) -> anyhow::Result<()> {
    say(&format!("folder {}", path.display()))?;
    for entry in disk.list(path)? {
        let at = path.join(&entry.name);
        let kind = Path::new(&entry.name).extension().and_then(|x| x.to_str());
        let what = match entry.name.as_str() {
            "LOCK" => "lock of the process that uses this folder",
            "cluster.json" => "identity of the cluster",
            "root.key" => "root key: never share it, keep a backup",
            "credentials" => "S3 credentials of the first start",
            "dir.uuid" => "identity of this folder of volumes",
            "volumes.uuid" => "which folder of volumes belongs here",
            "quarantine" => "bytes that a recovery took out of volumes",
            _ if kind == Some("vol") => "volume",
            _ if kind == Some("state") => "what a volume's copy has promised",
            _ if kind == Some("ckpt") => "index of a volume",
            _ if entry.is_dir && disk.exists(&at.join("CURRENT"))? => "store of rows",
            _ if entry.is_dir => "folder",
            _ => "not a file of halofs",
        };
        say(&format!("  {:<16} {what}", entry.name))?;
    }
    Ok(())
}

/// Files that are text.
fn small_file(disk: &dyn Disk, path: &Path) -> anyhow::Result<()> {
    const SMALL: u64 = 1 << 20;
    let len = disk.open(path, Open::Read)?.len()?;
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if let Some(store) = store_of(disk, path)? {
        bail!(
            "{} is part of the store {}: inspect that folder",
            path.display(),
            store.display()
        );
    }
    if len > SMALL {
        bail!("{} is not a file of halofs", path.display());
    }
    let bytes = disk::read_all(disk, path)?;
    let text = String::from_utf8_lossy(&bytes);
    let hex = text.trim();
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let key = FileKeyProvider::open(disk, path)?;
        return say(&format!(
            "root key {}; its bytes are not shown",
            key.kek_id()
        ));
    }
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes)
        && json.get("cluster_uuid").is_some()
    {
        return say(&format!("identity of a cluster\n{json:#}"));
    }
    if text.lines().any(|l| l.trim() == "[halofs]") {
        let key = text
            .lines()
            .find_map(|l| l.trim().strip_prefix("aws_access_key_id"));
        let key = key
            .map(|k| k.trim_start_matches([' ', '=']))
            .unwrap_or_default();
        return say(&format!(
            "S3 credentials, profile halofs, access key {key}; the secret is not shown"
        ));
    }
    if name == "dir.uuid" {
        return say(&format!(
            "identity of a folder of volumes\n{}",
            text.trim_end()
        ));
    }
    if name == "volumes.uuid" {
        return say(&format!(
            "identity of the folder of volumes that belongs here\n{}",
            text.trim_end()
        ));
    }
    if len == 0 && name == "LOCK" {
        return say("lock file");
    }
    bail!("{} is not a file of halofs", path.display())
}

/// The store folder that a file of RocksDB lies in: alone such a file tells nothing.
fn store_of(disk: &dyn Disk, path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(folder) = std::path::absolute(path)?.parent().map(Path::to_path_buf) else {
        return Ok(None);
    };
    let is_store = disk.exists(&folder.join("CURRENT"))?;
    Ok(is_store.then_some(folder))
}

/// Nanoseconds since 1970 as an HTTP date.
fn date(ns: u64) -> String {
    halofs_types::Timestamp(ns).http_date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_of_a_data_folder_are_known_and_a_file_of_a_store_names_its_folder() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        let put = |name: &str, text: &[u8]| {
            disk::replace(&RealDisk, &at(name), text, false).unwrap();
        };
        put("volumes.uuid", b"dir 00112233445566778899aabbccddeeff\n");
        small_file(&RealDisk, &at("volumes.uuid")).unwrap();
        RealDisk.create_dir_all(&at("filer")).unwrap();
        put("filer/CURRENT", b"MANIFEST-000001\n");
        put("filer/000002.log", b"rows");
        let told = small_file(&RealDisk, &at("filer/000002.log")).unwrap_err();
        assert!(told.to_string().contains("inspect that folder"), "{told}");
        put("other", b"x");
        let told = small_file(&RealDisk, &at("other")).unwrap_err();
        assert!(told.to_string().contains("not a file of halofs"), "{told}");
    }
}
