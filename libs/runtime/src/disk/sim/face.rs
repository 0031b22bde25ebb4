//! The simulated file system as programs use it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::super::{Disk, DiskFile, DiskLock, Entry, Open, Space, parent};
use super::{Covered, Fault, Ino, Node, Op, SimDisk, State, UNLIMITED};

pub(super) struct SimFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) ino: Ino,
    pub(super) how: Open,
    /// Failed syncs that this handle knows of.
    pub(super) known: AtomicU64,
}

impl SimFile {
    fn must_write(&self) -> io::Result<()> {
        if matches!(self.how, Open::CreateNew | Open::ReadWrite) {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut s = self.state.lock();
        s.trip(Fault::Read)?;
        if self.how == Open::ReadDirect {
            return Ok(s.platter(self.ino).read(buf, at));
        }
        Ok(s.view.files[self.ino].read(buf, at))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.must_write()?;
        let mut all = Vec::with_capacity(pieces.iter().map(|p| p.len()).sum());
        for piece in pieces {
            all.extend_from_slice(piece);
        }
        self.state.lock().write(self.ino, all, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut s = self.state.lock();
        let failures = s.failures.get(&self.ino).copied().unwrap_or(0);
        if self.known.swap(failures, Ordering::Relaxed) < failures {
            return Err(super::eio());
        }
        let synced = s.sync(&Covered::File(self.ino), Fault::Sync);
        if synced.is_err() {
            self.known.store(failures + 1, Ordering::Relaxed);
        }
        synced
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.must_write()?;
        let mut s = self.state.lock();
        s.trip(Fault::SetLen)?;
        s.push(
            Op::SetLen { ino: self.ino, len },
            &[Covered::File(self.ino)],
        );
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().view.files[self.ino].len())
    }
}

struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut s = self.state.lock();
        let ino = match how {
            Open::CreateNew => s.create(path)?,
            Open::Read | Open::ReadWrite | Open::ReadDirect => s.view.file(path)?,
        };
        Ok(self.file(&s, ino, how))
    }

    fn create_secret(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, Open::CreateNew)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        let mut missing: Vec<PathBuf> = Vec::new();
        for dir in path.ancestors() {
            if dir.as_os_str().is_empty() || s.view.is_dir(dir) {
                break;
            }
            if s.view.names.contains_key(dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            missing.push(dir.to_owned());
        }
        for path in missing.into_iter().rev() {
            let folder = Covered::Folder(parent(&path).to_owned());
            s.push(Op::Mkdir { path }, std::slice::from_ref(&folder));
            s.sync(&folder, Fault::SyncDir)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        let ino = s.view.file(from)?;
        let folder = s.folder_of(to)?;
        s.trip(Fault::Rename)?;
        s.push(
            Op::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
                ino,
            },
            &[folder],
        );
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        let ino = s.view.file(path)?;
        let folder = s.folder_of(path)?;
        s.trip(Fault::Remove)?;
        s.push(
            Op::Remove {
                path: path.to_owned(),
                ino,
            },
            &[folder],
        );
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        if !s.view.is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        s.sync(&Covered::Folder(path.to_owned()), Fault::SyncDir)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let s = self.state.lock();
        if !s.view.is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = s
            .view
            .names
            .iter()
            .filter(|(p, _)| parent(p) == path && p.as_path() != path);
        let mut out: Vec<Entry> = inside
            .filter_map(|(p, node)| {
                let name = p.file_name()?.to_string_lossy().into_owned();
                Some(Entry {
                    name,
                    is_dir: *node == Node::Dir,
                })
            })
            .collect();
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let s = self.state.lock();
        Ok(s.view.is_dir(path) || s.view.names.contains_key(path))
    }

    fn mode_owner(&self, path: &Path) -> io::Result<(u32, u32)> {
        let s = self.state.lock();
        let mode = if s.view.is_dir(path) {
            0o700
        } else {
            s.view.file(path)?;
            0o600
        };
        Ok((mode, rustix::process::geteuid().as_raw()))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let s = self.state.lock();
        Ok(Space {
            total: s.space.unwrap_or(UNLIMITED),
            free: s.free(),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut s = self.state.lock();
        if !s.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let made = if s.view.names.contains_key(path) {
            Ok(0)
        } else {
            s.create(path)
        };
        if let Err(e) = made {
            s.locks.remove(path);
            return Err(e);
        }
        Ok(Box::new(SimLock {
            state: Arc::clone(&self.state),
            path: path.to_owned(),
        }))
    }
}
