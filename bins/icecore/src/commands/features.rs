//! `icecore features`.

use icecore::views::{
    ComputeOptions, ComputeReport, ExplainOptions, Explanation, Progress, ProgressCallback,
    parse_entity,
};
use icecore_core::{FeatureView, Result, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::args::FeaturesCommand;
use crate::report::{Answer, facts, table};

pub(super) async fn run(context: &Context, command: FeaturesCommand) -> Result<Answer> {
    let project = context.open().await?;
    let definitions = project.definitions()?;
    match command {
        FeaturesCommand::List => Ok(list(&definitions.views)),
        FeaturesCommand::Show { view } => {
            let view = definitions.view(&view)?;
            let hash = definitions.definition_hash(view);
            Ok(show(view, &definitions.join_keys(view)?, &hash))
        }
        FeaturesCommand::Compute { view, from, to, force, dry_run } => {
            let progress = context.progress.clone();
            progress.say(format!("computing {view}"));
            let name = view.clone();
            let options = ComputeOptions {
                from,
                to,
                full: force,
                dry_run,
                progress: Some(ProgressCallback::new(move |done: Progress| {
                    progress.say(format!(
                        "computing {name}: {} events read, {} rows",
                        done.rows_in, done.rows_out
                    ));
                })),
                ..ComputeOptions::default()
            };
            let report = project.compute_features(&view, options).await?;
            Ok(Answer::new(document(&report), text(&report, dry_run)))
        }
        FeaturesCommand::Explain { view, entity, at } => {
            let found = definitions.view(&view)?;
            let entity = parse_entity(&definitions, found, &entity.join(","))?;
            explained(&project.explain_features(&view, ExplainOptions::new(entity, at)).await?)
        }
    }
}

fn list(views: &[FeatureView]) -> Answer {
    let source = |view: &FeatureView| {
        view.source.as_ref().map_or_else(|| "(query)".to_owned(), ToString::to_string)
    };
    let target =
        |view: &FeatureView| view.table.as_ref().map(ToString::to_string).unwrap_or_default();
    let json = views.iter().map(|view| {
        json!({
            "view": view.name, "entities": view.entities, "source": source(view),
            "table": view.table, "features": view.feature_names(),
            "description": view.description, "owner": view.owner, "tags": view.tags,
        })
    });
    let rows = views.iter().map(|view| {
        [
            view.name.clone(),
            view.entities.join(", "),
            source(view),
            target(view),
            view.feature_names().len().to_string(),
            view.owner.clone().unwrap_or_default(),
        ]
    });
    let header = ["view", "entities", "source", "table", "features", "owner"];
    Answer::new(json.collect(), table(&header, rows))
}

fn show(view: &FeatureView, keys: &[String], hash: &str) -> Answer {
    let mut lines = vec![
        ("view", view.name.clone()),
        ("description", view.description.clone().unwrap_or_default()),
        ("keys", keys.join(", ")),
        ("hash", hash.to_owned()),
    ];
    lines.extend(view.source.as_ref().map(|source| ("source", source.to_string())));
    lines.extend(view.table.as_ref().map(|table| ("table", table.to_string())));
    lines.extend(view.ttl.map(|ttl| ("ttl", ttl.to_string())));
    for aggregate in &view.aggregates {
        let filter = aggregate.filter.as_ref().map(|f| format!(" where {f}")).unwrap_or_default();
        for window in &aggregate.windows {
            lines.push((
                "feature",
                format!(
                    "{} = {}({}) over {window}{filter}",
                    aggregate.column_name(*window),
                    json!(aggregate.function).as_str().unwrap_or_default(),
                    aggregate.column.as_deref().unwrap_or("*")
                ),
            ));
        }
    }
    lines.extend(view.columns.iter().map(|column| ("feature", column.clone())));
    let derived =
        view.derived.iter().map(|d| ("feature", format!("{} = {}", d.name, d.expression)));
    lines.extend(derived);
    let json = json!({ "definition": view, "join_keys": keys, "definition_hash": hash });
    Answer::new(json, facts(&lines))
}

/// The answer's document.
pub(crate) fn document(report: &ComputeReport) -> Value {
    json!({
        "view": report.view,
        "table": report.table,
        "snapshot_id": report.snapshot_id,
        "rows": report.rows,
        "changed": report.changed,
        "input_rows": report.input_rows,
        "excluded_rows": report.excluded_rows,
        "definition_hash": report.definition_hash,
        "sources": report.sources,
        "from": report.range.from,
        "to": report.range.to,
        "added_columns": report.added_columns,
        "notes": report.notes,
    })
}

/// The answer in a line.
pub(crate) fn summary(report: &ComputeReport) -> String {
    let state =
        report.snapshot_id.map(|id| format!(" -> {}@{id}", report.table)).unwrap_or_default();
    if report.changed {
        format!("{} rows from {} events{state}", report.rows, report.input_rows)
    } else {
        format!("{} rows are in already{state}", report.rows)
    }
}

fn text(report: &ComputeReport, dry_run: bool) -> String {
    let time = |moment: Option<Timestamp>, open: &str| {
        moment.map_or_else(|| open.to_owned(), |moment| moment.to_string())
    };
    let sources: Vec<String> = report.sources.iter().map(ToString::to_string).collect();
    let done = if dry_run {
        format!("would read up to {} events and write {}", report.input_rows, report.table)
    } else {
        summary(report)
    };
    let range =
        format!("{} .. {}", time(report.range.from, "first"), time(report.range.to, "last"));
    let mut lines = vec![
        ("view", report.view.clone()),
        (if dry_run { "dry run" } else { "rows" }, done),
        ("range", range),
        ("from", sources.join(", ")),
        ("definition", report.definition_hash.clone()),
    ];
    if report.excluded_rows > 0 {
        lines.push(("left out", format!("{} events without key or time", report.excluded_rows)));
    }
    if let Some((first, last)) = report.days {
        lines.push(("days", format!("{first} .. {last}")));
    }
    lines.extend(report.notes.iter().map(|note| ("note", note.clone())));
    facts(&lines)
}

fn explained(found: &Explanation) -> Result<Answer> {
    let windows: Vec<Value> = found
        .windows
        .iter()
        .map(|window| {
            json!({
                "column": window.column, "function": window.function, "input": window.input,
                "where": window.filter, "window": window.window, "closed": window.closed,
                "from": window.range.from, "before": window.range.to, "counts": window.counts,
            })
        })
        .collect();
    let json = json!({
        "view": found.view, "at": found.at, "sources": found.sources, "windows": windows,
        "events": icecore::rows::to_json(&found.events)?,
    });
    let schema = found.events.schema();
    let mut header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    header.extend(found.windows.iter().map(|window| window.column.as_str()));
    let mut rows = Vec::with_capacity(found.events.num_rows());
    for row in 0..found.events.num_rows() {
        let cells: Result<Vec<String>> =
            found.events.columns().iter().map(|column| icecore::rows::cell(column, row)).collect();
        let mut cells = cells?;
        for window in &found.windows {
            let inside = window.counts.get(row).copied().unwrap_or_default();
            cells.push((if inside { "in" } else { "-" }).to_owned());
        }
        rows.push(cells);
    }
    Ok(Answer::new(json, table(&header, rows)))
}
