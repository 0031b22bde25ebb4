//! A layout is the set of volumes that are interchangeable for a writer.

use halofs_client::master::VolumeOwner;
use halofs_types::Placement;
use serde::{Deserialize, Serialize};

/// Whose needles a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The filer.
    Filer,
    /// Native clients.
    Native,
}

impl From<VolumeOwner> for Owner {
    fn from(o: VolumeOwner) -> Self {
        match o {
            VolumeOwner::Filer => Self::Filer,
            VolumeOwner::Native => Self::Native,
        }
    }
}

impl From<Owner> for VolumeOwner {
    fn from(o: Owner) -> Self {
        match o {
            Owner::Filer => Self::Filer,
            Owner::Native => Self::Native,
        }
    }
}

/// The type of a disk when nobody names one.
pub const DEFAULT_DISK: &str = "hdd";
/// Where a node stands when nobody says.
pub const DEFAULT_DATA_CENTER: &str = "DefaultDataCenter";
/// See [`DEFAULT_DATA_CENTER`].
pub const DEFAULT_RACK: &str = "DefaultRack";

/// What makes volumes interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutKey {
    /// Name space; empty is the default one.
    pub collection: String,
    /// Whose.
    pub owner: Owner,
    /// `Placement::to_byte`.
    pub placement: u8,
    /// Never empty.
    pub disk_type: String,
    /// 0 for none.
    pub ttl_secs: u64,
}

impl LayoutKey {
    /// The placement.
    pub fn placement(&self) -> Placement {
        Placement::from_byte(self.placement)
    }
}

/// An empty name means the default.
pub fn or_default<'a>(name: &'a str, default: &'a str) -> &'a str {
    if name.is_empty() { default } else { name }
}
