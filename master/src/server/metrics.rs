//! What `/metrics` says of main.

use std::sync::Arc;

use halofs_runtime::metrics::{Exposition, Kind, Registry, Value};

use crate::master::Master;

/// Adds main's samples to a registry.
pub fn register(master: &Arc<Master>, registry: &Registry) {
    let master = Arc::clone(master);
    registry.register(Arc::new(move |out: &mut Exposition| collect(&master, out)));
}

fn collect(master: &Master, out: &mut Exposition) {
    let (leader, term, applied) = master.raft_status();
    let mut plain = |name: &str, kind: Kind, help: &'static str, n: u64| {
        out.sample(name, kind, help, &[], Value::Unsigned(n));
    };
    plain(
        "master_is_leader",
        Kind::Gauge,
        "Whether this main leads.",
        u64::from(leader),
    );
    plain("master_raft_term", Kind::Gauge, "Raft's term.", term);
    plain(
        "master_raft_applied",
        Kind::Gauge,
        "The last applied entry of Raft's log.",
        applied,
    );
    plain(
        "master_max_volume_id",
        Kind::Gauge,
        "The highest volume id handed out.",
        master.max_volume_id().into(),
    );
    let fsync = u64::from(master.config().fsync);
    plain(
        "fsync",
        Kind::Gauge,
        "1: writes are synced before they are acknowledged.",
        fsync,
    );
    let s = &master.stats;
    plain(
        "master_assign_total",
        Kind::Counter,
        "Assigns answered with fids.",
        s.assigns.get(),
    );
    plain(
        "master_pick_for_write_error",
        Kind::Counter,
        "Assigns that found no volume.",
        s.assign_errors.get(),
    );
    plain(
        "master_received_heartbeats",
        Kind::Counter,
        "Reports of volume servers.",
        s.reports.get(),
    );
    plain(
        "master_volume_creation_total",
        Kind::Counter,
        "Volumes made.",
        s.volumes_created.get(),
    );
    plain(
        "master_volume_creation_failed",
        Kind::Counter,
        "Volumes that could not be made.",
        s.volumes_failed.get(),
    );
    for layout in &master.view().layouts {
        let placement = layout.key.placement().to_string();
        let labels = [
            ("collection", layout.key.collection.as_str()),
            ("disk", layout.key.disk_type.as_str()),
            ("rp", placement.as_str()),
            ("ttl", ""),
            (
                "owner",
                match layout.key.owner {
                    crate::topology::layout::Owner::Filer => "filer",
                    crate::topology::layout::Owner::Native => "native",
                },
            ),
        ];
        let crowded = layout.writable.iter().filter(|w| w.crowded).count() as u64;
        let writable = layout.writable.len() as u64;
        let (w, c) = (
            "master_volume_layout_writable",
            "master_volume_layout_crowded",
        );
        out.sample(
            w,
            Kind::Gauge,
            "Volumes that take writes.",
            &labels,
            Value::Unsigned(writable),
        );
        out.sample(
            c,
            Kind::Gauge,
            "Those of them that are nearly full.",
            &labels,
            Value::Unsigned(crowded),
        );
    }
}
