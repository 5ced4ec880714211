//! Fitting: the split, the folds, the model on all rows, and what they are worth.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Schema};
use bytes::Bytes;
use icecore_core::{Error, Model, OutputKind, Result, TrainingSet, TrainingSource};
use icecore_train::metrics::{Measure, Scored};
use icecore_train::split::{self, By};
use icecore_train::{cross_validate_with, learning_curve, model_hash};

use super::children::Ended;
use super::evaluation;
use super::pictures;
use super::recipe::Recipe;
use super::rows::Rows;

/// Rows that a learning curve is drawn from, about.
const CURVE_ROWS: usize = 50_000;

/// What a fit gives.
pub(super) struct Fitted {
    pub(super) file: Bytes,
    pub(super) hash: String,
    pub(super) rows: usize,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) signature: serde_json::Value,
    pub(super) input_example: serde_json::Value,
    pub(super) importance: Vec<(String, f64)>,
    /// Files beside the model's, by their paths.
    pub(super) files: Vec<(String, String)>,
}

/// Validation split, cross-validation, and the final fit on all rows. `tell` hears of each fold.
pub(super) fn fit(recipe: &Recipe, rows: &Rows, tell: &(dyn Fn(Ended) + Sync)) -> Result<Fitted> {
    let trainer = recipe.trainer()?;
    let mut scores = BTreeMap::new();
    let count = rows.count();
    scores.insert("training_row_count".to_owned(), count as f64);
    if recipe.measure() == Measure::RocAuc {
        let rate = rows.positive_rate()?;
        scores.extend(rate.map(|rate| ("positive_class_rate".to_owned(), rate)));
    }
    let mut files = Vec::new();
    let mut watched = None;
    rows.divide(recipe, &mut |training, held_out| {
        let model = trainer.fit_source(training, Some(held_out))?;
        let predicted = Predicted::of(&*model, held_out)?;
        scores.extend(predicted.validate(recipe, &*model)?);
        if let Some(rounds) = model.rounds() {
            scores.insert("val_rounds".to_owned(), rounds as f64);
        }
        files.extend(predicted.evaluation(&*model)?);
        let share = CURVE_ROWS as f64 / count as f64;
        files.extend(learning(recipe, &*model, [training, held_out], share)?);
        watched = Some(model);
        Ok(())
    })?;
    if let (true, Rows::Loaded(loaded)) = (recipe.is_cross_validated(), rows) {
        let measure = recipe.measure();
        let splits = recipe.splits(loaded)?;
        let on = (&splits[..], Some(measure));
        let validated = cross_validate_with(&*trainer, &loaded.set, on, &|number, fold| {
            tell(Ended::fold(number, fold, measure));
        })?;
        let name = if measure == Measure::RocAuc { "auc" } else { measure.name() };
        scores.insert(format!("cv_{name}_mean"), validated.mean);
        scores.insert(format!("cv_{name}_std"), validated.std);
    }
    let model = recipe.final_model(rows, watched.as_deref())?;
    let file = Bytes::from(model.encode()?);
    let signature = serde_json::to_value(model.signature())
        .map_err(|error| Error::internal("cannot write the signature").with_source(error))?;
    let names = model.signature().inputs.iter().map(|column| column.name.clone());
    let mut importance: Vec<_> = names.zip(model.importance()).collect();
    importance.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    files.push(("pictures/importance.svg".to_owned(), pictures::importance(&importance)));
    Ok(Fitted {
        hash: model_hash(&file),
        file,
        rows: count,
        metrics: scores,
        signature,
        input_example: crate::rows::to_json(&rows.first_rows())?,
        importance,
        files,
    })
}

/// The loss after each round, on some of the rows that were learned from and of the others.
fn learning(
    recipe: &Recipe,
    model: &dyn Model,
    sides: [&dyn TrainingSource; 2],
    share: f64,
) -> Result<Option<(String, String)>> {
    let measure = match model.signature().output {
        OutputKind::Value => recipe.measure(),
        _ => Measure::LogLoss,
    };
    let [training, others] = sides.map(|side| -> Result<_> {
        learning_curve(model, &split::sample(side, By::Group, share)?, measure)
    });
    let (learned, others) = (training?, others?);
    if learned.len() < 2 {
        return Ok(None);
    }
    let picture = pictures::learning(measure.name(), [&learned, &others]);
    Ok(Some(("pictures/learning_curve.svg".to_owned(), picture)))
}

/// What a model makes of rows that validate, and their labels.
struct Predicted {
    predictions: ArrayRef,
    /// The rows, without their features.
    rows: TrainingSet,
}

impl Predicted {
    fn of(model: &dyn Model, source: &dyn TrainingSource) -> Result<Self> {
        let (mut predictions, mut parts) = (Vec::new(), Vec::new());
        source.read(&mut |part| {
            predictions.push(model.predict(part.features())?);
            parts.push(part.without_features()?);
            Ok(())
        })?;
        let arrays: Vec<&dyn Array> = predictions.iter().map(AsRef::as_ref).collect();
        let predictions = arrow::compute::concat(&arrays)?;
        let rows = TrainingSet::concat(&Arc::new(Schema::empty()), &parts)?;
        Ok(Self { predictions, rows })
    }

    fn validate(&self, recipe: &Recipe, model: &dyn Model) -> Result<BTreeMap<String, f64>> {
        let measures: &[Measure] = match model.signature().output {
            _ if recipe.ranks() => &[recipe.measure(), Measure::Map],
            // What the objective minimizes, and what numbers are compared by.
            OutputKind::Value => &[recipe.measure(), Measure::Rmse, Measure::Mae],
            OutputKind::Classes => &[Measure::LogLoss, Measure::Accuracy],
            _ => &[Measure::RocAuc, Measure::PrAuc, Measure::LogLoss, Measure::Brier],
        };
        let rows = self.rows.rows() as f64;
        let mut scores = BTreeMap::from([("val_row_count".to_owned(), rows)]);
        for measure in measures {
            let name = match measure {
                Measure::RocAuc => "auc_roc",
                Measure::PrAuc => "auc_pr",
                other => other.name(),
            };
            // A metric that is not defined, such as an AUC of one class, is not recorded.
            if let Some(score) = measure.of_predictions(&self.predictions, &self.rows)? {
                scores.insert(format!("val_{name}"), score);
            }
        }
        Ok(scores)
    }

    /// What predictions of classes are worth, as numbers and as pictures.
    fn evaluation(&self, model: &dyn Model) -> Result<Vec<(String, String)>> {
        let labels = self.rows.labels().values();
        let weights = self.rows.weights().map(|weights| &weights.values()[..]);
        let scored = |values| Scored::new(labels, values).with_weights(weights);
        match model.signature().output {
            OutputKind::Probability => {
                Ok(evaluation::thresholds(&scored(numbers(&self.predictions)?)))
            }
            OutputKind::Classes => {
                let lists = self.predictions.as_fixed_size_list_opt();
                let lists = lists.ok_or_else(|| no_numbers(&self.predictions))?;
                let classes = usize::try_from(lists.value_length()).unwrap_or(0);
                Ok(evaluation::classes(&scored(numbers(lists.values())?), classes))
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn numbers(predictions: &ArrayRef) -> Result<&[f64]> {
    let numbers = predictions.as_primitive_opt::<Float64Type>();
    Ok(numbers.ok_or_else(|| no_numbers(predictions))?.values())
}

fn no_numbers(predictions: &ArrayRef) -> Error {
    Error::internal(format!("the model gave {}", predictions.data_type()))
}
