//! The rows on both sides of a difference.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{DataContentType, Schema};
use iceberg::table::Table;
use icecore_core::{Error, Result};
use roaring::RoaringTreemap;

use super::difference::Difference;
use crate::error::Context as _;
use crate::scan::{FileTask, TaskRead, deleted_positions, read_task};
use crate::storage::KnownFile as _;

/// Which side a row is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The earlier state has it.
    Gone,
    /// The later state has it.
    Come,
}

/// Reads files under the columns of the later state.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) table: Table,
    pub(super) read: TaskRead,
    pub(super) arrow: SchemaRef,
}

impl Reader {
    /// The rows of both sides. Batches of the two take turns: what was rewritten in its order is
    /// struck out as it comes.
    pub(super) fn both<'a>(
        &'a self,
        difference: &'a Difference,
    ) -> BoxStream<'a, Result<(Side, RecordBatch)>> {
        let gone = self.files(&difference.gone).map_ok(|rows| (Side::Gone, rows));
        let come = self.files(&difference.come).map_ok(|rows| (Side::Come, rows));
        let shifted = stream::iter(&difference.shifted)
            .then(|(old, new)| self.shifted(old, new))
            .try_flatten();
        stream::select_with_strategy(gone, come, take_turns).chain(shifted).boxed()
    }

    fn files<'a>(&'a self, tasks: &'a [FileTask]) -> BoxStream<'a, Result<RecordBatch>> {
        let files = stream::iter(tasks).map(|task| read_task(&self.table, task, &self.read));
        files.flatten().boxed()
    }

    /// The rows of one file that one state has and the other has not.
    async fn shifted(
        &self,
        old: &FileTask,
        new: &FileTask,
    ) -> Result<BoxStream<'_, Result<(Side, RecordBatch)>>> {
        let (old_gone, new_gone) = if has_keys(old) || has_keys(new) {
            let (old, new) = (self.live(old).await?, self.live(new).await?);
            (&new - &old, &old - &new)
        } else {
            let (old, new) = (
                deleted_positions(&self.table, old).await?,
                deleted_positions(&self.table, new).await?,
            );
            (&old - &new, &new - &old)
        };
        if old_gone.is_empty() && new_gone.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let whole = FileTask { deletes: Vec::new(), ..new.clone() };
        let read = TaskRead { positions: true, ..self.read.clone() };
        let rows = read_task(&self.table, &whole, &read);
        let arrow = self.arrow.clone();
        let sides = rows.map(move |batch| {
            let batch = batch?;
            let gone = at(&batch, &new_gone, &arrow)?;
            let come = at(&batch, &old_gone, &arrow)?;
            let sides = [(Side::Gone, gone), (Side::Come, come)];
            let some = sides.into_iter().filter(|(_, rows)| rows.num_rows() > 0).map(Ok);
            Ok::<_, Error>(stream::iter(some.collect::<Vec<_>>()))
        });
        Ok(sides.try_flatten().boxed())
    }

    /// The places of the rows that are live.
    async fn live(&self, task: &FileTask) -> Result<RoaringTreemap> {
        let none = Schema::builder().build().context(|| "cannot read a file without columns")?;
        let read = TaskRead { columns: Arc::new(none), positions: true, ..self.read.clone() };
        let mut rows = read_task(&self.table, task, &read);
        let mut places = RoaringTreemap::new();
        while let Some(batch) = rows.try_next().await? {
            places.extend(positions(&batch)?);
        }
        Ok(places)
    }
}

fn take_turns(last: &mut stream::PollNext) -> stream::PollNext {
    last.toggle()
}

/// Whether deletes by value apply, whose places are only known by reading.
fn has_keys(task: &FileTask) -> bool {
    let mut deletes = task.deletes.iter();
    deletes.any(|delete| delete.file.content_type() == DataContentType::EqualityDeletes)
}

/// The rows in these places, without the column that tells the place.
fn at(batch: &RecordBatch, places: &RoaringTreemap, arrow: &SchemaRef) -> Result<RecordBatch> {
    let wanted: BooleanArray =
        positions(batch)?.map(|place| Some(places.contains(place))).collect();
    let rows = filter_record_batch(batch, &wanted)?;
    let columns = rows.columns().iter().take(arrow.fields().len()).cloned().collect();
    Ok(RecordBatch::try_new(arrow.clone(), columns)?)
}

fn positions(batch: &RecordBatch) -> Result<impl Iterator<Item = u64> + '_> {
    let column = batch.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>());
    let column = column.ok_or_else(|| Error::internal("rows came without their places"))?;
    Ok(column.values().iter().map(|place| place.unsigned_abs()))
}
