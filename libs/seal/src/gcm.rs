//! The one place that calls AES-256-GCM.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use crate::error::SealError;

pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// AES-256-GCM under one key; its key schedule is zeroized on drop.
pub(crate) struct Gcm(Aes256Gcm);

impl Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Encrypts in place and returns the tag. Texts are far below the cipher's limit of 64 GiB.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], buf: &mut [u8]) -> [u8; TAG] {
        let tag = self
            .0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buf));
        tag.expect("the text is below the cipher's limit").into()
    }

    /// Verifies, then decrypts in place: `buf` stays ciphertext when the tag does not match.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), SealError> {
        let opened =
            self.0
                .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buf), tag.into());
        opened.map_err(|_| SealError::Damaged("the seal's tag"))
    }
}
