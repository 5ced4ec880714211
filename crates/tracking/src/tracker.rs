//! Runs and models in SQL.

use std::sync::Arc;

use icecore_core::{Clock, Error, ErrorKind, Result, RunId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::database::{Database, Tx, cannot_read};

mod deletion;
mod models;
mod runs;

pub use deletion::{DeleteOptions, DeletedRun, DeletedRuns};
pub use runs::MetricPoint;

/// Runs and models in an SQLite file, safe to use from many processes at once.
///
/// One call is one transaction: what it returned for is on disk. Clones share the connections.
#[derive(Debug, Clone)]
pub struct SqlTracker {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqlTracker {
    /// Opens or creates the file that `sqlite:PATH` names. It may be the one of a catalog.
    ///
    /// # Errors
    ///
    /// `InvalidInput` or `Unsupported` for another URI, `Unsupported` if a newer icecore wrote the
    /// tables, `DataCorrupt` if the file is not a database, `Unavailable` if it cannot be opened.
    pub async fn open(uri: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self { database: Database::open(uri).await?, clock })
    }
}

/// Reads a column of a row.
fn column<'row, T>(row: &'row SqliteRow, name: &str) -> Result<T>
where
    T: Decode<'row, Sqlite> + Type<Sqlite>,
{
    row.try_get(name).map_err(cannot_read)
}

fn moment(row: &SqliteRow, name: &str) -> Result<Timestamp> {
    column::<i64>(row, name).map(Timestamp::from_micros)
}

/// That a run is there.
async fn expect_run(tx: &mut Tx, run: &RunId) -> Result<()> {
    let query = "SELECT 1 FROM icecore_runs WHERE run_id = ? AND deleted_at IS NULL";
    let found: Option<i64> = sqlx::query_scalar(query)
        .bind(run.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(cannot_read)?;
    match found {
        Some(_) => Ok(()),
        None => Err(unknown_run(tx, run).await),
    }
}

/// The error for a run that is not there: it says whether it was deleted, or names the newest ones
/// and one that looks alike.
async fn unknown_run(tx: &mut Tx, run: &RunId) -> Error {
    const LISTED_MAX: usize = 5;
    match deleted_run(tx, run).await {
        Ok(None) => {}
        Ok(Some(deleted)) | Err(deleted) => return deleted,
    }
    let query = "SELECT run_id, name FROM icecore_runs WHERE deleted_at IS NULL
                 ORDER BY entry DESC LIMIT 1000";
    let error = Error::not_found(format!("there is no run `{}`", run.as_str().escape_debug()));
    let known: Vec<(String, String)> =
        match sqlx::query_as(query).fetch_all(&mut **tx).await.map_err(cannot_read) {
            Ok(known) => known,
            Err(broken) => return broken,
        };
    if known.is_empty() {
        return error.with_note("no run was recorded yet");
    }
    let newest: Vec<String> =
        known.iter().take(LISTED_MAX).map(|(id, name)| format!("{id} ({name})")).collect();
    error
        .with_note(format!("the newest runs: {}", newest.join(", ")))
        .with_candidates(run.as_str(), known.iter().map(|(id, _)| id.as_str()))
}

/// The error for a run that was deleted, if it was.
async fn deleted_run(tx: &mut Tx, run: &RunId) -> Result<Option<Error>> {
    let query = "SELECT deleted_at, removing FROM icecore_runs
                 WHERE run_id = ? AND deleted_at IS NOT NULL";
    let row = sqlx::query(query).bind(run.as_str()).fetch_optional(&mut **tx).await;
    let Some(row) = row.map_err(cannot_read)? else { return Ok(None) };
    let error = Error::not_found(format!("run `{run}` was deleted"))
        .with_note(format!("it was deleted at {}", moment(&row, "deleted_at")?));
    Ok(Some(if column(&row, "removing")? {
        error.with_note("its files are being removed").with_help("`icecore runs gc` ends that")
    } else {
        error.with_help(format!("`icecore runs restore {run}` brings it back"))
    }))
}

/// A name that a person gives to something: not empty, and without control characters.
fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{}` is no name for {what}", name.escape_debug()),
        )
        .with_note("a name is not empty and has no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
