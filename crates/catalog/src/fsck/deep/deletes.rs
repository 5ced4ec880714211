//! The rows of a delete file.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use iceberg::metadata_columns::{delete_file_path_field, delete_file_pos_field};
use iceberg::spec::{DataContentType, DataFileFormat, NestedFieldRef, Schema};
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::{BATCH_ROWS, DataFiles, Wrong, check_count};
use crate::error::Context;
use crate::fsck::finding::FindingKind;
use crate::scan::{DeleteTask, FileTask, TaskRead, deleted_positions, read_task};
use crate::storage::KnownFile as _;

/// Reads a delete file, and says what is wrong with it and how many rows it has.
pub(super) async fn check(table: &Table, task: FileTask, data: &DataFiles) -> Result<(Wrong, u64)> {
    match (task.file.content_type(), task.file.file_format()) {
        (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
            vector(table, task, data).await
        }
        (DataContentType::PositionDeletes, _) => positions(table, &task, data).await,
        _ => keys(table, &task).await,
    }
}

fn reading(columns: Vec<NestedFieldRef>) -> Result<TaskRead> {
    let schema = Schema::builder().with_fields(columns).build();
    let schema = schema.context(|| "cannot describe a delete file")?;
    Ok(TaskRead {
        columns: Arc::new(schema),
        filter: None,
        positions: false,
        groups: None,
        batch_rows: BATCH_ROWS,
    })
}

async fn positions(table: &Table, task: &FileTask, data: &DataFiles) -> Result<(Wrong, u64)> {
    let read = reading(vec![delete_file_path_field().clone(), delete_file_pos_field().clone()])?;
    let mut batches = read_task(table, task, &read);
    let (mut rows, mut wrong) = (0, Wrong::new());
    let mut last: Option<(String, i64)> = None;
    let (mut unordered, mut outside) = (0_u64, 0_u64);
    while let Some(batch) = batches.try_next().await? {
        let [paths, places] = batch.columns() else { continue };
        let paths = arrow::compute::cast(paths, &DataType::Utf8)?;
        let (paths, places) = (paths.as_string::<i32>(), places.as_primitive::<Int64Type>());
        for (path, place) in paths.iter().zip(places.iter()) {
            rows += 1;
            let (Some(path), Some(place)) = (path, place) else {
                outside += 1;
                continue;
            };
            let in_order =
                last.as_ref().is_none_or(|(of, before)| (of.as_str(), *before) <= (path, place));
            unordered += u64::from(!in_order);
            // A file that no snapshot holds any more has no end that is known.
            let end = data.get(path).map_or(u64::MAX, |file| file.record_count());
            outside += u64::from(u64::try_from(place).is_ok_and(|place| place >= end) || place < 0);
            last = Some((path.to_owned(), place));
        }
    }
    if unordered > 0 {
        let message = format!("{unordered} positions come before the one above them");
        wrong.push((FindingKind::BadPosition, message));
    }
    if outside > 0 {
        wrong.push((FindingKind::BadPosition, format!("{outside} positions are of no row")));
    }
    check_count(&task.file, rows, &mut wrong);
    Ok((wrong, rows))
}

async fn vector(table: &Table, task: FileTask, data: &DataFiles) -> Result<(Wrong, u64)> {
    let (mut wrong, file) = (Wrong::new(), task.file);
    // One of a file that no snapshot holds any more deletes nothing.
    let Some(of) = file.referenced_data_file().and_then(|path| data.get(path).cloned()) else {
        return Ok((wrong, 0));
    };
    let delete = DeleteTask::new((*file).clone(), task.spec_id, task.sequence);
    let task = FileTask { file: of, deletes: vec![Arc::new(delete)], ..task };
    let positions = deleted_positions(table, &task).await?;
    check_count(&file, positions.len(), &mut wrong);
    Ok((wrong, positions.len()))
}

async fn keys(table: &Table, task: &FileTask) -> Result<(Wrong, u64)> {
    let mut columns = Vec::new();
    for &id in task.file.equality_ids() {
        let mut schemas = table.metadata().schemas_iter();
        let column = schemas.find_map(|schema| schema.field_by_id(id));
        let column = column.ok_or_else(|| {
            Error::corrupt(format!(
                "`{}` deletes by column {id}, which the table never had",
                task.file.file_path()
            ))
        })?;
        columns.push(column.clone());
    }
    let mut batches = read_task(table, task, &reading(columns)?);
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    let mut wrong = Wrong::new();
    check_count(&task.file, rows, &mut wrong);
    Ok((wrong, rows))
}
