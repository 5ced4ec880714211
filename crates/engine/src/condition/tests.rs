use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Field, TimeUnit};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{CompareOp, Literal, Timestamp};

use super::*;
use crate::{Engine, EngineOptions};

fn columns() -> SchemaRef {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("at", micros, true),
    ]))
}

async fn understand(condition: &str) -> Result<RowFilter> {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let options = CatalogOptions::new(format!("sqlite:{}", path("c.db")), path("w"));
    let catalog = IcebergCatalog::open(options).await.unwrap();
    Engine::new(catalog, EngineOptions::default()).unwrap().row_filter(&columns(), condition)
}

async fn check(condition: &str, expected: Predicate) {
    match understand(condition).await.unwrap() {
        RowFilter::Predicate(predicate) => assert_eq!(predicate, expected, "{condition}"),
        other => panic!("{condition}: {other:?}"),
    }
}

#[tokio::test]
async fn what_a_predicate_says_becomes_one() {
    let n = |op, value| Predicate::compare("n", op, Literal::Int(value));
    let text = |s: &str| Literal::Text(s.to_owned());
    check("n = 3", n(CompareOp::Eq, 3)).await;
    check("1 + 2 > n", n(CompareOp::Lt, 3)).await;
    check("x < 1", Predicate::compare("x", CompareOp::Lt, Literal::Float(1.0))).await;
    let both = Predicate::And(vec![n(CompareOp::GtEq, 1), Predicate::equal("s", text("it's"))]);
    check("n >= 1 AND s = 'it''s'", both).await;
    let moment = Literal::Timestamp(Timestamp::parse("2026-01-31").unwrap());
    check("at < '2026-01-31'", Predicate::compare("at", CompareOp::Lt, moment)).await;
    check("s IS NULL", Predicate::IsNull("s".to_owned())).await;
    check("true", Predicate::And(vec![])).await;
    check("n = NULL", Predicate::Or(vec![])).await;
}

#[tokio::test]
async fn what_none_says_is_asked_of_each_row() {
    let filter = understand("abs(x) > 2 AND n < 10 AND s LIKE '%b%'").await.unwrap();
    let RowFilter::Test(test) = filter else { panic!("{filter:?}") };
    assert_eq!(test.columns(), ["n", "s", "x"]);
    let few = Predicate::compare("n", CompareOp::Lt, Literal::Int(10));
    assert_eq!(test.implied(), Some(few));
    let schema = Arc::new(columns().project(&[0, 2, 1]).unwrap());
    let rows = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 10])),
            Arc::new(StringArray::from(vec![Some("abc"), Some("abc"), None, Some("b")])),
            Arc::new(Float64Array::from(vec![-3.0, 1.0, -3.0, 9.0])),
        ],
    );
    let passes = test.passes(&rows.unwrap()).unwrap();
    let passes: Vec<bool> = passes.iter().map(|answer| answer == Some(true)).collect();
    assert_eq!(passes, [true, false, false, false]);
}

#[tokio::test]
async fn what_is_no_condition_is_refused() {
    for condition in [
        "n",
        "",
        "n = 1; n = 2",
        "n = 1) OR (true",
        "random() < 0.5",
        "nobody = 1",
        "count(*) > 1",
        "n IN (SELECT 1)",
        "SELECT 1",
    ] {
        assert!(understand(condition).await.is_err(), "{condition}");
    }
}
