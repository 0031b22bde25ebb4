//! The ten S3 checksum algorithms (decision 23): names, streaming, CRC combination, composites.
//!
//! Values are raw bytes, big-endian, exactly what S3 shows in base64. Three CRCs can be combined: the checksum of a
//! concatenation follows from the checksums of its pieces, which is how Complete knows a whole object's CRC without
//! reading it. The others exist for multipart objects as *composites* only: the hash of the parts' raw hashes.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::Digest;
use xxhash_rust::xxh3::Xxh3Default;
use xxhash_rust::xxh64::Xxh64;

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

/// Every algorithm, in the order of their numbers.
pub const ALGORITHMS: [ChecksumAlgorithm; 10] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
    ChecksumAlgorithm::Sha512,
    ChecksumAlgorithm::Md5,
    ChecksumAlgorithm::Xxhash64,
    ChecksumAlgorithm::Xxhash3,
    ChecksumAlgorithm::Xxhash128,
];

/// A name that no algorithm or kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown checksum algorithm or type")]
pub struct UnknownChecksum;

impl ChecksumAlgorithm {
    /// As in `x-amz-checksum-algorithm`: `CRC32`, `SHA256`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::Xxhash64 => "XXHASH64",
            Self::Xxhash3 => "XXHASH3",
            Self::Xxhash128 => "XXHASH128",
        }
    }

    /// The header that carries its value: `x-amz-checksum-crc32`, …
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::Xxhash64 => "x-amz-checksum-xxhash64",
            Self::Xxhash3 => "x-amz-checksum-xxhash3",
            Self::Xxhash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// Bytes of a value.
    pub fn value_len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::Xxhash64 | Self::Xxhash3 => 8,
            Self::Md5 | Self::Xxhash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm with this stored number.
    pub fn from_number(n: u8) -> Option<Self> {
        ALGORITHMS.into_iter().find(|a| a.number() == n)
    }

    /// The stored number.
    pub fn number(self) -> u8 {
        match self {
            Self::Crc32 => 1,
            Self::Crc32c => 2,
            Self::Crc64Nvme => 3,
            Self::Sha1 => 4,
            Self::Sha256 => 5,
            Self::Sha512 => 6,
            Self::Md5 => 7,
            Self::Xxhash64 => 8,
            Self::Xxhash3 => 9,
            Self::Xxhash128 => 10,
        }
    }

    /// Whether a multipart object can carry a checksum of this algorithm and kind.
    pub fn allows(self, kind: ChecksumKind) -> bool {
        match kind {
            ChecksumKind::FullObject => self.crc().is_some(),
            ChecksumKind::Composite => self != Self::Crc64Nvme,
        }
    }

    /// The kind of a multipart upload that names the algorithm only.
    pub fn default_kind(self) -> ChecksumKind {
        if self == Self::Crc64Nvme {
            ChecksumKind::FullObject
        } else {
            ChecksumKind::Composite
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            _ => None,
        }
    }

    /// The checksum of `data`.
    pub fn of(self, data: &[u8]) -> Bytes {
        let mut h = Hasher::new(self);
        h.update(data);
        h.finish()
    }

    /// The checksum of a concatenation, from the checksums of both pieces and the length of the second. `None` for
    /// algorithms that are no CRC and for values of the wrong length.
    pub fn combine(self, first: &[u8], second: &[u8], second_len: u64) -> Option<Bytes> {
        let algorithm = self.crc()?;
        let a = be_value(first, self.value_len())?;
        let b = be_value(second, self.value_len())?;
        let whole = match second_len {
            0 => a,
            n => crc_fast::checksum_combine(algorithm, a, b, n),
        };
        Some(tail(whole, self.value_len()))
    }

    /// The composite checksum of parts: the hash of their concatenated raw values.
    pub fn composite<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
        let mut h = Hasher::new(self);
        parts.into_iter().for_each(|p| h.update(p));
        h.finish()
    }
}

/// CRC64NVME of a concatenation.
pub fn combine_crc64nvme(first: u64, second: u64, second_len: u64) -> u64 {
    match second_len {
        0 => first,
        n => crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, first, second, n),
    }
}

/// The last `len` big-endian bytes of a number: 4 for a 32-bit CRC.
fn tail(n: u64, len: usize) -> Bytes {
    let all = n.to_be_bytes();
    Bytes::copy_from_slice(all.get(all.len() - len..).unwrap_or(&all))
}

fn be_value(raw: &[u8], len: usize) -> Option<u64> {
    (raw.len() == len).then(|| raw.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ChecksumAlgorithm {
    type Err = UnknownChecksum;
    /// The names of [`ChecksumAlgorithm::name`], in any case.
    fn from_str(s: &str) -> Result<Self, UnknownChecksum> {
        ALGORITHMS
            .into_iter()
            .find(|a| a.name().eq_ignore_ascii_case(s))
            .ok_or(UnknownChecksum)
    }
}

impl ChecksumKind {
    /// As in `x-amz-checksum-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

impl FromStr for ChecksumKind {
    type Err = UnknownChecksum;
    fn from_str(s: &str) -> Result<Self, UnknownChecksum> {
        match s {
            "FULL_OBJECT" => Ok(Self::FullObject),
            "COMPOSITE" => Ok(Self::Composite),
            _ => Err(UnknownChecksum),
        }
    }
}

/// One algorithm over bytes that come in pieces.
pub struct Hasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Crc(Crc),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Md5(md5::Md5),
    Xxhash64(Box<Xxh64>),
    Xxhash3(Box<Xxh3Default>),
    Xxhash128(Box<Xxh3Default>),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Hasher {
    /// Over no bytes yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => State::Crc(Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => State::Crc(Crc::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => State::Crc(Crc::new(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            ChecksumAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            ChecksumAlgorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            ChecksumAlgorithm::Md5 => State::Md5(md5::Md5::new()),
            ChecksumAlgorithm::Xxhash64 => State::Xxhash64(Box::new(Xxh64::new(0))),
            ChecksumAlgorithm::Xxhash3 => State::Xxhash3(Box::new(Xxh3Default::new())),
            ChecksumAlgorithm::Xxhash128 => State::Xxhash128(Box::new(Xxh3Default::new())),
        };
        Self { algorithm, state }
    }

    /// Which algorithm.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc(h) => h.update(data),
            State::Sha1(h) => h.update(data),
            State::Sha256(h) => h.update(data),
            State::Sha512(h) => h.update(data),
            State::Md5(h) => h.update(data),
            State::Xxhash64(h) => h.update(data),
            State::Xxhash3(h) | State::Xxhash128(h) => h.update(data),
        }
    }

    /// The raw value.
    pub fn finish(self) -> Bytes {
        match self.state {
            State::Crc(h) => tail(h.finalize(), self.algorithm.value_len()),
            State::Sha1(h) => Bytes::copy_from_slice(&h.finalize()),
            State::Sha256(h) => Bytes::copy_from_slice(&h.finalize()),
            State::Sha512(h) => Bytes::copy_from_slice(&h.finalize()),
            State::Md5(h) => Bytes::copy_from_slice(&h.finalize()),
            State::Xxhash64(h) => tail(h.digest(), 8),
            State::Xxhash3(h) => tail(h.digest(), 8),
            State::Xxhash128(h) => Bytes::copy_from_slice(&h.digest128().to_be_bytes()),
        }
    }
}

/// What is computed over every object and part, in one pass: MD5 for the ETag, CRC64NVME, and what the client asked
/// for beside them.
#[derive(Debug)]
pub struct BodyHasher {
    md5: md5::Md5,
    crc64nvme: Crc,
    more: Vec<Hasher>,
}

/// The results of a [`BodyHasher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySums {
    /// MD5.
    pub md5: [u8; 16],
    /// CRC64NVME.
    pub crc64nvme: u64,
    /// The others that were asked for.
    pub more: Vec<(ChecksumAlgorithm, Bytes)>,
}

impl BodySums {
    /// The raw value of an algorithm, if it was computed.
    pub fn get(&self, algorithm: ChecksumAlgorithm) -> Option<Bytes> {
        match algorithm {
            ChecksumAlgorithm::Md5 => Some(Bytes::copy_from_slice(&self.md5)),
            ChecksumAlgorithm::Crc64Nvme => Some(tail(self.crc64nvme, 8)),
            other => self
                .more
                .iter()
                .find(|(a, _)| *a == other)
                .map(|(_, v)| v.clone()),
        }
    }
}

impl BodyHasher {
    /// MD5 and CRC64NVME always; `more` beside them.
    pub fn new(more: impl IntoIterator<Item = ChecksumAlgorithm>) -> Self {
        let mut hashers: Vec<Hasher> = Vec::new();
        for a in more {
            let known = matches!(a, ChecksumAlgorithm::Md5 | ChecksumAlgorithm::Crc64Nvme);
            if !known && !hashers.iter().any(|h| h.algorithm() == a) {
                hashers.push(Hasher::new(a));
            }
        }
        Self {
            md5: md5::Md5::new(),
            crc64nvme: Crc::new(CrcAlgorithm::Crc64Nvme),
            more: hashers,
        }
    }

    /// Takes the next bytes, in slices small enough that each stays in the cache for every algorithm.
    pub fn update(&mut self, data: &[u8]) {
        for slice in data.chunks(16 << 10) {
            self.md5.update(slice);
            self.crc64nvme.update(slice);
            self.more.iter_mut().for_each(|h| h.update(slice));
        }
    }

    /// The results.
    pub fn finish(self) -> BodySums {
        BodySums {
            md5: self.md5.finalize().into(),
            crc64nvme: self.crc64nvme.finalize(),
            more: self
                .more
                .into_iter()
                .map(|h| (h.algorithm(), h.finish()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_vectors() {
        for (algorithm, hex_value) in [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (
                ChecksumAlgorithm::Sha1,
                "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            ),
            (
                ChecksumAlgorithm::Sha256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
            (ChecksumAlgorithm::Xxhash64, "8cb841db40e6ae83"),
        ] {
            assert_eq!(
                hex::encode(algorithm.of(b"123456789")),
                hex_value,
                "{algorithm}"
            );
        }
        // The reference values of the empty input, seed 0.
        for (algorithm, hex_value) in [
            (ChecksumAlgorithm::Xxhash3, "2d06800538d394c2"),
            (
                ChecksumAlgorithm::Xxhash128,
                "99aa06d3014798d86001c324468d497f",
            ),
            (ChecksumAlgorithm::Xxhash64, "ef46db3751d8e999"),
        ] {
            assert_eq!(hex::encode(algorithm.of(b"")), hex_value, "{algorithm}");
        }
        let sha512 = hex::encode(ChecksumAlgorithm::Sha512.of(b"abc"));
        assert!(
            sha512.starts_with("ddaf35a193617abacc417349ae204131"),
            "{sha512}"
        );
    }

    #[test]
    fn names_numbers_and_lengths_round_trip() {
        for a in ALGORITHMS {
            assert_eq!(a.name().parse(), Ok(a));
            assert_eq!(a.name().to_lowercase().parse(), Ok(a));
            assert_eq!(ChecksumAlgorithm::from_number(a.number()), Some(a));
            assert_eq!(a.of(b"x").len(), a.value_len());
            assert_eq!(
                a.header(),
                format!("x-amz-checksum-{}", a.name().to_lowercase())
            );
        }
        assert_eq!("CRC16".parse::<ChecksumAlgorithm>(), Err(UnknownChecksum));
        assert_eq!(ChecksumAlgorithm::from_number(11), None);
        assert!(!ChecksumAlgorithm::Crc64Nvme.allows(ChecksumKind::Composite));
        assert!(!ChecksumAlgorithm::Sha256.allows(ChecksumKind::FullObject));
        assert!(ChecksumAlgorithm::Crc32.allows(ChecksumKind::FullObject));
    }

    proptest! {
        #[test]
        fn a_crc_of_pieces_is_the_crc_of_the_whole(
            a in proptest::collection::vec(any::<u8>(), 0..300),
            b in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let whole = [a.clone(), b.clone()].concat();
            let len = b.len() as u64;
            for alg in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                prop_assert_eq!(alg.combine(&alg.of(&a), &alg.of(&b), len), Some(alg.of(&whole)));
            }
            prop_assert_eq!(ChecksumAlgorithm::Sha1.combine(&[0; 20], &[0; 20], 1), None);
        }

        #[test]
        fn streaming_is_the_same_as_at_once(data in proptest::collection::vec(any::<u8>(), 0..40_000), cut in 0_usize..40_000) {
            let cut = cut.min(data.len());
            let mut body = BodyHasher::new(ALGORITHMS);
            body.update(&data[..cut]);
            body.update(&data[cut..]);
            let sums = body.finish();
            for a in ALGORITHMS {
                prop_assert_eq!(sums.get(a), Some(a.of(&data)));
            }
        }
    }
}
