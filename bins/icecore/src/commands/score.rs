//! `icecore score` and `icecore materialize`.

use icecore::{MaterializeOptions, ScoredRun};
use icecore_core::Result;
use serde_json::{Value, json};

use super::Context;
use crate::args::{MaterializeArgs, ScoreArgs};
use crate::report::{Answer, facts};

pub(super) async fn run(context: &Context, args: ScoreArgs) -> Result<Answer> {
    let project = context.open().await?;
    if args.dry_run {
        let (plan, version) = project.plan_score(&args.name, args.date).await?;
        let json = json!({
            "dry_run": true, "date": plan.date, "features": plan.features,
            "model": version.model, "model_version": version.version,
        });
        let text = facts(&[
            ("dry run", format!("the rows of {} would be scored", plan.date)),
            ("features", plan.features.to_string()),
            ("model", format!("{} version {}", version.model, version.version)),
        ]);
        return Ok(Answer::new(json, text));
    }
    context.progress.say(format!("scoring {}", args.name));
    let scored = project.score(&args.name, args.date).await?;
    let report = &scored.report;
    let mean = report.mean_prediction.map_or_else(String::new, |mean| format!("{mean:.4}"));
    let text = facts(&[
        ("scored", format!("{} rows of {}", report.rows, report.date)),
        ("high", report.high_rows.to_string()),
        ("mean", mean),
        ("model", format!("{} version {}", scored.model, scored.model_version)),
        ("table", report.predictions.to_string()),
        ("run", scored.run_id.to_string()),
        ("next", format!("icecore materialize {}", args.name)),
    ]);
    Ok(Answer::new(document(&scored), text))
}

/// The answer's document.
pub(crate) fn document(scored: &ScoredRun) -> Value {
    let report = &scored.report;
    json!({
        "run_id": scored.run_id,
        "table": report.predictions.table,
        "snapshot_id": report.predictions.snapshot,
        "rows": report.rows,
        "date": report.date,
        "model": scored.model,
        "model_version": scored.model_version,
        "high_rows": report.high_rows,
        "mean_prediction": report.mean_prediction,
        "feature_snapshot_id": report.features.snapshot,
    })
}

pub(super) async fn materialize(context: &Context, args: MaterializeArgs) -> Result<Answer> {
    let project = context.open().await?;
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
