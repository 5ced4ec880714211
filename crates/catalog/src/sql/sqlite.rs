//! Pointers in an SQLite file, for the processes of one machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use icecore_core::{Error, Result, TableName};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use super::queue::FileQueue;
use super::store::sql_stores;
use super::{cannot, statements};
use crate::error::Context;
use crate::pointer::{NamespaceStore, Place, PointerStore, Swap, taken};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers do not wait for each other in WAL mode; writers wait for one another anyway.
const CONNECTIONS_MAX: u32 = 4;

const HAS_TYPE: &str =
    "SELECT COUNT(*) FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'";
const IS_COMPLETE: &str = "
SELECT EXISTS (SELECT 1 FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type')
    AND EXISTS (SELECT 1 FROM pragma_table_info('iceberg_namespace_properties'))";

/// Pointers in an SQLite file, in WAL mode: readers never hold up a commit.
#[derive(Debug)]
pub(crate) struct SqlitePointers {
    pool: SqlitePool,
    /// The `catalog_name` column: several catalogs may share a file.
    name: String,
    queue: FileQueue,
}

impl SqlitePointers {
    /// Opens or creates the file that `sqlite:PATH` names, and the tables in it.
    pub(crate) async fn open(uri: &str, name: &str) -> Result<Self> {
        let path = path_of(uri)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full);
        let cannot = || format!("cannot open the catalog at `{uri}`");
        if let Some(directory) = Path::new(path).parent() {
            tokio::fs::create_dir_all(directory).await.context(cannot)?;
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await
            .context(cannot)?;
        // A look needs no lock: whoever only reads does not wait for those who write.
        let is_complete: bool =
            sqlx::query_scalar(IS_COMPLETE).fetch_one(&pool).await.context(cannot)?;
        if !is_complete {
            create_tables(&pool).await.context(cannot)?;
        }
        let queue = FileQueue::beside(PathBuf::from(format!("{path}-queue")));
        Ok(Self { pool, name: name.to_owned(), queue })
    }

    /// Begins a change. Takes the write lock at once: a deferred one could fail between reading
    /// and writing.
    async fn begin(&self) -> Result<Tx, Swap> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| Swap::Failed(cannot(error)))
    }

    async fn queue_up(&self, table: &TableName) -> Result<Place> {
        self.queue.wait(&format!("{}/{table}", self.name)).await
    }

    async fn is_queued(&self, table: &TableName) -> bool {
        self.queue.has_any(&format!("{}/{table}", self.name))
    }
}

type Tx = Transaction<'static, Sqlite>;

/// Ends a change that touched this many rows, or failed.
async fn end(tx: Tx, worked: sqlx::Result<u64>) -> Swap {
    match worked {
        Ok(1) => match tx.commit().await {
            Ok(()) => Swap::Done,
            Err(error) => Swap::Unknown(cannot(error)),
        },
        // A transaction that is dropped is rolled back.
        Ok(_) => Swap::Moved,
        Err(error) => Swap::Failed(cannot(error)),
    }
}

/// The path in `sqlite:PATH`, `sqlite://PATH`.
pub(super) fn path_of(uri: &str) -> Result<&str> {
    let path = uri.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    path.filter(|path| !path.is_empty()).ok_or_else(|| {
        Error::invalid("the catalog's `sqlite:` URI names no file")
            .with_help("write `sqlite:PATH`, such as `sqlite:.icecore/catalog.db`")
    })
}

async fn create_tables(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(statements::CREATE_TABLES).execute(&mut *tx).await?;
    sqlx::query(statements::CREATE_NAMESPACES).execute(&mut *tx).await?;
    let has_type: i64 = sqlx::query_scalar(HAS_TYPE).fetch_one(&mut *tx).await?;
    if has_type == 0 {
        sqlx::query(statements::ADD_TYPE).execute(&mut *tx).await?;
    }
    tx.commit().await
}

sql_stores!(SqlitePointers);
