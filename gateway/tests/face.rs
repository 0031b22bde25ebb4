//! The S3 face without bytes: signatures, permissions, buckets, listings, refusals, the shape of every answer.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;

use halofs_gateway::auth::identity::Credential;
use halofs_gateway::{Deps, Gateway, GatewayConfig, IdentitySource, S3Handler};
use halofs_runtime::http::{Handler, RequestBody, RequestContext};
use halofs_runtime::metrics::Registry;
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{RealClock, RealDisk};
use http_body_util::BodyExt;

#[path = "face/fake.rs"]
mod fake;
#[path = "face/matrix.rs"]
mod matrix;
#[path = "face/sign.rs"]
mod sign;
#[path = "face/wire.rs"]
mod wire;

use fake::{FakeFiler, Nothing};
use sign::Call;

const ID: &str = "0123456789abcdef0123456789abcdef";

struct World {
    handler: S3Handler,
    gateway: Arc<Gateway>,
    filer: FakeFiler,
    dir: tempfile::TempDir,
}

struct Got {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Got {
    fn code(&self) -> &str {
        self.tag("Code").unwrap_or("")
    }

    fn tag(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    }

    fn tags(&self, name: &str) -> Vec<&str> {
        self.body
            .split(&format!("<{name}>"))
            .skip(1)
            .filter_map(|t| t.split_once(&format!("</{name}>")).map(|(x, _)| x))
            .collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

const USERS: &str = r#"{"identities":[
    {"name":"admin","credentials":[{"accessKey":"ADMIN","secretKey":"admin-secret"}],"actions":["Admin"],
     "account":{"id":"acc-admin"}},
    {"name":"other","credentials":[{"accessKey":"OTHER","secretKey":"other-secret"}],"actions":["Admin"],
     "account":{"id":"acc-other"}},
    {"name":"reader","credentials":[{"accessKey":"READER","secretKey":"reader-secret"}],
     "actions":["Read:bkt","List:bkt"]},
    {"name":"homed","credentials":[{"accessKey":"HOMED","secretKey":"homed-secret"}],
     "actions":["Read:bkt/home/*","Write:bkt/home/*","List:bkt/home/*"]},
    {"name":"anonymous","actions":["Read:open"]}],
    "accounts":[{"id":"acc-admin","displayName":"The Admin"}]}"#;

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config_file = dir.path().join("s3.json");
        write(&config_file, USERS);
        let rng = Arc::new(SeededRng::new(1));
        let source = IdentitySource {
            disk: Arc::new(RealDisk),
            rng: rng.clone(),
            keys: Some(Credential {
                access_key: "ROOT".into(),
                secret_key: "root-secret".into(),
            }),
            config_file: Some(config_file),
            credentials_file: dir.path().join("credentials"),
        };
        let filer = FakeFiler::default();
        let deps = Deps {
            filer: Arc::new(filer.clone()),
            master: Arc::new(Nothing),
            volume: Arc::new(Nothing),
            clock: Arc::new(RealClock),
            rng,
            registry: Registry::new(),
        };
        let config = GatewayConfig {
            domain_names: vec!["s3.test".to_owned()],
            ..GatewayConfig::default()
        };
        let gateway = Gateway::new(config, source, deps).unwrap();
        Self {
            handler: gateway.handler(),
            gateway,
            filer,
            dir,
        }
    }

    async fn send(&self, call: Call) -> Got {
        let target = if call.query.is_empty() {
            call.path.clone()
        } else {
            format!("{}?{}", call.path, call.query)
        };
        let mut req = http::Request::builder().method(call.method).uri(target);
        for (n, v) in &call.headers {
            req = req.header(n, v);
        }
        let req = req.body(RequestBody::from_bytes(call.body)).unwrap();
        let peer = "127.0.0.1:1".parse().unwrap();
        let ctx = RequestContext {
            peer,
            request_id: ID.to_owned(),
            tls: false,
        };
        let res = self.handler.handle(req, ctx).await;
        let (parts, body) = res.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn admin(&self, method: &'static str, target: &str) -> Got {
        self.send(Call::new(method, target).sign("ADMIN", "admin-secret"))
            .await
    }

    async fn bucket(&self, name: &str) {
        let got = self.admin("PUT", &format!("/{name}")).await;
        assert_eq!(
            (got.status, got.header("location")),
            (200, format!("/{name}").as_str()),
            "{}",
            got.body
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn own_routes_and_request_ids() {
    let w = World::new();
    assert_eq!(w.send(Call::new("GET", "/-/healthz")).await.status, 200);
    assert_eq!(w.send(Call::new("GET", "/-/readyz")).await.body, "ready\n");
    assert_eq!(w.send(Call::new("GET", "/-/metrics")).await.status, 200);
    assert_eq!(w.send(Call::new("GET", "/-/nothing")).await.status, 404);
    assert_eq!(w.send(Call::new("POST", "/-/healthz")).await.status, 405);

    let got = w.admin("GET", "/nobucket/a%20key").await;
    assert_eq!(
        (got.status, got.code()),
        (404, "NoSuchBucket"),
        "{}",
        got.body
    );
    assert_eq!(
        (got.header("x-amz-request-id"), got.tag("RequestId")),
        (ID, Some(ID))
    );
    assert_eq!(got.tag("Resource"), Some("/nobucket/a key"));
    assert_eq!(got.tag("BucketName"), Some("nobucket"));
    assert!(got.tag("HostId").is_some() && got.tag("Message").is_some());
    assert_eq!(got.header("content-type"), "application/xml");

    let got = w.admin("HEAD", "/nobucket").await;
    assert_eq!(
        (
            got.status,
            got.body.as_str(),
            got.header("x-amz-request-id")
        ),
        (404, "", ID)
    );
    let got = w.admin("GET", "/").await;
    assert_eq!(got.header("x-amz-request-id"), ID);
}

#[tokio::test]
async fn buckets_live_and_die() {
    let w = World::new();
    w.bucket("bkt").await;
    let got = w.admin("PUT", "/bkt").await;
    assert_eq!((got.status, got.code()), (409, "BucketAlreadyOwnedByYou"));
    let got = w
        .send(Call::new("PUT", "/bkt").sign("OTHER", "other-secret"))
        .await;
    assert_eq!((got.status, got.code()), (409, "BucketAlreadyExists"));

    let got = w.admin("HEAD", "/bkt").await;
    assert_eq!(
        (got.status, got.header("x-amz-bucket-region")),
        (200, "us-east-1")
    );
    let got = w.admin("GET", "/bkt?location").await;
    assert!(
        got.body
            .contains("<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""),
        "{}",
        got.body
    );

    let body = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let got = w
        .send(
            Call::new("PUT", "/bk2")
                .body(body)
                .sign("ADMIN", "admin-secret"),
        )
        .await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert!(
        w.admin("GET", "/bk2?location")
            .await
            .body
            .contains("eu-west-1")
    );
    assert_eq!(
        w.admin("HEAD", "/bk2").await.header("x-amz-bucket-region"),
        "eu-west-1"
    );

    w.filer.put("bk2", "k");
    let got = w.admin("DELETE", "/bk2").await;
    assert_eq!((got.status, got.code()), (409, "BucketNotEmpty"));
    let got = w.admin("DELETE", "/bkt").await;
    assert_eq!((got.status, got.body.as_str()), (204, ""));
    assert_eq!(w.admin("DELETE", "/bkt").await.code(), "NoSuchBucket");
    assert_eq!(w.admin("HEAD", "/bkt").await.status, 404);
}

#[tokio::test]
async fn create_bucket_refuses_what_is_not_built() {
    let w = World::new();
    let table = [
        ("x-amz-acl", "private", 200, ""),
        (
            "x-amz-acl",
            "public-read",
            400,
            "AccessControlListNotSupported",
        ),
        (
            "x-amz-acl",
            "bucket-owner-full-control",
            400,
            "InvalidBucketAclWithObjectOwnership",
        ),
        (
            "x-amz-bucket-object-lock-enabled",
            "true",
            501,
            "NotImplemented",
        ),
        ("x-amz-object-ownership", "BucketOwnerEnforced", 200, ""),
        (
            "x-amz-object-ownership",
            "ObjectWriter",
            501,
            "NotImplemented",
        ),
        (
            "x-amz-bucket-namespace",
            "account-regional",
            400,
            "InvalidArgument",
        ),
        (
            "x-amz-grant-read",
            "id=\"x\"",
            400,
            "AccessControlListNotSupported",
        ),
    ];
    for (i, (name, value, status, code)) in table.into_iter().enumerate() {
        let call = Call::new("PUT", &format!("/bucket-{i}"))
            .header(name, value)
            .sign("ADMIN", "admin-secret");
        let got = w.send(call).await;
        assert_eq!(
            (got.status, got.code()),
            (status, code),
            "{name}: {value}: {}",
            got.body
        );
        let made = w.admin("HEAD", &format!("/bucket-{i}")).await.status == 200;
        assert_eq!(made, status == 200, "{name}: {value}");
    }
    for bad in [
        "/ab",
        "/Upper",
        "/under_score",
        "/-abc",
        "/a..b",
        "/192.168.1.1",
        "/xn--abc",
        "/abc-s3alias",
    ] {
        let got = w.admin("PUT", bad).await;
        assert_eq!(
            (got.status, got.code()),
            (400, "InvalidBucketName"),
            "{bad}"
        );
    }
    let bodies = [
        ("<oops", "MalformedXML"),
        (
            "<CreateBucketConfiguration><LocationConstraint>a b</LocationConstraint></CreateBucketConfiguration>",
            "InvalidLocationConstraint",
        ),
    ];
    for (body, code) in bodies {
        let got = w
            .send(
                Call::new("PUT", "/bodied")
                    .body(body)
                    .sign("ADMIN", "admin-secret"),
            )
            .await;
        assert_eq!(
            (got.status, got.code()),
            (400, code),
            "{body}: {}",
            got.body
        );
    }
}

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
async fn listings_page_roll_up_and_encode() {
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

#[tokio::test]
async fn what_is_not_built_says_so() {
    let w = World::new();
    w.bucket("cfg").await;
    w.filer.put("cfg", "k");
    let before = w.filer.writes();
    let table: &[(&'static str, &str, u16, &str)] = &[
        ("GET", "/cfg?abac", 200, "<Status>Disabled</Status>"),
        (
            "GET",
            "/cfg?accelerate",
            200,
            "<AccelerateConfiguration xmlns",
        ),
        ("GET", "/cfg?acl", 200, "FULL_CONTROL"),
        ("GET", "/cfg/k?acl", 200, "FULL_CONTROL"),
        ("GET", "/cfg/none?acl", 404, "NoSuchKey"),
        (
            "GET",
            "/cfg?analytics",
            200,
            "<IsTruncated>false</IsTruncated>",
        ),
        ("GET", "/cfg?analytics&id=1", 404, "NoSuchConfiguration"),
        ("DELETE", "/cfg?analytics&id=1", 404, "NoSuchConfiguration"),
        (
            "GET",
            "/cfg?inventory",
            200,
            "<IsTruncated>false</IsTruncated>",
        ),
        (
            "GET",
            "/cfg?metrics",
            200,
            "<IsTruncated>false</IsTruncated>",
        ),
        (
            "GET",
            "/cfg?intelligent-tiering",
            200,
            "<IsTruncated>false</IsTruncated>",
        ),
        ("GET", "/cfg?cors", 404, "NoSuchCORSConfiguration"),
        ("DELETE", "/cfg?cors", 501, "NotImplemented"),
        (
            "GET",
            "/cfg?encryption",
            200,
            "<SSEAlgorithm>AES256</SSEAlgorithm>",
        ),
        ("GET", "/cfg?lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("GET", "/cfg?logging", 200, "<BucketLoggingStatus xmlns"),
        (
            "GET",
            "/cfg?metadataConfiguration",
            404,
            "NoSuchConfiguration",
        ),
        (
            "GET",
            "/cfg?notification",
            200,
            "<NotificationConfiguration xmlns",
        ),
        (
            "GET",
            "/cfg?object-lock",
            404,
            "ObjectLockConfigurationNotFoundError",
        ),
        ("GET", "/cfg?ownershipControls", 200, "BucketOwnerEnforced"),
        ("GET", "/cfg?policy", 404, "NoSuchBucketPolicy"),
        ("GET", "/cfg?policyStatus", 404, "NoSuchBucketPolicy"),
        (
            "GET",
            "/cfg?publicAccessBlock",
            404,
            "NoSuchPublicAccessBlockConfiguration",
        ),
        (
            "GET",
            "/cfg?replication",
            404,
            "ReplicationConfigurationNotFoundError",
        ),
        (
            "GET",
            "/cfg?requestPayment",
            200,
            "<Payer>BucketOwner</Payer>",
        ),
        ("GET", "/cfg?tagging", 404, "NoSuchTagSet"),
        (
            "GET",
            "/cfg?versioning",
            200,
            "<VersioningConfiguration xmlns",
        ),
        ("GET", "/cfg?website", 404, "NoSuchWebsiteConfiguration"),
        ("DELETE", "/cfg?website", 204, ""),
        ("GET", "/cfg?versions", 501, "NotImplemented"),
        ("GET", "/cfg?session", 501, "NotImplemented"),
        ("GET", "/cfg/k?tagging", 200, "<TagSet></TagSet>"),
        ("GET", "/cfg/none?tagging", 404, "NoSuchKey"),
        ("DELETE", "/cfg/k?tagging", 501, "NotImplemented"),
        (
            "GET",
            "/cfg/k?legal-hold",
            404,
            "NoSuchObjectLockConfiguration",
        ),
        (
            "GET",
            "/cfg/k?retention",
            404,
            "NoSuchObjectLockConfiguration",
        ),
        ("GET", "/cfg/k?torrent", 501, "NotImplemented"),
        ("GET", "/cfg/k?annotation", 501, "NotImplemented"),
        ("POST", "/cfg/k?restore", 403, "InvalidObjectState"),
        ("PUT", "/cfg/k?renameObject", 0, ""),
        ("GET", "/nobucket?cors", 404, "NoSuchBucket"),
        ("DELETE", "/nobucket?website", 404, "NoSuchBucket"),
        ("DELETE", "/cfg?acl", 501, "NotImplemented"),
        ("DELETE", "/cfg?versioning", 501, "NotImplemented"),
        ("DELETE", "/cfg?frobnicate", 501, "NotImplemented"),
        ("DELETE", "/cfg/k?acl", 501, "NotImplemented"),
        ("PUT", "/cfg?frobnicate", 501, "NotImplemented"),
        ("PUT", "/cfg?versions", 501, "NotImplemented"),
        ("GET", "/cfg?frobnicate", 501, "NotImplemented"),
        ("GET", "/cfg/k?frobnicate", 501, "NotImplemented"),
        ("GET", "/cfg/k?encryption", 501, "NotImplemented"),
        ("POST", "/cfg", 501, "NotImplemented"),
        ("POST", "/cfg/k", 501, "NotImplemented"),
        ("POST", "/cfg/k?frobnicate", 501, "NotImplemented"),
        ("PATCH", "/cfg/k", 501, "NotImplemented"),
        ("OPTIONS", "/cfg/k", 403, "AccessForbidden"),
        ("GET", "/cfg/k?versionId=3", 400, "InvalidArgument"),
        ("DELETE", "/cfg/k?versionId=", 400, "InvalidArgument"),
        ("GET", "/cfg/a%00b", 400, "InvalidArgument"),
        ("DELETE", "/cfg/a%00b", 400, "InvalidArgument"),
        ("GET", "/cfg/%ff", 400, "InvalidURI"),
        ("POST", "/WriteGetObjectResponse", 501, "NotImplemented"),
    ];
    for (method, target, status, holds) in table {
        let got = w.admin(method, target).await;
        if *status != 0 {
            assert_eq!(got.status, *status, "{method} {target}: {}", got.body);
        } else {
            assert!(
                got.status >= 400 && got.status != 500,
                "{method} {target}: {}",
                got.body
            );
        }
        assert!(got.body.contains(holds), "{method} {target}: {}", got.body);
        assert!(!got.body.contains("ListBucketResult"), "{method} {target}");
    }
    let mut escaped = Call::new("DELETE", "/cfg?acl").sign("ADMIN", "admin-secret");
    escaped.query = "ac%6C".to_owned();
    assert_eq!(
        w.send(escaped).await.code(),
        "NotImplemented",
        "routed and checked alike"
    );
    assert_eq!(w.filer.writes(), before, "nothing was changed");
}

#[tokio::test]
async fn puts_of_configuration_are_501_once_understood() {
    let w = World::new();
    w.bucket("cfg").await;
    let put = |target: &str, body: &str| {
        Call::new("PUT", target)
            .body(body)
            .sign("ADMIN", "admin-secret")
    };
    let table = [
        (
            "/cfg?versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            501,
        ),
        ("/cfg?tagging", "<Tagging><TagSet></TagSet></Tagging>", 501),
        ("/cfg?policy", "{}", 501),
        (
            "/cfg?requestPayment",
            "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
            200,
        ),
        (
            "/cfg?requestPayment",
            "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
            501,
        ),
        (
            "/cfg?accelerate",
            "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>",
            200,
        ),
        (
            "/cfg?accelerate",
            "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
            501,
        ),
        (
            "/cfg?acl",
            "<AccessControlPolicy></AccessControlPolicy>",
            501,
        ),
        ("/nobucket?policy", "{}", 404),
        ("/cfg?versioning", "<Versioning", 400),
    ];
    for (target, body, status) in table {
        let got = w.send(put(target, body)).await;
        assert_eq!(got.status, status, "{target} {body}: {}", got.body);
    }
}

#[tokio::test]
async fn documents_are_checked_before_they_count() {
    let w = World::new();
    w.bucket("chk").await;
    w.filer.put("chk", "k");
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    let send = |name: &'static str, value: &'static str| {
        let call = Call::new("POST", "/chk?delete")
            .body(body)
            .header(name, value);
        w.send(call.sign("ADMIN", "admin-secret"))
    };
    let before = w.filer.writes();
    for (name, value, code) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("content-md5", "nonsense", "InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-meta-none", "x", "InvalidRequest"),
    ] {
        let got = send(name, value).await;
        assert_eq!(
            (got.status, got.code()),
            (400, code),
            "{name}: {}",
            got.body
        );
        assert_eq!(got.header("x-amz-request-id"), ID);
    }
    let mut call = Call::new("POST", "/chk?delete")
        .body(body)
        .header("content-md5", "x")
        .sign("ADMIN", "admin-secret");
    call.body[9] = b'X';
    assert_eq!(w.send(call).await.status, 400);
    let mut call = Call::new("PUT", "/chk?policy")
        .body("{}")
        .sign("ADMIN", "admin-secret");
    call.body[0] = b'[';
    assert_eq!(w.send(call).await.code(), "XAmzContentSHA256Mismatch");
    let big = Call::new("PUT", "/chk?policy")
        .body(vec![b' '; (2 << 20) + 1])
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(big).await.code(), "MaxMessageLengthExceeded");
    assert_eq!(w.filer.writes(), before);
}

#[tokio::test]
async fn signatures_decide() {
    let w = World::new();
    w.bucket("bkt").await;
    w.bucket("open").await;
    w.filer.put("bkt", "k");
    let head = |k: &str, s: &str| w.send(Call::new("HEAD", "/bkt").sign(k, s));
    assert_eq!(head("ADMIN", "admin-secret").await.status, 200);
    assert_eq!(head("ROOT", "root-secret").await.status, 200);
    assert_eq!(head("ADMIN", "wrong").await.status, 403);
    let get = |k: &str, s: &str| w.send(Call::new("GET", "/bkt?location").sign(k, s));
    assert_eq!(get("ADMIN", "wrong").await.code(), "SignatureDoesNotMatch");
    assert_eq!(get("NOBODY", "x").await.code(), "InvalidAccessKeyId");
    assert_eq!(
        w.send(Call::new("GET", "/bkt?location")).await.code(),
        "AccessDenied"
    );

    let mut call = Call::new("GET", "/bkt?location").sign("ADMIN", "admin-secret");
    call.headers
        .push(("x-amz-copy-source".to_owned(), "/bkt/k".to_owned()));
    assert_eq!(w.send(call).await.code(), "AccessDenied");
    let call = Call::new("GET", "/bkt?location")
        .header("x-amz-security-token", "t")
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(call).await.code(), "InvalidToken");
    let call = Call::new("GET", "/bkt?location").sign_as(
        "ADMIN",
        "admin-secret",
        "UNSIGNED-PAYLOAD",
        "eu-north-1/s3",
    );
    assert_eq!(w.send(call).await.status, 200, "any region is accepted");
    let call = Call::new("GET", "/bkt?location").sign_as(
        "ADMIN",
        "admin-secret",
        "UNSIGNED-PAYLOAD",
        "r/iam",
    );
    assert_eq!(w.send(call).await.code(), "AuthorizationHeaderMalformed");
    let call = Call::new("GET", "/bkt?location")
        .sign("ADMIN", "admin-secret")
        .sign("ADMIN", "admin-secret");
    assert_eq!(w.send(call).await.code(), "InvalidArgument");

    let presigned = |expires, age| {
        w.send(Call::new("GET", "/bkt?location").presign("ADMIN", "admin-secret", expires, age))
    };
    assert_eq!(presigned(60, 0).await.status, 200);
    assert_eq!(presigned(60, 120).await.code(), "AccessDenied");
    assert_eq!(
        presigned(604_801, 0).await.code(),
        "AuthorizationQueryParametersError"
    );
    let mut call = Call::new("GET", "/bkt?location").presign("ADMIN", "admin-secret", 60, 0);
    call.path = "/open".to_owned();
    assert_eq!(w.send(call).await.code(), "SignatureDoesNotMatch");

    let call = Call::new("GET", "/bkt").header("x-amz-expected-bucket-owner", "acc-admin");
    assert_eq!(w.send(call.sign("ADMIN", "admin-secret")).await.status, 200);
    let call = Call::new("GET", "/bkt").header("x-amz-expected-bucket-owner", "acc-other");
    let got = w.send(call.sign("ADMIN", "admin-secret")).await;
    assert_eq!((got.status, got.code()), (403, "AccessDenied"));
}

#[tokio::test]
async fn permissions_hold_for_every_way_in() {
    let w = World::new();
    for b in ["bkt", "bkt234", "open", "opener"] {
        w.bucket(b).await;
    }
    let all: &[(&str, &str, &'static str, &str, bool)] = &[
        (
            "READER",
            "reader-secret",
            "GET",
            "/bkt234?list-type=2",
            false,
        ),
        ("READER", "reader-secret", "GET", "/bkt234/k", false),
        ("READER", "reader-secret", "PUT", "/bkt234", false),
        ("READER", "reader-secret", "DELETE", "/bkt234", false),
        (
            "HOMED",
            "homed-secret",
            "GET",
            "/bkt234?prefix=home%2F",
            false,
        ),
        ("OTHER", "other-secret", "GET", "/bkt234?list-type=2", true),
        ("", "", "GET", "/open/none?acl", true),
        ("", "", "GET", "/open?list-type=2", false),
        ("", "", "GET", "/opener/none?acl", false),
        ("", "", "DELETE", "/open/none", false),
        ("", "", "GET", "/", false),
    ];
    for (key, secret, method, target, ok) in all {
        let call = Call::new(method, target);
        let call = if key.is_empty() {
            call
        } else {
            call.sign(key, secret)
        };
        let got = w.send(call).await;
        assert_eq!(
            got.status != 403,
            *ok,
            "{key} {method} {target}: {} {}",
            got.status,
            got.body
        );
        if !ok {
            assert_eq!(got.code(), "AccessDenied");
        }
    }
    let got = w
        .send(Call::new("HEAD", "/bkt234").sign("READER", "reader-secret"))
        .await;
    assert_eq!(
        (got.status, got.header("x-amz-bucket-region")),
        (403, "us-east-1")
    );
}

#[tokio::test]
async fn prefixes_bind_listings_copies_and_multi_deletes() {
    let w = World::new();
    w.bucket("bkt").await;
    w.bucket("two").await;
    for key in ["home/a", "homeless", "k"] {
        w.filer.put("bkt", key);
    }
    let send = |call: Call| w.send(call.sign("HOMED", "homed-secret"));
    for (target, ok) in [
        ("/bkt?list-type=2&prefix=home%2F", true),
        ("/bkt?list-type=2&prefix=home%2Fa", true),
        ("/bkt?list-type=2&prefix=home", false),
        ("/bkt?list-type=2", false),
        ("/bkt?prefix=home%2F", true),
        ("/bkt", false),
        ("/bkt?uploads", false),
        ("/bkt?prefix=home%2F&uploads", true),
        ("/bkt/home/a?acl", true),
        ("/bkt/homeless?acl", false),
        ("/bkt/home/../k?acl", true),
        ("/bkt?acl", false),
        ("/bkt?location", true),
    ] {
        let got = send(Call::new("GET", target)).await;
        assert_eq!(got.status != 403, ok, "{target}: {}", got.body);
    }
    let copy = |from: &str, to: &str| send(Call::new("PUT", to).header("x-amz-copy-source", from));
    for (from, to, denied) in [
        ("/bkt/home/a", "/bkt/k", true),
        ("/bkt/k", "/bkt/home/b", true),
        ("/bkt/home%2F..%2Fk", "/bkt/home/b", false),
        ("bkt/%6B", "/bkt/home/b", true),
        ("/two/k", "/bkt/home/b", true),
        ("/bkt/home/a?versionId=7", "/bkt/home/b", false),
    ] {
        let got = copy(from, to).await;
        assert_eq!(
            got.status == 403,
            denied,
            "{from} -> {to}: {} {}",
            got.status,
            got.body
        );
    }
    let delete = |keys: &[&str]| {
        let list: String = keys
            .iter()
            .map(|k| format!("<Object><Key>{k}</Key></Object>"))
            .collect();
        let body = format!("<Delete>{list}</Delete>");
        let md5 = {
            use base64::Engine as _;
            use md5::Digest as _;
            base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body.as_bytes()))
        };
        send(
            Call::new("POST", "/bkt?delete")
                .body(body)
                .header("content-md5", &md5),
        )
    };
    assert_eq!(delete(&["home/a", "k"]).await.code(), "AccessDenied");
    assert_eq!(
        w.admin("GET", "/bkt?list-type=2").await.tags("Key").len(),
        3
    );
    let got = delete(&["home/a"]).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(
        w.admin("GET", "/bkt?list-type=2").await.tags("Key"),
        ["homeless", "k"]
    );
}

#[tokio::test]
async fn virtual_hosts_name_buckets() {
    let w = World::new();
    w.bucket("vhost").await;
    w.filer.put("vhost", "k");
    let call = |target: &str, host: &str| {
        Call::new("GET", target)
            .header("host", host)
            .sign("ADMIN", "admin-secret")
    };
    assert_eq!(
        w.send(call("/?list-type=2", "vhost.s3.test:8333"))
            .await
            .tags("Key"),
        ["k"]
    );
    assert_eq!(w.send(call("/k?acl", "vhost.s3.test")).await.status, 200);
    assert_eq!(
        w.send(call("/vhost?list-type=2", "s3.test"))
            .await
            .tags("Key"),
        ["k"]
    );
    assert_eq!(
        w.send(call("/vhost?list-type=2", "localhost:8333"))
            .await
            .tags("Key"),
        ["k"]
    );
    let got = w.send(call("/none?acl", "vhost.s3.test")).await;
    assert_eq!(
        (got.code(), got.tag("Resource")),
        ("NoSuchKey", Some("/vhost/none"))
    );
    assert_eq!(
        w.send(call("/-/healthz", "vhost.s3.test")).await.code(),
        "NoSuchKey"
    );
    let mut moved = call("/k?acl", "vhost.s3.test");
    moved
        .headers
        .iter_mut()
        .filter(|(n, _)| n == "host")
        .for_each(|(_, v)| "other.s3.test".clone_into(v));
    assert_eq!(w.send(moved).await.code(), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_identities() {
    let w = World::new();
    let file = w.dir.path().join("s3.json");
    write(&file, r#"{"identities":[{"name":"x","actions":["Raed"]}]}"#);
    let error = w.gateway.reload().unwrap_err().to_string();
    assert!(
        error.contains("s3.json: identities[0].actions[0]: \"Raed\""),
        "{error}"
    );
    assert_eq!(w.admin("GET", "/").await.status, 200);
    write(
        &file,
        r#"{"identities":[{"name":"x","credentials":[{"accessKey":"NEW","secretKey":"s"}],"actions":["Admin"]}]}"#,
    );
    w.gateway.reload().unwrap();
    assert_eq!(w.admin("GET", "/").await.code(), "InvalidAccessKeyId");
    assert_eq!(
        w.send(Call::new("GET", "/").sign("NEW", "s")).await.status,
        200
    );
}
