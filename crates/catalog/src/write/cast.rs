//! Turning a column into the type that the table stores, without changing a value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, MapArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use icecore_core::{Error, ErrorKind, Result};

/// Fails instead of turning what does not fit into null.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Whether [`cast_column`] can turn columns of type `from` into this one.
///
/// # Errors
///
/// `InvalidInput` naming the column and both types.
pub(super) fn check_cast(from: &DataType, to: &Field) -> Result<()> {
    if can_cast(from, to.data_type()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "column `{}` is `{}` in the table and `{from}` in the rows",
        to.name(),
        to.data_type()
    ))
    .with_help(format!("cast it: `cast({} as …)`", to.name())))
}

fn can_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Dictionary,
        FixedSizeBinary, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary,
        LargeUtf8, List, Null, Struct, Time32, Time64, Timestamp, UInt8, UInt16, Utf8, Utf8View,
    };
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, values), to) => can_cast(values, to),
        (from, Int32 | Int64) => from.is_integer(),
        (from, Float32) => matches!(from, Int8 | Int16 | UInt8 | UInt16 | Float16 | Float32),
        (from, Float64) => {
            matches!(from, Float16 | Float32 | Float64 | Int32 | DataType::UInt32)
                || can_cast(from, &Float32)
        }
        (from, Utf8) => matches!(from, Utf8 | LargeUtf8 | Utf8View),
        (from, LargeBinary) => {
            matches!(from, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
        }
        (from, Date32) => matches!(from, Date32 | Date64),
        (from, Time64(_)) => matches!(from, Time32(_) | Time64(_)),
        (Timestamp(..), Timestamp(..)) | (Boolean, Boolean) => true,
        (Decimal32(_, from) | Decimal64(_, from) | Decimal128(_, from), Decimal128(_, to)) => {
            from <= to
        }
        (from, Decimal128(..)) => from.is_integer(),
        (from, List(to)) => {
            item(from).is_some_and(|item| can_cast(item.data_type(), to.data_type()))
        }
        (Struct(from), Struct(to)) => struct_fits(from, to),
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            matches!((from.data_type(), to.data_type()), (Struct(from), Struct(to))
                if from.len() == 2
                    && from.iter().zip(to).all(|(from, to)| can_cast(from.data_type(), to.data_type())))
        }
        (from, to) => from == to,
    }
}

/// Every field that is there has a place, and none that must be there is missing.
fn struct_fits(from: &Fields, to: &Fields) -> bool {
    from.iter().all(|field| to.find(field.name()).is_some())
        && to.iter().all(|field| match from.find(field.name()) {
            Some((_, source)) => can_cast(source.data_type(), field.data_type()),
            None => field.is_nullable(),
        })
}

const fn item(list: &DataType) -> Option<&FieldRef> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// Turns a column into the type of `to`. Moments keep their instant; those without a zone are
/// UTC; what is finer than the table's unit is cut off towards the past.
///
/// # Errors
///
/// `InvalidInput` naming the column for a value that the type cannot hold.
pub(super) fn cast_column(column: &ArrayRef, to: &Field, name: &str) -> Result<ArrayRef> {
    let cast = |column: &ArrayRef, to: &DataType| {
        cast_with_options(column, to, &STRICT).map_err(|error| does_not_fit(name, to, error))
    };
    match (column.data_type(), to.data_type()) {
        (from, to) if from == to => Ok(column.clone()),
        (DataType::Null, to) => Ok(new_null_array(to, column.len())),
        (DataType::Dictionary(_, values), _) => cast_column(&cast(column, values)?, to, name),
        (DataType::Timestamp(_, None), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            // Without a zone is UTC.
            let nanos = cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
            let nanos = nanos.as_primitive::<TimestampNanosecondType>().clone();
            Ok(Arc::new(nanos.with_timezone_opt(zone.clone())))
        }
        (DataType::Timestamp(unit, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let micros = to_micros(column, *unit)
                .map_err(|error| does_not_fit(name, to.data_type(), error))?;
            Ok(Arc::new(micros.with_timezone_opt(zone.clone())))
        }
        (from, DataType::List(to_item)) => {
            let Some(from_item) = item(from) else {
                return cast(column, to.data_type());
            };
            let list = cast(column, &DataType::List(from_item.clone()))?;
            let (_, offsets, values, nulls) = list.as_list::<i32>().clone().into_parts();
            // What lies outside of a slice is not this column's.
            let (start, end) = (offsets.inner().first(), offsets.inner().last());
            let (start, end) = (start.copied().unwrap_or(0), end.copied().unwrap_or(0));
            let values = values.slice(start as usize, (end - start) as usize);
            let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - start).collect());
            let values = cast_column(&values, to_item, name)?;
            ListArray::try_new(to_item.clone(), offsets, values, nulls)
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| does_not_fit(name, to.data_type(), error))
        }
        (DataType::Map(..), DataType::Map(to_entries, sorted)) => {
            let (_, offsets, entries, nulls, _) = column.as_map().clone().into_parts();
            let (start, end) = (offsets.inner().first(), offsets.inner().last());
            let (start, end) = (start.copied().unwrap_or(0), end.copied().unwrap_or(0));
            let entries = entries.slice(start as usize, (end - start) as usize);
            let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - start).collect());
            let entries = cast_entries(&entries, to_entries, name)?;
            MapArray::try_new(to_entries.clone(), offsets, entries, nulls, *sorted)
                .map(|map| Arc::new(map) as ArrayRef)
                .map_err(|error| does_not_fit(name, to.data_type(), error))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            cast_struct(column.as_struct(), fields, name)
        }
        (_, to) => cast(column, to),
    }
}

/// Keys and values are told apart by their places, not by their names.
fn cast_entries(entries: &StructArray, to: &Field, name: &str) -> Result<StructArray> {
    let DataType::Struct(fields) = to.data_type() else {
        return Err(Error::internal("the entries of a map are no struct"));
    };
    let columns = entries.columns().iter().zip(fields);
    let columns = columns
        .map(|(column, field)| cast_column(column, field, &format!("{name}.{}", field.name())))
        .collect::<Result<Vec<_>>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, None, entries.len()).map_err(
        |error| {
            Error::invalid(format!("column `{name}` lacks a required value")).with_source(error)
        },
    )
}

fn cast_struct(column: &StructArray, fields: &Fields, name: &str) -> Result<ArrayRef> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let path = format!("{name}.{}", field.name());
        columns.push(match column.column_by_name(field.name()) {
            Some(values) => cast_column(values, field, &path)?,
            None => new_null_array(field.data_type(), column.len()),
        });
    }
    StructArray::try_new_with_length(fields.clone(), columns, column.nulls().cloned(), column.len())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| {
            Error::invalid(format!("column `{name}` lacks a required value")).with_source(error)
        })
}

fn to_micros(
    column: &ArrayRef,
    unit: TimeUnit,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
    fn times<T: ArrowPrimitiveType<Native = i64>>(
        column: &ArrayRef,
        factor: i64,
    ) -> Result<PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
        column.as_primitive::<T>().try_unary(|value| {
            value.checked_mul(factor).ok_or_else(|| {
                ArrowError::ArithmeticOverflow(format!("{value} is beyond the year 294247"))
            })
        })
    }
    match unit {
        TimeUnit::Second => times::<TimestampSecondType>(column, 1_000_000),
        TimeUnit::Millisecond => times::<TimestampMillisecondType>(column, 1000),
        TimeUnit::Microsecond => times::<TimestampMicrosecondType>(column, 1),
        TimeUnit::Nanosecond => Ok(column
            .as_primitive::<TimestampNanosecondType>()
            .unary(|value| value.div_euclid(1000))),
    }
}

fn does_not_fit(column: &str, to: &DataType, error: ArrowError) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("column `{column}` holds a value that `{to}` cannot"),
    )
    .with_source(error)
}
