//! Rows of one Parquet file, in the columns of a table.

mod bind;
mod input;
mod layout;
mod skip;
mod slices;
mod stored;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, NameMapping, NestedFieldRef, PrimitiveLiteral, Schema,
};
use iceberg::table::Table;
use icecore_core::{Error, Result};
use parquet::arrow::arrow_reader::{ArrowPredicate, ArrowPredicateFn, RowFilter};
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::schema::types::SchemaDescriptor;
use roaring::RoaringTreemap;

use super::task::FileFacts;
use crate::error::Context as _;
use crate::predicate::Filter;
use crate::storage::{KnownFile as _, ListedFile};
use bind::{Binder, Binding};
use input::{Input, POSITION, cannot_read, read_footer};
use layout::{FileField, layout};
use skip::{Blooms, Footer, Group, groups, selection, skip_deleted};
use slices::{has_large, slices};

pub(super) use layout::Names;
pub(crate) use stored::{StoredChunk, StoredFile};

/// Rows per batch unless a read wants others.
pub(super) const BATCH_ROWS: usize = 8192;
/// Columns are decoded after the filter where at most this share of the rows passes.
pub(super) const FEW: f64 = 0.15;
/// Bytes of filtered columns that wait for the columns that are read after them.
const FILTERED_BYTES: usize = 16 << 20;

/// What to decode of a file.
#[derive(Debug)]
pub(super) struct Decode {
    /// These columns, found by their ids.
    pub(super) columns: Vec<NestedFieldRef>,
    pub(super) names: Names,
    /// Only rows that pass.
    pub(super) filter: Option<Filter>,
    /// Without the rows in these places.
    pub(super) deleted: Option<RoaringTreemap>,
    /// What the file's partition says of columns, by their ids.
    pub(super) partition: Vec<(i32, Option<PrimitiveLiteral>)>,
    /// Whether to tell each row's place.
    pub(super) positions: bool,
    /// Only rows of these row groups.
    pub(super) groups: Option<Vec<usize>>,
    pub(super) batch_rows: usize,
}

impl Decode {
    /// All rows.
    pub(super) const fn all(columns: Vec<NestedFieldRef>, names: Names) -> Self {
        Self {
            columns,
            names,
            filter: None,
            deleted: None,
            partition: Vec::new(),
            positions: false,
            groups: None,
            batch_rows: BATCH_ROWS,
        }
    }
}

/// Some rows of a file.
#[derive(Debug)]
pub(super) struct Decoded {
    /// In the order in which they were asked for.
    columns: Vec<ArrayRef>,
    /// The rows' places in the file, if asked for.
    positions: Option<ArrayRef>,
    rows: usize,
}

impl Decoded {
    pub(super) fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    pub(super) const fn positions(&self) -> Option<&ArrayRef> {
        self.positions.as_ref()
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Those rows for which this holds; null is no.
    pub(super) fn filter(self, wanted: &BooleanArray) -> Result<Self> {
        let rows = wanted.true_count();
        if rows == self.rows {
            return Ok(self);
        }
        let filter = FilterBuilder::new(wanted).optimize().build();
        let keep = |column: &ArrayRef| filter.filter(column);
        Ok(Self {
            columns: self.columns.iter().map(keep).collect::<Result<_, ArrowError>>()?,
            positions: self.positions.as_ref().map(keep).transpose()?,
            rows,
        })
    }
}

/// How files without field ids tell their columns apart in this table.
///
/// # Errors
///
/// `DataCorrupt` for a name mapping that cannot be understood.
pub(super) fn names_of(table: &Table) -> Result<Names> {
    let metadata = table.metadata();
    match metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) {
        Some(mapping) => {
            let mapping: NameMapping = serde_json::from_str(mapping)
                .context(|| format!("cannot read `{DEFAULT_SCHEMA_NAME_MAPPING}`"))?;
            Ok(Names::Mapped(Arc::new(mapping)))
        }
        None => Ok(Names::OfTable(metadata.current_schema().clone())),
    }
}

/// Decodes a file, as far as it has to be read.
///
/// # Errors
///
/// `DataCorrupt` naming a file that is not what the table says, and those of the storage.
pub(super) async fn decode(
    io: &FileIO,
    file: &ListedFile,
    wanted: Decode,
) -> Result<BoxStream<'static, Result<Decoded>>> {
    let path: Arc<str> = file.file_path().into();
    let mut input = Input::open(io, &path, file.file_size_in_bytes()).await?;
    let skips = wanted.filter.is_some() || wanted.deleted.is_some();
    let pages = if skips { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let footer = read_footer(&mut input, pages, wanted.positions).await?;
    let fields = layout(footer.schema(), &wanted.names);
    let mut reading = Reading::new(file, &fields, &wanted)?;
    if reading.is_never {
        return Ok(stream::empty().boxed());
    }
    let mut groups = groups(footer.metadata());
    if let Some(wanted) = &wanted.groups {
        groups.retain(|group| wanted.contains(&group.index));
    }
    if let Some(deleted) = &wanted.deleted {
        skip_deleted(&mut groups, deleted);
    }
    let cannot = || cannot_read(&path);
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(input, footer.clone());
    if let Some(filter) = &wanted.filter {
        let known = Footer::new(&footer, &fields, filter)?;
        known.skip(&mut groups, filter);
        skip_by_blooms(&mut builder, &known, &mut groups, filter).await.context(cannot)?;
    }
    if groups.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let (before, batch_rows) = (std::mem::take(&mut reading.before), wanted.batch_rows);
    let leaves = reading.leaves.clone();
    let build = move |builder: ParquetRecordBatchStreamBuilder<Input>, groups: &[Group]| {
        batches(builder, groups, (&leaves, &before, batch_rows))
    };
    let batches = match has_large(footer.metadata(), &groups, &reading.leaves) {
        false => build(builder, &groups).context(cannot)?.boxed(),
        true => {
            let mut input = Input::open(io, &path, file.file_size_in_bytes()).await?;
            let footer = match pages {
                PageIndexPolicy::Skip => {
                    read_footer(&mut input, PageIndexPolicy::Optional, wanted.positions).await?
                }
                _ => footer,
            };
            let slices = slices(footer.metadata(), groups, &reading.leaves);
            let (io, path, size) = (io.clone(), path.clone(), file.file_size_in_bytes());
            let open = move |slice: Vec<Group>| {
                let (io, path, footer) = (io.clone(), path.clone(), footer.clone());
                let build = build.clone();
                async move {
                    let input = Input::open(&io, &path, size)
                        .await
                        .map_err(|error| ParquetError::External(Box::new(error)))?;
                    build(ParquetRecordBatchStreamBuilder::new_with_metadata(input, footer), &slice)
                }
            };
            stream::iter(slices).then(open).try_flatten().boxed()
        }
    };
    let decoded = batches.map(move |batch| {
        let batch = batch.context(|| cannot_read(&path))?;
        reading.decoded(&batch).map_err(|error| at_file(&path, error))
    });
    Ok(decoded.boxed())
}

/// The batches of some row groups, without what the filters that come before decoding leave out.
fn batches(
    mut builder: ParquetRecordBatchStreamBuilder<Input>,
    groups: &[Group],
    (leaves, before, batch_rows): (&[usize], &[Asking], usize),
) -> Result<ParquetRecordBatchStream<Input>, ParquetError> {
    if let Some(selection) = selection(groups) {
        builder = builder.with_row_selection(selection);
    }
    if let Some(filter) = row_filter(before, builder.parquet_schema()) {
        builder = builder.with_row_filter(filter);
    }
    let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves.iter().copied());
    builder
        .with_row_groups(groups.iter().map(|group| group.index).collect())
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .with_max_predicate_cache_size(FILTERED_BYTES)
        .build()
}

/// The filters that are asked while decoding.
fn row_filter(before: &[Asking], schema: &SchemaDescriptor) -> Option<RowFilter> {
    let predicates = before.iter().cloned().map(|asked| -> Box<dyn ArrowPredicate> {
        let mask = ProjectionMask::leaves(schema, asked.leaves.iter().copied());
        Box::new(ArrowPredicateFn::new(mask, move |batch| {
            asked.passing(&batch).map_err(ArrowError::from)
        }))
    });
    let predicates: Vec<_> = predicates.collect();
    (!predicates.is_empty()).then(|| RowFilter::new(predicates))
}

fn at_file(path: &str, error: Error) -> Error {
    Error::new(super::rows::kind_at_file(&error), cannot_read(path)).with_source(error)
}

async fn skip_by_blooms(
    builder: &mut ParquetRecordBatchStreamBuilder<Input>,
    known: &Footer<'_>,
    groups: &mut Vec<Group>,
    filter: &Filter,
) -> Result<(), ParquetError> {
    let mut kept = Vec::with_capacity(groups.len());
    for group in groups.drain(..) {
        let mut blooms = Blooms::default();
        for (id, leaf) in known.blooms(filter, group.index) {
            let bloom = builder.get_row_group_column_bloom_filter(group.index, leaf).await?;
            blooms.0.extend(bloom.map(|bloom| (id, bloom)));
        }
        if filter.may_pass(&blooms) {
            kept.push(group);
        }
    }
    *groups = kept;
    Ok(())
}

/// How batches of a file become rows of the table.
struct Reading {
    columns: Vec<Binding>,
    positions: bool,
    leaves: Vec<usize>,
    /// Filters that are asked while decoding, before the other columns are decoded.
    before: Vec<Asking>,
    /// The filter that is asked of rows that have been decoded.
    after: Option<Asking>,
    /// Whether no row of the file passes.
    is_never: bool,
}

/// A filter with the columns that it looks at.
#[derive(Clone)]
struct Asking {
    filter: Filter,
    schema: SchemaRef,
    columns: Vec<Binding>,
    leaves: Vec<usize>,
}

impl Reading {
    fn new(file: &ListedFile, fields: &[FileField], wanted: &Decode) -> Result<Self> {
        let path = file.file_path();
        let partition = wanted.partition.as_slice();
        let mut binder = Binder { path, fields, partition, leaves: Vec::new() };
        let columns: Vec<Binding> =
            wanted.columns.iter().map(|column| binder.bind(column)).collect::<Result<_>>()?;
        let mut reading = Self {
            columns,
            positions: wanted.positions,
            leaves: binder.leaves,
            before: Vec::new(),
            after: None,
            is_never: false,
        };
        let Some(filter) = &wanted.filter else { return Ok(reading) };
        let asking = |filter: Filter| {
            Asking::new(filter, Binder { path, fields, partition, leaves: Vec::new() })
        };
        let filtered = filter.columns();
        let is_filtered = |column: &NestedFieldRef| filtered.iter().any(|own| own.id == column.id);
        for conjunct in filter.conjuncts() {
            let asked = asking(conjunct)?;
            if asked.leaves.is_empty() {
                // The file says nothing of it, so one answer is that of every row.
                let row = RecordBatchOptions::new().with_row_count(Some(1));
                let none = Arc::new(ArrowSchema::empty());
                let row = RecordBatch::try_new_with_options(none, Vec::new(), &row)?;
                reading.is_never |= asked.passing(&row)?.true_count() == 0;
            } else {
                reading.before.push(asked);
            }
        }
        let is_all = wanted.columns.iter().all(is_filtered);
        if !reading.before.is_empty() && (is_all || FileFacts(file).share(filter) > FEW) {
            // There is nothing to decode later, or nearly everything: skipping single rows while
            // decoding costs more than decoding them.
            reading.before.clear();
            let asked = asking(filter.clone())?;
            reading.leaves.extend(&asked.leaves);
            reading.after = Some(asked);
        }
        reading.before.sort_by_key(|asked| asked.leaves.len());
        Ok(reading)
    }

    fn decoded(&self, batch: &RecordBatch) -> Result<Decoded> {
        let columns = self.columns.iter().map(|column| column.column(batch));
        let positions = match self.positions {
            true => Some(batch.column_by_name(POSITION).cloned().ok_or_else(|| {
                Error::internal("a file was read without the places of its rows")
            })?),
            false => None,
        };
        let decoded =
            Decoded { columns: columns.collect::<Result<_>>()?, positions, rows: batch.num_rows() };
        match &self.after {
            Some(asked) => decoded.filter(&asked.passing(batch)?),
            None => Ok(decoded),
        }
    }
}

impl Asking {
    fn new(filter: Filter, mut binder: Binder<'_>) -> Result<Self> {
        let fields = filter.columns();
        let columns = fields.iter().map(|column| binder.bind(column)).collect::<Result<_>>()?;
        let leaves = binder.leaves;
        // Names are those of the filter; whether a value may be absent does not matter to it.
        let schema = Schema::builder()
            .with_fields(fields.iter().map(|field| {
                let mut field = field.as_ref().clone();
                field.required = false;
                Arc::new(field)
            }))
            .build()
            .context(|| "cannot describe the columns of a filter")?;
        Ok(Self { filter, schema: crate::schema::to_arrow(&schema)?, columns, leaves })
    }

    fn passing(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let columns = self.columns.iter().map(|column| column.column(batch));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.filter.evaluate(&batch)
    }
}
