//! Windows up to the moment, from the events in the table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use bytes::Bytes;
use futures::TryStreamExt;
use icecore_core::{
    CompareOp, Error, Literal, PinnedTable, Predicate, Result, RowVersion, ScanOptions,
    SnapshotCatalog, SnapshotSelector, Timestamp,
};
use icecore_engine::Engine;
use icecore_features::{AskedMoments, Definitions, MomentColumns, MomentRules, features_at};
use icecore_online::{RowStatus, ViewRead, ViewRows, row_keys};

use super::{PlannedView, at, literals, micros};

/// The column with the moment of the request.
const MOMENT: &str = "__requested_at";

/// What the view gives for the moment, without events that the table does not have yet.
pub(super) async fn read(
    (engine, definitions): (&Engine, &Definitions),
    view: &PlannedView,
    read: &ViewRead,
    now: Timestamp,
) -> Result<ViewRows> {
    let catalog = engine.catalog();
    let pin = catalog.pin(&view.pin.table, &SnapshotSelector::Latest).await;
    let pin = pin.unwrap_or_else(|_| view.pin.clone());
    let keys: Vec<(String, String)> =
        view.shape.keys.iter().map(|key| (key.name().clone(), key.name().clone())).collect();
    let rows = read.keys.first().map_or(0, |column| column.len());
    let at = TimestampMicrosecondArray::from(vec![now.micros(); rows]).with_timezone("+00:00");
    let mut fields: Vec<Field> = Vec::new();
    for (key, column) in view.shape.keys.iter().zip(&read.keys) {
        fields.push(Field::new(key.name(), column.data_type().clone(), true));
    }
    fields.push(Field::new(MOMENT, at.data_type().clone(), true));
    let columns = read.keys.iter().cloned().chain([Arc::new(at) as ArrayRef]).collect();
    let spine = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let asked = AskedMoments::of(engine, engine.rows(spine).await?, &keys, MOMENT).await?;
    let of = (definitions, definitions.view(&view.shape.view)?);
    let pins = std::slice::from_ref(&pin);
    let frame = features_at(engine, of, pins, &asked, MomentRules::default()).await?;
    let found = engine.stream(frame).await?.concat().await?;
    let mut found = answer(view, read, &found)?;
    if found.rows.contains(&RowStatus::NotFound) {
        let older = older(engine, view, (&pin, read), now).await?;
        for (at, key) in row_keys(&view.shape.view, &read.keys)?.iter().enumerate() {
            let last = key.as_ref().and_then(|key| older.get(key).copied());
            if let (Some(row @ RowStatus::NotFound), Some(version), Some(last)) =
                (found.rows.get_mut(at), found.versions.get_mut(at), last)
            {
                *row = RowStatus::OutsideMaxAge;
                *version = Some(last);
            }
        }
    }
    Ok(found)
}

/// The last event of each entity, also of those that no window reaches.
async fn older(
    engine: &Engine,
    view: &PlannedView,
    (pin, read): (&PinnedTable, &ViewRead),
    now: Timestamp,
) -> Result<HashMap<Bytes, RowVersion>> {
    let shape = &view.shape;
    let keys = shape.keys.iter().map(|key| key.name().clone());
    let mut filters =
        vec![Predicate::compare(&shape.event_timestamp, CompareOp::LtEq, Literal::Timestamp(now))];
    if let (Some(key), Some(values)) = (shape.keys.first(), read.keys.first())
        && let Some(literals) = literals(values)
    {
        filters.push(Predicate::In(key.name().clone(), literals));
    }
    let columns = keys.chain([shape.event_timestamp.clone()]);
    let scan = ScanOptions::default().with_columns(columns).with_filter(Predicate::And(filters));
    let mut rows = engine.catalog().scan(pin, scan).await?;
    let mut last: HashMap<Bytes, RowVersion> = HashMap::new();
    while let Some(batch) = rows.try_next().await? {
        let (events, keys) = batch
            .columns()
            .split_last()
            .ok_or_else(|| Error::internal("a read has lost its columns"))?;
        let events = micros(events)?;
        for (row, key) in (0_u32..).zip(row_keys(&shape.view, keys)?) {
            let (Some(key), Some(event)) = (key, at(&events, row)) else { continue };
            let version = RowVersion { event, created: event };
            let known = last.entry(key).or_insert(version);
            *known = version.max(*known);
        }
    }
    Ok(last)
}

fn answer(view: &PlannedView, read: &ViewRead, found: &RecordBatch) -> Result<ViewRows> {
    let keys = found.columns().get(..view.shape.keys.len()).unwrap_or_default();
    let at: HashMap<_, u32> = row_keys(&view.shape.view, keys)?.into_iter().zip(0..).collect();
    let wanted = row_keys(&view.shape.view, &read.keys)?;
    let places: UInt32Array = wanted.iter().map(|key| at.get(key).copied()).collect();
    let column = |name: &str| -> Result<ArrayRef> {
        let column = found.column_by_name(name);
        let lost = || Error::internal(format!("answers have lost `{name}`"));
        Ok(take(column.ok_or_else(lost)?, &places, None)?)
    };
    let newest = column(MomentColumns::NEWEST)?;
    let newest = newest.as_primitive::<TimestampMicrosecondType>();
    let version = |event: i64| {
        let event = Timestamp::from_micros(event);
        RowVersion { event, created: event }
    };
    let versions: Vec<Option<RowVersion>> =
        newest.iter().map(|newest| newest.map(version)).collect();
    let columns = read
        .features
        .iter()
        .map(|field| Ok(arrow::compute::cast(&column(field.name())?, field.data_type())?));
    Ok(ViewRows {
        columns: columns.collect::<Result<_>>()?,
        rows: versions
            .iter()
            .map(|version| version.map_or(RowStatus::NotFound, |_| RowStatus::Found))
            .collect(),
        versions,
    })
}
