//! `icecore score` and `icecore materialize`.

use std::collections::BTreeMap;

use icecore::{
    ExplainedScore, MaterializeOptions, Project, ScoreOptions, ScoreProgress, ScoredRun,
};
use icecore_core::{Error, Result};
use serde_json::{Value, json};

use super::Context;
use crate::args::MaterializeArgs;
use crate::args::score::{ExplainArgs, ScoreArgs, ScoreCommand};
use crate::report::{Answer, facts, table};

pub(super) async fn run(context: &Context, args: ScoreArgs) -> Result<Answer> {
    let project = context.open().await?;
    if let Some(ScoreCommand::Explain(args)) = args.command {
        return explain(&project, args).await;
    }
    let name = args.name.unwrap_or_default();
    if args.dry_run {
        return plan(&project, &name, args.date).await;
    }
    context.progress.say(format!("scoring {name}"));
    let (bar, job) = (context.progress.clone(), name.clone());
    let progress = ScoreProgress::new(move |rows| bar.say(format!("scoring {job}: {rows} rows")));
    let options =
        ScoreOptions::default().with_date(args.date).with_force(args.force).with_progress(progress);
    let scored = project.score(&name, options).await?;
    Ok(Answer::new(document(&scored), scored_text(&name, &scored)))
}

fn scored_text(name: &str, scored: &ScoredRun) -> String {
    let report = &scored.report;
    let mean = report.mean_prediction.map_or_else(String::new, |mean| format!("{mean:.4}"));
    let done = if scored.changed { "scored" } else { "unchanged" };
    let mut lines = vec![
        (done, format!("{} rows of {}", report.rows, report.date)),
        ("high", report.high_rows.to_string()),
        ("mean", mean),
        ("model", format!("{} version {}", scored.model, scored.model_version)),
    ];
    for challenger in report.models.iter().skip(1) {
        let mean = challenger.mean_prediction.map_or_else(String::new, |mean| format!("{mean:.4}"));
        let same = challenger.same_bucket.map_or_else(String::new, |share| {
            format!(", the same bucket for {:.1} %", share * 100.0)
        });
        let (model, version) = (&challenger.model, challenger.version);
        lines.push((&challenger.role, format!("{model} version {version}, mean {mean}{same}")));
    }
    let rare = report.statuses.iter().filter(|(status, _)| status != "PRESENT");
    lines.extend(rare.map(|(status, rows)| (status.as_str(), format!("{rows} rows"))));
    if report.skipped > 0 {
        lines.push(("skipped", format!("{} entities without features", report.skipped)));
    }
    lines.push(("table", report.predictions.to_string()));
    lines.push(("run", scored.run_id.to_string()));
    lines.push(("next", format!("icecore materialize {name}")));
    facts(&lines)
}

async fn plan(project: &Project, name: &str, date: Option<icecore_core::Date>) -> Result<Answer> {
    let plan = project.plan_score(name, date).await?;
    let models = plan.models.iter().map(|model| {
        json!({
            "role": model.role, "model": model.uri.name, "version": model.version,
            "uri": model.uri.to_string(),
        })
    });
    let champion = plan.models.first();
    let json = json!({
        "dry_run": true, "date": plan.date, "features": plan.features(), "sources": plan.pins,
        "model": champion.map(|model| &model.uri.name),
        "model_version": champion.map(|model| model.version),
        "models": models.collect::<Vec<_>>(),
        "keys": plan.keys,
    });
    let mut lines = vec![("dry run", format!("the rows of {} would be scored", plan.date))];
    lines.extend(plan.pins.iter().map(|pin| ("reads", pin.to_string())));
    for model in &plan.models {
        lines.push((&model.role, format!("{} version {}", model.uri.name, model.version)));
    }
    Ok(Answer::new(json, facts(&lines)))
}

async fn explain(project: &Project, args: ExplainArgs) -> Result<Answer> {
    let name = match args.scoring {
        Some(name) => name,
        None => only_scoring(project)?,
    };
    let is_newest = args.date.is_none() && args.from.is_none() && args.to.is_none();
    let key = key(project, &name, &args.key)?;
    let dates = (args.date.or(args.from), args.date.or(args.to));
    let mut explained = project.explain_scores(&name, &key, dates).await?;
    if is_newest {
        explained.drain(..explained.len().saturating_sub(1));
    }
    let texts: Vec<String> = explained.iter().map(explained_text).collect();
    Ok(Answer::new(json!(explained), texts.join("\n\n")))
}

fn only_scoring(project: &Project) -> Result<String> {
    let mut names = project.definition_names("scoring")?;
    if names.len() == 1 {
        return Ok(names.remove(0));
    }
    Err(Error::invalid(format!("there are {} scoring definitions", names.len()))
        .with_note(format!("scoring definitions: {}", names.join(", ")))
        .with_help("say which one with `--scoring NAME`"))
}

/// The key by its columns. A key of one column needs no name.
fn key(project: &Project, name: &str, parts: &[String]) -> Result<BTreeMap<String, String>> {
    let columns = project.scoring_keys(name)?;
    if let ([part], [column]) = (parts, columns.as_slice()) {
        let value = part.strip_prefix(&format!("{column}=")).unwrap_or(part);
        return Ok(BTreeMap::from([(column.clone(), value.to_owned())]));
    }
    let pair = |part: &String| {
        let (column, value) = part.split_once('=').ok_or_else(|| {
            Error::invalid(format!("`{part}` does not say which column of the key it is"))
                .with_note(format!("keys: {}", columns.join(", ")))
                .with_help(format!("write `{}={part}`", columns.first().map_or("COLUMN", |c| c)))
        })?;
        Ok((column.to_owned(), value.to_owned()))
    };
    parts.iter().map(pair).collect()
}

fn explained_text(score: &ExplainedScore) -> String {
    let prediction = score.prediction.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let text = |field: &str| match score.stored.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let mut lines = vec![
        ("date", score.date.to_string()),
        ("prediction", prediction),
        (
            "stored",
            if score.equal { "equal to the bit".to_owned() } else { "DIFFERENT".to_owned() },
        ),
        ("features of", text("feature_timestamp")),
        ("status", text("feature_status")),
        ("model", format!("{} version {}", score.model, score.model_version)),
        ("run", score.run_id.to_string()),
    ];
    lines.extend(score.sources.iter().map(|source| ("read", source.clone())));
    let rows = score.features.iter().map(|feature| {
        let value = match &feature.value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let added = feature.contribution.map_or_else(String::new, |value| format!("{value:+.6}"));
        [feature.name.clone(), value, added, feature.view.clone().unwrap_or_default()]
    });
    let features = table(&["feature", "value", "added", "view"], rows);
    let expected = score.expected.map_or_else(String::new, |value| {
        format!("\nadded to {value:.6}, the mean raw score of the training rows")
    });
    format!("{}\n\n{features}{expected}", facts(&lines))
}

/// The answer's document.
pub(crate) fn document(scored: &ScoredRun) -> Value {
    let report = &scored.report;
    json!({
        "run_id": scored.run_id,
        "changed": scored.changed,
        "table": report.predictions.table,
        "snapshot_id": report.predictions.snapshot,
        "rows": report.rows,
        "date": report.date,
        "model": scored.model,
        "model_version": scored.model_version,
        "high_rows": report.high_rows,
        "mean_prediction": report.mean_prediction,
        "feature_snapshot_id": report.features.snapshot,
        "statuses": report.statuses.iter().cloned().collect::<BTreeMap<String, u64>>(),
        "skipped": report.skipped,
        "models": report.models,
    })
}

pub(super) async fn materialize(context: &Context, args: MaterializeArgs) -> Result<Answer> {
    let project = context.open().await?;
    let is_scoring = project.definition_names("scoring")?.contains(&args.name);
    if !is_scoring && project.online_views(std::slice::from_ref(&args.name)).is_ok() {
        return super::online::materialize(context, args.into()).await;
    }
    context.progress.say(format!("materializing {}", args.name));
    let options = MaterializeOptions::default()
        .with_date(args.date)
        .with_full(args.full)
        .with_dry_run(args.dry_run);
    let done = project.materialize(&args.name, options).await?;
    let report = &done.report;
    let text = facts(&[
        ("written", report.written.to_string()),
        ("removed", report.removed.to_string()),
        ("unchanged", report.unchanged.to_string()),
        ("date", report.date.to_string()),
        ("from", report.source.to_string()),
        ("to", done.store.clone()),
        (
            if args.dry_run { "dry run" } else { "next" },
            if args.dry_run {
                "nothing was changed".to_owned()
            } else {
                "icecore serve".to_owned()
            },
        ),
    ]);
    Ok(Answer::new(json!(done), text))
}
