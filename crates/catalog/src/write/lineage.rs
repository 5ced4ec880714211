//! What a row of a table of format version 3 keeps when it moves to another file: its id, and since
//! when it is as it is. A null in the file means that the table's metadata says it.

use std::sync::Arc;

use iceberg::metadata_columns::{
    RESERVED_COL_NAME_LAST_UPDATED_SEQUENCE_NUMBER, RESERVED_COL_NAME_ROW_ID,
    RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER, RESERVED_FIELD_ID_ROW_ID,
};
use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Schema, SchemaRef, Type};
use icecore_core::Result;

use crate::error::Context as _;

/// How many columns it takes.
pub(crate) const COLUMNS: usize = 2;

/// The row's id, and the sequence number of the commit that made it what it is.
pub(crate) fn columns() -> [NestedFieldRef; COLUMNS] {
    let column =
        |id, name| Arc::new(NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long)));
    [
        column(RESERVED_FIELD_ID_ROW_ID, RESERVED_COL_NAME_ROW_ID),
        column(
            RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER,
            RESERVED_COL_NAME_LAST_UPDATED_SEQUENCE_NUMBER,
        ),
    ]
}

/// The columns of a table, and those.
pub(crate) fn with_table(table: &Schema) -> Result<SchemaRef> {
    let fields = table.as_struct().fields().iter().cloned().chain(columns());
    let schema = Schema::builder().with_fields(fields).build();
    schema.map(Arc::new).context(|| "a table has a column of a name that the format reserves")
}
