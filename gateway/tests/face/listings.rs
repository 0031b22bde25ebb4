//! Listings of buckets and of objects.

use super::sign::Call;
use super::world::{Got, World};

#[tokio::test]
async fn list_buckets_pages_and_hides() {
    let w = World::new();
    for name in ["a1x", "b1x", "b2x", "b3x", "open"] {
        w.bucket(name).await;
    }
    let got = w.admin("GET", "/").await;
    assert_eq!(got.tags("Name"), ["a1x", "b1x", "b2x", "b3x", "open"]);
    assert_eq!(got.tag("ID"), Some("acc-admin"));
    assert_eq!(got.tag("DisplayName"), Some("The Admin"));
    assert_eq!(w.admin("GET", "//").await.code(), "SignatureDoesNotMatch");
    let mut doubled = Call::new("GET", "/").sign("ADMIN", "admin-secret");
    doubled.path = "//".to_owned();
    assert_eq!(w.send(doubled).await.tags("Name").len(), 5);

    let got = w.admin("GET", "/?max-buckets=2&prefix=b").await;
    assert_eq!(got.tags("Name"), ["b1x", "b2x"]);
    let token = got.tag("ContinuationToken").unwrap().to_owned();
    let got = w
        .admin(
            "GET",
            &format!("/?continuation-token={token}&max-buckets=2&prefix=b"),
        )
        .await;
    assert_eq!(
        (got.tags("Name"), got.tag("ContinuationToken")),
        (vec!["b3x"], None)
    );
    assert_eq!(
        w.admin("GET", "/?bucket-region=eu-west-1")
            .await
            .tags("Name"),
        Vec::<&str>::new()
    );
    for bad in [
        "/?max-buckets=0",
        "/?max-buckets=10001",
        "/?continuation-token=zzz",
    ] {
        assert_eq!(w.admin("GET", bad).await.code(), "InvalidArgument", "{bad}");
    }
    let got = w
        .send(Call::new("GET", "/").sign("READER", "reader-secret"))
        .await;
    assert_eq!((got.status, got.tags("Name")), (200, vec![]));
    assert_eq!(w.send(Call::new("GET", "/")).await.code(), "AccessDenied");
}

async fn listed(w: &World, target: &str) -> Got {
    let got = w.admin("GET", target).await;
    assert_eq!(got.status, 200, "{target}: {}", got.body);
    got
}

#[tokio::test]
async fn listings_show_and_encode() {
    let w = World::new();
    w.bucket("lst").await;
    for key in ["a", "dir/1", "dir/2", "dir2/x", "e f+%", "z\u{1}<&>"] {
        w.filer.put("lst", key);
    }
    let got = listed(&w, "/lst?list-type=2").await;
    assert_eq!(
        got.tags("Key"),
        [
            "a",
            "dir/1",
            "dir/2",
            "dir2/x",
            "e f+%",
            "z&#x1;&lt;&amp;&gt;"
        ]
    );
    assert_eq!(
        (
            got.tag("KeyCount"),
            got.tag("IsTruncated"),
            got.tag("MaxKeys")
        ),
        (Some("6"), Some("false"), Some("1000"))
    );
    assert_eq!(
        got.tag("ETag"),
        Some("&quot;900150983cd24fb0d6963f7d28e17f72&quot;")
    );
    assert_eq!(got.tag("LastModified"), Some("2023-11-14T22:13:20.000Z"));
    assert_eq!(
        (got.tag("StorageClass"), got.tag("Size")),
        (Some("STANDARD"), Some("3"))
    );
    assert_eq!(
        (got.tag("ChecksumAlgorithm"), got.tag("ChecksumType")),
        (Some("CRC64NVME"), Some("FULL_OBJECT"))
    );
    assert_eq!(got.tag("Owner"), None);
    assert!(
        listed(&w, "/lst?fetch-owner=true&list-type=2")
            .await
            .tag("Owner")
            .is_some()
    );

    let got = listed(&w, "/lst?encoding-type=url&list-type=2").await;
    assert_eq!(got.tags("Key")[4..], ["e%20f%2B%25", "z%01%3C%26%3E"]);
    assert_eq!(got.tag("EncodingType"), Some("url"));
}

#[tokio::test]
async fn listings_roll_up_and_go_on() {
    let w = World::new();
    w.bucket("lst").await;
    for key in ["a", "dir/1", "dir/2", "dir2/x", "e f+%", "z\u{1}<&>"] {
        w.filer.put("lst", key);
    }
    let got = listed(&w, "/lst?delimiter=%2F&list-type=2").await;
    assert_eq!(got.tags("Prefix"), ["", "dir/", "dir2/"]);
    assert_eq!(
        (got.tag("KeyCount"), got.tag("Delimiter")),
        (Some("5"), Some("/"))
    );
    let got = listed(&w, "/lst?delimiter=%2F&list-type=2&prefix=dir%2F").await;
    assert_eq!(got.tags("Key"), ["dir/1", "dir/2"]);
    assert_eq!(
        listed(&w, "/lst?list-type=2&start-after=dir%2F1")
            .await
            .tags("Key")
            .len(),
        4
    );

    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let got = listed(
            &w,
            &format!("/lst?{token}delimiter=%2F&list-type=2&max-keys=1"),
        )
        .await;
        seen.extend(
            got.tags("Key")
                .into_iter()
                .chain(got.tags("Prefix").into_iter().skip(1))
                .map(str::to_owned),
        );
        let Some(next) = got.tag("NextContinuationToken") else {
            break;
        };
        assert_eq!(got.tag("IsTruncated"), Some("true"));
        token = format!("continuation-token={next}&");
    }
    assert_eq!(seen, ["a", "dir/", "dir2/", "e f+%", "z&#x1;&lt;&amp;&gt;"]);

    let got = listed(&w, "/lst?max-keys=2").await;
    assert_eq!(
        (got.tags("Key"), got.tag("NextMarker")),
        (vec!["a", "dir/1"], Some("dir/1"))
    );
    assert!(got.tag("Owner").is_some() && got.tag("KeyCount").is_none());
    assert_eq!(
        listed(&w, "/lst?marker=dir%2F1&max-keys=1")
            .await
            .tags("Key"),
        ["dir/2"]
    );
    let got = listed(&w, "/lst?list-type=2&max-keys=0").await;
    assert_eq!(
        (got.tag("KeyCount"), got.tag("IsTruncated")),
        (Some("0"), Some("false"))
    );

    for bad in [
        "/lst?list-type=3",
        "/lst?list-type=2&max-keys=-1",
        "/lst?list-type=2&max-keys=x",
        "/lst?encoding-type=base64&list-type=2",
        "/lst?continuation-token=zzz&list-type=2",
        "/lst?continuation-token=&list-type=2",
    ] {
        let got = w.admin("GET", bad).await;
        assert_eq!(
            (got.status, got.code()),
            (400, "InvalidArgument"),
            "{bad}: {}",
            got.body
        );
    }
}
