//! The suite that every [`KvStore`] passes: the laws of [`crate::kv`], checked on an empty store.

use std::sync::Arc;

use bytes::Bytes;

use crate::kv::{Batch, Check, KvStore, Op, StoreError};

/// What did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}")]
pub struct Violation {
    /// Which case of the suite.
    pub case: &'static str,
    /// What was seen.
    pub what: String,
}

type Outcome = Result<(), Violation>;

fn expect(case: &'static str, holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Violation { case, what: what() })
    }
}

fn ok<T>(case: &'static str, result: Result<T, StoreError>) -> Result<T, Violation> {
    result.map_err(|e| Violation {
        case,
        what: e.to_string(),
    })
}

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn keys(store: &dyn KvStore, from: &str, to: &str, limit: usize) -> Result<Vec<String>, Violation> {
    let rows = ok("scan", store.scan(from.as_bytes(), to.as_bytes(), limit))?;
    Ok(rows
        .into_iter()
        .map(|(k, _)| String::from_utf8_lossy(&k).into_owned())
        .collect())
}

/// Runs every case on an empty store. Returns the last revision, for [`revisions_grow_over_a_reopen`].
pub async fn run(store: Arc<dyn KvStore>) -> Result<u64, Violation> {
    let s = store.as_ref();
    rows_and_revisions(s).await?;
    checks(s).await?;
    ranges(s).await?;
    order_within_a_batch(s).await?;
    checks_see_earlier_batches_of_a_group(s).await?;
    one_of_many_wins(Arc::clone(&store)).await?;
    any_bytes(s).await?;
    ok("last", s.commit(Batch::default().put("zz/last", "1")).await)
}

/// Law 3 over a restart: `before` is what [`run`] returned for the same store before it was opened again.
pub async fn revisions_grow_over_a_reopen(store: Arc<dyn KvStore>, before: u64) -> Outcome {
    const CASE: &str = "revisions grow over a reopen";
    let row = ok(CASE, store.get(b"zz/last"))?;
    expect(
        CASE,
        row.as_ref().is_some_and(|r| r.revision == before),
        || format!("{row:?}, committed at {before}"),
    )?;
    let after = ok(
        CASE,
        store.commit(Batch::default().put("zz/last", "2")).await,
    )?;
    expect(CASE, after > before, || format!("{after} after {before}"))
}

async fn rows_and_revisions(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "rows and revisions";
    expect(CASE, ok(CASE, s.get(b"a/1"))?.is_none(), || {
        "a row of an empty store".to_owned()
    })?;
    let r1 = ok(
        CASE,
        s.commit(Batch::default().put("a/1", "one").put("a/2", ""))
            .await,
    )?;
    let r2 = ok(CASE, s.commit(Batch::default().put("a/1", "two")).await)?;
    expect(CASE, r2 > r1, || format!("{r2} after {r1}"))?;
    let (one, two) = (ok(CASE, s.get(b"a/1"))?, ok(CASE, s.get(b"a/2"))?);
    let seen = (
        one.as_ref().map(|r| (&r.value[..], r.revision)),
        two.as_ref().map(|r| (&r.value[..], r.revision)),
    );
    expect(CASE, seen == (Some((b"two", r2)), Some((b"", r1))), || {
        format!("{one:?} {two:?}")
    })?;
    ok(
        CASE,
        s.commit(Batch::default().delete("a/1").delete("a/9")).await,
    )?;
    expect(CASE, ok(CASE, s.get(b"a/1"))?.is_none(), || {
        "a removed row".to_owned()
    })
}

async fn checks(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "checks";
    let r = ok(CASE, s.commit(Batch::default().put("c/1", "x")).await)?;
    for (check, holds) in [
        (Check::Absent(b("c/2")), true),
        (Check::Absent(b("c/1")), false),
        (Check::Exists(b("c/1")), true),
        (Check::Exists(b("c/2")), false),
        (Check::At(b("c/1"), r), true),
        (Check::At(b("c/1"), r + 1), false),
        (Check::At(b("c/2"), r), false),
        (Check::RangeEmpty(b("c/2"), b("c/9")), true),
        (Check::RangeEmpty(b("c/"), b("c/1")), true),
        (Check::RangeEmpty(b("c/"), b("c/2")), false),
        (Check::RangeEmpty(b("c/9"), b("c/")), true),
        (Check::RangeEmpty(b("c/"), Bytes::new()), false),
    ] {
        let batch = Batch::default()
            .check(Check::Absent(b("c/none")))
            .check(check.clone())
            .put("c/probe", "p");
        let got = s.commit(batch).await;
        let want = if holds {
            got.is_ok()
        } else {
            got == Err(StoreError::CheckFailed(1))
        };
        expect(CASE, want, || format!("{check:?} gave {got:?}"))?;
        let probe = ok(CASE, s.get(b"c/probe"))?;
        expect(CASE, probe.is_some() == holds, || {
            format!("{check:?}: the probe is {probe:?}")
        })?;
        ok(CASE, s.commit(Batch::default().delete("c/probe")).await)?;
    }
    Ok(())
}

async fn ranges(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "ranges";
    let mut batch = Batch::default();
    for key in ["r/a", "r/b", "r/c", "r/d"] {
        batch = batch.put(key, key);
    }
    ok(CASE, s.commit(batch).await)?;
    for (from, to, limit, want) in [
        ("r/", "r0", 9, &["r/a", "r/b", "r/c", "r/d"][..]),
        ("r/a", "r/c", 9, &["r/a", "r/b"]),
        ("r/aa", "r0", 2, &["r/b", "r/c"]),
        ("r/", "r0", 0, &[]),
        ("r/c", "r/a", 9, &[]),
        ("r/d", "", 1, &["r/d"]),
    ] {
        let got = keys(s, from, to, limit)?;
        expect(CASE, got == want, || format!("{from}..{to}: {got:?}"))?;
    }
    ok(
        CASE,
        s.commit(
            Batch::default()
                .delete_range("r/b", "r/d")
                .delete_range("r/z", "r/a"),
        )
        .await,
    )?;
    let got = keys(s, "r/", "r0", 9)?;
    expect(CASE, got == ["r/a", "r/d"], || {
        format!("after a range was removed: {got:?}")
    })?;
    ok(CASE, s.commit(Batch::default().put("r/b", "again")).await)?;
    expect(CASE, ok(CASE, s.get(b"r/b"))?.is_some(), || {
        "a row written after its range was removed".to_owned()
    })
}

async fn order_within_a_batch(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "order within a batch";
    let batch = Batch::default()
        .put("o/1", "a")
        .put("o/1", "b")
        .delete_range("o/", "o0")
        .put("o/2", "c")
        .put("o/3", "d");
    ok(CASE, s.commit(batch.delete("o/3")).await)?;
    let got = keys(s, "o/", "o0", 9)?;
    expect(CASE, got == ["o/2"], || format!("{got:?}"))
}

async fn checks_see_earlier_batches_of_a_group(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "checks see earlier batches of a group";
    ok(
        CASE,
        s.commit(
            Batch::default()
                .put("g/old", "x")
                .put("g/r1", "x")
                .put("g/r2", "x"),
        )
        .await,
    )?;
    let batches = vec![
        Batch::default()
            .check(Check::Absent(b("g/1")))
            .put("g/1", "first"),
        Batch::default()
            .check(Check::Absent(b("g/1")))
            .put("g/1", "second"),
        Batch::default()
            .check(Check::Exists(b("g/1")))
            .delete("g/1")
            .delete("g/old"),
        Batch::default()
            .check(Check::Exists(b("g/old")))
            .put("g/2", "no"),
        Batch::default()
            .check(Check::Absent(b("g/1")))
            .put("g/1", "third"),
        Batch {
            ops: vec![Op::DeleteRange(b("g/r"), b("g/s"))],
            ..Batch::default()
        },
        Batch::default()
            .check(Check::RangeEmpty(b("g/r"), b("g/s")))
            .put("g/r3", "yes"),
        Batch::default()
            .check(Check::RangeEmpty(b("g/r"), b("g/s")))
            .put("g/r4", "no"),
        Batch::default()
            .check(Check::Absent(b("g/r1")))
            .check(Check::Exists(b("g/r3")))
            .put("g/r5", "yes"),
    ];
    let got = s.commit_many(batches).await;
    let failed: Vec<usize> = got
        .iter()
        .zip(0..)
        .filter(|(r, _)| r.is_err())
        .map(|(_, i)| i)
        .collect();
    expect(CASE, failed == [1, 3, 7], || format!("{got:?}"))?;
    let wins: Vec<u64> = got
        .iter()
        .filter_map(|r| r.as_ref().ok().copied())
        .collect();
    expect(CASE, wins.is_sorted_by(|a, b| a < b), || {
        format!("revisions {wins:?}")
    })?;
    let third = ok(CASE, s.get(b"g/1"))?;
    let at = third.map(|r| (r.value, r.revision));
    expect(
        CASE,
        at == Some((
            b("third"),
            got.get(4).cloned().and_then(Result::ok).unwrap_or(0),
        )),
        || format!("{at:?}"),
    )?;
    let left = keys(s, "g/", "g0", 9)?;
    expect(CASE, left == ["g/1", "g/r3", "g/r5"], || {
        format!("{left:?}")
    })
}

async fn one_of_many_wins(store: Arc<dyn KvStore>) -> Outcome {
    const CASE: &str = "one of many wins";
    let first = ok(CASE, store.commit(Batch::default().put("w/1", "0")).await)?;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32 {
        let store = Arc::clone(&store);
        let batch = Batch::default()
            .check(Check::At(b("w/1"), first))
            .put("w/1", n.to_string());
        tasks.spawn(async move { store.commit(batch).await });
    }
    let wins = tasks.join_all().await.into_iter().flatten().count();
    expect(CASE, wins == 1, || format!("{wins} of 32 won"))
}

async fn any_bytes(s: &dyn KvStore) -> Outcome {
    const CASE: &str = "any bytes";
    let value = Bytes::from((0..=255).collect::<Vec<u8>>().repeat(1000));
    let mut key = b"y/".to_vec();
    key.extend(0..=255u8);
    key.push(0);
    ok(
        CASE,
        s.commit(Batch::default().put(key.clone(), value.clone()))
            .await,
    )?;
    let got = ok(CASE, s.get(&key))?;
    expect(CASE, got.is_some_and(|r| r.value == value), || {
        "another value".to_owned()
    })
}
