//! `/status` and the page for people.

use std::fmt::Write;

use halofs_client::master::{NodeReport, VolumeReport};
use halofs_types::Placement;
use serde_json::{Value, json};

fn percent(part: u64, all: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(all.max(1))).unwrap_or(100)
}

/// The document of `/status`.
pub(super) fn document(dir: &str, report: &NodeReport) -> Value {
    let used = report.disk_total.saturating_sub(report.disk_free);
    let kind = report
        .volumes
        .first()
        .map_or("hdd", |v| v.disk_type.as_str());
    json!({
        "Version": concat!("HaloFS ", env!("CARGO_PKG_VERSION")),
        "DiskStatuses": [{
            "dir": dir,
            "all": report.disk_total,
            "used": used,
            "free": report.disk_free,
            "percent_free": percent(report.disk_free, report.disk_total),
            "percent_used": percent(used, report.disk_total),
            "disk_type": if kind.is_empty() { "hdd" } else { kind },
        }],
        "Volumes": report.volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}

fn volume(v: &VolumeReport) -> Value {
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

/// Both spellings, as in main's `/vol/status`: the old names always, the new ones without zeros.
fn placement(p: Placement) -> Value {
    let mut both = json!({
        "SameRackCount": p.servers,
        "DiffRackCount": p.racks,
        "DiffDataCenterCount": p.data_centers,
    });
    for (name, n) in [
        ("node", p.servers),
        ("rack", p.racks),
        ("dc", p.data_centers),
    ] {
        if n > 0 {
            both[name] = json!(n);
        }
    }
    both
}

/// The page at `/`.
pub(super) fn page(report: &NodeReport) -> String {
    let mut rows = String::new();
    for v in &report.volumes {
        let state = if v.read_only { "read only" } else { "writable" };
        let _ = write!(
            rows,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{state}",
            v.id,
            escape(&v.collection),
            v.size,
            v.files,
            v.deleted_bytes,
        );
    }
    format!(
        "<!doctype html><meta charset=utf-8><title>HaloFS volume server</title>\
         <h1>HaloFS volume server {}</h1><p>{} of {} bytes free</p>\
         <table><tr><th>Volume<th>Collection<th>Bytes<th>Files<th>Deleted bytes<th>State{rows}</table>\n",
        escape(&report.url),
        report.disk_free,
        report.disk_total,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_an_object_with_both_spellings() {
        let p = placement("012".parse().unwrap());
        let want = json!({ "SameRackCount": 2, "node": 2, "DiffRackCount": 1, "rack": 1, "DiffDataCenterCount": 0 });
        assert_eq!(p, want);
    }
}
