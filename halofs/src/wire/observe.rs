//! What this process shows under `/metrics` beside what main, filer and the ports show of themselves, and the one signal that
//! travels between services: space pressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use halofs_filer::Filer;
use halofs_master::Master;
use halofs_runtime::Clock;
use halofs_runtime::metrics::{Exposition, Kind, Registry, Value};
use halofs_volume::VolumeServer;
use tokio_util::sync::CancellationToken;

/// How often the disks' watermarks are looked at.
const PRESSURE_EVERY: Duration = Duration::from_secs(2);

/// Adds the samples of volumes and filer.
pub(super) fn register(
    registry: &Registry,
    master: &Arc<Master>,
    volume: &Arc<VolumeServer>,
    filer: &Arc<Filer>,
) {
    let (master, volume, filer) = (Arc::clone(master), Arc::clone(volume), Arc::clone(filer));
    registry.register(Arc::new(move |out: &mut Exposition| {
        volumes(&master, out);
        counters(&volume, out);
        collectors(&filer, out);
    }));
}

/// Tells the filer while any disk is below its soft watermark, so that garbage goes sooner.
pub(super) async fn watch_space(
    clock: Arc<dyn Clock>,
    master: Arc<Master>,
    filer: Arc<Filer>,
    stop: CancellationToken,
) {
    loop {
        filer.set_space_pressure(master.view().nodes.iter().any(|n| n.report.low_space));
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(PRESSURE_EVERY) => {}
        }
    }
}

fn volumes(master: &Master, out: &mut Exposition) {
    let gauge = |out: &mut Exposition, name: &str, help, labels: &[(&str, &str)], n: u64| {
        out.sample(name, Kind::Gauge, help, labels, Value::Unsigned(n));
    };
    for node in &master.view().nodes {
        let r = &node.report;
        gauge(
            out,
            "volumeServer_disk_free_bytes",
            "Free bytes of the disk.",
            &[],
            r.disk_free,
        );
        gauge(
            out,
            "volumeServer_disk_bytes",
            "Bytes of the disk.",
            &[],
            r.disk_total,
        );
        gauge(
            out,
            "volumeServer_max_volumes",
            "Volumes that would fit.",
            &[],
            node.max_slots(),
        );
        let read_only = r.volumes.iter().filter(|v| v.read_only).count() as u64;
        gauge(
            out,
            "volumeServer_read_only_volumes",
            "Volumes that refuse writes.",
            &[],
            read_only,
        );
        let mut sums: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for v in &r.volumes {
            let [count, bytes, files, deleted] = sums.entry(&v.collection).or_default();
            *count += 1;
            *bytes += v.size;
            *files += v.files;
            *deleted += v.deleted_bytes;
        }
        for (collection, [count, bytes, files, deleted]) in sums {
            let labels = [("collection", collection), ("type", "volume")];
            gauge(out, "volumeServer_volumes", "Volumes.", &labels, count);
            gauge(
                out,
                "volumeServer_total_disk_size",
                "Bytes of volume files.",
                &labels,
                bytes,
            );
            gauge(out, "volumeServer_files", "Live needles.", &labels, files);
            gauge(
                out,
                "volumeServer_deleted_bytes",
                "Garbage that a vacuum would give back.",
                &labels,
                deleted,
            );
        }
    }
}

fn counters(volume: &VolumeServer, out: &mut Exposition) {
    let c = volume.counters();
    for (name, help, counter) in [
        ("volumeServer_puts_total", "Needles stored.", &c.puts),
        (
            "volumeServer_put_bytes_total",
            "Their original bytes.",
            &c.put_bytes,
        ),
        (
            "volumeServer_unchanged_total",
            "Puts that were there already.",
            &c.unchanged,
        ),
        (
            "volumeServer_opens_total",
            "Needles opened for reading.",
            &c.opens,
        ),
        (
            "volumeServer_deletes_total",
            "Tombstones written.",
            &c.deletes,
        ),
        (
            "volumeServer_batches_total",
            "Batches written and synced.",
            &c.batches,
        ),
        (
            "volumeServer_batch_records_total",
            "Records in them.",
            &c.batch_records,
        ),
        (
            "volumeServer_batch_bytes_total",
            "Bytes in them.",
            &c.batch_bytes,
        ),
        (
            "volumeServer_write_nanoseconds_total",
            "Time that writing batches took.",
            &c.write_ns,
        ),
        (
            "volumeServer_sync_nanoseconds_total",
            "Time that syncing batches took.",
            &c.sync_ns,
        ),
        (
            "volumeServer_damaged_total",
            "Reads that met damage.",
            &c.damaged,
        ),
        (
            "volumeServer_fenced_total",
            "Volumes fenced after a failed sync.",
            &c.fenced,
        ),
        (
            "volumeServer_checkpoints_total",
            "Checkpoints written.",
            &c.checkpoints,
        ),
    ] {
        out.sample(
            name,
            Kind::Counter,
            help,
            &[],
            Value::Unsigned(counter.get()),
        );
    }
    let (bytes, needles) = volume.index_size();
    for (name, help, n) in [
        (
            "volumeServer_index_bytes",
            "Memory of the needle indexes.",
            bytes,
        ),
        ("volumeServer_index_needles", "Entries in them.", needles),
        (
            "volumeServer_offline_volumes",
            "Volumes that could not be mounted.",
            volume.offline().len(),
        ),
        (
            "volumeServer_damaged_needles",
            "Damaged needles that were met since the start.",
            c.damaged_needles.count(),
        ),
    ] {
        out.sample(name, Kind::Gauge, help, &[], Value::Unsigned(n as u64));
    }
}

fn collectors(filer: &Filer, out: &mut Exposition) {
    let m = filer.metrics();
    for (name, help, n) in [
        (
            "filer_gc_queue",
            "Needles that wait for their deletion.",
            m.gc_queue,
        ),
        ("filer_gc_queue_bytes", "Their bytes.", m.gc_bytes),
        (
            "filer_orphan_alarm",
            "1: the orphan scan stopped.",
            u64::from(m.orphan_alarm),
        ),
        (
            "filer_restored",
            "1: the rows were restored from a backup; what they do not name is kept until -filer.confirmRestore.",
            u64::from(m.restored),
        ),
    ] {
        out.sample(name, Kind::Gauge, help, &[], Value::Unsigned(n));
    }
    for (name, help, n) in [
        ("filer_gc_deleted_total", "Needles deleted.", m.gc_deleted),
        (
            "filer_gc_deleted_bytes_total",
            "Their bytes.",
            m.gc_deleted_bytes,
        ),
        (
            "filer_gc_errors_total",
            "Deletions that a volume refused.",
            m.gc_errors,
        ),
        (
            "filer_leases_swept_total",
            "Dead leases whose fids were swept.",
            m.leases_swept,
        ),
        (
            "filer_unnamed_total",
            "Needles of dead leases that no row names.",
            m.unnamed,
        ),
        (
            "filer_uploads_expired_total",
            "Uploads that expired.",
            m.uploads_expired,
        ),
        (
            "filer_orphans_total",
            "Needles that no row names, found by the scan.",
            m.orphans,
        ),
    ] {
        out.sample(name, Kind::Counter, help, &[], Value::Unsigned(n));
    }
}
