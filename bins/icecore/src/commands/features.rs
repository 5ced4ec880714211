//! `icecore features`.

mod explain;
mod get;
mod registry;

use icecore::Project;
use icecore::features::{
    BackfillCallback, BackfillOptions, BackfillProgress, ComputeMode, ComputeOptions,
    ComputeReport, ExplainOptions, Progress, ProgressCallback, VerifyOptions, VerifyReport,
    parse_entity,
};
use icecore_core::{FeatureView, Result, SnapshotCatalog, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::args::features::{BackfillArgs, ComputeArgs, FeaturesCommand};
use crate::report::{Answer, facts, table_or};

pub(super) async fn run(context: &Context, command: FeaturesCommand) -> Result<Answer> {
    let project = context.open().await?;
    let definitions = project.definitions()?;
    match command {
        FeaturesCommand::List => Ok(list(&definitions.views)),
        FeaturesCommand::Show { view } => {
            let view = definitions.view(&view)?;
            let hash = definitions.definition_hash(view);
            Ok(show(view, &definitions.join_keys(view)?, &hash))
        }
        FeaturesCommand::Search(args) => Ok(registry::found(&definitions, args)),
        FeaturesCommand::History { view } => registry::history(&project, view.as_deref()).await,
        FeaturesCommand::Diff { view, from, to } => registry::diff(&project, &view, from, to).await,
        FeaturesCommand::Apply { yes, dry_run } => registry::apply(&project, yes, dry_run).await,
        FeaturesCommand::Lineage { view, openlineage } => {
            registry::lineage(&project, &view, openlineage.as_deref()).await
        }
        FeaturesCommand::Get(args) => get::run(context, &project, *args).await,
        FeaturesCommand::Check => {
            project.check_features().await?;
            let views = definitions.views.len();
            Ok(Answer::new(json!({ "views": views, "errors": 0 }), format!("{views} views fit")))
        }
        FeaturesCommand::Compute(args) => compute(context, &project, args).await,
        FeaturesCommand::Backfill(args) => backfill(context, &project, args).await,
        FeaturesCommand::Verify { view, sample, seed } => {
            context.progress.say(format!("verifying {view}"));
            let options = VerifyOptions::new(sample).with_seed(seed);
            Ok(verified(&project.verify_features(&view, options).await?))
        }
        FeaturesCommand::Explain { view, entity, at, events } => {
            let found = definitions.view(&view)?;
            let entity = parse_entity(&definitions, found, &entity.join(","))?;
            let mut options = ExplainOptions::new(entity, at);
            options.events_max = events;
            explain::answer(&project.explain_features(&view, options).await?)
        }
    }
}

async fn compute(context: &Context, project: &Project, args: ComputeArgs) -> Result<Answer> {
    let progress = context.progress.clone();
    progress.say(format!("computing {}", args.view));
    let name = args.view.clone();
    let mode = match (args.full, args.from, args.to) {
        (true, ..) => ComputeMode::Full,
        (false, None, None) => ComputeMode::Incremental,
        _ => ComputeMode::Range,
    };
    let is_whole = args.from.is_none() && args.to.is_none();
    let all = if is_whole { events_to_read(project, &args.view, mode).await } else { None };
    let options = ComputeOptions {
        from: args.from,
        to: args.to,
        mode,
        dry_run: args.dry_run,
        progress: Some(ProgressCallback::new(move |done: Progress| {
            let (read, rows) = (done.rows_in, done.rows_out);
            match all {
                Some(all) => {
                    let what =
                        format!("computing {name}: {read} of {all} events read, {rows} rows");
                    progress.say_part(what, read, all);
                }
                None => progress.say(format!("computing {name}: {read} events read, {rows} rows")),
            }
        })),
        ..ComputeOptions::default()
    };
    let report = project.compute_features(&args.view, options).await?;
    let mut answer = Answer::new(document(&report), text(&report, args.dry_run));
    if let Some(sample) = args.verify_sample {
        context.progress.say(format!("verifying {}", args.view));
        let options = VerifyOptions::new(sample);
        let verified = verified(&project.verify_features(&args.view, options).await?);
        answer.text = format!("{}\n{}", answer.text, verified.text);
        if let Value::Object(document) = &mut answer.json {
            document.insert("verified".to_owned(), verified.json);
        }
    }
    Ok(answer)
}

/// How many events a computation reads, as the metadata of their table say, where it reads all of
/// them. It is there to be shown: where it cannot be told, the computation says why.
async fn events_to_read(project: &Project, view: &str, mode: ComputeMode) -> Option<u64> {
    let definitions = project.definitions().ok()?;
    let view = definitions.view(view).ok()?;
    let catalog = project.catalog();
    let reads_all = match mode {
        ComputeMode::Full => true,
        ComputeMode::Incremental => {
            let table = catalog.describe(view.table.as_ref()?).await;
            table.map_or(true, |table| table.head.is_none())
        }
        _ => false,
    };
    let source = view.source.as_ref().filter(|_| reads_all)?;
    let head = catalog.describe(source).await.ok()?.head?;
    let history = catalog.history(source).await.ok()?;
    let state = history.iter().find(|state| state.id == head)?;
    u64::try_from(state.count("total-records")).ok().filter(|rows| *rows > 0)
}

async fn backfill(context: &Context, project: &Project, args: BackfillArgs) -> Result<Answer> {
    let (progress, name) = (context.progress.clone(), args.view.clone());
    let mut options = BackfillOptions::default();
    (options.from, options.to, options.step) = (args.from, args.to, args.step);
    (options.restart, options.dry_run) = (args.restart, args.dry_run);
    options.progress = Some(BackfillCallback::new(move |at: BackfillProgress| {
        let what = format!(
            "{name}: step {} of {}, {} events read, {} rows",
            at.step, at.steps, at.rows_in, at.rows_out
        );
        progress.say_part(what, at.step.saturating_sub(1) as u64, at.steps as u64);
    }));
    let report = project.backfill_features(&args.view, options).await?;
    let json = json!({
        "view": report.view, "table": report.table, "snapshot_id": report.snapshot_id,
        "rows": report.rows, "input_rows": report.input_rows, "sources": report.sources,
        "definition_hash": report.definition_hash, "backfill_id": report.backfill_id,
        "resumed": report.resumed, "steps": report.steps.len(), "skipped": report.skipped,
        "notes": report.notes,
    });
    let (steps, skipped) = (report.steps.len(), report.skipped);
    let done = if args.dry_run {
        format!("{steps}, of which {skipped} are done; up to {} events to read", report.input_rows)
    } else {
        format!("{steps}, of which {skipped} were done before")
    };
    let mut lines = vec![("view", report.view.clone()), ("steps", done)];
    if let Some(id) = report.snapshot_id {
        lines.push(("rows", format!("{} -> {}@{id}", report.rows, report.table)));
    }
    if report.resumed {
        lines.push(("resumed", "with the sources that it began with".to_owned()));
    }
    let sources: Vec<String> = report.sources.iter().map(ToString::to_string).collect();
    lines.push(("from", sources.join(", ")));
    lines.extend(report.notes.iter().map(|note| ("note", note.clone())));
    Ok(Answer::new(json, facts(&lines)))
}

fn verified(report: &VerifyReport) -> Answer {
    let json = json!({
        "view": report.view, "table": report.table, "sources": report.sources,
        "entities": report.entities, "rows": report.rows, "equal": true,
    });
    let (entities, rows) = (report.entities, report.rows);
    Answer::new(json, format!("{rows} rows of {entities} entities are equal, computed again"))
}

fn list(views: &[FeatureView]) -> Answer {
    let source = |view: &FeatureView| {
        view.source.as_ref().map_or_else(|| "(query)".to_owned(), ToString::to_string)
    };
    let target =
        |view: &FeatureView| view.table.as_ref().map(ToString::to_string).unwrap_or_default();
    let json = views.iter().map(|view| {
        json!({
            "view": view.name, "entities": view.entities, "source": source(view),
            "table": view.table, "features": view.feature_names(),
            "description": view.description, "owner": view.owner, "tags": view.tags,
        })
    });
    let rows = views.iter().map(|view| {
        [
            view.name.clone(),
            view.entities.join(", "),
            source(view),
            target(view),
            view.feature_names().len().to_string(),
            view.owner.clone().unwrap_or_default(),
        ]
    });
    let header = ["view", "entities", "source", "table", "features", "owner"];
    let empty = "there is no feature view: features/ has no definition";
    Answer::new(json.collect(), table_or(&header, rows, empty))
}

fn show(view: &FeatureView, keys: &[String], hash: &str) -> Answer {
    let mut lines = vec![
        ("view", view.name.clone()),
        ("description", view.description.clone().unwrap_or_default()),
        ("keys", keys.join(", ")),
        ("hash", hash.to_owned()),
    ];
    lines.extend(view.source.as_ref().map(|source| ("source", source.to_string())));
    lines.extend(view.table.as_ref().map(|table| ("table", table.to_string())));
    lines.extend(view.ttl.map(|ttl| ("ttl", ttl.to_string())));
    for aggregate in &view.aggregates {
        let filter = aggregate.filter.as_ref().map(|f| format!(" where {f}")).unwrap_or_default();
        for window in &aggregate.windows {
            lines.push((
                "feature",
                format!(
                    "{} = {}({}) over {window}{filter}",
                    aggregate.column_name(*window),
                    json!(aggregate.function).as_str().unwrap_or_default(),
                    aggregate.column.as_deref().unwrap_or("*")
                ),
            ));
        }
    }
    lines.extend(view.columns.iter().map(|column| ("feature", column.clone())));
    let derived =
        view.derived.iter().map(|d| ("feature", format!("{} = {}", d.name, d.expression)));
    lines.extend(derived);
    let json = json!({ "definition": view, "join_keys": keys, "definition_hash": hash });
    Answer::new(json, facts(&lines))
}

/// The answer's document.
pub(crate) fn document(report: &ComputeReport) -> Value {
    json!({
        "view": report.view,
        "table": report.table,
        "snapshot_id": report.snapshot_id,
        "rows": report.rows,
        "changed": report.changed,
        "input_rows": report.input_rows,
        "excluded_rows": report.excluded_rows,
        "removed_rows": report.removed_rows,
        "entities": report.entities,
        "definition_hash": report.definition_hash,
        "sources": report.sources,
        "from": report.range.from,
        "to": report.range.to,
        "added_columns": report.added_columns,
        "notes": report.notes,
    })
}

/// The answer in a line.
pub(crate) fn summary(report: &ComputeReport) -> String {
    let state =
        report.snapshot_id.map(|id| format!(" -> {}@{id}", report.table)).unwrap_or_default();
    if report.changed {
        format!("{} rows from {} events{state}", report.rows, report.input_rows)
    } else if report.rows == 0 {
        format!("nothing to compute: the source has no event here{state}")
    } else {
        format!("{} rows are in already{state}", report.rows)
    }
}

fn text(report: &ComputeReport, dry_run: bool) -> String {
    let time = |moment: Option<Timestamp>, open: &str| {
        moment.map_or_else(|| open.to_owned(), |moment| moment.to_string())
    };
    let sources: Vec<String> = report.sources.iter().map(ToString::to_string).collect();
    let done = if dry_run {
        format!("would read up to {} events and write {}", report.input_rows, report.table)
    } else {
        summary(report)
    };
    let range =
        format!("{} .. {}", time(report.range.from, "first"), time(report.range.to, "last"));
    let mut lines = vec![
        ("view", report.view.clone()),
        (if dry_run { "dry run" } else { "rows" }, done),
        ("range", range),
        ("from", sources.join(", ")),
        ("definition", report.definition_hash.clone()),
    ];
    if let Some(entities) = report.entities {
        let removed = report.removed_rows;
        lines.push(("touched", format!("{entities} entities, {removed} rows replaced")));
    }
    if report.excluded_rows > 0 {
        lines.push(("left out", format!("{} events without key or time", report.excluded_rows)));
    }
    if let Some((first, last)) = report.days {
        lines.push(("days", format!("{first} .. {last}")));
    }
    lines.extend(report.notes.iter().map(|note| ("note", note.clone())));
    facts(&lines)
}
