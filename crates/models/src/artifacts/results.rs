//! `run_results.json`, schema v6.

use serde_json::{Value, json};

use super::metadata;
use crate::project::ModelProject;
use crate::run::{NodeResult, RunReport};
use crate::template::quoted;

/// What a run did, as dbt's tools read it.
#[must_use]
pub fn run_results(project: &ModelProject, report: &RunReport) -> Value {
    let elapsed = (report.completed_at.micros() - report.began_at.micros()) as f64 / 1e6;
    json!({
        "metadata": metadata(project, "run-results/v6", report.completed_at),
        "results": report.results.iter().map(result).collect::<Vec<_>>(),
        "elapsed_time": elapsed,
        "args": { "which": "build" },
    })
}

fn result(result: &NodeResult) -> Value {
    let message = match (&result.error, result.message.is_empty()) {
        (_, true) => Value::Null,
        (Some(error), _) => {
            let notes = error.notes().iter().map(String::as_str);
            json!([result.message.as_str()].into_iter().chain(notes).collect::<Vec<_>>().join("\n"))
        }
        (None, _) => json!(result.message),
    };
    let mut adapter = json!({});
    if let Some(object) = adapter.as_object_mut() {
        if !result.message.is_empty() && result.error.is_none() {
            object.insert("_message".to_owned(), json!(result.message));
        }
        if let Some(rows) = result.rows {
            object.insert("rows_affected".to_owned(), json!(rows));
        }
        if let Some(snapshot) = result.snapshot {
            object.insert("snapshot_id".to_owned(), json!(snapshot.to_string()));
        }
    }
    let (from, to) = (result.started_at.to_string(), result.completed_at.to_string());
    json!({
        "status": result.status.name(),
        "timing": [
            { "name": "compile", "started_at": from, "completed_at": from },
            { "name": "execute", "started_at": from, "completed_at": to },
        ],
        "thread_id": "Thread-1 (worker)",
        "execution_time": result.seconds(),
        "adapter_response": adapter,
        "message": message,
        "failures": result.failures,
        "unique_id": result.unique_id,
        "compiled": result.compiled.is_some().then_some(true),
        "compiled_code": result.compiled,
        "relation_name": result.table.as_ref().map(quoted),
        "batch_results": null,
    })
}
