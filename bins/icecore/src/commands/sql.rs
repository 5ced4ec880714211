//! `icecore sql`, and writing rows to files.

use std::io::{Read, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, PinnedTable, Result};
use serde_json::json;

use super::Context;
use crate::args::{OutputFormat, SqlArgs};
use crate::report::{Answer, counted};

/// Rows that are shown to people; a file or another format gets all of them.
const TABLE_ROWS_MAX: usize = 1000;

pub(super) async fn run(context: &Context, args: SqlArgs) -> Result<Answer> {
    let project = context.open().await?;
    let query = if args.query == "-" { standard_input()? } else { args.query };
    let pins = project.engine().pin_query(&query, &args.at).await?;
    let rows = project.engine().sql(&query, &pins).await?;
    answer(context, (rows, &pins), args.output.as_deref(), args.format).await
}

/// Rows that were read from these states, in a file or as an answer.
pub(super) async fn answer(
    context: &Context,
    (rows, pins): (BatchStream, &[PinnedTable]),
    output: Option<&Path>,
    format: Option<OutputFormat>,
) -> Result<Answer> {
    if let Some(output) = output {
        let count = write_file(rows, output, format).await?;
        let json = json!({ "rows": count, "output": output, "pins": pin_list(pins) });
        return Ok(Answer::new(json, format!("{} in {}", counted(count, "row"), output.display())));
    }
    let format = match format {
        _ if context.json => OutputFormat::Json,
        Some(format) => format,
        None => OutputFormat::Table,
    };
    match format {
        OutputFormat::Table => people(rows).await,
        OutputFormat::Parquet => Err(Error::invalid("Parquet is not for a terminal")
            .with_help("name a file with `--output FILE`")),
        OutputFormat::Csv => {
            let mut text = Vec::new();
            icecore::files::write_csv(rows, &mut text).await?;
            Ok(Answer::new(json!(null), String::from_utf8_lossy(&text)))
        }
        OutputFormat::Json => {
            let json = icecore::rows::to_json(&rows.concat().await?)?;
            let text = format!("{json:#}");
            Ok(Answer::new(json, text))
        }
    }
}

async fn people(mut rows: BatchStream) -> Result<Answer> {
    let mut batches: Vec<RecordBatch> = vec![RecordBatch::new_empty(rows.schema().clone())];
    let mut shown = 0;
    let mut more = false;
    while let Some(batch) = rows.try_next().await? {
        let take = batch.num_rows().min(TABLE_ROWS_MAX - shown);
        more |= take < batch.num_rows();
        shown += take;
        batches.push(batch.slice(0, take));
        if more {
            break;
        }
    }
    let mut text = crate::rows::text(&batches)?;
    if more {
        text.push_str(&format!(
            "\n(the first {TABLE_ROWS_MAX} rows; all of them with --output FILE or --format csv)"
        ));
    }
    Ok(Answer::new(json!(null), text))
}

fn pin_list(pins: &[PinnedTable]) -> Vec<String> {
    pins.iter().map(ToString::to_string).collect()
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(1 << 20)
        .read_to_string(&mut text)
        .map_err(|error| Error::invalid("cannot read the query").with_source(error))?;
    Ok(text)
}

/// Writes rows to a file that appears whole or not at all; its format goes by the extension, if
/// none is given. Returns how many rows it has.
pub(super) async fn write_file(
    rows: BatchStream,
    path: &Path,
    format: Option<OutputFormat>,
) -> Result<u64> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = format.or(match extension {
        "parquet" => Some(OutputFormat::Parquet),
        "csv" => Some(OutputFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(OutputFormat::Json),
        _ => None,
    });
    let unwritable = |error: std::io::Error| {
        Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
    };
    let partial = path.with_extension(format!("{extension}.partial"));
    let written = match format {
        Some(OutputFormat::Parquet) => icecore::files::write_parquet(rows, &partial).await,
        Some(OutputFormat::Csv) => {
            let file = std::fs::File::create(&partial).map_err(unwritable)?;
            icecore::files::write_csv(rows, &mut std::io::BufWriter::new(file)).await
        }
        Some(OutputFormat::Json) => {
            let file = std::fs::File::create(&partial).map_err(unwritable)?;
            write_json_lines(rows, &mut std::io::BufWriter::new(file)).await
        }
        Some(OutputFormat::Table) | None => {
            Err(Error::invalid(format!("`{}` does not tell a format", path.display()))
                .with_help("end it in .parquet, .csv or .jsonl, or say `--format`"))
        }
    };
    match written {
        Ok(rows) => std::fs::rename(&partial, path).map(|()| rows).map_err(unwritable),
        Err(error) => {
            let _ = std::fs::remove_file(&partial);
            Err(error)
        }
    }
}

async fn write_json_lines(mut rows: BatchStream, to: &mut (impl Write + Send)) -> Result<u64> {
    // Without its nulls a map would be another one.
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(to);
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(count)
}
