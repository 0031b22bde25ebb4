//! Prints sizes for people to judge: longest files and functions, and how much code lies in long files.

use anyhow::{Context, Result};
use syn::{
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{Report, Tree};

const LONG_FILE: usize = 600;

/// Lines of one function.
#[derive(Debug)]
struct Function {
    lines: usize,
    place: String,
}

/// Collects the functions of a file, those of tests left out.
struct Functions<'a> {
    file: &'a str,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let (start, end) = (span.start().line, span.end().line);
        self.found.push(Function {
            lines: end.saturating_sub(start) + 1,
            place: format!("{}:{start} {name}", self.file),
        });
    }
}

fn of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("test")
            || (a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|i| i == "test"))
    })
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, i: &'ast syn::ItemMod) {
        if !of_tests(&i.attrs) {
            visit::visit_item_mod(self, i);
        }
    }

    fn visit_item_fn(&mut self, i: &'ast syn::ItemFn) {
        if !of_tests(&i.attrs) {
            self.add(&i.sig.ident, i.block.span());
            visit::visit_item_fn(self, i);
        }
    }

    fn visit_impl_item_fn(&mut self, i: &'ast syn::ImplItemFn) {
        self.add(&i.sig.ident, i.block.span());
        visit::visit_impl_item_fn(self, i);
    }
}

/// Lines of a source that are neither empty nor comments nor tests.
fn code_lines(text: &str) -> usize {
    let body = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    body.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("//"))
        .count()
}

/// Adds the sizes to the report.
pub(super) fn check(tree: &Tree, report: &mut Report) -> Result<()> {
    let (mut files, mut functions) = (Vec::new(), Vec::new());
    for file in tree.ending(".rs") {
        if file.contains("/tests/") || file.ends_with("tests.rs") {
            continue;
        }
        let text = tree.read(file).unwrap_or_default();
        let parsed = syn::parse_file(&text).with_context(|| file.to_owned())?;
        let mut visitor = Functions {
            file,
            found: Vec::new(),
        };
        visitor.visit_file(&parsed);
        functions.append(&mut visitor.found);
        files.push((code_lines(&text), file));
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    functions.sort_unstable_by_key(|f| std::cmp::Reverse(f.lines));
    let total: usize = files.iter().map(|f| f.0).sum();
    let long: usize = files.iter().map(|f| f.0).filter(|n| *n > LONG_FILE).sum();
    report.fact(format!(
        "{total} lines of code in {} files, {} functions; in files over {LONG_FILE} lines: {} % (goal: 0)",
        files.len(),
        functions.len(),
        long * 100 / total.max(1)
    ));
    if let Some(p99) = functions.get(functions.len() / 100) {
        report.fact(format!(
            "function length: p99 {} lines (goal: at most 80)",
            p99.lines
        ));
    }
    report.fact("longest files:");
    for (lines, file) in files.iter().take(5) {
        report.fact(format!("  {lines:5} {file}"));
    }
    report.fact("longest functions:");
    for f in functions.iter().take(5) {
        report.fact(format!("  {:5} {}", f.lines, f.place));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn comments_blank_lines_and_tests_are_not_code() {
        assert_eq!(
            code_lines(
                "//! doc\n\nfn a() {\n    // why\n    b();\n}\n\n#[cfg(test)]\nmod tests {\n}\n"
            ),
            3
        );
    }

    #[test]
    fn longest_function_is_named_and_tests_are_left_out() {
        let text = "fn short() {}\nimpl A {\n    fn long(&self) {\n        a();\n        b();\n    }\n}\n#[cfg(test)]\nmod tests {\n    fn longer() {\n\n\n\n\n\n\n    }\n}\n";
        let (_dir, tree) = planted(&[("a.rs", text)]);
        let mut report = Report::default();
        check(&tree, &mut report).expect("parses");
        let text = report.text();
        assert!(text.contains("4 a.rs:3 long"), "{text}");
        assert!(!text.contains("longer"), "{text}");
    }
}
