//! From the prediction table to the serving cache.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use icecore_core::{
    Date, Error, ErrorKind, OnlineEntry, OnlineStore, PinnedTable, Result, SnapshotCatalog,
    SnapshotSelector,
};
use icecore_engine::Engine;
use serde::{Deserialize, Serialize};

use crate::plan::newest_date;
use crate::sql::{ident, table_sql};
use crate::template::{self, Part};
use crate::{MaterializeSpec, ScoringSpec};

/// What a materialization did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaterializeReport {
    /// The score date that the cache now holds.
    pub date: Date,
    /// The state of the prediction table that it comes from.
    pub source: PinnedTable,
    /// Values that are new or changed.
    pub written: u64,
    /// Keys that left the selection and were removed (D19).
    pub removed: u64,
    /// Values that are as they were; their time to live starts anew.
    pub unchanged: u64,
}

/// What a store was last filled with. It is kept in the store itself, so that a store that was
/// emptied, or another one, is known for what it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Marker {
    #[serde(flatten)]
    filled: Option<Selection>,
    /// What runs began to fill it with since then and did not end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<Selection>,
}

/// The scores of a date that are selected, in a state of their table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Selection {
    source: PinnedTable,
    date: Date,
    filter: Option<String>,
}

/// How to materialize.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct MaterializeOptions {
    /// Materializes the newest date at or before this one.
    pub date: Option<Date>,
    /// Counts every value as written, whatever was there.
    pub full: bool,
    /// Reports what would be done and does nothing.
    pub dry_run: bool,
}

impl MaterializeOptions {
    /// Materializes the newest date at or before this one.
    #[must_use]
    pub const fn with_date(mut self, date: Option<Date>) -> Self {
        self.date = date;
        self
    }

    /// Counts every value as written, whatever was there.
    #[must_use]
    pub const fn with_full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// Reports what would be done and does nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// Copies the selected scores of the newest date to the cache and removes those that left the
/// selection since the last time (C85, C163, D19). Safe to repeat, and to repeat after a crash: what
/// a run is about to write is noted before, so that the next one knows what it may have left.
///
/// # Errors
///
/// `NotFound` if there is no score, `Unavailable` if the store does not answer.
pub async fn materialize(
    engine: &Engine,
    store: &dyn OnlineStore,
    scoring: &ScoringSpec,
    options: MaterializeOptions,
) -> Result<MaterializeReport> {
    let spec = scoring.materialize.as_ref().ok_or_else(|| {
        Error::invalid(format!("scoring job `{}` does not say what to materialize", scoring.name))
            .with_help("add a `[materialize]` table to its file")
    })?;
    let score_first = |error: Error| match error.kind() {
        ErrorKind::NotFound => {
            error.with_help(format!("score first: `icecore score {}`", scoring.name))
        }
        _ => error,
    };
    let source = engine.catalog().pin(&scoring.table, &SnapshotSelector::Latest).await;
    let source = source.map_err(score_first)?;
    let date = newest_date(engine, &source, &scoring.date_column, options.date).await?;
    let none = || Error::not_found(format!("`{}` has no score to materialize", scoring.table));
    let date = date.ok_or_else(none).map_err(score_first)?;
    let selection = Selection { source: source.clone(), date, filter: spec.filter.clone() };
    let known = marker(store, scoring).await?;
    let mut before = before(engine, scoring, spec, &known).await?;
    if !options.dry_run && !known.begun.contains(&selection) {
        let mut begun = known.clone();
        begun.begun.push(selection.clone());
        store.put(vec![marker_entry(scoring, &begun)?]).await?;
    }

    let mut report = MaterializeReport { date, source, written: 0, removed: 0, unchanged: 0 };
    let mut scores = selected(engine, scoring, spec, &selection).await?;
    while let Some(batch) = scores.try_next().await? {
        let entries = entries(spec, &batch)?;
        for entry in &entries {
            let is_same = before.remove(&entry.key).as_ref() == Some(&entry.value);
            if is_same && !options.full {
                report.unchanged += 1;
            } else {
                report.written += 1;
            }
        }
        if !options.dry_run {
            store.put(entries).await?;
        }
    }
    let stale: Vec<String> = before.into_keys().collect();
    report.removed = stale.len() as u64;
    if !options.dry_run {
        for chunk in stale.chunks(1000) {
            store.delete(chunk).await?;
        }
        let begun = begun_since(store, scoring, (&known, &selection)).await?;
        let done = Marker { filled: Some(selection), begun };
        store.put(vec![marker_entry(scoring, &done)?]).await?;
    }
    Ok(report)
}

fn marker_key(scoring: &ScoringSpec) -> String {
    format!("icecore:materialized:{}", scoring.name)
}

fn marker_entry(scoring: &ScoringSpec, marker: &Marker) -> Result<OnlineEntry> {
    let value = serde_json::to_vec(marker)
        .map_err(|error| Error::internal("cannot write the marker").with_source(error))?;
    Ok(OnlineEntry { key: marker_key(scoring), value: Bytes::from(value), ttl: None })
}

/// What the store says of itself; nothing where it says nothing that can be read.
async fn marker(store: &dyn OnlineStore, scoring: &ScoringSpec) -> Result<Marker> {
    let stored = store.get(&[marker_key(scoring)]).await?.into_iter().next().flatten();
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// What other runs have begun to fill the store with since this one looked: it may die on its way,
/// and then the next run has to know.
async fn begun_since(
    store: &dyn OnlineStore,
    scoring: &ScoringSpec,
    (known, own): (&Marker, &Selection),
) -> Result<Vec<Selection>> {
    let mut begun = marker(store, scoring).await?.begun;
    begun.retain(|other| other != own && !known.begun.contains(other));
    Ok(begun)
}

/// What the store may have from before, by key, without what cannot be read any more: those values
/// go by their time to live.
async fn before(
    engine: &Engine,
    scoring: &ScoringSpec,
    spec: &MaterializeSpec,
    marker: &Marker,
) -> Result<HashMap<String, Bytes>> {
    let mut values = HashMap::new();
    for selection in marker.filled.iter().chain(&marker.begun) {
        let mut rows = match selected(engine, scoring, spec, selection).await {
            Ok(rows) => rows,
            Err(error) => {
                unreadable(selection, &error);
                continue;
            }
        };
        // A file may be gone or damaged, too, and that shows only here.
        loop {
            match rows.try_next().await {
                Ok(Some(batch)) => {
                    let entries = entries(spec, &batch)?.into_iter();
                    values.extend(entries.map(|entry| (entry.key, entry.value)));
                }
                Ok(None) => break,
                Err(error) => {
                    unreadable(selection, &error);
                    break;
                }
            }
        }
    }
    Ok(values)
}

fn unreadable(selection: &Selection, error: &Error) {
    let source = &selection.source;
    tracing::warn!(%error, %source, "cannot read what was materialized before");
}

async fn selected(
    engine: &Engine,
    scoring: &ScoringSpec,
    spec: &MaterializeSpec,
    selection: &Selection,
) -> Result<icecore_core::BatchStream> {
    let mut columns: Vec<String> = template::columns(&spec.key)?;
    columns.push(spec.value.clone());
    let columns: Vec<String> = columns.iter().map(|column| ident(column)).collect();
    let filter =
        selection.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"));
    let query = format!(
        "SELECT {} FROM {} WHERE {} = DATE '{}'{filter}",
        columns.join(", "),
        table_sql(&selection.source),
        ident(&scoring.date_column),
        selection.date
    );
    engine.sql(&query, std::slice::from_ref(&selection.source)).await
}

/// The last column is the value, those before it are the key's, in order.
fn entries(spec: &MaterializeSpec, batch: &RecordBatch) -> Result<Vec<OnlineEntry>> {
    let format = FormatOptions::default();
    let Some((value, keys)) = batch.columns().split_last() else {
        return Ok(Vec::new());
    };
    let keys = keys
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &format))
        .collect::<Result<Vec<_>, _>>()?;
    let parts = template::parts(&spec.key)?;
    let ttl = spec.ttl.map(|ttl| Duration::from_micros(ttl.micros().unsigned_abs()));
    let values = values(value, spec.round)?;
    let mut entries = Vec::with_capacity(batch.num_rows());
    for (row, value) in values.into_iter().enumerate() {
        let Some(value) = value else { continue };
        let mut key = String::with_capacity(spec.key.len() + 16);
        let mut columns = keys.iter();
        for part in &parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Column(_) => {
                    if let Some(column) = columns.next() {
                        key.push_str(&column.value(row).to_string());
                    }
                }
            }
        }
        entries.push(OnlineEntry { key, value: Bytes::from(value), ttl });
    }
    Ok(entries)
}

/// Values as text: numbers rounded half away from zero and written as short as they parse back.
fn values(column: &dyn Array, round: Option<u32>) -> Result<Vec<Option<String>>> {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Float64Type};
    if let Some(round) = round.filter(|_| column.data_type().is_numeric()) {
        let scale = 10_f64.powi(i32::try_from(round).unwrap_or(15).min(15));
        let numbers = arrow::compute::cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let text = |number: f64| ((number * scale).round() / scale).to_string();
        return Ok(numbers.iter().map(|number| number.map(text)).collect());
    }
    let format = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &format)?;
    Ok((0..column.len())
        .map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    // C85 C162
    #[test]
    fn a_value_is_rounded_to_four_decimals_and_parses_back() {
        let spec = MaterializeSpec {
            filter: None,
            key: "churn:{user_token}".into(),
            value: "churn_probability".into(),
            round: Some(4),
            ttl: Some(icecore_core::Span::parse("24h").unwrap()),
        };
        let users: ArrayRef = Arc::new(StringArray::from(vec!["u1", "ü", "u3"]));
        let scores: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.912_349), Some(0.9), None]));
        let batch = RecordBatch::try_from_iter([("user_token", users), ("p", scores)]).unwrap();
        let entries = entries(&spec, &batch).unwrap();
        let text: Vec<_> = entries
            .iter()
            .map(|e| (e.key.as_str(), std::str::from_utf8(&e.value).unwrap()))
            .collect();
        assert_eq!(text, [("churn:u1", "0.9123"), ("churn:ü", "0.9")]);
        assert_eq!(entries[0].ttl, Some(Duration::from_secs(86_400)));
    }
}
