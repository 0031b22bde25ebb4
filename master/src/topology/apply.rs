//! How commands change the state: deterministic, total, the same on every node.

use super::command::{Command, Outcome};
use super::layout::LayoutKey;
use super::state::{ClusterIdentity, CollectionState, Dirty, State, VolumeLife, VolumeState};
use halofs_types::Uuid;

/// Applies one command and names the rows that it changed.
pub fn apply(state: &mut State, command: Command) -> (Outcome, Vec<Dirty>) {
    match command {
        Command::Genesis { identity } => (genesis(state, identity), Vec::new()),
        Command::NewVolume {
            uuid,
            layout,
            node,
            collection_uuid,
        } => new_volume(state, uuid, layout, node, collection_uuid),
        Command::VolumeActive { vid, uuid } => volume_active(state, vid, uuid),
        Command::OpenEpochs { node, volumes } => open_epochs(state, &node, &volumes),
        Command::NewKeyRange { keys } => (new_key_range(state, keys), Vec::new()),
        Command::RaiseKeys { above } => {
            state.counters.next_key = state.counters.next_key.max(above.saturating_add(1));
            (Outcome::Done, Vec::new())
        }
        Command::NewCollection { name, uuid } => {
            let (uuid, dirty) = collection(state, &name, uuid);
            (Outcome::Collection { uuid }, dirty)
        }
    }
}

fn refused(reason: impl Into<String>) -> Outcome {
    Outcome::Refused {
        reason: reason.into(),
    }
}

fn genesis(state: &mut State, identity: ClusterIdentity) -> Outcome {
    match &state.identity {
        None => {
            state.identity = Some(identity);
            Outcome::Done
        }
        Some(known) if *known == identity => Outcome::Done,
        Some(known) => refused(format!(
            "this is cluster {} under root key {}, not cluster {} under root key {}",
            known.cluster, known.kek_id, identity.cluster, identity.kek_id
        )),
    }
}

fn collection(state: &mut State, name: &str, uuid: Uuid) -> (Uuid, Vec<Dirty>) {
    if let Some(known) = state.collections.get(name) {
        return (known.uuid, Vec::new());
    }
    state
        .collections
        .insert(name.to_owned(), CollectionState { uuid });
    (uuid, vec![Dirty::Collection(name.to_owned())])
}

fn new_volume(
    state: &mut State,
    uuid: Uuid,
    layout: LayoutKey,
    node: String,
    collection_uuid: Uuid,
) -> (Outcome, Vec<Dirty>) {
    if let Some(same) = state.volumes.values().find(|v| v.uuid == uuid) {
        return (
            Outcome::Volume {
                volume: Box::new(same.clone()),
            },
            Vec::new(),
        );
    }
    let vid = state.counters.next_vid;
    let Some(next) = vid.checked_add(1) else {
        return (refused("all volume ids are used up"), Vec::new());
    };
    state.counters.next_vid = next;
    let (collection_uuid, mut dirty) = collection(state, &layout.collection, collection_uuid);
    let incarnation = state.counters.next_incarnation;
    state.counters.next_incarnation = incarnation.saturating_add(1);
    let volume = VolumeState {
        vid,
        uuid,
        layout,
        collection_uuid,
        life: VolumeLife::Creating,
        epoch: 1,
        primary: node.clone(),
        incarnation,
        in_sync: vec![node],
        generation: 0,
        sealed: None,
        job: None,
    };
    state.volumes.insert(vid, volume.clone());
    dirty.push(Dirty::Volume(vid));
    (
        Outcome::Volume {
            volume: Box::new(volume),
        },
        dirty,
    )
}

fn volume_active(state: &mut State, vid: u32, uuid: Uuid) -> (Outcome, Vec<Dirty>) {
    let Some(volume) = state.volumes.get_mut(&vid).filter(|v| v.uuid == uuid) else {
        return (
            refused(format!("there is no volume {vid} of identity {uuid}")),
            Vec::new(),
        );
    };
    if volume.life == VolumeLife::Active {
        return (Outcome::Done, Vec::new());
    }
    volume.life = VolumeLife::Active;
    (Outcome::Done, vec![Dirty::Volume(vid)])
}

fn open_epochs(state: &mut State, node: &str, volumes: &[(u32, u64)]) -> (Outcome, Vec<Dirty>) {
    let incarnation = state.counters.next_incarnation;
    let mut opened = Vec::new();
    let mut dirty = Vec::new();
    for (vid, seen) in volumes {
        let Some(volume) = state.volumes.get_mut(vid).filter(|v| v.epoch == *seen) else {
            continue;
        };
        let Some(epoch) = volume.epoch.checked_add(1) else {
            continue;
        };
        volume.epoch = epoch;
        node.clone_into(&mut volume.primary);
        volume.incarnation = incarnation;
        // One copy so far: who leads is who is in sync.
        volume.in_sync = vec![node.to_owned()];
        opened.push((*vid, epoch));
        dirty.push(Dirty::Volume(*vid));
    }
    if !opened.is_empty() {
        state.counters.next_incarnation = incarnation.saturating_add(1);
    }
    (Outcome::Epochs { opened }, dirty)
}

fn new_key_range(state: &mut State, keys: u64) -> Outcome {
    let first = state.counters.next_key;
    match first.checked_add(keys) {
        Some(next) if keys > 0 => {
            state.counters.next_key = next;
            Outcome::Keys { first, count: keys }
        }
        _ => refused("all needle keys are used up"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Owner;
    use super::*;
    use proptest::prelude::*;

    fn layout(collection: &str) -> LayoutKey {
        LayoutKey {
            collection: collection.into(),
            owner: Owner::Native,
            placement: 0,
            disk_type: "hdd".into(),
            ttl_secs: 0,
        }
    }

    fn volume(state: &mut State, n: u8) -> VolumeState {
        let cmd = Command::NewVolume {
            uuid: Uuid([n; 16]),
            layout: layout("c"),
            node: "a".into(),
            collection_uuid: Uuid([n ^ 255; 16]),
        };
        match apply(state, cmd).0 {
            Outcome::Volume { volume } => *volume,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn volumes_are_made_once_and_share_their_collection() {
        let mut s = State::default();
        let a = volume(&mut s, 1);
        let b = volume(&mut s, 2);
        assert_eq!((a.vid, b.vid, a.epoch), (1, 2, 1));
        assert_eq!(a.collection_uuid, b.collection_uuid);
        assert_eq!(volume(&mut s, 1), a);
        assert_eq!(s.counters.next_vid, 3);
        assert_eq!(
            apply(
                &mut s,
                Command::VolumeActive {
                    vid: 1,
                    uuid: Uuid([1; 16])
                }
            )
            .0,
            Outcome::Done
        );
        let wrong = apply(
            &mut s,
            Command::VolumeActive {
                vid: 1,
                uuid: Uuid([9; 16]),
            },
        );
        assert!(matches!(wrong, (Outcome::Refused { .. }, d) if d.is_empty()));
    }

    #[test]
    fn an_epoch_opens_once() {
        let mut s = State::default();
        let v = volume(&mut s, 1);
        let open = Command::OpenEpochs {
            node: "b".into(),
            volumes: vec![(v.vid, 1), (77, 1)],
        };
        assert_eq!(
            apply(&mut s, open.clone()).0,
            Outcome::Epochs {
                opened: vec![(1, 2)]
            }
        );
        assert_eq!(apply(&mut s, open).0, Outcome::Epochs { opened: vec![] });
        let now = &s.volumes[&1];
        assert_eq!((now.epoch, now.primary.as_str()), (2, "b"));
        assert!(now.incarnation > v.incarnation);
    }

    #[test]
    fn another_genesis_is_refused() {
        let id = |n| ClusterIdentity {
            cluster: Uuid([n; 16]),
            kek_id: "k".into(),
            kek_check: "c".into(),
        };
        let mut s = State::default();
        assert_eq!(
            apply(&mut s, Command::Genesis { identity: id(1) }).0,
            Outcome::Done
        );
        assert_eq!(
            apply(&mut s, Command::Genesis { identity: id(1) }).0,
            Outcome::Done
        );
        assert!(matches!(
            apply(&mut s, Command::Genesis { identity: id(2) }).0,
            Outcome::Refused { .. }
        ));
        assert_eq!(s.identity, Some(id(1)));
    }

    proptest! {
        #[test]
        fn key_ranges_never_overlap(steps in proptest::collection::vec((any::<bool>(), 1u64..5_000_000), 1..50)) {
            let mut s = State::default();
            let mut end = 0u64;
            for (raise, n) in steps {
                if raise {
                    apply(&mut s, Command::RaiseKeys { above: n });
                    end = end.max(n);
                } else if let Outcome::Keys { first, count } = apply(&mut s, Command::NewKeyRange { keys: n }).0 {
                    prop_assert!(first > end && count == n);
                    end = first + count - 1;
                } else {
                    prop_assert!(false, "refused");
                }
            }
        }

        #[test]
        fn commands_survive_their_text_form(vid in any::<u32>(), above in any::<u64>(), id in any::<[u8; 16]>()) {
            for cmd in [
                Command::VolumeActive { vid, uuid: Uuid(id) },
                Command::RaiseKeys { above },
                Command::OpenEpochs { node: "n:1".into(), volumes: vec![(vid, above)] },
                Command::NewVolume { uuid: Uuid(id), layout: layout("x"), node: "n".into(), collection_uuid: Uuid(id) },
            ] {
                let text = serde_json::to_vec(&cmd).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Command>(&text).unwrap(), cmd);
            }
        }
    }
}
