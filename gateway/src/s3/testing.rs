//! Operations as s3s calls them, over services in memory: what their tests share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use halofs_client::filer::{FilerApi, NewBucket};
use halofs_client::memory::Memory;
use halofs_runtime::admission::Admission;
use halofs_runtime::metrics::Registry;
use halofs_runtime::rng::SeededRng;
use halofs_runtime::{RealClock, RealDisk};
use halofs_types::limits;
use halofs_types::object::Owner;
use http::HeaderMap;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use crate::auth::credentials::IdentitySource;
use crate::auth::identity::{Credential, Identity};
use crate::config::GatewayConfig;
use crate::gateway::{Deps, Gateway};
use crate::s3::convert::count;
use crate::s3::object::{get_object, put_object};

pub(crate) struct Rig {
    pub(crate) gw: Arc<Gateway>,
    pub(crate) memory: Arc<Memory>,
    _dir: tempfile::TempDir,
}

pub(crate) async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::new();
    let deps = Deps {
        filer: memory.clone(),
        master: memory.clone(),
        volume: memory.clone(),
        clock: Arc::new(RealClock),
        rng: Arc::new(SeededRng::new(1)),
        admission: Admission::new(limits::BYTES_IN_FLIGHT_DEFAULT, Duration::from_secs(10)),
        registry: Registry::new(),
    };
    let keys = Credential {
        access_key: "AK".into(),
        secret_key: "SK".into(),
    };
    let source = IdentitySource {
        disk: Arc::new(RealDisk),
        rng: Arc::new(SeededRng::new(2)),
        keys: Some(keys),
        config_file: None,
        credentials_file: dir.path().join("credentials"),
    };
    let gw = Gateway::new(GatewayConfig::default(), source, deps).unwrap();
    let new = NewBucket {
        name: "bkt".into(),
        owner: Owner::default(),
        region: String::new(),
    };
    memory.create_bucket(new).await.unwrap();
    Rig {
        gw,
        memory,
        _dir: dir,
    }
}

pub(crate) type Pairs<'a> = &'a [(&'static str, &'a str)];

pub(crate) fn req<T>(input: T, headers: Pairs<'_>) -> S3Request<T> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let mut extensions = http::Extensions::new();
    extensions.insert(Arc::new(Identity::admin("admin")));
    S3Request {
        input,
        method: http::Method::PUT,
        uri: "/bkt/k".parse().unwrap(),
        headers: map,
        extensions,
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

pub(crate) fn code<T>(result: S3Result<T>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(e) => e.code().as_str().to_owned(),
    }
}

pub(crate) fn blob(body: &[u8]) -> dto::StreamingBlob {
    let pieces: Vec<Result<Bytes, std::io::Error>> = body
        .chunks(100_000)
        .map(|c| Ok(Bytes::copy_from_slice(c)))
        .collect();
    dto::StreamingBlob::wrap(futures::stream::iter(pieces))
}

pub(crate) fn put_input(key: &str, body: &[u8]) -> dto::PutObjectInput {
    dto::PutObjectInput {
        bucket: "bkt".into(),
        key: key.into(),
        body: Some(blob(body)),
        content_length: Some(count(body.len() as u64)),
        ..Default::default()
    }
}

pub(crate) fn get_input(key: &str) -> dto::GetObjectInput {
    dto::GetObjectInput {
        bucket: "bkt".into(),
        key: key.into(),
        ..Default::default()
    }
}

impl Rig {
    pub(crate) async fn put(
        &self,
        key: &str,
        body: &[u8],
        headers: Pairs<'_>,
    ) -> S3Result<dto::PutObjectOutput> {
        put_object(&self.gw, req(put_input(key, body), headers))
            .await
            .map(|r| r.output)
    }

    pub(crate) async fn get(
        &self,
        input: dto::GetObjectInput,
    ) -> S3Result<(dto::GetObjectOutput, Vec<u8>)> {
        let mut out = get_object(&self.gw, req(input, &[])).await?.output;
        let mut all = Vec::new();
        if let Some(mut body) = out.body.take() {
            while let Some(piece) = body.next().await {
                all.extend_from_slice(
                    &piece.map_err(|e| S3Error::with_source(S3ErrorCode::InternalError, e))?,
                );
            }
        }
        Ok((out, all))
    }

    pub(crate) async fn bytes(&self, key: &str) -> Vec<u8> {
        self.get(get_input(key)).await.unwrap().1
    }

    pub(crate) fn objects(&self) -> usize {
        self.memory.state.lock().objects.len()
    }
}

pub(crate) fn data(n: usize) -> Vec<u8> {
    (0..n).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}
