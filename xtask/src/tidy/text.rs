//! Rules about names and words in tracked files.

use super::{Report, Tree};

const BANNED_NAMES: [&str; 8] = [
    "utils", "util", "common", "helpers", "helper", "misc", "stuff", "mod",
];
/// Places that exist on one machine only, and hosts that a mirror may replace. Split so that this file passes itself.
const BANNED_TEXT: [&str; 8] = [
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("repo1.", "maven"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];
const TO_DO: &str = concat!("TO", "DO");

/// Looks at every tracked file's name and, where it is text, at its lines.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in tree.ending("") {
        let name = file.rsplit('/').next().unwrap_or(file);
        let (stem, kind) = name.split_once('.').unwrap_or((name, ""));
        let code = matches!(kind, "rs" | "py" | "sh" | "ts" | "js" | "go");
        if code && BANNED_NAMES.contains(&stem) {
            report.broken(
                file,
                "a name that says nothing: call it after what it holds",
            );
        }
        if matches!(name, "Cargo.lock" | "package-lock.json" | "LICENSE") {
            continue;
        }
        for (n, line) in tree.read(file).unwrap_or_default().lines().enumerate() {
            let place = format!("{file}:{}", n + 1);
            if let Some(found) = BANNED_TEXT.iter().find(|t| line.contains(**t)) {
                report.broken(&place, format!("names {found}"));
            }
            if !owned(line) {
                report.broken(
                    &place,
                    format!("a {TO_DO} without an owner: write {TO_DO}(name)"),
                );
            }
        }
    }
}

/// Every to-do of the line names who owes it.
fn owned(line: &str) -> bool {
    line.split(TO_DO).skip(1).all(|rest| {
        let name = rest
            .strip_prefix('(')
            .and_then(|r| r.split_once(')'))
            .map_or("", |(n, _)| n);
        !name.trim().is_empty() || rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    fn broken(name: &str, text: &str) -> usize {
        let (_dir, tree) = planted(&[(name, text)]);
        let mut report = Report::default();
        check(&tree, &mut report);
        report.broken.len()
    }

    #[test]
    fn banned_names() {
        for name in ["a/utils.rs", "b/mod.rs", "c/common.py", "helpers.sh"] {
            assert_eq!(broken(name, ""), 1, "{name}");
        }
        assert_eq!(broken("libs/types/src/range.rs", ""), 0);
        assert_eq!(broken("docs/common.md", ""), 0);
    }

    #[test]
    fn banned_text() {
        for text in BANNED_TEXT {
            assert_eq!(broken("a.md", &format!("see {text}x")), 1, "{text}");
        }
        assert_eq!(broken("Cargo.lock", BANNED_TEXT[0]), 0);
        assert_eq!(broken("a.md", "target/release"), 0);
    }

    #[test]
    fn to_do_needs_an_owner() {
        assert_eq!(broken("a.rs", &format!("// {TO_DO}: later")), 1);
        assert_eq!(broken("a.rs", &format!("// {TO_DO}(): later")), 1);
        assert_eq!(broken("a.rs", &format!("// {TO_DO}(ana): later")), 0);
    }
}
