//! Chains of `OR` or `AND` as trees of few levels.

use std::mem;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Chains of up to this many terms stay as they are written. A tree of all the terms that a text
/// can have has fewer levels, so what was made into one is not made into another.
const TERMS_KEPT: usize = 32;

/// Makes `a OR b OR c …`, which the parser nests once for each term, into a tree whose levels are
/// the logarithm of that. `OR` and `AND` of three values are associative, and the order of the
/// terms stays, so it has the same answers and the same text.
pub(super) fn balance(expr: &mut Expr) {
    let Some(op) = associative(expr) else { return };
    if terms_of(expr, &op) <= TERMS_KEPT {
        return;
    }
    let mut terms = Vec::new();
    let mut rest = mem::replace(expr, placeholder());
    while let Expr::BinaryOp { left, op: found, right } = rest {
        if found != op {
            rest = Expr::BinaryOp { left, op: found, right };
            break;
        }
        terms.push(*right);
        rest = *left;
    }
    terms.push(rest);
    terms.reverse();
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut open = terms.into_iter();
        while let Some(left) = open.next() {
            pairs.push(match open.next() {
                Some(right) => {
                    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
                }
                None => left,
            });
        }
        terms = pairs;
    }
    if let Some(tree) = terms.pop() {
        *expr = tree;
    }
}

fn associative(expr: &Expr) -> Option<BinaryOperator> {
    match expr {
        Expr::BinaryOp { op: op @ (BinaryOperator::Or | BinaryOperator::And), .. } => {
            Some(op.clone())
        }
        _ => None,
    }
}

fn terms_of(mut expr: &Expr, op: &BinaryOperator) -> usize {
    let mut terms = 1;
    while let Expr::BinaryOp { left, op: found, .. } = expr {
        if found != op {
            break;
        }
        terms += 1;
        expr = left;
    }
    terms
}

fn placeholder() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}
