//! The rows of a plan, each with the moment and the state of its features.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use icecore_core::{
    BatchStream, Error, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, Span, TableName,
    ValueType,
};
use icecore_dataset::{Asked, Retrieval, ViewRules, retrieve};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_pit::moment_micros;

use crate::newest::newest;
use crate::plan::{FEATURE_TIMESTAMP, PlannedRows, PlannedView, ScorePlan};
use crate::sql::{ident, literal};

/// The column with the state of a row's features.
pub(crate) const FEATURE_STATUS: &str = "feature_status";
/// Features are there, and young enough.
pub(crate) const PRESENT: &str = "PRESENT";
/// Some are there, and older than the job allows: they count as missing.
pub(crate) const OUTSIDE_MAX_AGE: &str = "OUTSIDE_MAX_AGE";
/// Some were never there.
pub(crate) const NOT_FOUND: &str = "NOT_FOUND";
/// Older than anything.
const FOR_EVER: Span = Span::from_days(36_500);
const DAY: i64 = Span::from_days(1).micros();

/// Whose rows are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    /// Everybody's.
    All,
    /// One entity's: its key columns, as text.
    One(&'a [(String, String)]),
}

/// Opens the rows of a plan. Beside the features they have `feature_timestamp`, the moment of the
/// oldest feature row that counts, and `feature_status`.
pub(crate) async fn open(
    engine: &Engine,
    definitions: &Definitions,
    plan: &ScorePlan,
    whose: Whose<'_>,
) -> Result<BatchStream> {
    match &plan.rows {
        PlannedRows::Stored { sql, ordered } => {
            let rows = match (whose, ordered) {
                (Whose::All, Some(ordered)) => {
                    newest(engine.sql(ordered, &plan.pins).await?, &plan.keys)?
                }
                (Whose::All, None) => engine.sql(sql, &plan.pins).await?,
                (Whose::One(key), _) => {
                    let is_entity = is_entity(engine, plan, key).await?;
                    let sql = format!("SELECT * FROM ({sql}) AS rows WHERE {is_entity}");
                    engine.sql(&sql, &plan.pins).await?
                }
            };
            stored(rows)
        }
        PlannedRows::Joined { .. } => joined(engine, definitions, plan, whose).await,
    }
}

/// The rows of a view's table with the state of their features, which is that they are there.
fn stored(rows: BatchStream) -> Result<BatchStream> {
    let at = rows.schema().index_of(FEATURE_TIMESTAMP)?;
    let mut fields = rows.schema().fields().to_vec();
    fields[at] = Arc::new(moment_field());
    fields.push(Arc::new(Field::new(FEATURE_STATUS, DataType::Utf8, false)));
    let schema = Arc::new(Schema::new(fields));
    let output = Arc::clone(&schema);
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let mut columns = batch.columns().to_vec();
        columns[at] = Arc::new(moments(&moment_micros(&columns[at])?));
        let present = std::iter::repeat_n(PRESENT, batch.num_rows());
        columns.push(Arc::new(StringArray::from_iter_values(present)));
        Ok(RecordBatch::try_new(Arc::clone(&output), columns)?)
    });
    Ok(BatchStream::new(schema, rows))
}

/// The condition that a row is an entity's.
async fn is_entity(engine: &Engine, plan: &ScorePlan, key: &[(String, String)]) -> Result<String> {
    let Some(features) = plan.features() else {
        return Err(Error::internal("a plan reads no view"));
    };
    let schema = engine.catalog().schema(features).await?;
    let equal = key.iter().map(|(column, value)| {
        let data_type = schema.field_with_name(column).map_or(&DataType::Utf8, Field::data_type);
        format!("{} = {}", ident(column), literal(value, data_type))
    });
    Ok(equal.collect::<Vec<_>>().join(" AND "))
}

async fn joined(
    engine: &Engine,
    definitions: &Definitions,
    plan: &ScorePlan,
    whose: Whose<'_>,
) -> Result<BatchStream> {
    let PlannedRows::Joined { entities, event_timestamp, keys, max_age } = &plan.rows else {
        return Err(Error::internal("the rows of a plan are joined"));
    };
    let names = |view: &PlannedView| -> Vec<String> {
        view.features.iter().map(|feature| format!("{}:{feature}", view.name)).collect()
    };
    let mut retrieval = Retrieval::new(plan.views.iter().flat_map(names));
    retrieval.event_timestamp.clone_from(event_timestamp);
    retrieval.keys.clone_from(keys);
    retrieval.with_event_timestamps = true;
    retrieval.at = plan.pins.iter().map(at).collect();
    // Rows that are too old come too, so that they can be told from rows that never were.
    let rules = ViewRules { ttl: Some(FOR_EVER), ..ViewRules::default() };
    retrieval.views = plan.views.iter().map(|view| (view.name.clone(), rules.clone())).collect();
    let asked = match (entities, whose) {
        (Some(query), whose) => {
            let query = entities_sql(engine, plan, (query, event_timestamp), whose).await?;
            Asked::Query(query)
        }
        (None, Whose::All) => Asked::Entities(vec![plan.moment()]),
        (None, Whose::One(key)) => {
            let schema = match plan.features() {
                Some(pin) => engine.catalog().schema(pin).await?,
                None => Arc::new(Schema::empty()),
            };
            let columns = key.iter().map(|(column, value)| {
                let data_type =
                    schema.field_with_name(column).map_or(&DataType::Utf8, Field::data_type);
                format!("{} AS {}", literal(value, data_type), ident(column))
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            Asked::Query(format!(
                "SELECT {columns}, {} AS {}",
                moment_sql(plan),
                ident(event_timestamp)
            ))
        }
    };
    // What the rows' own query reads is not the retrieval's to pin where nobody asks by query.
    if !matches!(asked, Asked::Query(_)) || entities.is_none() {
        let features = |pin: &&PinnedTable| plan.views.iter().any(|view| view.pin == **pin);
        retrieval.at = plan.pins.iter().filter(features).map(at).collect();
    }
    let retrieved = retrieve(engine, definitions, asked, &retrieval).await?;
    let joining = Joining::new(plan, retrieved.rows.schema(), event_timestamp, *max_age)?;
    let schema = Arc::clone(&joining.schema);
    Ok(BatchStream::new(schema, retrieved.rows.map(move |batch| joining.apply(&batch?))))
}

fn at(pin: &PinnedTable) -> (TableName, SnapshotSelector) {
    (pin.table.clone(), SnapshotSelector::Id(pin.snapshot))
}

fn moment_sql(plan: &ScorePlan) -> String {
    let micros = plan.moment().micros();
    format!("arrow_cast({micros}, 'Timestamp(Microsecond, Some(\"+00:00\"))')")
}

/// The query of the entities, with a moment for each row where it gives none.
async fn entities_sql(
    engine: &Engine,
    plan: &ScorePlan,
    (query, event_timestamp): (&str, &str),
    whose: Whose<'_>,
) -> Result<String> {
    let schema = engine.sql(query, &plan.pins).await?.schema().clone();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    if let Some(key) = plan.keys.iter().find(|key| schema.column_with_name(key).is_none()) {
        return Err(Error::invalid(format!("the query of the entities has no column `{key}`"))
            .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(key, names()));
    }
    let moment = match schema.column_with_name(event_timestamp) {
        Some(_) => String::new(),
        None => format!(", {} AS {}", moment_sql(plan), ident(event_timestamp)),
    };
    let condition = match whose {
        Whose::All => String::new(),
        Whose::One(key) => {
            let equal = key.iter().map(|(column, value)| {
                let data_type =
                    schema.field_with_name(column).map_or(&DataType::Utf8, Field::data_type);
                format!("{} = {}", ident(column), literal(value, data_type))
            });
            format!(" WHERE {}", equal.collect::<Vec<_>>().join(" AND "))
        }
    };
    Ok(format!("SELECT *{moment} FROM ({query}) AS icecore_entities{condition}"))
}

fn moment_field() -> Field {
    Field::new(FEATURE_TIMESTAMP, ValueType::Timestamp.arrow(), true)
}

fn moments(micros: &Int64Array) -> TimestampMicrosecondArray {
    micros.reinterpret_cast().with_timezone("+00:00")
}

/// Takes features that are too old out of joined rows, and says so.
struct Joining {
    schema: SchemaRef,
    moment: usize,
    max_age: Option<i64>,
    views: Vec<JoinedView>,
    kept: Vec<usize>,
}

struct JoinedView {
    event: usize,
    features: Vec<usize>,
    ttl: Option<i64>,
}

impl Joining {
    fn new(
        plan: &ScorePlan,
        rows: &SchemaRef,
        event_timestamp: &str,
        max_age: Option<Span>,
    ) -> Result<Self> {
        let mut views = Vec::with_capacity(plan.views.len());
        for view in &plan.views {
            // A view that is computed from the request alone has no moment of its own.
            let Ok(event) = rows.index_of(&format!("{}__event_timestamp", view.name)) else {
                continue;
            };
            let features = view.features.iter().map(|feature| rows.index_of(feature));
            let features = features.collect::<Result<Vec<_>, _>>()?;
            views.push(JoinedView { event, features, ttl: view.ttl.map(Span::micros) });
        }
        let is_event = |column: &usize| views.iter().any(|view| view.event == *column);
        let kept: Vec<usize> =
            (0..rows.fields().len()).filter(|column| !is_event(column)).collect();
        let nullable = |column: &usize| Arc::new(rows.field(*column).clone().with_nullable(true));
        let mut fields: Vec<_> = kept.iter().map(nullable).collect();
        fields.push(Arc::new(moment_field()));
        fields.push(Arc::new(Field::new(FEATURE_STATUS, DataType::Utf8, false)));
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            moment: rows.index_of(event_timestamp)?,
            max_age: max_age.map(Span::micros),
            views,
            kept,
        })
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let asked = moment_micros(batch.column(self.moment))?;
        let mut columns = batch.columns().to_vec();
        let mut oldest: Vec<Option<i64>> = vec![None; rows];
        let mut status = vec![PRESENT; rows];
        for view in &self.views {
            let events = moment_micros(batch.column(view.event))?;
            let mut stale = Vec::with_capacity(rows);
            for row in 0..rows {
                let event = events.is_valid(row).then(|| events.value(row));
                let limit = self.limit(asked.value(row), view);
                let is_stale = event.zip(limit).is_some_and(|(event, limit)| event < limit);
                match event {
                    None if status[row] == PRESENT => status[row] = NOT_FOUND,
                    Some(_) if is_stale => status[row] = OUTSIDE_MAX_AGE,
                    Some(event) => {
                        oldest[row] = Some(oldest[row].map_or(event, |other| other.min(event)));
                    }
                    None => {}
                }
                stale.push(is_stale);
            }
            if stale.contains(&true) {
                for feature in &view.features {
                    columns[*feature] = without(&columns[*feature], &stale)?;
                }
            }
        }
        let mut kept: Vec<ArrayRef> =
            self.kept.iter().map(|at| Arc::clone(&columns[*at])).collect();
        kept.push(Arc::new(moments(&Int64Array::from(oldest))));
        kept.push(Arc::new(StringArray::from(status)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), kept)?)
    }

    /// The first moment at which a feature row may lie: the job's maximum age counts from the
    /// beginning of the day, as whoever scores dates thinks of it; a view's ttl from the moment.
    fn limit(&self, asked: i64, view: &JoinedView) -> Option<i64> {
        match self.max_age {
            Some(age) => Some(asked.div_euclid(DAY).saturating_mul(DAY).saturating_sub(age)),
            None => view.ttl.map(|ttl| asked.saturating_sub(ttl)),
        }
    }
}

/// A column without the values of some rows.
fn without(column: &ArrayRef, gone: &[bool]) -> Result<ArrayRef> {
    let null = new_null_array(column.data_type(), 1);
    let places: Vec<(usize, usize)> =
        gone.iter().enumerate().map(|(row, gone)| if *gone { (1, 0) } else { (0, row) }).collect();
    Ok(interleave(&[column.as_ref(), null.as_ref()], &places)?)
}

/// Values of a key by its columns, in the plan's order.
///
/// # Errors
///
/// `InvalidInput` if a column is missing or unknown.
pub(crate) fn entity(
    plan: &ScorePlan,
    key: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>> {
    if let Some(unknown) = key.keys().find(|name| !plan.keys.contains(name)) {
        return Err(Error::invalid(format!("`{unknown}` is no key of `{}`", plan.scoring))
            .with_note(format!("keys: {}", plan.keys.join(", ")))
            .with_candidates(unknown, plan.keys.iter().map(String::as_str)));
    }
    let value = |name: &String| {
        key.get(name).map(|value| (name.clone(), value.clone())).ok_or_else(|| {
            Error::invalid(format!("the key lacks `{name}`"))
                .with_help(format!("write `{name}=VALUE`"))
        })
    };
    plan.keys.iter().map(value).collect()
}
