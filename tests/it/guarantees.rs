//! The list of promises names tests that exist: docs/reference/guarantees.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The `path::name` of tests that a line names.
fn named(line: &str) -> Vec<(&str, &str)> {
    line.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect()
}

/// Whether a file of tests has one of this name.
fn has(text: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("fn ") || line.starts_with("async fn ") {
            if is_test && line.contains(&format!("fn {name}(")) {
                return true;
            }
            is_test = false;
        }
    }
    false
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let list = fs::read_to_string(root.join("docs/reference/guarantees.md")).unwrap();
    let (mut ids, mut missing) = (BTreeSet::new(), Vec::new());
    for line in list.lines().filter(|line| line.starts_with("| ") && !line.contains("promise")) {
        let id = line.split('|').nth(1).unwrap().trim();
        assert!(ids.insert(id), "two promises are called {id}");
        let tests = named(line);
        assert!(!tests.is_empty(), "{id} names no test");
        for (path, name) in tests {
            let text = fs::read_to_string(root.join(path)).unwrap_or_default();
            if !has(&text, name) {
                missing.push(format!("{id}: {path}::{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "there is no such test:\n{}", missing.join("\n"));
    assert!(ids.len() > 40, "{}", ids.len());
}
