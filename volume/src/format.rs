//! Every byte that a volume's files hold, as pure functions: no I/O, no clock, no keys but those that are passed in.
//! The story of the formats is told in `docs/format/volume.md`.
//!
//! | module | file |
//! |---|---|
//! | [`superblock`] | the head of `<vid>.vol`: bytes 0..8192 |
//! | [`record`] | needle records, the log of `<vid>.vol` |
//! | [`mark`] | the record that ends a synced batch |
//! | [`state`] | `<vid>.state` |
//! | [`checkpoint`] | `<vid>.ckpt` |

pub mod checkpoint;
pub mod mark;
pub mod record;
pub mod state;
pub mod superblock;

/// Why bytes are not what their place says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than the format needs.
    #[error("cut short")]
    Short,
    /// The first bytes are not the format's.
    #[error("no such format")]
    Magic,
    /// Written by a later version for readers of at least `needs`.
    #[error(
        "format version {version} needs a reader of version {needs}; this build reads version 1"
    )]
    Newer {
        /// The writer's version.
        version: u16,
        /// The oldest reader it allows.
        needs: u16,
    },
    /// The checksum is not that of the bytes.
    #[error("the checksum does not match")]
    Checksum,
    /// A field holds what it may not.
    #[error("field {0} is not valid")]
    Field(&'static str),
}

/// Little-endian fields one after the other. Readers check the length once, by [`Fields::new`]'s caller.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `n` bytes, which a writer of this version leaves zero.
    pub(crate) fn zero(&mut self, n: usize) -> Result<(), FormatError> {
        if self.bytes(n)?.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err(FormatError::Field("reserved"))
        }
    }
}

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(bytes);
    crc.value()
}

/// A running CRC-32C.
#[derive(Debug, Clone)]
pub struct Crc32c(crc_fast::Digest);

impl Crc32c {
    /// Of no bytes.
    pub fn new() -> Self {
        Self(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes so far.
    pub fn value(&self) -> u32 {
        u32::try_from(self.0.finalize() & 0xffff_ffff).expect("a CRC of 32 bits fits")
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}
