//! Crash-state exploration of the volume engine: histories over a simulated disk, every crash point, many fates of what
//! was not synced, recovery, crashes of the recovery; and the proof that the search finds bugs when there are some.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::single_match_else,
    clippy::unused_self,
    reason = "a test may panic and print, and its names follow the two logs that it compares"
)]

use std::time::Duration;

use halofs_runtime::{Clock, RealClock};
use halofs_volume::volume::log::SeededBug;

use explore::{Effort, Explorer};

mod explore;
mod history;
mod model;
mod prefix;
mod regressions;
mod walk;
mod world;

const EFFORT: Effort = Effort {
    throws: 14,
    nested: 40,
    resumed: 400,
};
/// Distinct crash images that a run must reach.
const FLOOR: usize = 100_000;
/// Histories that once found something: seed and steps.
const REGRESSIONS: &[(u64, usize)] = &[(1, 40), (2, 40), (100_728, 24)];
const STEPS: usize = 24;

fn number(name: &str, default: u64) -> u64 {
    // The environment steers this test alone: HALOFS_EXPLORE_FROM to look elsewhere.
    #[expect(clippy::disallowed_methods, reason = "a knob of this test")]
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

#[test]
fn no_crash_breaks_a_promise() {
    let began = RealClock.monotonic_ns();
    let mut explorer = Explorer::new(EFFORT, None);
    for &(seed, steps) in REGRESSIONS {
        explorer.explore(seed, steps, true).unwrap();
    }
    let floor = usize::try_from(number("HALOFS_EXPLORE_IMAGES", FLOOR as u64)).unwrap();
    let mut seed = number("HALOFS_EXPLORE_FROM", 1);
    let mut histories = REGRESSIONS.len();
    while explorer.distinct.len() < floor {
        // One of four histories runs without syncs.
        explorer
            .explore(seed, STEPS, !seed.is_multiple_of(4))
            .unwrap();
        seed += 1;
        histories += 1;
    }
    let took = Duration::from_nanos(RealClock.monotonic_ns() - began);
    println!(
        "explored {} distinct crash images ({} of them without syncs), {} recoveries ({} crashed in turn, {} worked on), {histories} histories, {took:.1?}",
        explorer.distinct.len(),
        explorer.unsynced,
        explorer.recoveries,
        explorer.nested,
        explorer.resumed,
    );
    println!("count: crash images {}", explorer.distinct.len());
    assert!(explorer.unsynced > floor / 10, "{}", explorer.unsynced);
}

fn must_find(bug: SeededBug) {
    must_find_when(bug, true);
}

fn must_find_when(bug: SeededBug, fsync: bool) {
    let mut explorer = Explorer::new(EFFORT, Some(bug));
    let found = (1..=60).find_map(|seed| explorer.explore(seed, STEPS, fsync).err());
    match found {
        Some(what) => println!(
            "{bug:?}: found after {} images: {what}",
            explorer.distinct.len()
        ),
        None => panic!(
            "{bug:?} was not found in {} crash images",
            explorer.distinct.len()
        ),
    }
}

#[test]
fn finds_no_sync() {
    must_find(SeededBug::NoSync);
}

#[test]
fn finds_acks_before_the_sync() {
    must_find(SeededBug::AckBeforeSync);
}

#[test]
fn finds_publication_before_the_sync() {
    must_find(SeededBug::PublishBeforeSync);
}

#[test]
fn finds_a_cut_that_is_not_synced() {
    must_find(SeededBug::TruncateNotSynced);
}

#[test]
fn finds_a_checkpoint_past_the_sync() {
    must_find(SeededBug::CheckpointPastSync);
}

#[test]
fn finds_two_batches_in_flight() {
    must_find(SeededBug::TwoBatchesInFlight);
}

#[test]
fn finds_a_mark_before_the_sync_of_what_it_covers() {
    must_find_when(SeededBug::MarkBeforeSync, false);
}
