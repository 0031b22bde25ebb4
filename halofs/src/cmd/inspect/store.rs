//! The RocksDB folders of main and filer: identity and, with the key, every row.

use std::path::Path;
use std::sync::Arc;

use halofs_filer::key::parse_garbage;
use halofs_proto::filer as pb;
use halofs_seal::{FileKeyProvider, KeyProvider};
use halofs_store::rocks::inspect;
use halofs_types::{Cookie, FileId, NeedleKey, VolumeId};
use prost::Message;

use super::say;

/// The needles that a row of the filer names, or queues for deletion.
fn needles(key: &[u8], value: &[u8]) -> String {
    let fids = |chunks: Vec<pb::Chunk>| {
        let fid = |c: &pb::Chunk| FileId {
            volume: VolumeId(c.volume),
            key: NeedleKey(c.key),
            cookie: Cookie(c.cookie),
        };
        let fids = chunks.iter().map(fid);
        fids.fold(String::new(), |named, fid| format!("{named} {fid}"))
    };
    let named = match key.split(|b| *b == b'/').next() {
        Some(b"live" | b"ver") => pb::Object::decode(value).map(|o| fids(o.chunks)),
        Some(b"part") => pb::Part::decode(value).map(|p| fids(p.chunks)),
        Some(b"chunks") => pb::Run::decode(value).map(|r| fids(r.chunks)),
        Some(b"gc") => {
            Ok(parse_garbage(key).map_or_else(String::new, |(_, fid)| format!(" {fid}")))
        }
        _ => Ok(String::new()),
    };
    named.unwrap_or_else(|_| " damaged".to_owned())
}

/// Prints a store. Values are text in main's store; in the filer's they are shown by their length and the needles that
/// they name.
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
            Some(v) => format!(" {} bytes{}", v.len(), needles(key, v)),
            None => String::new(),
        };
        if said.is_ok() {
            said = say(&format!("  {:>8}  {}{value}", revision, key.escape_ascii()));
        }
    })?;
    said?;
    say(&format!("{rows} rows"))
}
