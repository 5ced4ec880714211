//! The spine's rows: numbered, with their moments, and the range that they span.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, max, max_string, min, min_string};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use icecore_core::{Error, Result, Spine};

use crate::moment;

/// The smallest and the greatest values of the spine: what lies outside joins nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// Of the moments, in microseconds; absent where no row has one.
    pub(crate) moments: Option<(i64, i64)>,
    /// Of the columns that are keys, where their type has cheap bounds.
    pub(crate) keys: Vec<KeyBounds>,
}

/// The values of a key.
#[derive(Debug, Clone)]
pub(crate) struct KeyBounds {
    /// The spine's column.
    pub(crate) column: usize,
    pub(crate) least: ScalarValue,
    pub(crate) greatest: ScalarValue,
    /// All of them, if they are few.
    pub(crate) few: Option<HashSet<ScalarValue>>,
}

/// So many values of a key are named to whoever reads feature rows.
const FEW_KEYS: usize = 1000;

impl KeyBounds {
    fn new(column: usize, least: ScalarValue, greatest: ScalarValue) -> Self {
        Self { column, least, greatest, few: Some(HashSet::new()) }
    }

    fn widen(&mut self, least: ScalarValue, greatest: ScalarValue) {
        if least < self.least {
            self.least = least;
        }
        if greatest > self.greatest {
            self.greatest = greatest;
        }
    }

    fn look(&mut self, values: &ArrayRef) {
        let Some(few) = &mut self.few else { return };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            match ScalarValue::try_from_array(values, row) {
                Ok(value) if few.len() < FEW_KEYS || few.contains(&value) => few.insert(value),
                _ => {
                    self.few = None;
                    return;
                }
            };
        }
    }
}

/// A spine that is ready to be sorted: its columns, the row's number, its moment in microseconds.
pub(crate) struct Prepared {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: SendableRecordBatchStream,
    /// Complete when every row was read.
    pub(crate) bounds: Arc<Mutex<Bounds>>,
}

impl Prepared {
    /// Numbers the rows of a spine and reads their moments.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the spine has no such timestamp column.
    pub(crate) fn new(spine: Spine, keys: Vec<usize>) -> Result<Self> {
        let visible = plain_schema(spine.rows.schema());
        let at = moment_column(&visible, &spine.event_timestamp)?;
        let mut fields = visible.fields().to_vec();
        fields.push(Arc::new(Field::new("__icecore_row", DataType::UInt64, false)));
        fields.push(Arc::new(Field::new("__icecore_moment", DataType::Int64, true)));
        let schema = Arc::new(Schema::new(fields));
        let bounds = Arc::new(Mutex::new(Bounds::default()));

        let (prepared, shared) = (Arc::clone(&schema), Arc::clone(&bounds));
        let mut number = 0_u64;
        let rows = spine.rows.map(move |batch| {
            let prepare = |batch: RecordBatch| -> Result<RecordBatch> {
                let mut columns = plain_columns(&batch, &visible)?;
                let rows = UInt64Array::from_iter_values(number..number + batch.num_rows() as u64);
                number += batch.num_rows() as u64;
                let moments = moment::micros(&columns[at])?;
                let mut bounds = shared.lock().unwrap_or_else(PoisonError::into_inner);
                bounds.widen(&columns, &keys, &moments);
                drop(bounds);
                columns.push(Arc::new(rows));
                columns.push(Arc::new(moments));
                Ok(RecordBatch::try_new(Arc::clone(&prepared), columns)?)
            };
            batch.and_then(prepare).map_err(|error| DataFusionError::External(error.into()))
        });
        let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        Ok(Self { schema, rows, bounds })
    }
}

impl Bounds {
    /// What the rows span that were read so far.
    pub(crate) fn read(shared: &Mutex<Self>) -> Self {
        shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn widen(&mut self, columns: &[ArrayRef], keys: &[usize], moments: &Int64Array) {
        if let (Some(low), Some(high)) = (min(moments), max(moments)) {
            let (from, to) = self.moments.unwrap_or((low, high));
            self.moments = Some((from.min(low), to.max(high)));
        }
        for &key in keys {
            let Some((least, greatest)) = bounds_of(&columns[key]) else { continue };
            let known = self.keys.iter().position(|known| known.column == key);
            let at = known.unwrap_or_else(|| {
                self.keys.push(KeyBounds::new(key, least.clone(), greatest.clone()));
                self.keys.len() - 1
            });
            if let Some(known) = self.keys.get_mut(at) {
                known.widen(least, greatest);
                known.look(&columns[key]);
            }
        }
    }
}

fn bounds_of(column: &ArrayRef) -> Option<(ScalarValue, ScalarValue)> {
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            Some((min(values)?.into(), max(values)?.into()))
        }
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            Some((min(values)?.into(), max(values)?.into()))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            Some((min_string(values)?.into(), max_string(values)?.into()))
        }
        _ => None,
    }
}

/// The schema with text as `Utf8` and bytes as `Binary`, however they are encoded.
pub(crate) fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let plain = |field: &FieldRef| match plain_type(field.data_type()) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        None => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The type of the values of an encoded column.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        DataType::Dictionary(_, value) => {
            Some(plain_type(value).unwrap_or_else(|| value.as_ref().clone()))
        }
        _ => None,
    }
}

/// The columns of a batch as a schema has them.
pub(crate) fn plain_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<Vec<ArrayRef>> {
    let columns = batch.columns().iter().zip(schema.fields());
    columns
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            Ok(cast(column, field.data_type())?)
        })
        .collect()
}

/// Where the spine's moments are.
///
/// # Errors
///
/// `InvalidInput` if there is no such column, or it holds no moments.
pub(crate) fn moment_column(schema: &SchemaRef, name: &str) -> Result<usize> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let Some((at, field)) = schema.column_with_name(name) else {
        return Err(Error::invalid(format!("the spine has no column `{name}` for its moments"))
            .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(name, names()));
    };
    if !moment::is_moment(field.data_type()) {
        let data_type = field.data_type();
        return Err(Error::invalid(format!(
            "the spine's column `{name}` is {data_type}, which is neither a time nor a date"
        ))
        .with_help(format!("cast it in the spine: `CAST({name} AS TIMESTAMP) AS {name}`")));
    }
    Ok(at)
}
