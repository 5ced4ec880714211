//! Which files a read has to open, and what is known of them before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, PrimitiveType, Schema, Transform, Type};
use iceberg::table::Table;
use icecore_core::{Error, Literal, Predicate, Result};

use super::file::FEW;
use super::task::{self, FileFacts, FileTask};
use super::{columns_of, snapshot};
use crate::predicate::{Filter, from_datum, from_literal};
use crate::schema;
use crate::storage::{FileKey, KnownFile as _, ListedFile, avro_name};

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
    /// Whether few of the files' rows pass the filter, as far as their bounds tell. Then it pays to
    /// decode other columns after those that are filtered by.
    pub is_selective: bool,
}

impl FilePlan {
    /// Rows of all files, deleted ones among them.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// A data file.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    key: FileKey,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its rows, deleted ones among them.
    pub rows: u64,
    /// Its rows without the deleted ones, where that is known without reading anything.
    pub live_rows: Option<u64>,
    /// Whether reading the file as it is, columns found by name and absent ones null, gives its
    /// rows in the table.
    pub native: bool,
    facts: Arc<Facts>,
}

/// Where the rest of what is known of a file is worked out from.
#[derive(Debug)]
struct Facts {
    task: FileTask,
    spec: Arc<Spec>,
    columns: iceberg::spec::SchemaRef,
    ranges: OnceLock<BTreeMap<String, ColumnRange>>,
}

impl PlannedFile {
    /// Its key in the catalog's object store.
    #[must_use]
    pub fn path(&self) -> object_store::path::Path {
        self.key.path(self.facts.task.file.file_path())
    }

    /// Names and values of its partition, as the table was partitioned when it was written.
    /// `None` is null, or a value that a [`Literal`] cannot say.
    #[must_use]
    pub fn partition(&self) -> Vec<(&str, Option<Literal>)> {
        let Facts { task, spec, .. } = &*self.facts;
        let values = spec.fields.iter().zip(task.file.partition().iter());
        let said = values.map(|((name, of), value)| {
            (name.as_str(), value.and_then(|value| from_literal(of, value)))
        });
        said.collect()
    }

    /// What is known of its columns, by name. A column may be absent.
    #[must_use]
    pub fn columns(&self) -> &BTreeMap<String, ColumnRange> {
        let facts = &self.facts;
        facts.ranges.get_or_init(|| ranges(&facts.task.file, &facts.columns))
    }

    /// Whether rows of it may be deleted.
    #[must_use]
    pub fn has_deletes(&self) -> bool {
        !self.facts.task.deletes.is_empty()
    }

    pub(super) fn task(&self) -> &FileTask {
        &self.facts.task
    }
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
        is_selective: false,
    };
    let Some(snapshot) = snapshot else { return Ok(plan) };
    let planned = task::plan(table, &snapshot, filter.as_ref()).await?;
    plan.total_files = planned.total_files;
    let binds = plan.native;
    plan.native &= !planned.has_deletes;
    plan.is_selective = filter.is_some_and(|filter| is_selective(&filter, &planned.tasks));
    let mut specs = BTreeMap::new();
    for task in planned.tasks {
        let spec = match specs.entry(task.spec_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Arc::new(Spec::of(table, task.spec_id, &columns)?)),
        };
        let file = planned_file(task, (spec, binds), &columns)?;
        plan.native &= file.native;
        plan.files.push(file);
    }
    Ok(plan)
}

fn is_selective(filter: &Filter, tasks: &[FileTask]) -> bool {
    /// Files that are asked: enough for a guess.
    const ASKED: usize = 64;
    let asked = tasks.get(..ASKED.min(tasks.len())).unwrap_or_default();
    let rows = |task: &FileTask| task.file.record_count() as f64;
    let pass = |task: &FileTask| rows(task) * FileFacts(&*task.file).share(filter);
    asked.iter().map(pass).sum::<f64>() <= FEW * asked.iter().map(rows).sum::<f64>()
}

/// Whether a column of any file can be found by its name, and is null where it is absent.
fn binds_by_name(table: &Table, columns: &Schema) -> bool {
    let has_default =
        columns.field_id_to_fields().values().any(|field| field.initial_default.as_ref().is_some());
    // PyIceberg and Spark make names in files such as Avro takes: `user-id` is `user_x2Did` there.
    let has_other_names =
        columns.field_id_to_fields().values().any(|field| avro_name(&field.name) != field.name);
    let has_mapping = table.metadata().properties().contains_key(DEFAULT_SCHEMA_NAME_MAPPING);
    !has_default && !has_other_names && !has_mapping && schema::names_are_stable(table.metadata())
}

/// A partitioning, as far as it is needed to describe its files.
#[derive(Debug)]
struct Spec {
    fields: Vec<(String, Type)>,
    /// Columns that a file may leave to its partition.
    identities: Vec<i32>,
}

impl Spec {
    fn of(table: &Table, id: i32, columns: &Schema) -> Result<Self> {
        let metadata = table.metadata();
        let spec = metadata.partition_spec_by_id(id).ok_or_else(|| {
            Error::corrupt(format!("partition spec {id} is one that the table does not have"))
        })?;
        // A partitioning may be of a column that has since been dropped.
        let types = spec
            .partition_type(columns)
            .or_else(|_| spec.partition_type(metadata.current_schema()));
        let fields = match types {
            Ok(types) => {
                let fields = spec.fields().iter().zip(types.fields());
                fields
                    .map(|(field, typed)| (field.name.clone(), typed.field_type.as_ref().clone()))
                    .collect()
            }
            Err(_) => Vec::new(),
        };
        let identities = spec.fields().iter();
        let identities = identities.filter(|field| field.transform == Transform::Identity);
        Ok(Self { fields, identities: identities.map(|field| field.source_id).collect() })
    }
}

fn planned_file(
    task: FileTask,
    (spec, binds): (&Arc<Spec>, bool),
    columns: &iceberg::spec::SchemaRef,
) -> Result<PlannedFile> {
    let file = &task.file;
    let rows = file.record_count();
    let live_rows = match task.deletes.as_slice() {
        [] => Some(rows),
        [vector] if vector.is_vector() => rows.checked_sub(vector.file.record_count()),
        _ => None,
    };
    let is_there = |id: &i32| file.has_column(*id);
    Ok(PlannedFile {
        key: FileKey::of(file.file_path())?,
        size_bytes: file.file_size_in_bytes(),
        rows,
        live_rows,
        native: binds && task.deletes.is_empty() && spec.identities.iter().all(is_there),
        facts: Arc::new(Facts {
            columns: columns.clone(),
            spec: spec.clone(),
            ranges: OnceLock::new(),
            task,
        }),
    })
}

fn ranges(file: &ListedFile, columns: &Schema) -> BTreeMap<String, ColumnRange> {
    let (nulls, nans) = (file.all_nulls(), file.all_nans());
    let (lower, upper) = (file.all_lower(), file.all_upper());
    let ranges = columns.as_struct().fields().iter().filter_map(|field| {
        let id = &field.id;
        let may_be_nan = has_nan(&field.field_type) && nans.get(id) != Some(&0);
        let range = ColumnRange {
            nulls: nulls.get(id).copied(),
            min: lower.get(id).filter(|min| !min.is_nan()).and_then(from_datum),
            max: upper.get(id).filter(|_| !may_be_nan).and_then(from_datum),
        };
        (range != ColumnRange::default()).then(|| (field.name.clone(), range))
    });
    ranges.collect()
}

const fn has_nan(of: &Type) -> bool {
    matches!(of, Type::Primitive(PrimitiveType::Float | PrimitiveType::Double))
}
