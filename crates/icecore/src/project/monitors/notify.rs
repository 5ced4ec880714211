//! Telling others what a check found.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use icecore_core::{
    BatchStream, CommitOptions, Error, NewTable, Result, SnapshotCatalog, TableName,
};
use icecore_monitor::{Comparison, Measure, MonitorSpec, post, prometheus};

use super::document;
use crate::Project;
use crate::config::expanded;

/// Tells everybody whom a definition names. Who cannot be reached does not keep the others from it.
pub(super) async fn notify(
    project: &Project,
    spec: &MonitorSpec,
    found: &Comparison,
) -> Result<()> {
    let mut failed = Vec::new();
    if let Some(path) = &spec.alert.metrics {
        let path = project.dir().join(path);
        failed.extend(write(&path, &prometheus(found)).err());
    }
    if let Some(table) = &spec.alert.table {
        failed.extend(append(project, table, spec, found).await.err());
    }
    if let Some(webhook) = spec.alert.webhook.as_ref().filter(|_| !found.alerts.is_empty()) {
        let sent = async {
            let url = expanded(webhook, project.environment())?;
            post(&url, &message(found)?).await
        };
        failed.extend(sent.await.err());
    }
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        _ => Err(Error::unavailable(format!("monitor `{}` cannot tell everybody", spec.name))
            .with_related(failed)),
    }
}

/// What a webhook gets: the alerts, and a line of text that chat systems show.
fn message(found: &Comparison) -> Result<serde_json::Value> {
    let alerts = document(found)?["alerts"].clone();
    let lines = found.alerts.iter().map(|alert| {
        let (name, threshold) = (alert.measure.name(), alert.threshold);
        format!("{}: {name} is {:.4}, at most {threshold}", alert.feature, alert.value)
    });
    let text = format!("icecore monitor {}: {}", found.name, lines.collect::<Vec<_>>().join("; "));
    Ok(serde_json::json!({
        "monitor": found.name,
        "reference": found.reference,
        "current": found.current,
        "made_at": found.made_at,
        "text": text,
        "alerts": alerts,
    }))
}

/// A collector that reads while this writes sees the old file or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|error| {
        // What is left of it is litter.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

/// A row for each measure of each feature, so that drift over time is a query.
async fn append(
    project: &Project,
    table: &TableName,
    spec: &MonitorSpec,
    found: &Comparison,
) -> Result<()> {
    let mut rows: Vec<(&str, Measure, f64, f64)> = Vec::new();
    for feature in &found.drift.features {
        for measure in Measure::ALL {
            if let Some(measured) = measure.of(feature) {
                rows.push((&feature.feature, measure, measured.value, measured.error));
            }
        }
    }
    let count = rows.len();
    let same = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, count)))
    };
    let threshold = |row: &(&str, Measure, f64, f64)| spec.thresholds_of(row.0).of(row.1);
    let is_alert = |row: &(&str, Measure, f64, f64)| {
        found.alerts.iter().any(|alert| alert.feature == row.0 && alert.measure == row.1)
    };
    let moments = TimestampMicrosecondArray::from_value(found.made_at.micros(), count);
    let number = |value: fn(&(&str, Measure, f64, f64)) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("checked_at", Arc::new(moments.with_timezone("+00:00")) as ArrayRef, false),
        ("monitor", same(&found.name), false),
        ("reference", same(&found.reference), false),
        ("current", same(&found.current), false),
        ("feature", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))), false),
        (
            "measure",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1.name()))),
            false,
        ),
        ("value", number(|row| row.2), false),
        ("error", number(|row| row.3), false),
        ("threshold", Arc::new(Float64Array::from_iter(rows.iter().map(threshold))), true),
        (
            "alert",
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(is_alert(row))))),
            false,
        ),
    ])?;
    let catalog = project.catalog();
    catalog.ensure_table(table, &NewTable::new(batch.schema())).await?;
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    catalog.commit(table, rows, CommitOptions::default()).await?;
    Ok(())
}
