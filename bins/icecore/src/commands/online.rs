//! `icecore online`.

use std::sync::Arc;

use icecore::materialize::{MaterializeOptions, VerifyReport};
use icecore_core::{Error, Result};
use serde_json::json;

use super::Context;
use crate::args::online::{OnlineCommand, OnlineGetArgs, OnlineMaterializeArgs};
use crate::report::{Answer, table};

pub(super) async fn run(context: &Context, command: OnlineCommand) -> Result<Answer> {
    match command {
        OnlineCommand::Materialize(args) => materialize(context, args).await,
        OnlineCommand::Get(args) => get(context, args).await,
        OnlineCommand::Verify { names } => verify(context, &names).await,
        OnlineCommand::Status => status(context).await,
    }
}

pub(super) async fn materialize(context: &Context, args: OnlineMaterializeArgs) -> Result<Answer> {
    let project = context.open().await?;
    let views = match args.all {
        false => project.online_views(&args.names)?,
        true => {
            let statuses = project.online_status().await?.into_iter();
            statuses.filter(|view| view.table.is_some()).map(|view| view.view).collect()
        }
    };
    let mut reports = Vec::with_capacity(views.len());
    for view in views {
        let (progress, name) = (context.progress.clone(), view.clone());
        let options = MaterializeOptions::default()
            .with_full(args.full)
            .with_dry_run(args.dry_run)
            .with_progress(Arc::new(move |done| {
                progress.say(format!("materializing {name}: {} rows", done.rows));
            }));
        reports.push(project.materialize_view(&view, options).await?);
    }
    if !args.dry_run {
        let names = (!args.all).then_some(args.names.as_slice());
        for vectors in project.materialize_vectors(names, false).await? {
            context.progress.say(format!("{}: {} vectors made", vectors.service, vectors.made));
        }
    }
    let rows = reports.iter().map(|report| {
        [
            report.view.clone(),
            report.written.to_string(),
            report.removed.to_string(),
            report.unchanged.to_string(),
            report.full.map_or_else(|| "what changed".to_owned(), |why| format!("all rows: {why}")),
            report.source.to_string(),
        ]
    });
    let mut text = table(&["view", "written", "removed", "unchanged", "read", "state"], rows);
    if args.dry_run {
        text.push_str("\ndry run: nothing was changed");
    }
    let json = match reports.as_slice() {
        [one] => json!(one),
        several => json!(several),
    };
    Ok(Answer::new(json, text))
}

async fn get(context: &Context, args: OnlineGetArgs) -> Result<Answer> {
    let project = context.open().await?;
    if !args.entity.is_empty() {
        let answer = project.get_online_features(&args.names, &args.entity).await?;
        let rows = answer.iter().map(|value| {
            [
                value.feature.clone(),
                value.value.to_string(),
                value.status.to_owned(),
                value.event_timestamp.map_or_else(String::new, |at| at.to_string()),
                value.reason.map_or_else(
                    || value.source.to_owned(),
                    |reason| format!("{} ({reason})", value.source),
                ),
            ]
        });
        let text = table(&["feature", "value", "status", "event timestamp", "from"], rows);
        return Ok(Answer::new(json!(answer), text));
    }
    let store = project.online().await?;
    let keys = args.names;
    let values: Vec<Option<String>> = store
        .get(&keys)
        .await?
        .into_iter()
        .map(|value| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .collect();
    let json = keys.iter().zip(&values).map(|(key, value)| json!({"key": key, "value": value}));
    let rows = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| [key.clone(), value.clone().unwrap_or_else(|| "(absent)".to_owned())]);
    Ok(Answer::new(json.collect(), table(&["key", "value"], rows)))
}

async fn verify(context: &Context, names: &[String]) -> Result<Answer> {
    let project = context.open().await?;
    let mut reports = Vec::new();
    for view in project.online_views(names)? {
        context.progress.say(format!("comparing {view}"));
        reports.push(project.verify_online(&view).await?);
    }
    if let Some(report) = reports.iter().find(|report| !report.is_equal()) {
        return Err(differs(report));
    }
    let rows = reports.iter().map(|report| {
        [
            report.view.clone(),
            report.offline_rows.to_string(),
            report.online_rows.to_string(),
            report.pushed_rows.to_string(),
            report.different.to_string(),
        ]
    });
    let text = table(&["view", "table", "online", "pushed", "different"], rows);
    Ok(Answer::new(json!(reports), text))
}

fn differs(report: &VerifyReport) -> Error {
    let error = Error::corrupt(format!(
        "{} rows of `{}` differ from {}",
        report.different, report.view, report.source
    ));
    let named = report.differences.iter().take(10).fold(error, |error, difference| {
        error.with_note(format!("`{}`: {}", difference.key, json!(difference.kind)))
    });
    named.with_help(format!("run `icecore online materialize {} --full`", report.view))
}

async fn status(context: &Context) -> Result<Answer> {
    let project = context.open().await?;
    let statuses = project.online_status().await?;
    let state = |pin: &Option<icecore_core::PinnedTable>| {
        pin.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let rows = statuses.iter().map(|view| {
        [
            view.view.clone(),
            view.state.to_owned(),
            state(&view.source),
            state(&view.table),
            view.materialized_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
        ]
    });
    let text = table(&["view", "state", "online", "table", "materialized at"], rows);
    Ok(Answer::new(json!(statuses), text))
}
