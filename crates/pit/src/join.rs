//! The join of a spine with any number of tables.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, Result, Spine};

use crate::output::Output;
use crate::parts::{InParts, Parts};
use crate::source::FeatureRows;
use crate::spine::Prepared;
use crate::table::JoinTable;

/// What is joined, and how.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) tables: Vec<Arc<JoinTable>>,
    pub(crate) output: Output,
    /// The spine's column with its moments.
    pub(crate) event_timestamp: String,
    pub(crate) parts: Parts,
}

impl Joining {
    /// Joins a spine with the rows of each table.
    pub(crate) fn join(
        self: Arc<Self>,
        spine: BatchStream,
        sources: Vec<Arc<dyn FeatureRows>>,
        context: Arc<TaskContext>,
    ) -> Result<BatchStream> {
        let mut keys: Vec<usize> =
            self.tables.iter().flat_map(|table| table.spine_keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let spine = Spine { rows: spine, event_timestamp: self.event_timestamp.clone() };
        let Prepared { schema, rows, bounds } = Prepared::new(spine, keys)?;
        // Which state a row sees is compared like a key, and only the merge knows of it.
        let parts_left = match self.tables.iter().any(|table| table.epochs.is_some()) {
            true => 0,
            false => self.parts.count_max,
        };
        let output = Arc::clone(self.output.schema());
        let rows = Some(rows);
        let spine =
            InParts { joining: self, sources, context, schema, bounds, rows, parts_left, part: 0 };
        let parts = futures::stream::try_unfold(spine, async |mut spine| {
            Ok::<_, Error>(spine.next().await?.map(|rows| (rows, spine)))
        });
        Ok(BatchStream::new(output, parts.try_flatten()))
    }
}
