//! The rows of a locked set, for whoever learns from them.

use futures::{StreamExt, TryStreamExt};
use icecore_core::{BatchStream, Error, Literal, Predicate, Result, ScanOptions, SnapshotCatalog};
use icecore_engine::Engine;

use crate::dense::{DenseMatrix, Element};
use crate::lock::Lock;
use crate::parts::PART_COLUMN;

/// What to hand over of a set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HandOff {
    /// These columns in this order; absent means all.
    pub columns: Option<Vec<String>>,
    /// Only rows of this part of a divided set.
    pub part: Option<String>,
    /// Only rows that pass.
    pub filter: Option<Predicate>,
    /// Rows per batch, all but the last; absent means as they come.
    pub batch_rows: Option<usize>,
}

impl HandOff {
    /// Hands over these columns in this order.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Hands over this part of a divided set: `training`, `validation` or `test`.
    #[must_use]
    pub fn with_part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    /// Hands over rows that pass.
    #[must_use]
    pub fn with_filter(mut self, filter: Predicate) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Makes batches of so many rows.
    #[must_use]
    pub const fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = Some(rows);
        self
    }
}

/// Streams the rows of a set from the state that its lock pins, whatever was committed since (C99).
/// Memory goes with the size of a batch.
///
/// # Errors
///
/// `NotFound` for a column that the set does not have; `InvalidInput` for a part of a set that is
/// not divided.
pub async fn stream(engine: &Engine, lock: &Lock, options: HandOff) -> Result<BatchStream> {
    let names = || lock.columns.iter().map(|column| column.name.as_str());
    let columns: Vec<String> = match options.columns {
        Some(columns) => columns,
        None => names().map(str::to_owned).collect(),
    };
    if let Some(unknown) = columns.iter().find(|column| names().all(|name| name != *column)) {
        let message = format!("dataset `{}` has no column `{unknown}`", lock.plan.dataset);
        return Err(Error::not_found(message)
            .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(unknown, names()));
    }
    let mut conditions: Vec<Predicate> = options.filter.into_iter().collect();
    if let Some(part) = options.part {
        if lock.plan.split.is_none() {
            return Err(Error::invalid(format!(
                "dataset `{}` is not divided into parts",
                lock.plan.dataset
            ))
            .with_help("add `by = \"key\"` to `[split]` in its file and build it again"));
        }
        conditions.push(Predicate::equal(PART_COLUMN, Literal::Text(part)));
    }
    let mut scan = ScanOptions::default().with_columns(columns);
    scan.batch_rows = options.batch_rows;
    if !conditions.is_empty() {
        scan = scan.with_filter(Predicate::And(conditions));
    }
    let rows = engine.catalog().scan(&lock.materialized, scan).await?;
    Ok(match options.batch_rows {
        Some(size) => rebatched(rows, size.max(1)),
        None => rows,
    })
}

/// The rows of a set as a matrix of numbers, column by column.
///
/// # Errors
///
/// As [`stream`], and `InvalidInput` for a column of neither numbers nor booleans.
pub async fn matrix<T: Element>(
    engine: &Engine,
    lock: &Lock,
    options: HandOff,
) -> Result<DenseMatrix<T>> {
    let rows = usize::try_from(lock.rows)
        .map_err(|error| Error::internal("too many rows").with_source(error))?;
    DenseMatrix::read(stream(engine, lock, options).await?, rows).await
}

/// Batches of exactly so many rows, all but the last.
fn rebatched(rows: BatchStream, size: usize) -> BatchStream {
    let schema = rows.schema().clone();
    let output = schema.clone();
    let state = (rows, Vec::new(), 0_usize);
    let batches = futures::stream::try_unfold(state, move |(mut rows, mut waiting, mut count)| {
        let schema = schema.clone();
        async move {
            while count < size {
                match rows.try_next().await? {
                    Some(batch) => {
                        count += batch.num_rows();
                        waiting.push(batch);
                    }
                    None => break,
                }
            }
            if count == 0 {
                return Ok(None);
            }
            let whole = arrow::compute::concat_batches(&schema, &waiting)?;
            let taken = size.min(count);
            let rest = whole.slice(taken, count - taken);
            let waiting = if rest.num_rows() > 0 { vec![rest] } else { Vec::new() };
            Ok(Some((whole.slice(0, taken), (rows, waiting, count - taken))))
        }
    });
    BatchStream::new(output, batches.boxed())
}
