//! The ten S3 checksum algorithms (decision 23).

use bytes::Bytes;

/// An algorithm of `x-amz-checksum-*`. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumAlgorithm {
    /// ISO-HDLC CRC-32.
    Crc32 = 1,
    /// Castagnoli CRC-32.
    Crc32c = 2,
    /// NVME CRC-64.
    Crc64Nvme = 3,
    /// SHA-1.
    Sha1 = 4,
    /// SHA-256.
    Sha256 = 5,
    /// SHA-512.
    Sha512 = 6,
    /// MD5.
    Md5 = 7,
    /// XXH64, seed 0.
    Xxhash64 = 8,
    /// XXH3-64, seed 0.
    Xxhash3 = 9,
    /// XXH3-128, seed 0.
    Xxhash128 = 10,
}

/// Whether a checksum covers the object's bytes or the parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumKind {
    /// Over the bytes of the whole object.
    FullObject = 1,
    /// Over the concatenated raw checksums of the parts; shown with `-<parts>`.
    Composite = 2,
}

/// A stored checksum of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChecksum {
    /// Which algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// Raw bytes, big-endian as S3 encodes them in base64.
    pub value: Bytes,
}
