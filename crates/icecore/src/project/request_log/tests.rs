use std::collections::BTreeSet;

use arrow::array::{Float64Array, Int32Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{FieldRef, Int64Type};
use icecore_catalog::CatalogOptions;
use serde_json::{Value, json};

use super::*;

fn sent(values: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("user", values)]).unwrap()
}

fn fitted(rows: &RecordBatch, table: &Schema) -> RecordBatch {
    let fitted = Fitted::new(rows, table).unwrap();
    assert!(fitted.homeless.is_empty());
    fitted.rows
}

fn unit(rows: RecordBatch, own: &[&str]) -> LogUnit {
    let own: BTreeSet<String> = own.iter().map(|name| (*name).to_owned()).collect();
    let (log, id) = ("model_churn".to_owned(), "1".to_owned());
    LogUnit { log, id, rows, keys: own.clone(), own }
}

/// A table with this many columns of numbers.
fn table_of(columns: usize) -> Schema {
    let field = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
    Schema::new((0..columns).map(field).collect::<Vec<_>>())
}

fn objects(rows: &RecordBatch, name: &str) -> Vec<Option<Value>> {
    let texts = rows[name].as_string::<i32>().iter();
    texts.map(|text| text.map(|text| serde_json::from_str(text).unwrap())).collect()
}

#[test]
fn what_is_not_of_the_logs_type_is_kept_as_it_was_sent() {
    let table = sent(Arc::new(Int64Array::from(vec![1]))).schema();
    let numbers: ArrayRef = Arc::new(StringArray::from(vec![Some("42"), None]));
    let rows = fitted(&sent(numbers), &table);
    assert_eq!(rows.columns(), [Arc::new(Int64Array::from(vec![Some(42), None])) as ArrayRef]);
    let mixed: ArrayRef = Arc::new(StringArray::from(vec![Some("42"), Some("u42"), None]));
    let rows = fitted(&sent(mixed), &table);
    assert_eq!(rows.schema().field(1).name(), "user_as_sent");
    let user: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None, None]));
    let as_sent: ArrayRef = Arc::new(StringArray::from(vec![None, Some("u42"), None]));
    assert_eq!(rows.columns(), [user, as_sent]);
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(7)])]);
    let rows = fitted(&sent(Arc::new(list)), &table);
    assert_eq!((rows.num_rows(), rows.column(0).null_count()), (1, 1));
}

#[test]
fn a_number_is_rounded_to_none_that_was_not_sent() {
    let whole = sent(Arc::new(Int64Array::from(vec![1]))).schema();
    let values = vec![Some(1.5), Some(3.0), None, Some(1e300), Some(9_007_199_254_740_992.0)];
    let rows = fitted(&sent(Arc::new(Float64Array::from(values))), &whole);
    let user = Int64Array::from(vec![None, Some(3), None, None, None]);
    assert_eq!(rows["user"].as_primitive::<Int64Type>(), &user);
    let as_sent = rows["user_as_sent"].as_string::<i32>();
    assert_eq!((as_sent.value(0), as_sent.null_count()), ("1.5", 2));

    let double = sent(Arc::new(Float64Array::from(vec![1.0]))).schema();
    let values = vec![9_007_199_254_740_993, 7];
    let rows = fitted(&sent(Arc::new(Int64Array::from(values))), &double);
    let user = Float64Array::from(vec![None, Some(7.0)]);
    assert_eq!(rows["user"].as_primitive::<Float64Type>(), &user);
    let as_sent = rows["user_as_sent"].as_string::<i32>();
    assert_eq!((as_sent.value(0), as_sent.null_count()), ("9007199254740993", 1));

    let narrow = sent(Arc::new(Int32Array::from(vec![1]))).schema();
    let large: ArrayRef = Arc::new(Int64Array::from(vec![1_i64 << 40]));
    assert_eq!(fitted(&sent(Arc::clone(&large)), &narrow).columns(), [large], "it is widened");
}

#[test]
fn clients_widen_a_table_up_to_a_bound_and_the_service_beyond_it() {
    let of = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let rows = [("prediction", of(1)), ("c7", of(2)), ("a", of(3)), ("b", of(4))];
    let rows = RecordBatch::try_from_iter(rows).unwrap();
    let unit = unit(rows, &["a", "b", "c7"]);
    let narrowed = |columns: usize| {
        let table = table_of(columns);
        let rows = Fitted::new(&unit.rows, &table)
            .unwrap()
            .narrowed((&unit, &Said::default()), &table)
            .unwrap();
        let names = rows.schema();
        let names = names.fields().iter().map(|field| field.name().clone());
        (names.collect::<Vec<_>>().join(" "), rows)
    };
    assert_eq!(narrowed(497).0, "prediction c7 a b");
    for (columns, names, folded) in [
        (498, "prediction c7 others", json!({ "a": 3, "b": 4 })),
        (497 + 400, "prediction c7 others", json!({ "a": 3, "b": 4 })),
    ] {
        let (found, rows) = narrowed(columns);
        assert_eq!((found.as_str(), rows["c7"].as_primitive::<Int64Type>().value(0)), (names, 2));
        assert_eq!(objects(&rows, OTHERS), [Some(folded)]);
    }
}

#[test]
fn a_table_of_499_columns_gets_one() {
    let of = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let table = table_of(COLUMNS_MAX - 1);
    for (own, names) in [(vec!["a"], "c7 a"), (vec!["a", "b"], "c7 others")] {
        let columns = own.iter().map(|name| (*name, of(1)));
        let rows = RecordBatch::try_from_iter([("c7", of(2))].into_iter().chain(columns));
        let unit = unit(rows.unwrap(), &own);
        let rows = Fitted::new(&unit.rows, &table)
            .unwrap()
            .narrowed((&unit, &Said::default()), &table)
            .unwrap();
        let schema = rows.schema();
        let found: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(found.join(" "), names);
    }
}

#[test]
fn what_has_no_column_joins_what_the_service_has_put_into_others() {
    let mut fields = table_of(COLUMNS_MAX).fields().to_vec();
    fields.push(Arc::new(Field::new("user_as_sent", DataType::Int64, true)));
    fields.push(Arc::new(Field::new("user", DataType::Int64, true)));
    let rows = RecordBatch::try_from_iter([
        ("user", Arc::new(StringArray::from(vec!["u42", "7"])) as ArrayRef),
        ("own", Arc::new(Int64Array::from(vec![Some(5), None]))),
        (OTHERS, Arc::new(StringArray::from(vec![None, Some("{\"x\":[1]}")]))),
    ]);
    let unit = unit(rows.unwrap(), &["own"]);
    let narrowed = |fields: Vec<FieldRef>| {
        let table = Schema::new(fields);
        Fitted::new(&unit.rows, &table)
            .unwrap()
            .narrowed((&unit, &Said::default()), &table)
            .unwrap()
    };
    let expected = [Some(json!({ "own": 5, "user_as_sent": "u42" })), Some(json!({ "x": [1] }))];
    let rows = narrowed(fields.clone());
    assert_eq!((rows.num_columns(), objects(&rows, OTHERS)), (2, expected.to_vec()));
    // Where clients had a column of this name before.
    fields.push(Arc::new(Field::new(OTHERS, DataType::Int64, true)));
    let rows = narrowed(fields);
    assert_eq!(rows[OTHERS].null_count(), 2);
    assert_eq!(objects(&rows, "others_as_sent"), expected);
}

#[tokio::test]
async fn a_log_takes_rows_that_have_other_columns_and_other_types_than_its_first_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let options = CatalogOptions::new(format!("sqlite:{}", path("c.db")), path("warehouse"));
    let catalog = IcebergCatalog::open(options).await.unwrap();
    let log = LogTables::new(catalog.clone(), "serving".to_owned());
    let moment = arrow::array::TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC");
    let moment: ArrayRef = Arc::new(moment);
    let users: [ArrayRef; 2] =
        [Arc::new(Int64Array::from(vec![1])), Arc::new(Float64Array::from(vec![1.5]))];
    for (at, user) in users.into_iter().enumerate() {
        let columns = [("event_timestamp", Arc::clone(&moment), true), ("user", user, true)];
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        log.write(&LogUnit { id: at.to_string(), ..unit(rows, &["user"]) }).await.unwrap();
    }
    let table = TableName::parse("serving.model_churn").unwrap();
    let schema = catalog.describe(&table).await.unwrap().schema;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["event_timestamp", "user", "user_as_sent"]);
}

// A flush comes every few seconds, and its cause stays.
#[test]
fn a_cause_is_said_once_for_each_log() {
    let said = Said::default();
    let told = [
        ("model_a", Cause::NoRoom),
        ("model_a", Cause::NoRoom),
        ("model_b", Cause::NoRoom),
        ("model_a", Cause::NoColumn),
        ("model_a", Cause::NoRoom),
    ];
    let news: Vec<bool> = told.iter().map(|(log, cause)| said.is_news(log, *cause)).collect();
    assert_eq!(news, [true, false, true, true, false]);
}
