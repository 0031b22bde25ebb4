//! The bytes of one simulated file: sparse pages, shared between a disk and all its crash images.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
const PAGE_U64: u64 = 4096;

type Page = [u8; PAGE];

/// Copy-on-write content of a file. A missing page reads as zeros and takes no space.
#[derive(Debug, Clone, Default)]
pub(super) struct FileData {
    len: u64,
    pages: Vec<Option<Arc<Page>>>,
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a simulated file is smaller than the address space")
}

impl FileData {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the pages that are allocated.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.iter().flatten().count() as u64 * PAGE_U64
    }

    /// Pages that a write of `at..at + len` would have to allocate.
    pub(super) fn missing_pages(&self, at: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let first = at / PAGE_U64;
        let last = (at + len - 1) / PAGE_U64;
        (first..=last)
            .filter(|p| self.pages.get(index(*p)).is_none_or(Option::is_none))
            .count() as u64
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let n = index(self.len.saturating_sub(at).min(buf.len() as u64));
        let mut done = 0;
        while done < n {
            let pos = at + done as u64;
            let skip = index(pos % PAGE_U64);
            let take = (PAGE - skip).min(n - done);
            let to = &mut buf[done..done + take];
            match self.pages.get(index(pos / PAGE_U64)) {
                Some(Some(page)) => to.copy_from_slice(&page[skip..skip + take]),
                _ => to.fill(0),
            }
            done += take;
        }
        n
    }

    pub(super) fn write(&mut self, data: &[u8], at: u64) {
        let mut done = 0;
        while done < data.len() {
            let pos = at + done as u64;
            let skip = index(pos % PAGE_U64);
            let take = (PAGE - skip).min(data.len() - done);
            self.page_mut(index(pos / PAGE_U64))[skip..skip + take]
                .copy_from_slice(&data[done..done + take]);
            done += take;
        }
        self.grow(at + data.len() as u64);
    }

    /// Makes the file at least `len` long; what is new reads as zeros.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.truncate(index(len.div_ceil(PAGE_U64)));
            let edge = index(len % PAGE_U64);
            if edge > 0
                && let Some(Some(page)) = self.pages.get_mut(index(len / PAGE_U64))
            {
                Arc::make_mut(page)[edge..].fill(0);
            }
        }
        self.len = len;
    }

    fn page_mut(&mut self, n: usize) -> &mut Page {
        if self.pages.len() <= n {
            self.pages.resize(n + 1, None);
        }
        Arc::make_mut(self.pages[n].get_or_insert_with(|| Arc::new([0; PAGE])))
    }

    /// Feeds length and content, whatever the allocation, to a hasher.
    pub(super) fn digest(&self, h: &mut impl Hasher) {
        self.len.hash(h);
        for (n, page) in self.pages.iter().enumerate() {
            if let Some(page) = page
                && page.iter().any(|b| *b != 0)
            {
                n.hash(h);
                h.write(page.as_slice());
            }
        }
    }
}

/// Bytes of a logged write; runs of zeros, which is how space is written ahead, cost nothing.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Arc<[u8]>),
    Zeros(usize),
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() >= PAGE && bytes.iter().all(|b| *b == 0) {
            Self::Zeros(bytes.len())
        } else {
            Self::Bytes(bytes.into())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(b) => b.len(),
            Self::Zeros(n) => *n,
        }
    }

    /// Writes the part `from..to` of these bytes where the whole would begin at `at`.
    pub(super) fn write_part(&self, file: &mut FileData, at: u64, from: usize, to: usize) {
        match self {
            Self::Bytes(b) => file.write(&b[from..to], at + from as u64),
            Self::Zeros(_) => {
                let zeros = [0u8; PAGE];
                let mut pos = from;
                while pos < to {
                    let n = (to - pos).min(PAGE);
                    file.write(&zeros[..n], at + pos as u64);
                    pos += n;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_bytes_never_come_back() {
        let mut f = FileData::default();
        f.write(&[7; 10_000], 100);
        f.set_len(5000);
        f.set_len(12_000);
        let mut buf = vec![1; 12_000];
        assert_eq!(f.read(&mut buf, 0), 12_000);
        assert!(buf[..100].iter().all(|b| *b == 0));
        assert!(buf[100..5000].iter().all(|b| *b == 7));
        assert!(buf[5000..].iter().all(|b| *b == 0));
    }
}
