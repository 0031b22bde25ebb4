//! XML written straight into bytes, for the answers that are large.

use std::fmt::{Display, Write as _};

use bytes::Bytes;
use halofs_types::Timestamp;
use halofs_types::object::Owner;
use s3s::S3Response;

/// A finished document that the handler sends instead of what s3s serialised.
#[derive(Debug, Clone)]
pub(crate) struct Document(pub(crate) Bytes);

/// A response that the document replaces.
pub(crate) fn answer<T: Default>(x: Xml) -> S3Response<T> {
    let mut out = S3Response::new(T::default());
    out.extensions.insert(x.finish());
    out
}

/// A document being written.
#[derive(Debug)]
pub(crate) struct Xml {
    out: String,
    root: &'static str,
}

impl Xml {
    /// Begins a document of S3's name space. `guess` is what its bytes will be, about.
    pub(crate) fn new(root: &'static str, guess: usize) -> Self {
        let mut out = String::with_capacity(guess + 512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
        out.push_str(root);
        out.push_str(" xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        Self { out, root }
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Document {
        let root = self.root;
        self.close(root);
        Document(self.out.into())
    }

    /// `<name>`.
    pub(crate) fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    /// `</name>`.
    pub(crate) fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Text that needs no escapes.
    pub(crate) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// An element of text.
    pub(crate) fn field(&mut self, name: &str, text: &str) {
        self.open(name);
        escape(&mut self.out, text);
        self.close(name);
    }

    /// An element that holds a key or a part of one; with `encode` in the form of `encoding-type=url`.
    pub(crate) fn name_field(&mut self, name: &str, key: &[u8], encode: bool) {
        self.open(name);
        if encode {
            url_encode(&mut self.out, key);
        } else {
            escape(&mut self.out, &String::from_utf8_lossy(key));
        }
        self.close(name);
    }

    /// An element of a number.
    pub(crate) fn number(&mut self, name: &str, n: impl Display) {
        self.open(name);
        let _infallible = write!(self.out, "{n}");
        self.close(name);
    }

    /// An element of `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str, on: bool) {
        self.open(name);
        self.out.push_str(if on { "true" } else { "false" });
        self.close(name);
    }

    /// An element of a time: whole seconds, as Last-Modified shows them, in S3's ISO form.
    pub(crate) fn time(&mut self, name: &str, at: Timestamp) {
        self.open(name);
        iso(&mut self.out, at);
        self.close(name);
    }
}

/// An owner under that element's name.
pub(crate) fn owner(x: &mut Xml, element: &str, owner: &Owner) {
    x.open(element);
    x.field("ID", &owner.id);
    if !owner.display_name.is_empty() {
        x.field("DisplayName", &owner.display_name);
    }
    x.close(element);
}

/// Text with XML's escapes. Control characters become references, as AWS writes them: a parser that refuses those has
/// to ask for `encoding-type=url`.
pub(crate) fn escape(out: &mut String, text: &str) {
    let special = |b: u8| b < 0x20 || matches!(b, b'&' | b'<' | b'>' | b'"' | b'\'' | 0x7f | 0xef);
    if !text.bytes().any(special) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                let _infallible = write!(out, "&#x{:x};", u32::from(c));
            }
            _ => out.push(c),
        }
    }
}

/// Percent-encodes all but unreserved characters, `/` and `*`. A space is `%20`, which every decoder reads alike.
pub(crate) fn url_encode(out: &mut String, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| char::from(HEX.get(usize::from(n)).copied().unwrap_or(b'0'));
    for &b in text {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/' | b'*') {
            out.push(char::from(b));
        } else {
            out.extend(['%', digit(b >> 4), digit(b & 15)]);
        }
    }
}

/// `2009-10-12T17:50:30.000Z`.
pub(crate) fn iso(out: &mut String, at: Timestamp) {
    let (days, secs) = (at.secs() / 86_400, at.secs() % 86_400);
    let (year, month, day) = civil(days);
    let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
    let _infallible = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.000Z"
    );
}

/// The Gregorian date of a day since 1970, after Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(f: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        f(&mut out);
        out
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            made(|o| escape(o, "a<b>&\"'\u{1}\n\u{7f}\u{ffff}é")),
            "a&lt;b&gt;&amp;&quot;&apos;&#x1;&#xa;&#x7f;&#xffff;é"
        );
        assert_eq!(
            made(|o| url_encode(o, "a b+/%é".as_bytes())),
            "a%20b%2B/%25%C3%A9"
        );
    }

    #[test]
    fn dates_are_right() {
        let at = |secs| made(|o| iso(o, Timestamp::from_secs(secs)));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_document_is_whole() {
        let mut x = Xml::new("R", 0);
        x.field("A", "<");
        x.name_field("K", b"a b", true);
        x.number("N", 7);
        x.flag("F", true);
        let Document(bytes) = x.finish();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(
            text.ends_with("<A>&lt;</A><K>a%20b</K><N>7</N><F>true</F></R>"),
            "{text}"
        );
    }
}
