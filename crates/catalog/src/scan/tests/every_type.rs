//! What is written is what is read, column by column.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, TimeUnit};
use icecore_core::{
    CompareOp, Date, ErrorKind, Literal, Predicate, SnapshotId, SnapshotSelector, Timestamp,
};
use object_store::ObjectStoreExt;

use super::*;
use crate::write::tests::lines;

/// One row of values, one of extremes, one of nulls.
fn everything() -> RecordBatch {
    let utc = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00"))
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
    ]);
    let fields =
        vec![Field::new("x", DataType::Float64, true), Field::new("tag", DataType::Utf8, true)];
    let point = StructArray::new(
        fields.into(),
        vec![
            Arc::new(Float64Array::from(vec![Some(1.0), None, None])),
            Arc::new(StringArray::from(vec![Some("α"), Some(""), None])),
        ],
        Some(vec![true, true, false].into()),
    );
    let zoned =
        TimestampNanosecondArray::from(vec![Some(-1), Some(1_700_000_000_000_001_999), None]);
    let decimal = Decimal128Array::from(vec![Some(-99_999_999_999), Some(1), None]);
    let view = StringViewArray::from(vec![Some("a text of more than twelve"), Some(""), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(0), Some(u32::MAX), None]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(f32::NAN), Some(f32::INFINITY), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(-0.0), Some(1e-300), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("grün 🦀 \0"), Some(""), None]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("ß"), Some("x"), None]))),
        ("view", Arc::new(view)),
        (
            "dict",
            Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("one"), Some("two"), None])),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\xff\x00"[..]), Some(b""), None]))),
        // 0001-01-01 and 9999-12-31.
        ("date", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
        ("utc", utc(vec![Some(-62_135_596_800_000_000), Some(253_402_300_799_999_999), None])),
        ("naive", Arc::new(TimestampSecondArray::from(vec![Some(-1), Some(1), None]))),
        ("zoned", Arc::new(zoned.with_timezone("Asia/Kolkata"))),
        ("decimal", Arc::new(decimal.with_precision_and_scale(11, 3).unwrap())),
        ("list", Arc::new(list)),
        ("point", Arc::new(point)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| {
        let nullable = column.null_count() > 0;
        (name, column, nullable)
    }))
    .unwrap()
}

const EVERYTHING: [&str; 3] = [
    "1|true|-128|-2147483648|0|-9223372036854775808|NaN|-0.0|grün 🦀 \0|ß|\
     a text of more than twelve|one|ff00|0001-01-01|0001-01-01T00:00:00Z|1969-12-31T23:59:59|\
     1969-12-31T23:59:59.999999Z|-99999999.999|[1, ]|{x: 1.0, tag: α}",
    "2|false|127|2147483647|4294967295|9223372036854775807|inf|1e-300||x||two||9999-12-31|\
     9999-12-31T23:59:59.999999Z|1970-01-01T00:00:01|2023-11-14T22:13:20.000001Z|0.001|[]|\
     {x: , tag: }",
    "3|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅",
];

#[tokio::test]
async fn every_type_comes_back_with_its_values_and_its_nulls() {
    let rows = everything();
    for by in [vec![], vec!["text"], vec!["date"], vec!["day(utc)", "bool"], vec!["decimal", "i8"]]
    {
        let lake = Lake::new(NewTable::new(schema_of(&rows)).with_partition_by(by.clone())).await;
        let pinned = lake.commit(rows.clone()).await;
        let read = lake.read(&pinned, ScanOptions::default()).await;
        let mut found = lines(&read);
        found.sort();
        assert_eq!(found, EVERYTHING, "{by:?}");
        let table = lake.catalog.describe(&lake.table).await.unwrap();
        assert_eq!(read.schema(), table.schema);
        let of = |name: &str| read.schema().field_with_name(name).unwrap().data_type().clone();
        for text in ["text", "large", "view", "dict"] {
            assert_eq!(of(text), DataType::Utf8);
        }
        for moment in ["utc", "zoned"] {
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
            assert_eq!(of(moment), utc);
        }
    }
}

#[tokio::test]
async fn the_columns_that_are_asked_for_come_in_that_order() {
    let rows = everything();
    let lake = Lake::new(NewTable::new(schema_of(&rows)).with_partition_by(["i8"])).await;
    let pinned = lake.commit(rows).await;
    let read = async |columns: &[&str]| {
        let options = ScanOptions::default().with_columns(columns.iter().copied());
        let filter = Predicate::IsNotNull("bool".to_owned());
        let read = lake.read(&pinned, options.with_filter(filter)).await;
        let names: Vec<String> =
            read.schema().fields().iter().map(|field| field.name().clone()).collect();
        (names.join(","), read.num_rows())
    };
    assert_eq!(read(&["utc", "id", "list"]).await, ("utc,id,list".to_owned(), 2));
    assert_eq!(read(&["id", "id"]).await, ("id,id".to_owned(), 2));
    assert_eq!(read(&[]).await, (String::new(), 2));
    let all = lake.read(&pinned, ScanOptions::default().with_columns(Vec::<String>::new())).await;
    assert_eq!((all.num_columns(), all.num_rows()), (0, 3));

    let wrong = ScanOptions::default().with_columns(["utx"]);
    let error = lake.catalog.scan(&pinned, wrong).await.unwrap_err();
    assert_eq!((error.kind(), error.help()), (ErrorKind::NotFound, Some("did you mean `utc`?")));
}

#[tokio::test]
async fn batches_are_as_small_as_wanted_and_files_come_in_order() {
    let ids = Int64Array::from_iter_values(0..1000);
    let rows = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap();
    let new = NewTable::new(rows.schema()).with_partition_by(["truncate(100, id)"]);
    let lake = Lake::new(new).await;
    let pinned = lake.commit(rows).await;
    let mut options = ScanOptions::default();
    options.batch_rows = Some(7);
    let batches = lake.catalog.scan(&pinned, options).await.unwrap().collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 7));
    let again = lake.read(&pinned, ScanOptions::default()).await;
    let first = arrow::compute::concat_batches(&again.schema(), &batches).unwrap();
    assert_eq!(first, again, "two reads give one order");
    assert_eq!(first.num_rows(), 1000);
}

#[tokio::test]
async fn a_table_without_a_snapshot_has_no_rows() {
    let lake = Lake::new(NewTable::new(schema_of(&everything()))).await;
    let pinned = lake.catalog.pin(&lake.table, &SnapshotSelector::Latest).await.unwrap();
    assert_eq!(pinned.snapshot, PinnedTable::EMPTY);
    let options = || ScanOptions::default().with_columns(["id"]);
    assert_eq!(lake.read(&pinned, options()).await.num_rows(), 0);
    let plan = lake.catalog.plan_files(&pinned, None).await.unwrap();
    assert!(plan.files.is_empty() && plan.native && plan.schema.fields().len() == 20);
    let unknown = Predicate::IsNull("nope".to_owned());
    assert!(lake.catalog.plan_files(&pinned, Some(&unknown)).await.is_err());
    let gone = PinnedTable { snapshot: SnapshotId::new(12), ..pinned };
    let error = lake.catalog.scan(&gone, options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_plan_knows_partitions_counts_and_bounds_and_its_paths_open() {
    let rows = everything();
    let by = ["day(utc)", "text"];
    let lake = Lake::new(NewTable::new(schema_of(&rows)).with_partition_by(by)).await;
    let pinned = lake.commit(rows).await;
    let plan = lake.catalog.plan_files(&pinned, None).await.unwrap();
    assert_eq!((plan.files.len(), plan.rows(), plan.native), (3, 3, true));
    for file in &plan.files {
        let object = lake.catalog.object_store().get(&file.path()).await.unwrap();
        assert_eq!(object.bytes().await.unwrap().len() as u64, file.size_bytes);
    }
    let first = |file: &&crate::PlannedFile| file.columns()["id"].min == Some(Literal::Int(1));
    let first = plan.files.iter().find(first).unwrap();
    let day = Literal::Date(Date::parse("0001-01-01").unwrap());
    let text = Literal::Text("grün 🦀 \0".to_owned());
    let partition = [("utc_day", Some(day)), ("text", Some(text))];
    assert_eq!(first.partition(), partition);
    let range = |column: &str| first.columns()[column].clone();
    assert_eq!(range("i8").max, Some(Literal::Int(-128)));
    let dawn = Timestamp::parse("0001-01-01").unwrap();
    assert_eq!(range("utc").min, Some(Literal::Timestamp(dawn)));
    assert_eq!(range("bool").nulls, Some(0));
    // NaN is greater than every number, so where one is, no number is the greatest value.
    assert_eq!(range("f32").max, None);
}

#[tokio::test]
async fn files_from_before_a_change_of_columns_are_read_in_the_new_ones() {
    let old = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef, false),
        ("f", Arc::new(Float32Array::from(vec![Some(0.1), None])) as ArrayRef, true),
    ])
    .unwrap();
    let lake = Lake::new(NewTable::new(old.schema())).await;
    let before = lake.commit(old).await;
    let new = RecordBatch::try_from_iter_with_nullable([
        ("new", Arc::new(Int64Array::from(vec![None, Some(7)])) as ArrayRef, true),
        ("id", Arc::new(Int64Array::from(vec![3, 5_000_000_000])) as ArrayRef, false),
        ("f", Arc::new(Float64Array::from(vec![0.1, 0.2])) as ArrayRef, true),
    ])
    .unwrap();
    assert_eq!(lake.catalog.evolve(&lake.table, &new.schema()).await.unwrap(), ["new"]);
    let after = lake.commit(new).await;

    let read = async |filter: Predicate| {
        let options = ScanOptions::default().with_columns(["id", "f", "new"]).with_filter(filter);
        let mut rows = lines(&lake.read(&after, options).await);
        rows.sort();
        rows
    };
    let all = read(Predicate::And(vec![])).await;
    assert_eq!(all, ["1|0.10000000149011612|∅", "2|∅|∅", "3|0.1|∅", "5000000000|0.2|7"]);
    // More than a narrow file's type holds, in both directions.
    let large = Literal::Int(4_000_000_000);
    assert_eq!(read(Predicate::compare("id", CompareOp::Lt, large.clone())).await.len(), 3);
    assert_eq!(read(Predicate::compare("id", CompareOp::Gt, large)).await.len(), 1);
    // In 64 bits, the narrow file's 0.1 is greater than 0.1.
    let tenth = Predicate::compare("f", CompareOp::Gt, Literal::Float(0.1));
    assert_eq!(read(tenth).await, ["1|0.10000000149011612|∅", "5000000000|0.2|7"]);
    // A column that a file lacks is null: it is less than nothing.
    let less = Predicate::compare("new", CompareOp::Lt, Literal::Int(100));
    assert_eq!(read(less).await.len(), 1);
    let other = Predicate::Not(Box::new(Predicate::equal("new", Literal::Int(7))));
    assert_eq!(read(other).await.len(), 0);
    assert_eq!(read(Predicate::IsNull("new".to_owned())).await.len(), 3);

    // The old pin has the old columns.
    let old = lake.read(&before, ScanOptions::default()).await;
    assert_eq!(lines(&old), ["1|0.1", "2|∅"]);
    assert_eq!(old.schema().field(0).data_type(), &DataType::Int32);
    assert!(lake.catalog.plan_files(&after, None).await.unwrap().native);
}

#[test]
fn a_column_that_had_another_name_cannot_be_found_by_it() {
    use iceberg::spec::{
        NestedField, PrimitiveType, Schema, TableMetadata, TableMetadataBuilder, Type,
    };
    let schema = |fields: &[(i32, &str)]| {
        let fields = fields.iter().map(|(id, name)| {
            Arc::new(NestedField::optional(*id, *name, Type::Primitive(PrimitiveType::Int)))
        });
        Schema::builder().with_fields(fields).build().unwrap()
    };
    let table = |past: &[(i32, &str)], now: &[(i32, &str)]| -> TableMetadata {
        let creation = iceberg::TableCreation::builder()
            .name("t".to_owned())
            .location("file:///t".to_owned())
            .schema(schema(past))
            .build();
        let builder = TableMetadataBuilder::from_table_creation(creation).unwrap();
        builder.add_current_schema(schema(now)).unwrap().build().unwrap().metadata
    };
    let stable = |past: &[(i32, &str)], now: &[(i32, &str)]| {
        crate::schema::names_are_stable(&table(past, now))
    };
    assert!(stable(&[(1, "a")], &[(1, "a"), (2, "b")]), "added");
    assert!(stable(&[(1, "a"), (2, "b")], &[(1, "a")]), "dropped");
    assert!(!stable(&[(1, "a")], &[(1, "b")]), "renamed");
    assert!(!stable(&[(1, "a"), (2, "b")], &[(1, "a"), (3, "b")]), "dropped and added again");
    // Another engine forgot what the columns were called before.
    let forgetful = table(&[(1, "a")], &[(1, "b")]).into_builder(None);
    let forgetful = forgetful.remove_schemas(&[0]).unwrap().build().unwrap().metadata;
    assert!(!crate::schema::names_are_stable(&forgetful), "renamed, and forgotten");
}
