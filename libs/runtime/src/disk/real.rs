//! The operating system's files.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags};

use super::{Disk, DiskFile, DiskLock, Entry, Open, Space, parent};

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile {
    file: File,
    direct: bool,
}

struct FileLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DiskLock for FileLock {}

/// Alignment that O_DIRECT reads use; every block device here has blocks of at most this.
const DIRECT_ALIGN: usize = 4096;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        let mut direct = false;
        match how {
            Open::Read => {}
            Open::ReadWrite => {
                options.write(true);
            }
            Open::CreateNew => {
                options.write(true).create_new(true);
            }
            Open::ReadDirect => {
                direct = true;
                options.custom_flags(i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0));
            }
        }
        let opened = options.open(path);
        let file = match opened {
            // tmpfs and some others know no O_DIRECT; they have no cache of a device to by-pass either.
            Err(e)
                if direct && e.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
            {
                direct = false;
                OpenOptions::new().read(true).open(path)?
            }
            other => other?,
        };
        Ok(Arc::new(RealFile { file, direct }))
    }

    fn create_secret(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, Open::CreateNew)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let up = parent(path);
        if up != path && up != Path::new(".") {
            self.create_dir_all(up)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
        self.sync_dir(up)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that renames"
    )]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            out.push(Entry {
                name,
                is_dir: entry.file_type()?.is_dir(),
            });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn mode_owner(&self, path: &Path) -> io::Result<(u32, u32)> {
        let m = std::fs::metadata(path)?;
        Ok((m.mode() & 0o7777, m.uid()))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let s = rustix::fs::statvfs(path)?;
        Ok(Space {
            total: s.f_blocks.saturating_mul(s.f_frsize),
            free: s.f_bavail.saturating_mul(s.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(FileLock(file)))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if self.direct {
            return self.read_direct(buf, at);
        }
        read_full(&self.file, buf, at)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let mut at = at;
        // IOV_MAX is 1024 on Linux.
        for group in pieces.chunks(1024) {
            let want: usize = group.iter().map(|p| p.len()).sum();
            let mut done = match rustix::io::pwritev(&self.file, group, at) {
                Ok(n) => n,
                Err(rustix::io::Errno::INTR) => 0,
                Err(e) => return Err(e.into()),
            };
            let mut skip = done;
            for piece in group {
                if done == want {
                    break;
                }
                if skip >= piece.len() {
                    skip -= piece.len();
                    continue;
                }
                let rest = piece.get(skip..).unwrap_or_default();
                self.file.write_all_at(rest, at + done as u64)?;
                done += rest.len();
                skip = 0;
            }
            at += want as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl RealFile {
    /// O_DIRECT wants offset, length and address aligned: reads the aligned range around the wish into an aligned
    /// part of a larger buffer.
    fn read_direct(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let align = DIRECT_ALIGN as u64;
        let from = at - at % align;
        let head = usize::try_from(at - from).unwrap_or(0);
        let want = (head + buf.len()).next_multiple_of(DIRECT_ALIGN);
        let mut big = vec![0u8; want + DIRECT_ALIGN];
        let skew = big.as_ptr().align_offset(DIRECT_ALIGN).min(DIRECT_ALIGN);
        let aligned = big.get_mut(skew..skew + want).unwrap_or_default();
        let got = read_full(&self.file, aligned, from)?;
        let n = got.saturating_sub(head).min(buf.len());
        if let (Some(to), Some(src)) = (buf.get_mut(..n), aligned.get(head..head + n)) {
            to.copy_from_slice(src);
        }
        Ok(n)
    }
}

fn read_full(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::super::{read_all, replace};
    use super::*;

    #[test]
    fn direct_reads_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let data: Vec<u8> = (0..20_000u32)
            .map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1])
            .collect();
        replace(&RealDisk, &path, &data, true).unwrap();
        assert_eq!(RealDisk.mode_owner(&path).unwrap().0, 0o600);
        assert_eq!(read_all(&RealDisk, &path).unwrap(), data);
        let f = RealDisk.open(&path, Open::ReadDirect).unwrap();
        for (at, len) in [(0usize, 1usize), (4095, 2), (5000, 9000), (19_999, 10)] {
            let mut buf = vec![0; len];
            let n = f.read_at(&mut buf, at as u64).unwrap();
            assert_eq!(&buf[..n], &data[at..(at + len).min(data.len())]);
        }
    }

    #[test]
    fn many_pieces_are_one_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let f = RealDisk.open(&path, Open::CreateNew).unwrap();
        let piece = [7u8; 3];
        let pieces: Vec<IoSlice<'_>> = (0..3000).map(|_| IoSlice::new(&piece)).collect();
        f.write_at(&pieces, 5).unwrap();
        let all = read_all(&RealDisk, &path).unwrap();
        assert_eq!(all.len(), 5 + 9000);
        assert!(all[5..].iter().all(|b| *b == 7));
    }
}
