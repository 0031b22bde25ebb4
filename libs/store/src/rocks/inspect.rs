//! A store folder read offline, for `halofs inspect`: opened read only, nothing in it changes.

use std::path::Path;

use halofs_seal::{DekScope, KeyProvider, ValueSealer};
use halofs_types::Uuid;
use rocksdb::{DB, IteratorMode, Options};

use super::REVISION;
use super::open::{CLUSTER_ROW, DEK_GEN, DEK_ROW, FORMAT_ROW, META, STORE_ROW};
use crate::kv::StoreError;

/// What the rows in the clear say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Format of the store.
    pub format: u32,
    /// Its cluster.
    pub cluster: Uuid,
    /// The store.
    pub store: Uuid,
    /// Which root key wraps its data key.
    pub kek_id: String,
    wrapped: Vec<u8>,
}

fn refuse(path: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::Open {
        path: path.display().to_string(),
        reason: reason.into(),
    }
}

fn open(path: &Path) -> Result<DB, StoreError> {
    DB::open_cf_for_read_only(&Options::default(), path, ["default", META], false)
        .map_err(|e| refuse(path, e.to_string()))
}

/// Reads the rows in the clear.
pub fn identity(path: &Path) -> Result<Identity, StoreError> {
    read_identity(path, &open(path)?)
}

fn read_identity(path: &Path, db: &DB) -> Result<Identity, StoreError> {
    let family = db
        .cf_handle(META)
        .ok_or_else(|| refuse(path, "its meta rows are gone"))?;
    let row = |name: &str| -> Result<Vec<u8>, StoreError> {
        let found = db
            .get_cf(&family, name)
            .map_err(|e| refuse(path, e.to_string()))?;
        found.ok_or_else(|| refuse(path, format!("the row {name} is gone")))
    };
    let damaged = |name: &str| refuse(path, format!("the row {name} is damaged"));
    let uuid = |name: &str| {
        <[u8; 16]>::try_from(row(name)?.as_slice())
            .map(Uuid)
            .map_err(|_| damaged(name))
    };
    let format =
        <[u8; 4]>::try_from(row(FORMAT_ROW)?.as_slice()).map_err(|_| damaged(FORMAT_ROW))?;
    let dek = row(DEK_ROW)?;
    let (len, rest) = dek.split_first().ok_or_else(|| damaged(DEK_ROW))?;
    let (kek_id, wrapped) = rest
        .split_at_checked(usize::from(*len))
        .ok_or_else(|| damaged(DEK_ROW))?;
    Ok(Identity {
        format: u32::from_le_bytes(format),
        cluster: uuid(CLUSTER_ROW)?,
        store: uuid(STORE_ROW)?,
        kek_id: String::from_utf8_lossy(kek_id).into_owned(),
        wrapped: wrapped.to_vec(),
    })
}

/// Gives every row's key, revision and, when `keys` is there, opened value to `each`; answers how many there were.
/// A value that does not open is an error.
pub fn rows(
    path: &Path,
    keys: Option<&dyn KeyProvider>,
    mut each: impl FnMut(&[u8], u64, Option<&[u8]>),
) -> Result<u64, StoreError> {
    let db = open(path)?;
    let sealer = match keys {
        Some(keys) => {
            let id = read_identity(path, &db)?;
            let scope = DekScope::Store {
                cluster: id.cluster,
                store: id.store,
                dek_gen: DEK_GEN,
            };
            let dek = keys
                .unwrap(&scope, &id.wrapped)
                .map_err(|e| refuse(path, e.to_string()))?;
            Some(ValueSealer::new(&dek, id.cluster, id.store, DEK_GEN))
        }
        None => None,
    };
    let mut count = 0;
    for row in db.iterator(IteratorMode::Start) {
        let (key, stored) = row.map_err(|e| refuse(path, e.to_string()))?;
        let bad = |what: String| StoreError::Damaged(format!("{}: {what}", key.escape_ascii()));
        let (revision, body) = stored
            .split_first_chunk::<REVISION>()
            .ok_or_else(|| bad("shorter than a revision".to_owned()))?;
        let value = sealer
            .as_ref()
            .map(|s| s.open(&key, body))
            .transpose()
            .map_err(|e| bad(e.to_string()))?;
        each(&key, u64::from_le_bytes(*revision), value.as_deref());
        count += 1;
    }
    Ok(count)
}
