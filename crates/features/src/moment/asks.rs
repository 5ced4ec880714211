//! Which moments are asked about, of which entities.

use std::collections::HashSet;
use std::fmt;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::ident;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use icecore_core::{Error, Result, TimeRange, Timestamp};
use icecore_engine::{Engine, from_datafusion, moment_of};

/// So many questions are kept in memory; more are read again when they are answered.
const KEPT_MAX: usize = 1 << 16;
/// Events of so many values of a key are asked for by them.
const FEW: usize = 1000;

/// Moments that are asked about, each with the join keys of an entity, once.
#[derive(Clone)]
pub struct AskedMoments {
    /// The join keys under their own names, then the moment.
    pub(super) frame: DataFrame,
    /// From the first moment to the last.
    pub(super) range: TimeRange,
    /// The values of keys that have few.
    few: Vec<(String, Vec<ScalarValue>)>,
}

impl fmt::Debug for AskedMoments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedMoments").field("range", &self.range).finish_non_exhaustive()
    }
}

impl AskedMoments {
    pub(super) const MOMENT: &'static str = "__moment";

    /// Reads the moments of rows. `keys` are join keys, each with the rows' column. Rows without a
    /// key or a moment ask for nothing.
    ///
    /// The frame may be read again, so it has to give the same rows each time.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a column that the rows do not have, or that is no time.
    pub async fn of(
        engine: &Engine,
        rows: DataFrame,
        keys: &[(String, String)],
        event_timestamp: &str,
    ) -> Result<Self> {
        let moment = column(&rows, event_timestamp)?;
        if !matches!(moment, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
            return Err(Error::invalid(format!(
                "the spine's column `{event_timestamp}` is {moment}, which is neither a time nor a date"
            ))
            .with_help(format!(
                "cast it in the spine: `CAST({event_timestamp} AS TIMESTAMP) AS {event_timestamp}`"
            )));
        }
        let mut columns = Vec::with_capacity(keys.len() + 1);
        for (key, named) in keys {
            column(&rows, named)?;
            columns.push(ident(named).alias(key));
        }
        columns.push(moment_of(ident(event_timestamp), &moment).alias(Self::MOMENT));
        let given = keys.iter().map(|(_, named)| named.as_str()).chain([event_timestamp]);
        let given = given.map(|name| ident(name).is_not_null()).reduce(Expr::and);
        let frame = rows.filter(given.unwrap_or_else(|| lit(true)));
        let frame = frame.and_then(|rows| rows.select(columns)).and_then(DataFrame::distinct);
        let frame = frame.map_err(from_datafusion)?;
        match kept(engine, &frame).await? {
            Some(batch) => Self::of_batch(&frame, batch),
            None => Self::of_many(engine, frame).await,
        }
    }

    fn of_batch(frame: &DataFrame, batch: RecordBatch) -> Result<Self> {
        let moments = batch.column_by_name(Self::MOMENT);
        let moments = moments.and_then(|m| m.as_primitive_opt::<TimestampMicrosecondType>());
        let moments = moments.ok_or_else(|| Error::internal("questions have no moment"))?;
        let range = range(min(moments), max(moments));
        let mut few = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name() == Self::MOMENT {
                continue;
            }
            let mut values = HashSet::new();
            for row in 0..column.len() {
                values.insert(ScalarValue::try_from_array(column, row).map_err(from_datafusion)?);
                if values.len() > FEW {
                    break;
                }
            }
            if values.len() <= FEW {
                few.push((field.name().clone(), values.into_iter().collect()));
            }
        }
        let (state, _) = frame.clone().into_parts();
        let frame = datafusion::prelude::SessionContext::new_with_state(state).read_batch(batch);
        Ok(Self { frame: frame.map_err(from_datafusion)?, range, few })
    }

    async fn of_many(engine: &Engine, frame: DataFrame) -> Result<Self> {
        let moment = || ident(Self::MOMENT);
        let ends =
            vec![expr_fn::min(moment()).alias("first"), expr_fn::max(moment()).alias("last")];
        let ends = frame.clone().aggregate(Vec::new(), ends).map_err(from_datafusion)?;
        let ends = engine.stream(ends).await?.concat().await?;
        let ends = ends.columns().iter().map(|column| {
            let column = column.as_primitive_opt::<TimestampMicrosecondType>();
            column.and_then(|column| column.iter().next().flatten())
        });
        let range = match ends.collect::<Vec<_>>().as_slice() {
            [first, last] => range(*first, *last),
            _ => return Err(Error::internal("questions have no ends")),
        };
        Ok(Self { frame, range, few: Vec::new() })
    }

    /// Of the events, those that have one of the few values of a key.
    pub(super) fn only_few(&self, mut events: DataFrame) -> Result<DataFrame> {
        for (key, values) in &self.few {
            let values = values.iter().cloned().map(lit).collect();
            events = events.filter(ident(key).in_list(values, false)).map_err(from_datafusion)?;
        }
        Ok(events)
    }
}

/// The rows of a frame, unless they are many.
async fn kept(engine: &Engine, frame: &DataFrame) -> Result<Option<RecordBatch>> {
    let mut rows = engine.stream(frame.clone()).await?;
    let (mut batches, mut count) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows();
        if count > KEPT_MAX {
            return Ok(None);
        }
        batches.push(batch);
    }
    Ok(Some(concat_batches(rows.schema(), &batches)?))
}

/// From the first moment to the last; where there is none, a time without any.
fn range(first: Option<i64>, last: Option<i64>) -> TimeRange {
    let (from, to) = match (first, last) {
        (Some(first), Some(last)) => (first, last.checked_add(1)),
        _ => (0, Some(0)),
    };
    TimeRange { from: Some(Timestamp::from_micros(from)), to: to.map(Timestamp::from_micros) }
}

fn column(rows: &DataFrame, name: &str) -> Result<DataType> {
    let fields = rows.schema().fields();
    match fields.iter().find(|field| field.name() == name) {
        Some(field) => Ok(field.data_type().clone()),
        None => {
            let names = || fields.iter().map(|field| field.name().as_str());
            Err(Error::invalid(format!("the spine has no column `{name}`"))
                .with_note(format!(
                    "columns of the spine: {}",
                    names().collect::<Vec<_>>().join(", ")
                ))
                .with_candidates(name, names()))
        }
    }
}
