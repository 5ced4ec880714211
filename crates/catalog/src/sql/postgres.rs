//! Pointers in a Postgres database, for the processes of many machines.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use icecore_core::{Error, ErrorKind, Result, TableName};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, Postgres, Transaction};

use super::store::sql_stores;
use super::{cannot, redacted, statements};
use crate::error::Context;
use crate::pointer::{NamespaceStore, Place, PointerStore, Swap, taken};

const CONNECTIONS_MAX: u32 = 8;
/// Writers that wait for their turn hold a connection each, one for each table of a process, so
/// that these must not be the connections by which the one whose turn it is commits.
const WAITING_MAX: u32 = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a writer waits for its turn before it tries its luck.
const TURN_TIMEOUT: Duration = Duration::from_secs(120);

/// The lock under which the tables are created: any number that others do not use.
const CREATION_LOCK: i64 = 0x0069_6365_636f_7265;

/// What a session is set to: no acknowledgement before the disk has it, and no transaction of a
/// client that vanished holds up the others.
const SESSION: &str = "
SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
            ELSE current_setting('synchronous_commit') END, false),
    set_config('idle_in_transaction_session_timeout', '60s', false)";

const HAS_TABLES: &str = "
SELECT to_regclass('iceberg_tables') IS NOT NULL
    AND to_regclass('iceberg_namespace_properties') IS NOT NULL
    AND EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('iceberg_tables')
        AND attname = 'iceberg_type' AND NOT attisdropped)";
const HAS_TYPE: &str = "
SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('iceberg_tables')
    AND attname = 'iceberg_type' AND NOT attisdropped)";
const HAS_WAITING: &str = "
SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = $1 AND objid::bigint = $2)";

/// Pointers in a Postgres database.
#[derive(Debug)]
pub(crate) struct PostgresPointers {
    pool: PgPool,
    /// Connections of writers that wait for their turn.
    waiting: PgPool,
    /// The `catalog_name` column: several catalogs may share a database.
    name: String,
}

/// Connects once: a pool tries again and again, and in the end says that time was up, and not why.
async fn probe(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    connection.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await
}

fn with_advice(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable => {
            error.with_help("check that the server runs and can be reached from here")
        }
        _ => error,
    }
}

impl PostgresPointers {
    /// Connects to the database that a `postgres://` URI names, and creates the tables in it where
    /// they are not there.
    pub(crate) async fn open(uri: &str, name: &str, password: Option<&str>) -> Result<Self> {
        let shown = redacted(uri);
        let cannot = || format!("cannot open the catalog at `{shown}`");
        let mut options = PgConnectOptions::from_str(&plain(uri))
            .map_err(|_| Error::invalid(format!("`{shown}` is no address of a database")))?
            .application_name("icecore");
        if let Some(password) = password {
            options = options.password(password);
        }
        probe(&options).await.context(cannot).map_err(with_advice)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) })
            })
            .connect_with(options.clone())
            .await
            .context(cannot)
            .map_err(with_advice)?;
        create_tables(&pool).await.context(cannot)?;
        let waiting = PgPoolOptions::new()
            .max_connections(WAITING_MAX)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(Duration::from_secs(30))
            .connect_lazy_with(options);
        Ok(Self { pool, waiting, name: name.to_owned() })
    }

    async fn begin(&self) -> Result<Tx, Swap> {
        self.pool.begin().await.map_err(|error| Swap::Failed(cannot(error)))
    }

    /// The server keeps the queue: it grants a lock in the order in which it was asked for, and
    /// takes it back when the connection ends, however that comes about.
    async fn queue_up(&self, table: &TableName) -> Result<Place> {
        let key = self.lock_key(table);
        let connection = self.waiting.acquire().await.context(|| "cannot wait for a turn")?;
        let mut turn = Turn { connection: Some(connection), key, is_held: false };
        let locked = tokio::time::timeout(TURN_TIMEOUT, turn.wait()).await;
        match locked {
            Ok(locked) => locked.context(|| "cannot wait for a turn")?,
            Err(_) => return Err(Error::unavailable("the turn did not come")),
        }
        turn.is_held = true;
        Ok(Place::held(turn))
    }

    async fn is_queued(&self, table: &TableName) -> bool {
        let key = self.lock_key(table) as u64;
        let found: sqlx::Result<bool> = sqlx::query_scalar(HAS_WAITING)
            .bind((key >> 32) as i64)
            .bind((key & 0xffff_ffff) as i64)
            .fetch_one(&self.pool)
            .await;
        found.unwrap_or_default()
    }

    fn lock_key(&self, table: &TableName) -> i64 {
        super::hash(&format!("icecore commit {}/{table}", self.name)) as i64
    }
}

/// A connection that waits for a lock or holds it.
struct Turn {
    connection: Option<PoolConnection<Postgres>>,
    key: i64,
    is_held: bool,
}

impl Turn {
    async fn wait(&mut self) -> sqlx::Result<()> {
        if let Some(connection) = &mut self.connection {
            let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(self.key);
            lock.execute(&mut **connection).await?;
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (Some(connection), key) = (self.connection.take(), self.key) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.is_held => {
                runtime.spawn(give_back(connection, key));
            }
            // One that was given up while it waited may get the lock later: it must not live on.
            _ => drop(connection.detach()),
        }
    }
}

async fn give_back(mut connection: PoolConnection<Postgres>, key: i64) {
    let unlock = sqlx::query_scalar("SELECT pg_advisory_unlock($1)").bind(key);
    if !matches!(unlock.fetch_one(&mut *connection).await, Ok(true)) {
        let connection: PgConnection = connection.detach();
        let _ = connection.close().await;
    }
}

type Tx = Transaction<'static, Postgres>;

/// Ends a change that touched this many rows, or failed.
async fn end(tx: Tx, worked: sqlx::Result<u64>) -> Swap {
    match worked {
        Ok(1) => match tx.commit().await {
            Ok(()) => Swap::Done,
            Err(error) if is_rolled_back(&error) => Swap::Failed(cannot(error)),
            Err(error) => Swap::Unknown(cannot(error)),
        },
        // A transaction that is dropped is rolled back.
        Ok(_) => Swap::Moved,
        Err(error) => Swap::Failed(cannot(error)),
    }
}

/// Whether the server says that it rolled a transaction back (class 40), and not that it does not
/// know (40003).
fn is_rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("40") && code != "40003")
}

/// PyIceberg's URIs name a driver: `postgresql+psycopg2://`.
fn plain(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            format!("{}://{rest}", scheme.split('+').next().unwrap_or_default())
        }
        None => uri.to_owned(),
    }
}

async fn create_tables(pool: &PgPool) -> sqlx::Result<()> {
    // A user who may not create tables can still use them.
    if sqlx::query_scalar(HAS_TABLES).fetch_one(pool).await? {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    // `IF NOT EXISTS` alone fails when two do it at once.
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CREATION_LOCK);
    lock.execute(&mut *tx).await?;
    tx.execute(statements::CREATE_TABLES).await?;
    tx.execute(statements::CREATE_NAMESPACES).await?;
    if !sqlx::query_scalar::<_, bool>(HAS_TYPE).fetch_one(&mut *tx).await? {
        tx.execute(statements::ADD_TYPE).await?;
    }
    tx.commit().await
}

sql_stores!(PostgresPointers);

#[cfg(test)]
mod tests;
