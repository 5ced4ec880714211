//! The state of a table that rows are changed in.

use std::future::Future;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, NestedFieldRef, Schema, SchemaRef};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, Result};
use tokio::task::JoinSet;

use crate::error::Context as _;
use crate::ids::{Ids, new_uuid};
use crate::predicate::Filter;
use crate::scan::{FileTask, TaskRead, plan_tasks, read_task};
use crate::write::{WriteTarget, WrittenFiles, lineage, write_moved_rows, write_rows};

/// Rows that are read at a time.
const BATCH_ROWS: usize = 8192;

/// The state of a table that rows are changed in.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) table: Table,
    /// The snapshot whose rows they are; `None` before the first.
    pub(crate) snapshot: Option<i64>,
    /// What new files are named by.
    pub(crate) ids: Arc<dyn Ids>,
}

impl Target {
    /// The columns that the table has now, whatever the snapshot had.
    pub(super) fn columns(&self) -> &SchemaRef {
        self.table.metadata().current_schema()
    }

    /// The columns of these names, in that order.
    ///
    /// # Errors
    ///
    /// `NotFound` for a column that the table lacks.
    pub(super) fn columns_named<S: AsRef<str>>(&self, names: &[S]) -> Result<SchemaRef> {
        let columns = self.columns();
        let fields = names.iter().map(|name| {
            let mut all = columns.as_struct().fields().iter();
            let found = all.find(|field| field.name == name.as_ref());
            found.cloned().ok_or_else(|| crate::schema::no_such_column(columns, name.as_ref()))
        });
        schema_of(fields.collect::<Result<Vec<_>>>()?)
    }

    /// Whether rows are deleted by deletion vectors.
    pub(super) fn has_vectors(&self) -> bool {
        self.table.metadata().format_version() >= FormatVersion::V3
    }

    /// The columns of rows that move from one file to another: the table's, and what rows keep.
    pub(super) fn moved_columns(&self) -> Result<SchemaRef> {
        if self.has_lineage() {
            lineage::with_table(self.columns())
        } else {
            Ok(self.columns().clone())
        }
    }

    /// Writes rows that have those columns.
    pub(super) async fn write_moved(
        &self,
        to: &WriteTarget,
        rows: BatchStream,
    ) -> Result<WrittenFiles> {
        if self.has_lineage() {
            write_moved_rows(to, rows).await
        } else {
            write_rows(to, rows).await
        }
    }

    /// Whether rows have ids that they keep.
    pub(super) fn has_lineage(&self) -> bool {
        self.has_vectors()
    }

    /// Where new files go. Each call names its files differently.
    pub(super) fn write_target(&self) -> WriteTarget {
        WriteTarget {
            metadata: self.table.metadata_ref(),
            io: self.table.file_io().clone(),
            commit: new_uuid(&*self.ids),
        }
    }

    /// The data files that may hold rows that pass.
    pub(super) async fn tasks(&self, filter: Option<&Filter>) -> Result<Vec<FileTask>> {
        match self.snapshot {
            Some(snapshot) => plan_tasks(&self.table, Some(snapshot), filter).await,
            None => Ok(Vec::new()),
        }
    }

    /// The live rows of a file, with their places in it as the last column.
    pub(super) fn read(
        &self,
        task: &FileTask,
        columns: SchemaRef,
        filter: Option<Filter>,
    ) -> BatchStream {
        self.read_groups(task, columns, filter, None)
    }

    /// The same, of some row groups of the file alone.
    pub(super) fn read_groups(
        &self,
        task: &FileTask,
        columns: SchemaRef,
        filter: Option<Filter>,
        groups: Option<Vec<usize>>,
    ) -> BatchStream {
        let batch_rows = BATCH_ROWS;
        let read = TaskRead { columns, filter, positions: true, groups, batch_rows };
        read_task(&self.table, task, &read)
    }
}

/// A schema of these columns.
pub(super) fn schema_of(fields: Vec<NestedFieldRef>) -> Result<SchemaRef> {
    let schema = Schema::builder().with_fields(fields).build();
    schema.map(Arc::new).context(|| "cannot take columns of a table")
}

/// Does the same with each of these, some at the same time, and returns what came of it, in order.
///
/// After a failure none is begun any more, and those that run are waited for: `undo` is told what
/// they made.
pub(super) async fn for_each<I, T, F>(
    items: Vec<I>,
    at_once: usize,
    work: impl Fn(I) -> F,
    undo: &mut (dyn FnMut(T) + Send),
) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut running: JoinSet<(usize, Result<T>)> = JoinSet::new();
    let (mut done, mut failed): (Vec<(usize, T)>, Option<Error>) = (Vec::new(), None);
    let mut items = items.into_iter().enumerate();
    loop {
        while failed.is_none() && running.len() < at_once.max(1) {
            let Some((place, item)) = items.next() else { break };
            let work = work(item);
            running.spawn(async move { (place, work.await) });
        }
        let Some(joined) = running.join_next().await else { break };
        match joined.context(|| "cannot change rows") {
            Ok((place, Ok(made))) => done.push((place, made)),
            Ok((_, Err(error))) | Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        done.into_iter().for_each(|(_, made)| undo(made));
        return Err(error);
    }
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
