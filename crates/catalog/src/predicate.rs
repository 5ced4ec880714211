//! Row filters in Iceberg's terms and on record batches.
//!
//! Values compare as in SQL, with one addition: a NaN equals a NaN and is greater than every
//! number. `-0.0` equals `0.0`.

mod literal;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum as ArrowDatum, RecordBatch, Scalar,
};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, is_not_null, is_null, or_kleene};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};
use iceberg::expr::{Predicate as IcebergPredicate, Reference};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};
use icecore_core::{CompareOp, Error, Literal, Predicate, Result};

use crate::schema::no_such_column;
use literal::{Place, array_of, place};
pub(crate) use literal::{exact_literal, from_datum, from_literal};

/// A filter whose columns and literals have been checked against the columns of a table.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    node: Node,
}

/// What can be asked of a row. There is no `not`: it has been moved down to the comparisons, where
/// nulls pass neither way.
#[derive(Debug, Clone)]
enum Node {
    Always(bool),
    IsNull(String),
    NotNull(String),
    Compare {
        column: String,
        op: CompareOp,
        value: Datum,
    },
    /// One of these, or none of them.
    In {
        column: String,
        values: Vec<Datum>,
        wanted: Membership,
    },
    And(Vec<Self>),
    Or(Vec<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Inside,
    Outside,
}

impl Filter {
    /// Looks up the columns and turns the literals into values of their types.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown column, `InvalidInput` for a literal of the wrong kind.
    pub(crate) fn bind(predicate: &Predicate, schema: &Schema) -> Result<Self> {
        bind(predicate, schema, Sense::Holds).map(|node| Self { node })
    }

    /// The columns that it looks at.
    pub(crate) fn columns(&self) -> BTreeSet<&str> {
        let mut columns = BTreeSet::new();
        self.node.collect_columns(&mut columns);
        columns
    }

    /// Whether no row can pass.
    pub(crate) const fn is_never(&self) -> bool {
        matches!(self.node, Node::Always(false))
    }

    /// A filter in Iceberg's terms that every row passes which passes this one, and perhaps more:
    /// it asks nothing of columns outside of `usable`.
    pub(crate) fn to_iceberg(&self, usable: &BTreeSet<&str>) -> IcebergPredicate {
        self.node.to_iceberg(usable)
    }

    /// Which rows pass; null counts as no.
    ///
    /// # Errors
    ///
    /// `Internal` for a batch without one of the columns.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.node.evaluate(batch)
    }
}

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

fn bind(predicate: &Predicate, schema: &Schema, sense: Sense) -> Result<Node> {
    let all = |parts: &[Predicate]| -> Result<Vec<Node>> {
        parts.iter().map(|part| bind(part, schema, sense)).collect()
    };
    Ok(match (predicate, sense) {
        (Predicate::Compare { column, op, value }, _) => {
            let op = if sense == Sense::Holds { *op } else { negated(*op) };
            compare(column, op, value, schema)?
        }
        (Predicate::IsNull(column), Sense::Holds)
        | (Predicate::IsNotNull(column), Sense::Fails) => {
            column_type(schema, column)?;
            Node::IsNull(column.clone())
        }
        (Predicate::IsNotNull(column), Sense::Holds)
        | (Predicate::IsNull(column), Sense::Fails) => {
            column_type(schema, column)?;
            Node::NotNull(column.clone())
        }
        (Predicate::In(column, values), _) => membership(column, values, schema, sense)?,
        (Predicate::And(parts), Sense::Holds) | (Predicate::Or(parts), Sense::Fails) => {
            conjunction(all(parts)?)
        }
        (Predicate::Or(parts), Sense::Holds) | (Predicate::And(parts), Sense::Fails) => {
            disjunction(all(parts)?)
        }
        (Predicate::Not(inner), _) => bind(inner, schema, sense.opposite())?,
        (other, _) => {
            return Err(Error::unsupported(format!("tables cannot be filtered by `{other:?}`")));
        }
    })
}

const fn negated(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq => CompareOp::NotEq,
        CompareOp::NotEq => CompareOp::Eq,
        CompareOp::Lt => CompareOp::GtEq,
        CompareOp::LtEq => CompareOp::Gt,
        CompareOp::Gt => CompareOp::LtEq,
        CompareOp::GtEq => CompareOp::Lt,
    }
}

fn conjunction(mut parts: Vec<Node>) -> Node {
    parts.retain(|part| !matches!(part, Node::Always(true)));
    if parts.iter().any(|part| matches!(part, Node::Always(false))) {
        return Node::Always(false);
    }
    if parts.is_empty() { Node::Always(true) } else { Node::And(parts) }
}

fn disjunction(mut parts: Vec<Node>) -> Node {
    parts.retain(|part| !matches!(part, Node::Always(false)));
    if parts.iter().any(|part| matches!(part, Node::Always(true))) {
        return Node::Always(true);
    }
    if parts.is_empty() { Node::Always(false) } else { Node::Or(parts) }
}

fn column_type<'a>(schema: &'a Schema, column: &str) -> Result<&'a Type> {
    let fields = schema.as_struct().fields().iter();
    fields
        .filter(|field| field.name == column)
        .map(|field| field.field_type.as_ref())
        .next()
        .ok_or_else(|| no_such_column(schema, column))
}

fn compare(column: &str, op: CompareOp, value: &Literal, schema: &Schema) -> Result<Node> {
    let present = || Node::NotNull(column.to_owned());
    let node = |op, value| Node::Compare { column: column.to_owned(), op, value };
    Ok(match (place(column, column_type(schema, column)?, value)?, op) {
        (Place::At(value), op) => node(op, value),
        (_, CompareOp::Eq) => Node::Always(false),
        (_, CompareOp::NotEq) => present(),
        (Place::After(value), CompareOp::Lt | CompareOp::LtEq) => node(CompareOp::LtEq, value),
        (Place::After(value), CompareOp::Gt | CompareOp::GtEq) => node(CompareOp::Gt, value),
        (Place::Below, CompareOp::Lt | CompareOp::LtEq)
        | (Place::Above, CompareOp::Gt | CompareOp::GtEq) => Node::Always(false),
        (Place::Below, CompareOp::Gt | CompareOp::GtEq)
        | (Place::Above, CompareOp::Lt | CompareOp::LtEq) => present(),
    })
}

fn membership(column: &str, values: &[Literal], schema: &Schema, sense: Sense) -> Result<Node> {
    let column_type = column_type(schema, column)?;
    let mut inside = Vec::with_capacity(values.len());
    for value in values {
        if let Place::At(value) = place(column, column_type, value)? {
            inside.push(value);
        }
    }
    let column = column.to_owned();
    Ok(match (sense, inside.is_empty()) {
        (Sense::Holds, true) => Node::Always(false),
        // Nothing is in an empty list, not even null.
        (Sense::Fails, true) if values.is_empty() => Node::Always(true),
        (Sense::Fails, true) => Node::NotNull(column),
        (Sense::Holds, false) => Node::In { column, values: inside, wanted: Membership::Inside },
        (Sense::Fails, false) => Node::In { column, values: inside, wanted: Membership::Outside },
    })
}

impl Node {
    fn collect_columns<'a>(&'a self, columns: &mut BTreeSet<&'a str>) {
        match self {
            Self::Always(_) => {}
            Self::IsNull(column)
            | Self::NotNull(column)
            | Self::Compare { column, .. }
            | Self::In { column, .. } => {
                columns.insert(column);
            }
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.collect_columns(columns));
            }
        }
    }

    fn to_iceberg(&self, usable: &BTreeSet<&str>) -> IcebergPredicate {
        match self {
            Self::Always(true) => IcebergPredicate::AlwaysTrue,
            Self::Always(false) => IcebergPredicate::AlwaysFalse,
            Self::IsNull(column)
            | Self::NotNull(column)
            | Self::Compare { column, .. }
            | Self::In { column, .. }
                if !usable.contains(column.as_str()) =>
            {
                IcebergPredicate::AlwaysTrue
            }
            Self::IsNull(column) => Reference::new(column).is_null(),
            Self::NotNull(column) => Reference::new(column).is_not_null(),
            Self::Compare { column, op, value } => compare_to_iceberg(column, *op, value),
            Self::In { column, values, wanted } => {
                let numbers = values.iter().filter(|value| !value.is_nan()).cloned();
                let column = Reference::new(column);
                match wanted {
                    Membership::Outside => column.is_not_in(numbers),
                    Membership::Inside if values.iter().any(Datum::is_nan) => {
                        column.clone().is_in(numbers).or(column.is_nan())
                    }
                    Membership::Inside => column.is_in(numbers),
                }
            }
            Self::And(parts) => parts
                .iter()
                .map(|part| part.to_iceberg(usable))
                .fold(IcebergPredicate::AlwaysTrue, IcebergPredicate::and),
            Self::Or(parts) => parts
                .iter()
                .map(|part| part.to_iceberg(usable))
                .fold(IcebergPredicate::AlwaysFalse, IcebergPredicate::or),
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        match self {
            Self::Always(answer) => Ok(BooleanArray::from(vec![*answer; batch.num_rows()])),
            Self::IsNull(column) => Ok(is_null(values_of(batch, column)?)?),
            Self::NotNull(column) => Ok(is_not_null(values_of(batch, column)?)?),
            Self::Compare { column, op, value } => {
                let values = comparable(values_of(batch, column)?);
                let value = Scalar::new(comparable(&array_of(std::slice::from_ref(value))?));
                Ok(kernel(*op)(&values, &value)?)
            }
            Self::In { column, values, wanted } => {
                let column = comparable(values_of(batch, column)?);
                is_in(&column, &comparable(&array_of(values)?), *wanted)
            }
            Self::And(parts) => {
                let mut all = BooleanArray::from(vec![true; batch.num_rows()]);
                for part in parts {
                    all = and_kleene(&all, &part.evaluate(batch)?)?;
                }
                Ok(all)
            }
            Self::Or(parts) => {
                let mut any = BooleanArray::from(vec![false; batch.num_rows()]);
                for part in parts {
                    any = or_kleene(&any, &part.evaluate(batch)?)?;
                }
                Ok(any)
            }
        }
    }
}

/// Bounds and Iceberg's own comparisons leave NaN out, so the questions about it are asked apart.
fn compare_to_iceberg(column: &str, op: CompareOp, value: &Datum) -> IcebergPredicate {
    let reference = Reference::new(column);
    let present = || Reference::new(column).is_not_null();
    if value.is_nan() {
        return match op {
            CompareOp::Eq | CompareOp::GtEq => reference.is_nan(),
            CompareOp::NotEq | CompareOp::Lt => reference.is_not_nan(),
            CompareOp::LtEq => present(),
            CompareOp::Gt => IcebergPredicate::AlwaysFalse,
        };
    }
    let value = value.clone();
    let is_float = matches!(value.data_type(), PrimitiveType::Float | PrimitiveType::Double);
    let or_nan = |predicate: IcebergPredicate| {
        if is_float { predicate.or(Reference::new(column).is_nan()) } else { predicate }
    };
    match op {
        CompareOp::Eq => reference.equal_to(value),
        CompareOp::NotEq if is_float => present(),
        CompareOp::NotEq => reference.not_equal_to(value),
        CompareOp::Lt => reference.less_than(value),
        CompareOp::LtEq => reference.less_than_or_equal_to(value),
        CompareOp::Gt => or_nan(reference.greater_than(value)),
        CompareOp::GtEq => or_nan(reference.greater_than_or_equal_to(value)),
    }
}

type Kernel = fn(
    &dyn ArrowDatum,
    &dyn ArrowDatum,
) -> std::result::Result<BooleanArray, arrow::error::ArrowError>;

fn kernel(op: CompareOp) -> Kernel {
    match op {
        CompareOp::Eq => cmp::eq,
        CompareOp::NotEq => cmp::neq,
        CompareOp::Lt => cmp::lt,
        CompareOp::LtEq => cmp::lt_eq,
        CompareOp::Gt => cmp::gt,
        CompareOp::GtEq => cmp::gt_eq,
    }
}

fn values_of<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(column)
        .ok_or_else(|| Error::internal(format!("rows to filter lack the column `{column}`")))
}

/// Gives floats one zero and one NaN, the greatest, because Arrow compares them by their bits.
fn comparable(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| {
                if value.is_nan() { f32::NAN } else { value + 0.0 }
            }))
        }
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| {
                if value.is_nan() { f64::NAN } else { value + 0.0 }
            }))
        }
        _ => values.clone(),
    }
}

fn is_in(column: &ArrayRef, values: &ArrayRef, wanted: Membership) -> Result<BooleanArray> {
    let rows = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let values = rows.convert_columns(std::slice::from_ref(values))?;
    let values: HashSet<&[u8]> = values.iter().map(|row| row.data()).collect();
    let inside = rows.convert_columns(std::slice::from_ref(column))?;
    let inside = inside
        .iter()
        .map(|row| values.contains(row.data()) == (wanted == Membership::Inside))
        .collect();
    Ok(BooleanArray::new(inside, column.logical_nulls()))
}
