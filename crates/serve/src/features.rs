//! Features by key: of any views in one round trip, with those that are computed from the request.

mod ask;
mod bring;
mod join_key;
mod json;
mod lookup;
mod online;
mod plan;
mod row_status;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema};
use icecore_core::{Clock, Error, Result, Timestamp};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_online::{FeatureStatus, FeatureStore, RowStatus, ViewRead, ViewRows};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, info_span, warn};

pub use ask::FeatureQuery;
pub(crate) use ask::entity_column;
pub(crate) use json::{JsonValues, write_values};
use plan::Plan;

use crate::breaker::{Breaker, BreakerOptions};

/// For how long the types of a view's columns are taken to be what they were.
const PLAN_TTL: Duration = Duration::from_secs(30);
/// Plans that are kept at most.
const PLANS_MAX: usize = 1_000;

/// How [`OnlineFeatures`] looks features up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FeatureOptions {
    /// How long the online store may take before the lakehouse is asked.
    pub store_deadline: Duration,
    /// How long the lakehouse may take.
    pub lake_deadline: Duration,
    /// For how long an online store that was seen to be filled with a view is taken to be so. One
    /// that is emptied may say for so long that a row that was pushed is the newest.
    pub filled_for: Duration,
    /// Entities of one request.
    pub rows_max: usize,
    /// When the online store is left alone that keeps failing.
    pub breaker: BreakerOptions,
}

impl Default for FeatureOptions {
    fn default() -> Self {
        Self {
            store_deadline: Duration::from_millis(100),
            lake_deadline: Duration::from_secs(2),
            filled_for: Duration::from_secs(1),
            rows_max: 10_000,
            breaker: BreakerOptions::default(),
        }
    }
}

/// Where the values of an answer are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSource {
    /// The online store.
    Online,
    /// The tables, for this reason.
    Lakehouse(&'static str),
}

impl FeatureSource {
    /// The word for it in answers: `online` or `lakehouse`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Lakehouse(_) => "lakehouse",
        }
    }

    /// Why the online store did not answer.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Online => None,
            Self::Lakehouse(reason) => Some(reason),
        }
    }
}

/// One column of an answer.
#[derive(Debug, Clone)]
pub struct FeatureColumn {
    /// Its name.
    pub name: String,
    /// A value for each entity.
    pub values: ArrayRef,
    /// What each value is.
    pub statuses: Vec<FeatureStatus>,
    /// When each value's row happened; absent for join keys and what is computed from requests.
    pub events: Arc<[Option<Timestamp>]>,
}

impl FeatureColumn {
    /// The values in JSON. NaN and infinity, which JSON does not have, are null; moments, dates and
    /// decimals are text.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for values that have no text.
    pub fn json_values(&self) -> Result<Vec<serde_json::Value>> {
        write_values(&self.values)
    }
}

/// Features of entities.
#[derive(Debug, Clone)]
pub struct FeatureAnswer {
    /// The join keys, then the features in the order in which they were asked for.
    pub columns: Vec<FeatureColumn>,
    /// How many of them are join keys.
    pub join_keys: usize,
    /// The views that were read.
    pub views: Vec<String>,
    /// What each of these views has of each entity.
    pub rows: Vec<Vec<RowStatus>>,
    /// Where the values are from.
    pub source: FeatureSource,
}

/// Features of a project's views, read while a request waits.
pub struct OnlineFeatures {
    engine: Engine,
    definitions: Arc<Definitions>,
    store: Option<FeatureStore>,
    clock: Arc<dyn Clock>,
    options: FeatureOptions,
    breaker: Breaker,
    seen: online::Seen,
    plans: Mutex<HashMap<FeatureQueryKey, (Instant, Arc<Plan>)>>,
}

type FeatureQueryKey = (Vec<String>, bool);

impl std::fmt::Debug for OnlineFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnlineFeatures").field("store", &self.store).finish_non_exhaustive()
    }
}

impl OnlineFeatures {
    /// Reads from a store, if there is one, and from tables where it does not answer.
    #[must_use]
    pub fn new(
        engine: Engine,
        definitions: Arc<Definitions>,
        store: Option<FeatureStore>,
        clock: Arc<dyn Clock>,
        options: FeatureOptions,
    ) -> Self {
        Self {
            engine,
            definitions,
            store,
            clock,
            seen: online::Seen::new(options.filled_for),
            breaker: Breaker::new(options.breaker),
            options,
            plans: Mutex::default(),
        }
    }

    /// The views and services.
    #[must_use]
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Looks features up. What the store cannot say in time is read from the tables, and the answer
    /// says so.
    ///
    /// # Errors
    ///
    /// `NotFound` for a feature, service or view that there is not, `InvalidInput` for entities
    /// that are not what the views describe, `Unavailable` if neither the store nor the tables
    /// answer in time.
    pub async fn get(&self, query: &FeatureQuery) -> Result<FeatureAnswer> {
        let plan = self.plan(query).await?;
        let rows = query.rows(self.options.rows_max)?;
        let now = self.clock.now();
        let reads = plan.reads(&query.entities)?;
        let (answers, source) = self.read(&plan, &reads, now).await?;
        let no_events: Arc<[Option<Timestamp>]> = vec![None; rows].into();
        let mut columns = Vec::new();
        for (name, values) in plan.join_keys(&query.entities)? {
            let statuses = vec![FeatureStatus::Present; rows];
            columns.push(FeatureColumn { name, values, statuses, events: Arc::clone(&no_events) });
        }
        let join_keys = columns.len();
        let mut found: HashMap<(usize, &str), FeatureColumn> = HashMap::new();
        for (at, (view, answer)) in plan.views.iter().zip(&answers).enumerate() {
            for (name, column) in view_columns(view, answer, &query.entities, rows)? {
                found.insert((at, name), column);
            }
        }
        for output in &plan.outputs {
            let column = found.get(&(output.view, output.feature.as_str())).cloned();
            let column = column.ok_or_else(|| {
                Error::internal(format!("feature `{}` was not read", output.feature))
            })?;
            columns.push(FeatureColumn { name: output.name.clone(), ..column });
        }
        let views = plan.views.iter().map(|view| view.shape.view.clone()).collect();
        let rows = answers.into_iter().map(|answer| answer.rows).collect();
        Ok(FeatureAnswer { columns, join_keys, views, rows, source })
    }

    async fn read(
        &self,
        plan: &Plan,
        reads: &[ViewRead],
        now: Timestamp,
    ) -> Result<(Vec<ViewRows>, FeatureSource)> {
        let reason = match &self.store {
            None => "no_online_store",
            // A store that keeps failing costs no request its deadline.
            Some(_) if !self.breaker.may_ask() => "online_store_circuit_open",
            Some(store) => {
                let read = online::read_whole((store, &self.seen), plan, reads, now);
                let span = info_span!("read features online", views = reads.len());
                match timeout(self.options.store_deadline, read).instrument(span).await {
                    Ok(Ok(found)) => {
                        self.breaker.succeeded();
                        match found {
                            Some(rows) => return Ok((rows, FeatureSource::Online)),
                            None => "online_store_not_filled",
                        }
                    }
                    Ok(Err(error)) => {
                        self.breaker.failed();
                        warn!(%error, "the online store is unavailable");
                        "online_store_unavailable"
                    }
                    Err(_) => {
                        self.breaker.failed();
                        "online_store_timeout"
                    }
                }
            }
        };
        let of = (&self.engine, &*self.definitions);
        let lake = lookup::read(of, plan, reads, now);
        let span = info_span!("read features from the tables", views = reads.len(), reason);
        match timeout(self.options.lake_deadline, lake).instrument(span).await {
            Ok(rows) => Ok((rows?, FeatureSource::Lakehouse(reason))),
            Err(_) => {
                Err(Error::unavailable("neither the online store nor the tables answer in time")
                    .with_note(format!("the online store: {reason}")))
            }
        }
    }

    async fn plan(&self, query: &FeatureQuery) -> Result<Arc<Plan>> {
        let key = (query.features.clone(), query.full_feature_names);
        let known = self.lock().get(&key).cloned();
        if let Some((made_at, plan)) = &known
            && made_at.elapsed() < PLAN_TTL
        {
            return Ok(Arc::clone(plan));
        }
        let made = Plan::new(&self.engine, &self.definitions, query).await;
        match (made, known) {
            (Ok(plan), _) => {
                let plan = Arc::new(plan);
                let mut plans = self.lock();
                if plans.len() >= PLANS_MAX {
                    plans.clear();
                }
                plans.insert(key, (Instant::now(), Arc::clone(&plan)));
                Ok(plan)
            }
            // Without the tables, what was known of them until now still holds.
            (Err(error), Some((_, plan))) => {
                warn!(%error, "serving by what was known of the tables before");
                Ok(plan)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<FeatureQueryKey, (Instant, Arc<Plan>)>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The columns that a view gives: those that are stored, and those that are computed now.
fn view_columns<'p>(
    view: &'p plan::PlannedView,
    answer: &ViewRows,
    entities: &BTreeMap<String, ArrayRef>,
    rows: usize,
) -> Result<Vec<(&'p str, FeatureColumn)>> {
    let event = |row: usize| match answer.rows.get(row) {
        Some(RowStatus::Found | RowStatus::OutsideMaxAge) => {
            answer.versions.get(row).copied().flatten().map(|version| version.event)
        }
        _ => None,
    };
    let events: Arc<[Option<Timestamp>]> = (0..rows).map(event).collect();
    let mut columns = Vec::new();
    for (at, (field, values)) in view.stored.iter().zip(&answer.columns).enumerate() {
        let column = FeatureColumn {
            name: field.name().clone(),
            values: Arc::clone(values),
            statuses: (0..rows).map(|row| answer.status(row, at)).collect(),
            events: Arc::clone(&events),
        };
        columns.push((field.name().as_str(), column));
    }
    let Some(on_demand) = &view.on_demand else { return Ok(columns) };
    let no_events: Arc<[Option<Timestamp>]> = vec![None; rows].into();
    // An entity without a row has nulls, also in a column that is never null in a row.
    let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
    let mut fields: Vec<FieldRef> = view.stored.iter().map(nullable).collect();
    let mut arrays = answer.columns.clone();
    for input in &view.requests {
        let values = entities.get(&input.name).ok_or_else(|| {
            Error::invalid(format!("the request does not bring `{}`", input.name))
                .with_note(format!("features of `{}` are computed from it", view.shape.view))
        })?;
        let field = arrow::datatypes::Field::new(&input.name, values.data_type().clone(), true);
        fields.push(Arc::new(field));
        arrays.push(Arc::clone(values));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    for (field, values) in on_demand.fields().iter().zip(on_demand.compute(&batch)?) {
        let status = |row: usize| match values.is_valid(row) {
            true => FeatureStatus::Present,
            false => FeatureStatus::Null,
        };
        let statuses = (0..rows).map(status).collect();
        let (name, events) = (field.name().clone(), Arc::clone(&no_events));
        let column = FeatureColumn { name, values, statuses, events };
        columns.push((field.name().as_str(), column));
    }
    Ok(columns)
}
