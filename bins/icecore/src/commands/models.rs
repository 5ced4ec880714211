//! `icecore models`.

use std::path::Path;

use icecore::tracking::DeleteOptions;
use icecore::{ModelFormat, Project};
use icecore_core::{Error, ModelRegistry, ModelSelector, ModelVersion, Result};
use serde_json::json;

use super::Context;
use crate::args::models::{
    ExplainArgs, ExportModelArgs, ModelFormatArg, ModelsCommand, WhichModel,
};
use crate::report::{Answer, table, table_or};

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
        ModelsCommand::Delete { name, versions, all, force, dry_run } => {
            let options = DeleteOptions::default().with_force(force).with_dry_run(dry_run);
            let which = (!all).then_some(versions.as_slice());
            let deleted = project.delete_model(&name, which, options).await?;
            Ok(deleted_versions(&name, &deleted, dry_run))
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

fn deleted_versions(name: &str, deleted: &[ModelVersion], dry_run: bool) -> Answer {
    let verb = if dry_run { "would delete" } else { "deleted" };
    let mut text = format!("{verb} {}", names(deleted));
    let mut runs: Vec<&str> = deleted.iter().map(|version| version.run.as_str()).collect();
    runs.sort_unstable();
    runs.dedup();
    if !dry_run {
        let runs = runs.join(" ");
        text.push_str(&format!("\nnext: icecore runs delete {runs}, for what made them"));
    }
    Answer::new(json!({ "model": name, "deleted": deleted, "dry_run": dry_run }), text)
}

/// Versions for people: `models:/churn/3 (Production), models:/churn/4`.
pub(super) fn names(versions: &[ModelVersion]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
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
