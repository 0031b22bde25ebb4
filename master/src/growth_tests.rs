use std::sync::Arc;

use halofs_client::master::{NodeReport, VolumeOwner, VolumeReport};
use halofs_types::{Uuid, VolumeId};

use super::*;
use crate::topology::layout::Owner;
use crate::topology::state::{State, VolumeState};
use crate::topology::view::Observed;

const MB: u64 = 1 << 20;

fn layout(placement: &str) -> LayoutKey {
    LayoutKey {
        collection: String::new(),
        owner: Owner::Native,
        placement: placement.parse::<Placement>().unwrap().to_byte(),
        disk_type: DEFAULT_DISK.into(),
        ttl_secs: 0,
    }
}

fn volume(vid: u8, life: VolumeLife) -> VolumeState {
    VolumeState {
        vid: u32::from(vid),
        uuid: Uuid([vid; 16]),
        layout: layout("000"),
        collection_uuid: Uuid([9; 16]),
        life,
        epoch: 3,
        primary: "n".into(),
        incarnation: 1,
        in_sync: vec!["n".into()],
        generation: 0,
        sealed: None,
        job: None,
    }
}

fn report(vid: u8, size: u64) -> VolumeReport {
    VolumeReport {
        id: VolumeId(u32::from(vid)),
        uuid: Uuid([vid; 16]),
        collection: String::new(),
        owner: VolumeOwner::Native,
        placement: Placement::default(),
        size,
        files: 0,
        deleted_files: 0,
        deleted_bytes: 0,
        read_only: false,
        generation: 0,
        epoch: 3,
        leads: Some(3),
        modified_secs: 0,
        disk_type: DEFAULT_DISK.into(),
    }
}

fn node(free: u64, volumes: Vec<VolumeReport>) -> NodeReport {
    NodeReport {
        url: "h:1".into(),
        public_url: "h:1".into(),
        rack: "r1".into(),
        disk_total: 16_000 * MB,
        disk_free: free,
        volumes,
        ..NodeReport::default()
    }
}

fn view(volumes: Vec<VolumeState>, report: NodeReport) -> View {
    let state = State {
        volumes: volumes.into_iter().map(|v| (v.vid, v)).collect(),
        ..State::default()
    };
    let observed = Observed::from([("n".to_owned(), Arc::new(report))]);
    View::build(&state, &observed, &settings())
}

fn settings() -> Settings {
    Settings::new(100 * MB)
}

fn intends(tasks: &[Task]) -> usize {
    tasks
        .iter()
        .filter(|t| matches!(t, Task::Intend { .. }))
        .count()
}

#[test]
fn a_wanted_layout_starts_with_two_volumes_and_an_unwanted_one_with_none() {
    let v = view(vec![], node(5000 * MB, vec![]));
    assert_eq!(
        intends(&plan(&v, &settings(), &BTreeSet::from([layout("000")]))),
        2
    );
    assert_eq!(plan(&v, &settings(), &BTreeSet::new()), vec![]);
}

#[test]
fn growth_starts_when_a_volume_is_crowded_or_refuses_writes() {
    let active = || vec![volume(1, VolumeLife::Active), volume(2, VolumeLife::Active)];
    let tasks = |a: VolumeReport, b: VolumeReport| {
        intends(&plan(
            &view(active(), node(5000 * MB, vec![a, b])),
            &settings(),
            &BTreeSet::new(),
        ))
    };
    assert_eq!(tasks(report(1, 10), report(2, 10)), 0);
    assert_eq!(tasks(report(1, 89 * MB), report(2, 10)), 0);
    assert_eq!(tasks(report(1, 90 * MB), report(2, 10)), 1);
    assert_eq!(tasks(report(1, 200 * MB), report(2, 10)), 1);
    assert_eq!(
        tasks(
            VolumeReport {
                read_only: true,
                ..report(1, 10)
            },
            report(2, 10)
        ),
        1
    );
    assert_eq!(
        tasks(
            VolumeReport {
                leads: Some(2),
                ..report(1, 10)
            },
            report(2, 10)
        ),
        1
    );
    assert_eq!(
        tasks(
            VolumeReport {
                uuid: Uuid([7; 16]),
                ..report(1, 10)
            },
            report(2, 10)
        ),
        1
    );
}

#[test]
fn volumes_that_wait_to_be_led_are_not_made_up_for() {
    let waits = |vid| VolumeReport {
        leads: None,
        ..report(vid, 10)
    };
    let active = vec![volume(1, VolumeLife::Active), volume(2, VolumeLife::Active)];
    let v = view(active, node(5000 * MB, vec![waits(1), waits(2)]));
    assert!(v.layouts[0].writable.is_empty());
    assert_eq!(
        plan(&v, &settings(), &BTreeSet::from([layout("000")])),
        vec![]
    );
}

#[test]
fn an_unfinished_volume_is_created_again_and_counts() {
    let v = view(
        vec![
            volume(1, VolumeLife::Creating),
            volume(2, VolumeLife::Active),
        ],
        node(5000 * MB, vec![report(2, 1)]),
    );
    assert_eq!(
        plan(&v, &settings(), &BTreeSet::new()),
        vec![Task::Create { vid: 1 }]
    );
}

#[test]
fn what_is_missing_is_named_with_numbers() {
    let why = |placement: &str, report: NodeReport| {
        choose_node(&view(vec![], report), &layout(placement), &Site::default())
            .map(|n| n.id.clone())
            .unwrap_err()
    };
    assert_eq!(
        why("001", node(5000 * MB, vec![])),
        "001 needs 2 nodes in one rack; rack r1 has 1"
    );
    assert_eq!(
        why("010", node(5000 * MB, vec![])),
        "010 needs 2 racks in one data centre; there are 1"
    );
    assert_eq!(
        why("100", node(5000 * MB, vec![])),
        "100 needs 2 data centres; there are 1"
    );
    assert_eq!(
        why("000", node(150 * MB, vec![report(1, 60 * MB)])),
        "the disk of h:1 has 150 MB free; a volume of 100 MB and the reserve of 60 MB for a vacuum need more"
    );
    let low = NodeReport {
        low_space: true,
        ..node(700 * MB, vec![])
    };
    assert_eq!(
        why("000", low),
        "the disk of h:1 is below its soft watermark: 700 of 16000 MB free"
    );
    let full = NodeReport {
        max_volumes: 1,
        ..node(5000 * MB, vec![report(1, 1)])
    };
    assert_eq!(why("000", full), "h:1 holds 1 volumes and -max is 1");
    let ssd = LayoutKey {
        disk_type: "ssd".into(),
        ..layout("000")
    };
    let v = view(vec![], node(5000 * MB, vec![]));
    assert_eq!(
        choose_node(&v, &ssd, &Site::default())
            .map(|_| ())
            .unwrap_err(),
        "no volume server has a disk of type ssd; there is hdd"
    );
    let there = Site {
        rack: "r9".into(),
        ..Site::default()
    };
    assert_eq!(
        choose_node(&v, &layout("000"), &there)
            .map(|_| ())
            .unwrap_err(),
        "no volume server in rack r9 has reported; there is DefaultDataCenter/r1/h:1"
    );
}

#[test]
fn the_limit_is_a_sixteenth_of_the_disk_at_most() {
    let s = Settings::new(4096 * MB);
    assert_eq!(s.effective_limit(16_000 * MB), 1000 * MB);
    assert_eq!(s.effective_limit(1 << 50), 4096 * MB);
    assert_eq!(s.effective_limit(0), 4096 * MB);
}
