//! Profiles of rows that pass by.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use icecore_core::{BatchStream, Result};

use crate::{Profile, ProfileOptions};

/// A look at what has passed by.
#[derive(Debug, Clone)]
pub struct Observed(Arc<Mutex<Profile>>);

impl Observed {
    /// What has passed by so far.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    ///
    /// `Internal` for a column whose values cannot be hashed.
    pub fn add(&self, batch: &arrow::array::RecordBatch) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(batch)
    }

    /// An observer of rows of these columns, to which batches are given by hand.
    #[must_use]
    pub fn new(schema: &arrow::datatypes::Schema, options: &ProfileOptions) -> Self {
        Self(Arc::new(Mutex::new(Profile::empty(schema, options))))
    }
}

/// The same rows, and a look at those that were read.
#[must_use]
pub fn observed(rows: BatchStream, options: &ProfileOptions) -> (BatchStream, Observed) {
    let schema = Arc::clone(rows.schema());
    let observed = Observed::new(&schema, options);
    let watching = observed.clone();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        watching.add(&batch)?;
        Ok(batch)
    });
    (BatchStream::new(schema, rows), observed)
}
