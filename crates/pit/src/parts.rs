//! A spine that is joined part by part, each in memory.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use icecore_core::{BatchStream, Result};
use tracing::debug;

use crate::held::{bytes_max, hold};
use crate::join::Joining;
use crate::probe::{Probe, put_out};
use crate::sorting::Sorting;
use crate::source::FeatureRows;
use crate::spine::{Bounds, Prepared};

/// A spine is kept in memory in at most so many parts, for each of which the feature tables are
/// read; what follows is sorted.
const PARTS_MAX: usize = 8;

/// How much of a spine is kept in memory instead of being sorted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// How many bytes at once; absent for a share of what the engine may use.
    pub(crate) bytes_max: Option<usize>,
    /// How often.
    pub(crate) count_max: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self { bytes_max: None, count_max: PARTS_MAX }
    }
}

/// A spine that is joined part by part, in its order.
pub(crate) struct InParts {
    pub(crate) joining: Arc<Joining>,
    pub(crate) sources: Vec<Arc<dyn FeatureRows>>,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) schema: SchemaRef,
    /// Those of the rows that were read since the last part.
    pub(crate) bounds: Arc<Mutex<Bounds>>,
    /// What was not read yet.
    pub(crate) rows: Option<SendableRecordBatchStream>,
    pub(crate) parts_left: usize,
    /// How many came before.
    pub(crate) part: usize,
}

impl InParts {
    /// The next rows that come out, when those of the part before them have.
    pub(crate) async fn next(&mut self) -> Result<Option<BatchStream>> {
        let Some(rows) = self.rows.take() else { return Ok(None) };
        if self.parts_left == 0 {
            return Ok(Some(self.sorted(rows).await?));
        }
        let bytes_max = self.joining.parts.bytes_max.unwrap_or_else(|| bytes_max(&self.context));
        let (held, rest) = hold(rows, bytes_max, &self.context).await?;
        // Rows that were made for the spine are made again for each part of it.
        let is_costly = self.sources.iter().any(|rows| rows.is_made());
        if rest.is_none() || !is_costly {
            let bounds = &Bounds::read(&self.bounds);
            let (tables, context) = (&self.joining.tables, &self.context);
            let probe = Probe { tables, rows: &self.sources, bounds, context, part: self.part };
            let output = self.joining.output.clone();
            if let Some(found) = probe.run(&held, output.spine_columns() + 1).await? {
                let batch_rows = context.session_config().batch_size();
                let out = put_out(held, found, output, batch_rows);
                *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = Bounds::default();
                (self.rows, self.parts_left, self.part) =
                    (rest, self.parts_left - 1, self.part + 1);
                return Ok(Some(out));
            }
        }
        debug!(rows = held.rows, "memory is short: the spine is sorted");
        let nothing = RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::empty());
        let rest = rest.unwrap_or_else(|| Box::pin(nothing));
        Ok(Some(self.sorted(held.followed_by(rest)).await?))
    }

    /// The rest of the spine, by sorting it.
    async fn sorted(&mut self, rows: SendableRecordBatchStream) -> Result<BatchStream> {
        let sorting = Sorting {
            tables: self.joining.tables.clone(),
            rows: self.sources.clone(),
            output: self.joining.output.clone(),
            context: Arc::clone(&self.context),
            part: self.part,
        };
        let (schema, bounds) = (Arc::clone(&self.schema), Arc::clone(&self.bounds));
        sorting.join(Prepared { schema, rows, bounds }).await
    }
}
