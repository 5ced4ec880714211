//! Reading a table through the catalog, where its files are not the rows: some are deleted, or a
//! column has another name in older files.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::is_dynamic_physical_expr;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use icecore_catalog::{IcebergCatalog, PlannedFile};
use icecore_core::{PinnedTable, Predicate, ScanOptions};

use super::native::{Request, shared_out};
use super::plain::fit;
use super::running::predicate_now;
use super::statistics;
use crate::error::to_datafusion;

type Read = icecore_core::Result<RecordBatch>;

/// Rows of files from the catalog, a share of the files in each partition.
#[derive(Debug, Clone)]
pub(super) struct CatalogScan {
    catalog: IcebergCatalog,
    pin: PinnedTable,
    shares: Vec<Vec<PlannedFile>>,
    schema: SchemaRef,
    options: ScanOptions,
    limit: Option<usize>,
    /// What the query finds out while it runs.
    found: Vec<Arc<dyn PhysicalExpr>>,
    label: String,
    statistics: Statistics,
    properties: Arc<PlanProperties>,
}

/// The rows to read.
pub(super) struct Rows<'a> {
    pub(super) catalog: &'a IcebergCatalog,
    pub(super) pin: &'a PinnedTable,
    pub(super) files: Vec<PlannedFile>,
    /// Rows that do not pass are left out.
    pub(super) filter: Option<Predicate>,
}

impl CatalogScan {
    pub(super) fn new(
        rows: Rows<'_>,
        request: Request<'_>,
        partitions: usize,
    ) -> Result<Self, DataFusionError> {
        let schema = match request.projection {
            Some(projection) => Arc::new(request.schema.project(projection)?),
            None => Arc::clone(request.schema),
        };
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut options = ScanOptions::default().with_columns(names);
        let statistics = statistics::of_live(&rows.files, rows.filter.is_some(), &schema);
        options.filter = rows.filter;
        let mut shares = shared_out(rows.files, partitions, |file| file.size_bytes);
        for share in &mut shares {
            share.sort_by_cached_key(PlannedFile::path);
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(shares.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            catalog: rows.catalog.clone(),
            pin: rows.pin.clone(),
            shares,
            schema,
            options,
            limit: request.limit,
            found: Vec::new(),
            label: request.label.to_owned(),
            statistics,
            properties: Arc::new(properties),
        })
    }
}

impl CatalogScan {
    /// Rows of some files. Where the query finds something out while it runs, what it knows when a
    /// file's turn comes is what that file is read by.
    fn rows_of(&self, files: &[PlannedFile], batch_rows: usize) -> BoxStream<'static, Read> {
        let mut options = self.options.clone();
        options.batch_rows = Some(batch_rows);
        let shares: Vec<Vec<PlannedFile>> = if self.found.is_empty() {
            vec![files.to_vec()]
        } else {
            files.iter().map(|file| vec![file.clone()]).collect()
        };
        let scan = self.clone();
        let reads = futures::stream::iter(shares).then(move |share| {
            let (scan, mut options) = (scan.clone(), options.clone());
            async move {
                if let Some(found) = predicate_now(&scan.found, &scan.schema) {
                    let known = options.filter.take().into_iter();
                    options.filter = Some(Predicate::And(known.chain([found]).collect()));
                }
                scan.catalog.scan_files(&scan.pin, &share, options).await
            }
        });
        reads.try_flatten().boxed()
    }
}

impl DisplayAs for CatalogScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: usize = self.shares.iter().map(Vec::len).sum();
        let partitions = self.shares.len();
        write!(f, "CatalogScan: {}, ", self.label)?;
        let deletes = self.shares.iter().flatten().filter(|file| file.has_deletes()).count();
        if deletes > 0 {
            write!(f, "deletes in {deletes}, ")?;
        }
        if deletes < files {
            write!(f, "other columns in {}, ", files - deletes)?;
        }
        write!(f, "partitions={partitions}")?;
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        self.found.iter().try_for_each(|filter| write!(f, ", filter={filter}"))
    }
}

impl ExecutionPlan for CatalogScan {
    fn name(&self) -> &'static str {
        "CatalogScan"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let Some(share) = self.shares.get(partition) else {
            return internal_err!("a catalog scan has no partition {partition}");
        };
        let schema = Arc::clone(&self.schema);
        let mut left = self.limit.unwrap_or(usize::MAX);
        let batches = self
            .rows_of(share, context.session_config().batch_size())
            .map(move |batch| fit(&batch.map_err(to_datafusion)?, &schema))
            .map(move |batch| {
                let batch = batch?;
                let taken = batch.num_rows().min(left);
                left -= taken;
                Ok((batch.slice(0, taken), left == 0))
            });
        // Nothing more is decoded once there are rows enough.
        let batches = batches.scan(false, |is_full, step: Result<_, DataFusionError>| {
            let next = (!*is_full).then(|| {
                step.map(|(batch, full)| {
                    *is_full = full;
                    batch
                })
            });
            futures::future::ready(next)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    /// Takes filters that a query finds while it runs. Rows that do not pass may come nevertheless.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>, DataFusionError> {
        let filters = pushed.parent_filters.into_iter().map(|parent| parent.filter);
        let filters: Vec<_> = filters.collect();
        let answers = vec![PushedDown::No; filters.len()];
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        let found = filters.into_iter().filter(is_dynamic_physical_expr).collect::<Vec<_>>();
        if phase != FilterPushdownPhase::Post || found.is_empty() {
            return Ok(answer);
        }
        let mut scan = self.clone();
        scan.found.extend(found);
        Ok(answer.with_updated_node(Arc::new(scan)))
    }

    fn partition_statistics(
        &self,
        partition: Option<usize>,
    ) -> Result<Statistics, DataFusionError> {
        Ok(match partition {
            None => self.statistics.clone(),
            Some(_) => Statistics::new_unknown(&self.schema),
        })
    }
}

#[cfg(test)]
mod tests;
