//! HTTP byte ranges (RFC 9110 §14), parsed and resolved against a size.

/// A resolved range: bytes `start..end` of a representation, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Never true for a resolved range.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// `bytes a-b/size`.
    pub fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end.saturating_sub(1))
    }
}

/// One range as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `a-b`, both ends included.
    Closed(u64, u64),
    /// `a-`.
    From(u64),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

impl RangeSpec {
    /// The bytes of a representation of `size` bytes that this names, if there are any.
    pub fn resolve(self, size: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Self::Closed(a, b) => (a, b.saturating_add(1).min(size)),
            Self::From(a) => (a, size),
            Self::Suffix(n) => (size.saturating_sub(n), size),
        };
        (start < end).then_some(ByteRange { start, end })
    }
}

/// What a `Range` header means for a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// No header, an unknown unit, or a set that is to be ignored: answer 200 with everything.
    Whole,
    /// Answer 206 with these, in the order asked for.
    Some(Vec<ByteRange>),
    /// Answer 416 with `Content-Range: bytes */size`.
    Unsatisfiable,
}

/// Ranges of one header beyond which the whole is sent (RFC 9110 §14.2 lets a server ignore such a set).
const RANGES_MAX: usize = 64;

/// Parses a `Range` value. `None`: another unit, to be ignored. `Some(Err)`: bad syntax.
pub fn parse(header: &str) -> Option<Result<Vec<RangeSpec>, BadRange>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some(set.split(',').map(|s| parse_one(s.trim())).collect())
}

/// The `Range` header names bytes, but not as RFC 9110 writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a byte range is first-last, first- or -count")]
pub struct BadRange;

fn parse_one(s: &str) -> Result<RangeSpec, BadRange> {
    let number = |t: &str| -> Result<u64, BadRange> {
        if t.is_empty() || !t.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadRange);
        }
        Ok(t.parse().unwrap_or(u64::MAX))
    };
    match s.split_once('-').ok_or(BadRange)? {
        ("", n) => Ok(RangeSpec::Suffix(number(n)?)),
        (a, "") => Ok(RangeSpec::From(number(a)?)),
        (a, b) => {
            let (a, b) = (number(a)?, number(b)?);
            if a > b {
                Err(BadRange)
            } else {
                Ok(RangeSpec::Closed(a, b))
            }
        }
    }
}

/// The whole decision for the native API: bad syntax and unsatisfiable sets are 416, a set that sums to more than the
/// representation, or of too many ranges, is ignored.
pub fn decide(header: Option<&str>, size: u64) -> Ranges {
    let Some(parsed) = header.and_then(parse) else {
        return Ranges::Whole;
    };
    let Ok(specs) = parsed else {
        return Ranges::Unsatisfiable;
    };
    let got: Vec<ByteRange> = specs.iter().filter_map(|s| s.resolve(size)).collect();
    if got.is_empty() {
        return Ranges::Unsatisfiable;
    }
    let sum = got.iter().fold(0u64, |n, r| n.saturating_add(r.len()));
    if got.len() > RANGES_MAX || sum > size {
        Ranges::Whole
    } else {
        Ranges::Some(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let one = |start, end| Ranges::Some(vec![ByteRange { start, end }]);
        for (header, want) in [
            ("bytes=0-0", one(0, 1)),
            ("bytes=5-", one(5, 10)),
            ("bytes=-3", one(7, 10)),
            ("bytes=-99", one(0, 10)),
            ("bytes=2-99999999999999999999", one(2, 10)),
            ("bytes=10-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=3-1", Ranges::Unsatisfiable),
            ("bytes=", Ranges::Unsatisfiable),
            ("bytes=a-b", Ranges::Unsatisfiable),
            ("lines=1-2", Ranges::Whole),
            ("bytes=0-9,0-9", Ranges::Whole),
        ] {
            assert_eq!(decide(Some(header), 10), want, "{header}");
        }
        assert_eq!(decide(None, 0), Ranges::Whole);
    }
}
