//! What operations do to rows: obviously right, and in memory.

use std::collections::BTreeMap;

use icecore_core::{CompareOp, Literal, Predicate};

/// A row: its id, the partition that it lies in, and a value.
pub(super) type Row = (i64, i32, i64);

/// The rows of a state of the table, by id, which no two of them share.
pub(super) type Rows = BTreeMap<i64, (i32, i64)>;

/// What an operation does to the rows that it finds.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// Adds rows.
    Append(Vec<Row>),
    /// Replaces what is in a partition.
    Replace(i32, Vec<Row>),
    /// Replaces everything.
    ReplaceAll(Vec<Row>),
    /// Reads a partition, and writes it again with one more row: nothing that was there is lost.
    Amend(i32, Row),
    /// Deletes the rows of a partition whose value is less than this.
    Delete(i32, i64),
    /// Puts rows in the place of those that have their ids.
    Upsert(Vec<Row>),
}

impl Effect {
    pub(super) fn apply(&self, rows: &mut Rows) {
        match self {
            Self::Append(new) | Self::Upsert(new) => insert(rows, new),
            Self::Replace(partition, new) => {
                rows.retain(|_, (part, _)| part != partition);
                insert(rows, new);
            }
            Self::ReplaceAll(new) => {
                rows.clear();
                insert(rows, new);
            }
            Self::Amend(_, row) => insert(rows, &[*row]),
            Self::Delete(partition, below) => {
                rows.retain(|_, (part, value)| part != partition || *value >= *below);
            }
        }
    }

    /// The rows that a delete takes.
    pub(super) fn filter(partition: i32, below: i64) -> Predicate {
        Predicate::And(vec![
            Predicate::equal("part", Literal::Int(partition.into())),
            Predicate::compare("value", CompareOp::Lt, Literal::Int(below)),
        ])
    }
}

fn insert(rows: &mut Rows, new: &[Row]) {
    rows.extend(new.iter().map(|(id, part, value)| (*id, (*part, *value))));
}

/// The rows in order of id.
pub(super) fn listed(rows: &Rows) -> Vec<Row> {
    rows.iter().map(|(id, (part, value))| (*id, *part, *value)).collect()
}
