//! The events of a view: the columns that its features need, checked, under names of their own.

mod fit;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::{SessionContext, ident};
use datafusion::scalar::ScalarValue;
use icecore_core::{
    Emit, Error, FeatureView, JoinKey, PinnedTable, Result, Span, TimeRange, Timestamp, ValueType,
};
use icecore_engine::{Engine, from_datafusion, moment_of, moment_within};

use crate::Definitions;
use crate::affected::Affected;
use crate::counted::{Counts, Needed, counted_table};
use crate::volatility;

use fit::Fit;

/// Up to so many entities, their events are asked for by key.
const FEW_ENTITIES: usize = 1000;

/// The type of every moment.
pub(crate) fn moment_type() -> DataType {
    ValueType::Timestamp.arrow()
}

/// What windows look at, in the order of first use.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Columns of the source.
    pub(crate) columns: Vec<String>,
    /// Conditions that aggregates are restricted by.
    pub(crate) masks: Vec<String>,
}

impl Inputs {
    /// The distinct columns and conditions of a view's aggregates.
    pub(crate) fn of(view: &FeatureView) -> Self {
        let mut inputs = Self::default();
        for aggregate in &view.aggregates {
            inputs.columns.extend(aggregate.column.clone());
            inputs.masks.extend(aggregate.filter.clone());
        }
        inputs.columns.extend(view.created_timestamp.clone().filter(|_| !view.is_stored()));
        for list in [&mut inputs.columns, &mut inputs.masks] {
            let mut seen = std::collections::BTreeSet::new();
            list.retain(|item| seen.insert(item.clone()));
        }
        inputs
    }

    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    pub(crate) fn mask(&self, filter: &str) -> Option<usize> {
        self.masks.iter().position(|mask| mask == filter)
    }

    pub(crate) fn column_names(&self) -> Vec<String> {
        (0..self.columns.len()).map(|index| format!("__input_{index}")).collect()
    }

    pub(crate) fn mask_names(&self) -> Vec<String> {
        (0..self.masks.len()).map(|index| format!("__mask_{index}")).collect()
    }
}

/// The source of a view, opened at pins, with everything that its definition says about it
/// checked.
pub(crate) struct Source<'a> {
    pub(crate) view: &'a FeatureView,
    pub(crate) definitions: &'a Definitions,
    pub(crate) context: SessionContext,
    pub(crate) keys: Vec<String>,
    /// The rows of the source.
    unfiltered: DataFrame,
    /// Those that pass the view's `where`.
    frame: DataFrame,
    filter: Option<Expr>,
    /// The type of the event timestamp.
    time: DataType,
    masks: Vec<Expr>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("view", &self.view.name).finish_non_exhaustive()
    }
}

impl<'a> Source<'a> {
    /// Opens the source.
    ///
    /// # Errors
    ///
    /// Every disagreement between the definition and the columns of the source.
    pub(crate) async fn open(
        engine: &Engine,
        definitions: &'a Definitions,
        view: &'a FeatureView,
        pins: &[PinnedTable],
    ) -> Result<Self, Vec<Error>> {
        let one = |error: Error| vec![error];
        let context = engine.session(pins).await.map_err(one)?;
        let frame = rows(engine, view, pins).await;
        let frame = frame.map_err(|error| one(locate_source(definitions, view, error)))?;
        Self::over(definitions, view, context, frame)
    }

    /// Takes these rows for those of the source.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn over(
        definitions: &'a Definitions,
        view: &'a FeatureView,
        context: SessionContext,
        frame: DataFrame,
    ) -> Result<Self, Vec<Error>> {
        let one = |error: Error| vec![error];
        let keys = definitions.typed_join_keys(view).map_err(one)?;
        let mut check =
            Fit { definitions, view, context: &context, frame: &frame, errors: Vec::new() };
        let time = check.time(&view.event_timestamp, "event_timestamp");
        check.columns(&keys);
        let whose = format!("`{}`", view.name);
        let filter = view.filter.as_ref();
        let filter = filter.and_then(|filter| check.condition(filter, ("where", &whose)));
        let masks = check.masks(&Inputs::of(view));
        let (Some(time), true) = (time, check.errors.is_empty()) else {
            return Err(check.errors);
        };
        let unfiltered = typed(frame, &keys).map_err(from_datafusion).map_err(one)?;
        let frame = match &filter {
            Some(filter) => unfiltered.clone().filter(filter.clone()),
            None => Ok(unfiltered.clone()),
        };
        let frame = frame.map_err(from_datafusion).map_err(one)?;
        let keys = keys.into_iter().map(|key| key.name).collect();
        Ok(Self { view, definitions, context, keys, unfiltered, frame, filter, time, masks })
    }

    /// Keys and time, then the inputs and masks of windows.
    pub(crate) fn events(&self, range: TimeRange) -> Result<DataFrame> {
        self.within(range)?.select(self.event_columns()).map_err(from_datafusion)
    }

    /// The same with one more column, of which the expression looks at the source's.
    pub(crate) fn events_with(&self, range: TimeRange, more: Expr) -> Result<DataFrame> {
        let columns: Vec<Expr> = self.event_columns().into_iter().chain([more]).collect();
        self.within(range)?.select(columns).map_err(from_datafusion)
    }

    fn event_columns(&self) -> Vec<Expr> {
        let inputs = Inputs::of(self.view);
        let mut columns = self.keys_and_time();
        for (column, name) in inputs.columns.iter().zip(inputs.column_names()) {
            columns.push(self.value(column).alias(name));
        }
        for (mask, name) in self.masks.iter().zip(inputs.mask_names()) {
            columns.push(mask.clone().is_true().alias(name));
        }
        columns
    }

    /// The events of a few entities alone, so that pages with none of theirs are not decoded; all
    /// of them where there are more than a few.
    pub(crate) fn of_few(&self, events: DataFrame, affected: &Affected) -> Result<DataFrame> {
        let Some(keys) = affected.few(FEW_ENTITIES)? else { return Ok(events) };
        let mut events = events;
        for (name, values) in self.keys.iter().zip(&keys) {
            let values = (0..values.len()).map(|row| ScalarValue::try_from_array(values, row));
            let values = values.collect::<Result<HashSet<_>, _>>().map_err(from_datafusion)?;
            let values = values.into_iter().map(lit).collect();
            events = events.filter(ident(name).in_list(values, false)).map_err(from_datafusion)?;
        }
        Ok(events)
    }

    /// Keys, time and stored features, as they are.
    pub(crate) fn stored(&self, range: TimeRange) -> Result<DataFrame> {
        let mut columns = self.keys_and_time();
        let values = self.view.created_timestamp.iter().chain(&self.view.columns);
        columns.extend(values.map(|column| self.value(column).alias(column)));
        self.within(range)?.select(columns).map_err(from_datafusion)
    }

    /// The rows of the source, whether they pass the view's `where` or not.
    pub(crate) fn unfiltered(&self) -> DataFrame {
        self.unfiltered.clone()
    }

    /// The source's columns that a person needs to see why an event counts, and its keys and time;
    /// then whether it passes the view's `where`, and those of aggregates.
    pub(crate) fn explained(&self, condition: Expr) -> Result<DataFrame> {
        let inputs = Inputs::of(self.view);
        let mut columns = self.keys_and_time();
        let taken = |name: &String| self.keys.contains(name) || *name == self.view.event_timestamp;
        let shown = inputs.columns.iter().filter(|name| !taken(name));
        columns.extend(shown.map(|column| ident(column).alias(column)));
        let passes = self.filter.clone().map_or(lit(true), Expr::is_true);
        columns.push(passes.alias("__in_view"));
        for (mask, name) in self.masks.iter().zip(inputs.mask_names()) {
            columns.push(mask.clone().is_true().alias(name));
        }
        self.unfiltered()
            .filter(condition)
            .map_err(from_datafusion)?
            .select(columns)
            .map_err(from_datafusion)
    }

    /// The least and the greatest event timestamp, if there is any.
    pub(crate) async fn extent(&self, engine: &Engine) -> Result<Option<(Timestamp, Timestamp)>> {
        use arrow::array::AsArray;
        use arrow::datatypes::TimestampMicrosecondType;
        use datafusion::functions_aggregate::expr_fn::{max, min};
        let mut frame = self.frame.clone();
        for key in &self.keys {
            frame = frame.filter(ident(key).is_not_null()).map_err(from_datafusion)?;
        }
        let time = || ident(&self.view.event_timestamp);
        let ends = vec![min(time()).alias("first"), max(time()).alias("last")];
        let frame = frame.aggregate(Vec::new(), ends).map_err(from_datafusion)?;
        let moments = ["first", "last"].map(|end| moment_of(ident(end), &self.time));
        let frame = frame.select(moments).map_err(from_datafusion)?;
        let batch = engine.stream(frame).await?.concat().await?;
        let moments = batch.columns().iter().map(|column| {
            let column = column.as_primitive_opt::<TimestampMicrosecondType>();
            column.and_then(|column| column.iter().next().flatten()).map(Timestamp::from_micros)
        });
        Ok(match moments.collect::<Vec<_>>().as_slice() {
            [Some(first), Some(last)] => Some((*first, *last)),
            _ => None,
        })
    }

    /// The greatest event timestamp, if there is any.
    pub(crate) async fn last_event(&self, engine: &Engine) -> Result<Option<Timestamp>> {
        Ok(self.extent(engine).await?.map(|(_, last)| last))
    }

    /// Runs a frame through counting: rows without a key or a time stay out, and so do those that
    /// decide no row that has to be computed.
    pub(crate) async fn counted(
        &self,
        frame: DataFrame,
        counts: &Arc<Counts>,
        affected: Option<&Arc<Affected>>,
    ) -> Result<DataFrame> {
        let plan = frame.create_physical_plan().await.map_err(from_datafusion)?;
        let needed = Needed { columns: self.keys.len() + 1, affected: affected.cloned() };
        let table = counted_table(&plan, &needed, counts).map_err(from_datafusion)?;
        self.context.read_table(Arc::new(table)).map_err(from_datafusion)
    }

    /// The types of the join keys, as they come out of queries.
    pub(crate) fn key_types(&self) -> Result<Vec<DataType>> {
        let types = self.keys.iter().map(|key| self.key_type(key));
        let plain = types.map(|data_type| {
            Ok(match data_type? {
                DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                DataType::Dictionary(_, value) => *value,
                other => other,
            })
        });
        plain.collect()
    }

    /// The type of a join key.
    pub(crate) fn key_type(&self, key: &str) -> Result<DataType> {
        let field =
            self.frame.schema().field_with_unqualified_name(key).map_err(from_datafusion)?;
        Ok(field.data_type().clone())
    }

    fn keys_and_time(&self) -> Vec<Expr> {
        let keys = self.keys.iter().map(|key| ident(key).alias(key));
        let name = &self.view.event_timestamp;
        keys.chain([self.shown(name).alias(name)]).collect()
    }

    fn value(&self, column: &str) -> Expr {
        if self.view.created_timestamp.as_deref() == Some(column) {
            return self.shown(column);
        }
        ident(column)
    }

    /// A column of times as moments.
    fn shown(&self, column: &str) -> Expr {
        match self.frame.schema().field_with_unqualified_name(column) {
            Ok(field) if *field.data_type() != moment_type() => {
                moment_of(ident(column), field.data_type())
            }
            _ => ident(column),
        }
    }

    /// That an event is of this range; nothing for all of time.
    pub(crate) fn is_within(&self, range: TimeRange) -> Option<Expr> {
        moment_within(&ident(&self.view.event_timestamp), &self.time, range)
    }

    fn within(&self, range: TimeRange) -> Result<DataFrame> {
        let frame = self.frame.clone();
        match self.is_within(range) {
            Some(within) => frame.filter(within).map_err(from_datafusion),
            None => Ok(frame),
        }
    }
}

/// The same rows with keys of their declared types.
fn typed(mut frame: DataFrame, keys: &[JoinKey]) -> Result<DataFrame, DataFusionError> {
    for key in keys {
        let Some(value_type) = key.value_type else { continue };
        let found = frame.schema().field_with_unqualified_name(&key.name)?.data_type();
        // Text is the same in all its layouts.
        if value_type != ValueType::String && *found != value_type.arrow() {
            frame = frame.with_column(&key.name, cast(ident(&key.name), value_type.arrow()))?;
        }
    }
    Ok(frame)
}

/// How long before a row an event can lie that has a part in it; absent for a lifetime.
pub(crate) fn reach(view: &FeatureView) -> Option<Span> {
    let reach = match view.emit.is_scheduled() {
        true => view.widest_window().max(idle(view)),
        false => view.widest_window(),
    };
    reach.filter(|_| !view.has_lifetime())
}

/// The events that the rows of a range are computed from.
pub(crate) fn events_range(view: &FeatureView, range: TimeRange) -> TimeRange {
    if view.is_stored() {
        return range;
    }
    let from = match (range.from, reach(view)) {
        (Some(from), Some(reach)) => {
            Some(Timestamp::from_micros(from.micros().saturating_sub(reach.micros())))
        }
        _ => None,
    };
    let to = match view.emit {
        // Which event is the last of its day is decided by the whole day.
        Emit::LastPerDay => range.to.map(|to| {
            let midnight = to.date().midnight();
            if midnight == to { to } else { to.date().plus_days(1).midnight() }
        }),
        _ => range.to,
    };
    TimeRange { from, to }
}

/// For scheduled rows: how old an entity's latest event may be when a row comes out.
pub(crate) fn idle(view: &FeatureView) -> Option<Span> {
    view.ttl.or_else(|| view.widest_window())
}

/// An error of a view's source, at its place in the user's file.
pub(crate) fn locate_source(definitions: &Definitions, view: &FeatureView, error: Error) -> Error {
    if view.source.is_some() {
        return definitions.locate(view, "source", error);
    }
    let place =
        error.location().map(|at| format!("in the query, line {} column {}", at.line, at.column));
    let error = match place {
        Some(place) => error.with_note(place),
        None => error,
    };
    match definitions.location(view, "source_sql") {
        Some(location) => error.at(location.clone()),
        None => error,
    }
}

async fn rows(engine: &Engine, view: &FeatureView, pins: &[PinnedTable]) -> Result<DataFrame> {
    if let Some(query) = &view.source_sql {
        let frame = engine.query(query, pins).await?;
        let what = format!("the source of `{}`", view.name);
        volatility::check_plan(frame.logical_plan(), &what)?;
        return Ok(frame);
    }
    let Some(source) = &view.source else {
        return Err(Error::invalid(format!("`{}` has no source", view.name)));
    };
    let Some(pin) = pins.iter().find(|pin| pin.table == *source) else {
        return Err(Error::invalid(format!(
            "`{}` reads `{source}`, which is not pinned",
            view.name
        )));
    };
    engine.table(pin).await
}
