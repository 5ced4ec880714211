//! Row filters that every table reader understands.

use serde::{Deserialize, Serialize};

use crate::{Date, Timestamp};

/// A filter over the columns of a table. A row passes when the filter is true, not when it is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Predicate {
    /// Compares a column with a value.
    Compare {
        /// The column's name.
        column: String,
        /// How.
        op: CompareOp,
        /// With what.
        value: Literal,
    },
    /// The column is null.
    IsNull(String),
    /// The column is not null.
    IsNotNull(String),
    /// The column has one of these values.
    In(String, Vec<Literal>),
    /// All of these pass; an empty list passes every row.
    And(Vec<Self>),
    /// One of these passes; an empty list passes no row.
    Or(Vec<Self>),
    /// This does not pass and is not null.
    Not(Box<Self>),
}

impl Predicate {
    /// Compares a column with a value.
    pub fn compare(column: impl Into<String>, op: CompareOp, value: Literal) -> Self {
        Self::Compare { column: column.into(), op, value }
    }

    /// `column = value`.
    pub fn equal(column: impl Into<String>, value: Literal) -> Self {
        Self::compare(column, CompareOp::Eq, value)
    }
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

/// A value in a filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Literal {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A date.
    Date(Date),
    /// A moment.
    Timestamp(Timestamp),
}
