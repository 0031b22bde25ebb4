//! A process that commits is killed; what it said it had committed is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use halofs_client::filer::FilerApi;

use crate::world::{World, rocks};

const CHILD: &str = "HALOFS_FILER_CRASH_DIR";

/// Not a test of its own: commits until it is killed, printing what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "how the parent tells its child what it is"
)]
async fn child_that_commits() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let w = Arc::new(World::on(rocks(dir.as_ref()), None).await);
    let b = match w.filer.bucket("b").await {
        Ok(b) => b,
        Err(_) => w.bucket("b").await,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (w, b) = (Arc::clone(&w), b.clone());
        tasks.spawn(async move {
            for n in 0u64.. {
                let key = format!("{task}/{}", n % 50);
                let etag = format!("{}", n + u64::from(std::process::id()) * 1_000_000);
                w.put(&b, key.as_bytes(), &etag).await;
                let line = format!("ack {key} {etag}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = std::collections::BTreeMap::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_that_commits", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut seen = 0;
        for line in lines.by_ref() {
            // The harness prints on the first line too.
            let Some((_, ack)) = line.split_once("ack ") else {
                continue;
            };
            let (key, etag) = ack.split_once(' ').unwrap();
            acked.insert(key.to_owned(), etag.to_owned());
            seen += 1;
            if seen > 200 + round * 100 {
                child.kill().unwrap();
                break;
            }
        }
        for line in lines {
            if let Some((key, etag)) = line.strip_prefix("ack ").and_then(|a| a.split_once(' ')) {
                acked.insert(key.to_owned(), etag.to_owned());
            }
        }
        child.wait().unwrap();
        let w = World::on(rocks(dir.path()), None).await;
        let b = w.filer.bucket("b").await.unwrap();
        for (key, etag) in &acked {
            let found = w
                .etag(&b, key.as_bytes())
                .await
                .unwrap_or_else(|| panic!("{key} is gone"));
            let (found, etag): (u64, u64) = (found.parse().unwrap(), etag.parse().unwrap());
            // A commit that was not acknowledged may be there too, of the same writer.
            assert!(
                found == etag || found > etag && found < etag + 1000,
                "{key}: {found}, acknowledged {etag}"
            );
        }
        w.filer.stop().await;
    }
    assert!(acked.len() > 100);
}
