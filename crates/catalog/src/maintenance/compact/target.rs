//! Where rows that are written anew go.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::metadata_columns::{last_updated_sequence_number_field, row_id_field};
use iceberg::spec::{FormatVersion, Schema, TableMetadata};
use icecore_core::Result;

use crate::error::Context;

/// The table as a writer should see it: with the size that files get, and in format version 3 with
/// the columns that say which row a row is, so that a row that moves stays the same row.
pub(super) fn target_of(metadata: &TableMetadata, target_bytes: u64) -> Result<Arc<TableMetadata>> {
    let cannot = || "cannot describe where rows that are written anew go";
    let size =
        HashMap::from([("write.target-file-size-bytes".to_owned(), target_bytes.to_string())]);
    let mut builder = metadata.clone().into_builder(None).set_properties(size).context(cannot)?;
    if metadata.format_version() == FormatVersion::V3 {
        let columns = metadata.current_schema();
        let lineage = [row_id_field(), last_updated_sequence_number_field()];
        let fields = columns.as_struct().fields().iter().chain(lineage).cloned();
        let schema = Schema::builder()
            .with_fields(fields.collect::<Vec<_>>())
            .with_identifier_field_ids(columns.identifier_field_ids())
            .build()
            .context(cannot)?;
        builder = builder.add_current_schema(schema).context(cannot)?;
    }
    Ok(Arc::new(builder.build().context(cannot)?.metadata))
}
