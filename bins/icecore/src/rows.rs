//! Rows for people.

use arrow::array::RecordBatch;
use icecore_core::Result;

use crate::report::table;

/// Rows as a table.
pub(crate) fn text(batches: &[RecordBatch]) -> Result<String> {
    let Some(first) = batches.first() else {
        return Ok(String::new());
    };
    let schema = first.schema();
    let header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Result<Vec<String>> =
                batch.columns().iter().map(|column| icecore::rows::cell(column, row)).collect();
            rows.push(cells?);
        }
    }
    Ok(table(&header, rows))
}
