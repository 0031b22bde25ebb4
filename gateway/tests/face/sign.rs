//! A signer of Signature Version 4, written from its specification, for header and query signatures.

use std::fmt::Write as _;

use halofs_runtime::clock::{Clock, RealClock};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// A request to sign and send.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// As it goes on the wire.
    pub(crate) path: String,
    /// As it goes on the wire, without `?`.
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = vec![("host".to_owned(), "127.0.0.1:8333".to_owned())];
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if name == "host" {
            self.headers.retain(|(n, _)| n != "host");
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let len = self.body.len().to_string();
        self.header("content-length", &len)
    }

    /// Signs all headers.
    pub(crate) fn sign(self, access_key: &str, secret: &str) -> Self {
        let hash = hex::encode(Sha256::digest(&self.body));
        self.sign_as(access_key, secret, &hash, "us-east-1/s3")
    }

    /// Signs with that payload hash and that region and service.
    pub(crate) fn sign_as(
        self,
        access_key: &str,
        secret: &str,
        payload: &str,
        scope: &str,
    ) -> Self {
        let stamp = stamp(0);
        let call = self
            .header("x-amz-date", &stamp)
            .header("x-amz-content-sha256", payload);
        let mut signed: Vec<(String, String)> = call.headers.clone();
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(n, _)| n.as_str()).collect();
        let names = names.join(";");
        let mut canonical = format!(
            "{}\n{}\n{}\n",
            call.method,
            call.path,
            canonical_query(&call.query)
        );
        for (n, v) in &signed {
            writeln!(canonical, "{n}:{}", v.trim()).unwrap();
        }
        write!(canonical, "\n{names}\n{payload}").unwrap();
        let day = &stamp[..8];
        let scope = format!("{day}/{scope}/aws4_request");
        let signature = signature(secret, &stamp, &scope, &canonical);
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        call.header("authorization", &value)
    }

    /// A presigned URL, made `age` seconds ago.
    pub(crate) fn presign(
        mut self,
        access_key: &str,
        secret: &str,
        expires: u64,
        age: u64,
    ) -> Self {
        let stamp = stamp(age);
        let scope = format!("{}/us-east-1/s3/aws4_request", &stamp[..8]);
        let extra = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={access_key}%2F{}&X-Amz-Date={stamp}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host",
            scope.replace('/', "%2F")
        );
        self.query = if self.query.is_empty() {
            extra
        } else {
            format!("{}&{extra}", self.query)
        };
        let host = self
            .headers
            .iter()
            .find(|(n, _)| n == "host")
            .map_or("", |(_, v)| v.as_str());
        let canonical = format!(
            "{}\n{}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD",
            self.method,
            self.path,
            canonical_query(&self.query)
        );
        let signature = signature(secret, &stamp, &scope, &canonical);
        write!(self.query, "&X-Amz-Signature={signature}").unwrap();
        self
    }
}

/// Pairs sorted; they are sent encoded already.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| {
            if p.contains('=') {
                p.to_owned()
            } else {
                format!("{p}=")
            }
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn signature(secret: &str, stamp: &str, scope: &str, canonical: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &to_sign))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// `20130524T000000Z`, `age` seconds ago.
fn stamp(age: u64) -> String {
    let now = halofs_types::Timestamp::from_secs(RealClock.now().secs() - age);
    // `Sun, 06 Nov 1994 08:49:37 GMT`
    let date = now.http_date();
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months.iter().position(|m| *m == &date[8..11]).unwrap() + 1;
    format!(
        "{}{month:02}{}T{}{}{}Z",
        &date[12..16],
        &date[5..7],
        &date[17..19],
        &date[20..22],
        &date[23..25]
    )
}
