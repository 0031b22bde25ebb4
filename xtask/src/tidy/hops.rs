//! The PUT path as ARCHITECTURE.md lists it: rows `| 3 | path/to/file.rs | function | … |` below the heading "PUT path".
//! Every function must be there; the number of hops is printed.

use super::{Report, Tree};

const PAGE: &str = "ARCHITECTURE.md";

/// Reads the table and looks each function up.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    let page = tree.read(PAGE).unwrap_or_default();
    let Some(section) = page.split("## PUT path").nth(1) else {
        report.broken(PAGE, "has no section `## PUT path`");
        return;
    };
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut hops = 0;
    for row in section.lines().filter(|l| l.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(|c| c.trim().trim_matches('`')).collect();
        let (Some(number), Some(file), Some(function)) = (cells.get(1), cells.get(2), cells.get(3))
        else {
            continue;
        };
        if number.parse::<u32>().is_err() {
            continue;
        }
        hops += 1;
        let name = function.rsplit("::").next().unwrap_or(function);
        let there = tree.read(file).is_some_and(|t| {
            t.contains(&format!("fn {name}(")) || t.contains(&format!("fn {name}<"))
        });
        if !there {
            report.broken(PAGE, format!("hop {number}: {file} has no function {name}"));
        }
    }
    report.fact(format!("hops on the PUT path: {hops} (goal: at most 11)"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted;

    #[test]
    fn hops_are_counted_and_looked_up() {
        let page = "# A\n## PUT path\n| # | file | function |\n|---|---|---|\n| 1 | a.rs | `A::put` | x |\n| 2 | a.rs | gone | y |\n## Next\n| 3 | a.rs | no |\n";
        let (_dir, tree) = planted(&[(PAGE, page), ("a.rs", "fn put(&self) {}")]);
        let mut report = Report::default();
        check(&tree, &mut report);
        assert_eq!(report.broken.len(), 1, "{report:?}");
        assert!(report.facts[0].contains(": 2 "));
    }
}
