//! Copies and Completes that take long.

use std::sync::Arc;
use std::time::Duration;

use halofs_runtime::clock::{ManualClock, SharedManualClock};
use halofs_types::Timestamp;

use super::sign::Call;
use super::world::{Got, World};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn calls() -> [Call; 3] {
    let part = format!("/bkt/k?partNumber=1&uploadId={ID}");
    let complete = format!("/bkt/k?uploadId={ID}");
    let document = "<CompleteMultipartUpload><Part><ETag>x</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>";
    [
        Call::new("PUT", "/bkt/k")
            .header("x-amz-copy-source", "/bkt/none")
            .header("x-amz-server-side-encryption", "AES256"),
        Call::new("PUT", &part).header("x-amz-copy-source", "/bkt/none"),
        Call::new("POST", &complete).body(document),
    ]
}

/// Sends while the filer answers nothing for so many seconds.
async fn send_for(seconds: u64, call: Call) -> Got {
    let manual = ManualClock::new(Timestamp::from_secs(1_700_000_000));
    let w = World::on(Arc::new(SharedManualClock(Arc::clone(&manual))));
    w.bucket("bkt").await;
    let gate = w.filer.shut();
    let time = async {
        for _ in 0..seconds {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            manual.advance(Duration::from_secs(1));
        }
        gate.add_permits(10);
    };
    let (got, ()) = tokio::join!(w.send(call.sign("ADMIN", "admin-secret")), time);
    got
}

#[tokio::test]
async fn they_keep_their_status_as_long_as_it_may_be_waited_for() {
    for (call, code) in calls()
        .into_iter()
        .zip(["NoSuchKey", "NoSuchUpload", "NoSuchUpload"])
    {
        let got = send_for(14, call).await;
        assert_eq!((got.status, got.code()), (404, code), "{}", got.body);
        assert!(got.body.starts_with("<?xml"), "{}", got.body);
    }
}

#[tokio::test]
async fn then_they_begin_with_200_and_end_with_their_document() {
    for (call, code) in calls()
        .into_iter()
        .zip(["NoSuchKey", "NoSuchUpload", "NoSuchUpload"])
    {
        let encryption = call.headers.iter().any(|(n, _)| n.ends_with("encryption"));
        let got = send_for(40, call).await;
        assert_eq!((got.status, got.code()), (200, code), "{}", got.body);
        let (declaration, rest) = got.body.split_once("?>\n").unwrap();
        assert_eq!(declaration, "<?xml version=\"1.0\" encoding=\"UTF-8\"");
        let (spaces, document) = rest.split_once('<').unwrap();
        assert!(spaces.trim().is_empty() && spaces.len() >= 2, "{rest}");
        assert!(document.starts_with("Error>"), "{rest}");
        assert_eq!(got.header("content-type"), "application/xml");
        assert_eq!(got.header("x-amz-request-id"), super::world::ID);
        let said = got.header("x-amz-server-side-encryption");
        assert_eq!(said, if encryption { "AES256" } else { "" });
    }
}
