//! RFC 9110 §13 preconditions, evaluated purely.

use crate::Timestamp;

/// The four conditional headers of a request as they came, unparsed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a str>,
}

/// What the conditions say about a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Whether a list of entity tags names `etag` (given without quotes). `*` names every existing representation. With
/// `weak` a `W/` prefix on the listed tag does not matter. Unquoted tags are accepted, as S3 clients send them.
pub fn names(list: &str, etag: &str, weak: bool) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        if tag == "*" {
            return true;
        }
        let (is_weak, tag) = match tag.strip_prefix("W/") {
            Some(t) => (true, t),
            None => (false, tag),
        };
        (weak || !is_weak) && tag.trim_matches('"') == etag
    })
}

/// Evaluates a GET or HEAD in the order of RFC 9110 §13.2.2. Dates compare in whole seconds; an unreadable date is
/// ignored, as the RFC demands.
pub fn evaluate_read(c: Conditions<'_>, etag: &str, modified: Timestamp) -> Verdict {
    if let Some(list) = c.if_match {
        if !names(list, etag, false) {
            return Verdict::Failed;
        }
    } else if let Some(at) = c.if_unmodified_since.and_then(Timestamp::parse_http_date)
        && modified.secs() > at.secs()
    {
        return Verdict::Failed;
    }
    if let Some(list) = c.if_none_match {
        if names(list, etag, true) {
            return Verdict::NotModified;
        }
    } else if let Some(at) = c.if_modified_since.and_then(Timestamp::parse_http_date)
        && modified.secs() <= at.secs()
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `If-Range` lets a `Range` header count: a strong tag that matches, or exactly the modification date.
pub fn if_range_holds(if_range: Option<&str>, etag: &str, modified: Timestamp) -> bool {
    match if_range {
        None => true,
        Some(v) if v.starts_with('"') => v.trim_matches('"') == etag,
        Some(v) => Timestamp::parse_http_date(v).is_some_and(|at| at.secs() == modified.secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_700_000_000_500_000_000);

    fn read(f: impl FnOnce(&mut Conditions<'static>)) -> Verdict {
        let mut c = Conditions::default();
        f(&mut c);
        evaluate_read(c, "abc", AT)
    }

    #[test]
    fn precedence_is_the_rfc_s() {
        let then = "Tue, 14 Nov 2023 22:13:20 GMT";
        let before = "Tue, 14 Nov 2023 22:13:19 GMT";
        assert_eq!(
            read(|c| c.if_match = Some("\"x\", \"abc\"")),
            Verdict::Proceed
        );
        assert_eq!(read(|c| c.if_match = Some("W/\"abc\"")), Verdict::Failed);
        assert_eq!(
            read(|c| c.if_none_match = Some("W/\"abc\"")),
            Verdict::NotModified
        );
        assert_eq!(read(|c| c.if_none_match = Some("*")), Verdict::NotModified);
        assert_eq!(
            read(|c| c.if_modified_since = Some(then)),
            Verdict::NotModified
        );
        assert_eq!(
            read(|c| c.if_modified_since = Some(before)),
            Verdict::Proceed
        );
        assert_eq!(
            read(|c| c.if_unmodified_since = Some(before)),
            Verdict::Failed
        );
        assert_eq!(
            read(|c| c.if_unmodified_since = Some("rubbish")),
            Verdict::Proceed
        );
        assert_eq!(
            read(|c| {
                c.if_match = Some("abc");
                c.if_unmodified_since = Some(before);
                c.if_none_match = Some("\"other\"");
                c.if_modified_since = Some(then);
            }),
            Verdict::Proceed
        );
    }
}
