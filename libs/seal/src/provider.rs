//! Who wraps data keys. A wrapped DEK is 60 bytes: nonce12 ‖ AES-256-GCM(KEK, DEK) ‖ tag16, bound by its AAD to the
//! place that it is for:
//!
//! | place | AAD |
//! |---|---|
//! | volume head slot | "halofs.wrap.v1" 00 ‖ cluster uuid ‖ collection uuid ‖ volume uuid ‖ dek_gen u16 LE |
//! | row `meta/dek/<gen>` | "halofs.metawrap.v1" 00 ‖ cluster uuid ‖ store uuid ‖ dek_gen u16 LE |
//!
//! The root key file holds 64 hex digits and a line end, mode 0600, owned by this process or by root. It is made once,
//! by [`FileKeyProvider::create`], which never replaces a file.

use std::path::Path;

use halofs_runtime::{Disk, Rng, disk};
use halofs_types::Uuid;
use zeroize::Zeroizing;

use crate::error::SealError;
use crate::gcm::{Gcm, NONCE, TAG};
use crate::key::{Dek, RootKey};

/// Bytes of a DEK that [`FileKeyProvider`] wrapped.
pub const WRAPPED_LEN: usize = NONCE + 32 + TAG;

/// The place that a data key is for: part of what the wrap authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DekScope {
    /// A volume's slot.
    Volume {
        /// The cluster.
        cluster: Uuid,
        /// The name space.
        collection: Uuid,
        /// The volume.
        volume: Uuid,
        /// Which of its data keys.
        dek_gen: u16,
    },
    /// A metadata store.
    Store {
        /// The cluster.
        cluster: Uuid,
        /// The store.
        store: Uuid,
        /// Which of its data keys.
        dek_gen: u16,
    },
}

impl DekScope {
    fn aad(&self) -> Vec<u8> {
        match self {
            Self::Volume {
                cluster,
                collection,
                volume,
                dek_gen,
            } => [
                &b"halofs.wrap.v1\0"[..],
                &cluster.0,
                &collection.0,
                &volume.0,
                &dek_gen.to_le_bytes(),
            ]
            .concat(),
            Self::Store {
                cluster,
                store,
                dek_gen,
            } => [
                &b"halofs.metawrap.v1\0"[..],
                &cluster.0,
                &store.0,
                &dek_gen.to_le_bytes(),
            ]
            .concat(),
        }
    }
}

/// Wraps and unwraps data keys.
pub trait KeyProvider: Send + Sync + 'static {
    /// The name of the key that wraps: stored beside every wrap, shown in errors.
    fn kek_id(&self) -> &str;
    /// Wraps a data key for its place.
    fn wrap(&self, rng: &dyn Rng, scope: &DekScope, dek: &Dek) -> Result<Vec<u8>, SealError>;
    /// Opens a wrapped data key.
    fn unwrap(&self, scope: &DekScope, wrapped: &[u8]) -> Result<Dek, SealError>;
}

/// The root key from a file.
pub struct FileKeyProvider {
    root: RootKey,
    id: String,
}

impl FileKeyProvider {
    /// Over a key that is at hand.
    pub fn from_root(root: RootKey) -> Self {
        let id = root.kek_id();
        Self { root, id }
    }

    /// Makes a root key and its file; refuses when the file is there.
    pub fn create(disk: &dyn Disk, rng: &dyn Rng, path: &Path) -> Result<Self, SealError> {
        let at = |e: std::io::Error| key_file(path, e.to_string());
        if disk.exists(path).map_err(at)? {
            return Err(SealError::KeyExists(path.display().to_string()));
        }
        let root = RootKey::random(rng);
        let mut text = Zeroizing::new(hex::encode(root.bytes()));
        text.push('\n');
        // A whole file or none after a crash: an empty key file would look like a damaged key for ever.
        disk::replace(disk, path, text.as_bytes(), true).map_err(at)?;
        Ok(Self::from_root(root))
    }

    /// Reads the root key; refuses a file that others can read or that somebody else owns.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, SealError> {
        let at = |e: std::io::Error| key_file(path, e.to_string());
        if !disk.exists(path).map_err(at)? {
            return Err(SealError::KeyMissing(path.display().to_string()));
        }
        let (mode, owner) = disk.mode_owner(path).map_err(at)?;
        if mode & 0o077 != 0 {
            return Err(key_file(
                path,
                format!("mode {mode:04o} lets others at it; run chmod 600 on it"),
            ));
        }
        let me = rustix::process::geteuid().as_raw();
        if owner != me && owner != 0 {
            return Err(key_file(
                path,
                format!("owned by uid {owner}, not by uid {me} that runs halofs; run chown"),
            ));
        }
        let text = Zeroizing::new(disk::read_all(disk, path).map_err(at)?);
        let mut bytes = Zeroizing::new([0; 32]);
        let digits = text.trim_ascii();
        if hex::decode_to_slice(digits, bytes.as_mut()).is_err() {
            return Err(key_file(
                path,
                "is not 64 hex digits; restore it from your backup".to_owned(),
            ));
        }
        Ok(Self::from_root(RootKey::from_bytes(*bytes)))
    }
}

fn key_file(path: &Path, reason: String) -> SealError {
    SealError::KeyFile {
        path: path.display().to_string(),
        reason,
    }
}

impl KeyProvider for FileKeyProvider {
    fn kek_id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, rng: &dyn Rng, scope: &DekScope, dek: &Dek) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        rng.fill(&mut nonce);
        let mut body = Zeroizing::new(*dek.bytes());
        let tag = Gcm::new(self.root.bytes()).seal(&nonce, &scope.aad(), body.as_mut());
        Ok([&nonce[..], &body[..], &tag].concat())
    }

    fn unwrap(&self, scope: &DekScope, wrapped: &[u8]) -> Result<Dek, SealError> {
        let wrong = || SealError::WrongKey {
            kek_id: self.id.clone(),
        };
        let (nonce, rest) = wrapped.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
        let (sealed, tag) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
        let tag: &[u8; TAG] = tag.try_into().map_err(|_| wrong())?;
        let mut body = Zeroizing::new([0; 32]);
        let gcm = Gcm::new(self.root.bytes());
        gcm.open(nonce, &scope.aad(), sealed, tag, body.as_mut())
            .map_err(|_| wrong())?;
        Ok(Dek::from_bytes(*body))
    }
}

#[cfg(test)]
mod tests {
    use halofs_runtime::RealDisk;
    use halofs_runtime::rng::SeededRng;

    use super::*;

    fn volume(dek_gen: u16) -> DekScope {
        DekScope::Volume {
            cluster: Uuid([1; 16]),
            collection: Uuid([2; 16]),
            volume: Uuid([3; 16]),
            dek_gen,
        }
    }

    #[test]
    fn a_wrap_opens_only_in_its_place_and_under_its_key() {
        let rng = SeededRng::new(1);
        let keys = FileKeyProvider::from_root(RootKey::from_bytes([b'K'; 32]));
        let dek = Dek::random(&rng);
        let wrapped = keys.wrap(&rng, &volume(0), &dek).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_LEN);
        assert_eq!(
            keys.unwrap(&volume(0), &wrapped).unwrap().bytes(),
            dek.bytes()
        );
        let store = DekScope::Store {
            cluster: Uuid([1; 16]),
            store: Uuid([2; 16]),
            dek_gen: 0,
        };
        let other = FileKeyProvider::from_root(RootKey::from_bytes([b'L'; 32]));
        for got in [
            keys.unwrap(&volume(1), &wrapped),
            keys.unwrap(&store, &wrapped),
            other.unwrap(&volume(0), &wrapped),
        ] {
            assert!(matches!(got, Err(SealError::WrongKey { .. })));
        }
        for bit in 0..wrapped.len() * 8 {
            let mut bad = wrapped.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.unwrap(&volume(0), &bad).is_err(), "bit {bit}");
        }
        for n in 0..wrapped.len() {
            assert!(keys.unwrap(&volume(0), &wrapped[..n]).is_err());
        }
    }

    #[test]
    fn opens_the_wrap_of_the_reference() {
        // wrap(b"K"*32, b"C"*16, b"L"*16, bytes(range(16, 32)), 0, bytes(range(32)), b"N"*12) of needle_ref.py.
        let wrapped = hex::decode(include_str!("../testdata/wrap.hex").trim()).unwrap();
        let volume = Uuid(std::array::from_fn(|i| u8::try_from(i + 16).unwrap()));
        let scope = DekScope::Volume {
            cluster: Uuid([b'C'; 16]),
            collection: Uuid([b'L'; 16]),
            volume,
            dek_gen: 0,
        };
        let keys = FileKeyProvider::from_root(RootKey::from_bytes([b'K'; 32]));
        let dek = keys.unwrap(&scope, &wrapped).unwrap();
        assert_eq!(
            *dek.bytes(),
            std::array::from_fn::<u8, 32, _>(|i| u8::try_from(i).unwrap())
        );
    }

    #[test]
    fn the_key_file_is_made_once_and_guarded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let rng = SeededRng::new(2);
        assert!(matches!(
            FileKeyProvider::open(&RealDisk, &path),
            Err(SealError::KeyMissing(_))
        ));
        let made = FileKeyProvider::create(&RealDisk, &rng, &path).unwrap();
        assert_eq!(
            FileKeyProvider::open(&RealDisk, &path).unwrap().kek_id(),
            made.kek_id()
        );
        assert_eq!(made.kek_id().len(), 16);
        assert!(matches!(
            FileKeyProvider::create(&RealDisk, &rng, &path),
            Err(SealError::KeyExists(_))
        ));
        assert_eq!(RealDisk.mode_owner(&path).unwrap().0, 0o600);
        let open_up = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&path, open_up).unwrap();
        assert!(matches!(
            FileKeyProvider::open(&RealDisk, &path),
            Err(SealError::KeyFile { .. })
        ));
        let close = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, close).unwrap();
        disk::replace(&RealDisk, &path, b"abc\n", true).unwrap();
        assert!(matches!(
            FileKeyProvider::open(&RealDisk, &path),
            Err(SealError::KeyFile { .. })
        ));
    }
}
