//! The table of labels.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use icecore_core::{
    Error, ErrorKind, NewTable, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use icecore_engine::Engine;

use super::LABEL_JOB;
use crate::ScoringSpec;

/// The columns of the labelled table: what the query gives, none of it required but its keys.
pub(super) fn stored_schema(
    rows: &SchemaRef,
    table: &TableName,
    keys: &[String],
    spec: &ScoringSpec,
) -> Result<SchemaRef> {
    let mut seen = std::collections::BTreeSet::new();
    let mut fields = Vec::with_capacity(rows.fields().len());
    for field in rows.fields() {
        if !seen.insert(field.name()) {
            return Err(Error::invalid(format!(
                "two columns of `{table}` would be named `{}`",
                field.name()
            ))
            .with_help("give the label another `name` in `[feedback]`"));
        }
        let is_required = keys.contains(field.name()) || *field.name() == spec.date_column;
        fields.push(field.as_ref().clone().with_nullable(!is_required));
    }
    Ok(Arc::new(Schema::new(fields)))
}

pub(super) async fn ensure_table(
    engine: &Engine,
    table: &TableName,
    schema: &SchemaRef,
    (keys, spec): (&[String], &ScoringSpec),
) -> Result<()> {
    match engine.catalog().describe(table).await {
        Ok(_) => {
            engine.catalog().evolve(table, schema).await?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let new = NewTable::new(Arc::clone(schema))
                .with_partition_by([spec.date_column.clone()])
                .with_sort_by(keys.iter().cloned());
            engine.catalog().ensure_table(table, &new).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The state of the table, if equal labels are the last thing that was written to it.
pub(super) async fn labelled_before(
    engine: &Engine,
    table: &TableName,
    job: &str,
) -> Result<Option<PinnedTable>> {
    let history = match engine.catalog().history(table).await {
        Ok(history) => history,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let newest = history.iter().rev().find(|info| info.on_main && info.operation != "replace");
    match newest {
        Some(info) if info.summary.get(LABEL_JOB).is_some_and(|known| known == job) => {
            engine.catalog().pin(table, &SnapshotSelector::Latest).await.map(Some)
        }
        _ => Ok(None),
    }
}
