//! Listings: a walk over a space's rows that rolls up common prefixes and seeks past each of them, so that its cost is
//! that of the page, whatever lies below a prefix.

use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{ListEntry, ListObjects, ListPage, ListUploads, UploadPage};
use halofs_store::Row;
use halofs_types::limits::PAGE_MAX;
use halofs_types::{AttemptId, BucketId};

use super::Filer;
use crate::key::{self, Space};
use crate::model;

/// What a walk finds.
enum Item {
    /// A row: object key, what follows it in the row's key, value.
    Entry(Bytes, Bytes, Row),
    /// Keys with a common prefix, rolled up.
    Prefix(Bytes),
}

struct Walk<'a> {
    filer: &'a Filer,
    space: Space,
    prefix: &'a [u8],
    delimiter: &'a [u8],
    /// Rows from here on.
    from: Bytes,
    limit: usize,
}

/// The common prefix that a key rolls up to.
fn common_prefix<'k>(object_key: &'k [u8], prefix: &[u8], delimiter: &[u8]) -> Option<&'k [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = object_key.strip_prefix(prefix)?;
    let at = rest.windows(delimiter.len()).position(|w| w == delimiter)?;
    object_key.get(..prefix.len() + at + delimiter.len())
}

impl Walk<'_> {
    /// Items in order, at most `limit`; whether more follow.
    ///
    /// Rows are read in runs. A run is what is still wanted, plus one that tells whether more follow; under a delimiter
    /// it is one row after a prefix was rolled up, and doubles while plain entries come.
    fn collect(mut self) -> Result<(Vec<Item>, bool), FilerError> {
        let (first, end) = self.space.prefix_range(self.prefix);
        self.from = self.from.max(first);
        let mut items = Vec::new();
        let mut run = if self.delimiter.is_empty() {
            usize::MAX
        } else {
            2
        };
        loop {
            let want = run.min(self.limit - items.len() + 1);
            let rows = self.filer.scan(&self.from, &end, want)?;
            let last = rows.len() < want;
            let mut sought = false;
            for (row_key, row) in rows {
                let unreadable =
                    || FilerError::Damaged("the key of a row is not readable".to_owned());
                let (object_key, suffix) = self.space.parse(&row_key).ok_or_else(unreadable)?;
                if items.len() == self.limit {
                    return Ok((items, true));
                }
                if let Some(common) = common_prefix(&object_key, self.prefix, self.delimiter) {
                    let common = Bytes::copy_from_slice(common);
                    (_, self.from) = self.space.prefix_range(&common);
                    items.push(Item::Prefix(common));
                    sought = true;
                    break;
                }
                self.from = Bytes::from([&row_key[..], &[0]].concat());
                let suffix = Bytes::copy_from_slice(suffix);
                items.push(Item::Entry(object_key, suffix, row));
            }
            if !sought && last {
                return Ok((items, false));
            }
            run = if sought { 1 } else { run.saturating_mul(2) };
        }
    }
}

impl Filer {
    pub(super) fn page(
        &self,
        bucket: BucketId,
        list: &ListObjects,
    ) -> Result<ListPage, FilerError> {
        let mut page = ListPage::default();
        let limit = list.limit.min(PAGE_MAX);
        if limit == 0 {
            return Ok(page);
        }
        let space = Space::live(bucket);
        let from = if list.after.is_empty() {
            Bytes::new()
        } else if common_prefix(&list.after, &list.prefix, &list.delimiter) == Some(&list.after) {
            space.prefix_range(&list.after).1
        } else {
            space.key_range(&list.after).1
        };
        let walk = Walk {
            filer: self,
            space,
            prefix: &list.prefix,
            delimiter: &list.delimiter,
            from,
            limit,
        };
        let (items, more) = walk.collect()?;
        if more {
            page.next = items.last().map(|item| match item {
                Item::Entry(object_key, ..) => object_key.clone(),
                Item::Prefix(common) => common.clone(),
            });
        }
        for item in items {
            match item {
                Item::Prefix(common) => page.prefixes.push(common),
                Item::Entry(object_key, _, row) => {
                    page.entries.push(ListEntry {
                        key: object_key,
                        object: model::head_from(&row.value)?,
                    });
                }
            }
        }
        Ok(page)
    }

    pub(super) fn page_of_uploads(
        &self,
        bucket: BucketId,
        list: &ListUploads,
    ) -> Result<UploadPage, FilerError> {
        let mut page = UploadPage::default();
        let limit = list.limit.min(PAGE_MAX);
        if limit == 0 {
            return Ok(page);
        }
        let space = Space::uploads(bucket);
        let marker = &list.key_marker;
        let from = match &list.upload_marker {
            _ if marker.is_empty() => Bytes::new(),
            Some(id) => key::after_prefix(&space.row(marker, &id.0)),
            None if common_prefix(marker, &list.prefix, &list.delimiter) == Some(marker) => {
                space.prefix_range(marker).1
            }
            None => space.key_range(marker).1,
        };
        let walk = Walk {
            filer: self,
            space,
            prefix: &list.prefix,
            delimiter: &list.delimiter,
            from,
            limit,
        };
        let (items, more) = walk.collect()?;
        page.truncated = more;
        let mut next = None;
        for item in items {
            match item {
                Item::Prefix(common) => {
                    next = Some((common.clone(), None));
                    page.prefixes.push(common);
                }
                Item::Entry(object_key, suffix, row) => {
                    let unreadable =
                        || FilerError::Damaged("the id of an upload is not readable".to_owned());
                    let id = AttemptId(suffix.as_ref().try_into().map_err(|_| unreadable())?);
                    next = Some((object_key.clone(), Some(id)));
                    page.uploads
                        .push(model::upload_from(object_key, id, &row.value)?);
                }
            }
        }
        page.next = next.filter(|_| more);
        Ok(page)
    }
}
