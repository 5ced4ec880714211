//! Creating, describing, changing and dropping tables.

use super::*;
use crate::MetadataTable;

#[tokio::test]
async fn a_table_is_created_once_and_described() {
    let lake = Lake::new().await;
    let new = NewTable::new(columns()).with_partition_by(["day"]);
    assert!(!lake.catalog.ensure_table(&lake.table, &new).await.unwrap());
    let sorted = TableName::parse("deep.name.space.sorted").unwrap();
    let mut wanted = NewTable::new(columns()).with_sort_by(["number"]);
    wanted.properties.insert("owner".into(), "ml".into());
    assert!(lake.catalog.ensure_table(&sorted, &wanted).await.unwrap());
    assert_eq!(lake.catalog.tables().await.unwrap(), [sorted.clone(), lake.table.clone()]);
    let described = lake.reopened().await.describe(&sorted).await.unwrap();
    assert_eq!((described.format_version, described.head), (2, None));
    assert_eq!((described.partition_by, described.sort_by), (vec![], vec!["number".to_owned()]));
    assert_eq!(described.properties["owner"], "ml");
    assert_eq!(described.location, format!("{}/deep.name.space/sorted", lake.catalog.warehouse()));
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    assert_eq!(described.partition_by, ["day"]);
    let one = lake.append(&[(1, 1)]).await;
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    assert_eq!((described.head, described.uuid), (Some(one.snapshot), one.uuid));
}

#[tokio::test]
async fn a_table_of_that_name_with_other_columns_is_another_table() {
    let lake = Lake::new().await;
    let other = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Utf8, true),
        Field::new("extra", DataType::Utf8, true),
    ]));
    let error = lake.catalog.ensure_table(&lake.table, &NewTable::new(other)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        error.notes(),
        [
            "its column `number` is Int64, not Utf8",
            "it has a column `day` that is not wanted",
            "it has no column `extra`"
        ]
    );
    let unpartitioned = NewTable::new(columns());
    let error = lake.catalog.ensure_table(&lake.table, &unpartitioned).await.unwrap_err();
    assert_eq!(error.notes(), ["it is partitioned by (day), not by ()"]);
}

#[tokio::test]
async fn one_of_many_creators_creates_the_table() {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns());
    let catalogs = futures::future::join_all((0..4).map(|_| lake.reopened())).await;
    let created = catalogs.iter().map(|catalog| catalog.ensure_table(&lake.table, &new));
    let created = futures::future::join_all(created).await;
    assert_eq!(created.into_iter().filter(|created| *created.as_ref().unwrap()).count(), 1);
    // Those who came late took their metadata away.
    assert_eq!(lake.files_on_disk().len(), 1);
}

#[tokio::test]
async fn a_dropped_table_keeps_its_files_and_frees_its_name() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let files = lake.files_on_disk();
    lake.catalog.drop_table(&lake.table).await.unwrap();
    assert_eq!(lake.catalog.tables().await.unwrap(), []);
    assert_eq!(lake.files_on_disk(), files);
    let error = lake.catalog.drop_table(&lake.table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    lake.catalog.ensure_table(&lake.table, &NewTable::new(columns())).await.unwrap();
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    let plain = format!("{}/ns/events", lake.catalog.warehouse());
    assert!(described.location.starts_with(&format!("{plain}-")), "{}", described.location);
}

#[tokio::test]
async fn properties_are_set_and_removed_in_one_step() {
    let lake = Lake::new().await;
    let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let catalog = &lake.catalog;
    catalog.set_properties(&lake.table, set(&[("a", "1"), ("b", "2")]), vec![]).await.unwrap();
    catalog
        .set_properties(&lake.table, set(&[("b", "3")]), vec!["a".into(), "none".into()])
        .await
        .unwrap();
    let properties = catalog.describe(&lake.table).await.unwrap().properties;
    assert_eq!((properties.get("a"), properties["b"].as_str()), (None, "3"));
    let files = lake.files_on_disk();
    catalog.set_properties(&lake.table, set(&[("b", "3")]), vec!["a".into()]).await.unwrap();
    assert_eq!(lake.files_on_disk(), files, "nothing changed, so nothing was written");
    let error = catalog.set_properties(&lake.table, set(&[("uuid", "x")]), vec![]).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn values_that_no_file_could_be_written_by_are_refused_when_they_are_set() {
    let lake = Lake::new().await;
    let set = |name: &str, value: &str| -> BTreeMap<String, String> {
        [(name.to_owned(), value.to_owned())].into()
    };
    let files = lake.files_on_disk();
    let codec = "write.parquet.compression-codec";
    for (name, value) in [
        (codec, "brotli"),
        ("write.parquet.compression-level", "99"),
        ("write.parquet.page-row-limit", "many"),
        ("write.target-file-size-bytes", "-1"),
        ("write.parquet.row-group-size-bytes", "1 GB"),
        ("write.parquet.row-group-size-bytes", "0"),
        ("write.target-file-size-bytes", "0"),
        ("icecore.quick-codec.enabled", "maybe"),
    ] {
        let error = lake.catalog.set_properties(&lake.table, set(name, value), vec![]).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        let told = lake.catalog.check_set_properties(&lake.table, &set(name, value), &[]).await;
        assert_eq!(told.unwrap_err().to_string(), error.to_string());
    }
    assert_eq!(lake.files_on_disk(), files);
    lake.catalog.check_set_properties(&lake.table, &set(codec, "snappy"), &[]).await.unwrap();
    assert_eq!(lake.files_on_disk(), files);
    let mut new = NewTable::new(columns());
    new.properties = set(codec, "lzo");
    let table = TableName::parse("test.other").unwrap();
    let error = lake.catalog.ensure_table(&table, &new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn columns_are_added_and_widened() {
    let lake = Lake::new().await;
    let before = lake.append(&[(1, 1)]).await;
    let wider = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("day", DataType::Date32, false),
        Field::new("label", DataType::Utf8, true),
    ]));
    assert_eq!(lake.catalog.evolve(&lake.table, &wider).await.unwrap(), ["label"]);
    assert_eq!(lake.catalog.evolve(&lake.table, &wider).await.unwrap(), Vec::<String>::new());
    let names = |schema: &SchemaRef| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let now = lake.catalog.describe(&lake.table).await.unwrap().schema;
    assert_eq!(names(&now), ["number", "day", "label"]);
    // A pin keeps the columns of its time.
    assert_eq!(names(&lake.catalog.schema(&before).await.unwrap()), ["number", "day"]);
    let after = lake.append(&[(2, 2)]).await;
    assert_eq!(names(&lake.catalog.schema(&after).await.unwrap()), ["number", "day", "label"]);
    assert_eq!(lake.rows(&after).await, [(1, 1), (2, 2)]);
    let text = Arc::new(Schema::new(vec![Field::new("number", DataType::Utf8, true)]));
    let error = lake.catalog.evolve(&lake.table, &text).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("number"), "{error}");
}

#[tokio::test]
async fn what_a_table_knows_about_itself_adds_up() {
    use arrow::array::AsArray;
    let lake = Lake::new().await;
    for which in MetadataTable::ALL {
        let empty = lake.catalog.metadata_table(&lake.table, which).await.unwrap();
        assert_eq!(empty.num_rows(), 0, "{which:?}");
        assert_eq!(MetadataTable::parse(which.name()).unwrap(), which);
    }
    lake.append(&[(1, 1), (2, 1), (3, 2)]).await;
    let head = lake.commit(WriteMode::OverwritePartitions, &[(4, 2)]).await.pinned;
    let read = async |which| lake.catalog.metadata_table(&lake.table, which).await.unwrap();
    let longs = |batch: &RecordBatch, name: &str| -> Vec<i64> {
        batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    // C177
    let snapshots = read(MetadataTable::Snapshots).await;
    assert_eq!(longs(&snapshots, "added_rows"), [3, 1]);
    assert_eq!(longs(&snapshots, "removed_rows"), [0, 1]);
    let summary = snapshots.column_by_name("summary").unwrap().as_string::<i32>().value(1);
    assert!(summary.contains("\"total-records\":\"3\""), "{summary}");
    let files = read(MetadataTable::Files).await;
    assert_eq!(longs(&files, "record_count").iter().sum::<i64>(), 3);
    let partitions = read(MetadataTable::Partitions).await;
    let names: Vec<&str> =
        partitions.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(names, ["day=1970-01-02", "day=1970-01-03"]);
    assert_eq!(longs(&partitions, "record_count"), [2, 1]);
    assert_eq!(longs(&partitions, "last_updated_snapshot_id")[1], head.snapshot.get());
    assert_eq!(read(MetadataTable::Refs).await.num_rows(), 1);
    assert_eq!(read(MetadataTable::Manifests).await.num_rows(), 2);
    let error = MetadataTable::parse("snapshot").unwrap_err();
    assert_eq!(error.help(), Some("did you mean `snapshots`?"));
}

#[tokio::test]
async fn tables_of_other_writers_keep_their_gzip() {
    let lake = Lake::new().await;
    let gzip = [("write.metadata.compression-codec".to_owned(), "gzip".to_owned())].into();
    lake.catalog.set_properties(&lake.table, gzip, vec![]).await.unwrap();
    lake.append(&[(1, 1)]).await;
    let described = lake.reopened().await.describe(&lake.table).await.unwrap();
    assert!(described.metadata_location.ends_with(".gz.metadata.json"));
    assert_eq!(rows_of(&lake.reopened().await, &lake.pin("latest").await.unwrap()).await, [(1, 1)]);
}

#[tokio::test]
async fn a_loaded_table_is_not_read_again() {
    let lake = Lake::new().await;
    let pinned = lake.append(&[(1, 1)]).await;
    let metadata = lake.catalog.describe(&lake.table).await.unwrap().metadata_location;
    std::fs::remove_file(metadata.strip_prefix("file://").unwrap()).unwrap();
    assert_eq!(lake.rows(&pinned).await, [(1, 1)]);
    let error = lake.reopened().await.describe(&lake.table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataCorrupt);
    assert!(error.to_string().contains(&metadata), "{error}");
}

#[tokio::test]
async fn a_table_does_not_fill_memory_with_its_own_past() {
    let lake = Lake::new().await;
    let other = TableName::parse("ns.other").unwrap();
    lake.catalog.ensure_table(&other, &NewTable::new(columns())).await.unwrap();
    for number in 0..6 {
        lake.append(&[(number, 1)]).await;
    }
    let tables = &lake.catalog.shared.tables;
    let table = tables.load(&lake.table).await.unwrap();
    assert_eq!(tables.states_of(&table), 2);
    assert_eq!(tables.states_of(&tables.load(&other).await.unwrap()), 1);
}

#[tokio::test]
async fn a_design_says_what_a_table_would_be_and_makes_none() {
    let lake = Lake::empty().await;
    let column = |name: &str, text: &str, nullable: bool| {
        crate::ColumnType::parse(text).unwrap().field(name, nullable).unwrap()
    };
    let schema = Arc::new(Schema::new(vec![
        column("id", "uuid", false),
        column("price", "decimal(10, 2)", true),
        column("at", "timestamptz_ns", true),
        column("all", "list<struct<u: uuid not null, m: map<string, fixed(3)>>>", true),
    ]));
    let mut new = NewTable::new(schema)
        .with_partition_by(["day(at)"])
        .with_sort_by(["at desc"])
        .with_identifier(["id"])
        .with_format_version(3);
    new.properties.insert("owner".into(), "ml".into());
    let design = lake.catalog.design_table(&lake.table, &new).await.unwrap();
    let columns: Vec<String> = design
        .columns
        .iter()
        .map(|(name, holds, required)| format!("{name} {holds} {required}"))
        .collect();
    let expected = [
        "id uuid true",
        "price decimal(10, 2) false",
        "at timestamptz_ns false",
        "all list<struct<u: uuid not null, m: map<string, fixed(3)>>> false",
    ];
    assert_eq!(columns, expected);
    assert_eq!((design.identifier.as_slice(), design.format_version), (&["id".to_owned()][..], 3));
    assert_eq!(design.partition_by, ["day(at)"]);
    assert_eq!(design.sort_by, ["at desc"]);
    assert_eq!(design.properties["owner"], "ml");
    assert!(lake.catalog.tables().await.unwrap().is_empty());
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    let error = lake.catalog.design_table(&lake.table, &new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let other = TableName::parse("ns.other").unwrap();
    for (path, message) in [("price", "it is optional"), ("prise", "no column `prise`")] {
        let wrong = new.clone().with_identifier([path]);
        let error = lake.catalog.design_table(&other, &wrong).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let float = NewTable::new(Arc::new(Schema::new(vec![column("x", "double", false)])));
    let error = lake.catalog.design_table(&other, &float.with_identifier(["x"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_column_of_a_type_that_is_not_read_is_no_damage() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    let location = described.metadata_location;
    let path = location.strip_prefix("file://").unwrap();
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let field = &mut json["schemas"][0]["fields"][1];
    field["type"] = "variant".into();
    let column = field["name"].as_str().unwrap().to_owned();
    std::fs::write(path, json.to_string()).unwrap();
    let catalog = lake.reopened().await;
    let error = catalog.describe(&lake.table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        format!("column `{column}` of `{location}` is of type `variant`")
    );
    let report = catalog.fsck(&lake.table, crate::FsckOptions::default()).await.unwrap();
    let kinds: Vec<_> = report.findings().map(|(_, found)| found.kind).collect();
    assert_eq!(kinds, [crate::FindingKind::NotRead]);
    assert_eq!(report.errors().count(), 0);
}
