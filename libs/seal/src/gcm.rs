//! The one place that calls AES-256-GCM.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::SealError;

pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// AES-256-GCM under one key. The library zeroes the key schedule when it is dropped.
pub(crate) struct Gcm(LessSafeKey);

impl Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts in place and returns the tag. Texts are far below the cipher's limit of 64 GiB.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], buf: &mut [u8]) -> [u8; TAG] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buf)
            .expect("the text is below the cipher's limit");
        *tag.as_ref()
            .first_chunk()
            .expect("the cipher's tag has 16 bytes")
    }

    /// Verifies and decrypts `sealed` into `out`, which has its length: all of it, or zeros and an error.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), SealError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_separate_gather(nonce, Aad::from(aad), sealed, tag, out)
            .map_err(|_| {
                out.fill(0);
                SealError::Damaged("the seal's tag")
            })
    }
}
