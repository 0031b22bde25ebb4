//! Which volume takes the next needles: pure, from the view alone.

use halofs_client::MasterError;
use halofs_client::master::AssignRequest;
use halofs_types::limits::{ASSIGN_COUNT_MAX, ASSIGN_STEP_MIN};
use halofs_types::{Placement, VolumeId};

use crate::growth::Site;
use crate::topology::layout::{DEFAULT_DISK, LayoutKey, Owner, or_default};
use crate::topology::view::{View, Writable};

/// An assign, checked.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which volumes qualify.
    pub layout: LayoutKey,
    /// Where they must be.
    pub site: Site,
    /// Fids to answer with.
    pub count: u64,
    /// Keys to take.
    pub step: u64,
    /// Another volume, if there is one.
    pub avoid: Option<VolumeId>,
}

/// Longest collection name: it becomes part of file names and of status pages.
pub const COLLECTION_BYTES_MAX: usize = 128;

impl Wish {
    /// Checks a request.
    pub fn new(req: AssignRequest, default: Placement) -> Result<Self, MasterError> {
        if req.count == 0 || req.count > ASSIGN_COUNT_MAX {
            return Err(invalid(
                "count",
                format!("{} is not from 1 to {ASSIGN_COUNT_MAX}", req.count),
            ));
        }
        check_collection(&req.collection)?;
        let owner = Owner::from(req.owner);
        let step = match owner {
            // Clients write `fid_1`, `fid_2` … without reserving them: neighbours must not be somebody else's.
            Owner::Native => req.count.max(ASSIGN_STEP_MIN),
            Owner::Filer => req.count,
        };
        let layout = LayoutKey {
            collection: req.collection,
            owner,
            placement: req.placement.unwrap_or(default).to_byte(),
            disk_type: or_default(&req.disk_type, DEFAULT_DISK).to_ascii_lowercase(),
            ttl_secs: 0,
        };
        let site = Site {
            data_center: req.data_center,
            rack: req.rack,
            data_node: req.data_node,
        };
        Ok(Self {
            layout,
            site,
            count: req.count,
            step,
            avoid: req.avoid,
        })
    }
}

/// Collections are names of folders and files in other tools: plain characters only.
pub fn check_collection(name: &str) -> Result<(), MasterError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.len() > COLLECTION_BYTES_MAX || !name.bytes().all(plain) || name.starts_with('.') {
        return Err(invalid(
            "collection",
            format!(
                "at most {COLLECTION_BYTES_MAX} letters, digits, '_', '-' and '.', no leading '.'"
            ),
        ));
    }
    Ok(())
}

fn invalid(field: &'static str, reason: String) -> MasterError {
    MasterError::Invalid { field, reason }
}

/// The volume that fills now: the first writable one of the layout that lies where it must and is not to be avoided.
pub fn pick<'a>(view: &'a View, wish: &Wish) -> Option<&'a Writable> {
    let layout = view.layout(&wish.layout)?;
    let here = |w: &&Writable| view.node(w.node).is_some_and(|n| wish.site.allows(n));
    let mut fits = layout.writable.iter().filter(here).peekable();
    let first = *fits.peek()?;
    fits.find(|w| Some(w.volume) != wish.avoid).or(Some(first))
}
