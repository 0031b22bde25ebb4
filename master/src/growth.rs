//! When volumes are made. Level-triggered: [`plan`] looks at what is there and says what is missing, whoever asked and
//! however often, so a crash between a wish and its deed loses nothing.
//!
//! A new volume takes no space until it fills. So a disk may grow while it has room for one more volume beside the
//! largest one's live bytes, which a vacuum needs (`replication.md` 15), and is above its soft watermark.

use std::collections::BTreeSet;

use halofs_types::Placement;

use crate::topology::layout::{DEFAULT_DISK, LayoutKey};
use crate::topology::state::VolumeLife;
use crate::topology::view::{NodeView, Settings, View};

/// Nodes that one message names.
const NAMED_NODES: usize = 8;

/// Where a volume may be made; empty names allow all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Data centre.
    pub data_center: String,
    /// Rack.
    pub rack: String,
    /// `ip:port`.
    pub data_node: String,
}

impl Site {
    /// Whether a node lies there.
    pub fn allows(&self, node: &NodeView) -> bool {
        (self.data_center.is_empty() || self.data_center == node.data_center())
            && (self.rack.is_empty() || self.rack == node.rack())
            && (self.data_node.is_empty() || self.data_node == node.report.url)
    }

    /// For messages: " in data centre x, rack y, node z".
    fn describe(&self) -> String {
        let parts = [
            ("data centre", &self.data_center),
            ("rack", &self.rack),
            ("node", &self.data_node),
        ];
        let mut text = String::new();
        for (kind, name) in parts.iter().filter(|(_, name)| !name.is_empty()) {
            text.extend([" in ", kind, " ", name]);
        }
        text
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Decide on a new volume of this layout on this node.
    Intend {
        /// Which layout.
        layout: LayoutKey,
        /// Which node.
        node: String,
    },
    /// Have a decided volume made (again: it is idempotent).
    Create {
        /// Which.
        vid: u32,
    },
}

/// What is missing now: unfinished volumes first, then room for every layout that has volumes or is `wanted`.
pub fn plan(view: &View, settings: &Settings, wanted: &BTreeSet<LayoutKey>) -> Vec<Task> {
    let mut tasks: Vec<Task> = view
        .volumes
        .values()
        .filter(|v| {
            v.intent.life == VolumeLife::Creating
                && view.nodes.iter().any(|n| n.id == v.intent.primary)
        })
        .map(|v| Task::Create { vid: v.intent.vid })
        .collect();
    let known = view.layouts.iter().map(|l| &l.key);
    let keys: BTreeSet<&LayoutKey> = known.chain(wanted).collect();
    for key in keys {
        let roomy = view.layout(key).map_or(0, |l| {
            l.coming + l.writable.iter().filter(|w| !w.crowded).count()
        });
        for _ in roomy..settings.writable_target {
            // What is impossible is told to whoever asks; the plan only holds what can be done.
            if let Ok(node) = choose_node(view, key, &Site::default()) {
                tasks.push(Task::Intend {
                    layout: key.clone(),
                    node: node.id.clone(),
                });
            }
        }
    }
    tasks
}

/// The node for a new volume of a layout, or the constraint that none meets, with its numbers.
pub fn choose_node<'a>(
    view: &'a View,
    layout: &LayoutKey,
    site: &Site,
) -> Result<&'a NodeView, String> {
    if layout.disk_type != DEFAULT_DISK {
        return Err(format!(
            "no volume server has a disk of type {}; there is {DEFAULT_DISK}",
            layout.disk_type
        ));
    }
    enough_nodes(view, layout.placement())?;
    let mut why = format!(
        "no volume server{} has reported{}",
        site.describe(),
        known(view)
    );
    let mut best: Option<&NodeView> = None;
    for node in view.nodes.iter().filter(|n| site.allows(n)) {
        match room(node) {
            Ok(()) if best.is_none_or(|b| b.report.disk_free < node.report.disk_free) => {
                best = Some(node);
            }
            Ok(()) => {}
            Err(reason) => why = reason,
        }
    }
    best.ok_or(why)
}

/// For messages: where the volume servers are.
fn known(view: &View) -> String {
    let places: Vec<String> = view
        .nodes
        .iter()
        .take(NAMED_NODES)
        .map(|n| format!("{}/{}/{}", n.data_center(), n.rack(), n.report.url))
        .collect();
    match view.nodes.len().checked_sub(places.len()) {
        _ if places.is_empty() => String::new(),
        Some(more @ 1..) => format!("; there are {} and {more} more", places.join(", ")),
        _ => format!("; there is {}", places.join(", ")),
    }
}

fn enough_nodes(view: &View, placement: Placement) -> Result<(), String> {
    let mut racks: std::collections::BTreeMap<(&str, &str), usize> =
        std::collections::BTreeMap::new();
    for node in &view.nodes {
        *racks.entry((node.data_center(), node.rack())).or_default() += 1;
    }
    let centers: BTreeSet<&str> = racks.keys().map(|(dc, _)| *dc).collect();
    let (dcs, other_racks, servers) = (
        usize::from(placement.data_centers),
        usize::from(placement.racks),
        usize::from(placement.servers),
    );
    if centers.len() < dcs + 1 {
        return Err(format!(
            "{placement} needs {} data centres; there are {}",
            dcs + 1,
            centers.len()
        ));
    }
    let most_racks = centers
        .iter()
        .map(|dc| racks.keys().filter(|(d, _)| d == dc).count())
        .max()
        .unwrap_or(0);
    if most_racks < other_racks + 1 {
        return Err(format!(
            "{placement} needs {} racks in one data centre; there are {most_racks}",
            other_racks + 1
        ));
    }
    let fullest = racks.iter().max_by_key(|(_, n)| **n);
    match fullest {
        Some(((_, rack), n)) if *n < servers + 1 => Err(format!(
            "{placement} needs {} nodes in one rack; rack {rack} has {n}",
            servers + 1
        )),
        _ => Ok(()),
    }
}

/// Whether a node may take one more volume.
fn room(node: &NodeView) -> Result<(), String> {
    let r = &node.report;
    let mb = |bytes: u64| bytes >> 20;
    if r.max_volumes > 0 && r.volumes.len() as u64 >= u64::from(r.max_volumes) {
        return Err(format!(
            "{} holds {} volumes and -max is {}",
            r.url,
            r.volumes.len(),
            r.max_volumes
        ));
    }
    if r.low_space {
        let (free, total) = (mb(r.disk_free), mb(r.disk_total));
        return Err(format!(
            "the disk of {} is below its soft watermark: {free} of {total} MB free",
            r.url
        ));
    }
    let live = r
        .volumes
        .iter()
        .map(|v| v.size.saturating_sub(v.deleted_bytes))
        .max()
        .unwrap_or(0);
    if r.disk_free < node.limit.saturating_add(live) {
        return Err(format!(
            "the disk of {} has {} MB free; a volume of {} MB and the reserve of {} MB for a vacuum need more",
            r.url,
            mb(r.disk_free),
            mb(node.limit),
            mb(live)
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
