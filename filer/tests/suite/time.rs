//! Ages do not follow the wall clock.

use std::time::Duration;

use halofs_client::filer::{FilerApi, Precondition};
use halofs_types::Timestamp;
use proptest::prelude::*;

use crate::uploads::begin;
use crate::world::{MINUTE, World, commit, object};

const DAY: Duration = Duration::from_hours(24);
const YEARS: u64 = 10 * 365 * 24 * 3600;

#[tokio::test]
async fn a_jump_expires_nothing_and_keeps_nothing() {
    for jump in [1_700_000_000 + YEARS, 1_700_000_000 - YEARS] {
        for mut w in World::both().await {
            let b = w.bucket("b").await;
            let upload = begin(&w, &b, b"k").await;
            w.put(&b, b"o", "e1").await;
            w.put(&b, b"o", "e2").await;
            w.clock.set_wall(Timestamp::from_secs(jump));
            w.clock.advance(MINUTE);
            assert_eq!(w.filer.run_uploads_once().await.unwrap(), 0);
            assert_eq!(w.filer.run_gc_once().await.unwrap(), 0);
            assert_eq!(w.filer.run_done_once().await.unwrap(), 0);
            w.restart().await;
            assert_eq!(w.filer.run_uploads_once().await.unwrap(), 0);
            assert!(w.filer.upload(b.id, b"k", upload.id).await.is_ok());
            w.clock.advance(MINUTE * 16);
            assert_eq!(w.filer.run_gc_once().await.unwrap(), 1);
            w.filer.run_done_once().await.unwrap();
            assert!(w.store.scan(b"done/", b"done0", 10).unwrap().is_empty());
            w.clock.advance(DAY * 7);
            assert_eq!(w.filer.run_uploads_once().await.unwrap(), 1);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Both clocks move on.
    Run(Duration),
    /// The wall clock is set.
    Set(u64),
    /// The filer stops for this long.
    Stop(Duration),
    /// The filer is killed and starts at once.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..48 * 60u64).prop_map(|m| Step::Run(Duration::from_mins(m))),
        1 => (0..2 * YEARS).prop_map(|s| Step::Set(1_700_000_000 - YEARS + s)),
        1 => (0..96 * 60u64).prop_map(|m| Step::Stop(Duration::from_mins(m))),
        1 => Just(Step::Kill),
    ]
}

/// An upload and a replaced needle: how long the filer ran since they came is all that ends them, but for a day a start.
async fn follow(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut w = World::in_memory().await;
    let b = w.bucket("b").await;
    begin(&w, &b, b"k").await;
    let old = w.needle(w.fid(), &b, b"o", 0);
    for chunk in [old, w.needle(w.fid(), &b, b"o", 0)] {
        let c = commit(&b, b"o", object("e", vec![chunk]), Precondition::None);
        w.filer.commit_object(c).await.unwrap();
    }
    w.filer.run_clock_once().await.unwrap();
    let (mut ran, mut starts) = (Duration::ZERO, 0);
    for step in steps {
        let from = w.filer.time();
        match step {
            Step::Run(d) => {
                w.clock.advance(d);
                ran += d;
                w.filer.run_clock_once().await.unwrap();
            }
            Step::Set(secs) => w.clock.set_wall(Timestamp::from_secs(secs)),
            Step::Stop(d) => {
                w.stop_for(d).await;
                starts += 1;
            }
            Step::Kill => {
                w.kill().await;
                starts += 1;
            }
        }
        prop_assert!(w.filer.time() >= from, "it never goes back");
        let expired = w.filer.run_uploads_once().await.unwrap() > 0;
        w.filer.run_gc_once().await.unwrap();
        let collected = !w.volumes.has(old.fid);
        let most = ran + DAY * starts;
        prop_assert!(
            !expired || most >= DAY * 7,
            "after {ran:?} and {starts} starts"
        );
        prop_assert!(
            !collected || most >= MINUTE * 15,
            "after {ran:?} and {starts} starts"
        );
        prop_assert!(collected || ran <= MINUTE * 15, "after {ran:?}");
        if expired {
            return Ok(());
        }
        prop_assert!(ran < DAY * 7, "after {ran:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn ages_are_running_time(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(steps))?;
    }
}
