//! The RocksDB folders of main and filer: identity and, with the key, every row.

use std::path::Path;
use std::sync::Arc;

use halofs_seal::{FileKeyProvider, KeyProvider};
use halofs_store::rocks::inspect;

use super::say;

/// Prints a store. Values are text in main's store; in the filer's they are shown by their length.
pub(super) fn print(path: &Path, keys: Option<FileKeyProvider>) -> anyhow::Result<()> {
    let keys = keys.map(|k| Arc::new(k) as Arc<dyn KeyProvider>);
    let face = inspect::identity(path)?;
    say(&format!(
        "store {}: format {}, cluster {}, sealed under root key {}",
        face.store, face.format, face.cluster, face.kek_id
    ))?;
    let mut said = Ok(());
    let rows = inspect::rows(path, keys.as_deref(), |key, revision, value| {
        let value = match value {
            Some(v) if v.first() == Some(&b'{') || v.first() == Some(&b'[') => {
                format!(" {}", String::from_utf8_lossy(v))
            }
            Some(v) => format!(" {} bytes", v.len()),
            None => String::new(),
        };
        if said.is_ok() {
            said = say(&format!("  {:>8}  {}{value}", revision, key.escape_ascii()));
        }
    })?;
    said?;
    say(&format!("{rows} rows"))
}
