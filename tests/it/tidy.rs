//! The house rules, as tests: floors, foreign systems, documents, sizes, and no panicking calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of each floor, from the ground up. A crate uses only crates of floors below its own.
const FLOORS: [&[&str]; 7] = [
    &["core"],
    &["catalog", "kernel", "online", "tls", "traces", "tracking"],
    &["engine", "monitor"],
    &["features", "models", "pit", "train"],
    &["dataset", "materialize"],
    &["push", "score"],
    &["flight", "serve", "icecore"],
];

/// Crates that may use a neighbour on their own floor.
const NEIGHBOURS: [(&str, &str); 2] = [("icecore", "flight"), ("icecore", "serve")];

/// Where each foreign system is at home.
const HOMES: [(&str, &[&str]); 14] = [
    ("iceberg", &["catalog"]),
    ("reqwest", &["catalog", "monitor", "traces"]),
    ("object_store", &["catalog", "engine", "testkit"]),
    ("parquet", &["catalog", "engine"]),
    ("datafusion", &["engine", "features", "pit"]),
    ("sqlx", &["catalog", "tracking"]),
    ("smartcore", &["train"]),
    ("redb", &["online"]),
    ("redis", &["online"]),
    ("axum", &["serve"]),
    ("arrow-flight", &["flight"]),
    ("tonic", &["flight"]),
    ("tokio-rustls", &["tls"]),
    ("opentelemetry", &["traces"]),
];

/// Code lines of a file, comments, blank lines and test modules not counted.
const FILE_LINES_MAX: usize = 400;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn crates() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn manifest(path: &Path) -> toml::Table {
    toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The names of a crate's dependencies, those of its tests left out.
pub(crate) fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = manifest(&root().join("crates").join(krate).join("Cargo.toml"));
    let table = manifest.get("dependencies").and_then(|value| value.as_table());
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

pub(crate) fn floor(krate: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&krate))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources_under(dirs: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in dirs {
        sources(&root().join(dir), &mut found);
    }
    found.sort();
    found
}

/// Whether a file is compiled for tests only.
fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with("/tests.rs")
        || text.contains("/tests/")
        || text.contains("/testkit/")
        || is_declared_for_tests(path)
}

/// Whether the module above declares the file with `#[cfg(test)]`.
fn is_declared_for_tests(path: &Path) -> bool {
    let (Some(dir), Some(name)) = (path.parent(), path.file_stem()) else { return false };
    let declaration = format!("#[cfg(test)]\nmod {};", name.to_string_lossy());
    [dir.join("lib.rs"), dir.with_extension("rs")]
        .iter()
        .filter_map(|parent| fs::read_to_string(parent).ok())
        .any(|text| text.contains(&declaration))
}

/// The code of a file up to its inline test module, comments and blank lines left out.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).map(str::to_owned).collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn a_crate_uses_only_crates_below_it() {
    let mut wrong = Vec::new();
    for krate in crates().iter().filter(|krate| *krate != "testkit") {
        let own = floor(krate).unwrap_or_else(|| panic!("crate `{krate}` stands on no floor"));
        for used in dependencies(krate) {
            let used = match used.as_str() {
                "icecore" => "icecore",
                other => match other.strip_prefix("icecore-") {
                    Some(used) => used,
                    None => continue,
                },
            };
            let below = floor(used).is_some_and(|floor| floor < own);
            if !below && !NEIGHBOURS.contains(&(krate.as_str(), used)) {
                wrong.push(format!("`icecore-{krate}` may not use `icecore-{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_testkit_stands_on_the_catalog() {
    let used = dependencies("testkit");
    let ours: Vec<_> = used.iter().filter(|name| name.starts_with("icecore")).collect();
    // The simulation drives the real catalog through its seams.
    assert_eq!(ours, ["icecore-catalog", "icecore-core"]);
}

#[test]
fn a_foreign_system_has_one_home() {
    let mut wrong = Vec::new();
    for krate in crates() {
        let used = dependencies(&krate);
        for (system, homes) in HOMES {
            if used.contains(system) && !homes.contains(&krate.as_str()) {
                wrong.push(format!("`{system}` is not at home in `{krate}`, but in {homes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_version_stands_in_the_workspace() {
    let mut wrong = Vec::new();
    let members = crates().into_iter().map(|krate| format!("crates/{krate}"));
    for member in members.chain(["bins/icecore", "benches", "tests"].map(str::to_owned)) {
        let manifest = manifest(&root().join(&member).join("Cargo.toml"));
        for section in ["dependencies", "dev-dependencies"] {
            let Some(table) = manifest.get(section).and_then(|value| value.as_table()) else {
                continue;
            };
            for (name, value) in table {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool);
                if inherited != Some(true) {
                    wrong.push(format!("{member}: `{name}` has a version of its own"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_opens_with_a_document_and_an_example() {
    let mut wrong = Vec::new();
    for krate in crates() {
        let text =
            fs::read_to_string(root().join("crates").join(&krate).join("src/lib.rs")).unwrap();
        let document: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if document.is_empty() {
            wrong.push(format!("`{krate}` has no crate document"));
        } else if !document.iter().any(|line| line.contains("```")) {
            wrong.push(format!("`{krate}`'s document has no example"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_do_not_panic_print_or_exit() {
    const CALLS: [&str; 9] = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "println!(",
        "eprintln!(",
        "dbg!(",
        "process::exit",
    ];
    let mut wrong = Vec::new();
    for path in sources_under(&["crates"]).iter().filter(|path| !is_test(path)) {
        // A constant that cannot be made fails the build, not a program.
        for line in code(path).into_iter().filter(|line| !line.starts_with("const ")) {
            for call in CALLS.iter().filter(|call| line.contains(*call)) {
                wrong.push(format!("{}: `{call}` in `{line}`", relative(path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_has_one_subject() {
    let mut wrong = Vec::new();
    for path in sources_under(&["crates", "bins", "benches", "tests"]) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["util", "utils", "helper", "helpers", "common", "misc", "types", "prelude", "mod"]
            .contains(&name.as_str())
        {
            wrong.push(format!("{}: the name says nothing", relative(&path)));
        }
        let lines = code(&path).len();
        if lines > FILE_LINES_MAX && !is_test(&path) {
            wrong.push(format!("{}: {lines} lines of code", relative(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let marks: BTreeMap<&str, String> =
        ["TODO", "FIXME", "XXX", "HACK"].map(|mark| (mark, format!("// {mark}"))).into();
    let mut wrong = Vec::new();
    for path in sources_under(&["crates", "bins", "benches"]) {
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks.values().filter(|mark| text.contains(mark.as_str())) {
            wrong.push(format!("{}: {mark}", relative(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
