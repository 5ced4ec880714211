//! From predicates to filters of a table.

use iceberg::spec::{NestedFieldRef, Schema};
use icecore_core::{CompareOp, Error, Literal, Predicate, Result};

use super::literal::{Place, place};
use super::{Asked, Membership, Question, Tree, conjunction, disjunction, negated};
use crate::schema::no_such_column;

/// Whether rows are wanted that pass, or rows that do not and are not null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Holds,
    Fails,
}

impl Sense {
    const fn opposite(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
        }
    }
}

pub(super) fn bind(predicate: &Predicate, schema: &Schema) -> Result<Tree<Asked>> {
    bind_sense(predicate, schema, Sense::Holds)
}

fn bind_sense(predicate: &Predicate, schema: &Schema, sense: Sense) -> Result<Tree<Asked>> {
    let all = |parts: &[Predicate]| -> Result<Vec<Tree<Asked>>> {
        parts.iter().map(|part| bind_sense(part, schema, sense)).collect()
    };
    Ok(match (predicate, sense) {
        (Predicate::Compare { column, op, value }, _) => {
            let op = if sense == Sense::Holds { *op } else { negated(*op) };
            compare(find(schema, column)?, op, value)?
        }
        (Predicate::IsNull(column), Sense::Holds)
        | (Predicate::IsNotNull(column), Sense::Fails) => {
            ask(find(schema, column)?, Question::IsNull)
        }
        (Predicate::IsNotNull(column), Sense::Holds)
        | (Predicate::IsNull(column), Sense::Fails) => {
            ask(find(schema, column)?, Question::NotNull)
        }
        (Predicate::In(column, values), _) => membership(find(schema, column)?, values, sense)?,
        (Predicate::And(parts), Sense::Holds) | (Predicate::Or(parts), Sense::Fails) => {
            conjunction(all(parts)?)
        }
        (Predicate::Or(parts), Sense::Holds) | (Predicate::And(parts), Sense::Fails) => {
            disjunction(all(parts)?)
        }
        (Predicate::Not(inner), _) => bind_sense(inner, schema, sense.opposite())?,
        (other, _) => {
            return Err(Error::unsupported(format!("tables cannot be filtered by `{other:?}`")));
        }
    })
}

fn find<'a>(schema: &'a Schema, column: &str) -> Result<&'a NestedFieldRef> {
    let mut fields = schema.as_struct().fields().iter();
    fields.find(|field| field.name == column).ok_or_else(|| no_such_column(schema, column))
}

fn ask(column: &NestedFieldRef, question: Question) -> Tree<Asked> {
    Tree::Leaf(Asked { column: column.clone(), question })
}

fn compare(column: &NestedFieldRef, op: CompareOp, value: &Literal) -> Result<Tree<Asked>> {
    let present = || ask(column, Question::NotNull);
    let compared = |op, value| ask(column, Question::Compare(op, value));
    Ok(match (place(&column.name, &column.field_type, value)?, op) {
        (Place::At(value), op) => compared(op, value),
        (_, CompareOp::Eq) => Tree::Always(false),
        (_, CompareOp::NotEq) => present(),
        (Place::After(value), CompareOp::Lt | CompareOp::LtEq) => compared(CompareOp::LtEq, value),
        (Place::After(value), CompareOp::Gt | CompareOp::GtEq) => compared(CompareOp::Gt, value),
        (Place::Below, CompareOp::Lt | CompareOp::LtEq)
        | (Place::Above, CompareOp::Gt | CompareOp::GtEq) => Tree::Always(false),
        (Place::Below, CompareOp::Gt | CompareOp::GtEq)
        | (Place::Above, CompareOp::Lt | CompareOp::LtEq) => present(),
    })
}

fn membership(column: &NestedFieldRef, values: &[Literal], sense: Sense) -> Result<Tree<Asked>> {
    let mut inside = Vec::with_capacity(values.len());
    for value in values {
        if let Place::At(value) = place(&column.name, &column.field_type, value)? {
            inside.push(value);
        }
    }
    Ok(match (sense, inside.is_empty()) {
        (Sense::Holds, true) => Tree::Always(false),
        // Nothing is in an empty list, not even null.
        (Sense::Fails, true) if values.is_empty() => Tree::Always(true),
        (Sense::Fails, true) => ask(column, Question::NotNull),
        (Sense::Holds, false) => ask(column, Question::In(inside, Membership::Inside)),
        (Sense::Fails, false) => ask(column, Question::In(inside, Membership::Outside)),
    })
}
