//! What a manifest says about a data file, taken from what was written into it.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema,
    Struct, Type,
};
use icecore_core::{Error, Result};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::modes::Modes;
use crate::error::Context as _;

/// NaNs by field id; Parquet does not count them.
#[derive(Debug, Default)]
pub(super) struct NanCounts(HashMap<i32, u64>);

impl NanCounts {
    /// Takes note of values that were copied and not looked at; `None` where nobody knows how many
    /// of them are NaN.
    pub(super) fn copied(&mut self, id: i32, nans: Option<u64>) {
        match nans {
            Some(nans) => *self.0.entry(id).or_default() += nans,
            None => {
                self.0.remove(&id);
            }
        }
    }
}

impl NanCounts {
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            self.add_column(field, column);
        }
    }

    fn add_column(&mut self, field: &Field, column: &ArrayRef) {
        match field.data_type() {
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>();
                self.count(field, nans(values, |value| value.is_nan()));
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>();
                self.count(field, nans(values, |value| value.is_nan()));
            }
            DataType::Struct(fields) => {
                for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                    self.add_column(field, column);
                }
            }
            DataType::List(item) => {
                let list = column.as_list::<i32>();
                let (start, end) = match (list.offsets().first(), list.offsets().last()) {
                    (Some(start), Some(end)) => (*start as usize, *end as usize),
                    _ => (0, 0),
                };
                self.add_column(item, &list.values().slice(start, end - start));
            }
            DataType::Map(entries, _) => {
                let map = column.as_map();
                let (start, end) = match (map.offsets().first(), map.offsets().last()) {
                    (Some(start), Some(end)) => (*start as usize, *end as usize),
                    _ => (0, 0),
                };
                let entries_column: ArrayRef =
                    std::sync::Arc::new(map.entries().slice(start, end - start));
                self.add_column(entries, &entries_column);
            }
            _ => {}
        }
    }

    fn count(&mut self, field: &Field, nans: usize) {
        let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok());
        if let Some(id) = id {
            *self.0.entry(id).or_default() += nans as u64;
        }
    }
}

fn nans<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    is_nan: impl Fn(T::Native) -> bool,
) -> usize {
    match column.nulls() {
        None => column.values().iter().filter(|value| is_nan(**value)).count(),
        Some(_) => column.iter().flatten().filter(|value| is_nan(*value)).count(),
    }
}

/// What is known of a file beside its Parquet metadata.
#[derive(Debug)]
pub(super) struct FileFacts {
    pub(super) path: String,
    pub(super) partition: Struct,
    pub(super) spec_id: i32,
    pub(super) order_id: Option<i32>,
    pub(super) bytes: u64,
    pub(super) nans: NanCounts,
}

/// Describes a file that was written.
pub(super) fn data_file(
    (schema, modes): (&Schema, &Modes),
    metadata: &ParquetMetaData,
    mut facts: FileFacts,
) -> Result<DataFile> {
    let mut columns = ColumnMetrics::default();
    for group in metadata.row_groups() {
        for chunk in group.columns() {
            columns.add(schema, chunk)?;
        }
    }
    columns.lower.retain(|id, _| !columns.unbounded.contains(id));
    columns.upper.retain(|id, _| !columns.unbounded.contains(id));
    columns.restrict(modes);
    facts.nans.0.retain(|id, _| modes.get(*id).counts());
    let rows: i64 = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).sum();
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(facts.path)
        .file_format(DataFileFormat::Parquet)
        .partition(facts.partition)
        .partition_spec_id(facts.spec_id)
        .record_count(rows.unsigned_abs())
        .file_size_in_bytes(facts.bytes)
        .column_sizes(columns.sizes)
        .value_counts(columns.values)
        .null_value_counts(columns.nulls)
        .nan_value_counts(facts.nans.0)
        .lower_bounds(columns.lower)
        .upper_bounds(columns.upper)
        .split_offsets(Some(
            metadata.row_groups().iter().filter_map(RowGroupMetaData::file_offset).collect(),
        ));
    if let Some(id) = facts.order_id {
        builder.sort_order_id(id);
    }
    builder
        .build()
        .map_err(|error| Error::internal("cannot describe a data file").with_source(error))
}

#[derive(Debug, Default)]
struct ColumnMetrics {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
    /// Columns of which some row group does not say how far its values reach.
    unbounded: Vec<i32>,
}

impl ColumnMetrics {
    /// Keeps what the table wants to know.
    fn restrict(&mut self, modes: &Modes) {
        self.values.retain(|id, _| modes.get(*id).counts());
        self.nulls.retain(|id, _| modes.get(*id).counts());
        let bounds = |bounds: &mut HashMap<i32, Datum>| std::mem::take(bounds).into_iter();
        self.lower = bounds(&mut self.lower)
            .filter(|(id, _)| modes.get(*id).bounds())
            .map(|(id, bound)| (id, modes.get(id).lower(bound)))
            .collect();
        self.upper = bounds(&mut self.upper)
            .filter(|(id, _)| modes.get(*id).bounds())
            .filter_map(|(id, bound)| Some((id, modes.get(id).upper(bound)?)))
            .collect();
    }

    fn add(&mut self, schema: &Schema, chunk: &ColumnChunkMetaData) -> Result<()> {
        let info = chunk.column_descr().self_type().get_basic_info().clone();
        if !info.has_id() {
            return Ok(());
        }
        let id = info.id();
        let values = chunk.num_values().unsigned_abs();
        *self.sizes.entry(id).or_default() += chunk.compressed_size().unsigned_abs();
        *self.values.entry(id).or_default() += values;
        let Some(statistics) = chunk.statistics() else {
            self.unbounded.push(id);
            return Ok(());
        };
        let nulls = statistics.null_count_opt().unwrap_or(0);
        *self.nulls.entry(id).or_default() += nulls;
        // Iceberg has bounds for values that rows hold, not for the items of their lists.
        let field_type = schema.field_by_id(id).map(|field| field.field_type.as_ref());
        let Some(Type::Primitive(primitive)) = field_type else { return Ok(()) };
        if chunk.column_descr().max_rep_level() > 0 {
            return Ok(());
        }
        match (bound(primitive, statistics, End::Min)?, bound(primitive, statistics, End::Max)?) {
            (Some(min), Some(max)) => {
                widen(&mut self.lower, id, min, |new, old| new < old);
                widen(&mut self.upper, id, max, |new, old| new > old);
            }
            // Nothing but nulls and NaNs has no bounds, and needs none.
            _ if nulls == values => {}
            _ if matches!(primitive, PrimitiveType::Float | PrimitiveType::Double) => {}
            _ => self.unbounded.push(id),
        }
        Ok(())
    }
}

fn widen(
    bounds: &mut HashMap<i32, Datum>,
    id: i32,
    new: Datum,
    is_wider: impl Fn(&Datum, &Datum) -> bool,
) {
    match bounds.get(&id) {
        Some(old) if !is_wider(&new, old) => {}
        _ => {
            bounds.insert(id, new);
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Min,
    Max,
}

/// A bound in Iceberg's terms. Parquet's bytes are Iceberg's, but for small decimals. Long text is
/// cut by the encoder, downwards for the least and upwards for the greatest, which bounds may be.
fn bound(primitive: &PrimitiveType, statistics: &Statistics, end: End) -> Result<Option<Datum>> {
    let decimal = |value: i64| value.to_be_bytes().to_vec();
    let is_decimal = matches!(primitive, PrimitiveType::Decimal { .. });
    let bytes = match (statistics, end) {
        (Statistics::Int32(values), End::Min) if is_decimal => {
            values.min_opt().map(|value| decimal(i64::from(*value)))
        }
        (Statistics::Int32(values), End::Max) if is_decimal => {
            values.max_opt().map(|value| decimal(i64::from(*value)))
        }
        (Statistics::Int64(values), End::Min) if is_decimal => {
            values.min_opt().map(|value| decimal(*value))
        }
        (Statistics::Int64(values), End::Max) if is_decimal => {
            values.max_opt().map(|value| decimal(*value))
        }
        (statistics, End::Min) => statistics.min_bytes_opt().map(<[u8]>::to_vec),
        (statistics, End::Max) => statistics.max_bytes_opt().map(<[u8]>::to_vec),
    };
    bytes
        .map(|bytes| Datum::try_from_bytes(&bytes, primitive.clone()))
        .transpose()
        .context(|| "cannot read the bounds of a column")
}
