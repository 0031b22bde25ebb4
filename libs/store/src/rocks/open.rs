//! Opening: log first, then key, then the database.
//!
//! The file `UNSYNCED` is in the folder while its logs may lack what a power cut took: it is there before the first
//! batch that is not synced and goes once everything was read into tables and every new batch is synced. It says how
//! the next start judges the logs ([`wal`]), whatever mode that start is in.

use std::path::Path;

use halofs_runtime::disk::{parent, replace};
use halofs_runtime::{Disk, Rng};
use halofs_seal::{Dek, DekScope, ValueSealer};
use halofs_types::Uuid;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    IteratorMode, LogLevel, Options, WriteBatch, WriteOptions,
};

use super::{RocksConfig, RocksDeps};
use crate::kv::StoreError;
use crate::wal::{self, Written};

pub(super) const META: &str = "meta";
pub(super) const FORMAT_ROW: &str = "meta/format";
pub(super) const CLUSTER_ROW: &str = "meta/cluster";
pub(super) const STORE_ROW: &str = "meta/store";
pub(super) const DEK_ROW: &str = "meta/dek/1";
pub(super) const DEK_GEN: u16 = 1;
const FORMAT: u32 = 1;
const UNSYNCED: &str = "UNSYNCED";
const UNSYNCED_TEXT: &str =
    "the logs in this folder were not synced at every write (-fsync=false)\n";
/// Info logs that are kept, and bytes of each.
const INFO_LOGS: usize = 2;
const INFO_LOG_BYTES: usize = 1 << 20;

pub(super) struct Opened {
    pub(super) db: DB,
    pub(super) sealer: ValueSealer,
    pub(super) uuid: Uuid,
}

pub(super) fn open(config: &RocksConfig, deps: &RocksDeps) -> Result<Opened, StoreError> {
    let path = config.path.as_path();
    let io = |e: std::io::Error| refuse(path, e.to_string());
    deps.disk.create_dir_all(path).map_err(io)?;
    let engine = |e: rocksdb::Error| refuse(path, e.to_string());
    let made = deps.disk.exists(&path.join("CURRENT")).map_err(io)?;
    let mut known = None;
    let mark = path.join(UNSYNCED);
    let written = if deps.disk.exists(&mark).map_err(io)? {
        Written::Unsynced
    } else {
        Written::Synced
    };
    let shaped = || {
        let mut o = options(config);
        // The table of contents names logs that are set aside, or longer than what a power cut left.
        o.set_track_and_verify_wals_in_manifest(written == Written::Synced);
        o
    };
    if made {
        wal::check(deps.disk.as_ref(), path, written)?;
        let db = DB::open_cf_for_read_only(&shaped(), path, ["default", META], false);
        let db = match db {
            Ok(db) => Some(db),
            // A crash while the store was made leaves no family for the meta rows: there are no rows either then.
            Err(_) if families(path, config) == ["default"] => None,
            Err(e) => return Err(engine(e)),
        };
        known = db
            .map(|db| unlock(&db, config, deps))
            .transpose()?
            .flatten();
    }
    if !config.fsync && written == Written::Synced {
        replace(deps.disk.as_ref(), &mark, UNSYNCED_TEXT.as_bytes(), false).map_err(io)?;
    }
    let mut creating = shaped();
    creating.create_if_missing(true);
    creating.create_missing_column_families(true);
    let mut meta = Options::default();
    meta.set_write_buffer_size(64 << 10);
    let families = [
        ColumnFamilyDescriptor::new("default", shaped()),
        ColumnFamilyDescriptor::new(META, meta),
    ];
    let db = DB::open_cf_descriptors(&creating, path, families).map_err(engine)?;
    let (sealer, uuid) = match known {
        Some(unlocked) => unlocked,
        None => genesis(&db, config, deps)?,
    };
    // RocksDB has written every log that it found into tables, and begun a new one.
    if config.fsync && written == Written::Unsynced {
        forget(deps.disk.as_ref(), &mark).map_err(io)?;
    }
    Ok(Opened { db, sealer, uuid })
}

fn forget(disk: &dyn Disk, mark: &Path) -> std::io::Result<()> {
    disk.remove(mark)?;
    disk.sync_dir(parent(mark))
}

fn families(path: &Path, config: &RocksConfig) -> Vec<String> {
    DB::list_cf(&options(config), path).unwrap_or_default()
}

fn refuse(path: &Path, reason: String) -> StoreError {
    StoreError::Open {
        path: path.display().to_string(),
        reason,
    }
}

/// Reads the meta rows and unwraps the data key. `None`: the store was never finished and holds nothing.
fn unlock(
    db: &DB,
    config: &RocksConfig,
    deps: &RocksDeps,
) -> Result<Option<(ValueSealer, Uuid)>, StoreError> {
    let path = config.path.as_path();
    let engine = |e: rocksdb::Error| refuse(path, e.to_string());
    let family = db
        .cf_handle(META)
        .ok_or_else(|| refuse(path, "its meta rows are gone".to_owned()))?;
    let row = |name: &str| db.get_cf(&family, name).map_err(engine);
    let Some(format) = row(FORMAT_ROW)? else {
        if db.iterator(IteratorMode::Start).next().is_some() {
            return Err(refuse(
                path,
                format!("the row {FORMAT_ROW} is gone but others are there"),
            ));
        }
        return Ok(None);
    };
    let format = <[u8; 4]>::try_from(format.as_slice())
        .map(u32::from_le_bytes)
        .ok();
    if format != Some(FORMAT) {
        let got = format.map_or_else(|| "unreadable".to_owned(), |f| f.to_string());
        return Err(refuse(
            path,
            format!("its format is {got}; this build reads {FORMAT}"),
        ));
    }
    let uuid = |name: &str| -> Result<Uuid, StoreError> {
        let bytes = row(name)?.and_then(|b| <[u8; 16]>::try_from(b.as_slice()).ok());
        bytes
            .map(Uuid)
            .ok_or_else(|| refuse(path, format!("the row {name} is gone or damaged")))
    };
    let (cluster, store) = (uuid(CLUSTER_ROW)?, uuid(STORE_ROW)?);
    if cluster != config.cluster {
        return Err(refuse(
            path,
            format!(
                "it belongs to cluster {cluster}, this is {}",
                config.cluster
            ),
        ));
    }
    let wrapped =
        row(DEK_ROW)?.ok_or_else(|| refuse(path, format!("the row {DEK_ROW} is gone")))?;
    let damaged = || refuse(path, format!("the row {DEK_ROW} is damaged"));
    let (len, rest) = wrapped.split_first().ok_or_else(damaged)?;
    let (kek_id, wrapped) = rest
        .split_at_checked(usize::from(*len))
        .ok_or_else(damaged)?;
    let kek_id = String::from_utf8_lossy(kek_id);
    if kek_id != deps.keys.kek_id() {
        let have = deps.keys.kek_id();
        return Err(refuse(
            path,
            format!("it was sealed under root key {kek_id}, the key at hand is {have}"),
        ));
    }
    let scope = DekScope::Store {
        cluster,
        store,
        dek_gen: DEK_GEN,
    };
    let dek = deps
        .keys
        .unwrap(&scope, wrapped)
        .map_err(|e| refuse(path, format!("root key {kek_id}: {e}")))?;
    Ok(Some((
        ValueSealer::new(&dek, cluster, store, DEK_GEN),
        store,
    )))
}

/// Writes the meta rows of a new store, all at once and synced.
fn genesis(
    db: &DB,
    config: &RocksConfig,
    deps: &RocksDeps,
) -> Result<(ValueSealer, Uuid), StoreError> {
    let path = config.path.as_path();
    let rng: &dyn Rng = deps.rng.as_ref();
    let (cluster, store) = (config.cluster, Uuid(rng.id16()));
    let dek = Dek::random(rng);
    let scope = DekScope::Store {
        cluster,
        store,
        dek_gen: DEK_GEN,
    };
    let wrapped = deps
        .keys
        .wrap(rng, &scope, &dek)
        .map_err(|e| refuse(path, e.to_string()))?;
    let kek_id = deps.keys.kek_id();
    let len = u8::try_from(kek_id.len())
        .map_err(|_| refuse(path, "the root key's id is too long".to_owned()))?;
    let family = db
        .cf_handle(META)
        .ok_or_else(|| refuse(path, "it has no family for meta rows".to_owned()))?;
    let mut rows = WriteBatch::default();
    rows.put_cf(&family, FORMAT_ROW, FORMAT.to_le_bytes());
    rows.put_cf(&family, CLUSTER_ROW, cluster.0);
    rows.put_cf(&family, STORE_ROW, store.0);
    rows.put_cf(
        &family,
        DEK_ROW,
        [&[len], kek_id.as_bytes(), &wrapped].concat(),
    );
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let engine = |e: rocksdb::Error| refuse(path, e.to_string());
    db.write_opt(rows, &synced).map_err(engine)?;
    // Out of the log, so that the log is the rows' alone.
    db.flush_cf(&family).map_err(engine)?;
    deps.disk
        .sync_dir(path)
        .map_err(|e| refuse(path, e.to_string()))?;
    Ok((ValueSealer::new(&dek, cluster, store, DEK_GEN), store))
}

fn options(config: &RocksConfig) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(config.block_cache_bytes));
    table.set_block_size(8 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);

    let mut o = Options::default();
    o.set_block_based_table_factory(&table);
    o.set_compression_type(DBCompressionType::Lz4);
    o.set_write_buffer_size(config.write_buffer_bytes);
    o.set_max_write_buffer_number(2);
    o.set_target_file_size_base(16 << 20);
    o.set_level_compaction_dynamic_level_bytes(true);
    o.set_max_background_jobs(2);
    o.set_max_open_files(256);
    o.set_bytes_per_sync(1 << 20);
    o.set_allow_concurrent_memtable_write(false);
    o.set_enable_write_thread_adaptive_yield(false);

    o.set_paranoid_checks(true);
    o.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    o.set_track_and_verify_wals_in_manifest(true);
    o.set_recycle_log_file_num(0);
    o.set_max_total_wal_size(64 << 20);

    o.set_keep_log_file_num(INFO_LOGS);
    o.set_max_log_file_size(INFO_LOG_BYTES);
    o.set_log_level(LogLevel::Warn);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o
}
