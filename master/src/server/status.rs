//! The status documents, in the shapes that clients of every age read, and the page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use halofs_client::master::VolumeReport;
use halofs_types::Placement;
use serde_json::{Map, Value, json};

use super::reply::Reply;
use crate::master::Master;
use crate::topology::layout::Owner;
use crate::topology::view::{NodeView, View};
use http::StatusCode;

const VERSION: &str = concat!("HaloFS ", env!("CARGO_PKG_VERSION"));

/// Servers by data centre and rack.
fn sites(view: &View) -> BTreeMap<&str, BTreeMap<&str, Vec<&NodeView>>> {
    let mut sites: BTreeMap<&str, BTreeMap<&str, Vec<&NodeView>>> = BTreeMap::new();
    for node in &view.nodes {
        sites
            .entry(node.data_center())
            .or_default()
            .entry(node.rack())
            .or_default()
            .push(node);
    }
    sites
}

/// `Free` and `Max` of some servers.
fn slots<'a>(nodes: impl Iterator<Item = &'a NodeView>) -> (u64, u64) {
    nodes.fold((0, 0), |(free, max), n| {
        (free + n.free_slots(), max + n.max_slots())
    })
}

/// Volume numbers as `1-3 7`.
fn ranges(mut ids: Vec<u32>) -> String {
    ids.sort_unstable();
    let mut out = String::new();
    let mut ids = ids.into_iter().peekable();
    while let Some(first) = ids.next() {
        let mut last = first;
        while let Some(next) = ids.next_if(|n| *n == last.saturating_add(1)) {
            last = next;
        }
        let gap = if out.is_empty() { "" } else { " " };
        let _ = if first == last {
            write!(out, "{gap}{first}")
        } else {
            write!(out, "{gap}{first}-{last}")
        };
    }
    out
}

/// `/dir/status`.
pub(super) fn topology(master: &Master) -> Value {
    let view = master.view();
    let sites = sites(&view);
    let centers: Vec<Value> = sites
        .iter()
        .map(|(dc, racks)| {
            let (free, max) = slots(racks.values().flatten().copied());
            let racks: Vec<Value> = racks
                .iter()
                .map(|(rack, nodes)| rack_status(rack, nodes))
                .collect();
            json!({ "Id": dc, "Free": free, "Max": max, "Racks": racks })
        })
        .collect();
    let (free, max) = slots(view.nodes.iter());
    let layouts: Vec<Value> = view
        .layouts
        .iter()
        .map(|l| {
            json!({
                "collection": l.key.collection,
                "replication": l.key.placement().to_string(),
                "ttl": "",
                "writables": l.writable.iter().map(|w| w.volume.0).collect::<Vec<_>>(),
                "diskType": l.key.disk_type,
            })
        })
        .collect();
    json!({
        "Version": VERSION,
        "TopologyId": master.config().identity.cluster.to_string(),
        "Topology": {
            "Max": max, "Free": free, "DataCenters": centers, "Layouts": layouts.clone(), "layouts": layouts,
        },
    })
}

fn rack_status(rack: &str, nodes: &[&NodeView]) -> Value {
    let (free, max) = slots(nodes.iter().copied());
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|n| {
            json!({
                "Url": n.report.url,
                "PublicUrl": n.report.public_url,
                "Volumes": n.report.volumes.len(),
                "EcShards": 0,
                "Max": n.max_slots(),
                "Free": n.free_slots(),
                "VolumeIds": ranges(n.report.volumes.iter().map(|v| v.id.0).collect()),
            })
        })
        .collect();
    json!({ "Id": rack, "Free": free, "Max": max, "DataNodes": nodes })
}

/// One volume, as `/vol/status` and the volume server's `/status` show it.
fn volume_info(v: &VolumeReport) -> Value {
    json!({
        "Id": v.id.0,
        "Size": v.size,
        "Collection": v.collection,
        "ReplicaPlacement": placement(v.placement),
        "Ttl": { "Count": 0, "Unit": 0 },
        "DiskType": v.disk_type,
        "DiskId": 0,
        "Version": 3,
        "FileCount": v.files,
        "DeleteCount": v.deleted_files,
        "DeletedByteCount": v.deleted_bytes,
        "ReadOnly": v.read_only,
        "CompactRevision": v.generation,
        "ModifiedAtSecond": v.modified_secs,
        "RemoteStorageName": "",
    })
}

/// Both spellings: the old names always, the new ones without zeros.
fn placement(p: Placement) -> Value {
    let mut map = Map::new();
    for (old, new, n) in [
        ("SameRackCount", "node", p.servers),
        ("DiffRackCount", "rack", p.racks),
        ("DiffDataCenterCount", "dc", p.data_centers),
    ] {
        map.insert(old.to_owned(), json!(n));
        if n > 0 {
            map.insert(new.to_owned(), json!(n));
        }
    }
    Value::Object(map)
}

/// `/vol/status`.
pub(super) fn volumes(master: &Master) -> Value {
    let view = master.view();
    let mut centers = Map::new();
    for (dc, racks) in sites(&view) {
        let mut in_dc = Map::new();
        for (rack, nodes) in racks {
            let in_rack: Map<String, Value> = nodes
                .iter()
                .map(|n| {
                    (
                        n.report.url.clone(),
                        n.report.volumes.iter().map(volume_info).collect(),
                    )
                })
                .collect();
            in_dc.insert(rack.to_owned(), Value::Object(in_rack));
        }
        centers.insert(dc.to_owned(), Value::Object(in_dc));
    }
    let (free, max) = slots(view.nodes.iter());
    json!({ "Version": VERSION, "Volumes": { "Max": max, "Free": free, "DataCenters": centers } })
}

/// `/cluster/status`. `Peers` stays an array of strings: there are no other mains.
pub(super) fn cluster(master: &Master) -> Value {
    let (leader, _, _) = master.raft_status();
    let mut status = Map::new();
    if leader {
        status.insert("IsLeader".to_owned(), json!(true));
        status.insert("Leader".to_owned(), json!(master.config().url));
    }
    status.insert("Peers".to_owned(), json!([]));
    status.insert("MaxVolumeId".to_owned(), json!(master.max_volume_id()));
    Value::Object(status)
}

/// `/collection/info`.
pub(super) fn collection(master: &Master, name: &str) -> Reply {
    let view = master.view();
    let mine = || {
        view.volumes
            .values()
            .filter(|v| v.intent.layout.collection == name)
    };
    if mine().next().is_none() {
        return Reply::error(
            StatusCode::NOT_FOUND,
            &format!("collection {name:?} does not exist"),
        );
    }
    let reports = || mine().filter_map(|v| v.copy.as_ref().map(|(_, r)| r));
    let total: u64 = reports().map(|r| r.size).sum();
    let deleted: u64 = reports().map(|r| r.deleted_bytes).sum();
    Reply::ok(json!({
        "Version": VERSION,
        "Collection": name,
        "TotalSize": total,
        "FileCount": reports().map(|r| r.files).sum::<u64>(),
        "UsedSize": total.saturating_sub(deleted),
        "VolumeCount": mine().count(),
    }))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The page for people.
pub(super) fn page(master: &Master) -> String {
    let view = master.view();
    let mut rows = String::new();
    for v in view.volumes.values() {
        let owner = match v.intent.layout.owner {
            Owner::Filer => "filer",
            Owner::Native => "native",
        };
        let (at, size, files, state) = match &v.copy {
            Some((i, r)) => {
                let state = if r.read_only { "read only" } else { "writable" };
                (
                    view.node(*i).map_or("", |n| n.report.url.as_str()),
                    r.size >> 20,
                    r.files,
                    state,
                )
            }
            None => ("", 0, 0, "offline"),
        };
        let _ = write!(
            rows,
            "<tr><td>{}<td>{}<td>{owner}<td>{}<td>{size}<td>{files}<td>{state}",
            v.intent.vid,
            escape(&v.intent.layout.collection),
            escape(at)
        );
    }
    let mut nodes = String::new();
    for n in &view.nodes {
        let r = &n.report;
        let _ = write!(
            nodes,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escape(&r.url),
            escape(n.data_center()),
            escape(n.rack()),
            r.volumes.len(),
            r.disk_free >> 20,
            r.disk_total >> 20
        );
    }
    let (leader, term, applied) = master.raft_status();
    let role = if leader { "leads" } else { "follows" };
    format!(
        "<!doctype html><title>halofs main</title><style>body{{font-family:sans-serif}}td,th{{padding:.2em 1em;\
         text-align:left}}</style><h1>halofs main {}</h1><p>{VERSION}, cluster {}, {role} in term {term}, log applied to \
         {applied}<h2>Servers</h2><table><tr><th>url<th>data centre<th>rack<th>volumes<th>free MB<th>disk MB{nodes}\
         </table><h2>Volumes</h2><table><tr><th>id<th>collection<th>owner<th>server<th>MB<th>files<th>state{rows}</table>\n",
        escape(&master.config().url),
        master.config().identity.cluster
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_numbers_fold() {
        assert_eq!(ranges(vec![]), "");
        assert_eq!(ranges(vec![5, 1, 2, 3, 9, 8]), "1-3 5 8-9");
    }

    #[test]
    fn placement_has_both_spellings() {
        let p = placement("001".parse().unwrap());
        assert_eq!(
            p,
            json!({ "SameRackCount": 1, "node": 1, "DiffRackCount": 0, "DiffDataCenterCount": 0 })
        );
    }
}
