//! What the README of each crate says of it is so: its example is one that the documentation's tests
//! run, its floor is the one that the house rules keep, and it uses what it says.

use std::fs;

use crate::tidy::{crates, dependencies, floor, manifest, root};

/// The first example of a crate's document, without the lines that are hidden.
fn example(document: &str) -> String {
    let lines = document.lines().filter_map(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let in_block = lines.skip_while(|line| !line.starts_with("```")).skip(1);
    let code = in_block.take_while(|line| !line.starts_with("```"));
    let shown = code.filter(|line| line.trim() != "#" && !line.trim_start().starts_with("# "));
    shown.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
}

/// Where a crate stands, as its README says it.
fn place(krate: &str) -> String {
    let used: Vec<String> = dependencies(krate)
        .iter()
        .filter(|name| name.starts_with("icecore"))
        .map(|name| format!("`{name}`"))
        .collect();
    let used = match used.is_empty() {
        true => "uses no other crate of icecore".to_owned(),
        false => format!("uses {}", used.join(", ")),
    };
    match floor(krate) {
        Some(floor) => format!("It stands on floor {floor}, and {used}."),
        None => format!("It is for tests, and {used}."),
    }
}

#[test]
fn the_readme_of_a_crate_says_what_is_so() {
    let mut wrong = Vec::new();
    for krate in crates() {
        let folder = root().join("crates").join(&krate);
        let Ok(readme) = fs::read_to_string(folder.join("README.md")) else {
            wrong.push(format!("`{krate}` has no README.md"));
            continue;
        };
        let package = manifest(&folder.join("Cargo.toml"));
        if package["package"].get("readme").and_then(|it| it.as_str()) != Some("README.md") {
            wrong.push(format!("`{krate}`: Cargo.toml does not name the README.md"));
        }
        let document = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        if !readme.contains(&format!("```rust\n{}\n```", example(&document))) {
            wrong.push(format!("`{krate}`: not the example of the crate's document"));
        }
        // However its lines are broken.
        let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
        if !words.contains(&place(&krate)) {
            wrong.push(format!("`{krate}`: it should say\n  {}", place(&krate)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
