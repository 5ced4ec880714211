//! The events of a view for whoever computes its windows elsewhere: what each event brings, and which
//! windows there are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::Expr;
use datafusion::prelude::ident;
use icecore_core::{
    BatchStream, Closed, FeatureView, PinnedTable, Result, Span, TimeRange, Window,
};
use icecore_engine::{Engine, from_datafusion};
use icecore_kernel::WindowColumn;

use crate::Definitions;
use crate::document::joined;
use crate::local::window_columns;
use crate::on_demand::{OnDemandFeatures, OnDemandPlan, names};
use crate::order;
use crate::source::{Inputs, Source};

/// What a view's windows look at, and which there are.
///
/// Events are rows of the join keys, the event timestamp, the inputs and the masks, in this order;
/// those without a key or a time, and those that do not pass the view's `where`, are not among them.
#[derive(Debug, Clone)]
pub struct ViewEvents {
    /// The view.
    pub view: FeatureView,
    /// Its join keys.
    pub keys: Vec<FieldRef>,
    /// The source's columns that windows look at, under their own names.
    pub inputs: Vec<FieldRef>,
    /// The conditions that aggregates are restricted by, as SQL.
    pub masks: Vec<String>,
    /// The windows, whose inputs and masks are positions in those lists.
    pub columns: Vec<WindowColumn>,
    /// The window in which an entity without any event has no features.
    pub recent: (Window, Closed),
    /// How long before a moment an event lies at most that has a part in it; absent for ever.
    pub reach: Option<Span>,
}

impl ViewEvents {
    /// Checks a view against a state of its source.
    ///
    /// # Errors
    ///
    /// Every disagreement between the definition and the columns of the source.
    pub async fn open(
        engine: &Engine,
        definitions: &Definitions,
        view: &FeatureView,
        pin: &PinnedTable,
    ) -> Result<Self> {
        let pins = std::slice::from_ref(pin);
        let source = Source::open(engine, definitions, view, pins).await.map_err(joined)?;
        let events = engine.stream(source.events(TimeRange::default())?).await?;
        let Inputs { columns: names, masks } = Inputs::of(view);
        let fields = events.schema().fields();
        let (keys, rest) = fields.split_at(source.keys.len());
        let inputs = rest.iter().skip(1).zip(&names);
        let inputs =
            inputs.map(|(field, name)| Arc::new(Field::new(name, field.data_type().clone(), true)));
        let widest = view.widest_window().filter(|_| !view.has_lifetime());
        let idle = view.ttl.or(widest);
        Ok(Self {
            keys: keys.to_vec(),
            inputs: inputs.collect(),
            columns: window_columns(view, &Inputs::of(view)),
            masks,
            // The bounds of a ttl belong to it, whatever those of windows do.
            recent: (idle.map_or(Window::LIFETIME, Window::last), Closed::Both),
            reach: view.widest_window().max(idle).filter(|_| !view.has_lifetime()),
            view: view.clone(),
        })
    }

    /// The events of a state of the source, those of an entity together.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn by_entity(
        &self,
        engine: &Engine,
        definitions: &Definitions,
        pin: &PinnedTable,
        range: TimeRange,
    ) -> Result<BatchStream> {
        let pins = std::slice::from_ref(pin);
        let source = Source::open(engine, definitions, &self.view, pins).await.map_err(joined)?;
        let events = present(&source, source.events(range)?)?;
        let keys = source.keys.iter().chain([&self.view.event_timestamp]);
        let order = keys.map(|key| ident(key).sort(true, true)).collect();
        engine.stream(events.sort(order).map_err(from_datafusion)?).await
    }

    /// The events among rows of the source.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn of_rows(
        &self,
        engine: &Engine,
        definitions: &Definitions,
        rows: RecordBatch,
    ) -> Result<RecordBatch> {
        let context = engine.session(&[]).await?;
        let frame = context.read_batch(rows).map_err(from_datafusion)?;
        let source = Source::over(definitions, &self.view, context, frame).map_err(joined)?;
        let events = present(&source, source.events(TimeRange::default())?)?;
        engine.stream(events).await?.concat().await
    }

    /// What the view stores and derives from windows, as it is computed from columns of these types.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for expressions that do not fit the types.
    pub async fn derived(&self, engine: &Engine, windows: &[FieldRef]) -> Result<OnDemandPlan> {
        let on_demand = names(&self.view);
        let order = order::derived(&self.view).map_err(|(_, error)| error)?;
        let steps = order.into_iter().filter_map(|at| self.view.derived.get(at));
        let steps = steps.filter(|derived| !on_demand.contains(&derived.name)).cloned().collect();
        let features = OnDemandFeatures { requests: Vec::new(), steps };
        OnDemandPlan::new(engine, &features, &Schema::new(windows.to_vec())).await
    }
}

/// Without events that belong to nobody, or to no time.
fn present(source: &Source<'_>, events: DataFrame) -> Result<DataFrame> {
    let given = source.keys.iter().chain([&source.view.event_timestamp]);
    let given = given.map(|name| ident(name).is_not_null()).reduce(Expr::and);
    match given {
        Some(given) => events.filter(given).map_err(from_datafusion),
        None => Ok(events),
    }
}
