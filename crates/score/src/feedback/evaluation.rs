//! How good predictions were: one SQL view by model version, bucket and segment (C113, C169).

use icecore_core::{
    CommitOptions, ErrorKind, Result, SnapshotCatalog, SnapshotSelector, TableName, Timestamp,
};
use icecore_engine::{Engine, View};
use icecore_features::{Definitions, feature_source, is_on_demand};

use super::FeedbackSpec;
use crate::ScoringSpec;
use crate::sql::{ident, text};

/// The views over a labelled table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvaluationViews {
    /// Measures by model version, and by each bucket and segment of it.
    pub evaluation: TableName,
    /// The query of that view.
    pub evaluation_sql: String,
    /// Each labelled prediction with the features that it was made from.
    pub rows: TableName,
    /// The query of that view.
    pub rows_sql: String,
}

/// The views over a labelled table, and their queries: `{table}_evaluation` and
/// `{table}_with_features`.
///
/// # Errors
///
/// `InvalidInput` if a segment is no column of the predictions.
pub async fn evaluation_views(
    engine: &Engine,
    definitions: &Definitions,
    spec: &ScoringSpec,
    feedback: &FeedbackSpec,
    keys: &[String],
) -> Result<EvaluationViews> {
    let table = feedback.table(&spec.name)?;
    let pin =
        engine.catalog().pin(&table, &SnapshotSelector::Latest).await.map_err(
            |error| match error.kind() {
                ErrorKind::NotFound => {
                    error.with_help(format!("label first: `icecore label {}`", spec.name))
                }
                _ => error,
            },
        )?;
    let schema = engine.catalog().schema(&pin).await?;
    let has = |name: &str| schema.column_with_name(name).is_some();
    if let Some(unknown) = feedback.segments.iter().find(|segment| !has(segment)) {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        return Err(icecore_core::Error::invalid(format!(
            "`{table}` has no column `{unknown}` to evaluate by"
        ))
        .with_help("let it go along with the predictions: `columns` in the scoring job's file")
        .with_candidates(unknown, names()));
    }
    let evaluation =
        Evaluation { spec, feedback, table: &table, is_probability: has("score_bucket") };
    let challengers: Vec<&String> = spec
        .challengers
        .keys()
        .filter(|name| has(&format!("{name}_{}", spec.prediction)))
        .collect();
    Ok(EvaluationViews {
        evaluation: beside(&table, "evaluation")?,
        evaluation_sql: evaluation.sql(&challengers),
        rows: beside(&table, "with_features")?,
        rows_sql: with_features(definitions, spec, (&table, keys))?,
    })
}

/// Makes the views, or puts the queries of the present definitions in their place.
///
/// # Errors
///
/// `AlreadyExists` if there is a table of such a name.
pub async fn put_evaluation_views(
    engine: &Engine,
    views: &EvaluationViews,
    (made_by, created_at): (&str, Timestamp),
) -> Result<()> {
    for (name, sql) in [(&views.evaluation, &views.evaluation_sql), (&views.rows, &views.rows_sql)]
    {
        let view =
            View { name: name.clone(), sql: sql.clone(), made_by: made_by.to_owned(), created_at };
        engine.put_view(&view, CommitOptions::default()).await?;
    }
    Ok(())
}

fn beside(table: &TableName, what: &str) -> Result<TableName> {
    TableName::parse(&format!("{table}_{what}"))
}

fn quoted(table: &TableName) -> String {
    format!("{}.{}", ident(table.namespace()), ident(table.table()))
}

struct Evaluation<'a> {
    spec: &'a ScoringSpec,
    feedback: &'a FeedbackSpec,
    table: &'a TableName,
    is_probability: bool,
}

impl Evaluation<'_> {
    fn sql(&self, challengers: &[&String]) -> String {
        let mut scored = vec![self.scored("champion", "")];
        let of = |name: &&String| self.scored(name, &format!("{name}_"));
        scored.extend(challengers.iter().map(of));
        let mut groups = vec![self.group("model", None)];
        if self.is_probability {
            groups.push(self.group("bucket", Some("score_bucket")));
        }
        let segments = self.feedback.segments.iter();
        groups.extend(segments.map(|segment| self.group(segment, Some(segment))));
        // Ranks with ties in the middle give the area under the ROC curve.
        format!(
            "WITH scored AS ({}), ranked AS (SELECT *, \
             rank() OVER (PARTITION BY role, model_version ORDER BY prediction) + \
             (count(*) OVER (PARTITION BY role, model_version, prediction) - 1) / 2.0 \
             AS icecore_rank FROM scored) {} ORDER BY role, model_version, grouped_by, value",
            scored.join(" UNION ALL "),
            groups.join(" UNION ALL ")
        )
    }

    /// The labelled predictions of one model.
    fn scored(&self, role: &str, prefix: &str) -> String {
        let prediction = ident(&format!("{prefix}{}", self.spec.prediction));
        let bucket = match self.is_probability {
            true => format!(", {} AS score_bucket", ident(&format!("{prefix}score_bucket"))),
            false => String::new(),
        };
        let segments = self.feedback.segments.iter().map(|segment| format!(", {}", ident(segment)));
        format!(
            "SELECT {} AS role, {} AS model_version{bucket}{}, \
             {prediction} AS prediction, CAST({} AS DOUBLE) AS label FROM {} \
             WHERE {prediction} IS NOT NULL",
            text(role),
            ident(&format!("{prefix}model_version")),
            segments.collect::<String>(),
            ident(self.feedback.label_name()),
            quoted(self.table),
        )
    }

    /// The measures of each value of a column, or of the model as a whole.
    fn group(&self, name: &str, column: Option<&str>) -> String {
        let (value, by) = match column {
            None => ("CAST(NULL AS VARCHAR)".to_owned(), String::new()),
            Some(column) => {
                (format!("CAST({} AS VARCHAR)", ident(column)), format!(", {}", ident(column)))
            }
        };
        let measures = if self.is_probability {
            let positives = "sum(CASE WHEN label > 0 THEN 1 ELSE 0 END)";
            let auc = match column {
                Some(_) => "CAST(NULL AS DOUBLE)".to_owned(),
                None => format!(
                    "(sum(CASE WHEN label > 0 THEN icecore_rank END) - {positives} * \
                     ({positives} + 1) / 2.0) / nullif({positives} * (count(*) - {positives}), 0)"
                ),
            };
            format!(
                ", {positives} AS positives, \
                 -avg(CASE WHEN label > 0 THEN ln(greatest(prediction, 1e-15)) \
                 ELSE ln(greatest(1 - prediction, 1e-15)) END) AS log_loss, {auc} AS auc"
            )
        } else {
            String::new()
        };
        format!(
            "SELECT role, model_version, {} AS grouped_by, {value} AS value, count(*) AS rows, \
             avg(prediction) AS mean_prediction, avg(label) AS mean_label, \
             avg(prediction) - avg(label) AS calibration_gap, \
             avg(abs(prediction - label)) AS mae, \
             avg((prediction - label) * (prediction - label)) AS mse{measures} \
             FROM ranked GROUP BY role, model_version{by}",
            text(name)
        )
    }
}

/// Prediction, outcome and the values of the features at the moment of the prediction, in one
/// query. A prediction from one view keeps that row's moment; of several views, each gives the
/// newest row that there was.
fn with_features(
    definitions: &Definitions,
    spec: &ScoringSpec,
    (table, keys): (&TableName, &[String]),
) -> Result<String> {
    let is_stored = spec.view.is_some() && spec.entities.is_none();
    let date = ident(&spec.date_column);
    let (mut columns, mut joins) = (String::new(), String::new());
    for (at, name) in spec.views().into_iter().enumerate() {
        let view = definitions.view(name)?;
        for feature in view.feature_names().iter().filter(|name| !is_on_demand(view, name)) {
            let shown = ident(&format!("{name}__{feature}"));
            columns.push_str(&format!(", v{at}.{} AS {shown}", ident(feature)));
        }
        let (source, moment) = (quoted(feature_source(view)?), ident(&view.event_timestamp));
        let own = |key: &String| ident(spec.keys.get(key).unwrap_or(key));
        let of_view = definitions.join_keys(view)?;
        let equal = |alias: &str| {
            let pairs =
                of_view.iter().map(|key| format!("p.{} = {alias}.{}", own(key), ident(key)));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        if is_stored {
            joins.push_str(&format!(
                " LEFT JOIN {source} AS v{at} ON {} AND v{at}.{moment} = p.feature_timestamp",
                equal(&format!("v{at}"))
            ));
            continue;
        }
        let prefixed = |name: &String| format!("p.{}", ident(name));
        let keys: Vec<String> = keys.iter().map(prefixed).collect();
        let named = keys.iter().enumerate().map(|(at, key)| format!("{key} AS icecore_key_{at}"));
        let same = keys.iter().enumerate().map(|(n, key)| format!("{key} = v{at}.icecore_key_{n}"));
        joins.push_str(&format!(
            " LEFT JOIN (SELECT {}, p.{date} AS icecore_date, r.* FROM {} AS p JOIN {source} AS r \
             ON {} AND r.{moment} <= p.event_timestamp QUALIFY row_number() OVER \
             (PARTITION BY {}, p.{date} ORDER BY r.{moment} DESC) = 1) AS v{at} \
             ON {} AND p.{date} = v{at}.icecore_date",
            named.collect::<Vec<_>>().join(", "),
            quoted(table),
            equal("r"),
            keys.join(", "),
            same.collect::<Vec<_>>().join(" AND "),
        ));
    }
    Ok(format!("SELECT p.*{columns} FROM {} AS p{joins}", quoted(table)))
}
