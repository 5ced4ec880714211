//! `icecore online`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use icecore::Project;
use icecore::materialize::{MaterializeOptions, VerifyReport, ViewReport};
use icecore_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::Context;
use super::serve::stopped;
use crate::args::online::{OnlineCommand, OnlineGetArgs, OnlineMaterializeArgs};
use crate::report::{Answer, table};

/// How long a job that is asked to end has for letting its view go.
const LET_GO_MAX: Duration = Duration::from_secs(5);

/// Over when the process is asked to end.
type Stop = Shared<BoxFuture<'static, ()>>;

pub(super) async fn run(context: &Context, command: OnlineCommand) -> Result<Answer> {
    match command {
        OnlineCommand::Materialize(args) => materialize(context, args).await,
        OnlineCommand::Get(args) => get(context, args).await,
        OnlineCommand::Verify { names } => verify(context, &names).await,
        OnlineCommand::Status => status(context).await,
    }
}

/// Materializes, until the process is asked to end.
pub(super) async fn materialize(context: &Context, args: OnlineMaterializeArgs) -> Result<Answer> {
    let stop = stopped().boxed().shared();
    let work = Box::pin(materialize_until(context, args, stop.clone()));
    tokio::select! {
        answer = work => answer,
        error = asked_to_end(stop) => Err(error),
    }
}

async fn asked_to_end(stop: Stop) -> Error {
    stop.await;
    tokio::time::sleep(LET_GO_MAX).await;
    Error::unavailable("the materialization was stopped")
}

async fn materialize_until(
    context: &Context,
    args: OnlineMaterializeArgs,
    stop: Stop,
) -> Result<Answer> {
    let project = context.open().await?;
    let views = match args.all {
        false => project.online_views(&args.names)?,
        true => {
            let statuses = project.online_status().await?.into_iter();
            statuses.filter(|view| view.table.is_some()).map(|view| view.view).collect()
        }
    };
    let reports = materialize_views(context, (&project, &args), views, &stop).await?;
    if !args.dry_run {
        let names = (!args.all).then_some(args.names.as_slice());
        let made = tokio::select! {
            made = Box::pin(project.materialize_vectors(names, false)) => made?,
            () = stop => return Err(Error::unavailable("the making of vectors was stopped")),
        };
        for vectors in made {
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

/// Materializes one view after the other. One that another job fills is not in the way of the rest.
async fn materialize_views(
    context: &Context,
    (project, args): (&Project, &OnlineMaterializeArgs),
    views: Vec<String>,
    stop: &Stop,
) -> Result<Vec<ViewReport>> {
    let (mut reports, mut busy) = (Vec::with_capacity(views.len()), None);
    for view in views {
        let (progress, name) = (context.progress.clone(), view.clone());
        let options = MaterializeOptions::default()
            .with_full(args.full)
            .with_dry_run(args.dry_run)
            .with_take_over(args.take_over)
            .with_stop(stop.clone())
            .with_progress(Arc::new(move |done| {
                progress.say(format!("materializing {name}: {} rows", done.rows));
            }));
        match project.materialize_view(&view, options).await {
            Ok(report) => reports.push(report),
            Err(error) if error.kind() == ErrorKind::Conflict => busy = busy.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let done: Vec<String> = reports.iter().map(|report| format!("`{}`", report.view)).collect();
    match busy {
        None => Ok(reports),
        Some(error) if done.is_empty() => Err(error),
        Some(error) => Err(error.with_note(format!("materialized: {}", done.join(", ")))),
    }
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
