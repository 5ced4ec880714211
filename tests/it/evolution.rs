//! Changing tables, and reading what changed, from the command line.

use std::path::{Path, PathBuf};

use crate::binary::{failure, json, run};

fn project() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    assert!(run(&["init", project.to_str().unwrap(), "--template", "empty"]).status.success());
    (dir, project)
}

fn ingest(project: &Path, text: &str, more: &[&str]) -> String {
    let path = project.join("rows.csv");
    std::fs::write(&path, text).unwrap();
    let mut arguments = vec!["ingest", "shop.orders", path.to_str().unwrap()];
    arguments.extend(more);
    json(project, &arguments)["snapshot_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_table_is_altered_step_by_step() {
    let (_dir, project) = project();
    ingest(&project, "id,amount,note\n1,1.5,x\n2,2.5,y\n", &[]);
    let alter = |arguments: &[&str]| {
        let mut all = vec!["table", "alter", "shop.orders"];
        all.extend(arguments);
        json(&project, &all)
    };
    let names = |document: &serde_json::Value| -> Vec<String> {
        let columns = document["columns"].as_array().unwrap();
        columns.iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    let dry = alter(&["add", "country", "string", "--after", "id", "--dry-run"]);
    assert_eq!(names(&dry), ["id", "country", "amount", "note"]);
    assert_eq!(names(&json(&project, &["table", "show", "shop.orders"])).len(), 3);
    alter(&["add", "country", "string", "--after", "id", "--doc", "ISO 3166"]);
    alter(&["rename", "amount", "price"]);
    alter(&["drop", "note"]);
    alter(&["add", "place", "struct<city: string, zip: int not null>"]);
    alter(&["add", "place.street", "string"]);
    alter(&["move", "price", "--first"]);
    alter(&["partition-by", "bucket(4, id)"]);
    alter(&["partition-add", "country"]);
    alter(&["partition-drop", "bucket(4, id)"]);
    let last = alter(&["sort-by", "id desc"]);
    assert_eq!(names(&last), ["price", "id", "country", "place"]);
    assert_eq!(last["partition_by"], serde_json::json!(["country"]));
    assert_eq!(last["sort_by"], serde_json::json!(["id desc"]));
    ingest(&project, "id,price,country\n3,3.5,de\n4,4.5,fr\n", &[]);
    let rows = json(&project, &["sql", "SELECT id, price, country FROM shop.orders ORDER BY id"]);
    assert_eq!(rows[0], serde_json::json!({ "id": 1, "price": 1.5, "country": null }));
    assert_eq!(rows[3], serde_json::json!({ "id": 4, "price": 4.5, "country": "fr" }));
    let (status, message) = failure(&project, &["table", "alter", "shop.orders", "drop", "countr"]);
    assert_eq!(status, 1);
    assert!(message.contains("did you mean `country`?"), "{message}");
    let (_, message) = failure(&project, &["table", "alter", "shop.orders", "drop", "country"]);
    assert!(message.contains("partitioned by it"), "{message}");
    let (_, message) = failure(&project, &["table", "alter", "shop.orders", "add", "x", "strin"]);
    assert!(message.contains("there is no type `strin`"), "{message}");
}

// C155 C156
#[test]
fn properties_are_set_and_removed_and_say_what_they_do() {
    let (_dir, project) = project();
    ingest(&project, "id,amount,note\n1,1.5,x\n", &[]);
    let set = |arguments: &[&str]| {
        let mut all = vec!["table", "set", "shop.orders"];
        all.extend(arguments);
        json(&project, &all)
    };
    let properties = || {
        json(&project, &["table", "show", "shop.orders"])["properties"].as_object().unwrap().clone()
    };
    let (codec, quick) = ("write.parquet.compression-codec", "icecore.quick-codec.enabled");
    let said = format!("{codec}=lz4");
    assert_eq!(set(&[&said, "--dry-run"])["set"][codec], "lz4");
    for how in [&["--dry-run"][..], &[]] {
        let brotli = format!("{codec}=brotli");
        let asked = [&["table", "set", "shop.orders", &brotli], how].concat();
        assert!(failure(&project, &asked).1.contains("brotli"), "before anything is written by it");
    }
    assert_eq!(properties()[codec], "zstd");
    set(&[&said, "icecore.quick-codec.enabled=false"]);
    assert_eq!((&properties()[codec], &properties()[quick]), (&"lz4".into(), &"false".into()));
    ingest(&project, "id,amount,note\n2,2.5,y\n", &[]);
    set(&["--unset", quick]);
    assert!(!properties().contains_key(quick));
    let (status, error) = failure(&project, &["table", "set", "shop.orders", "codec"]);
    assert!(status == 2 && error.contains("name=value"), "{error}");
    let (status, error) = failure(&project, &["table", "set", "shop.orders"]);
    assert!(status == 2 && error.contains("NAME=VALUE"), "{error}");
    let both = ["table", "set", "shop.orders", &said, "--unset", codec];
    assert!(failure(&project, &both).1.contains("set and removed"));
    assert!(failure(&project, &["table", "set", "shop.nobody", &said]).1.contains("shop.nobody"));
}

// A consumer may be there before the first row.
#[test]
fn changes_of_a_table_without_a_commit_are_gone_on_from() {
    let (_dir, project) = project();
    let path = project.join("rows.csv");
    std::fs::write(&path, "id,v\n").unwrap();
    json(&project, &["ingest", "shop.orders", path.to_str().unwrap()]);
    let read = |from: &[&str]| {
        let arguments = [&["table", "changes", "shop.orders"], from].concat();
        json(&project, &arguments)
    };
    let none = read(&[]);
    assert!(none["rows"].as_array().unwrap().is_empty(), "{none}");
    let next = none["to"].as_str().unwrap().to_owned();
    ingest(&project, "id,v\n1,one\n", &[]);
    let rest = read(&["--from", &next]);
    assert_eq!(rest["rows"].as_array().unwrap().len(), 1, "{rest}");
}

#[test]
fn changes_are_read_from_where_the_last_reading_ended() {
    let (_dir, project) = project();
    let one = ingest(&project, "id,v\n1,one\n2,two\n3,three\n", &[]);
    let two = ingest(&project, "id,v\n2,two\n3,THREE\n4,four\n", &["--mode", "overwrite"]);
    let three = ingest(&project, "id,v\n5,five\n", &[]);
    let changes = |arguments: &[&str]| {
        let mut all = vec!["table", "changes", "shop.orders"];
        all.extend(arguments);
        json(&project, &all)
    };
    let count = |document: &serde_json::Value, kind: &str| {
        let rows = document["rows"].as_array().unwrap();
        rows.iter().filter(|row| row["_change_type"] == kind).count()
    };
    let keyed = changes(&["--from", &one, "--to", &two, "--key", "id"]);
    let kinds = ["insert", "delete", "update_before", "update_after"];
    assert_eq!(kinds.map(|kind| count(&keyed, kind)), [1, 1, 1, 1]);
    let log = changes(&["--mode", "log"]);
    assert_eq!(kinds.map(|kind| count(&log, kind)), [6, 2, 0, 0]);
    let last = &log["rows"].as_array().unwrap().last().unwrap()["_change_ordinal"];
    assert_eq!(*last, serde_json::json!(2));
    let rest = changes(&["--from", &two]);
    assert_eq!((&rest["to"], count(&rest, "insert")), (&three.into(), 1));
    assert_eq!(rest["rows"].as_array().unwrap().len(), 1);
    let file = project.join("changes.jsonl");
    let written = changes(&["--output", file.to_str().unwrap()]);
    assert_eq!(written["row_count"], 4);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 4);
    let (_, message) = failure(&project, &["table", "changes", "shop.orders", "--key", "ident"]);
    assert!(message.contains("no column `ident`"), "{message}");
    let log = json(&project, &["table", "log", "shop.orders", "--branch", "main"]);
    assert_eq!(log.as_array().unwrap().len(), 3);
}

#[test]
fn what_a_file_lacks_stays_or_has_its_default() {
    let (_dir, project) = project();
    let project = project.as_path();
    let ingest = |rows: &str, more: &[&str]| {
        std::fs::write(project.join("rows.csv"), rows).unwrap();
        let file = project.join("rows.csv");
        json(project, &[&["ingest", "shop.items", file.to_str().unwrap()], more].concat())
    };
    ingest("k,a,b\n1,10,x\n2,20,y\n", &["--format-version", "3"]);
    let upsert = ["--mode", "upsert", "--key", "k"];
    ingest("k,a\n1,11\n3,30\n", &upsert);
    let all = "SELECT k, a, b FROM shop.items ORDER BY k";
    let expected = serde_json::json!([
        { "k": 1, "a": 11, "b": "x" }, { "k": 2, "a": 20, "b": "y" }, { "k": 3, "a": 30, "b": null },
    ]);
    assert_eq!(json(project, &["sql", all]), expected);
    let add = ["table", "alter", "shop.items", "add", "c", "long", "--default", "7", "--required"];
    json(project, &add);
    ingest("k,a,b\n4,40,z\n", &[]);
    ingest("k,a\n5,50\n", &upsert);
    let sum = json(project, &["sql", "SELECT sum(c) AS c, count(*) AS n FROM shop.items"]);
    assert_eq!(sum, serde_json::json!([{ "c": 35, "n": 5 }]));
    // Files that differ do not say what the others mean.
    std::fs::write(project.join("one.csv"), "k,a\n1,1\n").unwrap();
    std::fs::write(project.join("two.csv"), "k,b\n1,q\n").unwrap();
    let files = ["one.csv", "two.csv"].map(|name| project.join(name).display().to_string());
    let job = [&["ingest", "shop.items", &files[0], &files[1]][..], &upsert[..]].concat();
    let (_, message) = failure(project, &job);
    assert!(message.contains("has the column `a`") && message.contains("one by one"), "{message}");
}

#[test]
fn decimals_are_what_was_typed() {
    let (_dir, project) = project();
    let project = project.as_path();
    let create = "SELECT 1 AS id, CAST('2.01' AS DECIMAL(12,2)) AS price \
                  UNION ALL SELECT 2, CAST('495185.08' AS DECIMAL(12,2))";
    let file = project.join("prices.parquet");
    json(project, &["sql", create, "--output", file.to_str().unwrap()]);
    json(project, &["ingest", "shop.prices", file.to_str().unwrap()]);
    let ids = |condition: &str| {
        json(
            project,
            &["sql", &format!("SELECT id FROM shop.prices WHERE {condition} ORDER BY id")],
        )
    };
    assert_eq!(ids("price = 495185.08"), serde_json::json!([{ "id": 2 }]));
    assert_eq!(ids("price < 495185.08"), serde_json::json!([{ "id": 1 }]));
    assert_eq!(
        ids("495185.08 >= price AND price IN (2.01, 495185.08)").as_array().unwrap().len(),
        2
    );
    let odd = project.join("odd.csv");
    std::fs::write(&odd, "id,price\n3,1.999\n").unwrap();
    let (_, message) = failure(project, &["ingest", "shop.prices", odd.to_str().unwrap()]);
    assert!(message.contains("1.999"), "{message}");
    let delete = ["table", "delete", "shop.prices", "--where", "price = 495185.08", "--yes"];
    json(project, &delete);
    assert_eq!(ids("true"), serde_json::json!([{ "id": 1 }]));
}

#[test]
fn a_table_is_made_without_rows_and_takes_files() {
    let (_dir, project) = project();
    let create = |more: &[&str]| {
        let mut all = vec!["table", "create", "shop.orders", "id long", "price: decimal(10, 2)"];
        all.extend(["place struct<city: string, zip: int>", "at timestamptz"]);
        all.extend(["--identifier", "id", "--partition", "day(at)", "--sort", "at desc"]);
        all.extend(["--property", "write.parquet.compression-codec=lz4"]);
        all.extend(more);
        json(&project, &all)
    };
    let dry = create(&["--dry-run"]);
    assert_eq!(dry["created"], false);
    assert_eq!(json(&project, &["table", "list"]).as_array().map(Vec::len), Some(0));
    let made = create(&["--format-version", "3"]);
    assert_eq!(made["identifier"], serde_json::json!(["id"]));
    assert_eq!(made["format_version"], 3);
    let shown = json(&project, &["table", "show", "shop.orders"]);
    assert_eq!(shown["columns"], made["columns"]);
    assert_eq!(shown["partition_by"], serde_json::json!(["day(at)"]));
    assert_eq!(shown["sort_by"], serde_json::json!(["at desc"]));
    assert_eq!(shown["properties"]["write.parquet.compression-codec"], "lz4");
    let (_, message) = failure(&project, &["table", "create", "shop.orders", "id long"]);
    assert!(message.contains("icecore table alter shop.orders"), "{message}");
    let lines = project.join("rows.jsonl");
    std::fs::write(&lines, "{\"id\": 1, \"price\": 1.25, \"place\": {\"zip\": 7}}\n").unwrap();
    json(&project, &["ingest", "shop.orders", lines.to_str().unwrap()]);
    let rows = json(&project, &["sql", "SELECT id, place FROM shop.orders"]);
    let place = serde_json::json!({ "city": null, "zip": 7 });
    assert_eq!(rows[0], serde_json::json!({ "id": 1, "place": place }));
    // The columns of a file, of which one is wider than before, and a struct that has a new field.
    let file = project.join("rows.parquet");
    let query = "SELECT 4294967296 AS id, named_struct('zip', 8, 'street', 'x') AS place";
    json(&project, &["sql", query, "--output", file.to_str().unwrap()]);
    json(&project, &["table", "create", "shop.wide", "--from", file.to_str().unwrap()]);
    json(&project, &["table", "create", "shop.small", "id int", "place struct<zip: long>"]);
    let ingest = ["ingest", "shop.small", file.to_str().unwrap()];
    let mut rehearsal = ingest.to_vec();
    rehearsal.push("--dry-run");
    for arguments in [rehearsal.as_slice(), &ingest] {
        let done = json(&project, arguments);
        assert_eq!(done["added_columns"], serde_json::json!(["place.street"]));
        let widened = serde_json::json!([{ "column": "id", "from": "int", "to": "long" }]);
        assert_eq!(done["widened_columns"], widened);
    }
    let rows = json(&project, &["sql", "SELECT id, place.street AS s FROM shop.small"]);
    assert_eq!(rows[0], serde_json::json!({ "id": 4_294_967_296_i64, "s": "x" }));
    // Partitions are told apart by narrower values.
    json(&project, &["table", "create", "shop.parts", "id int", "--partition", "id"]);
    for more in [&["--dry-run"][..], &[]] {
        let mut all = vec!["ingest", "shop.parts", file.to_str().unwrap()];
        all.extend(more);
        let (_, message) = failure(&project, &all);
        assert!(message.contains("column `id` cannot be widened"), "{message}");
    }
}

#[test]
fn what_is_exported_is_read_as_it_was() {
    let (_dir, project) = project();
    ingest(&project, "id,note\n1,\"\"\n2,\n3,x\n", &[]);
    let path = project.join("out.csv");
    let path = path.to_str().unwrap();
    json(&project, &["table", "export", "shop.orders", "--output", path]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "id,note\n1,\"\"\n2,\n3,x\n");
    let (_, message) =
        failure(&project, &["sql", "SELECT make_array(1) AS tags", "--output", path]);
    assert!(message.contains("`tags`") && message.contains("Parquet or JSON"), "{message}");
    let path = project.join("out.jsonl");
    let query = "SELECT map(make_array('a', 'b'), make_array(1, NULL)) AS m";
    json(&project, &["sql", query, "--output", path.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"m\":{\"a\":1,\"b\":null}}\n");
}
