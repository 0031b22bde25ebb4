//! SP 800-108r1 counter mode over HMAC-SHA256: block i = HMAC(key, u32be(i) ‖ info ‖ u32be(bits)).

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

pub(crate) type HmacSha256 = Hmac<Sha256>;

/// A keyed HMAC, so that deriving many keys from one costs the key schedule once.
pub(crate) fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Derives `bits / 8` bytes from `key`; `info` parts are concatenated.
pub fn kbkdf(key: &[u8; 32], info: &[&[u8]], out: &mut [u8]) {
    derive(&keyed(key), info, out);
}

/// [`kbkdf`] over a prepared key. The bit length is the output's.
pub(crate) fn derive(mac: &HmacSha256, info: &[&[u8]], out: &mut [u8]) {
    let bits = u32::try_from(out.len() * 8).expect("derived keys are short");
    for (i, block) in (1u32..).zip(out.chunks_mut(32)) {
        let mut m = mac.clone();
        m.update(&i.to_be_bytes());
        for part in info {
            m.update(part);
        }
        m.update(&bits.to_be_bytes());
        let mut full: [u8; 32] = m.finalize_fixed().into();
        block.iter_mut().zip(full).for_each(|(o, b)| *o = b);
        full.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference() {
        // kbkdf(bytes(range(32)), b"info", 480) of compat-tests/needle_ref.py.
        let key: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut out = [0; 60];
        kbkdf(&key, &[b"in", b"fo"], &mut out);
        assert_eq!(
            hex::encode(out),
            include_str!("../testdata/kbkdf-480.hex").trim()
        );
    }
}
