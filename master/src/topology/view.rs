//! Intent and observation joined into one immutable picture, rebuilt after every report and every command. Readers
//! hold an `Arc` of it and never a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use halofs_client::master::{Location, NodeReport, VolumeReport};
use halofs_types::VolumeId;

use super::layout::{DEFAULT_DATA_CENTER, DEFAULT_RACK, LayoutKey, or_default};
use super::state::{State, VolumeLife, VolumeState};

/// Numbers that decisions depend on.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The flag `-volumeSizeLimitMB` in bytes.
    pub volume_size_limit: u64,
    /// Writable volumes with room that a layout should have.
    pub writable_target: usize,
    /// Of a volume's limit, in percent: fuller volumes count as crowded.
    pub crowded_percent: u64,
}

impl Settings {
    /// Decision 25: two volumes a layout, grown when one passes 90 %.
    pub fn new(volume_size_limit: u64) -> Self {
        Self {
            volume_size_limit,
            writable_target: 2,
            crowded_percent: 90,
        }
    }

    /// `replication.md` 15: never more than a sixteenth of the disk.
    pub fn effective_limit(&self, disk_total: u64) -> u64 {
        if disk_total == 0 {
            self.volume_size_limit
        } else {
            self.volume_size_limit.min(disk_total / 16)
        }
    }
}

/// What servers reported, by node id.
pub type Observed = BTreeMap<String, Arc<NodeReport>>;

/// A server.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The id that the intent knows it by.
    pub id: String,
    /// Its last report.
    pub report: Arc<NodeReport>,
    /// Its effective volume size limit in bytes.
    pub limit: u64,
}

impl NodeView {
    /// Its data centre's name.
    pub fn data_center(&self) -> &str {
        or_default(&self.report.data_center, DEFAULT_DATA_CENTER)
    }

    /// Its rack's name.
    pub fn rack(&self) -> &str {
        or_default(&self.report.rack, DEFAULT_RACK)
    }

    /// Where it listens.
    pub fn location(&self) -> Location {
        Location {
            url: self.report.url.clone(),
            public_url: self.report.public_url.clone(),
        }
    }

    /// Volumes of the present limit that would still fit, as old status pages count capacity.
    pub fn free_slots(&self) -> u64 {
        let by_space = if self.report.low_space {
            0
        } else {
            self.report.disk_free / self.limit.max(1)
        };
        match u64::from(self.report.max_volumes) {
            0 => by_space,
            max => by_space.min(max.saturating_sub(self.report.volumes.len() as u64)),
        }
    }

    /// [`Self::free_slots`] and those in use.
    pub fn max_slots(&self) -> u64 {
        self.free_slots()
            .saturating_add(self.report.volumes.len() as u64)
    }
}

/// A volume: what main wants and what its server says.
#[derive(Debug, Clone)]
pub struct VolumeView {
    /// The intent.
    pub intent: VolumeState,
    /// Index of the node that holds it, and its report.
    pub copy: Option<(usize, VolumeReport)>,
}

/// A volume that may take writes of its layout.
#[derive(Debug, Clone)]
pub struct Writable {
    /// Its number.
    pub volume: VolumeId,
    /// Index of its node.
    pub node: usize,
    /// Whether it is nearly full.
    pub crowded: bool,
}

/// The volumes of a layout.
#[derive(Debug, Clone)]
pub struct LayoutView {
    /// Which.
    pub key: LayoutKey,
    /// All of its volumes, ascending.
    pub volumes: Vec<VolumeId>,
    /// Those that take writes now, ascending: the first is the one that fills.
    pub writable: Vec<Writable>,
    /// Volumes that main wants and no server confirmed yet, and those that wait to be led after a start: both are on
    /// their way, so growth does not make up for them.
    pub coming: usize,
}

/// The picture.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Servers, by id.
    pub nodes: Vec<NodeView>,
    /// Volumes, by number.
    pub volumes: BTreeMap<u32, VolumeView>,
    /// Layouts, by key.
    pub layouts: Vec<LayoutView>,
}

impl View {
    /// Joins the two.
    pub fn build(state: &State, observed: &Observed, settings: &Settings) -> Self {
        let nodes: Vec<NodeView> = observed
            .iter()
            .map(|(id, report)| NodeView {
                id: id.clone(),
                report: Arc::clone(report),
                limit: settings.effective_limit(report.disk_total),
            })
            .collect();
        let mut copies: BTreeMap<u32, (usize, &VolumeReport)> = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for report in &node.report.volumes {
                // A file of another identity is never this volume's copy (`replication.md` 17).
                if state
                    .volumes
                    .get(&report.id.0)
                    .is_some_and(|v| v.uuid == report.uuid)
                {
                    copies.insert(report.id.0, (index, report));
                }
            }
        }
        let mut layouts: BTreeMap<&LayoutKey, LayoutView> = BTreeMap::new();
        let mut volumes = BTreeMap::new();
        for (vid, intent) in &state.volumes {
            let copy = copies.get(vid).map(|(i, r)| (*i, (*r).clone()));
            let layout = layouts.entry(&intent.layout).or_insert_with(|| LayoutView {
                key: intent.layout.clone(),
                volumes: Vec::new(),
                writable: Vec::new(),
                coming: 0,
            });
            layout.volumes.push(VolumeId(*vid));
            let waits = copy
                .as_ref()
                .is_some_and(|(_, r)| r.leads.is_none() && !r.read_only);
            if intent.life == VolumeLife::Creating || waits {
                layout.coming += 1;
            } else if let Some(w) = copy
                .as_ref()
                .and_then(|(i, r)| writable(intent, *i, r, &nodes, settings))
            {
                layout.writable.push(w);
            }
            volumes.insert(
                *vid,
                VolumeView {
                    intent: intent.clone(),
                    copy,
                },
            );
        }
        Self {
            layouts: layouts.into_values().collect(),
            nodes,
            volumes,
        }
    }

    /// A node by its index.
    pub fn node(&self, index: usize) -> Option<&NodeView> {
        self.nodes.get(index)
    }

    /// A layout, if any volume has it.
    pub fn layout(&self, key: &LayoutKey) -> Option<&LayoutView> {
        self.layouts.iter().find(|l| l.key == *key)
    }

    /// Where a volume can be reached.
    pub fn locations(&self, volume: VolumeId) -> Vec<Location> {
        let copy = self.volumes.get(&volume.0).and_then(|v| v.copy.as_ref());
        copy.and_then(|(i, _)| self.node(*i))
            .map(NodeView::location)
            .into_iter()
            .collect()
    }
}

/// Whether a volume takes writes: it leads its epoch, is not read only, has room, and its disk has.
fn writable(
    intent: &VolumeState,
    node: usize,
    report: &VolumeReport,
    nodes: &[NodeView],
    settings: &Settings,
) -> Option<Writable> {
    let on = nodes.get(node)?;
    let leads = report.leads == Some(intent.epoch);
    if !leads
        || report.read_only
        || intent.sealed.is_some()
        || on.report.low_space
        || report.size >= on.limit
    {
        return None;
    }
    let crowded = report.size >= on.limit / 100 * settings.crowded_percent;
    Some(Writable {
        volume: VolumeId(intent.vid),
        node,
        crowded,
    })
}
