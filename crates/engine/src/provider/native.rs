//! Reading a table's files with DataFusion's own Parquet operator.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DataFusionError;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::expr_to_columns;
use datafusion::physical_plan::ExecutionPlan;
use icecore_catalog::PlannedFile;
use object_store::ObjectMeta;

use super::source::PinnedSource;
use super::statistics;
use crate::engine::store_url;
use crate::error::to_datafusion;

/// What is wanted of a table.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) schema: &'a SchemaRef,
    pub(super) projection: Option<&'a Vec<usize>>,
    pub(super) filters: &'a [Expr],
    pub(super) limit: Option<usize>,
    /// Whether few rows pass the filters.
    pub(super) is_selective: bool,
    /// What `EXPLAIN` says of the table.
    pub(super) label: &'a str,
}

/// The operator that reads the files. It declares no order: nothing says of a single file that its
/// rows are sorted as the table now is.
pub(super) fn plan(
    state: &dyn Session,
    planned: &[PlannedFile],
    request: Request<'_>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let partitions = state.config().target_partitions().max(1);
    let (mut files, mut known, mut bytes) = (Vec::new(), Vec::new(), 0);
    for file in planned {
        let statistics = statistics::of_file(file, request.schema);
        bytes += file.size_bytes;
        files.push(partitioned(file).with_statistics(Arc::clone(&statistics)));
        known.push(statistics);
    }
    let url = store_url().map_err(to_datafusion)?;
    // Data files never change, so a footer that was read once is read for good.
    let runtime = state.runtime_env();
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let readers = CachedParquetFileReaderFactory::new(runtime.object_store(&url)?, footers);
    let source = ParquetSource::new(Arc::clone(request.schema))
        .with_table_parquet_options(parquet_options(state, request)?)
        .with_parquet_file_reader_factory(Arc::new(readers));
    let source: Arc<dyn FileSource> =
        Arc::new(PinnedSource::new(Arc::new(source), request.label.into()));
    let config = FileScanConfigBuilder::new(url, source)
        .with_file_groups(groups(files, partitions))
        .with_statistics(statistics::total(&known, bytes, request.schema))
        .with_projection_indices(request.projection.cloned())?
        .with_limit(request.limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// How to read: decided for each scan.
///
/// The page index skips pages that cannot pass. Evaluating filters while decoding pays where few rows
/// pass and there are columns that only those need; where a query reads nothing but what it filters
/// by, or nearly all rows, it would decode the same pages with more bookkeeping. Filters are then evaluated the
/// cheapest first.
fn parquet_options(
    state: &dyn Session,
    request: Request<'_>,
) -> Result<TableParquetOptions, DataFusionError> {
    let mut filtered = HashSet::new();
    for filter in request.filters {
        expr_to_columns(filter, &mut filtered)?;
    }
    let read = request.projection.map_or(request.schema.fields().len(), Vec::len);
    let is_late = request.is_selective && !filtered.is_empty() && read > filtered.len();
    let mut options = TableParquetOptions {
        global: state.config_options().execution.parquet.clone(),
        ..TableParquetOptions::default()
    };
    options.global.enable_page_index = true;
    options.global.pushdown_filters = is_late;
    options.global.reorder_filters = is_late;
    Ok(options)
}

fn partitioned(file: &PlannedFile) -> PartitionedFile {
    PartitionedFile::new_from_meta(ObjectMeta {
        location: file.path(),
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size: file.size_bytes,
        e_tag: None,
        version: None,
    })
}

/// Shares files out so that no partition has much more to read than another. Where that is not
/// enough, DataFusion cuts large files into ranges.
fn groups(files: Vec<PartitionedFile>, partitions: usize) -> Vec<FileGroup> {
    let shares = shared_out(files, partitions, |file| file.object_meta.size);
    let in_order = |mut files: Vec<PartitionedFile>| {
        files.sort_by(|left, right| left.path().cmp(right.path()));
        FileGroup::new(files)
    };
    shares.into_iter().map(in_order).collect()
}

/// Makes at most so many shares of about the same size.
pub(super) fn shared_out<F: Clone>(
    mut files: Vec<F>,
    shares: usize,
    size: impl Fn(&F) -> u64,
) -> Vec<Vec<F>> {
    files.sort_by_key(|file| Reverse(size(file)));
    // No file is still a share, one without rows: operators cannot have no partition.
    let mut groups: Vec<(u64, Vec<F>)> = vec![(0, Vec::new()); shares.min(files.len()).max(1)];
    for file in files {
        if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += size(&file);
            group.push(file);
        }
    }
    groups.into_iter().map(|(_, files)| files).collect()
}
