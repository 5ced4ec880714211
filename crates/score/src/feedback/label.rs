//! Labels from outcomes: only of predictions that are old enough to know (C102, C103, C170).

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef};
use futures::StreamExt;
use icecore_core::{
    BatchStream, CommitOptions, Date, Error, ErrorKind, NewTable, PinnedTable, Result,
    SnapshotCatalog, SnapshotSelector, Span, TableName, Timestamp, WriteMode,
};
use icecore_engine::Engine;
use sha2::{Digest, Sha256};

use super::{Absent, FeedbackSpec, Pick};
use crate::ScoringSpec;
use crate::sql::{ident, table_sql};

/// Summary field: what decided every row.
const LABEL_JOB: &str = "icecore.label-job";
const DAY: i64 = Span::from_days(1).micros();
const MOMENT: &str = "'Timestamp(Microsecond, Some(\"+00:00\"))'";
/// The column that a training set's spine takes as each row's moment.
const EVENT_TIMESTAMP: &str = "event_timestamp";
/// The column that tells an outcome that was seen from one that never came.
const LABEL_STATUS: &str = "label_status";

/// Which predictions to label.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LabelOptions {
    /// Those of this date and later ones.
    pub from: Option<Date>,
    /// Those of this date and earlier ones.
    pub to: Option<Date>,
    /// Up to when outcomes are known; absent means the earliest of the moments at which the tables
    /// that the outcomes' query reads last got rows.
    pub as_of: Option<Timestamp>,
}

/// What labelling would read and do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LabelPlan {
    /// The labelled table.
    pub table: TableName,
    /// The predictions.
    pub predictions: PinnedTable,
    /// Everything that is read.
    pub pins: Vec<PinnedTable>,
    /// Up to when outcomes are known.
    pub as_of: Timestamp,
    /// The newest date whose labels are settled.
    pub matured_to: Date,
    /// The first date that is labelled.
    pub from: Option<Date>,
    /// The last date that is labelled.
    pub to: Date,
    /// Predictions whose labels nobody can know yet.
    pub pending: u64,
    /// The moment of the newest outcome.
    pub newest_outcome: Option<Timestamp>,
    /// The first date to label whose window begins after the newest outcome: nothing happened since,
    /// or the outcomes have not come yet, and what looks like none is a guess.
    pub doubtful_from: Option<Date>,
    query: String,
}

/// What labelling did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LabelReport {
    /// The labelled table.
    pub labels: PinnedTable,
    /// Whether rows were written.
    pub changed: bool,
    /// Up to when outcomes are known.
    pub as_of: Timestamp,
    /// The newest date whose labels are settled.
    pub matured_to: Date,
    /// Rows with a label; absent where nothing had to be done.
    pub labelled: Option<u64>,
    /// Rows whose label is not zero.
    pub positive: Option<u64>,
    /// Rows that were labelled zero because no outcome came.
    pub absent: Option<u64>,
    /// Predictions whose labels nobody can know yet.
    pub pending: u64,
    /// The moment of the newest outcome.
    pub newest_outcome: Option<Timestamp>,
    /// The first date to label whose window begins after the newest outcome: nothing happened since,
    /// or the outcomes have not come yet, and what looks like none is a guess.
    pub doubtful_from: Option<Date>,
}

/// Says what labelling would read, and which dates are settled.
///
/// # Errors
///
/// `InvalidInput` if the job has no `[feedback]` or names columns that are not there; `NotFound` if
/// nothing was scored.
pub async fn plan_labels(
    engine: &Engine,
    spec: &ScoringSpec,
    keys: &[String],
    options: &LabelOptions,
) -> Result<LabelPlan> {
    let feedback = feedback_of(spec)?;
    let predictions =
        engine.catalog().pin(&spec.table, &SnapshotSelector::Latest).await.map_err(|error| {
            match error.kind() {
                ErrorKind::NotFound => {
                    error.with_help(format!("score first: `icecore score {}`", spec.name))
                }
                _ => error,
            }
        })?;
    let mut pins = engine.pin_query_with_views(&feedback.outcomes, &[]).await?;
    let as_of = match options.as_of {
        Some(as_of) => as_of,
        None => known_until(engine, &pins).await?,
    };
    let matured_to = matured(as_of, feedback.maturity());
    let to = options.to.map_or(matured_to, |to| to.min(matured_to));
    if !pins.contains(&predictions) {
        pins.retain(|pin| pin.table != predictions.table);
        pins.push(predictions.clone());
    }
    pins.sort();
    let labelling = Labelling { engine, spec, feedback, keys, predictions: &predictions };
    let query = labelling.query(&pins, (options.from, to)).await?;
    let pending = labelling.pending(matured_to).await?;
    let newest_outcome = labelling.newest_outcome(&pins).await?;
    let doubtful_from = labelling.doubtful_from(newest_outcome, (options.from, to)).await?;
    let (table, from) = (feedback.table(&spec.name)?, options.from);
    Ok(LabelPlan {
        table,
        predictions,
        pins,
        as_of,
        matured_to,
        from,
        to,
        pending,
        newest_outcome,
        doubtful_from,
        query,
    })
}

/// Labels settled predictions and replaces the labels of their dates. Safe to repeat; outcomes that
/// came late count the next time.
///
/// # Errors
///
/// Those of [`plan_labels`].
pub async fn label(
    engine: &Engine,
    spec: &ScoringSpec,
    keys: &[String],
    options: &LabelOptions,
) -> Result<LabelReport> {
    let plan = plan_labels(engine, spec, keys, options).await?;
    let feedback = feedback_of(spec)?;
    let job = format!("{:?} {}", plan.pins, plan.query);
    let job = Sha256::digest(job).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    if let Some(labels) = labelled_before(engine, &plan.table, &job).await? {
        return Ok(report(labels, false, &plan, None));
    }
    let rows = engine.sql(&plan.query, &plan.pins).await?;
    let schema = stored_schema(rows.schema(), &plan.table, keys, spec)?;
    ensure_table(engine, &plan.table, &schema, (keys, spec)).await?;
    let counts = Arc::new(Mutex::new(Counts::default()));
    let (counting, output, name) =
        (Arc::clone(&counts), Arc::clone(&schema), feedback.label_name().to_owned());
    let rows = rows.map(move |batch| {
        let batch = RecordBatch::try_new(Arc::clone(&output), batch?.columns().to_vec())?;
        counting.lock().unwrap_or_else(PoisonError::into_inner).add(&batch, &name)?;
        Ok(batch)
    });
    let commit = CommitOptions::new(WriteMode::OverwritePartitions)
        .with_summary(LABEL_JOB, job)
        .with_summary(crate::run::SCORING, &spec.name)
        .with_summary("icecore.as-of", plan.as_of.to_string())
        .with_summary("icecore.sources", serde_json::to_string(&plan.pins).unwrap_or_default());
    let rows = BatchStream::new(schema, rows);
    let done = engine.catalog().commit(&plan.table, rows, commit).await?;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(report(done.pinned, done.changed, &plan, Some(&counts)))
}

/// What a scoring job says of outcomes.
///
/// # Errors
///
/// `InvalidInput` if it says nothing.
pub fn feedback_of(spec: &ScoringSpec) -> Result<&FeedbackSpec> {
    spec.feedback.as_ref().ok_or_else(|| {
        Error::invalid(format!("scoring job `{}` does not say what became of it", spec.name))
            .with_help("add a `[feedback]` table with `outcomes` and `window` to its file")
    })
}

fn report(
    labels: PinnedTable,
    changed: bool,
    plan: &LabelPlan,
    counts: Option<&Counts>,
) -> LabelReport {
    LabelReport {
        labels,
        changed,
        as_of: plan.as_of,
        matured_to: plan.matured_to,
        labelled: counts.map(|counts| counts.labelled),
        positive: counts.map(|counts| counts.positive),
        absent: counts.map(|counts| counts.absent),
        pending: plan.pending,
        newest_outcome: plan.newest_outcome,
        doubtful_from: plan.doubtful_from,
    }
}

/// The newest date whose labels are settled: its day and the maturity are over.
fn matured(as_of: Timestamp, maturity: Span) -> Date {
    let settled = as_of.micros().saturating_sub(maturity.micros());
    Timestamp::from_micros(settled.saturating_sub(DAY)).date()
}

/// The moment up to which the tables tell that outcomes come from.
async fn known_until(engine: &Engine, pins: &[PinnedTable]) -> Result<Timestamp> {
    engine.known_until(pins).await.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => error.with_help("say it with `--as-of`"),
        _ => error,
    })
}

#[derive(Debug, Clone, Default)]
struct Counts {
    labelled: u64,
    positive: u64,
    absent: u64,
}

impl Counts {
    fn add(&mut self, batch: &RecordBatch, label: &str) -> Result<()> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| {
                Error::internal(format!("labelled rows have lost their column `{name}`"))
            })
        };
        let labels = cast(column(label)?, &DataType::Float64)?;
        let statuses = column(LABEL_STATUS)?.as_string::<i32>();
        self.labelled += batch.num_rows() as u64;
        let labels = labels.as_primitive::<Float64Type>();
        self.positive += labels.iter().flatten().filter(|label| *label != 0.0).count() as u64;
        self.absent += statuses.iter().filter(|status| *status == Some("ABSENT")).count() as u64;
        Ok(())
    }
}

struct Labelling<'a> {
    engine: &'a Engine,
    spec: &'a ScoringSpec,
    feedback: &'a FeedbackSpec,
    keys: &'a [String],
    predictions: &'a PinnedTable,
}

impl Labelling<'_> {
    /// The query that joins outcomes to predictions. All arithmetic of moments is in microseconds.
    async fn query(&self, pins: &[PinnedTable], dates: (Option<Date>, Date)) -> Result<String> {
        let feedback = self.feedback;
        let outcomes = self.engine.sql(&feedback.outcomes, pins).await?;
        let value = self.value(outcomes.schema())?;
        let date = ident(&self.spec.date_column);
        let range = self.range(dates);
        let keys: Vec<String> = self.keys.iter().map(|key| ident(key)).collect();
        let of_outcomes = self.keys.iter().map(|key| {
            let own = feedback.keys.get(key).unwrap_or(key);
            format!("{} AS {}", ident(own), ident(key))
        });
        let equal = |other: &str| {
            let pairs = keys.iter().map(|key| format!("p.{key} = {other}.{key}"));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let of_p: Vec<String> = keys.iter().map(|key| format!("p.{key}")).collect();
        let schema = self.engine.catalog().schema(self.predictions).await?;
        let all = schema.fields().iter().map(|field| format!("p.{}", ident(field.name())));
        let (label, status) = match feedback.absent() {
            Absent::Negative => ("coalesce(l.icecore_label, 0)", ""),
            Absent::Unknown => ("l.icecore_label", " WHERE l.icecore_label IS NOT NULL"),
        };
        Ok(format!(
            "WITH p AS (SELECT *, (arrow_cast({date}, 'Int64') + 1) * {DAY} AS icecore_from \
             FROM {predictions} WHERE {prediction} IS NOT NULL AND {range}), \
             o AS (SELECT {of_outcomes}, arrow_cast(arrow_cast({at}, {MOMENT}), 'Int64') AS icecore_at, \
             {value} AS icecore_value FROM ({outcomes}) AS icecore_outcomes), \
             l AS (SELECT {of_p}, p.{date}, {pick} AS icecore_label, min(o.icecore_at) AS icecore_first \
             FROM p JOIN o ON {joins} AND o.icecore_at >= p.icecore_from \
             AND o.icecore_at < p.icecore_from + {window} AND o.icecore_value IS NOT NULL \
             GROUP BY {of_p}, p.{date}) \
             SELECT {all}, arrow_cast(p.icecore_from - 1, {MOMENT}) AS {EVENT_TIMESTAMP}, \
             {label} AS {name}, arrow_cast(l.icecore_first, {MOMENT}) AS outcome_at, \
             CASE WHEN l.icecore_label IS NULL THEN 'ABSENT' ELSE 'OBSERVED' END AS {LABEL_STATUS} \
             FROM p LEFT JOIN l ON {same} AND p.{date} = l.{date}{status}",
            predictions = table_sql(self.predictions),
            prediction = ident(&self.spec.prediction),
            of_outcomes = of_outcomes.collect::<Vec<_>>().join(", "),
            at = ident(&feedback.outcome_timestamp),
            outcomes = feedback.outcomes,
            of_p = of_p.join(", "),
            pick = pick(feedback.pick),
            joins = equal("o"),
            window = feedback.window.micros(),
            all = all.collect::<Vec<_>>().join(", "),
            name = ident(feedback.label_name()),
            same = equal("l"),
        ))
    }

    /// The outcomes' value: whole where it is counted or true and false, else a number.
    fn value(&self, outcomes: &SchemaRef) -> Result<String> {
        let feedback = self.feedback;
        let find = |name: &str, what: &str| {
            outcomes.field_with_name(name).map_err(|_| {
                let names = || outcomes.fields().iter().map(|field| field.name().as_str());
                Error::not_found(format!("the outcomes have no column `{name}`, the {what}"))
                    .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
                    .with_candidates(name, names())
            })
        };
        find(&feedback.outcome_timestamp, "moment")?;
        for key in self.keys {
            find(feedback.keys.get(key).unwrap_or(key), "key")?;
        }
        let Some(label) = &feedback.label else {
            return Ok("arrow_cast(1, 'Int64')".to_owned());
        };
        let data_type = find(label, "label")?.data_type();
        let whole = *data_type == DataType::Boolean || data_type.is_integer();
        let number = if whole { "Int64" } else { "Float64" };
        Ok(format!("arrow_cast({}, '{number}')", ident(label)))
    }

    /// The condition that a prediction is of these dates.
    fn range(&self, dates: (Option<Date>, Date)) -> String {
        let date = ident(&self.spec.date_column);
        match dates {
            (Some(from), to) => format!("{date} BETWEEN DATE '{from}' AND DATE '{to}'"),
            (None, to) => format!("{date} <= DATE '{to}'"),
        }
    }

    async fn pending(&self, matured_to: Date) -> Result<u64> {
        let query = format!(
            "SELECT count(*) FROM {} WHERE {} > DATE '{matured_to}' AND {} IS NOT NULL",
            table_sql(self.predictions),
            ident(&self.spec.date_column),
            ident(&self.spec.prediction)
        );
        let pins = std::slice::from_ref(self.predictions);
        Ok(self.number(&query, pins).await?.map_or(0, i64::unsigned_abs))
    }

    async fn newest_outcome(&self, pins: &[PinnedTable]) -> Result<Option<Timestamp>> {
        let query = format!(
            "SELECT max(arrow_cast(arrow_cast({}, {MOMENT}), 'Int64')) FROM ({}) AS outcomes",
            ident(&self.feedback.outcome_timestamp),
            self.feedback.outcomes
        );
        Ok(self.number(&query, pins).await?.map(Timestamp::from_micros))
    }

    /// The first of these dates whose window begins after the newest outcome.
    async fn doubtful_from(
        &self,
        newest_outcome: Option<Timestamp>,
        dates: (Option<Date>, Date),
    ) -> Result<Option<Date>> {
        let day = format!("arrow_cast({}, 'Int64')", ident(&self.spec.date_column));
        let after = newest_outcome.map_or_else(String::new, |newest| {
            format!(" AND ({day} + 1) * {DAY} > {}", newest.micros())
        });
        let query = format!(
            "SELECT min({day}) FROM {} WHERE {} IS NOT NULL AND {}{after}",
            table_sql(self.predictions),
            ident(&self.spec.prediction),
            self.range(dates),
        );
        let day = self.number(&query, std::slice::from_ref(self.predictions)).await?;
        Ok(day.map(|day| Timestamp::from_micros(day.saturating_mul(DAY)).date()))
    }

    /// The one number that a query answers.
    async fn number(&self, query: &str, pins: &[PinnedTable]) -> Result<Option<i64>> {
        let answer = self.engine.sql(query, pins).await?.concat().await?;
        let numbers = answer.column(0).as_primitive_opt::<Int64Type>();
        Ok(numbers.and_then(|numbers| numbers.iter().next().flatten()))
    }
}

fn pick(pick: Pick) -> &'static str {
    match pick {
        Pick::Max => "max(o.icecore_value)",
        Pick::Min => "min(o.icecore_value)",
        Pick::First => "first_value(o.icecore_value ORDER BY o.icecore_at)",
        Pick::Last => "last_value(o.icecore_value ORDER BY o.icecore_at)",
        Pick::Sum => "sum(o.icecore_value)",
        Pick::Mean => "avg(o.icecore_value)",
    }
}

/// The columns of the labelled table: what the query gives, none of it required but its keys.
fn stored_schema(
    rows: &SchemaRef,
    table: &TableName,
    keys: &[String],
    spec: &ScoringSpec,
) -> Result<SchemaRef> {
    let mut seen = std::collections::BTreeSet::new();
    let mut fields = Vec::with_capacity(rows.fields().len());
    for field in rows.fields() {
        if !seen.insert(field.name()) {
            return Err(Error::invalid(format!(
                "two columns of `{table}` would be named `{}`",
                field.name()
            ))
            .with_help("give the label another `name` in `[feedback]`"));
        }
        let is_required = keys.contains(field.name()) || *field.name() == spec.date_column;
        fields.push(field.as_ref().clone().with_nullable(!is_required));
    }
    Ok(Arc::new(Schema::new(fields)))
}

async fn ensure_table(
    engine: &Engine,
    table: &TableName,
    schema: &SchemaRef,
    (keys, spec): (&[String], &ScoringSpec),
) -> Result<()> {
    match engine.catalog().describe(table).await {
        Ok(_) => {
            engine.catalog().evolve(table, schema).await?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let new = NewTable::new(Arc::clone(schema))
                .with_partition_by([spec.date_column.clone()])
                .with_sort_by(keys.iter().cloned());
            engine.catalog().ensure_table(table, &new).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The state of the table, if equal labels are the last thing that was written to it.
async fn labelled_before(
    engine: &Engine,
    table: &TableName,
    job: &str,
) -> Result<Option<PinnedTable>> {
    let history = match engine.catalog().history(table).await {
        Ok(history) => history,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let newest = history.iter().rev().find(|info| info.on_main && info.operation != "replace");
    match newest {
        Some(info) if info.summary.get(LABEL_JOB).is_some_and(|known| known == job) => {
            engine.catalog().pin(table, &SnapshotSelector::Latest).await.map(Some)
        }
        _ => Ok(None),
    }
}
