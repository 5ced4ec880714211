//! Which rows were inserted, updated and deleted between two snapshots.
//!
//! What two states have in common is skipped by metadata alone: a file that both have, with the
//! same deletes applied to it, holds no change. The rows of the other files are struck out against
//! each other, so that a file that was rewritten for the sake of one row shows one change. Memory
//! is bounded: where too many rows differ, the files are read again for each part of them.

mod difference;
mod emit;
mod net;
mod path;
mod rows;
mod tally;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use futures::{StreamExt, stream};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, PinnedTable, Result};
use tokio::sync::mpsc;

use crate::history;
use crate::scan::TaskRead;
use crate::schema::{self, unknown_column};
use difference::Difference;
use emit::Output;

/// The column that says what happened to a row: `insert`, `delete`, `update_before`,
/// `update_after`.
pub(crate) const CHANGE_TYPE: &str = "_change_type";
/// The column that says which snapshot did it.
pub(crate) const COMMIT_SNAPSHOT_ID: &str = "_commit_snapshot_id";
/// The column that counts the snapshots, from zero.
pub(crate) const CHANGE_ORDINAL: &str = "_change_ordinal";

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Batches that are made before they are asked for.
const AHEAD: usize = 2;

/// Which changes lie between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangeMode {
    /// How the two states differ, whatever happened between them: one ordinal.
    #[default]
    Net,
    /// What each commit on the way did, oldest first: one ordinal for each.
    Log,
}

/// How to read changes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChangeOptions {
    /// Which changes.
    pub mode: ChangeMode,
    /// The columns that identify a row. A row that is gone and one that came with the same key are
    /// an update; without a key they are a delete and an insert.
    pub key: Vec<String>,
    /// About how much memory to hold rows in.
    pub memory_bytes: usize,
}

impl Default for ChangeOptions {
    fn default() -> Self {
        Self { mode: ChangeMode::Net, key: Vec::new(), memory_bytes: 256 << 20 }
    }
}

impl ChangeOptions {
    /// Changes of this mode, without a key.
    #[must_use]
    pub fn new(mode: ChangeMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Takes rows of one key for one row.
    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// Holds rows in about this much memory.
    #[must_use]
    pub const fn with_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }
}

/// Changes, as they are read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Changes {
    /// The columns of the later state, then `_change_type`, `_commit_snapshot_id` and
    /// `_change_ordinal`. All changes of one ordinal come before those of the next; within one
    /// their order is not defined, but an `update_after` follows its `update_before`.
    pub rows: BatchStream,
    /// Data files whose rows have to be read.
    pub files_read: usize,
    /// Data files that were skipped because nothing in them changed.
    pub files_skipped: usize,
}

/// What lies between two snapshots of which one may be the table before its first commit.
#[derive(Debug)]
struct Step {
    difference: Difference,
    /// The snapshot that did it.
    commit: i64,
    ordinal: i64,
}

/// Finds the changes from one pinned state of a table to another.
///
/// # Errors
///
/// `NotFound` for a pin that is gone, which says what is left, and for a key that is no column;
/// `InvalidInput` for pins of two tables.
pub(crate) async fn changes(
    table: &Table,
    from: &PinnedTable,
    to: &PinnedTable,
    options: ChangeOptions,
) -> Result<Changes> {
    let start = history::pinned(from, table).await?.cloned();
    let end = history::pinned(to, table).await?.cloned();
    let columns = match &end {
        Some(snapshot) => {
            use crate::error::Context as _;
            snapshot
                .schema(table.metadata())
                .context(|| format!("cannot find the columns of `{to}`"))?
        }
        None => table.metadata().current_schema().clone(),
    };
    let arrow = schema::to_arrow(&columns)?;
    let key = key_of(&arrow, &options.key)?;
    let spans = path::spans(table, start.as_ref(), end.as_ref(), options.mode);
    let mut steps = Vec::with_capacity(spans.len());
    let (mut files_read, mut files_skipped) = (0, 0);
    for (ordinal, span) in (0_i64..).zip(spans) {
        let difference = difference::between(table, &span.hops).await?;
        files_read += difference.files();
        files_skipped += difference.shared;
        if difference.files() > 0 {
            steps.push(Step { difference, commit: span.commit, ordinal });
        }
    }
    let read =
        TaskRead { columns, filter: None, positions: false, groups: None, batch_rows: BATCH_ROWS };
    let schema = with_change_columns(&arrow);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let output = Output { schema: schema.clone(), key, sender };
    let reader = rows::Reader { table: table.clone(), read, arrow };
    // Nothing is read before somebody asks for rows.
    let batches = stream::once(async move {
        tokio::spawn(run(reader, output, steps, options.memory_bytes));
        stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|batch| (batch, receiver))
        })
    });
    let rows = BatchStream::new(schema, batches.flatten());
    Ok(Changes { rows, files_read, files_skipped })
}

/// Hands on the changes of each step until they end, fail, or nobody listens any more.
async fn run(reader: rows::Reader, output: Output, steps: Vec<Step>, memory_bytes: usize) {
    for step in &steps {
        match net::step(&reader, &output, step, memory_bytes).await {
            Ok(()) => {}
            Err(net::Stop::NobodyListens) => return,
            Err(net::Stop::Failed(error)) => {
                let _ = output.sender.send(Err(error)).await;
                return;
            }
        }
    }
}

/// The places of the key's columns.
fn key_of(arrow: &SchemaRef, key: &[String]) -> Result<Vec<usize>> {
    let names: Vec<&str> = arrow.fields().iter().map(|field| field.name().as_str()).collect();
    let place = |name: &String| {
        names.iter().position(|known| known == name).ok_or_else(|| unknown_column(name, &names))
    };
    let mut places = key.iter().map(place).collect::<Result<Vec<_>>>()?;
    places.sort_unstable();
    if places.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Error::invalid("a key names a column twice"));
    }
    Ok(places)
}

/// The columns of a table with those that say what changed.
fn with_change_columns(arrow: &SchemaRef) -> SchemaRef {
    let added = [
        Field::new(CHANGE_TYPE, DataType::Utf8, false),
        Field::new(COMMIT_SNAPSHOT_ID, DataType::Int64, false),
        Field::new(CHANGE_ORDINAL, DataType::Int64, false),
    ];
    let fields = arrow.fields().iter().cloned().chain(added.map(Arc::new));
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}
