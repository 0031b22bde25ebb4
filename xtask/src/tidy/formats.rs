//! Pages under `docs/format` carry the hash of the sources they describe, in lines of the form
//! `<!-- source: volume/src/format/needle.rs sha256:0123… -->`. A source that changes without its page being looked at
//! breaks the rule; `tidy --fix` writes the hashes anew, which the reviewer of the change then sees.

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::{Report, Tree};

const START: &str = "<!-- source: ";

/// A source whose bytes end on a disk or on a wire that outlives one version.
fn is_format(file: &str) -> bool {
    let kind = file.rsplit_once('.').map_or("", |(_, k)| k);
    let rust = kind == "rs" && !file.ends_with("tests.rs") && !file.contains("/tests/");
    (rust
        && (file.contains("/src/format/")
            || file.contains("/src/model/")
            || file == "filer/src/key.rs"
            || file == "master/src/topology/command.rs"))
        || kind == "proto"
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Splits a hash line into its source and the hash that stands there.
fn parse(line: &str) -> Option<(&str, &str)> {
    let inner = line.trim().strip_prefix(START)?.strip_suffix("-->")?.trim();
    Some(
        inner
            .split_once(" sha256:")
            .map_or((inner, ""), |(source, hash)| (source.trim(), hash.trim())),
    )
}

/// Compares, or with `fix` rewrites, every hash line; then looks for format sources that no page names.
pub(super) fn check(tree: &Tree, fix: bool, report: &mut Report) -> Result<()> {
    let mut described = Vec::new();
    for page in tree.ending(".md").filter(|f| f.starts_with("docs/format/")) {
        let text = tree.read(page).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut sources = 0;
        for line in &mut lines {
            let Some((source, stands)) = parse(line) else {
                continue;
            };
            sources += 1;
            let Some(now) = tree.read(source).map(|t| hash(&t)) else {
                report.broken(page, format!("names {source}, which is not there"));
                continue;
            };
            if stands != now && !fix {
                report.broken(
                    page,
                    format!(
                        "{source} changed: look the page over, then `make fix` writes the new hash"
                    ),
                );
            }
            described.push(source.to_owned());
            *line = format!("{START}{source} sha256:{now} -->");
        }
        if sources == 0 {
            report.broken(page, format!("has no line `{START}FILE -->`"));
        }
        let fixed = lines.join("\n") + "\n";
        if fix && fixed != text {
            tree.rewrite(page, &fixed)?;
        }
    }
    for file in tree.ending("").filter(|f| is_format(f)) {
        if !described.iter().any(|d| d == file) {
            report.broken(file, "is a format, and no page under docs/format names it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    fn broken(files: &[(&str, &str)]) -> usize {
        let (_dir, tree) = planted(files);
        let mut report = Report::default();
        check(&tree, false, &mut report).expect("readable");
        report.broken.len()
    }

    #[test]
    fn right_hash_passes_and_a_changed_source_fails() {
        let page = format!(
            "# Record\n{START}volume/src/format/needle.rs sha256:{} -->\n",
            hash("one")
        );
        assert_eq!(
            broken(&[
                ("docs/format/needle.md", &page),
                ("volume/src/format/needle.rs", "one")
            ]),
            0
        );
        assert_eq!(
            broken(&[
                ("docs/format/needle.md", &page),
                ("volume/src/format/needle.rs", "two")
            ]),
            1
        );
    }

    #[test]
    fn undescribed_source_missing_source_and_page_without_a_line_fail() {
        assert_eq!(broken(&[("volume/src/format/needle.rs", "one")]), 1);
        assert_eq!(
            broken(&[("docs/format/a.md", "<!-- source: no.rs -->\n")]),
            1
        );
        assert_eq!(broken(&[("docs/format/a.md", "text\n")]), 1);
        assert_eq!(broken(&[("volume/src/format/tests.rs", "one")]), 0);
    }

    #[test]
    fn fix_writes_the_hash() {
        let (_dir, tree) = planted(&[
            (
                "docs/format/a.md",
                "x\n<!-- source: libs/proto/proto/a.proto -->\n",
            ),
            ("libs/proto/proto/a.proto", "m"),
        ]);
        let mut report = Report::default();
        check(&tree, true, &mut report).expect("writable");
        assert!(report.clean());
        check(&tree, false, &mut report).expect("readable");
        assert!(report.clean(), "{report:?}");
    }
}
