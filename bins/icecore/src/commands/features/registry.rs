//! `icecore features search | history | diff | apply | lineage`.

use std::path::Path;

use icecore::features::{
    Definitions, Difference, SearchQuery, SourceUse, ViewChange, ViewChangeKind, search,
};
use icecore::{Project, ViewUse};
use icecore_core::{Error, Result};
use serde_json::{Value, json};

use crate::args::features::SearchArgs;
use crate::report::{Answer, facts, table};

pub(super) fn found(definitions: &Definitions, args: SearchArgs) -> Answer {
    let query =
        SearchQuery { text: args.text, tag: args.tag, owner: args.owner, column: args.column };
    let found = search(definitions, &query);
    let json = found.iter().map(|found| {
        json!({
            "view": found.view.name, "features": found.features, "owner": found.view.owner,
            "tags": found.view.tags, "description": found.view.description,
        })
    });
    let rows = found.iter().map(|found| {
        let owner = found.view.owner.clone().unwrap_or_default();
        [found.view.name.clone(), owner, found.features.join(", ")]
    });
    Answer::new(json.collect(), table(&["view", "owner", "features"], rows))
}

pub(super) async fn history(project: &Project, view: Option<&str>) -> Result<Answer> {
    let versions = project.feature_history(view).await?;
    let json = versions.iter().map(|row| {
        json!({
            "view": row.view, "version": row.version, "removed": row.removed,
            "definition_hash": row.definition_hash, "owner": row.owner,
            "applied_at": row.applied_at, "definition": row.definition,
        })
    });
    let rows = versions.iter().map(|row| {
        let hash: String = row.definition_hash.chars().take(12).collect();
        [
            row.view.clone(),
            row.version.to_string(),
            if row.removed { "removed".to_owned() } else { hash },
            row.applied_at.to_string(),
            row.owner.clone().unwrap_or_default(),
        ]
    });
    let header = ["view", "version", "definition", "applied at", "owner"];
    Ok(Answer::new(json.collect(), table(&header, rows)))
}

pub(super) async fn diff(
    project: &Project,
    view: &str,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Answer> {
    let differences = project.feature_differences(view, from, to).await?;
    let json = differences.iter().map(difference_json).collect();
    if differences.is_empty() {
        return Ok(Answer::new(json, "nothing differs"));
    }
    Ok(Answer::new(json, differences_table(&differences)))
}

fn difference_json(difference: &Difference) -> Value {
    json!({ "path": difference.path, "before": difference.before, "after": difference.after })
}

fn differences_table(differences: &[Difference]) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows = differences.iter().map(|difference| {
        [difference.path.clone(), shown(&difference.before), shown(&difference.after)]
    });
    table(&["where", "before", "after"], rows)
}

pub(super) async fn apply(project: &Project, yes: bool, dry_run: bool) -> Result<Answer> {
    let planned = project.plan_features().await?;
    let touched: Vec<&(ViewChange, ViewUse)> =
        planned.iter().filter(|(_, used)| used.is_used()).collect();
    if !dry_run && !yes && !touched.is_empty() {
        let names: Vec<String> =
            touched.iter().map(|(change, _)| format!("`{}`", change.view)).collect();
        let mut error = Error::invalid(format!("what changes is in use: {}", names.join(", ")));
        for (change, used) in touched {
            error = error.with_note(format!("`{}`: {}", change.view, use_text(used)));
        }
        return Err(error.with_help("look at it with `--dry-run`, or repeat with `--yes`"));
    }
    if !dry_run {
        project.apply_features().await?;
    }
    let json: Vec<Value> = planned
        .iter()
        .map(|(change, used)| {
            json!({
                "view": change.view, "change": kind(change.kind), "version": change.version,
                "differences": change.differences.iter().map(difference_json).collect::<Vec<_>>(),
                "touches": use_json(used),
            })
        })
        .collect();
    let rows = planned.iter().map(|(change, used)| {
        let uses = if used.is_used() { use_text(used) } else { String::new() };
        let kind = kind(change.kind).to_owned();
        [change.view.clone(), kind, change.version.to_string(), uses]
    });
    let mut text = table(&["view", "change", "version", "touches"], rows);
    for (change, _) in planned.iter().filter(|(change, _)| !change.differences.is_empty()) {
        let table = differences_table(&change.differences);
        text.push_str(&format!("\n\n{}\n{table}", change.view));
    }
    Ok(Answer::new(Value::Array(json), text))
}

const fn kind(kind: ViewChangeKind) -> &'static str {
    match kind {
        ViewChangeKind::Added => "added",
        ViewChangeKind::Changed => "changed",
        ViewChangeKind::Described => "described",
        ViewChangeKind::Removed => "removed",
        _ => "unchanged",
    }
}

fn use_text(used: &ViewUse) -> String {
    let mut parts = Vec::new();
    if let Some(table) = used.table.as_ref().filter(|_| used.rows > 0) {
        parts.push(format!("{table}: {} rows, {} bytes", used.rows, used.size_bytes));
    }
    for (what, names) in [
        ("training sets", &used.datasets),
        ("scoring", &used.scorings),
        ("read by", &used.readers),
        ("models", &used.models),
    ] {
        if !names.is_empty() {
            parts.push(format!("{what}: {}", names.join(", ")));
        }
    }
    parts.join("; ")
}

fn use_json(used: &ViewUse) -> Value {
    json!({
        "table": used.table, "rows": used.rows, "bytes": used.size_bytes,
        "datasets": used.datasets, "scorings": used.scorings,
        "readers": used.readers, "models": used.models,
    })
}

pub(super) async fn lineage(
    project: &Project,
    view: &str,
    openlineage: Option<&Path>,
) -> Result<Answer> {
    let definitions = project.definitions()?;
    let found = definitions.view(view)?;
    if let Some(path) = openlineage {
        let events = project.feature_lineage_events(view).await?;
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(path, lines).map_err(|error| {
            Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
        })?;
        let json = json!({ "events": events.len(), "file": path.display().to_string() });
        let text = format!("{} events in {}", events.len(), path.display());
        return Ok(Answer::new(json, text));
    }
    let used = project.feature_use(view).await?;
    let lineage = project.feature_lineage(view).await?;
    let features: Vec<Value> = lineage
        .iter()
        .map(|of| {
            let inputs = of.inputs.iter().map(|input| {
                json!({
                    "table": input.table, "column": input.column,
                    "use": if input.is_value { "value" } else { "condition" },
                })
            });
            let inputs: Vec<Value> = inputs.collect();
            json!({ "feature": of.feature, "inputs": inputs, "requests": of.requests })
        })
        .collect();
    let json = json!({
        "view": found.name, "source": found.source, "source_sql": found.source_sql,
        "features": features, "used_by": use_json(&used),
    });
    // The table is in the head where there is only one.
    let column_text = |input: &SourceUse| match (&input.table, &found.source_sql) {
        (Some(table), Some(_)) => format!("{table}.{}", input.column),
        _ => input.column.clone(),
    };
    let rows = lineage.iter().map(|of| {
        let named = |value: bool| {
            let inputs = of.inputs.iter().filter(|input| input.is_value == value);
            inputs.map(column_text).collect::<Vec<_>>().join(", ")
        };
        [of.feature.clone(), named(true), named(false), of.requests.join(", ")]
    });
    let from = found.source.as_ref().map_or_else(|| "(query)".to_owned(), ToString::to_string);
    let head = facts(&[("source", from), ("used by", use_text(&used))]);
    let table = table(&["feature", "values of", "decided by", "requests bring"], rows);
    Ok(Answer::new(json, format!("{head}\n\n{table}")))
}
