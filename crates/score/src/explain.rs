//! Why a prediction is what it is: the features that produced it, and what each of them added.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use icecore_core::{
    Date, Error, ErrorKind, Model, OutputKind, Prediction, Result, SnapshotCatalog,
    SnapshotSelector,
};
use icecore_engine::Engine;
use icecore_features::Definitions;

use crate::plan::{FEATURE_TIMESTAMP, ScorePlan};
use crate::rows::{Whose, entity, open};
use crate::sql::{ident, literal, table_sql};
use crate::{Missing, ScoringSpec};

/// What is known of how one stored prediction came about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScoreExplanation {
    /// The features that the model saw, in its order: one row.
    pub row: RecordBatch,
    /// What the model reads, with what it added to the raw score; absent where the model has no
    /// contributions to give.
    pub inputs: Vec<ExplainedInput>,
    /// The raw score over all training rows, which contributions are added to.
    pub expected: Option<f64>,
    /// The prediction, computed again from those features; absent where there is none to make.
    pub prediction: Option<f64>,
}

/// What a model reads of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedInput {
    /// Its name.
    pub name: String,
    /// Its view, where a view gives it.
    pub view: Option<String>,
    /// What it added to the raw score.
    pub contribution: Option<f64>,
}

/// The stored predictions of an entity over some dates, the oldest first.
///
/// # Errors
///
/// `NotFound` if there is no prediction table.
pub async fn predictions_of(
    engine: &Engine,
    spec: &ScoringSpec,
    key: &BTreeMap<String, String>,
    (from, to): (Option<Date>, Option<Date>),
) -> Result<RecordBatch> {
    let pin = engine.catalog().pin(&spec.table, &SnapshotSelector::Latest).await?;
    let schema = engine.catalog().schema(&pin).await?;
    let mut conditions = Vec::new();
    for (column, value) in key {
        let field = schema.field_with_name(column).map_err(|_| {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            Error::not_found(format!("`{}` has no column `{column}`", spec.table))
                .with_candidates(column, names)
        })?;
        conditions.push(format!("{} = {}", ident(column), literal(value, field.data_type())));
    }
    let date = ident(&spec.date_column);
    conditions.extend(from.map(|from| format!("{date} >= DATE '{from}'")));
    conditions.extend(to.map(|to| format!("{date} <= DATE '{to}'")));
    let query = format!(
        "SELECT * FROM {} WHERE {} ORDER BY {date}",
        table_sql(&pin),
        conditions.join(" AND ")
    );
    engine.sql(&query, &[pin]).await?.concat().await
}

/// Reads the features that a plan gave an entity, from the states that it read, and computes the
/// prediction and the contributions again (C114).
///
/// # Errors
///
/// `NotFound` if the plan scored no such entity, or if what it read has expired.
pub async fn explain_score(
    engine: &Engine,
    definitions: &Definitions,
    plan: &ScorePlan,
    model: &dyn Model,
    key: &BTreeMap<String, String>,
) -> Result<ScoreExplanation> {
    let entity = entity(plan, key)?;
    let rows = open(engine, definitions, plan, Whose::One(&entity)).await?;
    let rows = rows.concat().await?;
    if rows.num_rows() == 0 {
        let named = entity.iter().map(|(name, value)| format!("{name}={value}"));
        let named = named.collect::<Vec<_>>().join(" ");
        return Err(Error::not_found(format!("`{}` scored no `{named}`", plan.scoring)));
    }
    // A query may name an entity several times; its rows are scored alike where they are alike.
    let row = rows.slice(0, 1);
    let known = row.column_by_name(FEATURE_TIMESTAMP).is_some_and(|moment| moment.is_valid(0));
    let is_predicted = known || plan.missing == Missing::Score;
    let (prediction, class) = predicted(model, &row)?;
    let contributions = match model.predict_as(&row, Prediction::Contributions) {
        Ok(values) => numbers(&values)?,
        Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
        Err(error) => return Err(error),
    };
    let inputs = &model.signature().inputs;
    let of_class = contributions.chunks(inputs.len() + 1).nth(class).unwrap_or_default();
    let view = |name: &str| {
        let has = |view: &&crate::PlannedView| view.features.iter().any(|feature| feature == name);
        plan.views.iter().find(has).map(|view| view.name.clone())
    };
    let explained = inputs.iter().enumerate().map(|(at, input)| ExplainedInput {
        name: input.name.clone(),
        view: view(&input.name),
        contribution: of_class.get(at).copied(),
    });
    Ok(ScoreExplanation {
        inputs: explained.collect(),
        expected: of_class.get(inputs.len()).copied(),
        prediction: is_predicted.then_some(prediction),
        row,
    })
}

/// The prediction of one row, and the class that it is of.
fn predicted(model: &dyn Model, row: &RecordBatch) -> Result<(f64, usize)> {
    let values = numbers(&model.predict(row)?)?;
    let none = || Error::internal("the model gave no prediction");
    if model.signature().output != OutputKind::Classes {
        return Ok((values.first().copied().ok_or_else(none)?, 0));
    }
    let best = (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a });
    let best = best.ok_or_else(none)?;
    Ok((values[best], best))
}

fn numbers(values: &ArrayRef) -> Result<Vec<f64>> {
    let values = match values.data_type() {
        DataType::FixedSizeList(..) => values.as_fixed_size_list().values(),
        _ => values,
    };
    let numbers = values
        .as_primitive_opt::<Float64Type>()
        .ok_or_else(|| Error::internal(format!("the model gave {}", values.data_type())))?;
    Ok(numbers.values().to_vec())
}
