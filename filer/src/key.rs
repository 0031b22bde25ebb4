//! Every key of the filer's rows. Keys are ordered by their bytes; numbers are big endian so that bytes sort as numbers.
//!
//! | key | row |
//! |---|---|
//! | `meta/next-bucket` | the next bucket id |
//! | `meta/clock` | the filer's time |
//! | `meta/leased` | the end of the needle keys that were ever under a lease |
//! | `meta/restored` | the rows were set back: what they do not name is not collected |
//! | `meta/orphans` | when the last orphan scan ended |
//! | `bucket/<name>` | a bucket |
//! | `live/<bucket id 8><key, escaped><00 00>` | the current version of a key, never a delete marker |
//! | `ver/<bucket id 8><key, escaped><00 00><inverted order 8><attempt 8>` | older versions; none are written yet |
//! | `chunks/<attempt 16><run 4>` | parts and chunks of an object with too many of them for its row |
//! | `upload/<bucket id 8><key, escaped><00 00><upload id 16>` | an open upload |
//! | `part/<upload id 16><number 4>` | a part of it |
//! | `lease/<id 16>` | a live lease |
//! | `sweep/<id 16>` | a lease that died: its fids are to be swept |
//! | `done/<attempt 16>` | what a commit answered |
//! | `gc/<ripe time ns 8><volume 4><needle key 8><cookie 4>` | a needle to delete |
//! | `config/<bucket id 8><kind 1>` | a bucket's documents; none are written yet |
//!
//! Object keys are opaque bytes. Escaping turns 00 into 00 FF, and 00 00 ends the key: no escaped key is a prefix of
//! another, and escaped keys sort as the keys do, because the end 00 00 sorts before every continuation.
//!
//! The first eight bytes of an upload id are the time it began, so that uploads of a key sort by that time.

use bytes::Bytes;
use halofs_types::{AttemptId, BucketId, Cookie, FileId, LeaseId, NeedleKey, Timestamp, VolumeId};

/// The row that holds the next bucket id.
pub const NEXT_BUCKET: &[u8] = b"meta/next-bucket";
/// The row of the filer's time.
pub const CLOCK: &[u8] = b"meta/clock";
/// The row of the highest leased key.
pub const LEASED: &[u8] = b"meta/leased";
/// The row that says that the rows were set back.
pub const RESTORED: &[u8] = b"meta/restored";
/// The row of the last orphan scan.
pub const ORPHANS: &[u8] = b"meta/orphans";
/// Before every bucket.
pub const BUCKETS: &[u8] = b"bucket/";
/// Before every live lease.
pub const LEASES: &[u8] = b"lease/";
/// Before every dead lease.
pub const SWEEPS: &[u8] = b"sweep/";
/// Before every recorded answer.
pub const DONES: &[u8] = b"done/";
/// Before every entry of the collector's queue.
pub const GARBAGE: &[u8] = b"gc/";
/// Before every open upload.
pub const UPLOADS: &[u8] = b"upload/";

const END: [u8; 2] = [0, 0];

fn row(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

/// Appends `key` with every 00 followed by FF. Not ended.
fn escape_into(out: &mut Vec<u8>, key: &[u8]) {
    for b in key {
        out.push(*b);
        if *b == 0 {
            out.push(0xff);
        }
    }
}

/// Reads an escaped key up to its end; what follows is the second value.
fn unescape(escaped: &[u8]) -> Option<(Bytes, &[u8])> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    loop {
        match rest {
            [0, 0xff, tail @ ..] => {
                key.push(0);
                rest = tail;
            }
            [0, 0, tail @ ..] => return Some((Bytes::from(key), tail)),
            [0, ..] | [] => return None,
            [b, tail @ ..] => {
                key.push(*b);
                rest = tail;
            }
        }
    }
}

/// The first key after every key that starts with `prefix`; empty when there is none.
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    Bytes::from(end)
}

/// Rows of one kind in one bucket, ordered by object key.
#[derive(Debug, Clone)]
pub struct Space(Vec<u8>);

impl Space {
    /// `live/` rows.
    pub fn live(bucket: BucketId) -> Self {
        Self([b"live/".as_slice(), &bucket.0.to_be_bytes()].concat())
    }

    /// `ver/` rows.
    pub fn versions(bucket: BucketId) -> Self {
        Self([b"ver/".as_slice(), &bucket.0.to_be_bytes()].concat())
    }

    /// `upload/` rows.
    pub fn uploads(bucket: BucketId) -> Self {
        Self([UPLOADS, &bucket.0.to_be_bytes()].concat())
    }

    /// All rows of the space: first and end.
    pub fn range(&self) -> (Bytes, Bytes) {
        self.prefix_range(b"")
    }

    /// Rows whose object keys start with `prefix`: first and end.
    pub fn prefix_range(&self, prefix: &[u8]) -> (Bytes, Bytes) {
        let mut from = self.0.clone();
        escape_into(&mut from, prefix);
        let end = after_prefix(&from);
        (Bytes::from(from), end)
    }

    /// Rows of exactly one object key: first and end.
    pub fn key_range(&self, key: &[u8]) -> (Bytes, Bytes) {
        let from = self.row(key, b"");
        let end = after_prefix(&from);
        (from, end)
    }

    /// The row of an object key, with what follows the key.
    pub fn row(&self, key: &[u8], suffix: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.0.len() + key.len() + END.len() + suffix.len() + 4);
        out.extend_from_slice(&self.0);
        escape_into(&mut out, key);
        out.extend_from_slice(&END);
        out.extend_from_slice(suffix);
        Bytes::from(out)
    }

    /// Object key and suffix of a row of this space.
    pub fn parse<'a>(&self, row: &'a [u8]) -> Option<(Bytes, &'a [u8])> {
        unescape(row.strip_prefix(self.0.as_slice())?)
    }
}

/// The row of a bucket.
pub fn bucket(name: &str) -> Bytes {
    row(&[BUCKETS, name.as_bytes()])
}

/// The row of a key's current object.
pub fn live(bucket: BucketId, key: &[u8]) -> Bytes {
    Space::live(bucket).row(key, b"")
}

/// The row of a run of a large object.
pub fn run(attempt: AttemptId, n: u32) -> Bytes {
    row(&[b"chunks/", &attempt.0, &n.to_be_bytes()])
}

/// The row of an upload.
pub fn upload(bucket: BucketId, key: &[u8], id: AttemptId) -> Bytes {
    Space::uploads(bucket).row(key, &id.0)
}

/// Bucket, object key and id of an upload's row.
pub fn parse_upload(row: &[u8]) -> Option<(BucketId, Bytes, AttemptId)> {
    let (bucket, rest) = row.strip_prefix(UPLOADS)?.split_first_chunk::<8>()?;
    let (key, id) = unescape(rest)?;
    Some((
        BucketId(u64::from_be_bytes(*bucket)),
        key,
        AttemptId(id.try_into().ok()?),
    ))
}

/// The row of a part.
pub fn part(upload: AttemptId, number: u32) -> Bytes {
    row(&[b"part/", &upload.0, &number.to_be_bytes()])
}

/// All parts of an upload: first and end.
pub fn parts(upload: AttemptId) -> (Bytes, Bytes) {
    let from = row(&[b"part/", &upload.0]);
    let end = after_prefix(&from);
    (from, end)
}

/// The number in a part's row.
pub fn parse_part(row: &[u8]) -> Option<u32> {
    let (_, number) = row.strip_prefix(b"part/")?.split_first_chunk::<16>()?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// The row of a live lease.
pub fn lease(id: LeaseId) -> Bytes {
    row(&[LEASES, &id.0])
}

/// The row of a dead lease.
pub fn sweep(id: LeaseId) -> Bytes {
    row(&[SWEEPS, &id.0])
}

/// The id in a row of a lease, live or dead.
pub fn parse_lease(row: &[u8]) -> Option<LeaseId> {
    let id = row
        .strip_prefix(LEASES)
        .or_else(|| row.strip_prefix(SWEEPS))?;
    Some(LeaseId(id.try_into().ok()?))
}

/// The row of a recorded answer.
pub fn done(attempt: AttemptId) -> Bytes {
    row(&[DONES, &attempt.0])
}

/// The attempt in a row of a recorded answer.
pub fn parse_done(row: &[u8]) -> Option<AttemptId> {
    Some(AttemptId(row.strip_prefix(DONES)?.try_into().ok()?))
}

/// The row that queues a needle for deletion.
pub fn garbage(ripe: Timestamp, fid: FileId) -> Bytes {
    let (volume, key, cookie) = (
        fid.volume.0.to_be_bytes(),
        fid.key.0.to_be_bytes(),
        fid.cookie.0.to_be_bytes(),
    );
    row(&[GARBAGE, &ripe.0.to_be_bytes(), &volume, &key, &cookie])
}

/// The end of the queue's rows that are ripe at `now`.
pub fn garbage_ripe(now: Timestamp) -> Bytes {
    row(&[GARBAGE, &now.0.saturating_add(1).to_be_bytes()])
}

/// Ripe time and fid of a queue row.
pub fn parse_garbage(row: &[u8]) -> Option<(Timestamp, FileId)> {
    let (ripe, rest) = row.strip_prefix(GARBAGE)?.split_first_chunk::<8>()?;
    let (volume, rest) = rest.split_first_chunk::<4>()?;
    let (key, cookie) = rest.split_first_chunk::<8>()?;
    let fid = FileId {
        volume: VolumeId(u32::from_be_bytes(*volume)),
        key: NeedleKey(u64::from_be_bytes(*key)),
        cookie: Cookie(u32::from_be_bytes(cookie.try_into().ok()?)),
    };
    Some((Timestamp(u64::from_be_bytes(*ripe)), fid))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0u8), Just(0xff), Just(1), Just(b'/'), any::<u8>()];
        prop::collection::vec(byte, 0..12)
    }

    proptest! {
        #[test]
        fn rows_sort_as_keys_do(a in key(), b in key(), tail in any::<[u8; 16]>()) {
            let space = Space::uploads(BucketId(258));
            prop_assert_eq!(space.row(&a, b"").cmp(&space.row(&b, b"")), a.cmp(&b));
            if a < b {
                prop_assert!(space.row(&a, &tail) < space.row(&b, b""));
            }
            let row = space.row(&a, &tail);
            let (parsed, rest) = space.parse(&row).unwrap();
            prop_assert_eq!((&parsed[..], rest), (&a[..], &tail[..]));
            prop_assert_eq!(parse_upload(&row), Some((BucketId(258), Bytes::from(a), AttemptId(tail))));
        }

        #[test]
        fn prefix_ranges_hold_exactly_the_keys_with_the_prefix(prefix in key(), k in key()) {
            let space = Space::live(BucketId(u64::MAX));
            let (from, end) = space.prefix_range(&prefix);
            let row = space.row(&k, b"");
            let inside = row >= from && (end.is_empty() || row < end);
            prop_assert_eq!(inside, k.starts_with(&prefix));
            let (from, end) = space.key_range(&prefix);
            prop_assert_eq!(row >= from && row < end, k == prefix);
        }

        #[test]
        fn other_rows_round_trip(id in any::<[u8; 16]>(), n in any::<u32>(), v in any::<u32>(), k in any::<u64>(), at in any::<u64>()) {
            prop_assert_eq!(parse_part(&part(AttemptId(id), n)), Some(n));
            prop_assert_eq!(parse_lease(&lease(LeaseId(id))), Some(LeaseId(id)));
            prop_assert_eq!(parse_lease(&sweep(LeaseId(id))), Some(LeaseId(id)));
            prop_assert_eq!(parse_done(&done(AttemptId(id))), Some(AttemptId(id)));
            let fid = FileId { volume: VolumeId(v), key: NeedleKey(k), cookie: Cookie(n) };
            prop_assert_eq!(parse_garbage(&garbage(Timestamp(at), fid)), Some((Timestamp(at), fid)));
            prop_assert_eq!(garbage(Timestamp(at), fid) < garbage_ripe(Timestamp(at)), at < u64::MAX);
        }
    }
}
