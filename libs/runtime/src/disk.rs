//! Files behind a trait: the one seam for crash exploration and fault injection. No other code touches a file.
//!
//! Laws that every implementation keeps, and that callers rely on:
//! 1. Bytes written are readable at once, and durable only after `sync_data` or `sync_all` returned.
//! 2. A created, renamed or removed name is durable only after `sync_dir` of its folder returned.
//! 3. After a failed sync nothing is known about un-synced bytes; the caller fences the file and never retries.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod real;
pub mod sim;

pub use real::RealDisk;
pub use sim::SimDisk;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Must exist; read only.
    Read,
    /// Must exist; read and write.
    ReadWrite,
    /// Must not exist; read and write.
    CreateNew,
    /// Must exist; reads by-pass the page cache where the file system allows (O_DIRECT). `read_at` keeps its contract:
    /// any offset and length.
    ReadDirect,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for this process.
    pub free: u64,
}

/// A folder's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A lock that lasts until it is dropped or the process ends.
pub trait DiskLock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file with mode 0600 that must not exist, for secrets.
    fn create_secret(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a folder and its parents (mode 0700), and syncs the folders it changed.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames over an existing file. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The folder's entries, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Permission bits and owner (uid) of a file.
    fn mode_owner(&self, path: &Path) -> io::Result<(u32, u32)>;
    /// Space of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// An exclusive lock on a file, made when absent; `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// An open file. All methods take `&self`: one writer owns the offsets, readers use positions.
pub trait DiskFile: Send + Sync {
    /// Reads at a position; short only at the end of the file.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all the pieces at a position.
    fn write_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()>;
    /// Makes written bytes durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes and metadata durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads exactly `buf.len()` bytes at `at`.
pub fn read_exact_at(file: &dyn DiskFile, buf: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_at(buf, at)? == buf.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The whole of a small file.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let len =
        usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut buf = vec![0; len];
    let got = file.read_at(&mut buf, 0)?;
    buf.truncate(got);
    Ok(buf)
}

/// Replaces a small file so that after a crash either the old or the new content is there, whole: temp file, sync,
/// rename, sync of the folder. `secret` makes the file 0600.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8], secret: bool) -> io::Result<()> {
    let tmp = temp_name(path);
    if disk.exists(&tmp)? {
        disk.remove(&tmp)?;
    }
    let file = if secret {
        disk.create_secret(&tmp)?
    } else {
        disk.open(&tmp, Open::CreateNew)?
    };
    file.write_at(&[IoSlice::new(content)], 0)?;
    file.sync_all()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(parent(path))
}

/// The folder of a path.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

fn temp_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
