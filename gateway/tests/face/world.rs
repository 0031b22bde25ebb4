//! A gateway over services in memory, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use halofs_gateway::auth::identity::Credential;
use halofs_gateway::{Deps, Gateway, GatewayConfig, IdentitySource, S3Handler};
use halofs_runtime::admission::Admission;
use halofs_runtime::http::{Caller, Handler, RequestBody, RequestContext};
use halofs_runtime::metrics::Registry;
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{Clock, RealClock, RealDisk};
use http_body_util::BodyExt;

use super::fake::{FakeFiler, Nothing};
use super::sign::Call;

pub(crate) const ID: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct World {
    pub(crate) handler: S3Handler,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) filer: FakeFiler,
    pub(crate) admission: Admission,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn code(&self) -> &str {
        self.tag("Code").unwrap_or("")
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    }

    pub(crate) fn tags(&self, name: &str) -> Vec<&str> {
        self.body
            .split(&format!("<{name}>"))
            .skip(1)
            .filter_map(|t| t.split_once(&format!("</{name}>")).map(|(x, _)| x))
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
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
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(RealClock))
    }

    /// On that clock.
    pub(crate) fn on(clock: Arc<dyn Clock>) -> Self {
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
        let admission = Admission::new(16 << 20, Duration::from_millis(10));
        let deps = Deps {
            filer: Arc::new(filer.clone()),
            master: Arc::new(Nothing),
            volume: Arc::new(Nothing),
            clock,
            rng,
            admission: admission.clone(),
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
            admission,
            dir,
        }
    }

    pub(crate) async fn send(&self, call: Call) -> Got {
        self.send_named(call).await.0
    }

    /// Also whom the log would name.
    pub(crate) async fn send_named(&self, call: Call) -> (Got, Caller) {
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
        let caller = Caller::default();
        let ctx = RequestContext {
            peer,
            request_id: ID.to_owned(),
            tls: false,
            caller: caller.clone(),
        };
        let res = self.handler.handle(req, ctx).await;
        let (parts, body) = res.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let got = Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        (got, caller)
    }

    pub(crate) async fn admin(&self, method: &'static str, target: &str) -> Got {
        self.send(Call::new(method, target).sign("ADMIN", "admin-secret"))
            .await
    }

    pub(crate) async fn bucket(&self, name: &str) {
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
pub(crate) fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
