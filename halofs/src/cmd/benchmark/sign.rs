//! AWS signature version 4 of requests with an unsigned payload: one SHA-256 and one HMAC a request.

use std::io::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

type HmacSha256 = Hmac<Sha256>;

/// Who signs, and for where.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) region: String,
}

/// A signer that keeps what stays the same during a second and during a day.
pub(super) struct Signer {
    credentials: Credentials,
    host: String,
    second: u64,
    stamp: String,
    day: u64,
    key: Option<HmacSha256>,
    scope: String,
    canonical: Vec<u8>,
    to_sign: Vec<u8>,
}

const HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut m = HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length");
    m.update(data);
    m.finalize().into_bytes().into()
}

/// Year, month and day of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + u64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

impl Signer {
    pub(super) fn new(credentials: Credentials, host: String) -> Self {
        Self {
            credentials,
            host,
            second: u64::MAX,
            stamp: String::new(),
            day: u64::MAX,
            key: None,
            scope: String::new(),
            canonical: Vec::new(),
            to_sign: Vec::new(),
        }
    }

    fn at(&mut self, second: u64) -> HmacSha256 {
        if self.second != second {
            let (year, month, day) = civil(second / 86_400);
            let (hour, min, sec) = (second / 3600 % 24, second / 60 % 60, second % 60);
            self.stamp = format!("{year:04}{month:02}{day:02}T{hour:02}{min:02}{sec:02}Z");
            self.second = second;
        }
        let day = second / 86_400;
        if self.day != day || self.key.is_none() {
            let date = self.stamp.get(..8).unwrap_or_default();
            let key = mac(
                format!("AWS4{}", self.credentials.secret_key).as_bytes(),
                date.as_bytes(),
            );
            let key = mac(&key, self.credentials.region.as_bytes());
            let key = mac(&key, b"s3");
            let key = mac(&key, b"aws4_request");
            self.scope = format!("{date}/{}/s3/aws4_request", self.credentials.region);
            self.key =
                Some(HmacSha256::new_from_slice(&key).expect("HMAC takes keys of any length"));
            self.day = day;
        }
        self.key.clone().expect("set above")
    }

    /// Writes the head of a signed request. `path` and `query` are encoded, `query` sorted; `length` is the body's.
    pub(super) fn head(
        &mut self,
        out: &mut Vec<u8>,
        (method, path, query): (&str, &str, &str),
        length: Option<u64>,
        second: u64,
    ) {
        let mut key = self.at(second);
        let (host, stamp, scope) = (&self.host, &self.stamp, &self.scope);
        self.canonical.clear();
        let infallible = "writing to memory does not fail";
        write!(
            self.canonical,
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{UNSIGNED}\nx-amz-date:{stamp}\n\n\
             {HEADERS}\n{UNSIGNED}"
        )
        .expect(infallible);
        let hash = hex::encode(Sha256::digest(&self.canonical));
        self.to_sign.clear();
        write!(self.to_sign, "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}").expect(infallible);
        key.update(&self.to_sign);
        let signature = hex::encode(key.finalize().into_bytes());
        out.clear();
        let mark = if query.is_empty() { "" } else { "?" };
        write!(
            out,
            "{method} {path}{mark}{query} HTTP/1.1\r\nHost: {host}\r\nx-amz-content-sha256: {UNSIGNED}\r\n\
             x-amz-date: {stamp}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={HEADERS}, \
             Signature={signature}\r\n",
            self.credentials.access_key
        )
        .expect(infallible);
        if let Some(n) = length {
            write!(out, "Content-Length: {n}\r\n").expect(infallible);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Encodes a query value as signatures want it.
pub(super) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for b in value.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(b));
            }
            other => {
                out.push('%');
                out.push_str(&hex::encode_upper([other]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_780), (2026, 11, 23));
    }

    #[test]
    fn signature_of_the_published_keys() {
        let mut s = Signer::new(
            Credentials {
                access_key: "AKIDEXAMPLE".to_owned(),
                secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                region: "us-east-1".to_owned(),
            },
            "127.0.0.1:8333".to_owned(),
        );
        let mut head = Vec::new();
        s.head(&mut head, ("PUT", "/b/k", ""), Some(5), 1_440_938_160);
        let text = String::from_utf8(head).unwrap();
        assert!(text.contains("x-amz-date: 20150830T123600Z\r\n"), "{text}");
        assert!(
            text.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/s3/aws4_request"),
            "{text}"
        );
        // Worked out with an independent implementation of the specification.
        let signature = "a6a788fc0aaca21aedb23f5f8836284d999e8d80f70350b669bcf5e7cec4ab39";
        assert!(text.contains(signature), "{text}");
        assert!(text.contains("Content-Length: 5\r\n\r\n"));
        assert_eq!(encode("a/b+c d"), "a%2Fb%2Bc%20d");
    }
}
