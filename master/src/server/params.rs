//! Parameters of a request: form body first, then query string, the first of a name wins.

use bytes::Bytes;
use halofs_runtime::http::{CollectError, HttpRequest, collect};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

/// Why they cannot be read.
#[derive(Debug)]
pub(super) struct BadParams {
    pub(super) status: StatusCode,
    pub(super) reason: String,
}

fn bad(reason: impl Into<String>) -> BadParams {
    BadParams {
        status: StatusCode::BAD_REQUEST,
        reason: reason.into(),
    }
}

impl Params {
    /// Reads query and, when it is a form, the body.
    pub(super) async fn read(req: HttpRequest, limit: u64) -> Result<Self, BadParams> {
        let (head, body) = req.into_parts();
        let mut all = Vec::new();
        let kind = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let essence = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if matches!(
            essence.as_str(),
            "application/x-www-form-urlencoded" | "multipart/form-data"
        ) {
            let whole = collect(body, limit, None).await.map_err(|e| match e {
                CollectError::TooLarge { limit } => BadParams {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    reason: format!("a form has at most {limit} bytes"),
                },
                other => bad(other.to_string()),
            })?;
            let bytes: Vec<u8> = whole.pieces.iter().flatten().copied().collect();
            if essence.starts_with("multipart") {
                multipart(kind, bytes.into(), &mut all).await?;
            } else {
                let text = String::from_utf8(bytes).map_err(|_| bad("the form is not UTF-8"))?;
                urlencoded(&text, &mut all)?;
            }
        }
        urlencoded(head.uri.query().unwrap_or_default(), &mut all)?;
        Ok(Self(all))
    }

    /// The first value of a name; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .unwrap_or_default()
    }

    /// Whether a name has a value that is not empty.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Of a query string alone.
    pub(super) fn query(text: &str) -> Result<Self, BadParams> {
        let mut all = Vec::new();
        urlencoded(text, &mut all)?;
        Ok(Self(all))
    }
}

fn urlencoded(text: &str, all: &mut Vec<(String, String)>) -> Result<(), BadParams> {
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.push((decode(name)?, decode(value)?));
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, BadParams> {
    let escapes = text.split('%').skip(1);
    let whole = |e: &str| {
        e.as_bytes()
            .get(..2)
            .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.into_iter().all(whole) {
        return Err(bad(format!(
            "{text:?} holds a % that two hex digits do not follow"
        )));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| bad(format!("{text:?} is not UTF-8")))?;
    if decoded.chars().any(char::is_control) {
        return Err(bad(format!("{text:?} holds a control character")));
    }
    Ok(decoded.into_owned())
}

async fn multipart(
    kind: &str,
    bytes: Bytes,
    all: &mut Vec<(String, String)>,
) -> Result<(), BadParams> {
    let boundary = multer::parse_boundary(kind).map_err(|e| bad(e.to_string()))?;
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut form = multer::Multipart::new(stream, boundary);
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.to_string()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let value = field.text().await.map_err(|e| bad(e.to_string()))?;
        all.push((name, value));
    }
    Ok(())
}
