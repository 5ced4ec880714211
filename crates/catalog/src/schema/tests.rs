use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, TimeUnit};
use iceberg::spec::FormatVersion;
use icecore_core::ErrorKind;

use super::*;
use crate::schema::evolution::union;
use crate::schema::partition::bind;

fn arrow(fields: Vec<Field>) -> SchemaRef {
    Arc::new(ArrowSchema::new(fields))
}

fn events() -> Schema {
    to_iceberg(&arrow(vec![
        Field::new("user_token", DataType::Utf8, false),
        Field::new(
            "event_timestamp",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())),
            false,
        ),
        Field::new("amount", DataType::Float64, true),
        Field::new("feature_date", DataType::Date32, true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
    ]))
    .unwrap()
}

/// What a column of each Arrow type is read back as.
#[test]
fn every_type_that_users_have_gets_its_stored_type() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
    let check = |from: DataType, to: DataType| {
        let stored = to_iceberg(&arrow(vec![Field::new("x", from.clone(), true)])).unwrap();
        let read = to_arrow(&stored).unwrap();
        assert_eq!(read.field(0).data_type(), &to, "{from}");
        assert_eq!(read.field(0).metadata()["PARQUET:field_id"], "1", "{from}");
        assert!(read.field(0).is_nullable());
    };
    for small in
        [DataType::Int8, DataType::Int16, DataType::Int32, DataType::UInt8, DataType::UInt16]
    {
        check(small, DataType::Int32);
    }
    for large in [DataType::Int64, DataType::UInt32, DataType::UInt64] {
        check(large, DataType::Int64);
    }
    for text in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        check(
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(text.clone())),
            DataType::Utf8,
        );
        check(text, DataType::Utf8);
    }
    for bytes in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
        check(bytes, DataType::LargeBinary);
    }
    for unit in
        [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]
    {
        check(DataType::Timestamp(unit, None), naive.clone());
        for zone in ["UTC", "+00:00", "America/New_York", "+05:30"] {
            check(DataType::Timestamp(unit, Some(zone.into())), utc.clone());
        }
    }
    check(DataType::Boolean, DataType::Boolean);
    check(DataType::Float32, DataType::Float32);
    check(DataType::Float64, DataType::Float64);
    check(DataType::Date32, DataType::Date32);
    check(DataType::Decimal128(12, 2), DataType::Decimal128(12, 2));
}

#[test]
fn nested_columns_get_ids_level_by_level() {
    let point = DataType::Struct(Fields::from(vec![
        Field::new("x", DataType::Float64, false),
        Field::new("names", DataType::new_list(DataType::Utf8View, true), true),
    ]));
    let schema = to_iceberg(&arrow(vec![
        Field::new("p", point, true),
        Field::new("q", DataType::Int64, false),
    ]))
    .unwrap();
    let id = |name| schema.field_id_by_name(name);
    assert_eq!((id("p"), id("q"), id("p.x"), id("p.names")), (Some(1), Some(2), Some(3), Some(4)));
    assert_eq!(id("p.names.element"), Some(5));
}

#[test]
fn a_type_that_no_table_stores_is_named() {
    for (data_type, hint) in [
        (DataType::Null, "cast it"),
        (DataType::Duration(TimeUnit::Second), "microseconds"),
        (DataType::Decimal256(40, 2), "cast it"),
    ] {
        let column = DataType::new_list(data_type.clone(), true);
        let error = to_iceberg(&arrow(vec![Field::new("odd", column, true)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`odd`"), "{error}");
        assert!(error.help().unwrap().contains(hint), "{error:?}");
    }
    let twice = vec![Field::new("a", DataType::Utf8, true), Field::new("a", DataType::Int8, true)];
    assert_eq!(to_iceberg(&arrow(twice)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(to_iceberg(&arrow(vec![])).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn partition_fields_read_back_as_they_were_written() {
    let schema = events();
    for by in [
        &["feature_date"][..],
        &["day(event_timestamp)", "bucket(16, user_token)"],
        &["year(feature_date)"],
        &["month(event_timestamp)"],
        &["hour(event_timestamp)", "user_token"],
        &["truncate(8, user_token)"],
        &[],
    ] {
        let spec = bind(&schema, by).unwrap();
        assert_eq!(describe_partition(&schema, &spec), by);
    }
    let spaced = bind(&schema, &["  Bucket( 4 ,user_token ) "]).unwrap();
    assert_eq!(describe_partition(&schema, &spaced), ["bucket(4, user_token)"]);
}

#[test]
fn a_wrong_partition_field_says_what_is_right() {
    let check = |by: &[&str], message: &str, hint: &str| {
        let error = bind(&events(), by).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        let help = error.help().unwrap_or_default().to_owned() + &error.notes().join("; ");
        assert!(help.contains(hint), "{error:?}");
    };
    check(
        &["day(event_timestmp)"],
        "no column `event_timestmp`",
        "did you mean `event_timestamp`?",
    );
    check(&["nope"], "no column `nope`", "columns: user_token, event_timestamp, amount");
    check(&["dya(event_timestamp)"], "no transform `dya`", "did you mean `day`?");
    check(&["bucket(user_token)"], "no partition field", "bucket(16, user_token)");
    check(&["bucket(user_token)"], "no partition field", "size first");
    check(&["bucket(0, user_token)"], "its size is 0", "from 1 to 1000000");
    check(&["bucket(1000001, user_token)"], "its size is 1000001", "from 1 to 1000000");
    check(&["truncate(2147483648, user_token)"], "its size is", "from 1 to 2147483647");
    check(&["day(amount)"], "column `amount` is `double`", "dates and timestamps");
    check(&["bucket(4, amount)"], "column `amount` is `double`", "whole numbers");
    check(&["tags"], "column `tags`", "one value per row");
    check(&["day(event_timestamp)", "hour(event_timestamp)"], "hour(event_timestamp)", "");
}

#[test]
fn a_partition_field_never_takes_the_name_of_another_column() {
    let schema = to_iceberg(&arrow(vec![
        Field::new("ts", DataType::Date32, true),
        Field::new("ts_day", DataType::Utf8, true),
    ]))
    .unwrap();
    let spec = bind(&schema, &["day(ts)", "ts_day"]).unwrap();
    assert_eq!(describe_partition(&schema, &spec), ["day(ts)", "ts_day"]);
}

#[test]
fn sort_columns_read_back_as_they_were_written() {
    let schema = events();
    let by = ["user_token".to_owned(), "event_timestamp".to_owned()];
    assert_eq!(describe_sort(&schema, &sort_order(&schema, &by).unwrap()), by);
    assert!(sort_order(&schema, &[]).unwrap().is_unsorted());
    let error = sort_order(&schema, &["amuont".to_owned()]).unwrap_err();
    assert_eq!(error.help(), Some("did you mean `amount`?"));
    assert!(sort_order(&schema, &["tags".to_owned()]).unwrap_err().to_string().contains("`tags`"));
}

#[test]
fn a_table_grows_columns_and_wider_ones() {
    let current = to_iceberg(&arrow(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("score", DataType::Float32, true),
        Field::new("kept", DataType::Utf8, true),
    ]))
    .unwrap();
    let wanted = arrow(vec![
        Field::new("score", DataType::Float64, true),
        Field::new("id", DataType::Int64, false),
        Field::new("added", DataType::new_list(DataType::Int64, true), false),
    ]);
    let grown = union(&current, &wanted, 9, FormatVersion::V2).unwrap().unwrap();
    let columns: Vec<_> = grown
        .as_struct()
        .fields()
        .iter()
        .map(|field| (field.id, field.name.as_str(), field.field_type.to_string(), field.required))
        .collect();
    assert_eq!(columns[0], (1, "id", "long".to_owned(), true));
    assert_eq!(columns[1], (2, "score", "double".to_owned(), false));
    assert_eq!(columns[2], (3, "kept", "string".to_owned(), false));
    assert_eq!((columns[3].1, columns[3].3), ("added", false));
    assert!(columns[3].0 > 9, "the id of a dropped column is not given out again");
    assert_eq!(union(&grown, &wanted, 9, FormatVersion::V2).unwrap(), None);
}

#[test]
fn narrower_rows_change_nothing_and_other_types_are_refused() {
    let current = to_iceberg(&arrow(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
    .unwrap();
    let narrow = arrow(vec![
        Field::new("id", DataType::Int16, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Second, None), true),
    ]);
    assert_eq!(union(&current, &narrow, 2, FormatVersion::V2).unwrap(), None);
    let text = arrow(vec![Field::new("id", DataType::Utf8, false)]);
    let error = union(&current, &text, 2, FormatVersion::V2).unwrap_err();
    assert_eq!(error.to_string(), "column `id` is `long` and cannot become `string`");
}

#[test]
fn types_are_nested_as_deep_as_metadata_can_be_read() {
    let deep = |levels: usize| {
        let (open, close) = ("struct<a: ".repeat(levels), ">".repeat(levels));
        ColumnType::parse(&format!("{open}int{close}"))
    };
    let json = serde_json::to_string(deep(32).unwrap().as_iceberg()).unwrap();
    serde_json::from_str::<iceberg::spec::Type>(&json).unwrap();
    let list = |levels: usize| {
        let of = (0..levels).fold(DataType::Int64, |of, _| DataType::new_list(of, true));
        to_iceberg(&arrow(vec![Field::new("x", of, true)]))
    };
    list(32).unwrap();
    assert_eq!(list(33).unwrap_err().kind(), ErrorKind::Unsupported);
    for levels in [33, 100_000] {
        let error = deep(levels).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "types are nested more than 32 deep");
    }
}
