//! Features for rows that are no training set: those of a query, a table or a file, every entity at
//! given moments, or what a view holds of a period.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, or};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use icecore_core::{
    BatchStream, Error, Knowledge, PinnedTable, PitOptions, Result, SnapshotSelector, TableName,
    TimeRange, Timestamp,
};
use icecore_engine::Engine;
use icecore_features::Definitions;

use crate::leak::event_column;
use crate::lock::{DatasetPlan, LockedView};
use crate::plan::planned;
use crate::rows::{SpineRows, hidden_columns, with_features};
use crate::rules::{ViewRules, Windows};
use crate::spec::{DatasetSpec, quoted};

/// At most so many moments are looked at in one retrieval of every entity.
const MOMENTS_MAX: usize = 10_000;

/// Whose features are asked for, and when.
#[derive(Debug)]
#[non_exhaustive]
pub enum Asked {
    /// The rows of a query.
    Query(String),
    /// The rows of a table.
    Table(TableName),
    /// These rows.
    Rows(BatchStream),
    /// Every entity that a view knows by then, at each of these moments.
    Entities(Vec<Timestamp>),
    /// The rows that the view itself has in a time, as they are.
    Period(TimeRange),
}

/// What to retrieve.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Retrieval {
    /// Features as `view:feature`, or `view:*`.
    pub features: Vec<String>,
    /// The column of the rows with their moments.
    pub event_timestamp: String,
    /// The rows' columns for join keys, where they have other names.
    pub keys: BTreeMap<String, String>,
    /// How rows of some views are joined, where not as the views say, and under which other names.
    pub views: BTreeMap<String, ViewRules>,
    /// Which clock decides what was known; absent means created where a view declares it.
    pub knowledge: Option<Knowledge>,
    /// Whether rows of exactly a moment stay out.
    pub strict: bool,
    /// Whether features are named `view__feature`.
    pub full_feature_names: bool,
    /// Whether to add `{view}__event_timestamp`.
    pub with_event_timestamps: bool,
    /// Whether to add `{view}__age_us`.
    pub with_ages: bool,
    /// States of tables that are not to be read at their latest.
    pub at: Vec<(TableName, SnapshotSelector)>,
}

impl Retrieval {
    /// Asks for features, `view:feature` or `view:*`.
    pub fn new<S: Into<String>>(features: impl IntoIterator<Item = S>) -> Self {
        Self {
            features: features.into_iter().map(Into::into).collect(),
            event_timestamp: "event_timestamp".to_owned(),
            keys: BTreeMap::new(),
            views: BTreeMap::new(),
            knowledge: None,
            strict: false,
            full_feature_names: false,
            with_event_timestamps: false,
            with_ages: false,
            at: Vec::new(),
        }
    }

    /// Joins all views by these rules where nothing else is said of one, and lets the windows of
    /// those end there that have windows.
    ///
    /// # Errors
    ///
    /// `NotFound` for a view that nobody has.
    pub fn with_rules_for_all(
        mut self,
        definitions: &Definitions,
        rules: &ViewRules,
    ) -> Result<Self> {
        for name in self.features.iter().filter_map(|feature| feature.split(':').next()) {
            let own = self.views.entry(name.to_owned()).or_default();
            let is_stored = definitions.view(own.of.as_deref().unwrap_or(name))?.is_stored();
            own.ttl = own.ttl.or(rules.ttl);
            own.delay = own.delay.or(rules.delay);
            own.strict |= rules.strict;
            if !is_stored && own.windows == Windows::Stored {
                own.windows = rules.windows;
            }
        }
        Ok(self)
    }
}

/// Rows with features, and the states that they were read from.
#[derive(Debug)]
pub struct Retrieved {
    /// The rows, in the order in which they were asked for; those of entities by moment and key.
    pub rows: BatchStream,
    /// Every table that is read.
    pub pins: Vec<PinnedTable>,
}

/// Joins features to the rows that are asked for, each as it was known at the row's moment. Writes nothing.
///
/// # Errors
///
/// `NotFound` and `InvalidInput` for what is asked for and nobody has.
pub async fn retrieve(
    engine: &Engine,
    definitions: &Definitions,
    asked: Asked,
    retrieval: &Retrieval,
) -> Result<Retrieved> {
    let spine = match &asked {
        Asked::Query(sql) => Some(sql.clone()),
        Asked::Table(table) => Some(format!("SELECT * FROM {}", quoted(table))),
        Asked::Rows(_) | Asked::Entities(_) | Asked::Period(_) => None,
    };
    let mut spec =
        DatasetSpec::of_request(retrieval.features.clone(), retrieval.event_timestamp.clone());
    spec.keys.clone_from(&retrieval.keys);
    spec.views.clone_from(&retrieval.views);
    (spec.knowledge, spec.full_feature_names) = (retrieval.knowledge, retrieval.full_feature_names);
    let plan = planned(engine, definitions, &spec, (spine, &retrieval.at)).await?;
    let pins = plan.pins();
    let joining = Joining { engine, plan: &plan, retrieval };
    let with_events = retrieval.with_event_timestamps;
    let rows = match asked {
        Asked::Period(range) => engine.sql(&joining.of_period(range)?, &pins).await?,
        Asked::Entities(moments) => joining.entities(&moments).await?,
        Asked::Rows(rows) => joining.join(SpineRows::Stream(rows), with_events).await?,
        Asked::Query(_) | Asked::Table(_) => {
            joining.join(SpineRows::Query(plan.spine.sql.clone()), with_events).await?
        }
    };
    Ok(Retrieved { rows, pins })
}

/// What SQL selects the rows of a view from, or its events.
fn rows_of(view: &LockedView) -> Result<String> {
    let Some(windows) = &view.windows else { return Ok(quoted(&view.table)) };
    let definitions = windows.definitions()?;
    Ok(match &definitions.view(view.view())?.source_sql {
        Some(query) => format!("({query}) AS icecore_events"),
        None => quoted(&view.table),
    })
}

/// Microseconds as a moment. A literal of SQL is of nanoseconds, which end in 2262.
fn moment_sql(micros: impl fmt::Display) -> String {
    format!("arrow_cast({micros}, 'Timestamp(Microsecond, Some(\"+00:00\"))')")
}

struct Joining<'a> {
    engine: &'a Engine,
    plan: &'a DatasetPlan,
    retrieval: &'a Retrieval,
}

impl Joining<'_> {
    /// Rows with features, without what is only read to compute them.
    async fn join(&self, spine: SpineRows, with_event_timestamps: bool) -> Result<BatchStream> {
        let mut options = PitOptions::default().with_knowledge(self.plan.knowledge);
        options.strict = self.retrieval.strict;
        options.with_ages = self.retrieval.with_ages;
        options.with_event_timestamps = with_event_timestamps;
        let joined = with_features(self.engine, self.plan, spine, options).await?;
        let hidden = hidden_columns(self.plan);
        let schema = joined.schema();
        let shown = |at: &usize| !hidden.contains(schema.field(*at).name());
        let columns: Vec<usize> = (0..schema.fields().len()).filter(shown).collect();
        let output: SchemaRef = schema.project(&columns)?.into();
        let project = move |batch: Result<RecordBatch>| Ok(batch?.project(&columns)?);
        Ok(BatchStream::new(output, joined.map(project)))
    }

    /// Every entity at each moment, where a view knows something of it.
    async fn entities(&self, moments: &[Timestamp]) -> Result<BatchStream> {
        let joined = self.join(SpineRows::Query(self.entities_sql(moments)?), true).await?;
        let views: Vec<String> =
            self.plan.views.iter().map(|view| event_column(&view.name)).collect();
        let keep_events = self.retrieval.with_event_timestamps;
        let schema = joined.schema();
        let keeps = |at: &usize| keep_events || !views.contains(schema.field(*at).name());
        let columns: Vec<usize> = (0..schema.fields().len()).filter(keeps).collect();
        let output: SchemaRef = schema.project(&columns)?.into();
        let rows = joined.map(move |batch| {
            let batch = batch?;
            let mut known = BooleanArray::from(vec![false; batch.num_rows()]);
            for view in &views {
                if let Some(events) = batch.column_by_name(view) {
                    known = or(&known, &arrow::compute::is_not_null(events)?)?;
                }
            }
            Ok(filter_record_batch(&batch, &known)?.project(&columns)?)
        });
        Ok(BatchStream::new(output, rows))
    }

    fn entities_sql(&self, moments: &[Timestamp]) -> Result<String> {
        let Some(first) = self.plan.views.first() else {
            return Err(Error::invalid("no features are asked for"));
        };
        if moments.is_empty() {
            return Err(Error::invalid("no moment is asked for")
                .with_help("name one, or a time whose end is not before its beginning"));
        }
        if moments.len() > MOMENTS_MAX {
            return Err(Error::invalid(format!("{} moments are asked for", moments.len()))
                .with_help(format!("ask for 1 to {MOMENTS_MAX}")));
        }
        let own = |keys: &[(String, String)]| -> Vec<String> {
            let mut keys: Vec<String> = keys.iter().map(|(_, spine)| spine.clone()).collect();
            keys.sort();
            keys
        };
        let keys = own(&first.keys);
        if let Some(other) = self.plan.views.iter().find(|view| own(&view.keys) != keys) {
            return Err(Error::invalid(format!(
                "feature views `{}` and `{}` are not of the same entities",
                first.name, other.name
            ))
            .with_help("ask for one of them, or say whose features as rows"));
        }
        let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let last = moments.iter().max().copied().unwrap_or_default();
        let views = self.plan.views.iter().map(|view| {
            let rows = rows_of(view)?;
            let mut keys = view.keys.clone();
            keys.sort_by(|a, b| a.1.cmp(&b.1));
            let keys = keys.iter().map(|(own, spine)| format!("{} AS {}", name(own), name(spine)));
            Ok(format!(
                "SELECT DISTINCT {} FROM {rows} WHERE {} <= {}",
                keys.collect::<Vec<_>>().join(", "),
                name(&view.event_timestamp),
                moment_sql(last.micros()),
            ))
        });
        let views = views.collect::<Result<Vec<_>>>()?.join(" UNION ");
        let values = moments.iter().map(|at| format!("({})", at.micros()));
        let at = name(&self.retrieval.event_timestamp);
        let keys = keys.iter().map(|key| name(key)).collect::<Vec<_>>().join(", ");
        Ok(format!(
            "SELECT {keys}, {} AS {at} FROM ({views}) \
             CROSS JOIN (VALUES {}) AS icecore_moments(icecore_us) ORDER BY icecore_us, {keys}",
            moment_sql("icecore_us"),
            values.collect::<Vec<_>>().join(", ")
        ))
    }

    /// The rows of a view in a time.
    fn of_period(&self, range: TimeRange) -> Result<String> {
        let [view] = self.plan.views.as_slice() else {
            return Err(Error::invalid("features of several views are asked for")
                .with_help("ask for one view's rows of a time, or for every entity at moments"));
        };
        if view.windows.is_some() {
            return Err(Error::invalid("rows of a time are those that are stored").with_help(
                "leave `windows = \"moment\"` out, or ask for every entity at moments",
            ));
        }
        if let Some(on_demand) = &view.on_demand {
            let names = on_demand.columns.iter().map(|(name, _)| name.as_str());
            return Err(Error::invalid(format!(
                "features of `{}` are computed on demand, and no row has them: {}",
                view.name,
                names.collect::<Vec<_>>().join(", ")
            ))
            .with_help("name the stored features instead of all, or give the rows that ask"));
        }
        let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let at = name(&view.event_timestamp);
        let named = |(own, shown): &(String, String)| format!("{} AS {}", name(own), name(shown));
        let mut columns: Vec<String> = view.keys.iter().map(named).collect();
        let order: Vec<String> = view.keys.iter().map(|(_, shown)| name(shown)).collect();
        columns.push(format!("{at} AS {}", name(&self.retrieval.event_timestamp)));
        columns.extend(view.columns.iter().map(named));
        let from = range.from.map(|from| format!("{at} >= {}", moment_sql(from.micros())));
        let to = range.to.map(|to| format!("{at} < {}", moment_sql(to.micros())));
        let conditions: Vec<String> = from.into_iter().chain(to).collect();
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        Ok(format!(
            "SELECT {} FROM {}{condition} ORDER BY {}, {}",
            columns.join(", "),
            quoted(&view.table),
            order.join(", "),
            name(&self.retrieval.event_timestamp),
        ))
    }
}
