//! The queries of labelling: which outcome belongs to which prediction, and what is known by when.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use icecore_core::{Date, Error, PinnedTable, Result, SnapshotCatalog, Timestamp};
use icecore_engine::Engine;

use super::{DAY, LABEL_STATUS};
use crate::ScoringSpec;
use crate::feedback::{Absent, FeedbackSpec, Pick};
use crate::sql::{ident, table_sql};

/// The column that a training set's spine takes as each row's moment.
const EVENT_TIMESTAMP: &str = "event_timestamp";
const MOMENT: &str = "'Timestamp(Microsecond, Some(\"+00:00\"))'";

/// What is asked about the outcomes of a job's predictions.
pub(super) struct Labelling<'a> {
    pub(super) engine: &'a Engine,
    pub(super) spec: &'a ScoringSpec,
    pub(super) feedback: &'a FeedbackSpec,
    pub(super) keys: &'a [String],
    pub(super) predictions: &'a PinnedTable,
}

impl Labelling<'_> {
    /// The query that joins outcomes to predictions. All arithmetic of moments is in microseconds.
    pub(super) async fn query(
        &self,
        pins: &[PinnedTable],
        dates: (Option<Date>, Date),
    ) -> Result<String> {
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

    pub(super) async fn pending(&self, matured_to: Date) -> Result<u64> {
        let query = format!(
            "SELECT count(*) FROM {} WHERE {} > DATE '{matured_to}' AND {} IS NOT NULL",
            table_sql(self.predictions),
            ident(&self.spec.date_column),
            ident(&self.spec.prediction)
        );
        let pins = std::slice::from_ref(self.predictions);
        Ok(self.number(&query, pins).await?.map_or(0, i64::unsigned_abs))
    }

    pub(super) async fn newest_outcome(&self, pins: &[PinnedTable]) -> Result<Option<Timestamp>> {
        let query = format!(
            "SELECT max(arrow_cast(arrow_cast({}, {MOMENT}), 'Int64')) FROM ({}) AS outcomes",
            ident(&self.feedback.outcome_timestamp),
            self.feedback.outcomes
        );
        Ok(self.number(&query, pins).await?.map(Timestamp::from_micros))
    }

    /// The first of these dates whose window begins after the newest outcome.
    pub(super) async fn doubtful_from(
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
