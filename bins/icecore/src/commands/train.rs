//! `icecore train` and `icecore reproduce`.

use std::collections::BTreeMap;

use icecore::{ReproduceOptions, ReproduceReport, RowsProof, TrainOptions};
use icecore_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::Context;
use crate::args::{ReproduceArgs, TrainArgs};
use crate::report::{Answer, facts};

pub(super) async fn run(context: &Context, args: TrainArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("training {}", args.name));
    let options = TrainOptions::default().with_at(args.at).with_streams(args.stream);
    let report = project.train_opts(&args.name, options).await?;
    let importance: Vec<String> = report
        .importance
        .iter()
        .take(5)
        .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
        .collect();
    let mut lines = vec![
        ("model", format!("{} version {}", report.model, report.version)),
        ("trained on", format!("{} ({} rows)", report.dataset, report.rows)),
        ("validated", quality(&report.metrics, "val_")),
        ("cross-validated", quality(&report.metrics, "cv_")),
        ("hash", report.model_hash.clone()),
        ("run", report.run_id.to_string()),
    ];
    if report.importance.iter().any(|(_, share)| *share != 0.0) {
        lines.push(("importance", importance.join(", ")));
    }
    lines.extend(report.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines.push((
        "next",
        format!("icecore models promote {} {} --to Production", report.model, report.version),
    ));
    Ok(Answer::new(json!(report), facts(&lines)))
}

/// The metrics whose names begin so, in one line.
fn quality(metrics: &BTreeMap<String, f64>, prefix: &str) -> String {
    let shown: Vec<String> = metrics
        .iter()
        .filter(|(name, _)| name.starts_with(prefix) && !name.ends_with("_count"))
        .map(|(name, value)| match name.strip_suffix("_mean") {
            Some(mean) => {
                let std = metrics.get(&format!("{mean}_std")).copied().unwrap_or(0.0);
                format!("{mean} {value:.4} ± {std:.4}")
            }
            None => format!("{name} {value:.4}"),
        })
        .filter(|text| !text.contains("_std "))
        .collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

pub(super) async fn reproduce(context: &Context, args: ReproduceArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("training run {} again", args.run));
    let run = super::runs::run_named(&project, &args.run).await?;
    let rows = if args.from_table { RowsProof::Table } else { RowsProof::Rebuilt };
    let options = ReproduceOptions::default().with_rows(rows);
    let report = project.reproduce_opts(&run, options).await?;
    if !report.equal {
        return Err(unequal(&report));
    }
    let from = match report.rows {
        RowsProof::Rebuilt => "joined again from the pinned inputs",
        _ => "read from their table",
    };
    let compared = match report.recorded_content_hash {
        Some(_) => "equal to the run's",
        None => "the run recorded no hash to compare with",
    };
    let text = facts(&[
        ("equal", "yes, bit for bit".to_owned()),
        ("model", report.model_hash.clone()),
        ("content", report.content_hash.clone()),
        ("rows", format!("{}, {from}: {compared}", report.row_count)),
    ]);
    Ok(Answer::new(json!(report), text))
}

/// What is other than the run recorded.
fn unequal(report: &ReproduceReport) -> Error {
    let run = &report.run_id;
    let recorded = report.recorded_content_hash.as_ref();
    let other_rows = recorded.filter(|recorded| **recorded != report.content_hash);
    let what = if other_rows.is_some() { "rows" } else { "model" };
    let message = format!("the {what} of run `{run}` came out different");
    let mut error = Error::new(ErrorKind::DataCorrupt, message);
    if let Some(recorded) = other_rows {
        error = error
            .with_note(format!("rows recorded {recorded}"))
            .with_note(format!("rows now      {}", report.content_hash));
    }
    error = error
        .with_note(format!("recorded {}", report.recorded_hash))
        .with_note(format!("now      {}", report.model_hash));
    for difference in report.environment.iter().chain(&report.difference) {
        error = error.with_note(difference.clone());
    }
    error.with_help(match other_rows {
        Some(_) => "`icecore dataset verify NAME` names the column and the row that differ",
        None => "compare the code's version with the run's: `icecore runs show RUN`",
    })
}
