//! `icecore runs` and `icecore models`.

use std::collections::BTreeSet;
use std::path::Path;

use icecore::{ModelFormat, Project};
use icecore_core::{
    ArtifactStore, Error, ErrorKind, ModelRegistry, ModelSelector, ModelVersion, Result, Run,
    RunId, RunTracker,
};
use serde_json::json;

use super::Context;
use crate::args::RunsCommand;
use crate::args::models::{
    ExplainArgs, ExportModelArgs, ModelFormatArg, ModelsCommand, WhichModel,
};
use crate::report::{Answer, facts, table, table_or};

/// Fewer first digits than these do not name a run.
const PREFIX_MIN: usize = 4;

pub(super) async fn runs(context: &Context, command: RunsCommand) -> Result<Answer> {
    let project = context.open().await?;
    let tracker = project.tracker();
    match command {
        RunsCommand::List { experiment, limit } => {
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
            Ok(Answer::new(json!(run), show(&run)))
        }
        RunsCommand::Compare { runs } => {
            let mut compared = Vec::with_capacity(runs.len());
            for run in runs {
                compared.push(tracker.get(&run_named(&project, &run).await?).await?);
            }
            Ok(Answer::new(json!(compared), compare(&compared)))
        }
    }
}

/// The run with this id, or the only one whose id begins so.
pub(super) async fn run_named(project: &Project, text: &str) -> Result<RunId> {
    let tracker = project.tracker();
    let error = match tracker.get(&RunId::new(text)).await {
        Ok(run) => return Ok(run.id),
        Err(error) if error.kind() == ErrorKind::NotFound && text.len() >= PREFIX_MIN => error,
        Err(error) => return Err(error),
    };
    let mut ids: Vec<RunId> = tracker.list(None).await?.into_iter().map(|run| run.id).collect();
    ids.retain(|id| id.as_str().starts_with(text));
    match ids.as_slice() {
        [] => Err(error),
        [one] => Ok(one.clone()),
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
        ModelsCommand::Promote { name, version, to, dry_run } => {
            if to.is_empty() || to.chars().any(|c| c.is_control() || "/@".contains(c)) {
                return Err(Error::invalid(format!(
                    "`{}` cannot name an alias",
                    to.escape_debug()
                )));
            }
            let before = if dry_run {
                tracker.resolve(&name, &ModelSelector::Version(version)).await?;
                let versions = tracker.versions(Some(&name)).await?;
                versions.iter().find(|known| known.aliases.contains(&to)).map(|it| it.version)
            } else {
                tracker.set_alias(&name, &to, version).await?
            };
            let json = json!({
                "model": name, "alias": to, "version": version, "previous_version": before,
                "dry_run": dry_run,
            });
            let before = before.map_or_else(String::new, |before| format!(" (before: {before})"));
            let text = if dry_run {
                format!("models:/{name}/{to} would be version {version}{before}")
            } else {
                format!(
                    "models:/{name}/{to} is version {version}{before}\nnext: icecore score NAME"
                )
            };
            Ok(Answer::new(json, text))
        }
        ModelsCommand::Importance(which) => importance(&project, &which).await,
        ModelsCommand::Explain(args) => explain(&project, args).await,
        ModelsCommand::Export(args) => export(&project, args).await,
        ModelsCommand::Import { name, file, dry_run } => {
            if dry_run {
                return would_import(&name, &file);
            }
            let version = project.import_model(&name, &file).await?;
            let text = format!(
                "registered models:/{name}/{0}\nnext: icecore models promote {name} {0} --to Production",
                version.version
            );
            Ok(Answer::new(json!(version), text))
        }
    }
}

async fn export(project: &Project, args: ExportModelArgs) -> Result<Answer> {
    let format = match args.to {
        ModelFormatArg::Icecore => ModelFormat::Icecore,
        ModelFormatArg::Lightgbm => ModelFormat::LightGbm,
        ModelFormatArg::Mlflow => ModelFormat::Mlflow,
        ModelFormatArg::Onnx => ModelFormat::Onnx,
    };
    let (name, selector) = (&args.model.name, selector(&args.model));
    let files = project.export_model(name, &selector, (format, &args.output)).await?;
    let wrote: Vec<String> = files.iter().map(|file| format!("wrote {}", file.display())).collect();
    Ok(Answer::new(json!({ "model": name, "files": files }), wrote.join("\n")))
}

fn would_import(name: &str, file: &Path) -> Result<Answer> {
    let model = icecore::read_model(file)?;
    let signature = model.signature();
    let inputs: Vec<&str> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
    let text = format!("would register `{name}`, with the inputs {}", inputs.join(", "));
    Ok(Answer::new(json!({ "model": name, "signature": signature }), text))
}

/// A version by its number, or what an alias points at.
fn selector(which: &WhichModel) -> ModelSelector {
    match which.version.as_deref() {
        None | Some("latest") => ModelSelector::Latest,
        Some(version) => version
            .parse()
            .map_or_else(|_| ModelSelector::Alias(version.to_owned()), ModelSelector::Version),
    }
}

async fn importance(project: &Project, which: &WhichModel) -> Result<Answer> {
    let inputs = project.model_importance(&which.name, &selector(which)).await?;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let rows = inputs.iter().map(|input| {
        let splits = input.splits.map_or_else(|| "-".to_owned(), percent);
        [input.name.clone(), percent(input.gain), splits]
    });
    Ok(Answer::new(json!(inputs), table(&["input", "gain", "splits"], rows)))
}

async fn explain(project: &Project, args: ExplainArgs) -> Result<Answer> {
    let pins = project.engine().pin_query(&args.sql, &[]).await?;
    let rows = project.engine().sql(&args.sql, &pins).await?.concat().await?;
    let rows = rows.slice(0, rows.num_rows().min(args.limit));
    let which = &args.model;
    let explained = project.explain_model(&which.name, &selector(which), rows).await?;
    let classes = explained.iter().filter_map(|explanation| explanation.class).max();
    let per_row = classes.map_or(1, |last| last + 1);
    let cells = explained.iter().enumerate().map(|(at, explanation)| {
        let row = at / per_row;
        let shown = explanation.contributions.iter().take(6);
        let why: Vec<String> = shown.map(|(name, adds)| format!("{name} {adds:+.3}")).collect();
        [
            explanation
                .class
                .map_or_else(|| row.to_string(), |class| format!("{row}, class {class}")),
            format!("{:.4}", explanation.prediction),
            format!("{:.3}", explanation.margin),
            format!("{:.3}", explanation.expected),
            why.join(", "),
        ]
    });
    let text = table(&["row", "prediction", "margin", "expected", "what inputs add"], cells);
    Ok(Answer::new(json!(explained), text))
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
    let header = ["model", "version", "aliases", "registered", "run", "hash"];
    let empty = "no model is registered; `icecore train NAME` and `icecore models import` do that";
    let text = table_or(&header, rows, empty);
    Answer::new(json!(versions), text)
}
