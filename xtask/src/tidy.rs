//! The rules that no compiler checks. Each rule is a module with one `check`, which adds to the report what breaks it.
//!
//! | module | fails on |
//! |---|---|
//! | [`edges`] | a dependency between two services; `types` with an async runtime |
//! | [`formats`] | a format source that changed without its page under `docs/format`, or has none |
//! | [`text`] | banned file names, a to-do without an owner, paths of one machine, registry hosts |
//! | [`failures`] | a list of expected failures that grew |
//! | [`sizes`] | nothing: it prints the longest files and functions for people to judge |
//! | [`hops`] | a PUT path in ARCHITECTURE.md that names a function which is not there |

mod edges;
mod failures;
mod formats;
mod hops;
mod sizes;
mod text;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// What the rules found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    broken: Vec<String>,
    facts: Vec<String>,
}

impl Report {
    /// A broken rule: where, and what.
    pub(crate) fn broken(&mut self, place: &str, what: impl AsRef<str>) {
        self.broken.push(format!("{place}: {}", what.as_ref()));
    }

    /// Something to print that breaks nothing.
    pub(crate) fn fact(&mut self, line: impl Into<String>) {
        self.facts.push(line.into());
    }

    /// No rule is broken.
    pub(crate) fn clean(&self) -> bool {
        self.broken.is_empty()
    }

    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut out = self.facts.join("\n");
        for line in &self.broken {
            out.push_str("\nBROKEN ");
            out.push_str(line);
        }
        out + &format!("\ntidy: {} broken\n", self.broken.len())
    }
}

/// The tracked files of the work tree, with paths from its root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

impl Tree {
    /// Lists what git tracks or would track.
    fn open(root: &Path) -> Result<Self> {
        let out = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("git ls-files")?;
        if !out.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&out.stderr));
        }
        let mut files: Vec<String> = String::from_utf8_lossy(&out.stdout)
            .split('\0')
            .filter(|f| !f.is_empty() && root.join(f).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// Files whose name ends so.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a str> {
        self.files
            .iter()
            .map(String::as_str)
            .filter(move |f| f.ends_with(end))
    }

    /// The text of a file, or nothing when it is not text.
    pub(crate) fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(file)).ok()
    }

    /// Replaces a file's text.
    pub(crate) fn rewrite(&self, file: &str, text: &str) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "a work tree needs no sync")]
        std::fs::write(self.root.join(file), text).with_context(|| file.to_owned())
    }
}

/// Runs every rule; `fix` rewrites the hash lines of the format pages first.
pub(crate) fn run(root: &Path, fix: bool) -> Result<Report> {
    let tree = Tree::open(root)?;
    let mut report = Report::default();
    edges::check(root, &mut report)?;
    formats::check(&tree, fix, &mut report)?;
    text::check(&tree, &mut report);
    failures::check(&tree, &mut report)?;
    hops::check(&tree, &mut report);
    sizes::check(&tree, &mut report)?;
    Ok(report)
}

/// A tree of given files in a temporary folder, for the rules' own tests.
#[cfg(test)]
pub(crate) fn planted(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
        std::fs::write(path, text).expect("a file");
    }
    let tree = Tree {
        root: dir.path().to_owned(),
        files: files.iter().map(|(n, _)| (*n).to_owned()).collect(),
    };
    (dir, tree)
}
