//! Puts and gets a second of one volume, many callers at once. Usage: put_rate DIR SIZE CALLERS COUNT [nosync]

#![allow(
    clippy::many_single_char_names,
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measuring tool"
)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use halofs_client::master::VolumeOwner;
use halofs_client::pieces::Pieces;
use halofs_client::volume::{
    CreateVolume, Encoding, NeedleName, NeedleOwner, PutNeedle, VolumeApi,
};
use halofs_runtime::{OsRng, RealClock, RealDisk};
use halofs_seal::{FileKeyProvider, RootKey};
use halofs_types::{AttemptId, BucketId, Cookie, FileId, NeedleKey, Placement, Uuid, VolumeId};
use halofs_volume::{Deps, VolumeConfig, VolumeServer};

#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n = |i: usize| a[i].parse::<u64>().unwrap();
    let (size, callers, count) = (n(2), n(3), n(4));
    let deps = Deps {
        clock: Arc::new(RealClock),
        rng: Arc::new(OsRng),
        disk: Arc::new(RealDisk),
        keys: Arc::new(FileKeyProvider::from_root(RootKey::from_bytes([1; 32]))),
        cluster: Uuid([1; 16]),
    };
    let fsync = a.get(5).is_none_or(|s| s != "nosync");
    let config = VolumeConfig {
        fsync,
        soft_free: Some(1),
        hard_free: Some(1),
        ..VolumeConfig::new(a[1].clone().into())
    };
    let s = VolumeServer::open(config, deps).unwrap();
    let create = CreateVolume {
        id: VolumeId(1),
        uuid: Uuid([1; 16]),
        collection: String::new(),
        collection_uuid: Uuid([2; 16]),
        owner: VolumeOwner::Filer,
        placement: Placement::default(),
        epoch: 1,
        generation: 0,
    };
    s.create_volume(create).await.unwrap();
    let body = Bytes::from(vec![7u8; usize::try_from(size).unwrap()]);
    let fid = |key: u64| FileId {
        volume: VolumeId(1),
        key: NeedleKey(key + 1),
        cookie: Cookie(1),
    };
    let t = Instant::now();
    let tasks = (0..callers).map(|c| {
        let (s, body) = (Arc::clone(&s), body.clone());
        tokio::spawn(async move {
            for i in (c..count).step_by(usize::try_from(callers).unwrap()) {
                let owner = NeedleOwner {
                    store: Uuid([1; 16]),
                    bucket: BucketId(1),
                    key: Bytes::from(format!("object-{i}")),
                    attempt: AttemptId([1; 16]),
                    part: 0,
                    chunk: 0,
                };
                let put = PutNeedle {
                    fid: fid(i),
                    body: Pieces::from(body.clone()),
                    owner: Some(owner),
                    name: NeedleName::default(),
                    compress: false,
                    manifest: false,
                };
                s.put_needle(put).await.unwrap();
            }
        })
    });
    futures::future::join_all(tasks).await;
    let secs = t.elapsed().as_secs_f64();
    let c = s.counters();
    let rate = f64::from(u32::try_from(count).unwrap()) / secs;
    let mib = f64::from(u32::try_from(size).unwrap()) / 1_048_576.0;
    println!(
        "put {rate:.0}/s {:.1} MiB/s, {} batches of {} records, write {} us, sync {} us a batch",
        rate * mib,
        c.batches.get(),
        c.batch_records.get() / c.batches.get(),
        c.write_ns.get() / 1000 / c.batches.get(),
        c.sync_ns.get() / 1000 / c.batches.get()
    );
    let t = Instant::now();
    let tasks = (0..callers).map(|c| {
        let s = Arc::clone(&s);
        tokio::spawn(async move {
            for i in (c..count).step_by(usize::try_from(callers).unwrap()) {
                let needle = s
                    .open_needle(fid(i), None, VolumeOwner::Filer)
                    .await
                    .unwrap();
                let mut at = 0;
                while at < size {
                    at += needle
                        .read(Encoding::Identity, at, (at + (1 << 20)).min(size))
                        .await
                        .unwrap()
                        .len() as u64;
                }
            }
        })
    });
    futures::future::join_all(tasks).await;
    let rate = f64::from(u32::try_from(count).unwrap()) / t.elapsed().as_secs_f64();
    println!("get {rate:.0}/s {:.1} MiB/s", rate * mib);
    let t = Instant::now();
    s.stop().await;
    println!("stop {} ms", t.elapsed().as_millis());
}
