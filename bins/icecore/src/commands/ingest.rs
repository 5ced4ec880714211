//! `icecore ingest`.

use icecore::files::{FileFormat, OnError};
use icecore::{IngestJob, IngestReport};
use icecore_core::{PinnedTable, Result, WriteMode};
use serde_json::{Value, json};

use super::Context;
use crate::args::ingest::{self, IngestArgs, InputFormat, Mode};
use crate::report::{Answer, facts};

/// How many rejected rows an answer lists.
const REJECTS_SHOWN: usize = 20;

pub(super) async fn run(context: &Context, args: IngestArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("reading {} files into {}", args.files.len(), args.table));
    let rows = super::rows::row_write(&args)?;
    let mut job = IngestJob::new(args.table, args.files).with_partition_by(args.partition_by);
    job.rows = rows;
    job.mode = match args.mode {
        Mode::Append | Mode::Upsert => WriteMode::Append,
        Mode::Overwrite => WriteMode::Overwrite,
        Mode::OverwritePartitions => WriteMode::OverwritePartitions,
    };
    job.sort_by = args.sort_by;
    job.on_error = match args.on_error {
        ingest::OnError::Fail => OnError::Fail,
        ingest::OnError::Skip => OnError::Skip,
    };
    job.format = args.format.map(|format| match format {
        InputFormat::Parquet => FileFormat::Parquet,
        InputFormat::Csv => FileFormat::Csv,
        InputFormat::Json => FileFormat::JsonLines,
    });
    job.job_id = args.job_id;
    job.branch = args.branch;
    job.create_branch = args.create_branch;
    job.format_version = args.format_version;
    job.dry_run = args.dry_run;
    let job_id = job.job_id.clone();
    let report = project.ingest(job).await?;
    Ok(Answer::new(document(&report), text(&report, job_id.as_deref())))
}

/// The answer's document.
pub(crate) fn document(report: &IngestReport) -> Value {
    let rejects: Vec<Value> = report
        .rejects
        .iter()
        .take(REJECTS_SHOWN)
        .map(|reject| {
            json!({
                "file": reject.file, "line": reject.line, "column": reject.column,
                "message": reject.message,
            })
        })
        .collect();
    let widened = report.widened_columns.iter();
    let widened: Vec<Value> = widened
        .map(|wide| json!({ "column": wide.column, "from": wide.from, "to": wide.to }))
        .collect();
    let snapshot = report.pinned.as_ref().map(|pin| pin.snapshot);
    let snapshot = snapshot.filter(|snapshot| *snapshot != PinnedTable::EMPTY);
    let mut document = json!({
        "table": report.table,
        "snapshot_id": snapshot,
        "rows": report.rows,
        "rejected": report.rejected,
        "rejects": rejects,
        "created": report.created,
        "added_columns": report.added_columns,
        "widened_columns": widened,
        "changed": report.changed,
        "notes": report.notes,
    });
    if let Some(changes) = &report.row_changes {
        super::rows::add_counts(&mut document, changes);
    }
    document
}

fn text(report: &IngestReport, job_id: Option<&str>) -> String {
    let mut lines = match &report.pinned {
        Some(pin) => {
            // A table without a commit has no snapshot to name.
            let is_empty = pin.snapshot == PinnedTable::EMPTY;
            let name = if is_empty { pin.table.to_string() } else { pin.to_string() };
            let new = if report.created { " (new)" } else { "" };
            vec![("rows", report.rows.to_string()), ("table", format!("{name}{new}"))]
        }
        None => vec![("dry run", format!("{} rows would go to {}", report.rows, report.table))],
    };
    if let Some(changes) = &report.row_changes {
        lines.push(("", super::rows::counts(changes)));
    }
    if !report.changed && !report.created && report.pinned.is_some() {
        lines.push((
            "unchanged",
            match job_id {
                Some(job) => format!("job `{job}` was done before, or there was nothing to change"),
                None => "there was nothing to change".to_owned(),
            },
        ));
    }
    if !report.added_columns.is_empty() {
        lines.push(("new columns", report.added_columns.join(", ")));
    }
    let widened = report.widened_columns.iter();
    lines.extend(
        widened
            .map(|wide| ("widened", format!("{} from {} to {}", wide.column, wide.from, wide.to))),
    );
    if report.rejected > 0 {
        lines.push(("rejected", format!("{} rows", report.rejected)));
    }
    for reject in report.rejects.iter().take(REJECTS_SHOWN) {
        let place = format!("{}:{}:{}", reject.file, reject.line, reject.column);
        lines.push(("", format!("{place}: {}", reject.message)));
    }
    lines.extend(report.notes.iter().map(|note| ("note", note.clone())));
    facts(&lines)
}
