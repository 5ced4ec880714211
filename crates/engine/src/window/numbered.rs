//! Texts that are read as the numbers that their files have for them.
//!
//! Parquet keeps a column of not too many different texts as a list of them and a number for each row
//! (Apache Parquet, "Encodings", `RLE_DICTIONARY`). A scan that turns the numbers into texts copies
//! each of them, and who gathers events by entity looks every copy up again. So where a plan hands
//! texts from the files to the events as they are, they stay numbers on the way.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};

use crate::provider::PinnedSource;

/// What texts are read as.
fn numbered() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// A plan whose texts in these columns come as numbers, as far as they come from Parquet files and
/// nothing on the way looks at them.
pub(super) fn with_numbers(
    plan: &Arc<dyn ExecutionPlan>,
    mut wanted: BTreeSet<usize>,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    wanted
        .retain(|at| schema.fields().get(*at).is_some_and(|it| it.data_type() == &DataType::Utf8));
    if wanted.is_empty() {
        return Ok(Arc::clone(plan));
    }
    let operator = plan.as_any();
    if let Some(scan) = operator.downcast_ref::<DataSourceExec>() {
        let numbered = of_scan(scan, &wanted, runtime)?;
        return Ok(numbered.map_or_else(|| Arc::clone(plan), |scan| scan as _));
    }
    if let Some(projection) = operator.downcast_ref::<ProjectionExec>() {
        let below = below(projection.expr(), &wanted);
        let input = with_numbers(projection.input(), below, runtime)?;
        // With other children it would keep the types that it had.
        let expressions = projection.expr().iter().cloned();
        return Ok(Arc::new(ProjectionExec::try_new(expressions, input)?));
    }
    let mut below = wanted;
    if let Some(filter) = operator.downcast_ref::<FilterExec>() {
        if let Some(shown) = filter.projection() {
            below = of_places(shown, &below);
        }
        leave_out(&mut below, filter.predicate());
    } else if let Some(repartition) = operator.downcast_ref::<RepartitionExec>() {
        if let Partitioning::Hash(by, _) = repartition.partitioning() {
            by.iter().for_each(|by| leave_out(&mut below, by));
        }
    } else if !operator.is::<CoalescePartitionsExec>() {
        return Ok(Arc::clone(plan));
    }
    let [input] = plan.children()[..] else { return Ok(Arc::clone(plan)) };
    let input = with_numbers(input, below, runtime)?;
    Arc::clone(plan).with_new_children(vec![input])
}

/// Which columns stand in these places. One that also stands where it is not wanted is left out.
fn of_places(shown: &[usize], wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
    let (mut below, mut others) = (BTreeSet::new(), BTreeSet::new());
    for (place, column) in shown.iter().enumerate() {
        match wanted.contains(&place) {
            true => below.insert(*column),
            false => others.insert(*column),
        };
    }
    below.retain(|column| !others.contains(column));
    below
}

/// Which columns are handed on to these places as they are, and nowhere else.
fn below(expressions: &[ProjectionExpr], wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
    let handed_on = |place: &usize| {
        let column = expressions.get(*place)?.expr.as_any().downcast_ref::<Column>()?;
        Some(column.index())
    };
    let mut below: BTreeSet<usize> = wanted.iter().filter_map(handed_on).collect();
    for (place, expression) in expressions.iter().enumerate() {
        if !wanted.contains(&place) || handed_on(&place).is_none() {
            leave_out(&mut below, &expression.expr);
        }
    }
    below
}

/// Leaves out what an expression looks at.
fn leave_out(columns: &mut BTreeSet<usize>, expression: &Arc<dyn PhysicalExpr>) {
    for column in collect_columns(expression) {
        columns.remove(&column.index());
    }
}

fn of_scan(
    scan: &DataSourceExec,
    wanted: &BTreeSet<usize>,
    runtime: &RuntimeEnv,
) -> Result<Option<Arc<DataSourceExec>>> {
    let Some(config) = scan.data_source().as_any().downcast_ref::<FileScanConfig>() else {
        return Ok(None);
    };
    let source = config.file_source();
    let pinned = source.as_any().downcast_ref::<PinnedSource>();
    let inner = pinned.map_or(source, PinnedSource::inner);
    let Some(parquet) = inner.as_any().downcast_ref::<ParquetSource>() else { return Ok(None) };
    let Some(projection) = parquet.projection() else { return Ok(None) };
    let mut columns = below(projection.as_ref(), wanted);
    let predicate = parquet.filter();
    if let Some(predicate) = &predicate {
        leave_out(&mut columns, predicate);
    }
    let table = parquet.table_schema();
    let file = table.file_schema();
    // What stands behind the columns of the files comes from the names of directories.
    columns.retain(|column| *column < file.fields().len());
    if columns.is_empty() {
        return Ok(None);
    }
    let number = |(at, field): (usize, &Arc<Field>)| match columns.contains(&at) {
        true => Arc::new(field.as_ref().clone().with_data_type(numbered())),
        false => Arc::clone(field),
    };
    let fields: Vec<_> = file.fields().iter().enumerate().map(number).collect();
    let names = columns.iter().map(|column| file.field(*column).name().clone()).collect();
    let file = Arc::new(Schema::new_with_metadata(fields, file.metadata().clone()));
    let readers = match parquet.parquet_file_reader_factory() {
        Some(readers) => Arc::clone(readers),
        None => {
            let store = runtime.object_store(&config.object_store_url)?;
            Arc::new(DefaultParquetFileReaderFactory::new(store)) as _
        }
    };
    let mut numbered =
        ParquetSource::new(TableSchema::new(file, table.table_partition_cols().clone()))
            .with_table_parquet_options(parquet.table_parquet_options().clone())
            .with_parquet_file_reader_factory(Arc::new(Readers {
                readers,
                names: Arc::new(names),
            }));
    if let Some(predicate) = predicate {
        numbered = numbered.with_predicate(predicate);
    }
    let Some(numbered) = numbered.try_pushdown_projection(projection)? else { return Ok(None) };
    let source = match pinned {
        Some(pinned) => pinned.around(numbered),
        None => numbered,
    };
    let config = FileScanConfigBuilder::from(config.clone()).with_source(source).build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Readers of files whose texts in the columns of these names stay numbers.
#[derive(Debug)]
struct Readers {
    readers: Arc<dyn ParquetFileReaderFactory>,
    names: Arc<BTreeSet<String>>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let reader = self.readers.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(Reader { reader, names: Arc::clone(&self.names) }))
    }
}

struct Reader {
    reader: Box<dyn AsyncFileReader + Send>,
    names: Arc<BTreeSet<String>>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.reader.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        self.reader.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let metadata = self.reader.get_metadata(options).await?;
            hinted(&metadata, &self.names)
        }
        .boxed()
    }
}

/// A footer that says of the texts in these columns that they were numbers when they were written:
/// that is what Arrow's reader goes by.
fn hinted(
    metadata: &ParquetMetaData,
    names: &BTreeSet<String>,
) -> Result<Arc<ParquetMetaData>, ParquetError> {
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    let is_text = |data_type: &DataType| {
        matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    };
    let number =
        |field: &Arc<Field>| match names.contains(field.name()) && is_text(field.data_type()) {
            true => Arc::new(field.as_ref().clone().with_data_type(numbered())),
            false => Arc::clone(field),
        };
    let fields: Vec<_> = schema.fields().iter().map(number).collect();
    let hint = encode_arrow_schema(&Schema::new_with_metadata(fields, schema.metadata().clone()));
    let others = file.key_value_metadata().into_iter().flatten();
    let others = others.filter(|entry| entry.key != ARROW_SCHEMA_META_KEY).cloned();
    let hint = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint);
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(ToOwned::to_owned),
        Some(others.chain([hint]).collect()),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let hinted = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .set_column_index(metadata.column_index().cloned())
        .set_offset_index(metadata.offset_index().cloned())
        .build();
    Ok(Arc::new(hinted))
}
