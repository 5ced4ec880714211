//! `icecore run`, `icecore test`, `icecore docs`.

use icecore::models::{ModelDocs, NodeResult, ProgressCallback, RunReport, Selection, Status};
use icecore::{ModelJob, parse_vars};
use icecore_core::Result;
use serde_json::{Value, json};

use super::Context;
use crate::args::run::{DocsArgs, RunArgs, SelectArgs, TestArgs};
use crate::report::{Answer, error_json, error_text, table, table_or};

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Answer> {
    let mut job = job(context, &args.which)?;
    job.full_refresh = args.full_refresh;
    let project = context.open().await?;
    if args.dry_run {
        let docs = project.document_models(&job).await?;
        return Ok(documented(&docs, true));
    }
    let (_, report) = project.run_models(&job).await?;
    reported(&report, false)
}

pub(super) async fn test(context: &Context, args: TestArgs) -> Result<Answer> {
    let mut job = job(context, &args.which)?;
    job.only_tests = true;
    let project = context.open().await?;
    let (_, report) = project.run_models(&job).await?;
    reported(&report, true)
}

pub(super) async fn docs(context: &Context, args: DocsArgs) -> Result<Answer> {
    let job = job(context, &args.which)?;
    let project = context.open().await?;
    let docs = project.document_models(&job).await?;
    Ok(documented(&docs, args.sql))
}

fn job(context: &Context, args: &SelectArgs) -> Result<ModelJob> {
    let mut select = args.models.clone();
    select.extend(args.select.iter().cloned());
    let mut job = ModelJob::new(Selection::new(select, args.exclude.clone()));
    job.vars = parse_vars(&args.vars)?;
    job.started_at = args.run_started_at;
    let progress = context.progress.clone();
    job.progress = Some(ProgressCallback::new(move |line| progress.say(line.to_owned())));
    Ok(job)
}

fn reported(report: &RunReport, only_tests: bool) -> Result<Answer> {
    let (built, tested): (Vec<&NodeResult>, Vec<&NodeResult>) =
        report.results.iter().partition(|result| matches!(result.kind, "model" | "seed"));
    let all = |results: Vec<&NodeResult>| -> Result<Vec<Value>> {
        results.into_iter().map(|result| document(report, result)).collect()
    };
    let (built, tested) = (all(built)?, all(tested)?);
    let document = if only_tests {
        json!({ "run_id": report.run_id, "tests": tested })
    } else {
        match built.as_slice() {
            // One model answers as one table does.
            [one] => with(one.clone(), "tests", Value::from(tested)),
            _ => built.into_iter().chain(tested).collect(),
        }
    };
    let answer = Answer::new(document, text(report)?);
    Ok(if report.is_good() { answer } else { answer.with_status(status(report)) })
}

/// The exit status of the first error; 1 for failed tests.
fn status(report: &RunReport) -> u8 {
    let errors = report.results.iter().filter_map(|result| result.error.as_ref());
    errors.map(|error| crate::report::exit_status(error.kind())).next().unwrap_or(1)
}

fn with(mut value: Value, key: &str, more: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), more);
    }
    value
}

fn document(report: &RunReport, result: &NodeResult) -> Result<Value> {
    let failing = result.sample.as_ref().map(icecore::rows::to_json).transpose()?;
    Ok(json!({
        "unique_id": result.unique_id, "name": result.name, "kind": result.kind,
        "status": result.status.name(), "materialized": result.materialized,
        "table": result.table, "snapshot_id": result.snapshot.map(|id| id.to_string()),
        "rows": result.rows, "message": result.message, "failures": result.failures,
        "failing_rows": failing, "warnings": result.warnings,
        "incremental": result.is_incremental, "seconds": result.seconds(),
        "run_id": report.run_id, "error": result.error.as_ref().map(error_json),
    }))
}

fn text(report: &RunReport) -> Result<String> {
    let rows = report.results.iter().map(|result| {
        [
            result.status.name().to_uppercase(),
            result.kind.to_owned(),
            result.table.as_ref().map_or_else(|| result.name.clone(), ToString::to_string),
            if result.error.is_some() { String::new() } else { result.message.clone() },
            format!("{:.2}s", result.seconds()),
        ]
    });
    let empty = "nothing is selected: models/ has no model, or `--select` fits none";
    let mut text = table_or(&["status", "kind", "name", "did", "took"], rows, empty);
    for result in &report.results {
        for warning in &result.warnings {
            text.push_str(&format!("\n\nwarning: {}: {warning}", result.name));
        }
        if let Some(error) = &result.error {
            text.push_str(&format!("\n\n{}: {}", result.name, error_text(error)));
        }
        if let Some(sample) = result.sample.as_ref().filter(|_| result.status != Status::Pass) {
            text.push_str(&format!("\n\n{}: {}\n{}", result.name, result.message, shown(sample)?));
        }
    }
    text.push_str(&format!(
        "\n\nDone. PASS={} WARN={} ERROR={} SKIP={} TOTAL={}",
        report.count(Status::Success) + report.count(Status::Pass),
        report.count(Status::Warn),
        report.count(Status::Error) + report.count(Status::Fail),
        report.count(Status::Skipped),
        report.results.len(),
    ));
    Ok(text)
}

/// The first rows that a test found.
fn shown(rows: &arrow::array::RecordBatch) -> Result<String> {
    let schema = rows.schema();
    let header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let cells = (0..rows.num_rows())
        .map(|row| rows.columns().iter().map(|column| icecore::rows::cell(column, row)).collect())
        .collect::<Result<Vec<Vec<String>>>>()?;
    Ok(table(&header, cells))
}

fn documented(docs: &[ModelDocs], with_sql: bool) -> Answer {
    let json: Vec<Value> = docs
        .iter()
        .map(|model| {
            json!({
                "unique_id": model.unique_id, "name": model.name, "table": model.table,
                "materialized": model.materialized, "description": model.description,
                "column_descriptions": model.columns, "depends_on": model.depends_on,
                "hash": model.hash, "sql": model.sql, "lineage": model.lineage,
            })
        })
        .collect();
    let mut text = String::new();
    if docs.is_empty() {
        text.push_str("nothing is selected: models/ has no model, or `--select` fits none");
    }
    for model in docs {
        let name = model.table.as_ref().map_or_else(|| model.name.clone(), ToString::to_string);
        text.push_str(&format!("{name} ({})\n", model.materialized));
        if !model.description.is_empty() {
            text.push_str(&format!("{}\n", model.description));
        }
        if !model.depends_on.is_empty() {
            text.push_str(&format!("needs {}\n", model.depends_on.join(", ")));
        }
        match &model.lineage {
            Some(lineage) => {
                let rows = lineage.columns.iter().map(|column| {
                    let inputs: Vec<String> = column
                        .inputs
                        .iter()
                        .map(|input| format!("{}.{}", input.table, input.column))
                        .collect();
                    let said = model.columns.get(&column.name).cloned().unwrap_or_default();
                    [column.name.clone(), column.data_type.clone(), inputs.join(", "), said]
                });
                text.push_str(&table(&["column", "type", "from", "description"], rows));
                text.push('\n');
            }
            None => text.push_str("its columns are known once what it reads is there\n"),
        }
        if with_sql {
            text.push_str(&format!("\n{}\n", model.sql));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    Answer::new(Value::from(json), text)
}
