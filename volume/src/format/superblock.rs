//! Superblock, format v1: the head of a volume file is two copies of 4096 bytes at 0 and 4096; the valid one with the
//! higher seq wins, and a rewrite goes to the other place, so that a crash leaves one of them whole. The head lies
//! outside the log: copies of a volume may differ in it. Owner: `volume::head`. Readers: mount, `halofs inspect`.
//!
//! | off | len | field | notes |
//! |---|---|---|---|
//! | 0 | 8 | magic | `HALOVOL1` |
//! | 8 | 2 | fmt_ver | 1 |
//! | 10 | 2 | min_reader | 1; higher is refused by name |
//! | 12 | 4 | flags | 1 sealed read-only, 2 owner is the filer |
//! | 16 | 16 | cluster_uuid | |
//! | 32 | 16 | volume_uuid | |
//! | 48 | 4 | volume_id | |
//! | 52 | 1 | placement | x·100 + y·10 + z, for recovery only |
//! | 53 | 1 | seg_log2 | |
//! | 54 | 2 | zero | |
//! | 56 | 4 | ttl_s | 0: none |
//! | 60 | 2 | slots | DEK slots in use, 1..=4 |
//! | 62 | 2 | zero | |
//! | 64 | 8 | generation | +1 a vacuum |
//! | 72 | 8 | created_ns | |
//! | 80 | 8 | seq | +1 a rewrite |
//! | 88 | 8 | zero | |
//! | 96 | 16 | collection_uuid | |
//! | 112 | 16 | zero | |
//! | 128 | 704×4 | slots | below |
//! | 2944 | 1116 | zero | |
//! | 4060 | 32 | sb_mac | `halofs_seal::needle::superblock_mac` over 0..4060 with the sealing DEK |
//! | 4092 | 4 | crc32c | over 0..4092 |
//!
//! A slot:
//!
//! | off | len | field |
//! |---|---|---|
//! | 0 | 2 | dek_gen |
//! | 2 | 1 | state: 0 empty, 1 sealing, 2 reading only |
//! | 3 | 1 | provider: 1 file |
//! | 4 | 2 | kek_id_len |
//! | 6 | 2 | wrapped_len |
//! | 8 | 16 | kcv: `halofs_seal::needle::key_check_value` |
//! | 24 | 2 | recovery_len |
//! | 26 | 6 | zero |
//! | 32 | 128 | kek_id |
//! | 160 | 256 | wrapped |
//! | 416 | 288 | recovery wrap |
//!
//! Reserved bytes are written zero and refused when not zero. Why a wrap in the head: the file can be read with the
//! root key and nothing else.

use super::{Fields, FormatError, crc32c};

/// Bytes of one superblock.
pub const LEN: usize = 4096;
/// Bytes of the head: records begin here.
pub const HEAD: u64 = 2 * LEN as u64;
/// Bytes that `sb_mac` covers.
pub const MAC_AT: usize = 4060;
const MAGIC: [u8; 8] = *b"HALOVOL1";
const VERSION: u16 = 1;
const CRC_AT: usize = 4092;
const SLOTS: usize = 4;
const SLOT: usize = 704;
const KEK_ID: usize = 128;
const WRAPPED: usize = 256;
const RECOVERY: usize = 288;

/// The volume takes no more writes.
pub const FLAG_SEALED: u32 = 1;
/// The volume is the filer's: create-only.
pub const FLAG_FILER: u32 = 2;

const _: () = assert!(SLOT == 32 + KEK_ID + WRAPPED + RECOVERY);
const _: () = assert!(128 + SLOT * SLOTS == 2944 && MAC_AT + 32 == CRC_AT && CRC_AT + 4 == LEN);

/// What a slot's key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// New records.
    Sealing,
    /// Old records only.
    Reading,
}

/// A wrapped data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which generation.
    pub dek_gen: u16,
    /// What it is for.
    pub state: SlotState,
    /// Which kind of provider wrapped it.
    pub provider: u8,
    /// Check value of the key.
    pub kcv: [u8; 16],
    /// Which key wrapped it.
    pub kek_id: String,
    /// The wrap.
    pub wrapped: Vec<u8>,
    /// The wrap to the offline recovery key, may be empty.
    pub recovery: Vec<u8>,
}

/// A superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// See the table.
    pub flags: u32,
    /// See the table.
    pub cluster: [u8; 16],
    /// See the table.
    pub volume: [u8; 16],
    /// See the table.
    pub volume_id: u32,
    /// See the table.
    pub placement: u8,
    /// See the table.
    pub seg_log2: u8,
    /// See the table.
    pub ttl_s: u32,
    /// See the table.
    pub generation: u64,
    /// See the table.
    pub created_ns: u64,
    /// See the table.
    pub seq: u64,
    /// See the table.
    pub collection: [u8; 16],
    /// The slots in use.
    pub slots: Vec<Slot>,
}

impl Superblock {
    /// Bytes 0..4060. Refuses what the format has no room for.
    pub fn encode_body(&self) -> Result<Vec<u8>, FormatError> {
        let slots = u16::try_from(self.slots.len()).map_err(|_| FormatError::Field("slots"))?;
        if !(1..=SLOTS).contains(&self.slots.len()) {
            return Err(FormatError::Field("slots"));
        }
        let mut b = Vec::with_capacity(LEN);
        b.extend_from_slice(&MAGIC);
        b.extend_from_slice(&VERSION.to_le_bytes());
        b.extend_from_slice(&VERSION.to_le_bytes());
        b.extend_from_slice(&self.flags.to_le_bytes());
        b.extend_from_slice(&self.cluster);
        b.extend_from_slice(&self.volume);
        b.extend_from_slice(&self.volume_id.to_le_bytes());
        b.extend_from_slice(&[self.placement, self.seg_log2, 0, 0]);
        b.extend_from_slice(&self.ttl_s.to_le_bytes());
        b.extend_from_slice(&slots.to_le_bytes());
        b.extend_from_slice(&[0; 2]);
        for n in [self.generation, self.created_ns, self.seq, 0] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(&self.collection);
        b.resize(128, 0);
        for slot in &self.slots {
            slot.encode(&mut b)?;
        }
        b.resize(MAC_AT, 0);
        Ok(b)
    }

    /// The 4096 bytes, given the MAC of [`Self::encode_body`].
    pub fn seal(mut body: Vec<u8>, mac: &[u8; 32]) -> Vec<u8> {
        body.extend_from_slice(mac);
        let crc = crc32c(&body);
        body.extend_from_slice(&crc.to_le_bytes());
        body
    }

    /// Reads 4096 bytes: structure and CRC. The MAC (bytes 4060..4092) is for who has the key.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() != LEN {
            return Err(FormatError::Short);
        }
        let mut f = Fields::new(bytes);
        if f.take()? != MAGIC {
            return Err(FormatError::Magic);
        }
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short)?;
        if crc32c(covered).to_le_bytes() != *crc {
            return Err(FormatError::Checksum);
        }
        let (version, needs) = (f.u16()?, f.u16()?);
        if needs > VERSION {
            return Err(FormatError::Newer { version, needs });
        }
        let flags = f.u32()?;
        if flags & !(FLAG_SEALED | FLAG_FILER) != 0 {
            return Err(FormatError::Field("flags"));
        }
        let (cluster, volume, volume_id) = (f.take()?, f.take()?, f.u32()?);
        let (placement, seg_log2) = (f.u8()?, f.u8()?);
        f.zero(2)?;
        let ttl_s = f.u32()?;
        let used = usize::from(f.u16()?);
        f.zero(2)?;
        let (generation, created_ns, seq) = (f.u64()?, f.u64()?, f.u64()?);
        f.zero(8)?;
        let collection = f.take()?;
        f.zero(16)?;
        if !(1..=SLOTS).contains(&used) {
            return Err(FormatError::Field("slots"));
        }
        let mut slots = Vec::with_capacity(used);
        for _ in 0..used {
            slots.push(Slot::decode(f.bytes(SLOT)?)?);
        }
        f.zero(SLOT * (SLOTS - used) + MAC_AT - 2944)?;
        if slots
            .iter()
            .filter(|s| s.state == SlotState::Sealing)
            .count()
            != 1
        {
            return Err(FormatError::Field("slot state"));
        }
        if !(12..=20).contains(&seg_log2) {
            return Err(FormatError::Field("seg_log2"));
        }
        Ok(Self {
            flags,
            cluster,
            volume,
            volume_id,
            placement,
            seg_log2,
            ttl_s,
            generation,
            created_ns,
            seq,
            collection,
            slots,
        })
    }
}

impl Slot {
    fn encode(&self, b: &mut Vec<u8>) -> Result<(), FormatError> {
        let len = |n: usize, max: usize, what| {
            if n > max {
                Err(FormatError::Field(what))
            } else {
                u16::try_from(n).map_err(|_| FormatError::Field(what))
            }
        };
        let from = b.len();
        b.extend_from_slice(&self.dek_gen.to_le_bytes());
        b.push(if self.state == SlotState::Sealing {
            1
        } else {
            2
        });
        b.push(self.provider);
        b.extend_from_slice(&len(self.kek_id.len(), KEK_ID, "kek_id")?.to_le_bytes());
        b.extend_from_slice(&len(self.wrapped.len(), WRAPPED, "wrapped")?.to_le_bytes());
        b.extend_from_slice(&self.kcv);
        b.extend_from_slice(&len(self.recovery.len(), RECOVERY, "recovery")?.to_le_bytes());
        b.resize(from + 32, 0);
        b.extend_from_slice(self.kek_id.as_bytes());
        b.resize(from + 32 + KEK_ID, 0);
        b.extend_from_slice(&self.wrapped);
        b.resize(from + 32 + KEK_ID + WRAPPED, 0);
        b.extend_from_slice(&self.recovery);
        b.resize(from + SLOT, 0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut f = Fields::new(bytes);
        let dek_gen = f.u16()?;
        let state = match f.u8()? {
            1 => SlotState::Sealing,
            2 => SlotState::Reading,
            _ => return Err(FormatError::Field("slot state")),
        };
        let provider = f.u8()?;
        let (kek_id_len, wrapped_len) = (usize::from(f.u16()?), usize::from(f.u16()?));
        let kcv = f.take()?;
        let recovery_len = usize::from(f.u16()?);
        f.zero(6)?;
        let mut part = |n: usize, room: usize, what| {
            let rest = room.checked_sub(n).ok_or(FormatError::Field(what))?;
            let got = f.bytes(n)?.to_vec();
            f.zero(rest)?;
            Ok(got)
        };
        let kek_id = part(kek_id_len, KEK_ID, "kek_id")?;
        let wrapped = part(wrapped_len, WRAPPED, "wrapped")?;
        let recovery = part(recovery_len, RECOVERY, "recovery")?;
        let kek_id = String::from_utf8(kek_id).map_err(|_| FormatError::Field("kek_id"))?;
        Ok(Self {
            dek_gen,
            state,
            provider,
            kcv,
            kek_id,
            wrapped,
            recovery,
        })
    }
}
