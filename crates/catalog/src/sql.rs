//! The pointer to each table's current metadata, in SQL.
//!
//! The tables are those of PyIceberg's `SqlCatalog`, which opens the same database.

mod postgres;
mod queue;
mod sqlite;
mod statements;
mod store;

use std::sync::Arc;

use icecore_core::{Error, Result, TableName};

use crate::error::Classified;
use crate::pointer::PointerStore;

pub(crate) use postgres::PostgresPointers;
pub(crate) use sqlite::SqlitePointers;

/// Opens the database that a URI names.
///
/// # Errors
///
/// `Unsupported` for another kind of catalog, which is named without what may be secret.
pub(crate) async fn open(
    uri: &str,
    name: &str,
    password: Option<&str>,
) -> Result<Arc<dyn PointerStore>> {
    let scheme = uri.split(':').next().unwrap_or_default();
    match scheme.split('+').next() {
        Some("sqlite") => Ok(Arc::new(SqlitePointers::open(uri, name).await?)),
        Some("postgres" | "postgresql") => {
            Ok(Arc::new(PostgresPointers::open(uri, name, password).await?))
        }
        _ => Err(Error::unsupported(format!(
            "catalog `{scheme}` is of a kind that icecore does not open"
        ))
        .with_help(
            "write `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or the `https://` address of a \
             REST catalog",
        )),
    }
}

fn cannot(error: sqlx::Error) -> Error {
    Error::new(error.kind(), "cannot write the catalog").with_source(error)
}

/// The names in rows of namespaces and tables, in order. Other engines may have made tables whose
/// names icecore does not take.
fn names(rows: Vec<(String, String)>) -> Vec<TableName> {
    let mut tables = Vec::with_capacity(rows.len());
    for (namespace, table) in rows {
        match TableName::parse(&format!("{namespace}.{table}")) {
            Ok(name) if name.table() == table => tables.push(name),
            _ => tracing::warn!(namespace, table, "skipped a table whose name has no form"),
        }
    }
    tables.sort();
    tables
}

/// A URI without what stands between `//` and `@`, and without its parameters.
pub(crate) fn redacted(uri: &str) -> String {
    let uri = uri.split('?').next().unwrap_or_default();
    match (uri.find("//"), uri.rfind('@')) {
        (Some(slashes), Some(at)) if slashes + 2 <= at => {
            format!("{}***{}", &uri[..slashes + 2], &uri[at..])
        }
        _ => uri.to_owned(),
    }
}

/// The FNV-1a hash: the same in every process, whatever it was compiled with.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
