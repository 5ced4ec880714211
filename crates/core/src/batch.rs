//! The currency between the parts: a stream of Arrow record batches with one schema.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::Result;

/// Record batches of one schema, produced as they are asked for.
pub struct BatchStream {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl BatchStream {
    /// Wraps a stream whose batches all have this schema.
    pub fn new(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self { schema, batches: batches.boxed() }
    }

    /// A stream of batches that are already in memory.
    #[must_use]
    pub fn from_batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self::new(schema, stream::iter(batches.into_iter().map(Ok)))
    }

    /// The schema of every batch.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Reads everything into memory. For small results and tests.
    ///
    /// # Errors
    ///
    /// The first error of the stream.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.batches.try_collect().await
    }

    /// Reads everything into one batch. For small results and tests.
    ///
    /// # Errors
    ///
    /// The first error of the stream.
    pub async fn concat(self) -> Result<RecordBatch> {
        let schema = self.schema.clone();
        let batches = self.collect().await?;
        Ok(arrow::compute::concat_batches(&schema, &batches)?)
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}
