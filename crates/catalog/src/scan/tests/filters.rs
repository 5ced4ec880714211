//! Filters against an oracle that looks at every row.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use icecore_core::{CompareOp, Date, ErrorKind, Literal, Predicate, Timestamp};
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400_000_000;
const OPS: [CompareOp; 6] = [
    CompareOp::Eq,
    CompareOp::NotEq,
    CompareOp::Lt,
    CompareOp::LtEq,
    CompareOp::Gt,
    CompareOp::GtEq,
];
const INF: f64 = f64::INFINITY;

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) n: Option<i64>,
    f: Option<f64>,
    pub(super) text: Option<String>,
    at: Option<i64>,
    day: Option<i32>,
}

pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 1..40)
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let floats = vec![0.0, -0.0, 1.0, 1.5, -2.5, 3.0, f64::NAN, -f64::NAN, INF, -INF];
    let row = (
        prop::option::of(-4_i64..5),
        prop::option::of(prop::sample::select(floats)),
        prop::option::of("[ab]{0,2}"),
        prop::option::of(moments()),
        prop::option::of(-2_i32..3),
    );
    row.prop_map(|(n, f, text, at, day)| Row { n, f, text, at, day })
}

/// Around noon and midnight, before and after 1970.
fn moments() -> impl Strategy<Value = i64> {
    let beside = prop::sample::select(vec![0, 0, 0, -1, -2, -500_000, -1_000_000, 1]);
    (-4_i64..5, beside).prop_map(|(half_days, micros)| half_days * DAY / 2 + micros)
}

pub(super) fn predicates() -> impl Strategy<Value = Predicate> {
    let floats = vec![0.0, -0.0, 1.0, 1.5, -2.5, 0.25, f64::NAN, INF, -INF, 1e30];
    let number = prop_oneof![
        (-5_i64..6).prop_map(Literal::Int),
        prop::sample::select(floats).prop_map(Literal::Float),
    ];
    let moment = prop_oneof![
        moments().prop_map(|micros| Literal::Timestamp(Timestamp::from_micros(micros))),
        (-2_i32..3).prop_map(|day| Literal::Date(Date::from_days(day))),
        Just(Literal::Text("1970-01-01T12:00:00+00:00".to_owned())),
        Just(Literal::Text("1970-01-02".to_owned())),
    ];
    let term = prop_oneof![
        (prop::sample::select(vec!["n", "f"]), number).boxed(),
        (Just("text"), "[ab]{0,2}".prop_map(Literal::Text)).boxed(),
        (prop::sample::select(vec!["at", "day"]), moment).boxed(),
    ];
    let column = prop::sample::select(vec!["n", "f", "text", "at", "day"]);
    let leaf = prop_oneof![
        4 => (term.clone(), prop::sample::select(OPS.to_vec()))
            .prop_map(|((column, value), op)| Predicate::compare(column, op, value)),
        1 => column.clone().prop_map(|column| Predicate::IsNull(column.to_owned())),
        1 => column.prop_map(|column| Predicate::IsNotNull(column.to_owned())),
        2 => prop::collection::vec(term, 0..4).prop_map(|terms| {
            let column = terms.first().map_or("n", |term| term.0);
            let values = terms.iter().filter(|term| term.0 == column).map(|term| term.1.clone());
            Predicate::In(column.to_owned(), values.collect())
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Or),
            inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
        ]
    })
}

/// A value that the oracle compares.
#[derive(Debug, Clone)]
enum Value {
    Number(f64),
    Text(String),
    Micros(i64),
}

fn value_of(row: &Row, column: &str) -> Option<Value> {
    match column {
        "n" => row.n.map(|n| Value::Number(n as f64)),
        "f" => row.f.map(Value::Number),
        "text" => row.text.clone().map(Value::Text),
        "at" => row.at.map(Value::Micros),
        _ => row.day.map(|day| Value::Micros(i64::from(day) * DAY)),
    }
}

fn literal(literal: &Literal, column: &str) -> Value {
    match literal {
        Literal::Int(value) => Value::Number(*value as f64),
        Literal::Float(value) => Value::Number(*value),
        Literal::Date(date) => Value::Micros(date.midnight().micros()),
        Literal::Timestamp(moment) => Value::Micros(moment.micros()),
        Literal::Text(text) if column == "text" => Value::Text(text.clone()),
        Literal::Text(text) => Value::Micros(Timestamp::parse(text).unwrap().micros()),
        other => panic!("{other:?}"),
    }
}

fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.partial_cmp(right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
        }
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Micros(left), Value::Micros(right)) => left.cmp(right),
        _ => panic!("{left:?} {right:?}"),
    }
}

/// True, false or unknown, as SQL has it.
pub(super) fn passes(row: &Row, predicate: &Predicate) -> Option<bool> {
    match predicate {
        Predicate::Compare { column, op, value } => {
            let order = order(&value_of(row, column)?, &literal(value, column));
            Some(match op {
                CompareOp::Eq => order.is_eq(),
                CompareOp::NotEq => order.is_ne(),
                CompareOp::Lt => order.is_lt(),
                CompareOp::LtEq => order.is_le(),
                CompareOp::Gt => order.is_gt(),
                CompareOp::GtEq => order.is_ge(),
            })
        }
        Predicate::IsNull(column) => Some(value_of(row, column).is_none()),
        Predicate::IsNotNull(column) => Some(value_of(row, column).is_some()),
        Predicate::In(_, values) if values.is_empty() => Some(false),
        Predicate::In(column, values) => {
            let value = value_of(row, column)?;
            Some(values.iter().any(|one| order(&value, &literal(one, column)).is_eq()))
        }
        Predicate::And(parts) => all(parts.iter().map(|part| passes(row, part))),
        Predicate::Or(parts) => {
            all(parts.iter().map(|part| passes(row, part).map(|passes| !passes)))
                .map(|passes| !passes)
        }
        Predicate::Not(inner) => passes(row, inner).map(|passes| !passes),
        other => panic!("{other:?}"),
    }
}

fn all(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let answers: Vec<_> = answers.collect();
    if answers.contains(&Some(false)) {
        return Some(false);
    }
    answers.iter().all(Option::is_some).then_some(true)
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.at));
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
        ("n", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.n)))),
        ("f", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.f)))),
        ("text", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.text.as_deref())))),
        ("at", Arc::new(times.with_timezone("+00:00"))),
        ("day", Arc::new(Date32Array::from_iter(rows.iter().map(|row| row.day)))),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name, column, name != "id"));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The ids of the rows that a read gives, and those that the files of the plan hold.
async fn read_ids(lake: &Lake, pinned: &PinnedTable, predicate: &Predicate) -> Vec<i64> {
    let options = ScanOptions::default().with_columns(["id"]).with_filter(predicate.clone());
    let read = lake.read(pinned, options).await;
    let mut ids = read.column(0).as_primitive::<Int64Type>().values().to_vec();
    ids.sort_unstable();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However a table is partitioned, a read gives the rows that pass and no other, and a plan
    /// has files enough for them.
    #[test]
    fn the_rows_that_are_read_are_those_that_pass(
        rows in rows(),
        predicates in prop::collection::vec(predicates(), 1..6),
        by in prop::sample::select(vec![
            None, Some("n"), Some("f"), Some("text"), Some("bucket(3, n)"), Some("truncate(2, n)"),
            Some("truncate(1, text)"), Some("day(at)"), Some("hour(at)"), Some("month(day)"),
            Some("bucket(2, at)"),
        ]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let all = batch(&rows);
            let new = NewTable::new(all.schema());
            let lake = Lake::new(new.with_partition_by(by)).await;
            let pinned = lake.commit(all).await;
            let paths = |plan: crate::FilePlan| -> BTreeSet<_> {
                plan.files.into_iter().map(|file| file.path()).collect()
            };
            let everything = paths(lake.catalog.plan_files(&pinned, None).await.unwrap());
            for predicate in predicates {
                let expected: Vec<i64> = (0_i64..)
                    .zip(&rows)
                    .filter(|(_, row)| passes(row, &predicate) == Some(true))
                    .map(|(id, _)| id)
                    .collect();
                let found = read_ids(&lake, &pinned, &predicate).await;
                prop_assert_eq!(&found, &expected, "{:?}", predicate);
                let plan = lake.catalog.plan_files(&pinned, Some(&predicate)).await.unwrap();
                prop_assert!(plan.rows() >= expected.len() as u64, "{:?}", predicate);
                prop_assert!(paths(plan).is_subset(&everything));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn files_that_cannot_hold_a_row_are_not_planned() {
    let row = |id: i32| Row {
        n: Some(id.into()),
        f: Some(id.into()),
        text: Some(format!("t{}", id % 4)),
        at: Some(i64::from(id) * DAY),
        day: Some(0),
    };
    let all = batch(&(0..40).map(row).collect::<Vec<_>>());
    let check = async |by: &str, predicate: Predicate, files: usize| {
        let lake = Lake::new(NewTable::new(all.schema()).with_partition_by([by])).await;
        let pinned = lake.commit(all.clone()).await;
        let plan = lake.catalog.plan_files(&pinned, Some(&predicate)).await.unwrap();
        assert_eq!(plan.files.len(), files, "{by} {predicate:?}");
    };
    let text = |text: &str| Literal::Text(text.to_owned());
    check("day(at)", Predicate::compare("at", CompareOp::Lt, text("1970-01-04")), 3).await;
    check("day(at)", Predicate::compare("f", CompareOp::GtEq, Literal::Int(38)), 2).await;
    check("text", Predicate::equal("text", text("t2")), 1).await;
    check("text", Predicate::equal("text", text("t9")), 0).await;
    check("bucket(16, n)", Predicate::equal("n", Literal::Int(7)), 1).await;
    check("truncate(10, n)", Predicate::equal("n", Literal::Float(11.0)), 1).await;
    check("truncate(10, n)", Predicate::equal("n", Literal::Float(11.5)), 0).await;
    check("truncate(10, n)", Predicate::IsNull("n".to_owned()), 0).await;
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_refused() {
    let all = batch(&[]);
    let lake = Lake::new(NewTable::new(all.schema())).await;
    let pinned = lake.commit(all).await;
    let check = async |predicate: Predicate, message: &str| {
        let options = ScanOptions::default().with_filter(predicate);
        let error = lake.catalog.scan(&pinned, options).await.unwrap_err();
        assert_eq!(error.to_string(), message);
        error
    };
    let unknown = Predicate::equal("txt", Literal::Int(1));
    let error = check(unknown, "the table has no column `txt`").await;
    assert_eq!((error.kind(), error.help()), (ErrorKind::NotFound, Some("did you mean `text`?")));
    let text = || Literal::Text("x".to_owned());
    let message = "column `n` is `long` and cannot be compared with the text `x`";
    check(Predicate::equal("n", text()), message).await;
    let message = "column `text` is `string` and cannot be compared with the number `5`";
    check(Predicate::In("text".to_owned(), vec![text(), Literal::Int(5)]), message).await;
    let message = "column `at` is `timestamptz` and cannot be compared with the number `5`";
    check(Predicate::equal("at", Literal::Int(5)), message).await;
    // D1: a time without a zone is an error with a hint.
    let naive = Literal::Text("2024-01-01 10:00:00".to_owned());
    let error = check(Predicate::equal("at", naive), "`2024-01-01 10:00:00` is not a time").await;
    assert_eq!(error.help(), Some("write `2024-01-01T10:00:00Z` for UTC"));
}
