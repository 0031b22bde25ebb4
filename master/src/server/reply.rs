//! JSON answers.

use halofs_runtime::http::{HttpResponse, full};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// An answer before it is written.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    headers: Vec<(HeaderName, &'static str)>,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            headers: Vec::new(),
        }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn error(status: StatusCode, reason: &str) -> Self {
        Self::new(status, json!({ "error": reason }))
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Writes it; `pretty` indents by two.
    pub(super) fn into_response(self, pretty: bool) -> HttpResponse {
        let mut response = written(self.status, &self.body, pretty);
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// An answer of anything that can be JSON; `pretty` indents by two.
pub(super) fn written(status: StatusCode, body: &impl Serialize, pretty: bool) -> HttpResponse {
    let text = if pretty {
        serde_json::to_vec_pretty(body)
    } else {
        serde_json::to_vec(body)
    };
    let text = text.expect("a JSON value has only text keys, so it can always be written");
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    harden(&mut response);
    response
}

/// No browser guesses the type of our answers.
pub(super) fn harden(response: &mut HttpResponse) {
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
}
