//! Keys of 32 bytes. They are zeroized on drop and never printed.

use std::fmt;

use halofs_runtime::Rng;
use zeroize::Zeroizing;

use crate::kdf::kbkdf;

/// A data key: seals the needles of a volume or the values of a store.
#[derive(Clone)]
pub struct Dek(Zeroizing<[u8; 32]>);

/// The root key: wraps data keys and nothing else.
#[derive(Clone)]
pub struct RootKey(Zeroizing<[u8; 32]>);

impl Dek {
    /// A fresh key.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut k = Zeroizing::new([0; 32]);
        rng.fill(k.as_mut());
        Self(k)
    }

    /// From bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl RootKey {
    /// A fresh key.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut k = Zeroizing::new([0; 32]);
        rng.fill(k.as_mut());
        Self(k)
    }

    /// From bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's public name: 16 hex digits of KBKDF(root, "halofs.root.id.v1" 00, 64).
    pub fn kek_id(&self) -> String {
        let mut id = [0; 8];
        kbkdf(&self.0, &[b"halofs.root.id.v1\0"], &mut id);
        hex::encode(id)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.kek_id())
    }
}
