//! `icecore runs` and `icecore models`.

use std::collections::BTreeSet;

use icecore_core::{
    ArtifactStore, Error, ModelRegistry, ModelSelector, ModelVersion, Result, Run, RunId,
    RunTracker,
};
use serde_json::json;

use super::Context;
use crate::args::{ModelsCommand, RunsCommand};
use crate::report::{Answer, facts, table};

pub(super) async fn runs(context: &Context, command: RunsCommand) -> Result<Answer> {
    let project = context.open().await?;
    let tracker = project.tracker();
    match command {
        RunsCommand::List { experiment } => {
            let runs = tracker.list(experiment.as_deref()).await?;
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
            Ok(Answer::new(json!(runs), table(&header, rows)))
        }
        RunsCommand::Show { run } => {
            let mut run = tracker.get(&RunId::new(run)).await?;
            run.artifacts = project.artifacts().list(&run.id).await?;
            Ok(Answer::new(json!(run), show(&run)))
        }
        RunsCommand::Compare { runs } => {
            let mut compared = Vec::with_capacity(runs.len());
            for run in runs {
                compared.push(tracker.get(&RunId::new(run)).await?);
            }
            Ok(Answer::new(json!(compared), compare(&compared)))
        }
    }
}

fn metric(run: &Run, name: &str) -> String {
    run.metrics.get(name).map(|value| format!("{value:.4}")).unwrap_or_default()
}

fn show(run: &Run) -> String {
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
    facts(&lines)
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

pub(super) async fn models(context: &Context, command: ModelsCommand) -> Result<Answer> {
    let project = context.open().await?;
    let tracker = project.tracker();
    match command {
        ModelsCommand::List => Ok(versions(&tracker.versions(None).await?)),
        ModelsCommand::Show { name } => {
            // Resolving names the models that are there, where this one is not.
            tracker.resolve(&name, &ModelSelector::Latest).await?;
            Ok(versions(&tracker.versions(Some(&name)).await?))
        }
        ModelsCommand::Promote { name, version, to } => {
            if to.is_empty() || to.chars().any(|c| c.is_control() || "/@".contains(c)) {
                return Err(Error::invalid(format!(
                    "`{}` cannot name an alias",
                    to.escape_debug()
                )));
            }
            let before = tracker.set_alias(&name, &to, version).await?;
            let json = json!({
                "model": name, "alias": to, "version": version, "previous_version": before,
            });
            let before = before.map_or_else(String::new, |before| format!(" (before: {before})"));
            let text = format!(
                "models:/{name}/{to} is version {version}{before}\nnext: icecore score NAME"
            );
            Ok(Answer::new(json, text))
        }
    }
}

fn versions(versions: &[ModelVersion]) -> Answer {
    let rows = versions.iter().map(|version| {
        [
            version.model.clone(),
            version.version.to_string(),
            version.aliases.join(", "),
            version.created_at.to_string(),
            version.run.to_string(),
            version.hash.chars().take(12).collect(),
        ]
    });
    let text = table(&["model", "version", "aliases", "registered", "run", "hash"], rows);
    Answer::new(json!(versions), text)
}
