//! The examples: what their documents, and the pages that they name, tell people to type works, in
//! the order in which it stands there; what these show of files is in the files.

mod document;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::{icecore_path, json, text};
use crate::service::Service;
use document::{Document, Shown, is_part};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

/// A copy of one of the examples, without what a run has left in it.
pub(crate) fn example(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join(name);
    copy(&examples().join(name), &project);
    (dir, project)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == ".icecore" || name == "target" || name.to_string_lossy().ends_with(".lock.toml")
        {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Runs the commands of one block. A service lives as long as its block.
fn run_block(project: &Path, place: &str, commands: &[String]) {
    let mut service = None;
    for line in commands {
        if line.starts_with("icecore serve") {
            service = Some(Service::start(project, &[]));
        } else if line.starts_with("curl ") {
            ask(service.as_ref().unwrap_or_else(|| panic!("{place}: nothing serves")), place, line);
        } else {
            run_line(project, place, line);
        }
    }
}

/// What a shell does with a line.
fn run_line(project: &Path, place: &str, line: &str) {
    let mut script = line.to_owned();
    if line.starts_with("icecore reproduce RUN") {
        let runs = json(project, &["models", "show", "churn-prediction-gbm"]);
        script = line.replace("RUN", runs[0]["run"].as_str().unwrap());
    }
    let folder = icecore_path().parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(project)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // What is told by the status of a command is told beside it.
    let is_fine =
        output.status.success() || line.contains("status 1") && output.status.code() == Some(1);
    assert!(is_fine, "{place}: {line}\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// What `curl` asks a service that listens on the port of the documents.
fn ask(service: &Service, place: &str, line: &str) {
    let words = document::words(line);
    let after = |flag: &str| {
        let at = words.iter().position(|word| word == flag);
        at.and_then(|at| words.get(at + 1)).map(String::as_str)
    };
    let path = words.iter().find_map(|word| word.strip_prefix("localhost:8080"));
    let path = path.unwrap_or_else(|| panic!("{place}: {line}: whom does it ask?"));
    let status = match after("-d") {
        Some(body) => {
            let header = after("-H").map(|header| format!("{header}\r\n")).unwrap_or_default();
            service.post(path, &header, body)
        }
        None => {
            let (status, body) = service.get(path, "");
            (status, body.into())
        }
    };
    assert_eq!(status.0, 200, "{place}: {line}: {}", status.1);
}

fn run_document(project: &Path, document: &Document) {
    for block in &document.commands {
        run_block(project, &document.name, block);
    }
}

#[test]
fn what_the_documents_of_the_examples_tell_to_type_works() {
    for entry in fs::read_dir(examples()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name == "payments" || !entry.file_type().unwrap().is_dir() {
            continue;
        }
        let (_dir, project) = example(&name);
        run_document(&project, &Document::read(&examples().join(&name).join("README.md")));
    }
}

#[test]
fn the_payments_and_every_page_that_is_about_them_run() {
    let (_dir, project) = example("payments");
    let readme = Document::read(&examples().join("payments/README.md"));
    run_document(&project, &readme);
    assert!(readme.pages.len() > 10, "{:?}", readme.pages);
    for page in &readme.pages {
        let page = Document::read(page);
        assert!(page.text.contains("examples/payments/README.md"), "{}: no way back", page.name);
        run_document(&project, &page);
    }
}

#[test]
fn what_the_pages_show_of_files_is_in_the_files() {
    let payments = examples().join("payments");
    let mut found = 0;
    for page in Document::read(&payments.join("README.md")).pages {
        let page = Document::read(&page);
        for Shown { file, text } in &page.files {
            let there = fs::read_to_string(payments.join(file))
                .unwrap_or_else(|error| panic!("{}: `{file}`: {error}", page.name));
            if file.ends_with(".toml") {
                let (shown, there) = (toml::from_str(text).unwrap(), toml::from_str(&there));
                assert!(
                    is_part(&shown, &there.unwrap()),
                    "{}: `{file}` has other contents than\n{text}",
                    page.name
                );
            } else {
                assert!(there.contains(text.trim()), "{}: `{file}` has not\n{text}", page.name);
            }
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn the_data_of_the_payments_stay_small() {
    fn size(path: &Path) -> u64 {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        entries
            .map(|entry| match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => size(&entry.path()),
                metadata => metadata.len(),
            })
            .sum()
    }
    assert!(size(&examples().join("payments/data")) < 300_000);
}
