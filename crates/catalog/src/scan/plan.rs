//! Which files a read has to open, and what is known of them before.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{DataFile, PartitionSpec, Schema};
use iceberg::table::Table;
use icecore_core::{Error, Literal, Predicate, Result};

use super::{columns_of, snapshot, task};
use crate::predicate::{Filter, from_datum, from_literal};
use crate::{schema, storage};

/// The files of a pinned table that may hold rows that pass a filter.
#[derive(Debug, Clone)]
pub struct FilePlan {
    /// The columns of the pinned table. Each field carries its Iceberg id as `PARQUET:field_id`.
    pub schema: SchemaRef,
    /// The files, in order of their paths.
    pub files: Vec<PlannedFile>,
    /// How many files the table has with those that cannot hold a row that passes.
    pub total_files: usize,
    /// Whether reading the files as they are, columns found by name and absent ones null, gives
    /// the table's rows. Where it does not, some file needs deletes applied or columns mapped by
    /// id: read through the catalog's `scan`.
    pub native: bool,
}

impl FilePlan {
    /// Rows of all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// A data file.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Its key in the catalog's object store.
    pub path: object_store::path::Path,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Names and values of its partition, as the table was partitioned when it was written.
    /// `None` is null, or a value that a [`Literal`] cannot say.
    pub partition: Vec<(String, Option<Literal>)>,
    /// What is known of its columns, by name. A column may be absent.
    pub columns: BTreeMap<String, ColumnRange>,
}

/// What is known of a column of a file: no value lies outside the bounds, but none need lie on
/// them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnRange {
    /// Rows without a value.
    pub nulls: Option<u64>,
    /// No value is less.
    pub min: Option<Literal>,
    /// No value is greater. Absent where a NaN may be there, which is greater than every number.
    pub max: Option<Literal>,
}

/// Plans a read.
///
/// # Errors
///
/// `NotFound` for an unknown snapshot or column, `InvalidInput` for a literal of the wrong kind,
/// `Unsupported` for files that are not Parquet.
pub(crate) async fn plan_files(
    table: &Table,
    snapshot_id: Option<i64>,
    filter: Option<&Predicate>,
) -> Result<FilePlan> {
    let snapshot = snapshot(table, snapshot_id)?;
    let columns = columns_of(table, snapshot.as_ref())?;
    let filter = filter.map(|filter| Filter::bind(filter, &columns)).transpose()?;
    let mut plan = FilePlan {
        schema: schema::to_arrow(&columns)?,
        files: Vec::new(),
        total_files: 0,
        native: binds_by_name(table, &columns),
    };
    let Some(snapshot) = snapshot else { return Ok(plan) };
    let planned = task::plan(table, &snapshot, filter.as_ref()).await?;
    plan.total_files = planned.total_files;
    plan.native &= !planned.has_deletes;
    for task in &planned.tasks {
        let spec = table.metadata().partition_spec_by_id(task.spec_id).ok_or_else(|| {
            Error::corrupt(format!(
                "`{}` is of a partitioning that nobody knows",
                task.file.file_path()
            ))
        })?;
        plan.files.push(planned_file(&task.file, spec, &columns, table)?);
    }
    Ok(plan)
}

/// Whether a column of any file can be found by its name, and is null where it is absent.
fn binds_by_name(table: &Table, columns: &Schema) -> bool {
    let has_default =
        columns.field_id_to_fields().values().any(|field| field.initial_default.as_ref().is_some());
    !has_default && schema::names_are_stable(table.metadata())
}

fn planned_file(
    file: &DataFile,
    spec: &PartitionSpec,
    columns: &Schema,
    table: &Table,
) -> Result<PlannedFile> {
    // A partitioning may be of a column that has since been dropped.
    let partition_type = spec
        .partition_type(columns)
        .or_else(|_| spec.partition_type(table.metadata().current_schema()));
    let partition = match partition_type {
        Ok(types) => {
            let fields = spec.fields().iter().zip(types.fields()).zip(file.partition().iter());
            fields
                .map(|((field, typed), value)| {
                    let value = value.and_then(|value| from_literal(&typed.field_type, value));
                    (field.name.clone(), value)
                })
                .collect()
        }
        Err(_) => Vec::new(),
    };
    let ranges = columns.as_struct().fields().iter().filter_map(|field| {
        let nulls = file.null_value_counts().get(&field.id).copied();
        let min = file.lower_bounds().get(&field.id);
        let max = file.upper_bounds().get(&field.id).filter(|_| has_no_nan(file, field));
        let range = ColumnRange {
            nulls,
            min: min.filter(|min| !min.is_nan()).and_then(from_datum),
            max: max.and_then(from_datum),
        };
        (range != ColumnRange::default()).then(|| (field.name.clone(), range))
    });
    Ok(PlannedFile {
        path: storage::key_of(file.file_path())?,
        size_bytes: file.file_size_in_bytes(),
        rows: file.record_count(),
        partition,
        columns: ranges.collect(),
    })
}

fn has_no_nan(file: &DataFile, field: &iceberg::spec::NestedField) -> bool {
    use iceberg::spec::{PrimitiveType, Type};
    match field.field_type.as_ref() {
        Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
            file.nan_value_counts().get(&field.id) == Some(&0)
        }
        _ => true,
    }
}
