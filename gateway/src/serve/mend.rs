//! What S3 reads and s3s's parser refuses, said in words that s3s reads. Pure: whether a changed request may still count
//! as signed is `lenient`'s business.
//!
//! - A `Range` of another unit, of several ranges or of bad syntax is no `Range` (RFC 9110 §14.2), and a date condition
//!   that is no date is no condition (§13.1.3, §13.1.4): both headers are taken out. Other ways to write the same range
//!   or date become the usual one.
//! - A document may name characters by number that XML 1.0 does not have: keys hold them, and DeleteObjects is how they
//!   are deleted. s3s also skips `CDATA`, which is text like other text.

use halofs_types::Timestamp;
use halofs_types::range::{self, RangeSpec};
use http::header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderValue, Method};

/// The headers of a read as s3s reads them, if they are not so already.
pub(crate) fn headers(method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut mended: Option<HeaderMap> = None;
    for name in [RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        let mut values = headers.get_all(&name).iter();
        let Some(first) = values.next() else {
            continue;
        };
        let alone = values.next().is_none();
        let came = first.to_str().ok().filter(|_| alone);
        let meant = came.and_then(|v| if name == RANGE { one_range(v) } else { date(v) });
        if meant.is_some() && meant.as_deref() == came {
            continue;
        }
        let all = mended.get_or_insert_with(|| headers.clone());
        all.remove(&name);
        if let Some(Ok(value)) = meant.map(HeaderValue::try_from) {
            all.insert(name, value);
        }
    }
    mended
}

/// The largest number that s3s takes; no object is as large.
const LAST: u64 = i64::MAX as u64;

fn one_range(value: &str) -> Option<String> {
    match range::parse(value)?.ok()?[..] {
        [RangeSpec::Closed(first, last)] => {
            Some(format!("bytes={}-{}", first.min(LAST), last.min(LAST)))
        }
        [RangeSpec::From(first)] => Some(format!("bytes={}-", first.min(LAST))),
        [RangeSpec::Suffix(count)] => Some(format!("bytes=-{count}")),
        _ => None,
    }
}

fn date(value: &str) -> Option<String> {
    Timestamp::parse_http_date(value).map(Timestamp::http_date)
}

const REFERENCE: &str = "&#";
const CDATA: &str = "<![CDATA[";

/// Whether the document holds text that s3s skips.
pub(crate) fn hides_text(xml: &[u8]) -> bool {
    xml.windows(CDATA.len()).any(|w| w == CDATA.as_bytes())
}

/// The document with every reference that s3s refuses replaced by its character, and `CDATA` by plain text; `None` if it
/// has neither.
pub(crate) fn document(xml: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(xml).ok()?;
    if !rest.contains(REFERENCE) && !rest.contains(CDATA) {
        return None;
    }
    let mut out = String::with_capacity(rest.len());
    let mut changed = false;
    while let Some(at) = rest.find(['&', '<']) {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        if let Some((text, after)) = here.strip_prefix(CDATA).and_then(|t| t.split_once("]]>")) {
            crate::s3::xml::escape(&mut out, text);
            (rest, changed) = (after, true);
        } else if let Some((c, after)) = refused(here) {
            out.push(c);
            (rest, changed) = (after, true);
        } else {
            let (one, after) = here.split_at(1);
            out.push_str(one);
            rest = after;
        }
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// A reference to a character that s3s refuses, at the start of the text. NUL is no part of any key.
fn refused(text: &str) -> Option<(char, &str)> {
    let (number, after) = text.strip_prefix(REFERENCE)?.split_once(';')?;
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    let known = matches!(code, 0x9 | 0xa | 0xd | 0x20..=0xfffd | 0x0010_0000..);
    let c = char::from_u32(code).filter(|_| code != 0 && !known)?;
    Some((c, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of a header with these values: `None` if it stays, empty if it goes.
    fn mended(name: &http::HeaderName, values: &[&str]) -> Option<String> {
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("h"));
        for v in values {
            map.append(name, HeaderValue::from_bytes(v.as_bytes()).unwrap());
        }
        let map = headers(&Method::GET, &map)?;
        assert_eq!(map.get("host").unwrap(), "h");
        assert!(map.get_all(name).iter().count() <= 1);
        Some(map.get(name).map_or("", |v| v.to_str().unwrap()).to_owned())
    }

    #[test]
    fn ranges_are_one_range_of_bytes_or_none() {
        for good in ["bytes=0-0", "bytes=5-", "bytes=-3", "bytes=-0"] {
            assert_eq!(mended(&RANGE, &[good]), None, "{good}");
        }
        for (came, meant) in [
            ("Bytes=0-1", "bytes=0-1"),
            ("bytes= 0-1", "bytes=0-1"),
            (
                "bytes=2-99999999999999999999",
                "bytes=2-9223372036854775807",
            ),
            ("bytes=99999999999999999999-", "bytes=9223372036854775807-"),
        ] {
            assert_eq!(mended(&RANGE, &[came]), Some(meant.to_owned()), "{came}");
        }
        for none in [
            "bytes=0-1,3-4",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "bytes",
            "lines=1-2",
            "\u{e9}",
        ] {
            assert_eq!(mended(&RANGE, &[none]), Some(String::new()), "{none}");
        }
        assert_eq!(
            mended(&RANGE, &["bytes=0-1", "bytes=0-1"]),
            Some(String::new())
        );
        let mut map = HeaderMap::new();
        map.insert(RANGE, HeaderValue::from_static("nonsense"));
        assert!(headers(&Method::PUT, &map).is_none());
    }

    #[test]
    fn dates_are_dates_or_none() {
        let usual = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(mended(&IF_MODIFIED_SINCE, &[usual]), None);
        for other in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(
                mended(&IF_UNMODIFIED_SINCE, &[other]),
                Some(usual.to_owned()),
                "{other}"
            );
        }
        for none in ["yesterday", "1994-11-06T08:49:37Z", "0"] {
            assert_eq!(
                mended(&IF_MODIFIED_SINCE, &[none]),
                Some(String::new()),
                "{none}"
            );
        }
        assert_eq!(
            mended(&IF_MODIFIED_SINCE, &[usual, usual]),
            Some(String::new())
        );
    }

    #[test]
    fn references_become_characters() {
        let of = |xml: &str| document(xml.as_bytes());
        assert_eq!(of("<Key>a</Key>"), None);
        assert_eq!(of("<Key>&#13;&#x26;&amp;&#xE9;</Key>"), None);
        assert_eq!(of("<Key>&#0;&#xD800;&#;&#x;&#99999999999;&#1</Key>"), None);
        assert_eq!(
            of("<Key>a&#x1;&amp;&#13;&#31;&#xFFFE;&#x1F600;</Key>").unwrap(),
            "<Key>a\u{1}&amp;&#13;\u{1f}\u{fffe}\u{1f600}</Key>"
        );
        assert!(hides_text(b"<Key><![CDATA[a]]></Key>") && !hides_text(b"<Key>a</Key>"));
        assert_eq!(
            of("<Key>x<![CDATA[a<&#1;]]>y</Key>").unwrap(),
            "<Key>xa&lt;&amp;#1;y</Key>"
        );
        assert_eq!(document(b"\xff&#1;"), None);
    }
}
