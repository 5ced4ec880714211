//! The join over the catalog's tables.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use icecore_core::{
    BatchStream, FeatureTable, Knowledge, PitOptions, PointInTimeJoin, Result, Spine,
};
use icecore_engine::{Engine, from_datafusion};
use tracing::debug;

use crate::exec::{Plan, run};
use crate::parts::Parts;
use crate::sorted::single_use;
use crate::source::{FeatureSource, Frame};
use crate::states::States;

/// Joins any number of rows in bounded memory, on all threads.
///
/// A spine that fits a quarter of the engine's memory is kept there, by key and moment, and feature
/// rows come by in any order, each once: nothing is sorted, and what is kept of a table goes with
/// the spine, not with the table. A larger spine is joined part by part, in its order; the parts of
/// one key may be in any of them. What follows on the eighth part is sorted once for each set of
/// keys, and every feature table that is joined by them is sorted and merged into it as both stream
/// by; sorts spill to disk when the engine's memory is used up. Feature rows that no row of the
/// spine, or its part, can see, by its moments, ttl and keys, are left out when they are read, and
/// with them the files, row groups and pages that hold no others.
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
        let Spine { rows, event_timestamp } = spine;
        let rows = single_use(rows)?;
        let plan = self.planned(rows, event_timestamp, (tables, options)).await?;
        run(&plan, self.engine.task_context())
    }

    /// The join as a plan over the plan of its spine: to look at, or to be part of another one.
    ///
    /// # Errors
    ///
    /// As [`join`](PointInTimeJoin::join), without those of the execution.
    pub async fn plan(
        &self,
        spine: DataFrame,
        event_timestamp: &str,
        tables: Vec<(FeatureTable, Option<MomentRows>)>,
        options: PitOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rows = spine.create_physical_plan().await.map_err(from_datafusion)?;
        if rows.output_partitioning().partition_count() > 1 {
            rows = Arc::new(CoalescePartitionsExec::new(rows));
        }
        self.planned(rows, event_timestamp.to_owned(), (tables, options)).await
    }

    /// The plan as text: its operators, one a line, with the statistics that they have.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub async fn explain(
        &self,
        spine: DataFrame,
        event_timestamp: &str,
        tables: Vec<(FeatureTable, Option<MomentRows>)>,
        options: PitOptions,
    ) -> Result<String> {
        let plan = self.plan(spine, event_timestamp, tables, options).await?;
        let shown = DisplayableExecutionPlan::new(plan.as_ref()).set_show_statistics(true);
        Ok(shown.indent(false).to_string())
    }

    async fn planned(
        &self,
        spine: Arc<dyn ExecutionPlan>,
        event_timestamp: String,
        (tables, options): (Vec<(FeatureTable, Option<MomentRows>)>, PitOptions),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut joined = Vec::with_capacity(tables.len());
        for (table, made) in tables {
            debug!(view = %table.view, table = %table.table, "joins a feature view");
            let source: Arc<dyn FeatureSource> = match (made, table.knowledge.or(options.knowledge))
            {
                (Some(MomentRows { rows, newest }), _) => {
                    Arc::new(Frame { rows, newest: Some(newest) })
                }
                (None, Some(Knowledge::Snapshot)) => {
                    Arc::new(States::find(&self.engine, &table.table).await?)
                }
                (None, _) => Arc::new(Frame::of_table(self.engine.table(&table.table).await?)),
            };
            joined.push((table, source));
        }
        let context = self.engine.task_context();
        let config = context.session_config().options();
        let plan = Plan { spine, event_timestamp, joined, options, parts: Parts::default() };
        plan.exec(config).await
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
