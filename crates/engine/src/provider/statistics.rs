//! What the catalog knows of files, as DataFusion's statistics.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use icecore_catalog::{ColumnRange, PlannedFile};
use icecore_core::Literal;

/// Statistics of one file.
///
/// Bounds are declared exact, although no value need lie on them: that is how DataFusion marks
/// those that files may be skipped by, and nothing answers a query from the statistics of a single
/// file. Those of the whole scan, from which `min` and `max` are answered, are [inexact](total).
pub(super) fn of_file(file: &PlannedFile, schema: &SchemaRef) -> Arc<Statistics> {
    let columns = schema.fields().iter().map(|field| {
        let range = file.columns().get(field.name());
        let nulls = range.and_then(|range| range.nulls).and_then(|n| usize::try_from(n).ok());
        let bound = |of: fn(&ColumnRange) -> &Option<Literal>| {
            let literal = range.and_then(|range| of(range).as_ref());
            literal
                .and_then(|literal| scalar(literal, field.data_type()))
                .map_or(Precision::Absent, Precision::Exact)
        };
        let mut column = ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, Precision::Exact),
            min_value: bound(|range| &range.min),
            max_value: bound(|range| &range.max),
            ..ColumnStatistics::new_unknown()
        };
        forget_everything(&mut column);
        column
    });
    Arc::new(Statistics {
        num_rows: Precision::Exact(usize::try_from(file.rows).unwrap_or(usize::MAX)),
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    })
}

/// A range of all numbers says nothing, and the planner fails to count what is in it.
fn forget_everything(column: &mut ColumnStatistics) {
    let is = |bound: &Precision<ScalarValue>, value: i64| {
        bound.get_value() == Some(&ScalarValue::Int64(Some(value)))
    };
    if is(&column.min_value, i64::MIN) && is(&column.max_value, i64::MAX) {
        (column.min_value, column.max_value) = (Precision::Absent, Precision::Absent);
    }
}

/// Statistics of all files: rows and nulls are exact, bounds are not.
pub(super) fn total(files: &[Arc<Statistics>], bytes: u64, schema: &SchemaRef) -> Statistics {
    let Some((first, rest)) = files.split_first() else {
        let mut none = Statistics::new_unknown(schema);
        none.num_rows = Precision::Exact(0);
        return none;
    };
    let mut total = first.as_ref().clone();
    for file in rest {
        total.num_rows = total.num_rows.add(&file.num_rows);
        for (sum, column) in total.column_statistics.iter_mut().zip(&file.column_statistics) {
            sum.null_count = sum.null_count.add(&column.null_count);
            sum.min_value = sum.min_value.min(&column.min_value);
            sum.max_value = sum.max_value.max(&column.max_value);
        }
    }
    for column in &mut total.column_statistics {
        column.min_value = std::mem::take(&mut column.min_value).to_inexact();
        column.max_value = std::mem::take(&mut column.max_value).to_inexact();
        forget_everything(column);
    }
    total.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
    total
}

/// Statistics of the live rows of files that rows were deleted from. Their number is exact where
/// the catalog knows it and every row is wanted.
pub(super) fn of_live(files: &[PlannedFile], is_filtered: bool, schema: &SchemaRef) -> Statistics {
    let known: Vec<Arc<Statistics>> = files.iter().map(|file| of_file(file, schema)).collect();
    let bytes = files.iter().map(|file| file.size_bytes).sum();
    let mut of_all = total(&known, bytes, schema);
    let live = files.iter().map(|file| file.live_rows).sum::<Option<u64>>();
    let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    of_all.num_rows = match live {
        Some(live) if !is_filtered => Precision::Exact(count(live)),
        _ => of_all.num_rows.to_inexact(),
    };
    for column in &mut of_all.column_statistics {
        column.null_count = std::mem::take(&mut column.null_count).to_inexact();
    }
    of_all
}

/// A literal as a value of a column's type.
fn scalar(literal: &Literal, data_type: &DataType) -> Option<ScalarValue> {
    Some(match (literal, data_type) {
        (Literal::Bool(value), DataType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (Literal::Int(value), DataType::Int32) => {
            ScalarValue::Int32(Some(i32::try_from(*value).ok()?))
        }
        (Literal::Int(value), DataType::Int64) => ScalarValue::Int64(Some(*value)),
        // A bound was stored in the column's own precision, so nothing is lost.
        (Literal::Float(value), DataType::Float32) => ScalarValue::Float32(Some(*value as f32)),
        (Literal::Float(value), DataType::Float64) => ScalarValue::Float64(Some(*value)),
        (Literal::Text(text), DataType::Utf8) => ScalarValue::Utf8(Some(text.clone())),
        (Literal::Date(date), DataType::Date32) => ScalarValue::Date32(Some(date.days())),
        (Literal::Timestamp(moment), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(moment.micros()), zone.clone())
        }
        _ => return None,
    })
}
