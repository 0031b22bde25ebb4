use halofs_client::master::{MasterApi, VolumeOwner};
use halofs_client::volume::VolumeApi;
use halofs_runtime::http::RequestBody;
use halofs_store::MemStore;
use halofs_types::{FileId, Uuid};
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::fake::{Fake, open, wish};

/// A volume server's port that stores nothing.
struct Uploads;

impl Handler for Uploads {
    fn handle(
        &self,
        req: HttpRequest,
        _: RequestContext,
    ) -> Pin<Box<dyn Future<Output = HttpResponse> + Send + '_>> {
        let bad = req.uri().query().is_some_and(|q| q.contains("cm=true"));
        let (status, body) = if bad {
            (400, r#"{"error":"no manifest"}"#.to_owned())
        } else {
            (
                201,
                format!(r#"{{"name":"{}","size":3,"eTag":"0a"}}"#, req.uri().path()),
            )
        };
        let response = http::Response::builder()
            .status(status)
            .body(full(body))
            .unwrap();
        Box::pin(std::future::ready(response))
    }
}

fn context() -> RequestContext {
    RequestContext {
        peer: ([127, 0, 0, 1], 1).into(),
        request_id: String::new(),
        tls: false,
        caller: halofs_runtime::http::Caller::default(),
    }
}

struct Api {
    main: NativeMain,
    node: Arc<Fake>,
}

impl Api {
    async fn new() -> Self {
        let master = open(Arc::new(MemStore::new(Uuid([1; 16]))), true)
            .await
            .unwrap();
        let node = Arc::new(Fake::default());
        master
            .attach("n1", Arc::clone(&node) as Arc<dyn VolumeApi>)
            .await
            .unwrap();
        let registry = Registry::new();
        metrics::register(&master, &registry);
        Self {
            main: NativeMain::new(master, registry, Some(Arc::new(Uploads))),
            node,
        }
    }

    async fn raw(
        &self,
        method: &str,
        uri: &str,
        kind: &str,
        body: &str,
    ) -> (u16, http::HeaderMap, String) {
        let req = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, kind);
        let req = req.body(RequestBody::from_bytes(body.to_owned())).unwrap();
        let (head, body) = self.main.answer(req, context()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            head.status.as_u16(),
            head.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    async fn get(&self, uri: &str) -> (u16, Value) {
        let (status, headers, body) = self.raw("GET", uri, "", "").await;
        assert_eq!(headers["content-type"], "application/json", "{uri}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{uri}");
        (status, serde_json::from_str(&body).unwrap())
    }
}

fn names(v: &Value) -> Vec<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_readme_s_assign_and_lookup() {
    let api = Api::new().await;
    let (status, v) = api.get("/dir/assign").await;
    assert_eq!(
        (status, names(&v)),
        (200, vec!["count", "fid", "publicUrl", "url"]),
        "{v}"
    );
    assert_eq!(
        (v["count"].as_u64(), v["url"].as_str()),
        (Some(1), Some("127.0.0.1:8080"))
    );
    assert_eq!(v["publicUrl"], "localhost:8080");
    let fid: FileId = v["fid"].as_str().unwrap().parse().unwrap();
    let lookup = json!({
        "volumeId": fid.volume.to_string(),
        "locations": [{ "publicUrl": "localhost:8080", "url": "127.0.0.1:8080" }],
    });
    for uri in [
        "volumeId=V",
        "volumeId=V,01637037d6",
        "fileId=V,01637037d6",
        "volumeId=V/x&collection=c&read=yes&",
    ] {
        let uri = format!("/dir/lookup?{}", uri.replace('V', &fid.volume.to_string()));
        assert_eq!(api.get(&uri).await, (200, lookup.clone()), "{uri}");
    }
    let (_, detail) = api
        .get(&format!("/dir/lookup?detail=1&volumeId={}", fid.volume))
        .await;
    assert_eq!(
        names(&detail["locations"][0]),
        ["dataCenter", "grpcPort", "publicUrl", "rack", "url"]
    );
    // The families of two assigns never meet, though nobody reserved more than one key.
    let (_, next) = api.get("/dir/assign").await;
    let next: FileId = next["fid"].as_str().unwrap().parse().unwrap();
    assert!(next.key.0 >= fid.key.0 + 256);
    let (_, many) = api.get("/dir/assign?count=5").await;
    assert_eq!(many["count"], 5);
}

/// Requests, their status, and what their error says.
const MISTAKES: &[(&str, u16, &str)] = &[
    (
        "/dir/assign?replication=001",
        406,
        "001 needs 2 nodes in one rack; rack DefaultRack has 1",
    ),
    ("/dir/assign?replication=010", 406, "010 needs 2 racks"),
    (
        "/dir/assign?replication=100",
        406,
        "100 needs 2 data centres",
    ),
    ("/dir/assign?replication=abc", 406, "three digits"),
    ("/dir/assign?replication=0001", 406, "three digits"),
    ("/dir/assign?replication=900", 406, "three digits"),
    ("/dir/assign?ttl=3m", 406, "ttl is not built"),
    ("/dir/assign?ttl=5", 406, "ttl is not built"),
    ("/dir/assign?ttl=3x", 406, "m h d w M y"),
    ("/dir/assign?ttl=mm", 406, "m h d w M y"),
    ("/dir/assign?preallocate=x", 406, "preallocate"),
    (
        "/dir/assign?writableVolumeCount=-1",
        406,
        "writableVolumeCount",
    ),
    ("/dir/assign?dataSize=1e6", 406, "dataSize"),
    (
        "/dir/assign?dataCenter=mars",
        400,
        "mars is not known; there is DefaultDataCenter",
    ),
    (
        "/dir/assign?rack=r9",
        406,
        "rack r9 has reported; there is DefaultDataCenter/DefaultRack/127.0.0.1:8080",
    ),
    (
        "/dir/assign?dataNode=1.2.3.4:5",
        406,
        "node 1.2.3.4:5 has reported; there is DefaultDataCenter/DefaultRack/127.0.0.1:8080",
    ),
    (
        "/dir/assign?disk=ssd",
        406,
        "no volume server has a disk of type ssd",
    ),
    ("/dir/assign?count=1048577", 400, "1048576"),
    ("/dir/assign?count=99999999999999999999999", 400, "1048576"),
    ("/dir/assign?collection=a%2fb", 400, "collection"),
    ("/dir/assign?collection=..", 400, "collection"),
    ("/dir/assign?collection=%00", 400, "control"),
    ("/dir/assign?collection=%zz", 400, "hex digits"),
    ("/dir/assign?collection=%f", 400, "hex digits"),
    ("/dir/assign?collection=%ff", 400, "UTF-8"),
    ("/dir/lookup", 404, "Unknown volume id "),
    ("/dir/lookup?volumeId=x", 404, "Unknown volume id x"),
    ("/dir/lookup?volumeId=0", 404, "Unknown volume id 0"),
    (
        "/dir/lookup?volumeId=4294967296",
        404,
        "Unknown volume id 4294967296",
    ),
    ("/dir/lookup?volumeId=77", 404, "volume id 77 not found"),
    ("/vol/grow", 406, "can not parse parameter count"),
    ("/vol/grow?count=x", 406, "can not parse parameter count"),
    ("/vol/grow?count=0", 406, "can not parse parameter count"),
    (
        "/vol/grow?count=1000000",
        406,
        "volumes left, not enough for 1000000",
    ),
    ("/vol/grow?count=1&replication=001", 406, "000"),
    ("/vol/vacuum?garbageThreshold=x", 406, "garbageThreshold"),
    ("/vol/vacuum?garbageThreshold=7", 406, "garbageThreshold"),
    ("/vol/vacuum", 501, "vacuum"),
    ("/col/delete", 400, "does not exist"),
    ("/col/delete?collection=nope", 400, "does not exist"),
    ("/collection/info?collection=nope", 404, "does not exist"),
    ("/submit", 405, "POST"),
    ("/nothing/here", 404, "there is nothing at /nothing/here"),
    ("/favicon.ico", 404, "favicon"),
    ("/77,01637037d6", 404, "volume id 77 not found"),
    (
        "/99999999999,01637037d6",
        404,
        "volume id 99999999999 not found",
    ),
];

#[tokio::test]
async fn mistakes_are_json_with_their_status() {
    let api = Api::new().await;
    let (_, ok) = api.get("/dir/assign").await;
    assert_eq!(ok["count"], 1);
    for (uri, want, text) in MISTAKES {
        let (status, v) = api.get(uri).await;
        let error = v["error"].as_str().unwrap_or_default();
        assert_eq!(status, *want, "{uri}: {v}");
        assert!(error.contains(text), "{uri}: {error}");
        assert!(
            v.get("count").is_none() && v.get("fid").is_none(),
            "{uri}: {v}"
        );
    }
    for (method, uri, want) in [
        ("POST", "/submit?replication=001", 406),
        ("POST", "/cluster/status", 405),
        ("DELETE", "/dir/nope", 404),
    ] {
        let (status, _, body) = api.raw(method, uri, "", "").await;
        assert_eq!(status, want, "{body}");
    }
    let (status, _, body) = api
        .raw("POST", "/dir/assign", "multipart/form-data", "x")
        .await;
    assert_eq!(status, 400, "{body}");
    let (status, _, _) = api
        .raw(
            "POST",
            "/dir/assign",
            "application/x-www-form-urlencoded",
            &"a".repeat(70_000),
        )
        .await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn fids_lie_where_they_were_asked_for() {
    let api = Api::new().await;
    let own = "dataCenter=DefaultDataCenter&rack=DefaultRack&dataNode=127.0.0.1:8080";
    for site in own.split('&').chain([own]) {
        let (status, v) = api.get(&format!("/dir/assign?{site}")).await;
        assert_eq!(
            (status, v["url"].as_str()),
            (200, Some("127.0.0.1:8080")),
            "{v}"
        );
        let (status, v) = api.get(&format!("/vol/grow?count=1&{site}")).await;
        assert_eq!((status, v["count"].as_u64()), (200, Some(1)), "{v}");
    }
    // One name of three is another's: neither the volumes that are there nor new ones will do.
    for (site, want) in [
        (own.replace("DefaultDataCenter", "mars"), 400),
        (own.replace("DefaultRack", "r9"), 406),
        (own.replace(":8080", ":8081"), 406),
    ] {
        for (uri, want) in [("/dir/assign?count=1", want), ("/vol/grow?count=1", 406)] {
            let (status, v) = api.get(&format!("{uri}&{site}")).await;
            let error = v["error"].as_str().unwrap_or_default();
            assert_eq!(status, want, "{uri}&{site}: {error}");
            assert!(error.contains("there is DefaultDataCenter"), "{error}");
        }
    }
}

#[tokio::test]
async fn parameters_come_from_query_and_forms() {
    let api = Api::new().await;
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let (status, _, body) = api
        .raw("POST", "/dir/assign?count=2", form, "count=3&collection=c")
        .await;
    let v: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, v["count"].as_u64()), (200, Some(3)), "{v}");
    let parts = "--b\r\nContent-Disposition: form-data; name=\"count\"\r\n\r\n4\r\n--b--\r\n";
    let (_, _, body) = api
        .raw(
            "POST",
            "/dir/assign",
            "multipart/form-data; boundary=b",
            parts,
        )
        .await;
    assert!(body.contains("\"count\":4"), "{body}");
    let (_, _, body) = api
        .raw("GET", "/dir/assign?pretty=y&count=zzz", "", "")
        .await;
    assert!(body.starts_with("{\n  \"count\": 1,"), "{body}");
    assert!(Params::query("&a=1&&b=x+y%21&a=2&").unwrap().get("b") == "x y!");
}

#[tokio::test]
async fn status_documents_have_what_old_clients_read() {
    let api = Api::new().await;
    api.get("/dir/assign?collection=pics").await;
    let (_, v) = api.get("/dir/status").await;
    let t = &v["Topology"];
    assert!(t["Free"].as_u64() > Some(0) && t["Max"].as_u64() > t["Free"].as_u64());
    let dc = &t["DataCenters"][0];
    let rack = &dc["Racks"][0];
    let node = &rack["DataNodes"][0];
    assert_eq!(
        (dc["Id"].as_str(), rack["Id"].as_str()),
        (Some("DefaultDataCenter"), Some("DefaultRack"))
    );
    for at in [dc, rack, node] {
        assert!(at["Free"].is_u64() && at["Max"].is_u64(), "{at}");
    }
    assert_eq!(
        (node["Volumes"].as_u64(), node["VolumeIds"].as_str()),
        (Some(2), Some("1-2"))
    );
    assert_eq!(
        (&t["Layouts"], t["layouts"][0]["collection"].as_str()),
        (&t["layouts"], Some("pics"))
    );
    let (_, v) = api.get("/vol/status").await;
    let info =
        &v["Volumes"]["DataCenters"]["DefaultDataCenter"]["DefaultRack"]["127.0.0.1:8080"][0];
    assert_eq!(
        (info["Id"].as_u64(), info["Collection"].as_str()),
        (Some(1), Some("pics"))
    );
    let (_, v) = api.get("/cluster/status").await;
    let want =
        json!({ "IsLeader": true, "Leader": "127.0.0.1:9333", "Peers": [], "MaxVolumeId": 2 });
    assert_eq!(v, want);
    let (_, v) = api.get("/collection/info?collection=pics").await;
    assert_eq!(v["VolumeCount"], 2);
    let (status, v) = api.get("/vol/grow?count=3&collection=pics").await;
    assert_eq!((status, v), (200, json!({ "count": 3 })));
    for uri in ["/healthz", "/readyz", "/cluster/healthz"] {
        assert_eq!(api.get(uri).await.0, 200, "{uri}");
    }
    let (status, headers, text) = api.raw("GET", "/metrics", "", "").await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (200, exposition::CONTENT_TYPE)
    );
    assert!(text.contains("HaloFS_master_is_leader 1\n"), "{text}");
    let (status, headers, text) = api.raw("GET", "/", "", "").await;
    assert_eq!(
        (status, headers.contains_key("content-security-policy")),
        (200, true)
    );
    assert!(
        text.contains("<td>pics<td>native<td>127.0.0.1:8080"),
        "{text}"
    );
}

#[tokio::test]
async fn a_fid_at_main_is_a_redirect_with_method_and_query_kept() {
    let api = Api::new().await;
    let (_, v) = api.get("/dir/assign").await;
    let fid = v["fid"].as_str().unwrap();
    let (status, headers, _) = api
        .raw("PUT", &format!("/{fid}.jpg?ts=5&dl=true"), "", "bytes")
        .await;
    let to = headers["location"].to_str().unwrap();
    assert_eq!(
        (status, to),
        (
            308,
            format!("http://localhost:8080/{fid}.jpg?ts=5&dl=true").as_str()
        )
    );
}

#[tokio::test]
async fn submit_is_assign_and_upload() {
    let api = Api::new().await;
    let (status, _, body) = api
        .raw("POST", "/submit?collection=c&pretty=", "text/plain", "abc")
        .await;
    let v: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, names(&v)),
        (201, vec!["eTag", "fid", "fileName", "fileUrl", "size"]),
        "{v}"
    );
    let fid = v["fid"].as_str().unwrap();
    assert_eq!(v["fileUrl"], format!("localhost:8080/{fid}"));
    assert_eq!(
        (v["fileName"].as_str(), v["size"].as_u64()),
        (Some(format!("/{fid}").as_str()), Some(3))
    );
    let (status, _, body) = api
        .raw("POST", "/submit?cm=true", "text/plain", "abc")
        .await;
    assert!(status == 400 && body.contains("no manifest"), "{body}");
}

#[tokio::test]
async fn filer_volumes_do_not_exist_for_native_clients() {
    let api = Api::new().await;
    let a = api
        .main
        .master
        .assign(wish(VolumeOwner::Filer))
        .await
        .unwrap();
    let b = api
        .main
        .master
        .assign(wish(VolumeOwner::Filer))
        .await
        .unwrap();
    assert_eq!(
        b.first.key.0,
        a.first.key.0 + 10,
        "the filer reserves exactly what it asks for"
    );
    assert_eq!(
        api.main.master.lookup(a.first.volume).await.unwrap().len(),
        1
    );
    assert_eq!(
        api.get(&format!("/dir/lookup?volumeId={}", a.first.volume))
            .await
            .0,
        404
    );
    assert_eq!(api.get(&format!("/{}", a.first)).await.0, 404);
    let n = api
        .main
        .master
        .assign(wish(VolumeOwner::Native))
        .await
        .unwrap();
    assert_ne!(n.first.volume, a.first.volume);
}

#[tokio::test]
async fn no_space_is_said_at_once_and_with_its_reason() {
    let api = Api::new().await;
    *api.node.broken.lock() = true;
    let (status, v) = api.get("/dir/assign").await;
    assert_eq!(status, 406);
    assert!(
        v["error"].as_str().unwrap().contains("disk of /d is full"),
        "{v}"
    );
    *api.node.low_space.lock() = true;
    api.main
        .master
        .report(api.node.node_report().await)
        .await
        .unwrap();
    let mut last = Value::Null;
    while !last["error"]
        .as_str()
        .unwrap_or_default()
        .contains("soft watermark")
    {
        last = api.get("/dir/assign?collection=new").await.1;
        tokio::task::yield_now().await;
    }
}
