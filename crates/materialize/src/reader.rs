//! From batches of a table to rows of a store.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use icecore_core::{Error, GatheredRows, OnlineChange, Result, RowVersion, Timestamp};
use icecore_online::{Origin, RowEncoder, row_keys};

use crate::view::ViewShape;

/// Turns batches into keys, versions and rows.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    shape: &'a ViewShape,
    encoder: RowEncoder,
}

/// Rows of one batch. Rows without an entity or a moment are not among them.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) keys: Vec<Bytes>,
    pub(crate) versions: Vec<RowVersion>,
    pub(crate) rows: Vec<Bytes>,
    /// Where in the batch each of them stood.
    pub(crate) places: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shape: &'a ViewShape, origin: Origin) -> Self {
        Self { shape, encoder: RowEncoder::new(shape.schema.clone(), origin) }
    }

    pub(crate) fn read(&self, batch: &RecordBatch) -> Result<Read> {
        let column = |name: &str| -> Result<ArrayRef> {
            batch.column_by_name(name).cloned().ok_or_else(|| {
                Error::internal(format!("the rows of `{}` have lost `{name}`", self.shape.view))
            })
        };
        let keys =
            self.shape.keys.iter().map(|key| column(key.name())).collect::<Result<Vec<_>>>()?;
        let keys = row_keys(&self.shape.view, &keys)?;
        let events = micros(&column(&self.shape.event_timestamp)?)?;
        let created = match &self.shape.created_timestamp {
            Some(name) => Some(micros(&column(name)?)?),
            None => None,
        };
        let mut read = Read::default();
        for (place, key) in keys.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let Some(event) = at(&events, place) else { continue };
            let created = created.as_ref().map_or(Some(event), |created| at(created, place));
            // A row of which nobody knows when it became known is older than one that says so.
            let created = created.unwrap_or(Timestamp::from_micros(i64::MIN));
            read.keys.push(key);
            read.versions.push(RowVersion { event, created });
            read.places.push(place);
        }
        let batch = match read.places.len() == batch.num_rows() {
            true => batch.clone(),
            false => {
                let places = read.places.iter().map(|place| *place as u64);
                let places = arrow::array::UInt64Array::from_iter_values(places);
                arrow::compute::take_record_batch(batch, &places)?
            }
        };
        read.rows = self.encoder.encode(&batch, &read.versions)?;
        Ok(read)
    }
}

impl Read {
    /// Adds the rows to those that were read before.
    pub(crate) fn gather_into(self, gathered: &mut GatheredRows) {
        for ((key, version), row) in self.keys.into_iter().zip(self.versions).zip(self.rows) {
            gathered.add(key, version, row);
        }
    }

    /// Changes that write the rows where no newer one is in the way.
    pub(crate) fn into_changes(self) -> Vec<OnlineChange> {
        let rows = self.keys.into_iter().zip(self.versions).zip(self.rows);
        rows.map(|((key, until), row)| OnlineChange { key, row: Some(row), until }).collect()
    }
}

fn micros(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?)
}

fn at(times: &ArrayRef, place: usize) -> Option<Timestamp> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    times.is_valid(place).then(|| Timestamp::from_micros(times.value(place)))
}
