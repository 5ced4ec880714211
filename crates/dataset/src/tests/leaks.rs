//! The leak check against tampered batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use icecore_core::{Knowledge, Span, TableName};

use crate::leak::LeakChecker;
use crate::lock::LockedView;

fn view(ttl: Option<i64>) -> LockedView {
    LockedView {
        name: "v".to_owned(),
        of: None,
        definition_hash: String::new(),
        table: TableName::parse("a.b").unwrap(),
        knowledge: Knowledge::Created,
        event_timestamp: "event".to_owned(),
        created_timestamp: Some("created".to_owned()),
        ttl: ttl.map(Span::from_micros),
        delay: None,
        strict: false,
        keys: Vec::new(),
        columns: Vec::new(),
        on_demand: None,
        windows: None,
    }
}

/// Moment, event, created.
type Row = (Option<i64>, Option<i64>, Option<i64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let column = |pick: fn(&Row) -> Option<i64>| {
        let moments = TimestampMicrosecondArray::from_iter(rows.iter().map(pick));
        Arc::new(moments.with_timezone("+00:00")) as _
    };
    RecordBatch::try_from_iter_with_nullable([
        ("at", column(|row| row.0), true),
        ("v__event_timestamp", column(|row| row.1), true),
        ("v__created_timestamp", column(|row| row.2), true),
    ])
    .unwrap()
}

const RIGHT: [Row; 4] = [
    (Some(10), Some(10), Some(10)),
    (Some(10), Some(3), Some(9)),
    (Some(10), None, None),
    (None, None, None),
];

// C116: the proof would not pass a wrong join.
#[test]
fn a_tampered_row_fails_the_check() {
    let mut right = LeakChecker::new("at", &[view(Some(7))]);
    right.check(&batch(&RIGHT)).unwrap();
    right.check(&batch(&RIGHT[..1])).unwrap();
    let found = right.found();
    assert_eq!((found.rows, found.violations), (5, 0));
    assert_eq!(found.views[0].joined, 3);
    assert_eq!(found.views[0].newest_before_moment_us, Some(0));
    assert_eq!(found.views[0].oldest_before_moment_us, Some(7));

    for (row, tampered, message) in [
        (0, (Some(10), Some(11), Some(10)), "that was known from `1970-01-01T00:00:00.000011Z` on"),
        (0, (Some(10), Some(9), Some(11)), "that was known from `1970-01-01T00:00:00.000011Z` on"),
        (1, (Some(10), Some(2), Some(9)), "older than its ttl"),
        (3, (None, Some(1), Some(1)), "a row without a moment got a row of feature view `v`"),
    ] {
        let mut rows = RIGHT;
        rows[row] = tampered;
        let mut checker = LeakChecker::new("at", &[view(Some(7))]);
        let error = checker.check(&batch(&rows)).unwrap_err();
        assert!(error.to_string().ends_with(message), "{error}");
        assert_eq!(checker.found().violations, 1);
    }
}

#[test]
fn an_age_that_is_not_the_row_s_fails_the_check() {
    let with_ages = |ages: [Option<i64>; 4]| {
        let batch = batch(&RIGHT);
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| (field.name().clone(), Arc::clone(column)));
        let ages = ("v__age_us".to_owned(), Arc::new(Int64Array::from_iter(ages)) as ArrayRef);
        let columns = columns.chain([ages]).map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
    };
    let check = |ages| LeakChecker::new("at", &[view(Some(7))]).check(&with_ages(ages));
    check([Some(0), Some(7), None, None]).unwrap();
    let error = check([Some(0), Some(6), None, None]).unwrap_err();
    assert_eq!(error.to_string(), "the age of a row of feature view `v` is not what it was");
    assert!(check([Some(0), None, None, None]).is_err());
}
