//! Rows of a model, written to the run's branch.

use arrow::datatypes::SchemaRef;
use icecore_catalog::{RowOptions, UpsertOptions};
use icecore_core::{
    CommitOptions, Committed, PinnedTable, Result, SnapshotCatalog as _, TableName, WriteMode,
};

use super::Runner;
use super::build::Query;
use super::keys::KeySet;
use super::land::Draft;
use crate::config::Strategy;
use crate::project::Node;

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    /// The state of the branch.
    pub(super) pin: PinnedTable,
    /// Rows that were put in.
    pub(super) rows: u64,
    /// Whether there is something to publish.
    pub(super) changed: bool,
    /// In a word.
    pub(super) message: String,
}

impl Written {
    pub(super) fn of(what: &str, done: Committed) -> Self {
        let rows = if done.changed { done.added_rows } else { 0 };
        Self { pin: done.pinned, rows, changed: done.changed, message: format!("{what} {rows}") }
    }
}

impl Runner<'_> {
    /// Runs a model's query and writes its rows as the model says.
    pub(super) async fn write(
        &self,
        node: &Node,
        name: &TableName,
        draft: &Draft,
        query: &Query,
    ) -> Result<Written> {
        let sql = match &draft.columns {
            None => query.sql.clone(),
            Some(columns) => {
                let columns: Vec<String> =
                    columns.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
                format!("SELECT {} FROM (\n{}\n) AS model_rows", columns.join(", "), query.sql)
            }
        };
        let pins = self.engine.pin_in(&sql, &query.scope, &[]).await?;
        let commit = |mode: WriteMode| {
            let mut commit = self.on_branch(CommitOptions::new(mode));
            commit.base = query.existing.as_ref().map(|(_, pin)| pin.snapshot);
            self.described(commit, node, &query.sql, &pins)
        };
        let catalog = self.engine.catalog();
        if !query.is_incremental {
            let rows = self.engine.sql_in(&sql, &query.scope).await?;
            let done = catalog.commit(name, rows, commit(WriteMode::Overwrite)).await?;
            return Ok(Written::of("rows", done));
        }
        match node.config.strategy()? {
            Strategy::Append => {
                let rows = self.engine.sql_in(&sql, &query.scope).await?;
                let done = catalog.commit(name, rows, commit(WriteMode::Append)).await?;
                Ok(Written::of("append", done))
            }
            Strategy::InsertOverwrite => {
                let rows = self.engine.sql_in(&sql, &query.scope).await?;
                let done =
                    catalog.commit(name, rows, commit(WriteMode::OverwritePartitions)).await?;
                Ok(Written::of("insert_overwrite", done))
            }
            Strategy::Merge => {
                let rows = self.engine.sql_in(&sql, &query.scope).await?;
                let options = merge(node, rows.schema(), commit(WriteMode::Append))?;
                let done = catalog.upsert(name, rows, &node.config.unique_key, options).await?;
                let rows = if done.changed { done.inserted + done.updated } else { 0 };
                Ok(Written {
                    pin: done.pinned,
                    rows,
                    changed: done.changed,
                    message: format!("merge {rows}"),
                })
            }
            Strategy::DeleteInsert => {
                let stored = query.existing.as_ref().map(|(table, _)| table.schema.clone());
                let keys = KeySet::read(
                    self.engine,
                    &sql,
                    &query.scope,
                    (&node.config.unique_key, stored),
                )
                .await?;
                let rows = self.engine.sql_in(&sql, &query.scope).await?;
                let options = RowOptions::default().with_commit(commit(WriteMode::Append));
                let done = catalog.overwrite_where(name, keys.into_filter(), rows, options).await?;
                let rows = if done.changed { done.inserted + done.updated } else { 0 };
                Ok(Written {
                    pin: done.pinned,
                    rows,
                    changed: done.changed,
                    message: format!("delete+insert {rows}"),
                })
            }
        }
    }
}

/// How rows of these columns meet those that are there.
fn merge(node: &Node, given: &SchemaRef, commit: CommitOptions) -> Result<UpsertOptions> {
    let options = UpsertOptions::default().with_commit(commit);
    let Some(updated) = &node.config.updated else { return Ok(options) };
    let given: Vec<String> = given.fields().iter().map(|field| field.name().clone()).collect();
    Ok(options.with_update_columns(updated.of(&given)?))
}
