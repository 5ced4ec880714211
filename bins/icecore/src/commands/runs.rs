//! `icecore runs`.

use std::collections::BTreeSet;

use icecore::Project;
use icecore::tracking::{DeleteOptions, DeletedRun, DeletedRuns};
use icecore_core::{ArtifactStore, Error, ErrorKind, Result, Run, RunId, RunTracker};
use serde_json::{Value, json};

use super::{Context, models};
use crate::args::runs::RunsCommand;
use crate::report::{Answer, facts, table, table_or};

/// Fewer first digits than these do not name a run.
const PREFIX_MIN: usize = 4;

pub(super) async fn runs(context: &Context, command: RunsCommand) -> Result<Answer> {
    let project = context.open().await?;
    let tracker = project.tracker();
    match command {
        RunsCommand::List { experiment, limit, deleted: true } => {
            let mut deleted = tracker.deleted_runs().await?;
            deleted.retain(|it| experiment.as_ref().is_none_or(|name| it.run.experiment == *name));
            deleted.truncate(limit.unwrap_or(usize::MAX));
            Ok(list_deleted(&deleted))
        }
        RunsCommand::List { experiment, limit, deleted: false } => {
            let mut runs = tracker.list(experiment.as_deref()).await?;
            runs.truncate(limit.unwrap_or(usize::MAX));
            let rows = runs.iter().map(|run| {
                [
                    run.id.to_string(),
                    run.experiment.clone(),
                    run.name.clone(),
                    format!("{:?}", run.status).to_lowercase(),
                    run.started_at.to_string(),
                    metric(run, "val_auc_roc"),
                ]
            });
            let header = ["run", "experiment", "name", "status", "started", "val_auc_roc"];
            let empty = match &experiment {
                None => "nothing was trained or scored yet".to_owned(),
                Some(name) => format!("experiment `{name}` has no run"),
            };
            Ok(Answer::new(json!(runs), table_or(&header, rows, &empty)))
        }
        RunsCommand::Show { run } => {
            let mut run = tracker.get(&run_named(&project, &run).await?).await?;
            run.artifacts = project.artifacts().list(&run.id).await?;
            let children = project.child_runs(&run.id).await?;
            let mut answer = json!(run);
            answer["children"] = json!(children);
            Ok(Answer::new(answer, show(&run, &children)))
        }
        RunsCommand::Compare { runs } => {
            let mut compared = Vec::with_capacity(runs.len());
            for run in runs {
                compared.push(tracker.get(&run_named(&project, &run).await?).await?);
            }
            Ok(Answer::new(json!(compared), compare(&compared)))
        }
        RunsCommand::Delete { runs, force, dry_run } => {
            let mut ids = Vec::with_capacity(runs.len());
            for run in runs {
                ids.push(run_named(&project, &run).await?);
            }
            let options = DeleteOptions::default().with_force(force).with_dry_run(dry_run);
            Ok(deleted(&tracker.delete_runs(&ids, options).await?, dry_run))
        }
        RunsCommand::Restore { runs, dry_run } => restore(&project, &runs, dry_run).await,
        RunsCommand::Gc { older_than, dry_run } => {
            let now = project.clock().now();
            let before = older_than.map_or(now, |older_than| older_than.moment(now));
            let options = DeleteOptions::default().with_dry_run(dry_run);
            let removed = project.remove_deleted_runs(before, options).await?;
            let json = json!({ "runs": removed.runs, "files": removed.files, "dry_run": dry_run });
            let verb = if dry_run { "would remove" } else { "removed" };
            let text = format!("{verb} {} runs and {} files", removed.runs.len(), removed.files);
            Ok(Answer::new(json, text))
        }
    }
}

fn list_deleted(deleted: &[DeletedRun]) -> Answer {
    let json: Vec<Value> = deleted
        .iter()
        .map(|it| {
            json!({
                "id": it.run.id, "experiment": it.run.experiment, "name": it.run.name,
                "status": it.run.status, "started_at": it.run.started_at,
                "deleted_at": it.deleted_at,
            })
        })
        .collect();
    let rows = deleted.iter().map(|it| {
        [
            it.run.id.to_string(),
            it.run.experiment.clone(),
            it.run.name.clone(),
            it.run.started_at.to_string(),
            it.deleted_at.to_string(),
        ]
    });
    let header = ["run", "experiment", "name", "started", "deleted"];
    Answer::new(Value::from(json), table_or(&header, rows, "no deleted run can be brought back"))
}

fn deleted(report: &DeletedRuns, dry_run: bool) -> Answer {
    let verb = if dry_run { "would delete" } else { "deleted" };
    let runs: Vec<&str> = report.runs.iter().map(RunId::as_str).collect();
    let mut text = format!("{verb} run {}", runs.join(", "));
    if !report.versions.is_empty() {
        text.push_str(&format!("\n{verb} {}", models::names(&report.versions)));
    }
    if !dry_run {
        text.push_str(&format!(
            "\nnext: icecore runs restore {}, or icecore runs gc",
            runs.join(" ")
        ));
    }
    let json = json!({
        "runs": report.runs, "models": report.versions, "dry_run": dry_run,
    });
    Answer::new(json, text)
}

async fn restore(project: &Project, runs: &[String], dry_run: bool) -> Result<Answer> {
    let tracker = project.tracker();
    let known: Vec<RunId> =
        tracker.deleted_runs().await?.into_iter().map(|deleted| deleted.run.id).collect();
    let mut ids = Vec::with_capacity(runs.len());
    for run in runs {
        ids.push(match only(run, known.clone())? {
            Some(id) => id,
            // It is there already, or nowhere: then the error says what is.
            None => run_named(project, run).await?,
        });
    }
    if !dry_run {
        tracker.restore_runs(&ids).await?;
    }
    let names: Vec<&str> = ids.iter().map(RunId::as_str).collect();
    let verb = if dry_run { "would bring back" } else { "brought back" };
    let text = format!("{verb} run {}", names.join(", "));
    Ok(Answer::new(json!({ "runs": ids, "dry_run": dry_run }), text))
}

/// The run with this id, or the only one whose id begins so.
pub(super) async fn run_named(project: &Project, text: &str) -> Result<RunId> {
    let tracker = project.tracker();
    let error = match tracker.get(&RunId::new(text)).await {
        Ok(run) => return Ok(run.id),
        Err(error) if error.kind() == ErrorKind::NotFound && text.len() >= PREFIX_MIN => error,
        Err(error) => return Err(error),
    };
    let ids = tracker.list(None).await?.into_iter().map(|run| run.id).collect();
    only(text, ids)?.ok_or(error)
}

/// The one id that this is, or begins so; none if there is none.
fn only(text: &str, mut ids: Vec<RunId>) -> Result<Option<RunId>> {
    if text.len() < PREFIX_MIN {
        return Ok(None);
    }
    ids.retain(|id| id.as_str().starts_with(text));
    match ids.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let names: Vec<&str> = several.iter().map(RunId::as_str).collect();
            Err(Error::invalid(format!("the ids of {} runs begin with `{text}`", names.len()))
                .with_note(format!("runs: {}", names.join(", "))))
        }
    }
}

fn metric(run: &Run, name: &str) -> String {
    run.metrics.get(name).map(|value| format!("{value:.4}")).unwrap_or_default()
}

fn show(run: &Run, children: &[Run]) -> String {
    let mut lines = vec![
        ("run", run.id.to_string()),
        ("experiment", run.experiment.clone()),
        ("name", run.name.clone()),
        ("status", format!("{:?}", run.status).to_lowercase()),
        ("started", run.started_at.to_string()),
    ];
    lines.extend(run.ended_at.map(|ended| ("ended", ended.to_string())));
    lines.extend(run.inputs.iter().map(|input| ("input", input.to_string())));
    lines.extend(run.params.iter().map(|(name, value)| ("param", format!("{name} = {value}"))));
    lines.extend(run.metrics.iter().map(|(name, value)| ("metric", format!("{name} = {value}"))));
    lines.extend(run.tags.iter().map(|(name, value)| ("tag", format!("{name} = {value}"))));
    lines.extend(run.artifacts.iter().map(|path| ("artifact", path.clone())));
    lines.extend(children.iter().map(|child| ("child", child_line(child))));
    facts(&lines)
}

/// A child of a run: which it is, what it was given, and what it gave.
fn child_line(child: &Run) -> String {
    let mut parts = vec![
        child.id.to_string(),
        child.name.clone(),
        format!("{:?}", child.status).to_lowercase(),
    ];
    parts.extend(child.params.iter().map(|(name, value)| format!("{name} = {value}")));
    // Those of single folds are in the child itself.
    let whole = child.metrics.iter().filter(|(name, _)| !name.starts_with("fold_"));
    parts.extend(whole.map(|(name, value)| format!("{name} {value:.4}")));
    parts.extend(child.tags.get("icecore.error").cloned());
    parts.join("  ")
}

/// Parameters and metrics side by side, those that differ marked.
fn compare(runs: &[Run]) -> String {
    let names: BTreeSet<(&str, &String)> = runs
        .iter()
        .flat_map(|run| {
            let params = run.params.keys().map(|name| ("param", name));
            params.chain(run.metrics.keys().map(|name| ("metric", name)))
        })
        .collect();
    let rows = names.into_iter().map(|(kind, name)| {
        let values: Vec<String> = runs
            .iter()
            .map(|run| match kind {
                "param" => run.params.get(name).cloned().unwrap_or_default(),
                _ => run.metrics.get(name).map(ToString::to_string).unwrap_or_default(),
            })
            .collect();
        let differs = values.iter().any(|value| *value != values[0]);
        let mark = if differs { "*" } else { "" };
        [mark.to_owned(), format!("{kind} {name}")].into_iter().chain(values).collect::<Vec<_>>()
    });
    let ids = runs.iter().map(|run| run.id.to_string());
    let header: Vec<String> = ["".to_owned(), "name".to_owned()].into_iter().chain(ids).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    table(&header, rows)
}
