//! Replacing the rows that pass a filter by others that pass it.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use icecore_core::{BatchStream, Error, Result};

use super::delete::find;
use super::filter::{RowFilter, Selection};
use super::operation::{Computed, RowOperation};
use super::options::{Operation, RowMode};
use super::target::Target;
use crate::schema;
use crate::write::{Conform, write_rows};

/// Replaces the rows that pass a filter.
#[derive(Debug)]
pub(crate) struct Overwrite {
    pub(crate) filter: RowFilter,
    /// The new rows, until they are written.
    pub(crate) rows: Mutex<Option<BatchStream>>,
    pub(crate) dry_run: bool,
}

#[async_trait]
impl RowOperation for Overwrite {
    fn kind(&self) -> Operation {
        Operation::Overwrite
    }

    /// The new rows may have been computed from the old ones.
    fn is_repeatable(&self) -> bool {
        false
    }

    async fn compute(&self, target: &Arc<Target>, _: RowMode) -> Result<Computed> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = rows.ok_or_else(|| Error::internal("new rows can be written only once"))?;
        let rows = checked(rows, target, &self.filter)?;
        let mut computed = find(target, &self.filter).await?;
        if self.dry_run {
            let count = rows.try_fold(0, async |sum, batch| Ok(sum + batch.num_rows() as u64));
            computed.inserted = count.await?;
        } else {
            computed.written = write_rows(&target.write_target(), rows).await?;
            computed.inserted = computed.written.rows;
        }
        Ok(computed)
    }
}

/// The rows with the table's columns. Fails at the first that does not pass.
fn checked(rows: BatchStream, target: &Target, filter: &RowFilter) -> Result<BatchStream> {
    let selection = Selection::bind(filter, target.columns())?;
    let arrow = schema::to_arrow(target.columns())?;
    let conform = Conform::for_table(rows.schema(), &arrow, target.columns())?;
    let mut before = 0;
    let names = match filter {
        RowFilter::Test(test) => test.columns(),
        RowFilter::Predicate(_) => {
            selection.filter.columns().iter().map(|field| field.name.clone()).collect()
        }
    };
    let rows = rows.map(move |batch| {
        let batch = conform.batch(&batch?)?;
        let passes = selection.evaluate(&batch)?;
        let fails = |row: &usize| passes.is_null(*row) || !passes.value(*row);
        if let Some(row) = (0..batch.num_rows()).find(fails) {
            return Err(outside(&batch, &names, (row, before)));
        }
        before += batch.num_rows();
        Ok(batch)
    });
    Ok(BatchStream::new(arrow, rows))
}

fn outside(batch: &RecordBatch, names: &[String], (row, before): (usize, usize)) -> Error {
    let number = before + row + 1;
    let values = names.iter().filter_map(|name| {
        let column = batch.column_by_name(name)?;
        let value = if column.is_null(row) {
            "null".to_owned()
        } else {
            array_value_to_string(column, row).ok()?
        };
        Some(format!("`{name}` = `{value}`"))
    });
    let values: Vec<String> = values.collect();
    Error::invalid(format!("new row {number} is not among the rows that are replaced"))
        .with_note(format!("it has {}", values.join(", ")))
        .with_help("widen the filter, or leave the row out: nothing was written")
}
