//! The sealing of needle records (suite 1) and the superblock's key checks.
//!
//! okm (60 B) = KBKDF(DEK, "halofs.needle.v1" 00 ‖ cluster uuid ‖ volume uuid ‖ header\[0..44\] ‖ salt24, 480);
//! key = okm\[0..32\], base nonce = okm\[32..44\], commit = okm\[44..60\].
//! Segment i: nonce = base nonce with its last 4 bytes XOR u32be(i), AAD = u32be(i) ‖ (i is the last). All identity is in
//! the KDF's input, so any change of the header is another key, and `commit` says so before anything is decrypted.

use std::fmt;

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::error::SealError;
use crate::gcm::{Gcm, NONCE};
use crate::kdf::{self, HmacSha256};
use crate::key::Dek;

/// Bytes of a segment's tag.
pub const TAG: usize = crate::gcm::TAG;
/// Header bytes that enter the key derivation.
pub const DERIVE_HEADER: usize = 44;
/// Bytes of a record's salt.
pub const SALT: usize = 24;
/// Bytes of a record's header MAC.
pub const COMMIT: usize = 16;

/// Derives the keys of the needles of one volume under one DEK.
#[derive(Clone)]
pub struct NeedleSealer {
    mac: HmacSha256,
    cluster: [u8; 16],
    volume: [u8; 16],
}

/// The keys of one needle record.
pub struct NeedleKeys {
    gcm: Gcm,
    base_nonce: [u8; NONCE],
    commit: [u8; COMMIT],
}

impl NeedleSealer {
    /// For a volume's DEK.
    pub fn new(dek: &Dek, cluster: [u8; 16], volume: [u8; 16]) -> Self {
        Self {
            mac: kdf::keyed(dek.bytes()),
            cluster,
            volume,
        }
    }

    /// The keys of the record with this header and salt.
    pub fn derive(&self, header: &[u8; DERIVE_HEADER], salt: &[u8; SALT]) -> NeedleKeys {
        let mut okm = self.okm(header, salt);
        let (key, rest) = okm
            .split_first_chunk::<32>()
            .expect("60 bytes hold a key of 32");
        let (base_nonce, rest) = rest
            .split_first_chunk::<NONCE>()
            .expect("28 bytes hold a nonce of 12");
        let commit = rest.first_chunk::<COMMIT>().expect("16 bytes are left");
        let keys = NeedleKeys {
            gcm: Gcm::new(key),
            base_nonce: *base_nonce,
            commit: *commit,
        };
        okm.zeroize();
        keys
    }

    /// Whether a header belongs to this volume and DEK: compares `commit` in constant time without building a cipher.
    pub fn header_holds(
        &self,
        header: &[u8; DERIVE_HEADER],
        salt: &[u8; SALT],
        commit: &[u8; COMMIT],
    ) -> bool {
        let okm = self.okm(header, salt);
        okm.last_chunk::<COMMIT>()
            .is_some_and(|c| bool::from(c.ct_eq(commit)))
    }

    fn okm(&self, header: &[u8; DERIVE_HEADER], salt: &[u8; SALT]) -> Zeroizing<[u8; 60]> {
        let mut okm = Zeroizing::new([0; 60]);
        let info: [&[u8]; 5] = [
            b"halofs.needle.v1\0",
            &self.cluster,
            &self.volume,
            header,
            salt,
        ];
        kdf::derive(&self.mac, &info, okm.as_mut());
        okm
    }
}

impl fmt::Debug for NeedleSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NeedleSealer(..)")
    }
}

impl NeedleKeys {
    /// The header MAC that the record carries.
    pub fn commit(&self) -> [u8; COMMIT] {
        self.commit
    }

    /// Constant-time comparison with what a record or a caller says.
    pub fn commit_is(&self, commit: &[u8; COMMIT]) -> bool {
        self.commit.ct_eq(commit).into()
    }

    /// Seals segment `index` in place and returns its tag.
    pub fn seal_segment(&self, index: u32, last: bool, buf: &mut [u8]) -> [u8; TAG] {
        self.gcm.seal(&self.nonce(index), &aad(index, last), buf)
    }

    /// Verifies segment `index` and opens it into `out`, which has its length; on an error `out` is zeros.
    pub fn open_segment(
        &self,
        index: u32,
        last: bool,
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), SealError> {
        self.gcm
            .open(&self.nonce(index), &aad(index, last), sealed, tag, out)
    }

    fn nonce(&self, index: u32) -> [u8; NONCE] {
        let mut nonce = self.base_nonce;
        nonce
            .iter_mut()
            .skip(8)
            .zip(index.to_be_bytes())
            .for_each(|(n, i)| *n ^= i);
        nonce
    }
}

impl fmt::Debug for NeedleKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NeedleKeys(..)")
    }
}

fn aad(index: u32, last: bool) -> [u8; 5] {
    let [a, b, c, d] = index.to_be_bytes();
    [a, b, c, d, u8::from(last)]
}

/// Constant-time equality of two header MACs.
pub fn same_commit(a: &[u8; COMMIT], b: &[u8; COMMIT]) -> bool {
    a.ct_eq(b).into()
}

/// The DEK's check value for a volume: KBKDF(DEK, "halofs.kcv.v1" 00 ‖ volume uuid, 128).
pub fn key_check_value(dek: &Dek, volume: &[u8; 16]) -> [u8; 16] {
    let mut out = [0; 16];
    kdf::kbkdf(dek.bytes(), &[b"halofs.kcv.v1\0", volume], &mut out);
    out
}

/// HMAC-SHA256(KBKDF(DEK, "halofs.sbmac.v1" 00 ‖ volume uuid, 256), bytes).
pub fn superblock_mac(dek: &Dek, volume: &[u8; 16], bytes: &[u8]) -> [u8; 32] {
    let mut key = Zeroizing::new([0; 32]);
    kdf::kbkdf(dek.bytes(), &[b"halofs.sbmac.v1\0", volume], key.as_mut());
    let mut mac = kdf::keyed(key.as_ref());
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

/// Whether a superblock's MAC is right, in constant time.
pub fn superblock_mac_is(dek: &Dek, volume: &[u8; 16], bytes: &[u8], mac: &[u8; 32]) -> bool {
    superblock_mac(dek, volume, bytes).ct_eq(mac).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(header: &[u8; DERIVE_HEADER]) -> NeedleKeys {
        NeedleSealer::new(&Dek::from_bytes([7; 32]), [1; 16], [2; 16]).derive(header, &[3; SALT])
    }

    #[test]
    fn segments_open_only_in_their_place() {
        let k = keys(&[9; 44]);
        let mut buf = b"hello".to_vec();
        let tag = k.seal_segment(1, false, &mut buf);
        assert_ne!(buf, b"hello");
        for (i, last) in [(0, false), (2, false), (1, true)] {
            let mut out = [1; 5];
            assert!(k.open_segment(i, last, &buf, &tag, &mut out).is_err());
            assert_eq!(out, [0; 5], "nothing is released");
        }
        let mut out = [0; 5];
        k.open_segment(1, false, &buf, &tag, &mut out).unwrap();
        assert_eq!(&out, b"hello");
    }

    #[test]
    fn a_header_bit_is_another_key() {
        let k = keys(&[9; 44]);
        for bit in 0..44 * 8 {
            let mut h = [9; 44];
            h[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys(&h).commit_is(&k.commit()));
        }
        let s = NeedleSealer::new(&Dek::from_bytes([7; 32]), [1; 16], [2; 16]);
        assert!(s.header_holds(&[9; 44], &[3; SALT], &k.commit()));
        assert!(!s.header_holds(&[8; 44], &[3; SALT], &k.commit()));
    }
}
