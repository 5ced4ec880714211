//! The same definitions on real purchase histories.

use crate::binary::{make_demo, python, run, text};
use std::path::PathBuf;
use std::process::Command;

/// The data set, from the package that carries it; it is not in this repository.
fn cdnow() -> Option<PathBuf> {
    let python = python()?;
    let find = "import importlib.util, pathlib; \
                print(pathlib.Path(importlib.util.find_spec('lifetimes').origin).parent / 'datasets')";
    let output = Command::new(python).args(["-c", find]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(PathBuf::from(text(&output.stdout).trim()).join("CDNOW_master.txt"))
}

#[test]
fn a_model_predicts_who_will_not_buy_again() {
    let Some(file) = cdnow() else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("cdnow");
    let report = make_demo(&project, &["--data", file.to_str().unwrap()]);
    let steps = report["steps"].as_array().unwrap();
    let events = &steps[0]["result"];
    // Every line of the file is a purchase or is named.
    let malformed = report["malformed"].as_array().unwrap().len() as u64;
    let lines =
        std::fs::read_to_string(&file).unwrap().lines().filter(|l| !l.trim().is_empty()).count();
    assert_eq!(events["rows"].as_u64().unwrap() + malformed + 1, lines as u64);
    let trained = steps.iter().find(|step| step["command"] == "train churn").unwrap();
    let auc = trained["result"]["metrics"]["cv_auc_mean"].as_f64().unwrap();
    assert!((0.65..0.95).contains(&auc), "{auc}");
}

#[test]
fn a_file_that_is_no_purchase_history_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("poem.txt");
    std::fs::write(&file, "whose woods these are\nI think I know\n").unwrap();
    let project = dir.path().join("p");
    let output =
        run(&["demo", "--dir", project.to_str().unwrap(), "--data", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("poem.txt:1"), "{}", text(&output.stderr));
}
