//! Inserting and updating rows by key.
//!
//! The new rows are held in memory by their keys; of the table only the columns of the key are
//! read at first, and only of files that may hold one of the keys. Rows that would take the values
//! they have already are left alone, so doing the same upsert twice does nothing the second time.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef as ArrowSchemaRef};
use async_trait::async_trait;
use futures::TryStreamExt;
use iceberg::spec::SchemaRef;
use icecore_core::{BatchStream, Error, ErrorKind, Result};
use roaring::RoaringBitmap;

use super::compare::differing;
use super::operation::{Computed, RowOperation};
use super::options::{Operation, RowMode, UpsertOptions, WhenMatched, WhenNotMatched};
use super::patch::{NewValues, Patch};
use super::range;
use super::source::Source;
use super::target::{Target, for_each};
use super::writing::{Effect, Fate};
use crate::blocking::cores;
use crate::commit::OwnedReads;
use crate::predicate::Filter;
use crate::scan::FileTask;
use crate::schema;
use crate::write::lineage;

/// New rows are written this many at a time.
const BATCH_ROWS: usize = 8192;

/// Inserts and updates rows by key.
#[derive(Debug)]
pub(crate) struct Upsert {
    pub(crate) source: Arc<Source>,
    pub(crate) options: UpsertOptions,
}

/// Rows of a file that have the key of a new row, in order.
#[derive(Debug)]
struct Matched {
    task: FileTask,
    /// Their places in the file, and the new rows.
    pairs: Vec<(u64, u32)>,
}

/// Rows of a file that take other values than they have.
#[derive(Debug)]
struct Changed {
    matched: Matched,
    /// The columns of the table in which they do.
    columns: BTreeSet<usize>,
    /// The rows as they are to be, where they are to be written elsewhere.
    rows: Option<RecordBatch>,
}

#[async_trait]
impl RowOperation for Upsert {
    fn kind(&self) -> Operation {
        Operation::Merge
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn compute(&self, target: &Arc<Target>, mode: RowMode) -> Result<Computed> {
        let plan = Arc::new(UpdatePlan::new(self, target, mode)?);
        let around = range::around(&self.source.key, &self.source.key_columns()?);
        let around = Filter::bind(&around, target.columns())?;
        let matched = self.find(target, &around).await?;

        let mut computed = Computed { reads: OwnedReads::Filter(around), ..Computed::default() };
        self.insert(&matched, &mut computed)?;
        match self.options.when_matched {
            WhenMatched::Ignore => {}
            WhenMatched::Delete => {
                for Matched { task, pairs } in matched {
                    computed.deleted += pairs.len() as u64;
                    let gone = pairs.into_iter().map(|(place, _)| place).collect();
                    let fate = Fate::Patched(Patch::of_gone(gone));
                    computed.effects.push(Effect { task, fate });
                }
            }
            WhenMatched::Update => {
                let work = |matched| {
                    let (target, plan) = (target.clone(), plan.clone());
                    async move { plan.changed(&target, matched).await }
                };
                let changed = for_each(matched, cores(), work, &mut |_| {}).await?;
                update(changed, &plan, &mut computed);
            }
        }
        Ok(computed)
    }
}

impl Upsert {
    /// The rows of the table that have the key of a new row.
    async fn find(&self, target: &Arc<Target>, around: &Filter) -> Result<Vec<Matched>> {
        let tasks = target.tasks(Some(around)).await?;
        let work = |task| {
            let (target, source) = (target.clone(), self.source.clone());
            async move { matches_of(&target, &source, task).await }
        };
        let matched = for_each(tasks, cores(), work, &mut |_| {}).await?;
        Ok(matched.into_iter().filter(|matched| !matched.pairs.is_empty()).collect())
    }

    /// Adds the new rows whose key no row of the table has.
    fn insert(&self, matched: &[Matched], computed: &mut Computed) -> Result<()> {
        if self.options.when_not_matched == WhenNotMatched::Ignore {
            return Ok(());
        }
        let pairs = matched.iter().flat_map(|matched| &matched.pairs);
        let known: RoaringBitmap = pairs.map(|(_, row)| *row).collect();
        let mut new = self.source.keys.rows();
        new.retain(|row| !known.contains(*row));
        computed.inserted = new.len() as u64;
        if !new.is_empty() {
            computed.inserts.push(rows_of(&self.source.rows, &new));
        }
        Ok(())
    }
}

/// Reads the columns of the key of one file.
async fn matches_of(target: &Target, source: &Source, task: FileTask) -> Result<Matched> {
    let columns = target.columns_named(&source.key)?;
    let mut rows = target.read(&task, columns, None);
    let mut pairs = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let Some((places, key)) = batch.columns().split_last() else { continue };
        let matches = source.keys.find(key)?;
        let places = places.as_primitive::<Int64Type>();
        for (row, found) in matches.rows.into_iter().zip(matches.found) {
            pairs.push((places.value(row as usize).cast_unsigned(), found));
        }
    }
    Ok(Matched { task, pairs })
}

/// How matched rows are updated.
#[derive(Debug)]
struct UpdatePlan {
    source: Arc<Source>,
    /// The columns of the table.
    table: ArrowSchemaRef,
    /// The same, and what rows keep that move.
    moved: ArrowSchemaRef,
    /// For each column of the table: the new rows' column if it is updated.
    values: Arc<NewValues>,
    /// Whether changed rows are to be written elsewhere, and so have to be known as a whole.
    moves_rows: bool,
    /// Whether the new rows say all of a changed row.
    is_whole: bool,
}

impl UpdatePlan {
    fn new(upsert: &Upsert, target: &Target, mode: RowMode) -> Result<Self> {
        let table = schema::to_arrow(target.columns())?;
        let moved = schema::to_arrow(&*target.moved_columns()?)?;
        let rows = &upsert.source.rows;
        check_types(rows, &table)?;
        if let Some(wanted) = &upsert.options.update_columns {
            for name in wanted {
                super::source::column(rows, name)?;
            }
        }
        let is_key = |name: &String| upsert.source.key.contains(name);
        let is_wanted = |name: &String| match &upsert.options.update_columns {
            Some(wanted) => wanted.contains(name),
            None => true,
        };
        let columns = table.fields().iter().map(|field| {
            let name = field.name();
            let column = rows.column_by_name(name).cloned();
            column.filter(|_| is_wanted(name) && !is_key(name))
        });
        let mut columns: Vec<Option<ArrayRef>> = columns.collect();
        // Equal floats may differ: zero has two signs.
        let says_all = |(field, column): (&Arc<arrow::datatypes::Field>, &Option<ArrayRef>)| {
            let is_float = matches!(field.data_type(), DataType::Float32 | DataType::Float64);
            column.is_some() || (is_key(field.name()) && !is_float)
        };
        let is_whole = table.fields().iter().zip(&columns).all(says_all);
        if target.has_lineage() {
            // A row that changes keeps its id, and is as it is since now.
            columns.extend([None, Some(new_null_array(&DataType::Int64, rows.num_rows()))]);
        }
        Ok(Self {
            source: upsert.source.clone(),
            table,
            moved,
            values: Arc::new(NewValues { columns }),
            moves_rows: mode == RowMode::MergeOnRead,
            is_whole,
        })
    }

    /// The columns that have to be read to know which rows change, by name.
    fn read_columns(&self) -> Vec<&str> {
        let reads_all = self.moves_rows && !self.is_whole;
        let pairs = self.table.fields().iter().zip(&self.values.columns);
        let read = pairs.filter(|(_, values)| reads_all || values.is_some());
        read.map(|(field, _)| field.name().as_str()).collect()
    }

    /// The same, as columns to read.
    fn read_schema(&self, target: &Target) -> Result<SchemaRef> {
        let named = target.columns_named(&self.read_columns())?;
        if !self.moves_rows || !target.has_lineage() {
            return Ok(named);
        }
        lineage::with_table(&named)
    }

    fn updates_nothing(&self) -> bool {
        let of_table = self.values.columns.iter().take(self.table.fields().len());
        of_table.flatten().next().is_none()
    }

    /// The matched rows of a file that would change.
    async fn changed(&self, target: &Target, matched: Matched) -> Result<Changed> {
        if self.updates_nothing() {
            let matched = Matched { pairs: Vec::new(), ..matched };
            return Ok(Changed { matched, columns: BTreeSet::new(), rows: None });
        }
        let mut rows = target.read(&matched.task, self.read_schema(target)?, None);
        let mut pairs = matched.pairs.iter().copied().peekable();
        let (mut changed, mut new_rows, mut columns) = (Vec::new(), Vec::new(), BTreeSet::new());
        while let Some(batch) = rows.try_next().await? {
            let Some(places) = batch.columns().last() else { continue };
            let (mut at, mut of_batch) = (Vec::new(), Vec::new());
            for (row, place) in (0_u32..).zip(places.as_primitive::<Int64Type>().values()) {
                if let Some(pair) = pairs.next_if(|(next, _)| *next == place.cast_unsigned()) {
                    at.push(row);
                    of_batch.push(pair);
                }
            }
            if at.is_empty() {
                continue;
            }
            let old = take_record_batch(&batch, &UInt32Array::from(at))?;
            let kept = self.keep_changed(&old, &mut of_batch, &mut columns)?;
            if self.moves_rows && !of_batch.is_empty() {
                new_rows.push(self.moved(&kept, &of_batch)?);
            }
            changed.extend(of_batch);
        }
        if pairs.peek().is_some() {
            return Err(Error::internal("rows that were found in a file were not read again"));
        }
        let rows =
            if new_rows.is_empty() { None } else { Some(concat_batches(&self.moved, &new_rows)?) };
        let matched = Matched { task: matched.task, pairs: changed };
        Ok(Changed { matched, columns, rows })
    }

    /// Those of these rows that would change, their pairs, and the columns in which they differ.
    fn keep_changed(
        &self,
        old: &RecordBatch,
        pairs: &mut Vec<(u64, u32)>,
        columns: &mut BTreeSet<usize>,
    ) -> Result<RecordBatch> {
        let rows = new_rows(pairs);
        let mut differs = vec![false; pairs.len()];
        let mut here = vec![false; pairs.len()];
        let updated = self.table.fields().iter().zip(&self.values.columns).enumerate();
        for (place, (field, values)) in updated {
            let Some(values) = values else { continue };
            let old = super::source::column(old, field.name())?;
            here.fill(false);
            differing(old, &take(values, &rows, None)?, &mut here)?;
            if here.contains(&true) {
                columns.insert(place);
                differs.iter_mut().zip(&here).for_each(|(differs, here)| *differs |= here);
            }
        }
        let kept: Vec<u32> =
            (0_u32..).zip(&differs).filter_map(|(row, differs)| differs.then_some(row)).collect();
        let mut answers = differs.iter();
        pairs.retain(|_| answers.next().copied().unwrap_or(false));
        Ok(take_record_batch(old, &UInt32Array::from(kept))?)
    }

    /// Changed rows as they are to be.
    fn moved(&self, old: &RecordBatch, pairs: &[(u64, u32)]) -> Result<RecordBatch> {
        let rows = new_rows(pairs);
        let is_of_table = |name: &String| self.table.column_with_name(name).is_some();
        let pairs = self.moved.fields().iter().zip(&self.values.columns);
        let columns = pairs.map(|(field, values)| match values {
            Some(values) => Ok(take(values, &rows, None)?),
            None if self.is_whole && is_of_table(field.name()) => {
                let column = super::source::column(&self.source.rows, field.name())?;
                Ok(take(column, &rows, None)?)
            }
            None => super::source::column(old, field.name()).cloned(),
        });
        Ok(RecordBatch::try_new(self.moved.clone(), columns.collect::<Result<_>>()?)?)
    }
}

/// The new rows were read for the columns that the table had then.
fn check_types(rows: &RecordBatch, table: &ArrowSchemaRef) -> Result<()> {
    for field in rows.schema_ref().fields() {
        let now = table.field_with_name(field.name()).ok();
        if now.is_none_or(|now| now.data_type() != field.data_type()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("column `{}` was changed while rows were upserted", field.name()),
            )
            .with_help("do it again"));
        }
    }
    Ok(())
}

fn new_rows(pairs: &[(u64, u32)]) -> UInt32Array {
    pairs.iter().map(|(_, row)| *row).collect()
}

fn update(changed: Vec<Changed>, plan: &UpdatePlan, computed: &mut Computed) {
    computed.values = plan.values.clone();
    for Changed { matched: Matched { task, pairs }, columns, rows } in changed {
        if pairs.is_empty() {
            continue;
        }
        computed.updated += pairs.len() as u64;
        let patch = Patch { changed: pairs, columns, ..Patch::default() };
        computed.effects.push(Effect { task, fate: Fate::Patched(patch) });
        if let Some(rows) = rows {
            let count = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
            computed.moved.push(rows_of(&rows, &(0..count).collect::<Vec<_>>()));
        }
    }
}

/// These rows of a batch, a few at a time.
fn rows_of(rows: &RecordBatch, wanted: &[u32]) -> BatchStream {
    let (schema, rows) = (rows.schema(), rows.clone());
    let batches: Vec<Vec<u32>> = wanted.chunks(BATCH_ROWS).map(<[u32]>::to_vec).collect();
    let batches = batches.into_iter().map(move |wanted| {
        take_record_batch(&rows, &UInt32Array::from(wanted)).map_err(Error::from)
    });
    BatchStream::new(schema, futures::stream::iter(batches))
}
