//! Changing columns and layout.

use arrow::datatypes::Fields;

use super::*;
use crate::{AlterOptions, Alteration, ColumnPlace, ColumnType, NewColumn};

pub(super) fn of(text: &str) -> ColumnType {
    ColumnType::parse(text).unwrap()
}

pub(super) fn add(path: &str, column_type: &str) -> Alteration {
    Alteration::AddColumn(NewColumn::new(path, of(column_type)))
}

pub(super) fn drop(path: &str) -> Alteration {
    Alteration::DropColumn(path.to_owned())
}

pub(super) fn rename(path: &str, to: &str) -> Alteration {
    Alteration::RenameColumn { column: path.to_owned(), to: to.to_owned() }
}

pub(super) fn widen(path: &str, to: &str) -> Alteration {
    Alteration::WidenColumn { column: path.to_owned(), to: of(to) }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// `ns.orders`: an id, a place with a city and a number, and tags.
pub(super) async fn orders() -> (Lake, TableName) {
    let lake = Lake::empty().await;
    let place = Fields::from(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("number", DataType::Int32, true),
    ]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("place", DataType::Struct(place), true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
        Field::new("amount", DataType::Float32, true),
    ]));
    let name = TableName::parse("ns.orders").unwrap();
    lake.catalog.ensure_table(&name, &NewTable::new(schema)).await.unwrap();
    (lake, name)
}

pub(super) async fn alter(
    lake: &Lake,
    table: &TableName,
    changes: &[Alteration],
) -> Result<Altered> {
    lake.catalog.alter(table, changes, AlterOptions::default()).await
}

pub(super) fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[tokio::test]
async fn several_changes_of_columns_are_one_step() {
    let (lake, table) = orders().await;
    let country = NewColumn::new("country", of("string"))
        .with_doc("ISO 3166")
        .with_place(ColumnPlace::After("id".to_owned()));
    let changes = [
        Alteration::AddColumn(country),
        rename("amount", "price"),
        widen("price", "double"),
        widen("id", "long"),
        add("place.zip", "string"),
        rename("place.number", "house"),
        drop("tags"),
        add("tags", "map<string, struct<since: date not null>>"),
        Alteration::MoveColumn { column: "price".to_owned(), to: ColumnPlace::First },
        Alteration::SetIdentifier(texts(&["id"])),
        Alteration::SortBy(texts(&["id desc"])),
        Alteration::PartitionBy(texts(&["bucket(4, id)", "country"])),
    ];
    let dry = lake.catalog.alter(&table, &changes, AlterOptions::dry_run()).await.unwrap();
    assert_eq!(lake.catalog.describe(&table).await.unwrap().schema.fields().len(), 4);
    let done = alter(&lake, &table, &changes).await.unwrap();
    assert_eq!(dry, done);
    assert!(done.changed);
    assert_eq!(names(&done.schema), ["price", "id", "country", "place", "tags"]);
    assert_eq!(done.identifier, ["id"]);
    assert_eq!(done.partition_by, ["bucket(4, id)", "country"]);
    assert_eq!(done.sort_by, ["id desc"]);
    let ids: Vec<&str> = done
        .schema
        .fields()
        .iter()
        .map(|field| field.metadata()["PARQUET:field_id"].as_str())
        .collect();
    // What stays keeps its id; what comes gets ids that nothing had before.
    assert_eq!(ids, ["4", "1", "8", "2", "10"]);
    let DataType::Struct(place) = done.schema.field(3).data_type() else { panic!("no struct") };
    let inner: Vec<&str> = place.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(inner, ["city", "house", "zip"]);
    let described = lake.reopened().await.describe(&table).await.unwrap();
    assert_eq!(described.schema, done.schema);
    let again = alter(&lake, &table, &[Alteration::SetIdentifier(texts(&["id"]))]).await.unwrap();
    assert!(!again.changed);
}

#[tokio::test]
async fn everything_that_cannot_be_changed_is_named_at_once() {
    let (lake, table) = orders().await;
    alter(&lake, &table, &[Alteration::PartitionBy(texts(&["truncate(2, amout)"]))])
        .await
        .unwrap_err();
    alter(&lake, &table, &[Alteration::SortBy(texts(&["amount"]))]).await.unwrap();
    let required = Alteration::AddColumn(NewColumn::new("x", of("int")).required());
    let default = NewColumn::new("y", of("int")).with_default(icecore_core::Literal::Int(1));
    let changes = [
        drop("amount"),
        drop("tags.element"),
        drop("nothing"),
        rename("id", "amount"),
        rename("tags.element", "item"),
        widen("amount", "int"),
        widen("id", "date"),
        add("id.more", "int"),
        add("place.city", "string"),
        required,
        Alteration::AddColumn(default),
        add("at", "timestamp_ns"),
        Alteration::SetIdentifier(texts(&["amount"])),
        Alteration::SetIdentifier(texts(&["place.city"])),
        Alteration::DropPartition("id".to_owned()),
        Alteration::MoveColumn {
            column: "id".to_owned(),
            to: ColumnPlace::After("place.city".to_owned()),
        },
        Alteration::SortBy(texts(&["place"])),
        Alteration::PartitionBy(texts(&["day(id)"])),
    ];
    let error = alter(&lake, &table, &changes).await.unwrap_err();
    let mut found = vec![error.to_string()];
    found.extend(error.related().iter().map(ToString::to_string));
    assert_eq!(
        found,
        [
            "column `amount` cannot be dropped: the table is sorted by it",
            "`tags.element` is part of a list or map and cannot be dropped",
            "the table has no column `nothing`",
            "the table has a column `amount` already",
            "`tags.element` is part of a list or map and cannot be renamed",
            "column `amount` is `float` and cannot become `int`",
            "column `id` is `int` and cannot become `date`",
            "column `id` has no fields: it is `int`",
            "the table has a column `place.city` already",
            "column `x` cannot be required",
            "column `y` cannot have a default",
            "column `at` cannot be `timestamp_ns` in a table of format version 2",
            "column `amount` cannot identify rows: it is a floating-point number",
            "column `place.city` cannot identify rows: it is optional",
            "the table is not partitioned by `id`",
            "there is no column `place.city` beside it",
            "cannot sort by `place`: column `place` is `struct<city: string, number: int>`",
            "cannot partition by `day(id)`: column `id` is `int`",
        ]
        .map(|text| text.to_owned())
        .as_slice()
    );
    assert_eq!(lake.catalog.history(&table).await.unwrap(), []);
}

#[tokio::test]
async fn what_partitions_are_made_of_stays() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let error = alter(&lake, &lake.table, &[drop("day")]).await.unwrap_err();
    assert!(error.to_string().contains("the table is partitioned by it"), "{error}");
    alter(&lake, &lake.table, &[Alteration::PartitionBy(vec![])]).await.unwrap();
    let error = alter(&lake, &lake.table, &[drop("day")]).await.unwrap_err();
    assert!(error.to_string().contains("older files are partitioned by it"), "{error}");
    assert_eq!(lake.rows_now().await, [(1, 1)]);
}

#[tokio::test]
async fn a_pin_keeps_its_columns_and_main_shows_the_new_ones() {
    let lake = Lake::new().await;
    let before = lake.append(&[(1, 1)]).await;
    lake.catalog.tag(&before, &named("v1"), TagMove::Refuse).await.unwrap();
    let done = alter(&lake, &lake.table, &[rename("number", "n"), add("x", "int")]).await.unwrap();
    let now = lake.pin("latest").await.unwrap();
    assert_eq!(done.pinned, now);
    assert_ne!(now.snapshot, before.snapshot);
    assert_eq!(names(&lake.catalog.schema(&now).await.unwrap()), ["n", "day", "x"]);
    let then = lake.pin("v1").await.unwrap();
    assert_eq!(names(&lake.catalog.schema(&then).await.unwrap()), ["number", "day"]);
    assert_eq!(lake.rows(&then).await, [(1, 1)]);
    assert_eq!(lake.rows(&now).await, [(1, 1)]);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    let last = log.last().unwrap();
    assert_eq!(last.operation, "replace");
    assert_eq!(last.summary["icecore.altered"], "rename column number to n; add column x int");
    assert_eq!(last.count("total-records"), 1);
}

#[tokio::test]
async fn new_files_are_partitioned_anew_and_old_ones_stay() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1), (2, 2)]).await;
    let before = lake.paths().await;
    alter(&lake, &lake.table, &[Alteration::AddPartition("bucket(2, number)".to_owned())])
        .await
        .unwrap();
    lake.append(&[(3, 1), (4, 1), (5, 2)]).await;
    let after = lake.paths().await;
    assert!(before.iter().all(|path| after.contains(path)));
    assert!(after.iter().any(|path| path.contains("number_bucket_2=1")), "{after:?}");
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (3, 1), (4, 1), (5, 2)]);
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    assert_eq!(described.partition_by, ["day", "bucket(2, number)"]);
    // A field that comes back keeps its id and its name.
    let drop = Alteration::DropPartition("number_bucket_2".to_owned());
    alter(&lake, &lake.table, &[drop]).await.unwrap();
    alter(&lake, &lake.table, &[Alteration::AddPartition("bucket(2, number)".to_owned())])
        .await
        .unwrap();
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    assert_eq!(table.metadata().partition_specs_iter().len(), 2);
    let two_sizes = [Alteration::AddPartition("bucket(8, number)".to_owned())];
    assert!(alter(&lake, &lake.table, &two_sizes).await.unwrap().changed);
    let error = alter(&lake, &lake.table, &[Alteration::AddPartition("day".into())]).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_name_of_partitions_is_no_name_of_another_column() {
    let lake = Lake::new().await;
    alter(&lake, &lake.table, &[rename("day", "date")]).await.unwrap();
    let error = alter(&lake, &lake.table, &[add("day", "int")]).await.unwrap_err();
    assert_eq!(error.to_string(), "a column cannot be called `day`");
    alter(&lake, &lake.table, &[rename("date", "day")]).await.unwrap();
    lake.append(&[(1, 1)]).await;
    assert_eq!(lake.rows_now().await, [(1, 1)]);
}

#[tokio::test]
async fn what_partitions_are_told_by_keeps_its_width() {
    let (lake, table) = orders().await;
    alter(&lake, &table, &[Alteration::PartitionBy(texts(&["id"]))]).await.unwrap();
    let error = alter(&lake, &table, &[widen("id", "long")]).await.unwrap_err();
    assert_eq!(error.to_string(), "column `id` cannot be widened");
    let wider = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let error = lake.catalog.evolve(&table, &wider).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (lake, table) = orders().await;
    alter(&lake, &table, &[Alteration::PartitionBy(texts(&["bucket(4, id)"]))]).await.unwrap();
    assert!(alter(&lake, &table, &[widen("id", "long")]).await.unwrap().changed);
}
