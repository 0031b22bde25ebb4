//! Reading a log front to back, a mebibyte at a time.

use std::io;

use halofs_runtime::DiskFile;

const WINDOW: usize = 1 << 20;

/// A moving window over a file.
pub struct Window<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    at: u64,
    buf: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Over the whole of a file.
    pub fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        Ok(Self {
            file,
            len: file.len()?,
            at: 0,
            buf: Vec::new(),
        })
    }

    /// Bytes of the file.
    pub fn end(&self) -> u64 {
        self.len
    }

    /// As many of the `want` bytes at `at` as the file has, at most [`WINDOW`].
    pub fn bytes(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left).min(WINDOW);
        let inside = at
            .checked_sub(self.at)
            .and_then(|skip| usize::try_from(skip).ok());
        let inside = inside.filter(|skip| skip.saturating_add(want) <= self.buf.len());
        let skip = if let Some(skip) = inside {
            skip
        } else {
            self.fill(at, left.min(WINDOW))?;
            0
        };
        let end = skip.saturating_add(want).min(self.buf.len());
        Ok(self.buf.get(skip..end).unwrap_or_default())
    }

    /// What the disk lacks of the file's length, as after a failed sync, was never written: zeros.
    fn fill(&mut self, at: u64, want: usize) -> io::Result<()> {
        self.buf.clear();
        self.buf.resize(want, 0);
        self.at = at;
        let read = self.file.read_at(&mut self.buf, at);
        if read.is_err() {
            self.buf.clear();
        }
        read.map(|_| ())
    }

    /// Calls `each` on the bytes `from..to` in pieces; stops early when it answers false.
    pub fn each(
        &mut self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(WINDOW);
            let piece = self.bytes(at, want)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let n = piece.len() as u64;
            if !each(at, piece) {
                return Ok(());
            }
            at += n;
        }
        Ok(())
    }

    /// The longest run of zero bytes in `from..to`, counted up to `enough`.
    pub fn zero_run(&mut self, from: u64, to: u64, enough: usize) -> io::Result<usize> {
        let (mut run, mut longest) = (0, 0);
        self.each(from, to.min(self.len), |_, piece| {
            for b in piece {
                run = if *b == 0 { run + 1 } else { 0 };
                longest = longest.max(run);
                if longest >= enough {
                    return false;
                }
            }
            true
        })?;
        Ok(longest)
    }

    /// One past the last byte that is not zero in `from..` the end of the file; `from` when there is none.
    pub fn last_used(&mut self, from: u64) -> io::Result<u64> {
        let mut last = from;
        let end = self.len;
        self.each(from, end, |at, piece| {
            if let Some(i) = piece.iter().rposition(|b| *b != 0) {
                last = at + i as u64 + 1;
            }
            true
        })?;
        Ok(last)
    }
}
