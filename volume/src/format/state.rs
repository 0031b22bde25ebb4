//! `<vid>.state`, format v1: what a copy has promised, replaced whole (temp file, sync, rename, folder sync) at every
//! epoch change, at a clean stop, and when the volume is fenced; never per append. Owner: `volume::log`.
//!
//! | off | len | field | notes |
//! |---|---|---|---|
//! | 0 | 8 | magic | `HALOSTA1` |
//! | 8 | 2 | fmt_ver | 1 |
//! | 10 | 2 | min_reader | 1 |
//! | 12 | 4 | flags | 1 fenced: mount only after an O_DIRECT read of the whole file; 2 stopped cleanly |
//! | 16 | 16 | volume_uuid | another volume's state is not this one's |
//! | 32 | 16 | copy_uuid | random, of this copy |
//! | 48 | 8 | epoch | the highest promised |
//! | 56 | 8 | generation | |
//! | 64 | 8 | durable | end of the last synced mark at that moment |
//! | 72 | 4 | torn | how many ranges follow |
//! | 76 | 4 | name_len | |
//! | 80 | 16×n | torn ranges | start, end: never acknowledged bytes under a mark, see `volume::recover` |
//! | .. | name_len | collection | its name as of creation, for reports; the superblock has its uuid |
//! | .. | 4 | crc32c | over everything before it |

use super::{Fields, FormatError, crc32c};

const MAGIC: [u8; 8] = *b"HALOSTA1";
const VERSION: u16 = 1;
const FENCED: u32 = 1;
const CLEAN: u32 = 2;
/// Torn ranges that fit; a copy with more of them than this has a failing disk.
pub const TORN_MAX: usize = 4096;

/// What a copy has promised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// A sync failed.
    pub fenced: bool,
    /// The server stopped the volume itself.
    pub clean: bool,
    /// Whose state.
    pub volume: [u8; 16],
    /// This copy.
    pub copy: [u8; 16],
    /// The highest epoch promised.
    pub epoch: u64,
    /// Of the file.
    pub generation: u64,
    /// End of the last synced mark.
    pub durable: u64,
    /// Torn ranges: start and end.
    pub torn: Vec<(u64, u64)>,
    /// The collection's name.
    pub collection: String,
}

impl State {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let torn: Vec<_> = self.torn.iter().take(TORN_MAX).collect();
        let mut b = Vec::with_capacity(84 + torn.len() * 16);
        b.extend_from_slice(&MAGIC);
        b.extend_from_slice(&VERSION.to_le_bytes());
        b.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.fenced { FENCED } else { 0 } | if self.clean { CLEAN } else { 0 };
        b.extend_from_slice(&flags.to_le_bytes());
        b.extend_from_slice(&self.volume);
        b.extend_from_slice(&self.copy);
        for n in [self.epoch, self.generation, self.durable] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(
            &u32::try_from(torn.len())
                .expect("at most TORN_MAX")
                .to_le_bytes(),
        );
        b.extend_from_slice(
            &u32::try_from(self.collection.len())
                .expect("names are short")
                .to_le_bytes(),
        );
        for (start, end) in torn {
            b.extend_from_slice(&start.to_le_bytes());
            b.extend_from_slice(&end.to_le_bytes());
        }
        b.extend_from_slice(self.collection.as_bytes());
        let crc = crc32c(&b);
        b.extend_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short)?;
        let mut f = Fields::new(covered);
        if f.take()? != MAGIC {
            return Err(FormatError::Magic);
        }
        if crc32c(covered).to_le_bytes() != *crc {
            return Err(FormatError::Checksum);
        }
        let (version, needs) = (f.u16()?, f.u16()?);
        if needs > VERSION {
            return Err(FormatError::Newer { version, needs });
        }
        let flags = f.u32()?;
        if flags & !(FENCED | CLEAN) != 0 {
            return Err(FormatError::Field("flags"));
        }
        let (volume, copy) = (f.take()?, f.take()?);
        let (epoch, generation, durable) = (f.u64()?, f.u64()?, f.u64()?);
        let count = usize::try_from(f.u32()?).map_err(|_| FormatError::Field("torn"))?;
        let name_len = usize::try_from(f.u32()?).map_err(|_| FormatError::Field("collection"))?;
        if count > TORN_MAX || f.rest().len().checked_sub(count * 16) != Some(name_len) {
            return Err(FormatError::Field("torn"));
        }
        let torn = (0..count)
            .map(|_| Ok((f.u64()?, f.u64()?)))
            .collect::<Result<_, FormatError>>()?;
        let collection =
            String::from_utf8(f.rest().to_vec()).map_err(|_| FormatError::Field("collection"))?;
        let (fenced, clean) = (flags & FENCED != 0, flags & CLEAN != 0);
        Ok(Self {
            fenced,
            clean,
            volume,
            copy,
            epoch,
            generation,
            durable,
            torn,
            collection,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips_and_no_bit_may_flip(
            (fenced, clean, volume, copy) in (any::<bool>(), any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>()),
            (epoch, generation, durable) in (any::<u64>(), any::<u64>(), any::<u64>()),
            torn in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..5),
            (collection, at) in ("[a-z]{0,9}", any::<usize>()),
        ) {
            let state = State { fenced, clean, volume, copy, epoch, generation, durable, torn, collection };
            let bytes = state.encode();
            prop_assert_eq!(State::decode(&bytes), Ok(state));
            let mut bad = bytes.clone();
            let bit = at % (bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(State::decode(&bad).is_err());
            prop_assert!(State::decode(&bytes[..at % bytes.len()]).is_err());
        }
    }
}
