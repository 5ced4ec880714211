//! What `DESCRIBE` answers: the columns of a table with the types that tables have.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use icecore_catalog::ColumnType;
use icecore_core::Result;

/// A row for each column, in the columns of the standard's information schema.
pub(crate) fn rows(columns: &Schema) -> Result<RecordBatch> {
    let fields = columns.fields();
    let names = fields.iter().map(|field| field.name().as_str());
    let types = fields.iter().map(|field| type_name(field));
    let nullable = fields.iter().map(|field| if field.is_nullable() { "YES" } else { "NO" });
    let columns: [(&str, ArrayRef); 3] = [
        ("column_name", Arc::new(StringArray::from_iter_values(names))),
        ("data_type", Arc::new(StringArray::from_iter_values(types))),
        ("is_nullable", Arc::new(StringArray::from_iter_values(nullable))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Iceberg's name of what a column holds. What no table stores has only the name of the library
/// that has it in memory.
pub(crate) fn type_name(field: &Field) -> String {
    ColumnType::of_field(field)
        .map_or_else(|_| field.data_type().to_string(), |found| found.to_string())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn a_type_has_the_name_that_a_table_gives_it_or_else_that_of_memory() {
        let of = |data_type| type_name(&Field::new("x", data_type, true));
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        assert_eq!(of(moment), "timestamptz");
        assert_eq!(of(DataType::new_list(DataType::Utf8, true)), "list<string>");
        assert_eq!(of(DataType::Interval(IntervalUnit::DayTime)), "Interval(DayTime)");
    }
}
