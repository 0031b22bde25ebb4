//! The URL forms of a fid, and query parameters.
//!
//! | path | file name | extension |
//! |---|---|---|
//! | `/3,01637037d6` | | |
//! | `/3,01637037d6.jpg` | | `jpg` |
//! | `/3/01637037d6` | | |
//! | `/3/01637037d6.jpg` | | `jpg` |
//! | `/3/01637037d6/any_name.jpg` | `any_name.jpg` | `jpg` |
//! | `/3,01637037d6/any_name.jpg` | `any_name.jpg` | `jpg` |

use std::borrow::Cow;

use halofs_types::FileId;
use http::Uri;
use percent_encoding::percent_decode_str;

use super::name;
use super::reply::Refusal;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) fid: FileId,
    /// The name segment of the path.
    pub(super) name: Option<String>,
    /// The extension in the path, without its dot.
    pub(super) extension: Option<String>,
    /// The last segment with everything in it: what an upload without a name is called.
    pub(super) last: String,
}

impl Target {
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let bad = |reason: &dyn std::fmt::Display| Refusal::bad(format!("{path}: {reason}"));
        let decoded: Vec<Cow<'_, str>> = path
            .strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .map(|s| percent_decode_str(s).decode_utf8())
            .collect::<Result<_, _>>()
            .map_err(|_| bad(&"the path is not UTF-8"))?;
        let parts: Vec<&str> = decoded.iter().map(Cow::as_ref).collect();
        let (fid, name, extension) = match parts[..] {
            [one] => {
                let (fid, extension) = name::split_extension(one);
                (fid.parse::<FileId>(), None, extension)
            }
            [fid, name] if fid.contains(',') => (
                fid.parse::<FileId>(),
                Some(name),
                name::split_extension(name).1,
            ),
            [volume, rest] => {
                let (rest, extension) = name::split_extension(rest);
                let fid = volume
                    .parse()
                    .and_then(|v| FileId::parse_key_cookie(v, rest));
                (fid, None, extension)
            }
            [volume, rest, name] => {
                let fid = volume
                    .parse()
                    .and_then(|v| FileId::parse_key_cookie(v, rest));
                (fid, Some(name), name::split_extension(name).1)
            }
            _ => {
                return Err(bad(
                    &"a path is /volume,fid, /volume/fid or /volume/fid/name",
                ));
            }
        };
        let fid = fid.map_err(|e| bad(&e))?;
        if name.is_some_and(|n| name::clean(n).is_none()) {
            return Err(bad(&"that is not a file name"));
        }
        Ok(Self {
            fid,
            name: name.map(str::to_owned),
            extension: extension.map(str::to_owned),
            last: parts.last().copied().unwrap_or_default().to_owned(),
        })
    }
}

/// Decoded query parameters; of repeated ones the first counts.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let Some(query) = uri.query() else {
            return Ok(Self::default());
        };
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// Its value, if it is there; may be empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Whether it is there and not empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| !v.is_empty())
    }

    /// Whether it is a true boolean.
    pub(super) fn on(&self, name: &str) -> bool {
        matches!(
            self.get(name),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True")
        )
    }

    /// Whether it is a false boolean.
    pub(super) fn off(&self, name: &str) -> bool {
        matches!(
            self.get(name),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False")
        )
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let plain = percent_decode_str(&spaced).decode_utf8();
    plain
        .map(Cow::into_owned)
        .map_err(|_| Refusal::bad("the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_forms() {
        for (path, fid, name, extension) in [
            ("/3,01637037d6", "3,01637037d6", None, None),
            ("/3%2C01637037d6", "3,01637037d6", None, None),
            ("/3,01637037d6.jpg", "3,01637037d6", None, Some("jpg")),
            ("/3/01637037d6", "3,01637037d6", None, None),
            ("/3/01637037d6.jpg", "3,01637037d6", None, Some("jpg")),
            (
                "/3/01637037d6/any_name.jpg",
                "3,01637037d6",
                Some("any_name.jpg"),
                Some("jpg"),
            ),
            (
                "/3,01637037d6/any%20name",
                "3,01637037d6",
                Some("any name"),
                None,
            ),
            ("/3,01637037d6_1.tar.gz", "", None, None),
            ("/3,01637037d6_2.gz", "3,03637037d6", None, Some("gz")),
            ("/3/01637037d6_1/x", "3,02637037d6", Some("x"), None),
            ("/3", "", None, None),
            ("/", "", None, None),
            ("/3,01637037d6/", "", None, None),
            ("/3,01637037d6/..", "", None, None),
            ("/3/01637037d6.jpg/x", "", None, None),
            ("/3/0163/7037d6/x", "", None, None),
            ("/4294967296,01637037d6", "", None, None),
            ("/3,%ff", "", None, None),
        ] {
            match Target::parse(path) {
                Ok(t) => {
                    assert_eq!(t.fid.to_string(), fid, "{path}");
                    assert_eq!(
                        (t.name.as_deref(), t.extension.as_deref()),
                        (name, extension),
                        "{path}"
                    );
                }
                Err(e) => assert_eq!(fid, "", "{path}: {e:?}"),
            }
        }
    }

    #[test]
    fn queries() {
        let q = Query::of(&"/a?dl=true&x=a+b%20c&e&x=2".parse().unwrap()).unwrap();
        assert!(q.on("dl") && !q.has("e") && q.get("e") == Some(""));
        assert_eq!(q.get("x"), Some("a b c"));
        assert!(Query::of(&"/a?x=%ff".parse().unwrap()).is_err());
    }
}
