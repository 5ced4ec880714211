//! `icecore label` and `icecore evaluate`.

use icecore::LabelOptions;
use icecore_core::{Date, Result, Timestamp};
use serde_json::json;

use super::Context;
use crate::args::score::{EvaluateArgs, LabelArgs};
use crate::report::{Answer, facts, table};

pub(super) async fn label(context: &Context, args: LabelArgs) -> Result<Answer> {
    let project = context.open().await?;
    let mut options = LabelOptions::default();
    (options.from, options.to, options.as_of) = (args.from, args.to, args.as_of);
    if args.dry_run {
        let plan = project.plan_labels(&args.name, &options).await?;
        let json = json!({
            "dry_run": true, "table": plan.table, "sources": plan.pins, "as_of": plan.as_of,
            "matured_to": plan.matured_to, "from": plan.from, "to": plan.to,
            "pending": plan.pending, "newest_outcome": plan.newest_outcome,
            "doubtful_from": plan.doubtful_from,
        });
        let mut lines = vec![
            ("dry run", format!("predictions up to {} would be labelled", plan.to)),
            ("as of", plan.as_of.to_string()),
            ("settled up to", plan.matured_to.to_string()),
            ("pending", format!("{} predictions", plan.pending)),
            ("newest outcome", moment(plan.newest_outcome)),
        ];
        lines.extend(doubt(plan.doubtful_from));
        lines.extend(plan.pins.iter().map(|pin| ("reads", pin.to_string())));
        return Ok(Answer::new(json, facts(&lines)));
    }
    context.progress.say(format!("labelling {}", args.name));
    let report = project.label_scores(&args.name, &options).await?;
    let json = json!({
        "table": report.labels.table, "snapshot_id": report.labels.snapshot,
        "changed": report.changed, "as_of": report.as_of, "matured_to": report.matured_to,
        "rows": report.labelled, "positive": report.positive, "absent": report.absent,
        "pending": report.pending, "newest_outcome": report.newest_outcome,
        "doubtful_from": report.doubtful_from,
    });
    let count =
        |count: Option<u64>| count.map_or_else(|| "unchanged".to_owned(), |n| n.to_string());
    let mut lines = vec![
        ("labelled", count(report.labelled)),
        ("positive", count(report.positive)),
        ("absent", count(report.absent)),
        ("settled up to", report.matured_to.to_string()),
        ("pending", format!("{} predictions", report.pending)),
        ("newest outcome", moment(report.newest_outcome)),
        ("table", report.labels.to_string()),
    ];
    lines.extend(doubt(report.doubtful_from));
    lines.push(("next", format!("icecore evaluate {}", args.name)));
    Ok(Answer::new(json, facts(&lines)))
}

fn moment(moment: Option<Timestamp>) -> String {
    moment.map_or_else(|| "there is none".to_owned(), |moment| moment.to_string())
}

/// What to say where the outcomes end before the windows of dates that are labelled begin.
fn doubt(from: Option<Date>) -> Option<(&'static str, String)> {
    let text = |from| {
        format!(
            "no outcome is as late as the windows of the predictions from {from} on: if outcomes are \
             still to come, label up to when they are known with `--as-of`"
        )
    };
    from.map(|from| ("warning", text(from)))
}

pub(super) async fn evaluate(context: &Context, args: EvaluateArgs) -> Result<Answer> {
    let project = context.open().await?;
    let found = project.evaluate_scores(&args.name).await?;
    let views = &found.views;
    let json = json!({
        "views": { "evaluation": views.evaluation, "rows": views.rows },
        "measures": icecore::rows::to_json(&found.measures)?,
    });
    if args.sql {
        let text = format!(
            "-- {}\n{};\n\n-- {}\n{};",
            views.evaluation, views.evaluation_sql, views.rows, views.rows_sql
        );
        return Ok(Answer::new(json, text));
    }
    let schema = found.measures.schema();
    let header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut rows = Vec::with_capacity(found.measures.num_rows());
    for row in 0..found.measures.num_rows() {
        let cells = found.measures.columns().iter().map(|column| {
            let text = icecore::rows::cell(column, row)?;
            // Six digits tell two models apart, and a line stays one.
            Ok(match text.parse::<f64>() {
                Ok(number) if text.contains('.') => format!("{number:.6}"),
                _ => text,
            })
        });
        rows.push(cells.collect::<Result<Vec<_>>>()?);
    }
    let text = format!("{}\n\nin SQL: {}, {}", table(&header, rows), views.evaluation, views.rows);
    Ok(Answer::new(json, text))
}
