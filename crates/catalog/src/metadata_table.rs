//! What a table knows about itself, as tables.

mod files;
mod log;
mod partitions;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use iceberg::spec::{DataContentType, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{Error, Result};

/// Which of the tables about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataTable {
    /// Every snapshot, oldest first: `snapshot_id, parent_id, sequence_number, committed_at,
    /// operation, added_rows, removed_rows, summary` (JSON)`, manifest_list`.
    Snapshots,
    /// What `main` pointed at and since when: `made_current_at, snapshot_id, parent_id,
    /// is_current_ancestor`.
    History,
    /// Tags and branches: `name, type, snapshot_id`.
    Refs,
    /// The live files of a snapshot: `content, file_path, file_format, partition, record_count,
    /// file_size_in_bytes, spec_id, sequence_number, snapshot_id, sort_order_id, equality_ids,
    /// referenced_data_file, first_row_id`.
    Files,
    /// Those of [`Files`](Self::Files) that hold rows.
    DataFiles,
    /// Those of [`Files`](Self::Files) that say which rows are deleted.
    DeleteFiles,
    /// What the manifests of a snapshot say, of files that it removed too: `status` (`existing`,
    /// `added` or `deleted`)`, snapshot_id, sequence_number, file_sequence_number`, and the columns
    /// of [`Files`](Self::Files).
    Entries,
    /// The partitions of a snapshot: `partition, spec_id, record_count, file_count,
    /// total_size_in_bytes, delete_file_count, last_updated_at, last_updated_snapshot_id,
    /// position_delete_record_count, position_delete_file_count, equality_delete_record_count,
    /// equality_delete_file_count`.
    Partitions,
    /// The manifests of a snapshot: `content, path, length, partition_spec_id, added_snapshot_id,
    /// added_files_count, existing_files_count, deleted_files_count, added_rows_count,
    /// existing_rows_count, deleted_rows_count, sequence_number`.
    Manifests,
}

impl MetadataTable {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Snapshots,
        Self::History,
        Self::Refs,
        Self::Files,
        Self::DataFiles,
        Self::DeleteFiles,
        Self::Entries,
        Self::Partitions,
        Self::Manifests,
    ];

    /// The name in `table$name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots",
            Self::History => "history",
            Self::Refs => "refs",
            Self::Files => "files",
            Self::DataFiles => "data_files",
            Self::DeleteFiles => "delete_files",
            Self::Entries => "entries",
            Self::Partitions => "partitions",
            Self::Manifests => "manifests",
        }
    }

    /// Whether it is of one snapshot, and not of the table and its past.
    #[must_use]
    pub const fn is_of_snapshot(self) -> bool {
        !matches!(self, Self::Snapshots | Self::History | Self::Refs)
    }

    /// The table of this name.
    ///
    /// # Errors
    ///
    /// `NotFound` naming the ones that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            Error::not_found(format!("there is no metadata table `{name}`"))
                .with_note(format!("metadata tables: {}", names.join(", ")))
                .with_candidates(name, names)
        })
    }
}

/// Reads one of the tables about a table, or about one of its snapshots.
pub(crate) async fn read(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
    which: MetadataTable,
) -> Result<RecordBatch> {
    match which {
        MetadataTable::Snapshots => log::snapshots(table),
        MetadataTable::History => log::history(table),
        MetadataTable::Refs => log::refs(table),
        MetadataTable::Files => files::files(table, snapshot, |_| true).await,
        MetadataTable::DataFiles => {
            files::files(table, snapshot, |content| content == DataContentType::Data).await
        }
        MetadataTable::DeleteFiles => {
            files::files(table, snapshot, |content| content != DataContentType::Data).await
        }
        MetadataTable::Entries => files::entries(table, snapshot).await,
        MetadataTable::Partitions => partitions::partitions(table, snapshot).await,
        MetadataTable::Manifests => files::manifests(table, snapshot).await,
    }
}

/// A batch of named columns; a column may be null where it says so.
fn batch(columns: Vec<(&str, bool, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, values)| Field::new(*name, values.data_type().clone(), *nullable))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, _, values)| values).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Milliseconds since the epoch as the moments that tables hold.
fn moments(millis: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let micros = millis.into_iter().map(|millis| millis.map(|millis| millis.saturating_mul(1000)));
    let array = micros.collect::<TimestampMicrosecondArray>();
    Arc::new(array.with_timezone("+00:00"))
}
