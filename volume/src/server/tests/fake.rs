//! A volume in memory. Volume 3 is native, volume 4 the filer's, others do not exist; some keys always fail.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::VolumeError;
use halofs_client::master::{NodeReply, NodeReport, VolumeOwner};
use halofs_client::volume::{
    CreateVolume, Deleted, Encoding, ListedNeedle, NeedleInfo, NeedleReader, PutNeedle, Stored,
    VolumeApi,
};
use halofs_types::{FileId, NeedleKey, Timestamp, VolumeId};
use parking_lot::Mutex;

#[derive(Debug, Clone)]
struct Needle {
    cookie: u32,
    plain: Bytes,
    zipped: Option<Bytes>,
    info: NeedleInfo,
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    needles: Mutex<HashMap<u64, Needle>>,
    /// Every `compress` that was asked for, by key.
    pub(super) compress: Mutex<HashMap<u64, bool>>,
    /// Reads at or after this byte of key 0x77 are damaged.
    pub(super) damaged_from: Mutex<Option<u64>>,
}

/// When every needle of the fake was stored.
pub(super) const STORED: Timestamp = Timestamp(1_700_000_000_500_000_000);
pub(super) const STORED_TEXT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn failing(fid: FileId) -> Option<VolumeError> {
    Some(match fid.key.0 {
        0xe1 => VolumeError::Full {
            dir: "d".into(),
            free: 1,
            reserve: 2,
        },
        0xe2 => VolumeError::Fenced(fid.volume),
        0xe3 => VolumeError::ReadOnly {
            volume: fid.volume,
            reason: "test",
        },
        0xe4 => VolumeError::Stopping,
        0xe5 => VolumeError::Io {
            op: "read",
            path: "p".into(),
            error: "EIO".into(),
        },
        0xe6 => VolumeError::Damaged { fid, what: "tag" },
        0xe7 => VolumeError::Exists(fid),
        0xe8 => VolumeError::TooLarge {
            what: "metadata",
            got: 2,
            limit: 1,
        },
        0xe9 => VolumeError::Mismatch(fid),
        0xea => VolumeError::Refused {
            path: "p".into(),
            reason: "newer".into(),
        },
        _ => return None,
    })
}

fn check(fid: FileId) -> Result<(), VolumeError> {
    if fid.volume != VolumeId(3) {
        return Err(VolumeError::NoVolume(fid.volume));
    }
    failing(fid).map_or(Ok(()), Err)
}

impl Fake {
    /// Needles there are.
    pub(super) fn count(&self) -> usize {
        self.needles.lock().len()
    }

    pub(super) fn info(&self, key: u64) -> NeedleInfo {
        self.needles.lock()[&key].info.clone()
    }
}

struct Reader {
    needle: Needle,
    damaged_from: Option<u64>,
}

#[async_trait]
impl NeedleReader for Reader {
    fn info(&self) -> &NeedleInfo {
        &self.needle.info
    }

    async fn read(&self, encoding: Encoding, start: u64, end: u64) -> Result<Bytes, VolumeError> {
        assert!(end - start <= 1 << 20 && start < end, "{start}..{end}");
        if self.damaged_from.is_some_and(|d| end > d) {
            return Err(VolumeError::NotFound("3,7700000001".parse().unwrap()));
        }
        let bytes = match encoding {
            Encoding::Identity => &self.needle.plain,
            Encoding::Gzip => self
                .needle
                .zipped
                .as_ref()
                .expect("asked for gzip of a plain needle"),
        };
        Ok(bytes.slice(usize::try_from(start).unwrap()..usize::try_from(end).unwrap()))
    }
}

#[async_trait]
impl VolumeApi for Fake {
    async fn put_needle(&self, put: PutNeedle) -> Result<Stored, VolumeError> {
        check(put.fid)?;
        assert!(put.owner.is_none());
        let plain = put.body.into_bytes();
        self.compress.lock().insert(put.fid.key.0, put.compress);
        let crc32c = u32::try_from(crc_fast::checksum(
            crc_fast::CrcAlgorithm::Crc32Iscsi,
            &plain,
        ))
        .unwrap();
        let zipped = put
            .compress
            .then(|| Bytes::from(super::gzip(&plain)))
            .filter(|z| z.len() * 10 < plain.len() * 9);
        let size = u64::try_from(plain.len()).unwrap();
        let mut needles = self.needles.lock();
        let old = needles.get(&put.fid.key.0);
        if old.is_some_and(|o| o.cookie != put.fid.cookie.0) {
            return Err(VolumeError::WrongCookie(put.fid));
        }
        let unchanged = old.is_some_and(|o| o.plain == plain && o.info.name == put.name);
        let info = NeedleInfo {
            size,
            crc32c,
            appended: STORED,
            name: put.name,
            gzip_size: zipped.as_ref().map(|z| u64::try_from(z.len()).unwrap()),
            manifest: put.manifest,
            commit: [7; 16],
        };
        needles.insert(
            put.fid.key.0,
            Needle {
                cookie: put.fid.cookie.0,
                plain,
                zipped,
                info,
            },
        );
        Ok(Stored {
            commit: [7; 16],
            size,
            crc32c,
            unchanged,
        })
    }

    async fn open_needle(
        &self,
        fid: FileId,
        commit: Option<[u8; 16]>,
        owner: VolumeOwner,
    ) -> Result<Box<dyn NeedleReader>, VolumeError> {
        assert!(commit.is_none() && owner == VolumeOwner::Native);
        check(fid)?;
        let needle = self
            .needles
            .lock()
            .get(&fid.key.0)
            .cloned()
            .ok_or(VolumeError::NotFound(fid))?;
        if needle.cookie != fid.cookie.0 {
            return Err(VolumeError::WrongCookie(fid));
        }
        let damaged_from = if fid.key.0 == 0x77 {
            *self.damaged_from.lock()
        } else {
            None
        };
        Ok(Box::new(Reader {
            needle,
            damaged_from,
        }))
    }

    async fn delete_needles(
        &self,
        fids: Vec<FileId>,
        owner: VolumeOwner,
    ) -> Vec<Result<Deleted, VolumeError>> {
        assert_eq!(owner, VolumeOwner::Native);
        fids.into_iter()
            .map(|fid| {
                check(fid)?;
                let mut needles = self.needles.lock();
                match needles.get(&fid.key.0) {
                    None => Ok(Deleted::Absent),
                    Some(n) if n.cookie != fid.cookie.0 => Err(VolumeError::WrongCookie(fid)),
                    Some(n) => {
                        let size = n.info.size;
                        needles.remove(&fid.key.0);
                        Ok(Deleted::Yes { size })
                    }
                }
            })
            .collect()
    }

    async fn list_needles(
        &self,
        volume: VolumeId,
        _first: NeedleKey,
        _last: NeedleKey,
        _limit: usize,
    ) -> Result<Vec<ListedNeedle>, VolumeError> {
        Err(VolumeError::NoVolume(volume))
    }

    async fn create_volume(&self, create: CreateVolume) -> Result<(), VolumeError> {
        Err(VolumeError::NoVolume(create.id))
    }

    async fn lead(&self, volume: VolumeId, _epoch: u64) -> Result<(), VolumeError> {
        Err(VolumeError::NoVolume(volume))
    }

    async fn node_report(&self) -> NodeReport {
        NodeReport {
            url: "127.0.0.1:8080".into(),
            disk_total: 200,
            disk_free: 50,
            ..NodeReport::default()
        }
    }

    fn apply_reply(&self, _reply: &NodeReply) {}
}
