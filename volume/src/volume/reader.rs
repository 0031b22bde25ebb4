//! Reading needles. A small one is one read; a range of a large one reads and opens the segments it touches and no
//! others. No byte leaves before its tag verified, and a record that is not what was asked for is an error, never bytes.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::{Encoding, NeedleInfo, NeedleName, NeedleReader};
use halofs_runtime::disk::read_exact_at;
use halofs_seal::NeedleKeys;
use halofs_seal::needle::{TAG, same_commit};
use halofs_types::{FileId, Timestamp};

use crate::format::crc32c;
use crate::format::record::{COMPRESSED, HEADER, Head as RecordHead, Layout, MANIFEST};
use crate::gzip;
use crate::meta::{self, NeedleMeta};

use super::index::Slot;
use super::view::View;

/// Reads that take longer than a few tens of microseconds leave the async workers.
const INLINE_MAX: u64 = 128 << 10;

/// Segments that opening a needle reads: all of one of 64 KiB with its metadata, in one read.
const SEGMENTS_AT_OPEN: u32 = 2;

/// A needle that was found and whose header and metadata verified.
#[derive(Debug, Clone)]
pub struct Needle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    view: Arc<View>,
    fid: FileId,
    offset: u64,
    layout: Layout,
    meta_len: u64,
    keys: NeedleKeys,
    /// The first segments, opened.
    first: Bytes,
    info: NeedleInfo,
    meta: NeedleMeta,
    cookie: u32,
}

/// The verified first bytes of a record.
#[derive(Debug, Clone, Copy)]
pub struct Peek {
    /// The cookie.
    pub cookie: u32,
    /// Stored bytes without the metadata.
    pub stored: u64,
}

/// Where the newest record of a key is, for readers: damage that may hide a newer one is an error (recovery rule 5).
pub fn locate(view: &View, fid: FileId) -> Result<Slot, VolumeError> {
    let (slot, hidden) = view.find(fid.key.0);
    let filer = view.head.owner() == VolumeOwner::Filer;
    // Filer needles are written once: what is found is the only record there ever was.
    let settled = filer && slot != Slot::Absent;
    if hidden && !settled {
        return Err(damaged(
            fid,
            "a damaged record of an unknown key lies behind it",
        ));
    }
    Ok(slot)
}

/// Reads and verifies a record's header only.
pub fn peek(view: &View, fid: FileId, offset: u64, plain_len: u32) -> Result<Peek, VolumeError> {
    let mut bytes = [0; HEADER];
    read_exact_at(&*view.file, &mut bytes, offset)
        .map_err(|_| damaged(fid, "the disk cannot read it"))?;
    let head = check(view, fid, &bytes, plain_len)?;
    let sealer = view
        .head
        .sealer(head.header.dek_gen)
        .ok_or_else(|| damaged(fid, "data key"))?;
    if !sealer.header_holds(&head.derive, &head.salt, &head.commit) {
        return Err(damaged(fid, "header MAC"));
    }
    Ok(Peek {
        cookie: head.header.cookie,
        stored: u64::from(plain_len) - u64::from(head.header.meta_len),
    })
}

fn check(
    view: &View,
    fid: FileId,
    bytes: &[u8],
    plain_len: u32,
) -> Result<RecordHead, VolumeError> {
    let head = RecordHead::decode(bytes).map_err(|_| damaged(fid, "header"))?;
    let h = &head.header;
    if h.key != fid.key.0 || h.plain_len != plain_len || h.vol_tag != view.head.tag() {
        return Err(damaged(fid, "another record is in its place"));
    }
    Ok(head)
}

/// Opens the needle at a place that the index named. `commit` is what the caller knows of it.
pub fn open(
    view: &Arc<View>,
    fid: FileId,
    (offset, plain_len): (u64, u32),
    commit: Option<&[u8; 16]>,
) -> Result<Needle, VolumeError> {
    let guess = Layout {
        plain_len,
        seg_log2: view.head.sb.seg_log2,
    };
    let ahead = guess.segments().min(SEGMENTS_AT_OPEN);
    let mut buf =
        vec![
            0;
            size_of_read(guess.segment_at(ahead - 1)) + len_of(guess.segment_len(ahead - 1)) + TAG
        ];
    read_exact_at(&*view.file, &mut buf, offset)
        .map_err(|_| damaged(fid, "the disk cannot read it"))?;
    let head = check(view, fid, &buf, plain_len)?;
    let layout = head.header.layout();
    let sealer = view
        .head
        .sealer(head.header.dek_gen)
        .ok_or_else(|| damaged(fid, "data key"))?;
    let keys = sealer.derive(&head.derive, &head.salt);
    if !keys.commit_is(&head.commit) || layout.seg_log2 != guess.seg_log2 {
        return Err(damaged(fid, "header MAC"));
    }
    if commit.is_some_and(|c| !same_commit(c, &head.commit)) {
        return Err(VolumeError::Mismatch(fid));
    }
    let end = open_segments(&keys, layout, 0..ahead, &mut buf, HEADER)
        .ok_or_else(|| damaged(fid, "segment"))?;
    buf.truncate(end);
    let first = Bytes::from(buf).slice(HEADER..);
    let meta_len = u64::from(head.header.meta_len);
    let mut inner = Inner {
        view: Arc::clone(view),
        fid,
        offset,
        layout,
        meta_len,
        keys,
        first,
        info: NeedleInfo {
            size: u64::from(plain_len) - meta_len,
            crc32c: 0,
            appended: Timestamp(head.header.append_ns),
            name: NeedleName::default(),
            gzip_size: None,
            manifest: head.header.has(MANIFEST),
            commit: head.commit,
        },
        meta: NeedleMeta::default(),
        cookie: head.header.cookie,
    };
    inner.read_meta(head.header.has(COMPRESSED))?;
    Ok(Needle(Arc::new(inner)))
}

impl Inner {
    fn read_meta(&mut self, compressed: bool) -> Result<(), VolumeError> {
        let stored = u64::from(self.layout.plain_len) - self.meta_len;
        if self.meta_len == 0 {
            // A record of another writer: its original bytes are its body.
            self.info.crc32c = crc32c(&self.plain(0, stored)?);
            return Ok(());
        }
        let bytes = self.plain(0, self.meta_len)?;
        let bad = || damaged(self.fid, "metadata");
        let m = meta::decode(bytes).ok_or_else(bad)?;
        if compressed {
            let last = m.ends.last().copied().map(u64::from);
            let members = m.size.div_ceil(u64::from(m.member.max(1)));
            if last != Some(stored) || m.member == 0 || members != m.ends.len() as u64 {
                return Err(bad());
            }
            self.info.gzip_size = Some(stored);
        } else if m.size != stored || !m.ends.is_empty() {
            return Err(bad());
        }
        self.info.size = m.size;
        self.info.crc32c = m.crc32c;
        self.info.name = m.name.clone();
        self.meta = m;
        Ok(())
    }

    /// Verified plaintext bytes `start..end` of the record, metadata included.
    fn plain(&self, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        if end <= self.first.len() as u64 {
            return Ok(self.first.slice(size_of_read(start)..size_of_read(end)));
        }
        let seg = u64::from(self.layout.segment());
        // Segments that are open already are not opened again.
        let have = self.first.len() as u64 / seg;
        let from_first = if start < have * seg {
            have
        } else {
            start / seg
        };
        let (a, b) = (segment_no(from_first), segment_no(end.div_ceil(seg)));
        let (from, last) = (self.layout.segment_at(a), b - 1);
        let to =
            self.layout.segment_at(last) + u64::from(self.layout.segment_len(last)) + TAG as u64;
        let head = if start < have * seg {
            self.first.slice(size_of_read(start)..)
        } else {
            Bytes::new()
        };
        let mut buf = vec![0; head.len() + size_of_read(to - from)];
        let (front, sealed) = buf.split_at_mut(head.len());
        front.copy_from_slice(&head);
        let read = read_exact_at(&*self.view.file, sealed, self.offset + from);
        read.map_err(|_| damaged(self.fid, "the disk cannot read it"))?;
        let done = open_segments(&self.keys, self.layout, a..b, &mut buf, head.len());
        buf.truncate(done.ok_or_else(|| damaged(self.fid, "segment"))?);
        let skip = if head.is_empty() {
            size_of_read(start - u64::from(a) * seg)
        } else {
            0
        };
        Ok(Bytes::from(buf).slice(skip..skip + size_of_read(end - start)))
    }

    fn read(&self, encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        let size = match encoding {
            Encoding::Identity => self.info.size,
            Encoding::Gzip => self.info.gzip_size.unwrap_or(0),
        };
        let end = end.min(size);
        if start >= end {
            return Ok(Bytes::new());
        }
        if encoding == Encoding::Identity && self.info.gzip_size.is_some() {
            return self.inflated(start, end);
        }
        self.plain(self.meta_len + start, self.meta_len + end)
    }

    fn inflated(&self, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        let member = u64::from(self.meta.member);
        let mut out = Vec::with_capacity(size_of_read(end - start));
        for i in start / member..end.div_ceil(member) {
            let n = size_of_read(i);
            let before = n
                .checked_sub(1)
                .and_then(|p| self.meta.ends.get(p))
                .map_or(0, |e| u64::from(*e));
            let bad = || damaged(self.fid, "gzip member");
            let after = self
                .meta
                .ends
                .get(n)
                .map(|e| u64::from(*e))
                .filter(|a| *a >= before)
                .ok_or_else(bad)?;
            let stream = self.plain(self.meta_len + before, self.meta_len + after)?;
            let want = member.min(self.info.size - i * member);
            let text = gzip::inflate(&stream, size_of_read(want)).ok_or_else(bad)?;
            let from = size_of_read(start.saturating_sub(i * member));
            let to = size_of_read((end - i * member).min(want));
            out.extend_from_slice(text.get(from..to).unwrap_or_default());
        }
        Ok(Bytes::from(out))
    }
}

impl Needle {
    /// Its cookie.
    pub fn cookie(&self) -> u32 {
        self.0.cookie
    }

    /// Its metadata.
    pub fn meta(&self) -> &NeedleMeta {
        &self.0.meta
    }

    /// See [`NeedleReader::info`].
    pub fn about(&self) -> &NeedleInfo {
        &self.0.info
    }

    /// [`NeedleReader::read`] on the caller's thread.
    pub fn read_now(&self, encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        self.0.read(encoding, start, end)
    }
}

#[async_trait]
impl NeedleReader for Needle {
    fn info(&self) -> &NeedleInfo {
        &self.0.info
    }

    async fn read(&self, encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        let ready =
            self.0.info.gzip_size.is_none() && self.0.meta_len + end <= self.0.first.len() as u64;
        if ready || end.saturating_sub(start) <= INLINE_MAX {
            return self.0.read(encoding, start, end);
        }
        let inner = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || inner.read(encoding, start, end)).await;
        read.unwrap_or(Err(VolumeError::Stopping))
    }
}

/// Opens segments whose first ciphertext byte is at `at`, in place, and closes the gaps that their tags leave. Answers
/// where the plaintext ends.
fn open_segments(
    keys: &NeedleKeys,
    layout: Layout,
    which: Range<u32>,
    buf: &mut [u8],
    at: usize,
) -> Option<usize> {
    let (mut done, mut from) = (at, at);
    for i in which {
        let len = len_of(layout.segment_len(i));
        let (text, tag) = buf
            .get_mut(from..from + len + TAG)?
            .split_last_chunk_mut::<TAG>()?;
        keys.open_segment(i, i + 1 == layout.segments(), text, tag)
            .ok()?;
        if done != from {
            buf.copy_within(from..from + len, done);
        }
        done += len;
        from += len + TAG;
    }
    Some(done)
}

/// What a reader of a damaged record gets.
pub fn damaged(fid: FileId, what: &'static str) -> VolumeError {
    tracing::error!(%fid, what, "a needle is damaged");
    VolumeError::Damaged { fid, what }
}

fn len_of(n: u32) -> usize {
    usize::try_from(n).expect("a segment fits memory")
}

fn size_of_read(n: u64) -> usize {
    usize::try_from(n).expect("lengths come from a record of less than 2^32 bytes")
}

fn segment_no(n: u64) -> u32 {
    u32::try_from(n).expect("a record has at most 2^20 segments")
}
