//! Windows up to the moment, from the events in the table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use icecore_core::{Error, Result, RowVersion, SnapshotCatalog, SnapshotSelector, Timestamp};
use icecore_engine::Engine;
use icecore_features::{AskedMoments, Definitions, MomentColumns, MomentRules, features_at};
use icecore_online::{RowStatus, ViewRead, ViewRows, row_keys};

use super::PlannedView;

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
    answer(view, read, &found)
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
