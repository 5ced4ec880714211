//! The pointer to each table's current metadata, in SQL.
//!
//! The tables are those of PyIceberg's `SqlCatalog`, which opens the same file.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use icecore_core::{Error, Result, TableName};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use crate::error::{Classified, Context};
use crate::pointer::{PointerStore, Swap};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers do not wait for each other in WAL mode; writers wait for one another anyway.
const CONNECTIONS_MAX: u32 = 4;

const CREATE_TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
)";
const CREATE_NAMESPACES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
)";
/// Catalogs of before views were in it lack the column.
const ADD_TYPE: &str = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";
const HAS_TYPE: &str =
    "SELECT COUNT(*) FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'";

const LIST: &str = "
SELECT table_namespace, table_name FROM iceberg_tables
WHERE catalog_name = ? AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const FIND: &str = "
SELECT metadata_location FROM iceberg_tables
WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const INSERT: &str = "
INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
VALUES (?, ?, ?, ?, 'TABLE') ON CONFLICT DO NOTHING";
/// PyIceberg takes a namespace to exist when it has a property.
const INSERT_NAMESPACE: &str = "
INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
VALUES (?, ?, 'exists', 'true') ON CONFLICT DO NOTHING";
const SWAP: &str = "
UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const REMOVE: &str = "
DELETE FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";

/// Pointers in an SQLite file, in WAL mode: readers never hold up a commit.
#[derive(Debug)]
pub(crate) struct SqlitePointers {
    pool: SqlitePool,
    /// The `catalog_name` column: several catalogs may share a file.
    name: String,
}

impl SqlitePointers {
    /// Opens or creates the file that `sqlite:PATH` names, and the tables in it.
    pub(crate) async fn open(uri: &str, name: &str) -> Result<Self> {
        let path = sqlite_path(uri)?;
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
        create_tables(&pool).await.context(cannot)?;
        Ok(Self { pool, name: name.to_owned() })
    }

    async fn insert(&self, tx: &mut Tx, table: &TableName, location: &str) -> sqlx::Result<u64> {
        let inserted = sqlx::query(INSERT)
            .bind(&self.name)
            .bind(table.namespace())
            .bind(table.table())
            .bind(location)
            .execute(&mut **tx)
            .await?;
        sqlx::query(INSERT_NAMESPACE)
            .bind(&self.name)
            .bind(table.namespace())
            .execute(&mut **tx)
            .await?;
        Ok(inserted.rows_affected())
    }

    /// Begins a change. Takes the write lock at once: a deferred one could fail between reading
    /// and writing.
    async fn begin(&self) -> Result<Tx, Swap> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| Swap::Failed(cannot(error)))
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

fn cannot(error: sqlx::Error) -> Error {
    Error::new(error.kind(), "cannot write the catalog").with_source(error)
}

/// The path in `sqlite:PATH`, `sqlite://PATH`.
fn sqlite_path(uri: &str) -> Result<&str> {
    let path = uri.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some("") => Err(Error::invalid("the catalog's `sqlite:` URI names no file")
            .with_help("write `sqlite:PATH`, such as `sqlite:.icecore/catalog.db`")),
        Some(path) => Ok(path),
        None => Err(Error::unsupported(format!(
            "catalog `{}` is of a kind that icecore does not open",
            uri.split_once(':').map_or(uri, |(scheme, _)| scheme)
        ))
        .with_help("write `sqlite:PATH`, such as `sqlite:.icecore/catalog.db`")),
    }
}

async fn create_tables(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(CREATE_TABLES).execute(&mut *tx).await?;
    sqlx::query(CREATE_NAMESPACES).execute(&mut *tx).await?;
    let has_type: i64 = sqlx::query_scalar(HAS_TYPE).fetch_one(&mut *tx).await?;
    if has_type == 0 {
        sqlx::query(ADD_TYPE).execute(&mut *tx).await?;
    }
    tx.commit().await
}

#[async_trait]
impl PointerStore for SqlitePointers {
    async fn list(&self) -> Result<Vec<TableName>> {
        let rows = sqlx::query(LIST)
            .bind(&self.name)
            .fetch_all(&self.pool)
            .await
            .context(|| "cannot list the tables of the catalog")?;
        let mut tables = Vec::with_capacity(rows.len());
        for row in rows {
            let cannot = || "cannot read the catalog's list of tables";
            let namespace: String = row.try_get(0).context(cannot)?;
            let table: String = row.try_get(1).context(cannot)?;
            match TableName::parse(&format!("{namespace}.{table}")) {
                Ok(name) if name.table() == table => tables.push(name),
                _ => tracing::warn!(namespace, table, "skipped a table whose name has no form"),
            }
        }
        tables.sort();
        Ok(tables)
    }

    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        let found: Option<Option<String>> = sqlx::query_scalar(FIND)
            .bind(&self.name)
            .bind(table.namespace())
            .bind(table.table())
            .fetch_optional(&self.pool)
            .await
            .context(|| format!("cannot look up table `{table}`"))?;
        match found {
            Some(None) => Err(Error::corrupt(format!(
                "the catalog's row of table `{table}` names no metadata"
            ))),
            Some(location) => Ok(location),
            None => Ok(None),
        }
    }

    async fn create(&self, table: &TableName, location: &str) -> Swap {
        let mut tx = match self.begin().await {
            Ok(tx) => tx,
            Err(failed) => return failed,
        };
        let inserted = self.insert(&mut tx, table, location).await;
        end(tx, inserted).await
    }

    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let mut tx = match self.begin().await {
            Ok(tx) => tx,
            Err(failed) => return failed,
        };
        let updated = sqlx::query(SWAP)
            .bind(to)
            .bind(from)
            .bind(&self.name)
            .bind(table.namespace())
            .bind(table.table())
            .bind(from)
            .execute(&mut *tx)
            .await
            .map(|done| done.rows_affected());
        end(tx, updated).await
    }

    async fn remove(&self, table: &TableName) -> Result<bool> {
        let removed = match self.begin().await {
            Ok(mut tx) => {
                let deleted = sqlx::query(REMOVE)
                    .bind(&self.name)
                    .bind(table.namespace())
                    .bind(table.table())
                    .execute(&mut *tx)
                    .await
                    .map(|done| done.rows_affected());
                end(tx, deleted).await
            }
            Err(failed) => failed,
        };
        match removed {
            Swap::Done => Ok(true),
            Swap::Moved => Ok(false),
            // Dropping twice does no harm, so the caller may simply try again.
            Swap::Failed(error) | Swap::Unknown(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
