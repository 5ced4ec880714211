//! `icecore table changes`: the incremental reader.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use icecore::Project;
use icecore::catalog::{ChangeMode, ChangeOptions};
use icecore_core::{BatchStream, PinnedTable, Result, SnapshotCatalog, SnapshotSelector};
use serde_json::json;

use super::sql;
use crate::args::changes::{ChangesArgs, ChangesMode};
use crate::report::Answer;

pub(super) async fn run(project: &Project, args: ChangesArgs) -> Result<Answer> {
    let to = project.catalog().pin(&args.table, &args.to).await?;
    let from = match &args.from {
        // A reader that found no commit yet was told to go on from there.
        None | Some(SnapshotSelector::Id(PinnedTable::EMPTY)) => {
            PinnedTable { snapshot: PinnedTable::EMPTY, ..to.clone() }
        }
        Some(from) => project.catalog().pin(&args.table, from).await?,
    };
    let mode = match args.mode {
        ChangesMode::Net => ChangeMode::Net,
        ChangesMode::Log => ChangeMode::Log,
    };
    let options = ChangeOptions::new(mode).with_key(args.key);
    let found = project.catalog().changes(&from, &to, options).await?;
    let mut json = json!({
        "table": args.table, "from": from.snapshot, "to": to.snapshot,
        "files_read": found.files_read, "files_skipped": found.files_skipped,
    });
    let next = format!("continue later with --from {}", to.snapshot);
    if let Some(output) = &args.output {
        let count = sql::write_file(found.rows, output, None).await?;
        json["row_count"] = json!(count);
        json["output"] = json!(output);
        let text = format!("{count} changes are in {}\n{next}", output.display());
        return Ok(Answer::new(json, text));
    }
    let (batches, more) = first_rows(found.rows, args.rows).await?;
    let shown: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut text = match shown {
        0 => format!("nothing changed between {} and {}", from.snapshot, to.snapshot),
        _ => crate::rows::text(&batches)?,
    };
    if more {
        // Whoever went on from the end would miss the others.
        text.push_str(&format!("\n(the first {shown} changes; all of them with --output FILE)"));
    } else {
        text.push_str(&format!("\n{next}"));
    }
    let schema = batches.first().map(RecordBatch::schema);
    let rows = match schema {
        Some(schema) => {
            icecore::rows::to_json(&arrow::compute::concat_batches(&schema, &batches)?)?
        }
        None => json!([]),
    };
    json["rows"] = rows;
    json["truncated"] = json!(more);
    Ok(Answer::new(json, text))
}

/// The first rows of a stream, and whether there are more.
async fn first_rows(mut rows: BatchStream, limit: usize) -> Result<(Vec<RecordBatch>, bool)> {
    let mut batches = Vec::new();
    let mut left = limit;
    while let Some(batch) = rows.try_next().await? {
        if batch.num_rows() > left {
            batches.push(batch.slice(0, left));
            return Ok((batches, true));
        }
        left -= batch.num_rows();
        batches.push(batch);
    }
    Ok((batches, false))
}
