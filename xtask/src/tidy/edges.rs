//! Which crate may know which: services never know each other, and the domain types know no runtime.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Report;

const SERVICES: [&str; 4] = [
    "halofs-gateway",
    "halofs-filer",
    "halofs-master",
    "halofs-volume",
];
const TYPES: &str = "halofs-types";
const NOT_IN_TYPES: [&str; 6] = [
    "tokio",
    "hyper",
    "async-trait",
    "serde_json",
    "futures",
    "tracing",
];

/// Asks cargo for the direct dependencies of every crate of the workspace.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<()> {
    let out = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    }
    judge(&dependencies(&serde_json::from_slice(&out.stdout)?), report);
    Ok(())
}

/// Crate → its dependencies, those of tests left out.
fn dependencies(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let name = |v: &Value| v["name"].as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|p| {
            let direct = list(&p["dependencies"]);
            (
                name(p),
                direct
                    .iter()
                    .filter(|d| d["kind"] != "dev")
                    .map(name)
                    .collect(),
            )
        })
        .collect()
}

fn judge(crates: &BTreeMap<String, Vec<String>>, report: &mut Report) {
    for (name, direct) in crates {
        for d in direct {
            if SERVICES.contains(&name.as_str()) && SERVICES.contains(&d.as_str()) {
                report.broken(
                    name,
                    format!("depends on {d}: no edge between services, both know sdk/rust only"),
                );
            }
            if name == TYPES && NOT_IN_TYPES.contains(&d.as_str()) {
                report.broken(name, format!("depends on {d}: the types are pure"));
            }
            if name.starts_with("halofs-") && d == "halofs" {
                report.broken(name, "depends on the binary");
            }
        }
    }
    for s in SERVICES {
        if !crates.contains_key(s) {
            report.broken(s, "this service is not in the workspace");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(extra: &[(&str, &str)]) -> Vec<String> {
        let mut crates: BTreeMap<String, Vec<String>> = SERVICES
            .iter()
            .map(|s| ((*s).to_owned(), vec!["halofs-client".to_owned()]))
            .collect();
        for (a, b) in extra {
            crates
                .entry((*a).to_owned())
                .or_default()
                .push((*b).to_owned());
        }
        let mut report = Report::default();
        judge(&crates, &mut report);
        report.broken
    }

    #[test]
    fn clean_graph_passes() {
        assert!(broken(&[]).is_empty());
    }

    #[test]
    fn service_edge_and_runtime_in_types_are_found() {
        assert_eq!(broken(&[("halofs-gateway", "halofs-filer")]).len(), 1);
        assert_eq!(broken(&[("halofs-types", "tokio")]).len(), 1);
        assert_eq!(broken(&[("halofs-client", "halofs")]).len(), 1);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let metadata = serde_json::json!({"packages": [{"name": "a", "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]}]});
        assert_eq!(dependencies(&metadata)["a"], ["b"]);
    }
}
