//! Reading needles. A small one is one read; a range of a large one reads and opens the segments it touches and no
//! others. No byte leaves before its tag verified, and a record that is not what was asked for is an error, never bytes.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::{Encoding, NeedleInfo, NeedleName, NeedleReader};
use halofs_runtime::buffers::Buffer;
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

/// Needles of up to so many segments are read whole when they are opened, in one read: one of 64 KiB with its metadata.
const SEGMENTS_AT_OPEN: u32 = 2;
/// Ciphertext that is read at a time: what is still in the core's cache when it is deciphered.
const SCRATCH: usize = 4 * ((64 << 10) + TAG);

thread_local! {
    static CIPHERTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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
    let ahead = segments_at_open(guess);
    with_ciphertext(size_of_read(sealed_end(guess, ahead)), |bytes| {
        read_exact_at(&*view.file, bytes, offset)
            .map_err(|_| damaged(fid, "the disk cannot read it"))?;
        open_record(view, fid, (offset, plain_len), commit, bytes)
    })
}

/// Opens the needle whose record begins with `bytes`.
fn open_record(
    view: &Arc<View>,
    fid: FileId,
    (offset, plain_len): (u64, u32),
    commit: Option<&[u8; 16]>,
    bytes: &[u8],
) -> Result<Needle, VolumeError> {
    let head = check(view, fid, bytes, plain_len)?;
    let layout = head.header.layout();
    let sealer = view
        .head
        .sealer(head.header.dek_gen)
        .ok_or_else(|| damaged(fid, "data key"))?;
    let keys = sealer.derive(&head.derive, &head.salt);
    if !keys.commit_is(&head.commit) || layout.seg_log2 != view.head.sb.seg_log2 {
        return Err(damaged(fid, "header MAC"));
    }
    if commit.is_some_and(|c| !same_commit(c, &head.commit)) {
        return Err(VolumeError::Mismatch(fid));
    }
    let ahead = segments_at_open(layout);
    let mut first = vec![0; size_of_read(plain_end(layout, ahead))];
    let body = bytes.get(HEADER..).unwrap_or_default();
    open_segments(&keys, layout, 0..ahead, body, &mut first)
        .ok_or_else(|| damaged(fid, "segment"))?;
    let meta_len = u64::from(head.header.meta_len);
    let mut inner = Inner {
        view: Arc::clone(view),
        fid,
        offset,
        layout,
        meta_len,
        keys,
        first: Bytes::from(first),
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
        let opened = if start < have * seg {
            self.first
                .get(size_of_read(start)..size_of_read(have * seg))
        } else {
            None
        };
        let head = opened.unwrap_or_default();
        let from = if head.is_empty() { start / seg } else { have };
        let (mut next, last) = (segment_no(from), segment_no(end.div_ceil(seg)));
        let sealed = size_of_read(plain_end(self.layout, last) - plain_end(self.layout, next));
        let mut buf = Buffer::of(head.len() + sealed);
        let (front, mut rest) = buf.space().split_at_mut(head.len());
        front.copy_from_slice(head);
        while next < last {
            let group = next..last.min(next + self.group());
            let plain = plain_end(self.layout, group.end) - plain_end(self.layout, group.start);
            let (out, after) = rest.split_at_mut(size_of_read(plain));
            (next, rest) = (group.end, after);
            self.open_group(group, out)?;
        }
        let skip = if head.is_empty() {
            size_of_read(start - from * seg)
        } else {
            0
        };
        Ok(buf.freeze().slice(skip..skip + size_of_read(end - start)))
    }

    /// Segments that fit the scratch buffer.
    fn group(&self) -> u32 {
        u32::try_from(SCRATCH / (len_of(self.layout.segment()) + TAG))
            .unwrap_or(1)
            .max(1)
    }

    /// Reads these segments and opens them into `out`.
    fn open_group(&self, which: Range<u32>, out: &mut [u8]) -> Result<(), VolumeError> {
        let from = self.layout.segment_at(which.start);
        let sealed = size_of_read(sealed_end(self.layout, which.end) - from);
        with_ciphertext(sealed, |bytes| {
            read_exact_at(&*self.view.file, bytes, self.offset + from)
                .map_err(|_| damaged(self.fid, "the disk cannot read it"))?;
            open_segments(&self.keys, self.layout, which, bytes, out)
                .ok_or_else(|| damaged(self.fid, "segment"))
        })
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

/// Opens segments whose ciphertext and tags `sealed` begins with into `out`, which has their length.
fn open_segments(
    keys: &NeedleKeys,
    layout: Layout,
    which: Range<u32>,
    mut sealed: &[u8],
    mut out: &mut [u8],
) -> Option<()> {
    for i in which {
        let len = len_of(layout.segment_len(i));
        let (record, after) = sealed.split_at_checked(len + TAG)?;
        let (text, tag) = record.split_last_chunk::<TAG>()?;
        let (plain, rest) = out.split_at_mut_checked(len)?;
        keys.open_segment(i, i + 1 == layout.segments(), text, tag, plain)
            .ok()?;
        (sealed, out) = (after, rest);
    }
    Some(())
}

/// Segments that opening a needle reads.
fn segments_at_open(layout: Layout) -> u32 {
    match layout.segments() {
        few @ ..=SEGMENTS_AT_OPEN => few,
        // The first one has the metadata; the rest is read where it is wanted.
        _ => 1,
    }
}

/// Plaintext bytes of a record's first `n` segments.
fn plain_end(layout: Layout, n: u32) -> u64 {
    (u64::from(n) * u64::from(layout.segment())).min(u64::from(layout.plain_len))
}

/// Where the first `n` segments of a record end, from its start.
fn sealed_end(layout: Layout, n: u32) -> u64 {
    HEADER as u64 + plain_end(layout, n) + u64::from(n) * TAG as u64
}

/// Lends this thread's buffer for ciphertext: it stays in the core's cache and is not zeroed again. A loan within a loan
/// gets a buffer of its own.
fn with_ciphertext<T>(len: usize, run: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buf = CIPHERTEXT.take();
    if buf.len() < len {
        buf.resize(len, 0);
    }
    let done = run(buf.get_mut(..len).unwrap_or_default());
    CIPHERTEXT.set(buf);
    done
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
