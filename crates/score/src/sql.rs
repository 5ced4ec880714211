//! Names in the text of a query.

use icecore_core::PinnedTable;

/// Quotes a column's name.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a table's name.
pub(crate) fn table_sql(table: &PinnedTable) -> String {
    format!("{}.{}", ident(table.table.namespace()), ident(table.table.table()))
}
