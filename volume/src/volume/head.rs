//! The head of a volume file: making it, reading it, mending one bad copy of it, and the keys that it wraps.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;

use halofs_client::error::VolumeError;
use halofs_client::master::VolumeOwner;
use halofs_client::volume::CreateVolume;
use halofs_runtime::DiskFile;
use halofs_runtime::disk::read_exact_at;
use halofs_seal::needle::{key_check_value, superblock_mac, superblock_mac_is};
use halofs_seal::{Dek, DekScope, NeedleSealer, SealError};
use halofs_types::{Uuid, limits};

use crate::config::Deps;
use crate::format::FormatError;
use crate::format::superblock::{self, FLAG_FILER, MAC_AT, Slot, SlotState, Superblock};

/// A head with its keys.
#[derive(Debug)]
pub struct Head {
    /// The superblock that won.
    pub sb: Superblock,
    /// By `dek_gen`.
    sealers: BTreeMap<u16, NeedleSealer>,
    sealing: u16,
}

impl Head {
    /// Whose needles the volume holds.
    pub fn owner(&self) -> VolumeOwner {
        if self.sb.flags & FLAG_FILER != 0 {
            VolumeOwner::Filer
        } else {
            VolumeOwner::Native
        }
    }

    /// The volume's identity.
    pub fn uuid(&self) -> Uuid {
        Uuid(self.sb.volume)
    }

    /// The first bytes of the uuid, in every record.
    pub fn tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.sb.volume;
        [a, b, c, d]
    }

    /// Keys of records of one generation of the data key.
    pub fn sealer(&self, dek_gen: u16) -> Option<&NeedleSealer> {
        self.sealers.get(&dek_gen)
    }

    /// The generation that seals new records.
    pub fn sealing(&self) -> u16 {
        self.sealing
    }
}

/// The bytes of a new volume's head (A with seq 1, then B with seq 2) and the head itself.
pub fn make(deps: &Deps, create: &CreateVolume) -> Result<(Vec<u8>, Head), VolumeError> {
    let dek = Dek::random(&*deps.rng);
    let refuse = |e: &dyn std::fmt::Display| VolumeError::Refused {
        path: format!("volume {}", create.id),
        reason: format!("its head cannot be made: {e}"),
    };
    let scope = DekScope::Volume {
        cluster: deps.cluster,
        collection: create.collection_uuid,
        volume: create.uuid,
        dek_gen: 0,
    };
    let slot = Slot {
        dek_gen: 0,
        state: SlotState::Sealing,
        provider: 1,
        kcv: key_check_value(&dek, &create.uuid.0),
        kek_id: deps.keys.kek_id().to_owned(),
        wrapped: deps
            .keys
            .wrap(&*deps.rng, &scope, &dek)
            .map_err(|e| refuse(&e))?,
        recovery: Vec::new(),
    };
    let mut sb = Superblock {
        flags: if create.owner == VolumeOwner::Filer {
            FLAG_FILER
        } else {
            0
        },
        cluster: deps.cluster.0,
        volume: create.uuid.0,
        volume_id: create.id.0,
        placement: create.placement.to_byte(),
        seg_log2: limits::SEGMENT_LOG2,
        ttl_s: 0,
        generation: create.generation,
        created_ns: deps.clock.now().0,
        seq: 1,
        collection: create.collection_uuid.0,
        slots: vec![slot],
    };
    let mut bytes = encode(&sb, &dek).map_err(|e| refuse(&e))?;
    sb.seq = 2;
    bytes.extend_from_slice(&encode(&sb, &dek).map_err(|e| refuse(&e))?);
    let sealers = BTreeMap::from([(0, NeedleSealer::new(&dek, sb.cluster, sb.volume))]);
    Ok((
        bytes,
        Head {
            sb,
            sealers,
            sealing: 0,
        },
    ))
}

fn encode(sb: &Superblock, dek: &Dek) -> Result<Vec<u8>, FormatError> {
    let body = sb.encode_body()?;
    let mac = superblock_mac(dek, &sb.volume, &body);
    Ok(Superblock::seal(body, &mac))
}

/// Reads and verifies the head of a volume file; a copy that is bad is written anew from the good one.
pub fn load(deps: &Deps, file: &dyn DiskFile, path: &Path) -> Result<Head, VolumeError> {
    let mut best: Option<(usize, Superblock, Vec<u8>)> = None;
    let mut bad = Vec::new();
    let mut why = FormatError::Short;
    for place in 0..2usize {
        let mut bytes = vec![0; superblock::LEN];
        let got = read_exact_at(file, &mut bytes, (place * superblock::LEN) as u64);
        match got
            .map_err(|_| FormatError::Short)
            .and_then(|()| Superblock::decode(&bytes))
        {
            Ok(sb) if best.as_ref().is_none_or(|(_, b, _)| sb.seq > b.seq) => {
                best = Some((place, sb, bytes));
            }
            Ok(_) => {}
            Err(e @ FormatError::Newer { .. }) => return Err(refused(path, e.to_string())),
            Err(e) => {
                bad.push(place);
                why = e;
            }
        }
    }
    let Some((_, sb, bytes)) = best else {
        let why = std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("neither superblock is valid: {why}"),
        );
        return Err(io_error("read the head", path, &why));
    };
    if sb.cluster != deps.cluster.0 {
        let (theirs, ours) = (Uuid(sb.cluster), deps.cluster);
        return Err(refused(
            path,
            format!("belongs to cluster {theirs}; this is cluster {ours}"),
        ));
    }
    let (head, dek) = unlock(deps, sb, path)?;
    let (body, rest) = bytes.split_at_checked(MAC_AT).unwrap_or_default();
    let mac = rest.first_chunk::<32>().copied().unwrap_or_default();
    if !superblock_mac_is(&dek, &head.sb.volume, body, &mac) {
        return Err(refused(
            path,
            "its superblock was changed: the MAC does not match".to_owned(),
        ));
    }
    for place in bad {
        let io = |e: std::io::Error| io_error("mend the superblock", path, &e);
        file.write_at(&[IoSlice::new(&bytes)], (place * superblock::LEN) as u64)
            .map_err(io)?;
        file.sync_data().map_err(io)?;
        tracing::warn!(path = %path.display(), place, "one superblock was damaged and is mended from the other");
    }
    Ok(head)
}

/// Unwraps every data key and compares its check value.
fn unlock(deps: &Deps, sb: Superblock, path: &Path) -> Result<(Head, Dek), VolumeError> {
    let mut sealers = BTreeMap::new();
    let mut sealing = None;
    for slot in &sb.slots {
        let scope = DekScope::Volume {
            cluster: Uuid(sb.cluster),
            collection: Uuid(sb.collection),
            volume: Uuid(sb.volume),
            dek_gen: slot.dek_gen,
        };
        let ours = deps.keys.kek_id();
        let wrong = || {
            let why = if slot.kek_id == ours {
                "but its wrap is damaged"
            } else {
                "restore that key"
            };
            refused(
                path,
                format!(
                    "is sealed under root key {}; the key at hand is {ours}; {why}",
                    slot.kek_id
                ),
            )
        };
        let dek = deps
            .keys
            .unwrap(&scope, &slot.wrapped)
            .map_err(|_: SealError| wrong())?;
        if key_check_value(&dek, &sb.volume) != slot.kcv {
            return Err(wrong());
        }
        sealers.insert(slot.dek_gen, NeedleSealer::new(&dek, sb.cluster, sb.volume));
        if slot.state == SlotState::Sealing {
            sealing = Some((slot.dek_gen, dek));
        }
    }
    let Some((sealing, dek)) = sealing else {
        return Err(refused(path, "no data key of it seals".to_owned()));
    };
    Ok((
        Head {
            sb,
            sealers,
            sealing,
        },
        dek,
    ))
}

pub(crate) fn refused(path: &Path, reason: String) -> VolumeError {
    VolumeError::Refused {
        path: path.display().to_string(),
        reason,
    }
}

pub(crate) fn io_error(op: &'static str, path: &Path, e: &std::io::Error) -> VolumeError {
    VolumeError::Io {
        op,
        path: path.display().to_string(),
        error: e.to_string(),
    }
}
