//! Which rows are meant.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use iceberg::spec::Schema;
use icecore_core::{Predicate, Result};

use crate::predicate::Filter;

/// A question about rows that no [`Predicate`] can ask.
pub trait RowTest: Debug + Send + Sync + 'static {
    /// The columns that it looks at.
    fn columns(&self) -> Vec<String>;

    /// What every row passes that passes the test, if that is known: other rows are not read.
    fn implied(&self) -> Option<Predicate>;

    /// Which of these rows pass; null counts as no. The rows have the columns, in that order.
    ///
    /// # Errors
    ///
    /// What the test fails with.
    fn passes(&self, rows: &RecordBatch) -> Result<BooleanArray>;
}

/// Which rows are meant.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RowFilter {
    /// Those that pass. Files without such rows are not opened, and files of nothing but such rows
    /// neither.
    Predicate(Predicate),
    /// Those that pass, which only reading them tells.
    Test(Arc<dyn RowTest>),
}

impl RowFilter {
    /// What is true of every row that is meant, as far as it can be said with constants; `None` if
    /// nothing can.
    #[must_use]
    pub fn implied(&self) -> Option<Predicate> {
        match self {
            Self::Predicate(predicate) => Some(predicate.clone()),
            Self::Test(test) => test.implied(),
        }
    }
}

impl From<Predicate> for RowFilter {
    fn from(predicate: Predicate) -> Self {
        Self::Predicate(predicate)
    }
}

impl From<&Predicate> for RowFilter {
    fn from(predicate: &Predicate) -> Self {
        Self::Predicate(predicate.clone())
    }
}

impl From<Arc<dyn RowTest>> for RowFilter {
    fn from(test: Arc<dyn RowTest>) -> Self {
        Self::Test(test)
    }
}

/// A filter that has been checked against the columns of a table.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// What every row passes that is meant.
    pub(super) filter: Filter,
    /// What tells those that are meant among them; `None` where all are.
    pub(super) test: Option<Arc<dyn RowTest>>,
}

impl Selection {
    /// # Errors
    ///
    /// `NotFound` for an unknown column, `InvalidInput` for a literal of the wrong kind.
    pub(super) fn bind(filter: &RowFilter, columns: &Schema) -> Result<Self> {
        Ok(match filter {
            RowFilter::Predicate(predicate) => {
                Self { filter: Filter::bind(predicate, columns)?, test: None }
            }
            RowFilter::Test(test) => {
                let implied = test.implied().unwrap_or(Predicate::And(Vec::new()));
                Self { filter: Filter::bind(&implied, columns)?, test: Some(test.clone()) }
            }
        })
    }

    /// Which rows are meant.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        match &self.test {
            None => self.filter.evaluate(rows),
            Some(test) => {
                let schema = rows.schema();
                let indices = test.columns().into_iter().map(|name| schema.index_of(&name));
                let indices = indices.collect::<std::result::Result<Vec<_>, _>>()?;
                test.passes(&rows.project(&indices)?)
            }
        }
    }
}
