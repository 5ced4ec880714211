//! Which events differ between two states of a view's sources.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::ident;
use futures::StreamExt;
use icecore_catalog::ChangeOptions;
use icecore_core::{
    BatchStream, Error, ErrorKind, FeatureView, PinnedTable, Result, SnapshotCatalog, TimeRange,
};
use icecore_engine::{Engine, from_datafusion, is_views_table};

use crate::Definitions;
use crate::counted::{Counts, Needed, counted_table};
use crate::document::joined;
use crate::source::Source;

/// Plus one for an event that came, minus one for one that went.
const SIGN: &str = "__sign";
/// The column of the catalog's changes that says what happened to a row.
const CHANGE_TYPE: &str = "_change_type";

/// Reads the keys and times of the events that are in one of two states and not in the other, in
/// as far as the view looks at them: a change of a column that it does not use is none. An event
/// with other values is there twice.
///
/// # Errors
///
/// `InvalidInput` where the states cannot be compared: one of them was expired, or the table is
/// another one by now, or its columns are.
pub(crate) async fn changed_events(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    (old, new): (&[PinnedTable], &[PinnedTable]),
) -> Result<BatchStream> {
    check_same_columns(engine, old, new).await?;
    let signed = match (&view.source, old, new) {
        (Some(_), [old], [new]) => signed_rows(engine, definitions, view, (old, new)).await?,
        _ => {
            let before = Source::open(engine, definitions, view, old).await.map_err(joined)?;
            let after = Source::open(engine, definitions, view, new).await.map_err(joined)?;
            let before = signed_events(&before, lit(-1_i64))?;
            before.union(signed_events(&after, lit(1_i64))?).map_err(from_datafusion)?
        }
    };
    let keys = definitions.join_keys(view)?;
    // What an expression is in a plan and what comes out of it may differ in whether it is ever
    // null, which grouping does not bear.
    let plan = signed.create_physical_plan().await.map_err(from_datafusion)?;
    let needed = Needed { columns: keys.len() + 1, affected: None };
    let table = counted_table(&plan, &needed, &Arc::new(Counts::default()));
    let context = engine.session(new).await?;
    let signed = context.read_table(Arc::new(table.map_err(from_datafusion)?));
    let signed = signed.map_err(from_datafusion)?;
    let fields = signed.schema().fields().iter().map(|field| field.name().clone());
    let groups = fields.filter(|name| name != SIGN).map(ident).collect();
    let net = sum(ident(SIGN)).alias(SIGN);
    let kept = keys.iter().chain([&view.event_timestamp]).map(ident).collect::<Vec<Expr>>();
    let frame = signed
        .aggregate(groups, vec![net])
        .and_then(|frame| frame.filter(ident(SIGN).not_eq(lit(0_i64))))
        .and_then(|frame| frame.select(kept))
        .map_err(from_datafusion)?;
    engine.stream(frame).await
}

/// The rows of one table that changed, as events.
async fn signed_rows(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    (old, new): (&PinnedTable, &PinnedTable),
) -> Result<DataFrame> {
    let changes = engine.catalog().changes(old, new, ChangeOptions::default()).await;
    let changes = changes.map_err(|error| gone(view, error))?;
    tracing::debug!(view = %view.name, read = changes.files_read, skipped = changes.files_skipped, "reading changes");
    let context = engine.session(std::slice::from_ref(new)).await?;
    let table = once(changes.rows).map_err(from_datafusion)?;
    let frame = context.read_table(Arc::new(table)).map_err(from_datafusion)?;
    let source = Source::over(definitions, view, context, frame).map_err(joined)?;
    let deleted = ident(CHANGE_TYPE).eq(lit("delete"));
    let sign = when(deleted, lit(-1_i64)).otherwise(lit(1_i64)).map_err(from_datafusion)?;
    signed_events(&source, sign)
}

/// Everything of an event that the view looks at, in a form in which equal means the same bits.
fn signed_events(source: &Source<'_>, sign: Expr) -> Result<DataFrame> {
    let frame = source.events_with(TimeRange::default(), sign.alias(SIGN))?;
    let columns = frame.schema().fields().iter().map(|field| {
        let name = field.name();
        // Grouping may take the two zeros for one.
        if field.data_type().is_floating() && !source.keys.contains(name) {
            cast(ident(name), DataType::Utf8).alias(name)
        } else {
            ident(name)
        }
    });
    let columns: Vec<Expr> = columns.collect();
    frame.select(columns).map_err(from_datafusion)
}

/// A column that another one took the name of would not be found to have changed.
async fn check_same_columns(
    engine: &Engine,
    old: &[PinnedTable],
    new: &[PinnedTable],
) -> Result<()> {
    for before in old {
        let table = &before.table;
        let Some(after) = new.iter().find(|pin| pin.table == *table) else {
            return Err(Error::invalid(format!(
                "the features were computed from `{table}`, which is not read any more"
            )));
        };
        if before.uuid != after.uuid {
            return Err(Error::invalid(format!("table `{table}` was dropped and created again")));
        }
        if before.snapshot == PinnedTable::EMPTY || before == after {
            continue;
        }
        let then = engine.catalog().schema(before).await;
        let then = then.map_err(|error| unreadable(table.as_str(), error))?;
        if is_views_table(table) {
            // Nothing of it is a column of the source.
            continue;
        }
        let now = engine.catalog().schema(after).await?;
        for field in then.fields() {
            let same = now.field_with_name(field.name()).is_ok_and(|now| {
                now.data_type() == field.data_type() && now.metadata() == field.metadata()
            });
            if !same {
                return Err(Error::invalid(format!(
                    "column `{}` of `{table}` is another one by now",
                    field.name()
                ))
                .with_note("it was renamed, dropped, or got another type"));
            }
        }
    }
    match new.iter().find(|pin| !old.iter().any(|old| old.table == pin.table)) {
        None => Ok(()),
        Some(pin) => Err(Error::invalid(format!(
            "the features were not computed from `{}`, which is read now",
            pin.table
        ))),
    }
}

fn gone(view: &FeatureView, error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        let source = view.source.as_ref().map(ToString::to_string).unwrap_or_default();
        return unreadable(&source, error);
    }
    error
}

fn unreadable(table: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let message = format!("the state of `{table}` that the features were computed from is gone");
    let mut refused = Error::invalid(message).with_note(error.to_string());
    for note in error.notes() {
        refused = refused.with_note(note.clone());
    }
    refused
}

/// A stream as a table that can be read once.
fn once(rows: BatchStream) -> Result<StreamingTable, DataFusionError> {
    let schema = rows.schema().clone();
    let part = Once { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) };
    StreamingTable::try_new(schema, vec![Arc::new(part)])
}

struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<BatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let schema = Arc::clone(&self.schema);
        let rows = match rows {
            Some(rows) => rows.map(|batch| batch.map_err(to_datafusion)).boxed(),
            None => futures::stream::once(futures::future::ready(Err(to_datafusion(
                Error::internal("changes can be read only once"),
            ))))
            .boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
