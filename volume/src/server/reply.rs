//! JSON answers, and the one table that says which status an error of a volume has.

use halofs_client::VolumeError;
use halofs_runtime::http::{CollectError, HttpResponse, RequestBodyError, empty, full};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

/// What the client asked for; the same error has other statuses for each, because clients of the original rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Read,
    Write,
    Delete,
}

/// A request that is not done: status and sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
        }
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many bytes are in flight; try again",
        )
    }

    /// Logs what is not the client's fault.
    pub(super) fn volume(e: &VolumeError, op: Op) -> Self {
        let status = volume_status(e, op);
        if status.is_server_error() {
            tracing::warn!(error = %e, ?op, "a native request failed");
        }
        let reason = match (e, op) {
            (VolumeError::WrongCookie(_), Op::Delete) => {
                "File Random Cookie does not match.".to_owned()
            }
            // Old clients look for these words before they ask main again.
            (VolumeError::NoVolume(volume), Op::Write) => {
                format!("volume {volume} not found on this server")
            }
            _ => e.to_string(),
        };
        Self { status, reason }
    }

    /// The answer with `{"error"}`.
    pub(super) fn json(&self, pretty: bool) -> HttpResponse {
        let mut response = json(self.status, &json!({ "error": self.reason }), pretty);
        self.advise(&mut response);
        response
    }

    /// The answer to a GET or HEAD: no body, except where a sentence helps a person.
    pub(super) fn bare(&self) -> HttpResponse {
        let told = matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::NOT_IMPLEMENTED
                | StatusCode::SERVICE_UNAVAILABLE
        );
        if told {
            return self.json(false);
        }
        let mut response = Response::new(empty());
        *response.status_mut() = self.status;
        response
    }

    fn advise(&self, response: &mut HttpResponse) {
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if later.contains(&self.status) {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
}

/// The table. A write that fails answers anything but 2xx and the client takes a new fid, so most of its errors are 500
/// as they always were; a read never tells a wrong cookie from an absent needle.
fn volume_status(e: &VolumeError, op: Op) -> StatusCode {
    match (e, op) {
        (VolumeError::NoVolume(_) | VolumeError::NotFound(_), Op::Read | Op::Delete)
        | (VolumeError::WrongCookie(_), Op::Read) => StatusCode::NOT_FOUND,
        (VolumeError::WrongCookie(_), Op::Delete) | (VolumeError::TooLarge { .. }, _) => {
            StatusCode::BAD_REQUEST
        }
        (VolumeError::Exists(_), _) => StatusCode::CONFLICT,
        (VolumeError::Full { .. }, _) => StatusCode::INSUFFICIENT_STORAGE,
        (VolumeError::Stopping, _) => StatusCode::SERVICE_UNAVAILABLE,
        (
            VolumeError::NoVolume(_) | VolumeError::NotFound(_) | VolumeError::WrongCookie(_),
            Op::Write,
        )
        | (
            VolumeError::Mismatch(_)
            | VolumeError::Damaged { .. }
            | VolumeError::Fenced(_)
            | VolumeError::ReadOnly { .. }
            | VolumeError::AtLimit { .. }
            | VolumeError::Io { .. }
            | VolumeError::Refused { .. },
            _,
        ) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<CollectError> for Refusal {
    fn from(e: CollectError) -> Self {
        match e {
            CollectError::TooLarge { limit } => {
                Self::bad(format!("file over the limited {limit} bytes"))
            }
            CollectError::Busy(_) => Self::busy(),
            CollectError::Body(RequestBodyError::Stalled) => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ),
            CollectError::Body(e @ RequestBodyError::Broken(_)) => Self::bad(e.to_string()),
        }
    }
}

/// A JSON answer; `pretty` indents by two blanks.
pub(super) fn json(status: StatusCode, value: &impl Serialize, pretty: bool) -> HttpResponse {
    let text = if pretty {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    };
    let mut response = Response::new(full(text.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}
