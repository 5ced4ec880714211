//! `icecore monitor`.

use std::path::{Path, PathBuf};

use icecore::monitor::{Comparison, Drift, Measure, Measured, SkewCause, SkewFinding};
use icecore::{CompareOptions, Profiled, Project};
use icecore_core::{Error, Result, SnapshotSelector, TableName};
use serde_json::{Value, json};

use super::Context;
use crate::args::monitor::{CheckArgs, DriftArgs, MonitorCommand, ProfileArgs, SkewArgs};
use crate::report::{Answer, facts, table};

/// The exit status of a check that found something too far.
const DRIFTED: u8 = 1;

pub(super) async fn run(context: &Context, command: MonitorCommand) -> Result<Answer> {
    let project = context.open().await?;
    match command {
        MonitorCommand::Profile(args) => profile(context, &project, args).await,
        MonitorCommand::Drift(args) => drift(context, &project, args).await,
        MonitorCommand::Check(args) => check(context, &project, args).await,
        MonitorCommand::Skew(args) => skew(&project, args).await,
        MonitorCommand::List => list(&project),
    }
}

async fn profile(context: &Context, project: &Project, args: ProfileArgs) -> Result<Answer> {
    if args.store {
        return store(context, project, &args).await;
    }
    context.progress.say(format!("profiling {}", args.source));
    let found = project.profile(&args.source, args.exact).await?;
    let summary = found.profile.summary();
    let json = json!({
        "source": found.name, "rows": found.profile.rows(), "complete": found.complete,
        "notes": found.notes, "columns": summary,
        "categories": categories(&found),
    });
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    let rows = summary.iter().map(|(name, side)| {
        [
            name.clone(),
            format!("{:.2} %", side.missing_rate * 100.0),
            format!("{:.2} %", side.zero_rate * 100.0),
            side.distinct.map_or_else(|| "-".to_owned(), |count| count.to_string()),
            number(side.mean),
            number(side.stddev),
            number(side.min),
            number(side.median),
            number(side.p95),
            number(side.max),
        ]
    });
    let header =
        ["column", "missing", "zero", "distinct", "mean", "spread", "min", "median", "p95", "max"];
    let mut text =
        format!("{} rows of {}\n\n{}", found.profile.rows(), found.name, table(&header, rows));
    for note in &found.notes {
        text.push_str(&format!("\n\nnote: {note}"));
    }
    Ok(Answer::new(json, text))
}

/// The most frequent categories of each column that has some.
fn categories(found: &Profiled) -> Value {
    let columns = found.profile.columns().iter().filter_map(|(name, column)| {
        let ranked = column.categories().ranked();
        let top = ranked.into_iter().take(20).map(|(value, count)| json!([value, count]));
        let top: Vec<Value> = top.collect();
        (!top.is_empty()).then(|| (name.clone(), Value::Array(top)))
    });
    Value::Object(columns.collect())
}

async fn store(context: &Context, project: &Project, args: &ProfileArgs) -> Result<Answer> {
    let (name, at) = args.source.split_once('@').unwrap_or((&args.source, "latest"));
    let (name, at) = (TableName::parse(name)?, SnapshotSelector::parse(at)?);
    if args.dry_run {
        let json = json!({ "dry_run": true, "table": name, "at": at.to_string() });
        return Ok(Answer::new(json, format!("the rows of {name}@{at} would be read once")));
    }
    context.progress.say(format!("profiling {name}"));
    let pin = project.store_profile(&name, &at).await?;
    let json = json!({ "table": pin.table, "snapshot_id": pin.snapshot });
    Ok(Answer::new(json, format!("the statistics of {pin} are in the table's metadata")))
}

async fn drift(context: &Context, project: &Project, args: DriftArgs) -> Result<Answer> {
    context.progress.say("comparing");
    let options = CompareOptions::default().with_exact(args.exact).with_features(args.features);
    let found = project.compare_profiles(&args.reference, &args.current, &options).await?;
    let mut text = drift_text(&found);
    if let Some(path) = args.output {
        write(&path, &icecore::monitor::html(&found))?;
        text.push_str(&format!("\n\nwritten to {}", path.display()));
    }
    Ok(Answer::new(json!(found), text))
}

fn drift_text(found: &Comparison) -> String {
    let drift: &Drift = &found.drift;
    let mut lines = facts(&[
        ("reference", format!("{} ({} rows)", found.reference, drift.reference_rows)),
        ("current", format!("{} ({} rows)", found.current, drift.current_rows)),
    ]);
    let mut header = vec!["feature"];
    header.extend(Measure::ALL.iter().map(|measure| measure.name()));
    let rows = drift.features.iter().map(|feature| {
        let cell = |measure: &Measure| measure.of(feature).map_or_else(String::new, measured);
        std::iter::once(feature.feature.clone())
            .chain(Measure::ALL.iter().map(cell))
            .collect::<Vec<_>>()
    });
    lines.push_str("\n\n");
    lines.push_str(&table(&header, rows));
    for (side, names) in
        [("reference", &drift.only_reference), ("current side", &drift.only_current)]
    {
        if !names.is_empty() {
            lines.push_str(&format!("\n\nonly the {side} has: {}", names.join(", ")));
        }
    }
    for note in &found.notes {
        lines.push_str(&format!("\n\nnote: {note}"));
    }
    lines
}

fn measured(measured: Measured) -> String {
    match measured.error > 0.0 {
        true => format!("{:.4} ±{:.4}", measured.value, measured.error),
        false => format!("{:.4}", measured.value),
    }
}

async fn check(context: &Context, project: &Project, args: CheckArgs) -> Result<Answer> {
    let names = match args.names.is_empty() {
        true => project.definition_names("monitor")?,
        false => args.names,
    };
    if names.is_empty() {
        return Err(Error::not_found("there is no monitor")
            .with_help("write `monitor/NAME.toml` with `name`, `reference` and `current`"));
    }
    let (mut documents, mut texts, mut metrics) = (Vec::new(), Vec::new(), String::new());
    let (mut alerts, mut undecided, mut failed) = (0, 0, Vec::new());
    for (done, name) in names.iter().enumerate() {
        context.progress.say_part(format!("checking {name}"), done as u64, names.len() as u64);
        let found = project.check_monitor(name).await?;
        alerts += found.alerts.len();
        undecided += found.undecided.len();
        if let Some(path) = &args.output {
            write(&page(path, name, names.len()), &icecore::monitor::html(&found))?;
        }
        metrics.push_str(&icecore::monitor::prometheus(&found));
        texts.push(check_text(&found));
        documents.push(json!(found));
        if !args.dry_run {
            failed.extend(project.notify(name, &found).await.err());
        }
    }
    // What was found is said even where somebody could not be told.
    for error in &failed {
        texts.push(crate::report::error_text(error));
    }
    let text = if args.metrics { metrics } else { texts.join("\n\n") };
    let json = json!({
        "alerts": alerts, "undecided": undecided, "monitors": documents,
        "undelivered": failed.iter().map(crate::report::error_json).collect::<Vec<_>>(),
    });
    let status = match (alerts, failed.first()) {
        (0, None) => 0,
        (0, Some(error)) => crate::report::exit_status(error.kind()),
        _ => DRIFTED,
    };
    Ok(Answer::new(json, text).with_status(status))
}

/// Where a monitor's page goes: of several, beside each other.
fn page(path: &Path, name: &str, monitors: usize) -> PathBuf {
    if monitors == 1 {
        return path.to_owned();
    }
    let stem =
        path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    path.with_file_name(format!("{stem}-{name}.html"))
}

fn check_text(found: &Comparison) -> String {
    let mut text = format!("{}: {} of {}", found.name, found.current, found.reference);
    if found.alerts.is_empty() && found.undecided.is_empty() {
        text.push_str("\n  no distance is beyond its threshold");
    }
    for alert in &found.alerts {
        let (measure, threshold) = (alert.measure.name(), alert.threshold);
        text.push_str(&format!(
            "\n  {}: {measure} is {:.4}, at most {threshold}",
            alert.feature, alert.value
        ));
    }
    for undecided in &found.undecided {
        text.push_str(&format!("\n  warning: {}", undecided.sentence()));
    }
    for finding in found.skew.iter().flatten() {
        text.push_str(&format!("\n  {}", finding_text(finding)));
    }
    for note in &found.notes {
        text.push_str(&format!("\n  note: {note}"));
    }
    text
}

fn finding_text(finding: &SkewFinding) -> String {
    format!("{}: {}: {}", finding.cause.name(), finding.subject, finding.evidence)
}

/// Whether what was served is what the tables say of it.
async fn serving_skew(project: &Project, table: &TableName, args: &SkewArgs) -> Result<Answer> {
    let found = project.serving_skew(table, args.service.as_deref(), args.since).await?;
    let mut lines = vec![format!("{} rows of `{}` against its tables", found.rows, found.service)];
    for (name, of) in &found.features {
        lines.push(format!(
            "{name}: {} same, {} differ, {} only in the table, {} only served",
            of.same, of.differ, of.only_table, of.only_served
        ));
    }
    if !found.left_out.is_empty() {
        let names = found.left_out.join(", ");
        lines.push(format!("left out, what they are computed from is not logged: {names}"));
    }
    let status = if found.is_none() { 0 } else { DRIFTED };
    Ok(Answer::new(json!(found), lines.join("\n")).with_status(status))
}

async fn skew(project: &Project, args: SkewArgs) -> Result<Answer> {
    if let Some(table) = &args.serving {
        return serving_skew(project, table, &args).await;
    }
    let name = args.name.as_deref().unwrap_or_default();
    let findings = project.skew(name, args.date).await?;
    let mut lines = Vec::new();
    for cause in SkewCause::ALL {
        let of: Vec<_> = findings.iter().filter(|finding| finding.cause == cause).collect();
        if of.is_empty() {
            lines.push(format!("{}: nothing found", cause.name()));
        }
        lines.extend(of.into_iter().map(finding_text));
    }
    let status = if findings.is_empty() { 0 } else { DRIFTED };
    Ok(Answer::new(json!({ "findings": findings }), lines.join("\n")).with_status(status))
}

fn list(project: &Project) -> Result<Answer> {
    let mut rows = Vec::new();
    for name in project.definition_names("monitor")? {
        let spec = project.monitor(&name)?;
        rows.push([name, spec.reference, spec.current]);
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|[name, reference, current]| {
            json!({ "name": name, "reference": reference, "current": current })
        })
        .collect();
    Ok(Answer::new(json!(json), table(&["monitor", "reference", "current"], rows)))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
    })
}
