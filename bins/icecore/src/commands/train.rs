//! `icecore train` and `icecore reproduce`.

use icecore_core::{Error, ErrorKind, Result, RunId};
use serde_json::json;

use super::Context;
use crate::args::{ReproduceArgs, TrainArgs};
use crate::report::{Answer, facts};

pub(super) async fn run(context: &Context, args: TrainArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("training {}", args.name));
    let report = project.train(&args.name, args.at.as_ref()).await?;
    let metric = |name: &str| {
        report.metrics.get(name).map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
    };
    let importance: Vec<String> = report
        .importance
        .iter()
        .take(5)
        .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
        .collect();
    let mut lines = vec![
        ("model", format!("{} version {}", report.model, report.version)),
        ("trained on", format!("{} ({} rows)", report.dataset, report.rows)),
        ("val_auc_roc", metric("val_auc_roc")),
        ("cv_auc", format!("{} ± {}", metric("cv_auc_mean"), metric("cv_auc_std"))),
        ("hash", report.model_hash.clone()),
        ("run", report.run_id.to_string()),
    ];
    if !importance.is_empty() {
        lines.push(("importance", importance.join(", ")));
    }
    lines.push((
        "next",
        format!("icecore models promote {} {} --to Production", report.model, report.version),
    ));
    Ok(Answer::new(json!(report), facts(&lines)))
}

pub(super) async fn reproduce(context: &Context, args: ReproduceArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("training run {} again", args.run));
    let report = project.reproduce(&RunId::new(args.run)).await?;
    if !report.equal {
        return Err(Error::new(
            ErrorKind::DataCorrupt,
            format!("the model of run `{}` came out different", report.run_id),
        )
        .with_note(format!("recorded {}", report.recorded_hash))
        .with_note(format!("now      {}", report.model_hash))
        .with_help("compare the code's version with the run's: `icecore runs show RUN`"));
    }
    let text = facts(&[
        ("equal", "yes, bit for bit".to_owned()),
        ("model", report.model_hash.clone()),
        ("content", report.content_hash.clone()),
    ]);
    Ok(Answer::new(json!(report), text))
}
