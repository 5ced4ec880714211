//! The join over the catalog's tables.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use icecore_core::{
    BatchStream, FeatureTable, Knowledge, PitOptions, PointInTimeJoin, Result, Spine,
};
use icecore_engine::Engine;
use tracing::debug;

use crate::held::bytes_max;
use crate::join::{Ways, join};
use crate::source::{FeatureRows, Frame};
use crate::states::States;

/// Joins any number of rows in bounded memory, on all threads.
///
/// A spine that fits a quarter of the engine's memory is kept there, by key and moment, and feature
/// rows come by in any order, each once: nothing is sorted, and what is kept of a table goes with
/// the spine, not with the table. A larger spine is sorted once for each set of keys, and every
/// feature table that is joined by them is sorted and merged into it as both stream by; sorts spill
/// to disk when the engine's memory is used up. Feature rows that no row of the spine can see, by its moments, ttl and keys, are left out when
/// they are read, and with them the files that hold no others.
#[derive(Debug, Clone)]
pub struct MergeJoin {
    engine: Engine,
}

impl MergeJoin {
    /// A join that reads, sorts and spills through `engine`.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

/// Rows that were made for the moments of a spine, in place of those of a table.
#[derive(Debug, Clone)]
pub struct MomentRows {
    /// One row for each key and moment of the spine.
    pub rows: DataFrame,
    /// The column with the newest event that a row was made from; it comes out as the event
    /// timestamp.
    pub newest: String,
}

impl MergeJoin {
    /// The same join, with some views' rows in place of their tables'. Of such a view the ttl, the
    /// delay, strictness and the clock of knowledge are the business of whoever made the rows.
    ///
    /// # Errors
    ///
    /// As [`join`](PointInTimeJoin::join).
    pub async fn join_with(
        &self,
        spine: Spine,
        tables: Vec<(FeatureTable, Option<MomentRows>)>,
        options: PitOptions,
    ) -> Result<BatchStream> {
        let context = self.engine.task_context();
        let mut sources = Vec::with_capacity(tables.len());
        for (table, made) in tables {
            debug!(view = %table.view, table = %table.table, "joins a feature view");
            let source: Arc<dyn FeatureRows> = match (made, options.knowledge) {
                (Some(MomentRows { rows, newest }), _) => {
                    Arc::new(Frame { rows, newest: Some(newest) })
                }
                (None, Some(Knowledge::Snapshot)) => {
                    Arc::new(States::find(&self.engine, &table.table).await?)
                }
                (None, _) => Arc::new(Frame::of_table(self.engine.table(&table.table).await?)),
            };
            sources.push((table, source));
        }
        let held_bytes_max = bytes_max(&context);
        join(spine, sources, Ways { options, context, held_bytes_max }).await
    }
}

#[async_trait]
impl PointInTimeJoin for MergeJoin {
    async fn join(
        &self,
        spine: Spine,
        tables: Vec<FeatureTable>,
        options: PitOptions,
    ) -> Result<BatchStream> {
        let tables = tables.into_iter().map(|table| (table, None)).collect();
        self.join_with(spine, tables, options).await
    }
}
