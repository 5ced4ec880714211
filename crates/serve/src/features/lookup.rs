//! The slow path: the newest rows of entities in the tables.

mod moment;

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use futures::TryStreamExt;
use icecore_core::{
    Literal, Predicate, Result, RowVersion, ScanOptions, SnapshotCatalog, SnapshotSelector,
    Timestamp,
};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_online::{RowStatus, ViewRead, ViewRows, row_keys};

use super::plan::{Plan, PlannedView};

/// Entities that are looked up by their keys; for more, whole tables are read.
const KEYS_MAX: usize = 1_000;

pub(super) async fn read(
    (engine, definitions): (&Engine, &Definitions),
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Vec<ViewRows>> {
    let mut answers = Vec::with_capacity(reads.len());
    for (view, read) in plan.views.iter().zip(reads) {
        answers.push(match &view.tiles {
            Some(_) => Box::pin(moment::read((engine, definitions), view, read, now)).await?,
            None => read_view(engine, view, read, now).await?,
        });
    }
    Ok(answers)
}

async fn read_view(
    engine: &Engine,
    view: &PlannedView,
    read: &ViewRead,
    now: Timestamp,
) -> Result<ViewRows> {
    let (catalog, shape) = (engine.catalog(), &view.shape);
    // The newest state if it can be found out, else the one that was there when this was planned.
    let pin = catalog.pin(&view.pin.table, &SnapshotSelector::Latest).await;
    let pin = pin.unwrap_or_else(|_| view.pin.clone());
    let mut columns: Vec<&str> = shape.keys.iter().map(|key| key.name().as_str()).collect();
    columns.push(&shape.event_timestamp);
    columns.extend(shape.created_timestamp.as_deref());
    columns.extend(view.stored.iter().map(|field| field.name().as_str()));
    columns.sort_unstable();
    columns.dedup();
    let mut scan = ScanOptions::default().with_columns(columns);
    if let (Some(key), Some(values)) = (shape.keys.first(), read.keys.first())
        && let Some(literals) = literals(values)
    {
        scan = scan.with_filter(Predicate::In(key.name().clone(), literals));
    }
    let wanted = row_keys(&shape.view, &read.keys)?;
    let rows = catalog.scan(&pin, scan).await?;
    let schema = rows.schema().clone();
    let found = concat_batches(&schema, &rows.try_collect::<Vec<_>>().await?)?;
    let column = |name: &str| -> Result<ArrayRef> {
        found.column_by_name(name).cloned().ok_or_else(|| {
            icecore_core::Error::internal(format!(
                "the rows of `{}` have lost `{name}`",
                shape.view
            ))
        })
    };
    let keys = shape.keys.iter().map(|key| column(key.name())).collect::<Result<Vec<_>>>()?;
    let events = micros(&column(&shape.event_timestamp)?)?;
    let created = match &shape.created_timestamp {
        Some(name) => micros(&column(name)?)?,
        None => events.clone(),
    };
    let mut newest: HashMap<_, (RowVersion, u32)> = HashMap::new();
    for (row, key) in (0_u32..).zip(row_keys(&shape.view, &keys)?) {
        let (Some(key), Some(event)) = (key, at(&events, row)) else { continue };
        let created = at(&created, row).unwrap_or(Timestamp::from_micros(i64::MIN));
        let version = RowVersion { event, created };
        let known = newest.entry(key).or_insert((version, row));
        if version >= known.0 {
            *known = (version, row);
        }
    }
    let found: Vec<Option<(RowVersion, u32)>> =
        wanted.iter().map(|key| newest.get(key.as_ref()?).copied()).collect();
    let status = |found: &Option<(RowVersion, u32)>| match (found, read.ttl) {
        (None, _) => RowStatus::NotFound,
        (Some((version, _)), Some(ttl))
            if now.micros().saturating_sub(version.event.micros()) > ttl.micros() =>
        {
            RowStatus::OutsideMaxAge
        }
        (Some(_), _) => RowStatus::Found,
    };
    let statuses: Vec<RowStatus> = found.iter().map(status).collect();
    let places: UInt32Array = found
        .iter()
        .zip(&statuses)
        .map(|(found, status)| found.filter(|_| *status == RowStatus::Found).map(|(_, row)| row))
        .collect();
    let columns = view.stored.iter().map(|field| Ok(take(&column(field.name())?, &places, None)?));
    Ok(ViewRows {
        columns: columns.collect::<Result<_>>()?,
        versions: found.iter().map(|found| found.map(|(version, _)| version)).collect(),
        rows: statuses,
    })
}

fn micros(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?)
}

fn at(times: &ArrayRef, row: u32) -> Option<Timestamp> {
    let (times, row) = (times.as_primitive::<TimestampMicrosecondType>(), row as usize);
    times.is_valid(row).then(|| Timestamp::from_micros(times.value(row)))
}

/// The values to filter a column by; nothing where there are too many, or of another type.
fn literals(values: &ArrayRef) -> Option<Vec<Literal>> {
    if values.len() > KEYS_MAX {
        return None;
    }
    match values.data_type() {
        DataType::Utf8 => {
            let texts = values.as_string::<i32>();
            Some(texts.iter().flatten().map(|text| Literal::Text(text.to_owned())).collect())
        }
        data_type if data_type.is_integer() => {
            let numbers = cast(values, &DataType::Int64).ok()?;
            let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
            Some(numbers.iter().flatten().map(Literal::Int).collect())
        }
        _ => None,
    }
}
