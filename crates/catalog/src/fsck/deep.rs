//! Whether files hold what their manifests say: every row is read.

mod deletes;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::DataContentType;
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::entries::{Contents, StoredFile};
use super::finding::{FindingKind, Findings};
use super::{guarded, in_words, is_damage};
use crate::scan::FileTask;
use crate::storage::{KnownFile as _, ListedFile, read_puffin};

/// Files that are read at once.
const FILES_AT_ONCE: usize = 2;
/// Rows that are looked at at a time.
const BATCH_ROWS: usize = 8192;

/// What is wrong with one file, in words.
type Wrong = Vec<(FindingKind, String)>;

/// Data files by path.
type DataFiles = Arc<HashMap<String, Arc<ListedFile>>>;

/// Reads every file, and returns how many rows that were.
pub(super) async fn check(
    table: &Table,
    contents: &Contents,
    findings: &mut Findings,
) -> Result<u64> {
    let is_data = |of: &&StoredFile| of.file.content_type() == DataContentType::Data;
    let data: DataFiles = Arc::new(
        contents
            .files
            .iter()
            .filter(is_data)
            .map(|of| (of.file.file_path().to_owned(), Arc::new(of.file.clone().into())))
            .collect(),
    );
    let tasks: Vec<FileTask> = contents.files.iter().map(task_of).collect();
    let mut checks = stream::iter(tasks)
        .map(|task| {
            let (table, data) = (table.clone(), data.clone());
            async move {
                let path = task.file.file_path().to_owned();
                let check = guarded(async move {
                    match task.file.content_type() {
                        DataContentType::Data => rows::check(&table, &task).await,
                        _ => deletes::check(&table, task, &data).await,
                    }
                });
                match check.await {
                    Ok((wrong, rows)) => Ok::<_, Error>((path, wrong, rows)),
                    Err(error) if is_damage(&error) => {
                        Ok((path, vec![(FindingKind::UnreadableFile, in_words(&error))], 0))
                    }
                    Err(error) => Err(error),
                }
            }
        })
        .buffered(FILES_AT_ONCE);
    let mut all = 0;
    while let Some((path, wrong, rows)) = checks.try_next().await? {
        all += rows;
        for (kind, message) in wrong {
            findings.add(kind, &path, message);
        }
    }
    statistics(table, findings).await?;
    Ok(all)
}

/// Reads the statistics of every snapshot.
async fn statistics(table: &Table, findings: &mut Findings) -> Result<()> {
    for file in table.metadata().statistics_iter() {
        let path = &file.statistics_path;
        let (io, at) = (table.file_io().clone(), path.clone());
        let read = guarded(async move { read_puffin(&io, &at).await.map(drop) });
        match read.await {
            Err(error) if is_damage(&error) => {
                let message = format!("{}; it holds statistics, and no rows", in_words(&error));
                findings.add(FindingKind::UnreadableFile, path, message);
            }
            done => done?,
        }
    }
    Ok(())
}

/// A file by itself, without what deletes rows of it.
fn task_of(of: &StoredFile) -> FileTask {
    FileTask {
        file: Arc::new(of.file.clone().into()),
        spec_id: of.spec_id,
        sequence: 0,
        first_row_id: None,
        deletes: Vec::new(),
    }
}

/// That a file has as many rows as recorded.
fn check_count(file: &ListedFile, rows: u64, wrong: &mut Wrong) {
    if rows != file.record_count() {
        let recorded = file.record_count();
        let message = format!("it holds {rows} rows, and its manifest says {recorded}");
        wrong.push((FindingKind::WrongRowCount, message));
    }
}
