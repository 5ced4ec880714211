//! What names mean in a query, beyond the latest states of tables.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use icecore_core::{PinnedTable, TableName};

/// What names mean in a query: pinned tables, views of its own, rows of its own.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub(crate) pins: Vec<PinnedTable>,
    pub(crate) views: BTreeMap<TableName, String>,
    pub(crate) rows: BTreeMap<TableName, RecordBatch>,
    pub(crate) is_opaque: bool,
}

impl Scope {
    /// Names that mean these states of tables.
    #[must_use]
    pub fn new(pins: &[PinnedTable]) -> Self {
        Self { pins: pins.to_vec(), ..Self::default() }
    }

    /// A name that means the answer of a query. Such a name comes before a table or a view that the
    /// catalog keeps.
    #[must_use]
    pub fn with_view(mut self, name: TableName, sql: impl Into<String>) -> Self {
        self.views.insert(name, sql.into());
        self
    }

    /// A name that means these rows, before anything else.
    #[must_use]
    pub fn with_rows(mut self, name: TableName, rows: RecordBatch) -> Self {
        self.rows.insert(name, rows);
        self
    }

    /// A name that means this state of its table, in place of any other.
    #[must_use]
    pub fn with_pin(mut self, pin: PinnedTable) -> Self {
        self.pins.retain(|other| other.table != pin.table);
        self.pins.push(pin);
        self
    }

    /// The pins, in no order.
    #[must_use]
    pub fn pins(&self) -> &[PinnedTable] {
        &self.pins
    }

    /// Views with columns and without an inside, for those who look at plans.
    pub(crate) const fn with_opaque_views(mut self) -> Self {
        self.is_opaque = true;
        self
    }
}
