//! Whether a row names a needle.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::volume::NeedleOwner;
use halofs_types::FileId;

use crate::key::Space;
use crate::service::Filer;
use crate::{key, model};

/// Uploads of one key that are read at once.
const PAGE: usize = 100;

impl Filer {
    /// Whether a row of the owner's (bucket id, key) names exactly this fid, whatever the version or upload.
    ///
    /// Parts are read before the object, because Complete moves chunks from parts into the object and nothing moves
    /// them back. The queue is not read here: a fid that is queued twice is deleted once.
    pub(super) fn is_named(&self, fid: FileId, owner: &NeedleOwner) -> Result<bool, FilerError> {
        if owner.part > 0 && self.part_names(fid, owner)? {
            return Ok(true);
        }
        let live = self.current(&key::live(owner.bucket, &owner.key))?;
        Ok(live.is_some_and(|c| c.stored.object.chunks.iter().any(|chunk| chunk.fid == fid)))
    }

    fn part_names(&self, fid: FileId, owner: &NeedleOwner) -> Result<bool, FilerError> {
        let (mut from, end) = Space::uploads(owner.bucket).key_range(&owner.key);
        loop {
            let rows = self.scan(&from, &end, PAGE)?;
            for (row, _) in &rows {
                from = Bytes::from([&row[..], &[0]].concat());
                let (.., id) = key::parse_upload(row).ok_or_else(|| {
                    FilerError::Damaged("the row of an upload is not readable".to_owned())
                })?;
                if let Some(found) = self.get(&key::part(id, owner.part))?
                    && model::part_from(owner.part, &found.value)?
                        .chunks
                        .iter()
                        .any(|c| c.fid == fid)
                {
                    return Ok(true);
                }
            }
            if rows.len() < PAGE {
                return Ok(false);
            }
        }
    }
}
