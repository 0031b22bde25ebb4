//! File names, mime types and header pairs: what is stored with a needle, and the headers made of it.

use std::fmt::Write;

use halofs_types::limits;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::reply::Refusal;

/// Pairs come as headers with one of these prefixes.
const PAIR_PREFIXES: [&str; 2] = ["seaweed-", "halofs-"];

/// Names that a stored pair may not set, because the answer's framing or identity hangs on them.
const FRAMING: [&str; 22] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "host",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "x-amz-request-id",
];

/// Splits at the last dot; a name that starts with its only dot has no extension.
pub(super) fn split_extension(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() && !ext.is_empty() => (stem, Some(ext)),
        _ => (name, None),
    }
}

/// The base name of what a client sent, without the path that old Windows clients put before it. `None`: nothing that
/// can be stored or shown.
pub(super) fn clean(name: &str) -> Option<&str> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let usable = !base.is_empty()
        && base != "."
        && base != ".."
        && base.len() < limits::NATIVE_NAME_BYTES_MAX
        && !base.chars().any(char::is_control);
    usable.then_some(base)
}

/// The standard type of an extension.
pub(super) fn type_of(extension: &str) -> Option<&'static str> {
    mime_guess::from_ext(extension).first_raw()
}

/// The type to store: nothing that the name's extension says already, nothing that says nothing.
pub(super) fn mime_to_store(sent: &str, name: &str) -> String {
    let sent = sent.trim();
    let essence = sent.split(';').next().unwrap_or(sent).trim();
    let said = split_extension(name).1.and_then(type_of);
    let skip = sent.is_empty()
        || sent.len() >= limits::NATIVE_NAME_BYTES_MAX
        || essence.eq_ignore_ascii_case("application/octet-stream")
        || said.is_some_and(|t| t.eq_ignore_ascii_case(sent));
    if skip { String::new() } else { sent.to_owned() }
}

/// The type that an answer has: stored, else by extension, else by the first bytes.
pub(super) fn type_to_send(stored: &str, extension: Option<&str>, first: &[u8]) -> String {
    if !stored.is_empty() && !stored.starts_with("application/octet-stream") {
        return stored.to_owned();
    }
    match extension.and_then(type_of) {
        Some(t) if t.starts_with("text/") => format!("{t}; charset=utf-8"),
        Some(t) => t.to_owned(),
        None => sniff(first).to_owned(),
    }
}

/// Bytes that [`sniff`] looks at.
pub(super) const SNIFF_BYTES: usize = 512;

/// A type by content. Markup is never guessed: what nobody called HTML shall not run as HTML.
pub(super) fn sniff(bytes: &[u8]) -> &'static str {
    let head = bytes.get(..SNIFF_BYTES.min(bytes.len())).unwrap_or(bytes);
    let magics: [(&[u8], &str); 12] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"BM", "image/bmp"),
        (b"%PDF-", "application/pdf"),
        (b"%!PS-Adobe-", "application/postscript"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"Rar!\x1a\x07", "application/x-rar-compressed"),
        (b"OggS\0", "application/ogg"),
        (b"\x28\xb5\x2f\xfd", "application/zstd"),
    ];
    if let Some((_, kind)) = magics.iter().find(|(magic, _)| head.starts_with(magic)) {
        return kind;
    }
    if head.starts_with(b"RIFF") {
        return match head.get(8..12) {
            Some(b"WEBP") => "image/webp",
            Some(b"WAVE") => "audio/wave",
            _ => "application/octet-stream",
        };
    }
    let binary = |b: &u8| matches!(*b, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if head.iter().any(binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

/// Whether gzip is worth trying (`native-api.md` §5.4); the engine keeps the result only when it pays.
pub(super) fn compressible(mime: &str, extension: Option<&str>, first: &[u8]) -> bool {
    const YES: [&str; 19] = [
        "svg", "bmp", "wav", "pdf", "txt", "html", "htm", "css", "js", "json", "php", "java", "go",
        "rb", "c", "cpp", "h", "hpp", "xml",
    ];
    const NO: [&str; 10] = [
        "zip", "rar", "gz", "bz2", "xz", "zst", "br", "png", "jpg", "jpeg",
    ];
    if let Some(ext) = extension {
        if YES.iter().any(|e| e.eq_ignore_ascii_case(ext)) {
            return true;
        }
        if NO.iter().any(|e| e.eq_ignore_ascii_case(ext)) {
            return false;
        }
    }
    let kind = match (mime, extension.and_then(type_of)) {
        ("" | "application/octet-stream", Some(t)) => t,
        ("" | "application/octet-stream", None) => sniff(first),
        (given, _) => given,
    };
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    kind.starts_with("text/")
        || matches!(
            kind,
            "audio/wave" | "audio/wav" | "audio/x-wav" | "audio/x-pn-wav" | "application/json"
        )
        || (kind.starts_with("application/") && (kind.ends_with("xml") || kind.ends_with("script")))
}

/// The pairs of an upload, names without their prefix.
pub(super) fn pairs(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut out = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(short) = PAIR_PREFIXES
            .iter()
            .find_map(|p| name.as_str().strip_prefix(p))
        else {
            continue;
        };
        if !settable(short) {
            return Err(Refusal::bad(format!(
                "header {name}: a pair cannot be called {short:?}"
            )));
        }
        let value = value
            .to_str()
            .map_err(|_| Refusal::bad(format!("header {name}: the value is not visible ASCII")))?;
        bytes += short.len() + value.len();
        if bytes > limits::NATIVE_PAIRS_BYTES_MAX {
            let limit = limits::NATIVE_PAIRS_BYTES_MAX;
            return Err(Refusal::bad(format!(
                "the Seaweed- and Halofs- pairs have more than {limit} bytes"
            )));
        }
        out.push((short.to_owned(), value.to_owned()));
    }
    Ok(out)
}

fn settable(name: &str) -> bool {
    !name.is_empty()
        && !FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name))
        && !name.to_ascii_lowercase().starts_with("access-control-")
        && !name.to_ascii_lowercase().starts_with("proxy-")
}

/// Sets stored pairs on an answer.
pub(super) fn set_pairs(headers: &mut HeaderMap, pairs: &[(String, String)]) {
    for (name, value) in pairs.iter().filter(|(name, _)| settable(name)) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::from_str(value),
        ) {
            headers.insert(name, value);
        }
    }
}

/// Bytes that stay as they are in an extended parameter value (RFC 5987 attr-char).
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `Content-Disposition` for a name (RFC 6266): quoted ASCII, and the exact name beside it when that is not ASCII.
pub(super) fn disposition(name: &str, attachment: bool) -> Option<HeaderValue> {
    let mut out = String::from(if attachment { "attachment" } else { "inline" });
    out.push_str("; filename=\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii() && !c.is_ascii_control() => out.push(c),
            _ => out.push('_'),
        }
    }
    out.push('"');
    if !name.is_ascii() {
        let _ = write!(
            out,
            "; filename*=UTF-8''{}",
            utf8_percent_encode(name, ATTR_CHAR)
        );
    }
    HeaderValue::from_str(&out).ok()
}

/// The file name in a `Content-Disposition`: `filename*`, else `filename`, else, when `or_name`, `name`.
pub(super) fn disposition_name(header: &[u8], or_name: bool) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let parameters = parameters(&text);
    let get = |wanted: &str| {
        parameters
            .iter()
            .find(|(n, _)| n == wanted)
            .map(|(_, v)| v.clone())
    };
    let extended = get("filename*").and_then(|v| {
        let (charset, rest) = v.split_once('\'')?;
        let (_language, encoded) = rest.split_once('\'')?;
        let utf8 = charset.eq_ignore_ascii_case("utf-8");
        if utf8 {
            percent_decode_str(encoded)
                .decode_utf8()
                .ok()
                .map(std::borrow::Cow::into_owned)
        } else {
            None
        }
    });
    extended
        .or_else(|| get("filename"))
        .or_else(|| if or_name { get("name") } else { None })
}

/// The parameters of a header value, names in lower case, values unquoted. A backslash escapes only a quote or another
/// backslash: old clients send Windows paths as they are.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, r)| r);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ';']).to_ascii_lowercase();
        let after = after.trim_start();
        let mut value = String::new();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((i, c)) = chars.next() {
                match c {
                    '"' => {
                        end = i + 1;
                        break;
                    }
                    '\\' if chars.peek().is_some_and(|(_, n)| matches!(n, '"' | '\\')) => {
                        value.extend(chars.next().map(|(_, n)| n));
                    }
                    c => value.push(c),
                }
            }
            rest = quoted.get(end..).unwrap_or_default();
        } else {
            let (v, r) = after.split_once(';').unwrap_or((after, ""));
            v.trim().clone_into(&mut value);
            rest = r;
        }
        out.push((name, value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (sent, want) in [
            ("a.txt", Some("a.txt")),
            ("C:\\Documents\\a.txt", Some("a.txt")),
            ("/etc/passwd", Some("passwd")),
            ("..", None),
            ("", None),
            ("dir/", None),
            ("a\nb", None),
            ("snö.txt", Some("snö.txt")),
        ] {
            assert_eq!(clean(sent), want, "{sent:?}");
        }
        assert_eq!(clean(&"x".repeat(256)), None);
        assert!(clean(&"x".repeat(255)).is_some());
    }

    #[test]
    fn mimes_are_stored_only_when_they_say_something() {
        for (sent, name, want) in [
            ("image/jpeg", "a.jpg", ""),
            ("image/png", "a.jpg", "image/png"),
            ("application/octet-stream", "a.jpg", ""),
            ("application/octet-stream; x=1", "a", ""),
            (
                "text/plain; charset=latin1",
                "a.txt",
                "text/plain; charset=latin1",
            ),
            ("", "a", ""),
        ] {
            assert_eq!(mime_to_store(sent, name), want, "{sent} {name}");
        }
        assert_eq!(mime_to_store(&"x".repeat(256), "a"), "");
    }

    #[test]
    fn dispositions_both_ways() {
        for name in ["a.txt", "a \"b\" \\c.txt", "snö ☃.txt", "100%;x=y'z.txt"] {
            let header = disposition(name, true).unwrap();
            assert_eq!(
                disposition_name(header.as_bytes(), false).as_deref(),
                Some(name),
                "{header:?}"
            );
        }
        let parse = |s: &str| disposition_name(s.as_bytes(), true);
        assert_eq!(parse("form-data; name=\"file\"").as_deref(), Some("file"));
        assert_eq!(
            parse("form-data; name=\"file\"; filename=\"C:\\dir\\x.txt\"").as_deref(),
            Some("C:\\dir\\x.txt")
        );
        assert_eq!(
            parse("attachment; filename=plain.txt; x=1").as_deref(),
            Some("plain.txt")
        );
        assert_eq!(parse("attachment"), None);
        assert_eq!(
            parse("attachment; filename=\"open").as_deref(),
            Some("open")
        );
    }

    #[test]
    fn gzip_rule() {
        assert!(compressible("text/html; charset=utf-8", None, b""));
        assert!(compressible("", Some("txt"), b""));
        assert!(compressible("application/rss+xml", None, b""));
        assert!(!compressible("image/png", None, b""));
        assert!(!compressible("text/plain", Some("gz"), b""));
        assert!(compressible("", None, b"plain words"));
        assert!(!compressible("", None, b"\0\x01\x02"));
    }
}
