//! Rows deleted, overwritten and upserted from the command line, and read by other engines.

use std::path::Path;

use serde_json::json;

use crate::binary::{failure, json, python, run, script, text};

/// A project with `ns.rows` of 1000 rows: `id`, `name`, `amount`.
fn project(root: &Path) -> std::path::PathBuf {
    let project = root.join("project");
    let output = run(&["init", project.to_str().unwrap(), "--template", "empty"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: String = (0..1000).map(|id| format!("{id},n{},{}.5\n", id % 7, id * 3)).collect();
    write(root, "rows.csv", &rows);
    json(&project, &["ingest", "ns.rows", &path(root, "rows.csv")]);
    project
}

fn write(root: &Path, name: &str, rows: &str) {
    std::fs::write(root.join(name), format!("id,name,amount\n{rows}")).unwrap();
}

fn path(root: &Path, name: &str) -> String {
    root.join(name).display().to_string()
}

fn sums(project: &Path) -> serde_json::Value {
    json(
        project,
        &["sql", "SELECT count(*) AS n, sum(id) AS ids, sum(amount) AS amounts FROM ns.rows"],
    )[0]
    .clone()
}

// C141, C142
#[test]
fn rows_are_deleted_overwritten_and_upserted_from_the_command_line() {
    let root = tempfile::tempdir().unwrap();
    let project = &project(root.path());
    let condition = "id < 10 OR name = 'n3' AND abs(amount) > 2900";
    let delete = ["table", "delete", "ns.rows", "--where", condition];
    let (status, said) = failure(project, &delete);
    assert!(status == 1 && said.contains("--yes"), "{said}");
    let dry = json(project, &[&delete[..], &["--dry-run"]].concat());
    assert_eq!(dry["changed"], json!(false));
    let done = json(project, &[&delete[..], &["--yes"]].concat());
    assert_eq!((&done["rows"], &done["changed"]), (&dry["rows"], &json!(true)));
    let again = json(project, &[&delete[..], &["--yes"]].concat());
    assert_eq!((&again["rows"], &again["changed"]), (&json!(0), &json!(false)));
    assert_eq!(again["snapshot_id"], done["snapshot_id"]);

    let file = path(root.path(), "new.csv");
    write(root.path(), "new.csv", "11,n4,33.5\n12,new,36.5\n2000,new,1\n");
    let upsert = ["ingest", "ns.rows", &file, "--mode", "upsert", "--key", "id"];
    let dry = json(project, &[&upsert[..], &["--dry-run"]].concat());
    let done = json(project, &upsert);
    for document in [&dry, &done] {
        assert_eq!([&document["added"], &document["updated"]], [1, 1], "{document:#}");
    }
    let again = json(project, &upsert);
    assert_eq!((&again["updated"], &again["changed"]), (&json!(0), &json!(false)));

    write(root.path(), "new.csv", "11,x,1\n500,x,1\n");
    let overwrite = ["ingest", "ns.rows", &file, "--mode", "overwrite", "--where", "name = 'x'"];
    let done = json(project, &overwrite);
    assert_eq!([&done["added"], &done["removed"]], [2, 0]);
    write(root.path(), "new.csv", "11,x,1\n500,y,1\n");
    let (_, said) = failure(project, &overwrite);
    assert!(said.contains("new row 2") && said.contains("`name` = `y`"), "{said}");

    write(root.path(), "new.csv", "1,a,1\n1,b,1\n");
    let (_, said) = failure(project, &upsert);
    assert!(said.contains("two of the new rows have the key `id` = `1`"), "{said}");
}

#[test]
fn other_engines_read_rows_that_were_changed_in_either_way() {
    let Some(python) = python() else { return };
    for mode in ["copy-on-write", "merge-on-read"] {
        let root = tempfile::tempdir().unwrap();
        let project = &project(root.path());
        for condition in ["id < 100", "name = 'n3'", "id BETWEEN 400 AND 450"] {
            let delete = ["table", "delete", "ns.rows", "--where", condition];
            json(project, &[&delete[..], &["--mode", mode, "--yes"]].concat());
        }
        let rows: String = (350..600).map(|id| format!("{id},n{},7.25\n", id % 5)).collect();
        write(root.path(), "new.csv", &rows);
        let file = path(root.path(), "new.csv");
        let key = ["--key", "id", "--row-mode", mode];
        json(project, &[&["ingest", "ns.rows", &file, "--mode", "upsert"][..], &key].concat());

        let ours = sums(project);
        let database = project.join(".icecore/catalog.db");
        let read = script(&python, "read_tables.py", &[database.to_str().unwrap()]);
        for reader in ["pyiceberg", "duckdb"] {
            let theirs = &read[reader]["ns.rows"];
            assert_eq!(theirs["rows"], ours["n"], "{reader} after {mode}");
            for (column, sum) in [("id", &ours["ids"]), ("amount", &ours["amounts"])] {
                assert_eq!(theirs["sums"][column].as_f64(), sum.as_f64(), "{reader}, {mode}");
            }
        }
    }
}
