//! Single events.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use icecore_core::{Error, Result, RowVersion, Timestamp};
use icecore_kernel::{Accumulator, AccumulatorValues};
use icecore_online::{Origin, RowEncoder, decode_rows};

use super::key::EntityKey;
use super::spec::TileView;

/// One event as it is stored: its moment, and what windows look at. Equal events have equal bytes.
pub(super) type EventRow = Bytes;

/// When an event happened.
pub(super) fn moment(event: &EventRow) -> i64 {
    RowVersion::of_row(event).map_or(i64::MIN, |version| version.event.micros())
}

/// Takes events out of others, which are in order: one for each.
pub(super) fn take_out(events: &mut Vec<EventRow>, others: &[EventRow]) {
    for other in others {
        if let Ok(at) = events.binary_search(other) {
            events.remove(at);
        }
    }
}

/// The events of a batch in the form of [`ViewEvents`](icecore_features::ViewEvents).
pub(super) fn read(view: &TileView, batch: &RecordBatch) -> Result<Vec<(EntityKey, EventRow)>> {
    let count = view.events.keys.len();
    let keys = batch.columns().get(..count).unwrap_or_default();
    let keys = EntityKey::of(view.name(), keys)?;
    let times =
        batch.columns().get(count).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| Error::internal("events have no time"))?;
    let version = |at: &i64| {
        let event = Timestamp::from_micros(*at);
        RowVersion { event, created: Timestamp::from_micros(0) }
    };
    let versions: Vec<RowVersion> = times.values().iter().map(version).collect();
    let values = batch.columns().iter().skip(count + 1).cloned();
    let values = view.row.fields().iter().map(|field| field.name().clone()).zip(values);
    let rows = match view.row.fields().is_empty() {
        true => batch.clone(),
        false => RecordBatch::try_from_iter_with_nullable(values.map(|(n, v)| (n, v, true)))?,
    };
    let rows = RowEncoder::new(view.row.clone(), Origin::Table).encode(&rows, &versions)?;
    let events = keys.into_iter().zip(rows);
    Ok(events.filter_map(|(key, row)| Some((key?, row))).collect())
}

/// Events whose values are at hand.
#[derive(Debug)]
pub(super) struct Events<'v> {
    view: &'v TileView,
    pub(super) times: Vec<i64>,
    values: Vec<AccumulatorValues>,
    masks: Vec<Option<BooleanArray>>,
}

impl<'v> Events<'v> {
    pub(super) fn new(view: &'v TileView, rows: &[EventRow]) -> Result<Self> {
        let columns = decode_rows(&view.row, rows)?;
        let inputs = view.events.inputs.len();
        let column = |at: usize| -> Result<&ArrayRef> {
            columns.get(at).ok_or_else(|| Error::internal("an event has lost a value"))
        };
        let (mut values, mut masks) = (Vec::new(), Vec::new());
        for measure in &view.measures {
            let input = measure.input.map(column).transpose()?;
            values.push(measure.aggregation.values(input)?);
            let mask = measure.mask.map(|mask| column(inputs + mask)).transpose()?;
            masks.push(mask.map(|mask| mask.as_boolean().clone()));
        }
        Ok(Self { view, times: rows.iter().map(moment).collect(), values, masks })
    }

    /// Adds an event to the state of a measure.
    pub(super) fn add(&self, measure: usize, event: usize, to: &mut Accumulator) {
        let (Some(of), Some(values), Some(mask), Some(time)) = (
            self.view.measures.get(measure),
            self.values.get(measure),
            self.masks.get(measure),
            self.times.get(event),
        ) else {
            return;
        };
        if mask.as_ref().is_none_or(|mask| mask.is_valid(event) && mask.value(event)) {
            of.aggregation.add(to, values, event, *time);
        }
    }
}
