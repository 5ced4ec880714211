use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::common::ToDFSchema;
use icecore_core::ErrorKind;

use super::*;
use crate::expression::Expression;

fn rows() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int64Array::from(vec![Some(7), Some(8), None]))),
        ("b", Arc::new(Int64Array::from(vec![2, 0, 1]))),
        ("x", Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5]))),
        ("t", Arc::new(StringArray::from(vec!["1", "2", "1q"]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn place(text: &str) -> Place {
    let location = Location { file: "features/v.toml".to_owned(), line: 7, column: 3 };
    let what = "derived feature `r` of `v`".to_owned();
    Place { what, text: text.to_owned(), location: Some(location) }
}

fn placed(text: &str) -> (Expr, DFSchema, SessionContext) {
    let (context, schema) = (SessionContext::new(), rows().schema().to_dfschema().unwrap());
    let planned = Expression::parse(text).unwrap().plan(&context, &schema).unwrap();
    (place(text).of(planned, &schema, &context).unwrap(), schema, context)
}

fn computed(text: &str, rows: &RecordBatch) -> icecore_core::Result<ArrayRef> {
    let (expr, schema, context) = placed(text);
    let value = physical(&context, expr, &schema)
        .and_then(|expression| expression.evaluate(rows))
        .and_then(|value| value.into_array(rows.num_rows()));
    value.map_err(from_datafusion)
}

#[test]
fn an_error_names_the_feature_and_its_place() {
    for (text, reason) in [("a % b", "ivide by zero"), ("CAST(t AS BIGINT)", "'1q'")] {
        let error = computed(text, &rows()).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{message}");
        assert!(
            message.starts_with("derived feature `r` of `v` cannot be computed: "),
            "{message}"
        );
        assert!(message.contains(reason) || message.contains("division by zero"), "{message}");
        assert_eq!(error.location().map(|at| (at.line, at.column)), Some((7, 3)));
        assert_eq!(error.notes().first().cloned(), Some(format!("`{text}`")));
        assert!(error.help().is_some());
    }
}

#[test]
fn values_are_those_of_the_expression() {
    let sound = rows().slice(0, 1);
    let value = computed("a % b + CAST(t AS BIGINT)", &sound).unwrap();
    assert_eq!(value.as_primitive::<Int64Type>().values(), &[2]);
    let nothing = computed("CAST('5' AS BIGINT)", &rows()).unwrap();
    assert_eq!(nothing.as_primitive::<Int64Type>().values(), &[5, 5, 5]);
}

// Scans use what they can look through.
#[test]
fn what_cannot_fail_stays_as_it_is() {
    let is_placed = |text: &str| format!("{:?}", placed(text).0).contains("Placed");
    for text in ["a > 5", "x * 2.0", "a / b", "t = 'q' AND a IN (1, 2)", "a + b", "a IS NULL"] {
        assert!(!is_placed(text), "{text}");
    }
    for text in ["a % b", "CAST(t AS BIGINT) > 1", "CAST(x AS BIGINT)"] {
        assert!(is_placed(text), "{text}");
    }
}

#[test]
fn the_parts_of_a_condition_stay_apart() {
    let (context, schema) = (SessionContext::new(), rows().schema().to_dfschema().unwrap());
    let text = "a > 5 AND a % b = 1";
    let planned = Expression::parse(text).unwrap().plan(&context, &schema).unwrap();
    let placed = place(text).of_condition(planned, &schema, &context).unwrap();
    let parts = split_conjunction_owned(placed);
    let kinds: Vec<bool> =
        parts.iter().map(|part| matches!(part, Expr::ScalarFunction(_))).collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn two_places_are_two_functions() {
    let (context, schema) = (SessionContext::new(), rows().schema().to_dfschema().unwrap());
    let planned = Expression::parse("a % b").unwrap().plan(&context, &schema).unwrap();
    let one = place("a % b");
    let other = Place { what: "another".to_owned(), ..one.clone() };
    let of = |place: &Place| place.of(planned.clone(), &schema, &context).unwrap();
    assert_eq!(of(&one), of(&one));
    assert_ne!(of(&one), of(&other));
}
