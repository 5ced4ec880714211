//! Files as manifests list them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, ManifestEntry,
    ManifestStatus, Struct,
};
use icecore_core::{Error, Result};

use super::avro::{Bounds, Columns, Counts};

/// A file of which something is known without opening it.
pub(crate) trait KnownFile {
    fn file_path(&self) -> &str;
    fn content_type(&self) -> DataContentType;
    fn partition(&self) -> &Struct;
    fn record_count(&self) -> u64;
    fn first_row_id(&self) -> Option<i64>;
    /// Where in the file a deletion vector is.
    fn content_offset(&self) -> Option<i64>;
    /// Rows without a value of this column.
    fn nulls(&self, column: i32) -> Option<u64>;
    /// Rows in which this column is not a number.
    fn nans(&self, column: i32) -> Option<u64>;
    /// What no value of this column is less than.
    fn lower(&self, column: i32) -> Option<Cow<'_, Datum>>;
    /// What no value of this column is greater than.
    fn upper(&self, column: i32) -> Option<Cow<'_, Datum>>;
}

impl KnownFile for DataFile {
    fn file_path(&self) -> &str {
        self.file_path()
    }

    fn content_type(&self) -> DataContentType {
        self.content_type()
    }

    fn partition(&self) -> &Struct {
        self.partition()
    }

    fn record_count(&self) -> u64 {
        self.record_count()
    }

    fn first_row_id(&self) -> Option<i64> {
        self.first_row_id()
    }

    fn content_offset(&self) -> Option<i64> {
        self.content_offset()
    }

    fn nulls(&self, column: i32) -> Option<u64> {
        self.null_value_counts().get(&column).copied()
    }

    fn nans(&self, column: i32) -> Option<u64> {
        self.nan_value_counts().get(&column).copied()
    }

    fn lower(&self, column: i32) -> Option<Cow<'_, Datum>> {
        self.lower_bounds().get(&column).map(Cow::Borrowed)
    }

    fn upper(&self, column: i32) -> Option<Cow<'_, Datum>> {
        self.upper_bounds().get(&column).map(Cow::Borrowed)
    }
}

/// A file as a manifest lists it. What is said of its columns is worked out when it is asked for:
/// a table of many files is planned faster than all that is known of them is unpacked.
#[derive(Debug, Clone)]
pub(crate) struct ListedFile {
    pub(super) path: String,
    pub(super) content: DataContentType,
    pub(super) format: DataFileFormat,
    pub(super) partition: Struct,
    pub(super) spec_id: i32,
    pub(super) rows: u64,
    pub(super) size_bytes: u64,
    pub(super) sort_order_id: Option<i32>,
    pub(super) first_row_id: Option<i64>,
    pub(super) rare: Option<Box<Rare>>,
    pub(super) statistics: Statistics,
}

/// What is said of few files.
#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    pub(super) key_metadata: Option<Vec<u8>>,
    pub(super) equality_ids: Option<Vec<i32>>,
    pub(super) referenced_data_file: Option<String>,
    pub(super) content_offset: Option<i64>,
    pub(super) content_size_bytes: Option<i64>,
}

/// What is said of a file's columns.
#[derive(Debug, Clone)]
pub(super) enum Statistics {
    /// As a manifest has it.
    Written(Columns),
    /// As somebody knows it who unpacked all of it.
    Unpacked(Arc<DataFile>),
}

impl From<DataFile> for ListedFile {
    fn from(file: DataFile) -> Self {
        let rare = Rare {
            key_metadata: file.key_metadata().map(<[u8]>::to_vec),
            equality_ids: file.equality_ids(),
            referenced_data_file: file.referenced_data_file(),
            content_offset: file.content_offset(),
            content_size_bytes: file.content_size_in_bytes(),
        };
        Self {
            path: file.file_path().to_owned(),
            content: file.content_type(),
            format: file.file_format(),
            partition: file.partition().clone(),
            // Whoever has it asks the manifest.
            spec_id: 0,
            rows: file.record_count(),
            size_bytes: file.file_size_in_bytes(),
            sort_order_id: file.sort_order_id(),
            first_row_id: file.first_row_id(),
            rare: Some(Box::new(rare)),
            statistics: Statistics::Unpacked(Arc::new(file)),
        }
    }
}

impl KnownFile for ListedFile {
    fn file_path(&self) -> &str {
        &self.path
    }

    fn content_type(&self) -> DataContentType {
        self.content
    }

    fn partition(&self) -> &Struct {
        &self.partition
    }

    fn record_count(&self) -> u64 {
        self.rows
    }

    fn first_row_id(&self) -> Option<i64> {
        self.first_row_id
    }

    fn content_offset(&self) -> Option<i64> {
        self.rare.as_ref()?.content_offset
    }

    fn nulls(&self, column: i32) -> Option<u64> {
        match &self.statistics {
            Statistics::Written(columns) => columns.count(Counts::Nulls, column),
            Statistics::Unpacked(file) => file.nulls(column),
        }
    }

    fn nans(&self, column: i32) -> Option<u64> {
        match &self.statistics {
            Statistics::Written(columns) => columns.count(Counts::Nans, column),
            Statistics::Unpacked(file) => file.nans(column),
        }
    }

    fn lower(&self, column: i32) -> Option<Cow<'_, Datum>> {
        match &self.statistics {
            Statistics::Written(columns) => columns.bound(Bounds::Lower, column).map(Cow::Owned),
            Statistics::Unpacked(file) => file.lower(column),
        }
    }

    fn upper(&self, column: i32) -> Option<Cow<'_, Datum>> {
        match &self.statistics {
            Statistics::Written(columns) => columns.bound(Bounds::Upper, column).map(Cow::Owned),
            Statistics::Unpacked(file) => file.upper(column),
        }
    }
}

impl ListedFile {
    pub(crate) const fn file_format(&self) -> DataFileFormat {
        self.format
    }

    pub(crate) const fn file_size_in_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) const fn sort_order_id(&self) -> Option<i32> {
        self.sort_order_id
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.key_metadata.is_some())
    }

    /// The columns that an equality delete file deletes by.
    pub(crate) fn equality_ids(&self) -> &[i32] {
        let ids = self.rare.as_ref().and_then(|rare| rare.equality_ids.as_deref());
        ids.unwrap_or_default()
    }

    /// The data file that all deletes in it are of.
    pub(crate) fn referenced_data_file(&self) -> Option<&str> {
        self.rare.as_ref()?.referenced_data_file.as_deref()
    }

    /// How long a deletion vector is.
    pub(crate) fn content_size_in_bytes(&self) -> Option<i64> {
        self.rare.as_ref()?.content_size_bytes
    }

    /// Whether a column is said to be in the file.
    pub(crate) fn has_column(&self, column: i32) -> bool {
        let has_size = || match &self.statistics {
            Statistics::Written(columns) => columns.count(Counts::Sizes, column).is_some(),
            Statistics::Unpacked(file) => file.column_sizes().contains_key(&column),
        };
        self.nulls(column).is_some() || has_size()
    }

    /// All that [`nulls`](KnownFile::nulls) knows, by column.
    pub(crate) fn all_nulls(&self) -> Cow<'_, HashMap<i32, u64>> {
        match &self.statistics {
            Statistics::Written(columns) => Cow::Owned(columns.counts(Counts::Nulls)),
            Statistics::Unpacked(file) => Cow::Borrowed(file.null_value_counts()),
        }
    }

    /// All that [`nans`](KnownFile::nans) knows, by column.
    pub(crate) fn all_nans(&self) -> Cow<'_, HashMap<i32, u64>> {
        match &self.statistics {
            Statistics::Written(columns) => Cow::Owned(columns.counts(Counts::Nans)),
            Statistics::Unpacked(file) => Cow::Borrowed(file.nan_value_counts()),
        }
    }

    /// All that [`lower`](KnownFile::lower) knows, by column.
    pub(crate) fn all_lower(&self) -> Cow<'_, HashMap<i32, Datum>> {
        match &self.statistics {
            Statistics::Written(columns) => Cow::Owned(columns.bounds(Bounds::Lower)),
            Statistics::Unpacked(file) => Cow::Borrowed(file.lower_bounds()),
        }
    }

    /// All that [`upper`](KnownFile::upper) knows, by column.
    pub(crate) fn all_upper(&self) -> Cow<'_, HashMap<i32, Datum>> {
        match &self.statistics {
            Statistics::Written(columns) => Cow::Owned(columns.bounds(Bounds::Upper)),
            Statistics::Unpacked(file) => Cow::Borrowed(file.upper_bounds()),
        }
    }

    /// The same in a form that manifests are written from, everything unpacked.
    ///
    /// # Errors
    ///
    /// Never, but for an error of icecore's own.
    pub(crate) fn unpacked(&self) -> Result<DataFile> {
        let columns = match &self.statistics {
            Statistics::Unpacked(file) => return Ok(DataFile::clone(file)),
            Statistics::Written(columns) => columns,
        };
        let mut file = DataFileBuilder::default();
        file.content(self.content)
            .file_path(self.path.clone())
            .file_format(self.format)
            .partition(self.partition.clone())
            .partition_spec_id(self.spec_id)
            .record_count(self.rows)
            .file_size_in_bytes(self.size_bytes)
            .column_sizes(columns.counts(Counts::Sizes))
            .value_counts(columns.counts(Counts::Values))
            .null_value_counts(columns.counts(Counts::Nulls))
            .nan_value_counts(columns.counts(Counts::Nans))
            .lower_bounds(columns.bounds(Bounds::Lower))
            .upper_bounds(columns.bounds(Bounds::Upper))
            .split_offsets(columns.splits())
            .first_row_id(self.first_row_id);
        if let Some(order) = self.sort_order_id {
            file.sort_order_id(order);
        }
        if let Some(rare) = &self.rare {
            file.key_metadata(rare.key_metadata.clone())
                .equality_ids(rare.equality_ids.clone())
                .referenced_data_file(rare.referenced_data_file.clone())
                .content_offset(rare.content_offset)
                .content_size_in_bytes(rare.content_size_bytes);
        }
        let odd = |error| Error::internal("cannot describe a listed file").with_source(error);
        file.build().map_err(odd)
    }
}

/// An entry of a manifest.
#[derive(Debug)]
pub(crate) struct ListedEntry {
    pub(super) status: ManifestStatus,
    pub(super) snapshot: Option<i64>,
    pub(crate) sequence: Option<i64>,
    pub(super) file_sequence: Option<i64>,
    pub(crate) file: ListedFile,
}

impl ListedEntry {
    pub(crate) fn is_alive(&self) -> bool {
        self.status != ManifestStatus::Deleted
    }

    /// The same in a form that manifests are written from.
    ///
    /// # Errors
    ///
    /// As [`ListedFile::unpacked`].
    pub(super) fn unpacked(&self) -> Result<ManifestEntry> {
        Ok(ManifestEntry {
            status: self.status,
            snapshot_id: self.snapshot,
            sequence_number: self.sequence,
            file_sequence_number: self.file_sequence,
            data_file: self.file.unpacked()?,
        })
    }
}

impl From<ManifestEntry> for ListedEntry {
    fn from(entry: ManifestEntry) -> Self {
        Self {
            status: entry.status,
            snapshot: entry.snapshot_id,
            sequence: entry.sequence_number,
            file_sequence: entry.file_sequence_number,
            file: entry.data_file.into(),
        }
    }
}
