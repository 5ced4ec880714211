//! Labels from outcomes: only of predictions that are old enough to know (C102, C103, C170).

mod question;
mod table;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use futures::StreamExt;
use icecore_core::{
    BatchStream, CommitOptions, Date, Error, ErrorKind, PinnedTable, Result, SnapshotCatalog,
    SnapshotSelector, Span, TableName, Timestamp, WriteMode,
};
use icecore_engine::Engine;
use sha2::{Digest, Sha256};

use super::FeedbackSpec;
use crate::ScoringSpec;
use question::Labelling;
use table::{ensure_table, labelled_before, stored_schema};

/// Summary field: what decided every row.
const LABEL_JOB: &str = "icecore.label-job";
const DAY: i64 = Span::from_days(1).micros();
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
