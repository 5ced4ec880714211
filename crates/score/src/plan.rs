//! What a scoring job reads: pinned, and written down so that it can be read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, SchemaRef};
use icecore_core::{
    Date, Emit, Error, FeatureView, Model, ModelVersion, PinnedTable, Result, SnapshotCatalog,
    SnapshotSelector, Span, TableName, Timestamp,
};
use icecore_engine::Engine;
use icecore_features::{Definitions, feature_source, is_on_demand, resolve_features};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sql::{ident, table_sql};
use crate::{Missing, ModelUri, ScoringSpec};

/// The role of the model whose predictions are served.
pub(crate) const CHAMPION: &str = "champion";
/// The column that stored feature rows bring their moment in.
pub(crate) const FEATURE_TIMESTAMP: &str = "feature_timestamp";

/// A model that scores.
#[derive(Debug, Clone)]
pub struct ScoringModel {
    /// `champion`, or the challenger's name.
    pub role: String,
    /// How the definition names it.
    pub uri: ModelUri,
    /// Which version it is.
    pub version: ModelVersion,
    /// The model itself.
    pub model: Arc<dyn Model>,
}

/// Which rows a scoring job reads, and which models see them. It is kept with the run, so that a
/// prediction can be explained years later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScorePlan {
    /// The scoring job's name.
    pub scoring: String,
    /// The date to score.
    pub date: Date,
    /// The columns that identify an entity.
    pub keys: Vec<String>,
    /// The views that features come from, the first one first.
    pub views: Vec<PlannedView>,
    /// Every table that is read.
    pub pins: Vec<PinnedTable>,
    /// The models, the champion first.
    pub models: Vec<PlannedModel>,
    /// Where rows come from.
    pub rows: PlannedRows,
    /// What becomes of entities without features.
    pub missing: Missing,
}

/// A feature view as a scoring job reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedView {
    /// Its name.
    pub name: String,
    /// The hash of its definition.
    pub definition_hash: String,
    /// The state of its table.
    pub pin: PinnedTable,
    /// The features that are taken.
    pub features: Vec<String>,
    /// How old a row may be where the job does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// A model as a scoring job uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// `champion`, or the challenger's name.
    pub role: String,
    /// How the definition names it.
    pub uri: ModelUri,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file.
    pub hash: String,
}

/// Where the rows of a scoring job come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlannedRows {
    /// The rows that a view has stored for the date.
    Stored {
        /// The query over the view's table.
        sql: String,
        /// Where an entity may have several rows: all of them, those of an entity beside each
        /// other and the newest last.
        ordered: Option<String>,
    },
    /// Features joined to entities, point in time.
    Joined {
        /// The query that says who is scored; absent means everybody whom the views know.
        entities: Option<String>,
        /// The column with each row's moment.
        event_timestamp: String,
        /// The query's columns for join keys, where they have other names.
        keys: BTreeMap<String, String>,
        /// How far before the scoring date a feature row may lie.
        max_age: Option<Span>,
    },
}

impl ScorePlan {
    /// The features of the first view, pinned.
    #[must_use]
    pub fn features(&self) -> Option<&PinnedTable> {
        self.views.first().map(|view| &view.pin)
    }

    /// The last moment of the scoring date: what was known by then is scored.
    #[must_use]
    pub const fn moment(&self) -> Timestamp {
        Timestamp::from_micros(self.date.plus_days(1).midnight().micros() - 1)
    }

    /// Names what this plan makes of the definition: two jobs with equal names write equal rows,
    /// but for the run's id.
    #[must_use]
    pub fn job(&self, spec: &ScoringSpec) -> String {
        let text = serde_json::to_string(&(self, spec.of_rows())).unwrap_or_default();
        let digest = Sha256::digest(format!("icecore scoring 1\n{text}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Pins everything that a scoring job reads and finds the date to score: the wanted one, or the
/// newest that the first view has. With a maximum age, an older row may stand in for a missing one
/// (D13).
///
/// # Errors
///
/// `NotFound` if the view has no row of the date; `InvalidInput` if a model reads a column that
/// nothing gives.
pub async fn plan(
    engine: &Engine,
    definitions: &Definitions,
    spec: &ScoringSpec,
    models: &[ScoringModel],
    date: Option<Date>,
) -> Result<ScorePlan> {
    let planning = Planning { engine, definitions, spec, models };
    let features = planning.features()?;
    let stored = spec.view.as_ref().filter(|_| spec.entities.is_none());
    let stored = match stored {
        Some(view) => {
            let view = definitions.view(view)?;
            let taken = features.iter().flat_map(|(_, taken)| taken);
            (!taken.clone().any(|feature| is_on_demand(view, feature))).then_some(view)
        }
        None => None,
    };
    let views = planning.views(&features).await?;
    let Some(first) = views.first() else {
        return Err(Error::invalid("no feature view is scored"));
    };
    let first_view = definitions.view(&first.name)?;
    let schema = engine.catalog().schema(&first.pin).await?;
    let date = planning.date((first_view, &first.pin), &schema, date).await?;
    let (rows, keys) = match stored {
        Some(view) => planning.stored((view, &first.pin), &schema, date)?,
        None => planning.joined(&views)?,
    };
    let mut pins: Vec<PinnedTable> = views.iter().map(|view| view.pin.clone()).collect();
    if let Some(query) = &spec.entities {
        pins.extend(planning.pin_entities(query, &pins).await?);
    }
    pins.sort();
    pins.dedup();
    let models = models.iter().map(|model| PlannedModel {
        role: model.role.clone(),
        uri: model.uri.clone(),
        version: model.version.version,
        hash: model.version.hash.clone(),
    });
    let models = models.collect();
    let (scoring, missing) = (spec.name.clone(), spec.missing);
    Ok(ScorePlan { scoring, date, keys, views, pins, models, rows, missing })
}

struct Planning<'a> {
    engine: &'a Engine,
    definitions: &'a Definitions,
    spec: &'a ScoringSpec,
    models: &'a [ScoringModel],
}

impl Planning<'_> {
    /// What the models read and what goes along, each name once.
    fn wanted(&self) -> Vec<&str> {
        let inputs = self.models.iter().flat_map(|model| &model.model.signature().inputs);
        let names = inputs.map(|input| input.name.as_str());
        let mut wanted: Vec<&str> = Vec::new();
        for name in names.chain(self.spec.columns.iter().map(String::as_str)) {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        wanted
    }

    /// The views with the features that are taken. Of a view that stands for itself these are the
    /// ones that somebody wants.
    fn features(&self) -> Result<Vec<(String, Vec<String>)>> {
        let Some(view) = &self.spec.view else {
            return resolve_features(self.definitions, &self.spec.features);
        };
        let names = self.definitions.view(view)?.feature_names();
        let wanted = self.wanted();
        let taken: Vec<String> =
            names.into_iter().filter(|name| wanted.contains(&name.as_str())).collect();
        Ok(vec![(view.clone(), taken)])
    }

    async fn views(&self, features: &[(String, Vec<String>)]) -> Result<Vec<PlannedView>> {
        let mut sources = Vec::with_capacity(features.len());
        for (name, _) in features {
            let source = feature_source(self.definitions.view(name)?)?;
            sources.push((source.clone(), SnapshotSelector::Latest));
        }
        let pins = self.engine.catalog().pin_all(&sources).await?;
        let mut views = Vec::with_capacity(features.len());
        for ((name, features), pin) in features.iter().zip(pins) {
            let view = self.definitions.view(name)?;
            views.push(PlannedView {
                name: name.clone(),
                definition_hash: self.definitions.definition_hash(view),
                pin,
                features: features.clone(),
                ttl: view.ttl,
            });
        }
        Ok(views)
    }

    async fn pin_entities(&self, query: &str, known: &[PinnedTable]) -> Result<Vec<PinnedTable>> {
        let reads = self.engine.names(query).await?;
        let at: Vec<(TableName, SnapshotSelector)> = known
            .iter()
            .filter(|pin| reads.contains(&pin.table))
            .map(|pin| (pin.table.clone(), SnapshotSelector::Id(pin.snapshot)))
            .collect();
        self.engine.pin_query_with_views(query, &at).await
    }

    /// The date to score: the wanted one or the newest that the view has. What stands for the date
    /// must not lie further before it than the maximum age (D13).
    async fn date(
        &self,
        (view, pin): (&FeatureView, &PinnedTable),
        schema: &SchemaRef,
        wanted: Option<Date>,
    ) -> Result<Date> {
        let day = day_column(view, schema);
        let newest = newest_day(self.engine, pin, &day, wanted).await?;
        let joined = self.spec.entities.is_some() || self.spec.view.is_none();
        let reach = self.spec.max_age.map_or(0, |age| age.micros() / Span::from_days(1).micros());
        let near = |newest: Date| {
            joined || wanted.is_none_or(|wanted| i64::from(wanted.days() - newest.days()) <= reach)
        };
        match (newest, wanted) {
            (Some(newest), _) if near(newest) => Ok(wanted.unwrap_or(newest)),
            (None, Some(wanted)) if joined => Ok(wanted),
            (Some(newest), Some(wanted)) => {
                Err(Error::not_found(format!("`{}` has no features of {wanted}", pin.table))
                    .with_note(format!("the newest before it are of {newest}"))
                    .with_help(format!(
                        "compute them with `icecore features compute`, allow older ones with \
                         `max_age`, or score `--date {newest}`"
                    )))
            }
            (None, Some(wanted)) if pin.snapshot != PinnedTable::EMPTY => {
                let message = format!("`{}` has no features of {wanted} or before", pin.table);
                Err(Error::not_found(message)
                    .with_help("score a later date, such as the newest: leave `--date` out"))
            }
            _ => Err(Error::not_found(format!("`{}` has no features to score", pin.table))
                .with_help("compute them with `icecore features compute`")),
        }
    }

    /// The rows that a view has stored for a date; with a maximum age the newest row of each
    /// entity within it. Only columns that somebody reads.
    fn stored(
        &self,
        (view, pin): (&FeatureView, &PinnedTable),
        schema: &SchemaRef,
        date: Date,
    ) -> Result<(PlannedRows, Vec<String>)> {
        let keys = self.definitions.join_keys(view)?;
        let mut columns: Vec<&str> = keys.iter().map(String::as_str).collect();
        for name in self.wanted() {
            if schema.column_with_name(name).is_none() {
                return Err(self.unknown(name, schema));
            }
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        let moment = ident(&view.event_timestamp);
        let columns: Vec<String> = columns.into_iter().map(ident).collect();
        let (day, first) = (day_column(view, schema), self.oldest(date));
        let mut conditions = vec![match first.date() == date {
            true => format!("{day} = DATE '{date}'"),
            false => format!("{day} BETWEEN DATE '{}' AND DATE '{date}'", first.date()),
        }];
        if first != first.date().midnight() {
            let type_name = "Timestamp(Microsecond, Some(\"+00:00\"))";
            conditions.push(format!("{moment} >= arrow_cast({}, '{type_name}')", first.micros()));
        }
        // A view that has one row of an entity and day needs no choice between several.
        let is_choice = first.date() != date || view.is_stored() || view.emit != Emit::LastPerDay;
        let all = format!(
            "SELECT {}, {moment} AS {FEATURE_TIMESTAMP} FROM {} WHERE {}",
            columns.join(", "),
            table_sql(pin),
            conditions.join(" AND ")
        );
        if !is_choice {
            return Ok((PlannedRows::Stored { sql: all, ordered: None }, keys));
        }
        let partition = keys.iter().map(|key| ident(key)).collect::<Vec<_>>().join(", ");
        let created = view.created_timestamp.as_ref().map(|name| ident(name));
        let times = |order: &str| {
            let created = created.as_ref().map(|name| format!(", {name} {order}"));
            format!("{moment} {order}{}", created.unwrap_or_default())
        };
        let newest =
            format!("row_number() OVER (PARTITION BY {partition} ORDER BY {}) = 1", times("DESC"));
        let sql = format!("{all} QUALIFY {newest}");
        // A row without a moment comes first when time runs backwards, and last here: both choose it.
        let ordered = format!("{all} ORDER BY {partition}, {}", times("ASC NULLS LAST"));
        Ok((PlannedRows::Stored { sql, ordered: Some(ordered) }, keys))
    }

    /// The first moment that a feature row of the date may lie at.
    fn oldest(&self, date: Date) -> Timestamp {
        let age = self.spec.max_age.map_or(0, Span::micros);
        Timestamp::from_micros(date.midnight().micros().saturating_sub(age))
    }

    fn joined(&self, views: &[PlannedView]) -> Result<(PlannedRows, Vec<String>)> {
        let mut keys: Vec<String> = Vec::new();
        for view in views {
            for key in self.definitions.join_keys(self.definitions.view(&view.name)?)? {
                let key = self.spec.keys.get(&key).cloned().unwrap_or(key);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let rows = PlannedRows::Joined {
            entities: self.spec.entities.clone(),
            event_timestamp: self.spec.event_timestamp.clone(),
            keys: self.spec.keys.clone(),
            max_age: self.spec.max_age,
        };
        Ok((rows, keys))
    }

    /// A column that nobody gives: whoever wants it is named.
    fn unknown(&self, name: &str, schema: &SchemaRef) -> Error {
        let reads = |model: &&ScoringModel| {
            model.model.signature().inputs.iter().any(|input| input.name == name)
        };
        let view = self.spec.view.as_deref().unwrap_or_default();
        let message = match self.models.iter().find(reads) {
            Some(model) => format!(
                "model `{}` version {} reads column `{name}`, which feature view `{view}` does not have",
                model.version.model, model.version.version
            ),
            None => format!("feature view `{view}` has no column `{name}` to go along"),
        };
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        Error::invalid(message)
            .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(name, names())
    }
}

/// The date of a row, as an expression.
fn day_column(view: &FeatureView, schema: &SchemaRef) -> String {
    let stored = schema.field_with_name("feature_date");
    match stored.is_ok_and(|field| *field.data_type() == DataType::Date32) {
        true => ident("feature_date"),
        false => format!("CAST({} AS DATE)", ident(&view.event_timestamp)),
    }
}

/// The greatest value of a date expression, at most `until`.
pub(crate) async fn newest_day(
    engine: &Engine,
    table: &PinnedTable,
    day: &str,
    until: Option<Date>,
) -> Result<Option<Date>> {
    let until = until.map_or_else(String::new, |date| format!(" WHERE {day} <= DATE '{date}'"));
    let query = format!("SELECT max({day}) FROM {}{until}", table_sql(table));
    let answer = engine.sql(&query, std::slice::from_ref(table)).await?.concat().await?;
    if answer.num_rows() == 0 || answer.column(0).is_null(0) {
        return Ok(None);
    }
    let dates = arrow::compute::cast(answer.column(0), &DataType::Date32)?;
    Ok(Some(Date::from_days(dates.as_primitive::<arrow::datatypes::Date32Type>().value(0))))
}

/// The greatest value of a date column, at most `until`.
pub(crate) async fn newest_date(
    engine: &Engine,
    table: &PinnedTable,
    column: &str,
    until: Option<Date>,
) -> Result<Option<Date>> {
    newest_day(engine, table, &ident(column), until).await
}
