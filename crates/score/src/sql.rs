//! Names and values in the text of a query.

use arrow::datatypes::DataType;
use icecore_core::PinnedTable;

/// Quotes a column's name.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a table's name.
pub(crate) fn table_sql(table: &PinnedTable) -> String {
    format!("{}.{}", ident(table.table.namespace()), ident(table.table.table()))
}

/// A text.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A value that was typed, as one of a column's type.
pub(crate) fn literal(value: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text(value),
        other => format!("arrow_cast({}, {})", text(value), text(&other.to_string())),
    }
}
