//! Proofs that a lock still says what is so.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use futures::StreamExt;
use icecore_core::{BatchStream, Result, ScanOptions, SnapshotCatalog};
use icecore_engine::Engine;
use icecore_features::Definitions;

use crate::digest::{RowsDigest, digest_as, narrowed, narrowed_schema};
use crate::first_difference::{Buckets, Other, first_difference, rows_of, too_many_rows};
use crate::lock::{Lock, sha256};
use crate::rows::joined;
use crate::statistics::ColumnStatistics;

/// What verifying a lock found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The dataset.
    pub dataset: String,
    /// What the lock says.
    pub locked: RowsDigest,
    /// What the lock's inputs give.
    pub rebuilt: RowsDigest,
    /// What the table holds at the lock's pin.
    pub stored: RowsDigest,
    /// What differs, the first thing to look at first; empty where all is equal.
    pub differences: Vec<String>,
    /// Views whose definition is another one now. Locked rows do not depend on it.
    pub changed_definitions: Vec<String>,
}

impl Verification {
    /// Whether the lock's inputs and its table both give the locked rows.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Joins the rows of a lock again from its pins and compares them, and the table that they were
/// written to, with what the lock says. Writes nothing, and keeps no rows in memory.
///
/// # Errors
///
/// `NotFound` if a pin has expired. A difference is no error: see [`Verification::differences`].
pub async fn verify(
    engine: &Engine,
    lock: &Lock,
    definitions: Option<&Definitions>,
) -> Result<Verification> {
    let mut differences = Vec::new();
    if sha256(&lock.plan.spine.sql) != lock.plan.spine.sha256 {
        differences.push("the spine's query in the lock is not the one that was hashed".to_owned());
    }
    let again = joined(engine, &lock.plan).await?;
    let types = Arc::clone(again.rows.schema());
    let content = again.drain().await?;
    let locked = RowsDigest { rows: lock.rows, content_hash: lock.content_hash.clone() };
    let rebuilt = RowsDigest { rows: content.rows, content_hash: content.content_hash };
    if rebuilt != locked {
        differences.extend(difference(lock, rebuilt.rows, &content.columns));
    }
    let stored = digest_as(table(engine, lock).await?, &|name| type_in(&types, name)).await?;
    if stored != locked {
        differences.push(match stored.rows == locked.rows {
            true => format!("the rows of `{}` are others than those locked", lock.materialized),
            false => format!(
                "`{}` has {} rows, and the lock {}",
                lock.materialized, stored.rows, locked.rows
            ),
        });
    }
    if rebuilt != stored {
        differences.extend(row(engine, lock).await?);
    }
    let changed = lock.plan.views.iter().filter(|view| {
        definitions.is_some_and(|definitions| match definitions.view(view.view()) {
            Ok(now) => definitions.definition_hash(now) != view.definition_hash,
            Err(_) => true,
        })
    });
    let mut changed: Vec<String> = changed.map(|view| view.view().to_owned()).collect();
    // A view that is joined more than once is one definition.
    changed.sort();
    changed.dedup();
    Ok(Verification {
        dataset: lock.plan.dataset.clone(),
        changed_definitions: changed,
        locked,
        rebuilt,
        stored,
        differences,
    })
}

/// What differs between the lock's rows and those built again.
fn difference(lock: &Lock, rows: u64, columns: &[ColumnStatistics]) -> Vec<String> {
    let mut differences = Vec::new();
    if rows != lock.rows {
        differences.push(format!("the inputs give {rows} rows, and the lock has {}", lock.rows));
    }
    let names = |columns: &[ColumnStatistics]| -> Vec<String> {
        columns.iter().map(|column| column.name.clone()).collect()
    };
    if names(columns) != names(&lock.columns) {
        let (now, then) = (names(columns).join(", "), names(&lock.columns).join(", "));
        differences.push(format!("the inputs give the columns {now}, and the lock has {then}"));
        return differences;
    }
    for (now, then) in columns.iter().zip(&lock.columns) {
        if now.data_type != then.data_type {
            differences.push(format!(
                "column `{}` is {}, and in the lock {}",
                now.name, now.data_type, then.data_type
            ));
        } else if now.fingerprint != then.fingerprint {
            differences.push(format!("column `{}` has other values", now.name));
        }
    }
    if differences.is_empty() {
        differences.push("the values are the same, but not in the same rows".to_owned());
    }
    differences
}

/// A row in which what the inputs give and the table differ.
async fn row(engine: &Engine, lock: &Lock) -> Result<Option<String>> {
    let plan = &lock.plan;
    let keys: Vec<String> = plan.keys.iter().chain([&plan.event_timestamp]).cloned().collect();
    let rebuilt = joined(engine, plan).await?.rows;
    let types = Arc::clone(rebuilt.schema());
    let rebuilt = Buckets::read(rebuilt, &keys).await?;
    let stored = Buckets::read(typed_table(engine, lock, &types).await?, &keys).await?;
    let at = match rebuilt.first_other(&stored) {
        None => return Ok(None),
        Some(Other::TooManyRows) => return Ok(Some(too_many_rows())),
        Some(Other::Bucket(at)) => at,
    };
    let rebuilt = rows_of(joined(engine, plan).await?.rows, &keys, at).await?;
    let stored = rows_of(typed_table(engine, lock, &types).await?, &keys, at).await?;
    first_difference(&keys, (&rebuilt, &stored))
}

async fn table(engine: &Engine, lock: &Lock) -> Result<BatchStream> {
    let columns = lock.columns.iter().map(|column| column.name.clone());
    let options = ScanOptions::default().with_columns(columns);
    engine.catalog().scan(&lock.materialized, options).await
}

fn type_in(schema: &SchemaRef, name: &str) -> Option<DataType> {
    schema.field_with_name(name).ok().map(|field| field.data_type().clone())
}

/// The rows of the table, in the types that the inputs give.
async fn typed_table(engine: &Engine, lock: &Lock, types: &SchemaRef) -> Result<BatchStream> {
    let rows = table(engine, lock).await?;
    let schema = narrowed_schema(rows.schema(), &|name| type_in(types, name));
    let output = Arc::clone(&schema);
    let rows = rows.map(move |batch| Ok(narrowed(&batch?, &schema)?.0));
    Ok(BatchStream::new(output, rows))
}
