//! The SQLite file: opening it, its version, and transactions.

use std::path::Path;
use std::time::Duration;

use icecore_core::{Error, ErrorKind, Result};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tracing::info;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers do not wait for each other in WAL mode; writers wait for one another anyway.
const CONNECTIONS_MAX: u32 = 4;
/// One script per version, from version one. What was released is never edited.
const MIGRATIONS: [&str; 2] = [include_str!("database/v1.sql"), include_str!("database/v2.sql")];

pub(crate) type Tx = Transaction<'static, Sqlite>;

#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: SqlitePool,
}

impl Database {
    /// Opens or creates the file that `sqlite:PATH` names, and brings the tables up to date.
    pub(crate) async fn open(uri: &str) -> Result<Self> {
        let path = sqlite_path(uri)?;
        if let Some(directory) = Path::new(path).parent() {
            tokio::fs::create_dir_all(directory).await.map_err(|source| {
                let name = directory.display();
                Error::unavailable(format!("cannot make the directory `{name}`"))
                    .with_source(source)
            })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            // What was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await
            .map_err(|error| sql_error(format!("cannot open `{uri}`"), error))?;
        let database = Self { pool };
        database.migrate().await?;
        Ok(database)
    }

    /// Begins a change. Takes the write lock at once: a lock that is taken later could fail
    /// between reading and writing.
    pub(crate) async fn begin_write(&self) -> Result<Tx> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(cannot_write)
    }

    /// Begins to read one state of all tables.
    pub(crate) async fn begin_read(&self) -> Result<Tx> {
        self.pool.begin().await.map_err(cannot_read)
    }

    async fn migrate(&self) -> Result<()> {
        let mut tx = self.begin_write().await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS icecore_schema (
                component TEXT NOT NULL PRIMARY KEY,
                version INTEGER NOT NULL
            )",
        )
        .execute(&mut *tx)
        .await
        .map_err(cannot_write)?;
        let version: Option<i64> =
            sqlx::query_scalar("SELECT version FROM icecore_schema WHERE component = 'tracking'")
                .fetch_optional(&mut *tx)
                .await
                .map_err(cannot_read)?;
        let version = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
        let Some(missing) = MIGRATIONS.get(version..) else {
            return Err(Error::unsupported(format!(
                "the tracking tables are of version {version}, this icecore knows {}",
                MIGRATIONS.len()
            ))
            .with_help("use the icecore that wrote them, or a newer one"));
        };
        if missing.is_empty() {
            return Ok(());
        }
        for script in missing {
            sqlx::query(script).execute(&mut *tx).await.map_err(cannot_write)?;
        }
        let now = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        sqlx::query("INSERT OR REPLACE INTO icecore_schema VALUES ('tracking', ?)")
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(cannot_write)?;
        commit(tx).await?;
        info!(from = version, to = now, "brought the tracking tables up to date");
        Ok(())
    }
}

pub(crate) async fn commit(tx: Tx) -> Result<()> {
    tx.commit().await.map_err(cannot_write)
}

pub(crate) fn cannot_write(error: sqlx::Error) -> Error {
    sql_error("cannot write the tracking tables".to_owned(), error)
}

pub(crate) fn cannot_read(error: sqlx::Error) -> Error {
    sql_error("cannot read the tracking tables".to_owned(), error)
}

fn sql_error(message: String, error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code());
    let kind = match (&error, code.as_deref()) {
        (
            sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_),
            _,
        )
        // SQLITE_CORRUPT, SQLITE_NOTADB
        | (_, Some("11" | "26")) => ErrorKind::DataCorrupt,
        (sqlx::Error::Configuration(_), _) => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, message).with_source(error)
}

/// The path in `sqlite:PATH`, `sqlite://PATH`, as the catalog reads it.
fn sqlite_path(uri: &str) -> Result<&str> {
    const FORM: &str = "write `sqlite:PATH`, such as `sqlite:.icecore/catalog.db`";
    let path = uri.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some("") => {
            Err(Error::invalid("the tracker's `sqlite:` URI names no file").with_help(FORM))
        }
        Some(path) => Ok(path),
        None => Err(Error::unsupported(format!(
            "a tracker of kind `{}` is not one that icecore opens",
            uri.split_once(':').map_or("", |(scheme, _)| scheme).escape_debug()
        ))
        .with_help(FORM)),
    }
}
