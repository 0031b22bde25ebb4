//! The sealing of metadata values (format v1).
//!
//! | off | len | field |
//! |---|---|---|
//! | 0 | 1 | version = 1 |
//! | 1 | 2 | dek_gen, little endian |
//! | 3 | 24 | salt, fresh per value |
//! | 27 | n | ciphertext |
//! | 27+n | 16 | tag |
//!
//! key ‖ nonce12 = KBKDF(DEK, "halofs.meta.v1" 00 ‖ cluster uuid ‖ store uuid ‖ version ‖ dek_gen ‖ salt, 352);
//! AAD = store uuid ‖ row key, so that a value moved to another row or store does not open.

use std::fmt;

use halofs_runtime::Rng;
use halofs_types::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::error::SealError;
use crate::gcm::{Gcm, NONCE, TAG};
use crate::kdf::{self, HmacSha256};
use crate::key::Dek;

const VERSION: u8 = 1;
const SALT: usize = 24;
const HEAD: usize = 3 + SALT;

/// Bytes that sealing adds to a value.
pub const OVERHEAD: usize = HEAD + TAG;

const _: () = assert!(HEAD == 27 && OVERHEAD == 43);

/// Seals and opens the values of one store under one DEK.
#[derive(Clone)]
pub struct ValueSealer {
    mac: HmacSha256,
    cluster: Uuid,
    store: Uuid,
    dek_gen: u16,
}

impl ValueSealer {
    /// For a store's DEK.
    pub fn new(dek: &Dek, cluster: Uuid, store: Uuid, dek_gen: u16) -> Self {
        Self {
            mac: kdf::keyed(dek.bytes()),
            cluster,
            store,
            dek_gen,
        }
    }

    /// Seals a value for its row.
    pub fn seal(&self, rng: &dyn Rng, row_key: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.push(VERSION);
        out.extend_from_slice(&self.dek_gen.to_le_bytes());
        let mut salt = [0; SALT];
        rng.fill(&mut salt);
        out.extend_from_slice(&salt);
        out.extend_from_slice(plain);
        let (gcm, nonce) = self.derive(&salt);
        let tag = gcm.seal(
            &nonce,
            &self.aad(row_key),
            out.get_mut(HEAD..).unwrap_or_default(),
        );
        out.extend_from_slice(&tag);
        out
    }

    /// Opens a row's value.
    pub fn open(&self, row_key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let short = SealError::Damaged("a sealed value's length");
        let (head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(short.clone())?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(short.clone())?;
        let ([version, g0, g1], salt) = head.split_first_chunk::<3>().ok_or(short.clone())?;
        let salt: &[u8; SALT] = salt.try_into().map_err(|_| short)?;
        if *version != VERSION {
            return Err(SealError::Version(*version));
        }
        let dek_gen = u16::from_le_bytes([*g0, *g1]);
        if dek_gen != self.dek_gen {
            return Err(SealError::UnknownGeneration {
                got: dek_gen,
                have: self.dek_gen,
            });
        }
        let (gcm, nonce) = self.derive(salt);
        let mut plain = vec![0; body.len()];
        match gcm.open(&nonce, &self.aad(row_key), body, tag, &mut plain) {
            Ok(()) => Ok(plain),
            Err(_) => Err(SealError::Damaged("a sealed value")),
        }
    }

    fn derive(&self, salt: &[u8; SALT]) -> (Gcm, [u8; NONCE]) {
        let mut okm = Zeroizing::new([0; 32 + NONCE]);
        let dek_gen = self.dek_gen.to_le_bytes();
        let info: [&[u8]; 6] = [
            b"halofs.meta.v1\0",
            &self.cluster.0,
            &self.store.0,
            &[VERSION],
            &dek_gen,
            salt,
        ];
        kdf::derive(&self.mac, &info, okm.as_mut());
        let (key, nonce) = okm
            .split_first_chunk::<32>()
            .expect("44 bytes hold a key of 32");
        let nonce = *nonce.first_chunk::<NONCE>().expect("12 bytes are left");
        let gcm = Gcm::new(key);
        okm.zeroize();
        (gcm, nonce)
    }

    fn aad(&self, row_key: &[u8]) -> Vec<u8> {
        [&self.store.0[..], row_key].concat()
    }
}

impl fmt::Debug for ValueSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueSealer({}, {})", self.store, self.dek_gen)
    }
}

#[cfg(test)]
mod tests {
    use halofs_runtime::rng::SeededRng;
    use proptest::prelude::*;

    use super::*;

    fn sealer(store: u8, dek_gen: u16) -> ValueSealer {
        ValueSealer::new(
            &Dek::from_bytes([5; 32]),
            Uuid([1; 16]),
            Uuid([store; 16]),
            dek_gen,
        )
    }

    proptest! {
        #[test]
        fn round_trips_in_its_row_only(key in proptest::collection::vec(any::<u8>(), 0..40),
                                       plain in proptest::collection::vec(any::<u8>(), 0..300), bit in any::<usize>()) {
            let s = sealer(2, 0);
            let sealed = s.seal(&SeededRng::new(9), &key, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(s.open(&key, &sealed).unwrap(), plain);
            let mut other = key.clone();
            other.push(0);
            prop_assert!(s.open(&other, &sealed).is_err());
            prop_assert!(sealer(3, 0).open(&key, &sealed).is_err());
            let unknown = SealError::UnknownGeneration { got: 0, have: 1 };
            prop_assert_eq!(sealer(2, 1).open(&key, &sealed), Err(unknown));
            let mut bad = sealed.clone();
            let at = bit % (bad.len() * 8);
            bad[at / 8] ^= 1 << (at % 8);
            prop_assert!(s.open(&key, &bad).is_err());
            prop_assert!(s.open(&key, &sealed[..sealed.len() - 1]).is_err());
        }
    }
}
