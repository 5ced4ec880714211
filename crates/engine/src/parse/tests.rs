use std::fmt::Write as _;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};
use proptest::prelude::*;

use super::*;
use crate::error::from_datafusion;

/// Runs a test on a stack as the binary's threads have it: without optimization a level takes much.
pub(crate) fn on_large_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(test).unwrap();
    thread.join().unwrap();
}

fn chain(operator: &str, terms: usize) -> String {
    let mut text = String::from("a = 0");
    for term in 1..terms {
        write!(text, " {operator} a = {term}").unwrap();
    }
    text
}

fn refusal(text: &str) -> Error {
    from_datafusion(parse_expression(text).err().unwrap_or_else(|| panic!("{text:.60}")))
}

#[test]
fn a_long_chain_becomes_a_tree_of_few_levels_with_the_same_text() {
    for operator in ["OR", "AND"] {
        for terms in [1, 2, 32, 33, 34, 100, 4_000] {
            let text = chain(operator, terms);
            assert_eq!(parse_expression(&text).unwrap().expr.to_string(), text);
        }
    }
    let mixed = format!("({}) AND NOT ({})", chain("OR", 500), chain("AND", 500));
    assert_eq!(parse_expression(&mixed).unwrap().expr.to_string(), mixed);
    let query = format!("SELECT a FROM t WHERE {}", chain("OR", 1_000));
    assert_eq!(parse_statements(&query).unwrap()[0].to_string(), query);
}

#[test]
fn what_is_nested_too_deeply_is_refused_with_what_to_do() {
    on_large_stack(deep_texts);
}

fn deep_texts() {
    let nested = "an expression is nested too deeply: the limit is 128";
    let row = "there are too many operators in a row: the limit is 10000";
    let case = "CASE WHEN b OR c THEN ";
    let types = "a type is nested too deeply: the limit is 50";
    for (text, expected) in [
        (format!("a{}", " + a".repeat(128)), nested),
        (format!("a{}", "::int::bigint".repeat(64)), nested),
        (format!("a{}", " IS NULL".repeat(128)), nested),
        (format!("a{}", " + a".repeat(1_000_000)), row),
        (format!("a{})", " + a".repeat(1_000_000)), row),
        (chain("OR", 100_000), row),
        // Each level alone is short enough.
        (format!("{}a{}", "(".repeat(40), format!("{})", " + a".repeat(1_000)).repeat(40)), row),
        (
            format!("{}a{}", case.repeat(40), format!("{} END", " + a".repeat(1_000)).repeat(40)),
            row,
        ),
        (format!("a{}", format!(" BETWEEN 1 AND 2{}", " = a".repeat(1_000)).repeat(40)), row),
        (format!("a{}{}", " + a".repeat(6_000), " OR a".repeat(6_000)), row),
        (format!("a::int{}", "[]".repeat(51)), types),
        (format!("a::{}", "ARRAY<".repeat(100_000)), types),
        (format!("arrow_cast(a, '{}')", "List(".repeat(51)), types),
    ] {
        let error = refusal(&text);
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{text:.40}");
        assert_eq!(error.to_string(), expected, "{text:.40}");
        assert!(error.help().is_some(), "{text:.40}");
    }
    // What the parser counts itself.
    assert!(parse_expression(&"(".repeat(100_000)).is_err());
    assert!(parse_expression(&"NOT ".repeat(100_000)).is_err());
    for text in ["EXPLAIN ".repeat(100_000), "SELECT 1 UNION ".repeat(200) + "SELECT 1"] {
        let error = from_datafusion(parse_statements(&text).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{text:.40}");
    }
}

#[test]
fn what_is_long_and_not_deep_is_parsed() {
    on_large_stack(long_texts);
}

fn long_texts() {
    let listed: Vec<String> = (0..50_000).map(|value| format!("-{value}")).collect();
    parse_expression(&format!("a IN ({})", listed.join(", "))).unwrap();
    let rows = vec!["(1, NULL, DATE '2026-01-01')"; 20_000].join(", ");
    parse_statements(&format!("SELECT * FROM (VALUES {rows}) AS t(a, b, c)")).unwrap();
    let columns: Vec<String> = (0..5_000).map(|at| format!("a + {at} AS c{at}")).collect();
    parse_statements(&format!("SELECT {} FROM t", columns.join(", "))).unwrap();
    parse_expression(&format!("a{}", " + a".repeat(100))).unwrap();
    parse_expression(&vec!["a = 1 AND b BETWEEN 2 AND 3"; 5_000].join(" OR ")).unwrap();
    parse_expression("CAST(a AS ARRAY<ARRAY<INT>>) IS NULL").unwrap();
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "[a-c0-9 ()<>\\[\\],+*'=.:-]{0,60}") {
        let _ = parse_expression(&text);
        let _ = parse_statements(&text);
    }

    /// Three values, as SQL has them, against the chain asked from left to right.
    #[test]
    fn a_balanced_chain_has_the_answer_of_the_chain(
        values in prop::collection::vec(prop::option::of(any::<bool>()), 33..200),
        is_or in any::<bool>(),
    ) {
        let words = values.iter().map(|value| value.map_or("NULL".to_owned(), |v| v.to_string()));
        let text = words.collect::<Vec<_>>().join(if is_or { " OR " } else { " AND " });
        let parsed = parse_expression(&text).unwrap();
        let expected = values.iter().copied().reduce(|a, b| either(is_or, a, b)).flatten();
        prop_assert_eq!(answer(&parsed.expr), expected);
        prop_assert!(levels(&parsed.expr) <= 9);
    }
}

fn either(is_or: bool, a: Option<bool>, b: Option<bool>) -> Option<bool> {
    if a == Some(is_or) || b == Some(is_or) {
        return Some(is_or);
    }
    (a.is_some() && b.is_some()).then_some(!is_or)
}

fn answer(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::BinaryOp { left, op, right } => {
            either(*op == BinaryOperator::Or, answer(left), answer(right))
        }
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        },
        other => panic!("{other}"),
    }
}

fn levels(expr: &Expr) -> usize {
    match expr {
        Expr::BinaryOp { left, right, .. } => 1 + levels(left).max(levels(right)),
        _ => 1,
    }
}
