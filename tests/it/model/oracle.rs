//! The table as a list of states, each of them all of its rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use icecore_core::SnapshotId;

use crate::rows::{Rows, Value};

/// A column; its number stays when its name does not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) kind: DataType,
}

/// The values of a row by the numbers of their columns. What is not there is null.
pub(super) type Row = BTreeMap<u32, Value>;

/// One committed state.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) id: SnapshotId,
    pub(super) parent: Option<usize>,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    pub(super) expired: bool,
    /// The rows of an append, until they were taken over elsewhere.
    pub(super) appended: Option<Vec<Row>>,
}

impl State {
    pub(super) fn visible(&self) -> Rows {
        visible(&self.columns, &self.rows)
    }
}

/// Rows as a reader of these columns sees them.
pub(super) fn visible(columns: &[Column], rows: &[Row]) -> Rows {
    let of = |row: &Row| {
        let value = |column: &Column| row.get(&column.number).cloned().unwrap_or(Value::Null);
        columns.iter().map(value).collect()
    };
    Rows {
        columns: columns.iter().map(|column| (column.name.clone(), column.kind.clone())).collect(),
        rows: rows.iter().map(of).collect(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ref {
    Tag(usize),
    Branch(usize),
}

impl Ref {
    pub(super) const fn state(self) -> usize {
        match self {
            Self::Tag(state) | Self::Branch(state) => state,
        }
    }
}

/// Everything that was ever committed, and what points where.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) columns: Vec<Column>,
    pub(super) numbers: u32,
    pub(super) states: Vec<State>,
    pub(super) main: Option<usize>,
    pub(super) refs: BTreeMap<String, Ref>,
}

pub(super) const ID: u32 = 1;
pub(super) const REGION: u32 = 2;
pub(super) const DAY: u32 = 3;
pub(super) const AMOUNT: u32 = 4;
pub(super) const COUNT: u32 = 5;
/// How many columns there are that never go.
pub(super) const FIXED: usize = 5;

impl Oracle {
    pub(super) fn new() -> Self {
        let columns = [
            (ID, "id", DataType::Int64),
            (REGION, "region", DataType::Utf8),
            (DAY, "day", DataType::Date32),
            (AMOUNT, "amount", DataType::Float64),
            (COUNT, "count", DataType::Int32),
        ]
        .map(|(number, name, kind)| Column { number, name: name.to_owned(), kind });
        Self {
            columns: columns.to_vec(),
            numbers: COUNT,
            states: Vec::new(),
            main: None,
            refs: BTreeMap::new(),
        }
    }

    /// A row of the current columns, other than every row of another step.
    pub(super) fn row(&self, id: i64, step: usize) -> Row {
        let step = i64::try_from(step).unwrap();
        let value = |column: &Column| match column.number {
            ID => Value::Int(id),
            REGION => Value::text(["east", "north", "west"][usize::try_from(id % 3).unwrap()]),
            DAY => Value::Day(20_000 + i32::try_from(id / 3 % 4).unwrap()),
            #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
            AMOUNT if (id + step) % 5 != 1 => Value::Float((id * 100 + step) as f64 / 8.0),
            COUNT if (id + step) % 4 != 1 => match column.kind {
                DataType::Int64 => Value::Int((1 << 40) + id),
                _ => Value::Int(id - step),
            },
            number if number > COUNT && (id + step) % 3 != 0 => {
                Value::Text(format!("{}.{id}.{step}", column.name))
            }
            _ => Value::Null,
        };
        self.columns.iter().map(|column| (column.number, value(column))).collect()
    }

    pub(super) fn rows_of(&self, state: Option<usize>) -> Vec<Row> {
        let Some(state) = state else { return Vec::new() };
        // A column that was dropped is gone, even if one of its name comes back.
        let numbers: BTreeSet<u32> = self.columns.iter().map(|column| column.number).collect();
        let kept = |row: &Row| {
            let mut row = row.clone();
            row.retain(|number, _| numbers.contains(number));
            row
        };
        self.states[state].rows.iter().map(kept).collect()
    }

    /// Adds a state; returns its place.
    pub(super) fn commit(
        &mut self,
        id: SnapshotId,
        parent: Option<usize>,
        rows: Vec<Row>,
    ) -> usize {
        let columns = self.columns.clone();
        self.states.push(State { id, parent, columns, rows, expired: false, appended: None });
        self.states.len() - 1
    }

    /// What the head of `main` descends from, itself first.
    pub(super) fn ancestors(&self, of: Option<usize>) -> Vec<usize> {
        let mut found = Vec::new();
        let mut next = of;
        while let Some(place) = next.filter(|place| !self.states[*place].expired) {
            found.push(place);
            next = self.states[place].parent;
        }
        found
    }
}
