//! Deleting rows by a filter.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::filter;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use iceberg::spec::DataContentType;
use icecore_core::{Error, Result};
use roaring::RoaringTreemap;

use super::filter::{RowFilter, Selection};
use super::operation::{Computed, RowOperation};
use super::options::{Operation, RowMode};
use super::patch::Patch;
use super::target::{Target, for_each, schema_of};
use super::writing::{Effect, Fate};
use crate::blocking::cores;
use crate::commit::OwnedReads;
use crate::predicate::PartitionFilter;
use crate::scan::{FileFacts, FileTask, deleted_positions};
use crate::storage::KnownFile as _;

/// Deletes the rows that pass a filter.
#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) filter: RowFilter,
}

#[async_trait]
impl RowOperation for Delete {
    fn kind(&self) -> Operation {
        Operation::Delete
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn compute(&self, target: &Arc<Target>, _: RowMode) -> Result<Computed> {
        find(target, &self.filter).await
    }
}

/// What has to happen for the rows to be gone that are meant.
///
/// # Errors
///
/// `NotFound` for an unknown column, `InvalidInput` for a literal of the wrong kind; those of the
/// storage.
pub(super) async fn find(target: &Arc<Target>, rows: &RowFilter) -> Result<Computed> {
    let selection = Selection::bind(rows, target.columns())?;
    let tasks = target.tasks(Some(&selection.filter)).await?;
    let finder = Arc::new(Finder { target: target.clone(), selection });
    let look = |task| {
        let finder = finder.clone();
        async move { finder.look(task).await }
    };
    let found = for_each(tasks, cores(), look, &mut |_| {}).await?;
    let mut computed = Computed::default();
    for (effect, deleted) in found.into_iter().flatten() {
        computed.effects.push(effect);
        computed.deleted += deleted;
    }
    computed.reads = OwnedReads::Filter(finder.selection.filter.clone());
    Ok(computed)
}

struct Finder {
    target: Arc<Target>,
    selection: Selection,
}

impl Finder {
    /// What becomes of a file, and how many rows that deletes; `None` if it stays as it is.
    async fn look(&self, task: FileTask) -> Result<Option<(Effect, u64)>> {
        if self.selects_all(&task)? {
            let live = self.live_rows(&task).await?;
            return Ok((live > 0).then_some((Effect { task, fate: Fate::Removed }, live)));
        }
        let gone = self.places(&task).await?;
        let deleted = gone.len();
        if deleted == 0 {
            return Ok(None);
        }
        let fate = if deleted == task.file.record_count() {
            Fate::Removed
        } else {
            Fate::Patched(Patch::of_gone(gone))
        };
        Ok(Some((Effect { task, fate }, deleted)))
    }

    /// Whether every row of a file is meant, by what its manifest says.
    fn selects_all(&self, task: &FileTask) -> Result<bool> {
        if self.selection.test.is_some() {
            return Ok(false);
        }
        let others = self.selection.filter.complement();
        if !others.may_pass(&FileFacts(&*task.file)) {
            return Ok(true);
        }
        let metadata = self.target.table.metadata();
        let spec = metadata.partition_spec_by_id(task.spec_id).ok_or_else(|| {
            Error::corrupt(format!(
                "`{}` is of a partitioning that nobody knows",
                task.file.file_path()
            ))
        })?;
        let others = PartitionFilter::new(&others, spec);
        Ok(!others.may_hold(task.file.partition()))
    }

    async fn live_rows(&self, task: &FileTask) -> Result<u64> {
        let by_key = |content| content == DataContentType::EqualityDeletes;
        if !task.deletes.iter().any(|delete| by_key(delete.file.content_type())) {
            let deleted = deleted_positions(&self.target.table, task).await?;
            return Ok(task.file.record_count() - deleted.len());
        }
        let mut rows = self.target.read(task, schema_of(Vec::new())?, None);
        let mut live = 0;
        while let Some(batch) = rows.try_next().await? {
            live += batch.num_rows() as u64;
        }
        Ok(live)
    }

    /// Where in a file the rows are that are meant.
    async fn places(&self, task: &FileTask) -> Result<RoaringTreemap> {
        let columns = match &self.selection.test {
            // The reader does not hand out what only the filter looks at.
            None => schema_of(Vec::new())?,
            Some(test) => self.target.columns_named(&test.columns())?,
        };
        let filter = Some(self.selection.filter.clone()).filter(|filter| !filter.is_always());
        let mut rows = self.target.read(task, columns, filter);
        let mut found = RoaringTreemap::new();
        while let Some(batch) = rows.try_next().await? {
            let Some(places) = batch.columns().last() else { continue };
            let places = match &self.selection.test {
                None => places.clone(),
                Some(_) => filter_places(places, &self.selection.evaluate(&batch)?)?,
            };
            let places = places.as_primitive::<Int64Type>().values();
            let places = places.iter().map(|place| place.cast_unsigned());
            found.append(places).map_err(|error| {
                Error::internal("rows were not read in the order of their file").with_source(error)
            })?;
        }
        Ok(found)
    }
}

fn filter_places(
    places: &arrow::array::ArrayRef,
    passes: &arrow::array::BooleanArray,
) -> Result<arrow::array::ArrayRef> {
    Ok(filter(places, passes)?)
}
