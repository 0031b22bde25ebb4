//! Storing a needle: what the key allows, metadata, compression, sealing, then the writer's queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use halofs_client::error::VolumeError;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{Encoding, PutNeedle, Stored};
use halofs_runtime::{Clock, Rng};
use halofs_types::FileId;
use halofs_types::limits::NEEDLE_META_BYTES_MAX;

use crate::format::Crc32c;
use crate::gzip;
use crate::meta::{self, NeedleMeta};

use super::Volume;
use super::encode::{self, Plain, Sealed};
use super::index::{OFFSET_END, Slot};
use super::log::Pending;
use super::reader;
use super::view::View;
use super::writer::Reply;

/// Bodies up to this are sealed where they are; larger ones leave the async workers.
const INLINE_MAX: usize = 256 << 10;
/// The end of what an index can address is kept for tombstones.
const TOMBSTONES: u64 = 64 << 20;
/// See [`Volume::check_limit`].
const GRACE_MIN: u64 = 64 << 20;
/// See [`Volume::check_limit`].
const GRACE_MAX: u64 = 1 << 30;
/// Bytes that are compared at once.
const COMPARE: u64 = 1 << 20;

impl Volume {
    /// Stores a needle.
    pub async fn put(
        &self,
        clock: &Arc<dyn Clock>,
        rng: &Arc<dyn Rng>,
        put: PutNeedle,
    ) -> Result<Stored, VolumeError> {
        let (fid, owned) = (put.fid, put.owner.is_some());
        self.view.check_writable()?;
        let size = put.body.len() as u64;
        self.check_room(size)?;
        let crc32c = crc_of(&put.body);
        let mut seen = match self.allowed(fid, owned, crc32c, &put.body).await? {
            Allowed::Write(seen) => seen,
            Allowed::Unchanged(stored) => return Ok(stored),
        };
        if seen == Slot::Absent {
            self.check_limit()?;
        }
        let work = {
            let (view, clock, rng) = (Arc::clone(&self.view), Arc::clone(clock), Arc::clone(rng));
            move || seal(&view, &*clock, &*rng, put, crc32c)
        };
        let big = size > INLINE_MAX as u64;
        let sealed = if big {
            tokio::task::spawn_blocking(work)
                .await
                .unwrap_or(Err(VolumeError::Stopping))?
        } else {
            work()?
        };
        let commit = sealed.commit;
        let mut record = sealed;
        loop {
            let mut replies = self.queue.append(vec![Pending { record, seen }]).await?;
            match replies.pop() {
                Some(Reply::Done) => {
                    return Ok(Stored {
                        commit,
                        size,
                        crc32c,
                        unchanged: false,
                    });
                }
                Some(Reply::Failed(e)) => return Err(e),
                Some(Reply::Raced(back)) => record = back.record,
                None => return Err(VolumeError::Stopping),
            }
            // Another write of this key came first. Its bytes are not compared: ours are sealed already.
            seen = self.may_write(fid, owned)?;
        }
    }

    /// Leases and assigns count keys, not bytes, and fids were given out before main heard that a volume has its size
    /// and made others. So a volume takes new keys a little longer; then none, and passes that by what is in flight.
    fn check_limit(&self) -> Result<(), VolumeError> {
        let limit = self.size_limit.load(Ordering::Relaxed);
        let grace = (limit / 4).clamp(GRACE_MIN, GRACE_MAX);
        let size = self.view.published.read().end;
        if size < limit.saturating_add(grace) {
            return Ok(());
        }
        Err(VolumeError::AtLimit {
            volume: self.view.id,
            size,
            limit,
        })
    }

    /// The limit is main's to say; this is the format's.
    fn check_room(&self, size: u64) -> Result<(), VolumeError> {
        let end = self.view.published.read().end;
        if end.saturating_add(size) <= OFFSET_END - TOMBSTONES {
            return Ok(());
        }
        Err(VolumeError::ReadOnly {
            volume: self.view.id,
            reason: "its file is as long as an index can address but for tombstones",
        })
    }

    async fn allowed(
        &self,
        fid: FileId,
        owned: bool,
        crc32c: u32,
        body: &Pieces,
    ) -> Result<Allowed, VolumeError> {
        if owned {
            return self.may_write(fid, owned).map(Allowed::Write);
        }
        let (slot, hidden) = self.view.find(fid.key.0);
        let Slot::Live { offset, plain_len } = slot else {
            return Ok(Allowed::Write(slot));
        };
        if hidden {
            return self.may_write(fid, owned).map(Allowed::Write);
        }
        let old = reader::open(&self.view, fid, (offset, plain_len), None)?;
        if old.cookie() != fid.cookie.0 {
            return Err(VolumeError::WrongCookie(fid));
        }
        let info = old.about();
        if info.crc32c != crc32c || info.size != body.len() as u64 {
            return Ok(Allowed::Write(slot));
        }
        let stored = Stored {
            commit: info.commit,
            size: info.size,
            crc32c,
            unchanged: true,
        };
        let body = body.clone();
        let compare = move || same_bytes(&old, body);
        let same = if stored.size > INLINE_MAX as u64 {
            tokio::task::spawn_blocking(compare)
                .await
                .unwrap_or(Err(VolumeError::Stopping))?
        } else {
            compare()?
        };
        Ok(if same {
            Allowed::Unchanged(stored)
        } else {
            Allowed::Write(slot)
        })
    }

    /// What the index says of a key that may be written. Damage that may hide the key's newest record is no reason to
    /// refuse a newer one: it lies behind the damage and settles what the key holds.
    fn may_write(&self, fid: FileId, owned: bool) -> Result<Slot, VolumeError> {
        if owned {
            return match self.view.find(fid.key.0).0 {
                Slot::Absent => Ok(Slot::Absent),
                Slot::Deleted | Slot::Live { .. } => Err(VolumeError::Exists(fid)),
            };
        }
        let slot = self.view.find(fid.key.0).0;
        if let Slot::Live { offset, plain_len } = slot
            && reader::peek(&self.view, fid, offset, plain_len)?.cookie != fid.cookie.0
        {
            return Err(VolumeError::WrongCookie(fid));
        }
        Ok(slot)
    }
}

enum Allowed {
    Write(Slot),
    Unchanged(Stored),
}

fn crc_of(body: &Pieces) -> u32 {
    let mut crc = Crc32c::new();
    body.iter().for_each(|p| crc.update(p));
    crc.value()
}

fn same_bytes(old: &reader::Needle, mut body: Pieces) -> Result<bool, VolumeError> {
    let mut at = 0;
    while !body.is_empty() {
        let piece = body.split_to(usize::try_from(COMPARE).unwrap_or(1 << 20));
        let end = at + piece.len() as u64;
        let stored = old.read_now(Encoding::Identity, at, end)?;
        let mut rest = &stored[..];
        for p in piece.iter() {
            match rest.strip_prefix(&p[..]) {
                Some(r) => rest = r,
                None => return Ok(false),
            }
        }
        at = end;
    }
    Ok(true)
}

fn seal(
    view: &View,
    clock: &dyn Clock,
    rng: &dyn Rng,
    put: PutNeedle,
    crc32c: u32,
) -> Result<Sealed, VolumeError> {
    let size = put.body.len() as u64;
    let gz = if put.compress {
        gzip::compress(&put.body)
    } else {
        None
    };
    let (body, ends) = match gz {
        Some(gz) => (gz.stream, gz.ends),
        None => (put.body, Vec::new()),
    };
    let compressed = !ends.is_empty();
    let meta = NeedleMeta {
        size,
        crc32c,
        name: put.name,
        ends,
        member: 0,
        owner: put.owner,
    };
    let meta = meta::encode(meta);
    if meta.len() > NEEDLE_META_BYTES_MAX {
        let (got, limit) = (meta.len() as u64, NEEDLE_META_BYTES_MAX as u64);
        return Err(VolumeError::TooLarge {
            what: "the needle's metadata",
            got,
            limit,
        });
    }
    let plain = Plain {
        key: put.fid.key.0,
        cookie: put.fid.cookie.0,
        meta,
        body,
        compressed,
        manifest: put.manifest,
    };
    let sealed = encode::seal_needle(&view.head, rng, view.next_ns(clock), plain);
    sealed.ok_or(VolumeError::TooLarge {
        what: "the needle",
        got: size,
        limit: u64::from(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use halofs_client::master::VolumeOwner;
    use halofs_client::volume::{CreateVolume, Deleted, NeedleName, VolumeApi};
    use halofs_runtime::disk::SimDisk;
    use halofs_runtime::{OsRng, RealClock};
    use halofs_seal::{FileKeyProvider, RootKey};
    use halofs_types::{Cookie, NeedleKey, Placement, Uuid, VolumeId};

    use super::*;
    use crate::config::{Deps, VolumeConfig};
    use crate::store::VolumeServer;

    async fn server() -> Arc<VolumeServer> {
        let deps = Deps {
            clock: Arc::new(RealClock),
            rng: Arc::new(OsRng),
            disk: Arc::new(SimDisk::new()),
            keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
            cluster: Uuid([7; 16]),
        };
        let server = VolumeServer::open(VolumeConfig::new("/v".into()), deps).unwrap();
        let create = CreateVolume {
            id: VolumeId(1),
            uuid: Uuid([1; 16]),
            collection: String::new(),
            collection_uuid: Uuid([2; 16]),
            owner: VolumeOwner::Native,
            placement: Placement::default(),
            epoch: 1,
            generation: 0,
        };
        server.create_volume(create).await.unwrap();
        server
    }

    fn put(key: u64) -> PutNeedle {
        PutNeedle {
            fid: FileId {
                volume: VolumeId(1),
                key: NeedleKey(key),
                cookie: Cookie(5),
            },
            body: Pieces::from(Bytes::from_static(b"text")),
            owner: None,
            name: NeedleName::default(),
            compress: false,
            manifest: false,
        }
    }

    #[tokio::test]
    async fn damage_that_may_hide_any_key_keeps_no_key_from_being_written() {
        let server = server().await;
        server.put_needle(put(1)).await.unwrap();
        let volume = server.volume(VolumeId(1)).unwrap();
        {
            let mut p = volume.view().published.write();
            let end = p.end;
            p.unknown.push((end - 8, end));
        }
        let open = |key| server.open_needle(put(key).fid, None, VolumeOwner::Native);
        for key in [1, 2] {
            assert!(matches!(
                open(key).await.err(),
                Some(VolumeError::Damaged { .. })
            ));
            let stored = server.put_needle(put(key)).await.unwrap();
            assert!(!stored.unchanged);
            assert_eq!(open(key).await.unwrap().info().commit, stored.commit);
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn a_file_that_is_as_long_as_can_be_still_takes_tombstones() {
        let server = server().await;
        server.put_needle(put(1)).await.unwrap();
        let volume = server.volume(VolumeId(1)).unwrap();
        volume.view().published.write().end = OFFSET_END - TOMBSTONES - 3;
        let refused = server.put_needle(put(2)).await;
        assert!(matches!(refused, Err(VolumeError::ReadOnly { .. })));
        let gone = server
            .delete_needles(vec![put(1).fid], VolumeOwner::Native)
            .await;
        assert_eq!(gone, [Ok(Deleted::Yes { size: 4 })]);
        server.stop().await;
    }
}
