//! Refusals that need neither identity nor body: with `Expect: 100-continue` the body is never sent.

use halofs_runtime::http::HttpRequest;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::auth::{actions, scheme};
use crate::error::{Code, GatewayError};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// No bucket.
    Service,
    /// A bucket.
    Bucket,
    /// A key.
    Object,
}

impl Place {
    /// Of a path; `virtual_host`: the host names the bucket.
    pub(crate) fn of(path: &str, virtual_host: bool) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        match (virtual_host, path.split_once('/')) {
            (false, None) if path.is_empty() => Self::Service,
            (false, None | Some((_, ""))) => Self::Bucket,
            (true, _) if path.is_empty() => Self::Bucket,
            _ => Self::Object,
        }
    }

    /// As an error names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Bucket => "BUCKET",
            Self::Object => "OBJECT",
        }
    }

    /// The methods that are always allowed there.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Service => "GET",
            Self::Bucket | Self::Object => "DELETE, GET, HEAD, PUT",
        }
    }
}

/// Looks at everything that can be refused now.
pub(crate) fn check(req: &HttpRequest, virtual_host: bool) -> Result<(), GatewayError> {
    if req.method() == Method::OPTIONS {
        return Err(Code::AccessForbidden.into());
    }
    let query = req.uri().query().unwrap_or_default();
    method(req, Place::of(req.uri().path(), virtual_host), query)?;
    scheme::check(req.headers(), req.uri().query())?;
    control_characters(query)
}

/// Methods that nothing there understands, and operations that are known by their path or their body alone.
fn method(req: &HttpRequest, place: Place, query: &str) -> Result<(), GatewayError> {
    let not_built = |what: &'static str| Err(GatewayError::refused(Code::NotImplemented, what));
    let known = match *req.method() {
        Method::GET => true,
        Method::HEAD | Method::PUT | Method::DELETE => place != Place::Service,
        Method::POST if req.uri().path() == "/WriteGetObjectResponse" => {
            return not_built("WriteGetObjectResponse is not implemented");
        }
        Method::POST if place == Place::Bucket && is_form(req) => {
            return not_built("POST with a form is not implemented");
        }
        // Every POST is of a sub-resource; s3s says which are known.
        Method::POST => place != Place::Service && !is_form(req) && asks_for_more(query),
        _ => false,
    };
    if known {
        Ok(())
    } else {
        Err(Code::MethodNotAllowed.into())
    }
}

/// Whether a query names a sub-resource, or may.
fn asks_for_more(query: &str) -> bool {
    let mut pairs = query
        .split('&')
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    pairs.any(|(name, value)| {
        name.contains('%')
            || actions::is_subresource(name)
            || (value.is_empty() && !name.is_empty())
    })
}

fn is_form(req: &HttpRequest) -> bool {
    const FORM: &str = "multipart/form-data";
    let kind = req
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    kind.and_then(|v| v.trim_start().get(..FORM.len()))
        .is_some_and(|v| v.eq_ignore_ascii_case(FORM))
}

/// Only names may hold control characters: what else does is refused before an error could repeat it.
fn control_characters(query: &str) -> Result<(), GatewayError> {
    const NAMES: [&str; 6] = [
        "prefix",
        "delimiter",
        "marker",
        "start-after",
        "key-marker",
        "annotation-prefix",
    ];
    let bad = |text: &str| {
        text.contains('%')
            && percent_encoding::percent_decode_str(text).any(|b| b < b' ' || b == 0x7f)
    };
    let mut pairs = query
        .split('&')
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    if query.contains('%')
        && pairs.any(|(name, value)| bad(name) || (bad(value) && !NAMES.contains(&name)))
    {
        return Err(GatewayError::refused(
            Code::InvalidArgument,
            "A query parameter that is not a name may not contain control characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_places() {
        for (path, virtual_host, place) in [
            ("/", false, Place::Service),
            ("", false, Place::Service),
            ("/b", false, Place::Bucket),
            ("/b/", false, Place::Bucket),
            ("/b/k", false, Place::Object),
            ("/b//", false, Place::Object),
            ("/", true, Place::Bucket),
            ("/k", true, Place::Object),
            ("//", true, Place::Object),
        ] {
            assert_eq!(
                Place::of(path, virtual_host),
                place,
                "{path} {virtual_host}"
            );
        }
    }
}
