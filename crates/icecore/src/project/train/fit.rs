//! Fitting: the split, the folds, the model on all rows, and what they are worth.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Schema};
use bytes::Bytes;
use icecore_core::{Error, Model, OutputKind, Result, TrainingSet, TrainingSource};
use icecore_train::metrics::{self, Measure};
use icecore_train::split::{self, By};
use icecore_train::{cross_validate_on, learning_curve, model_hash};
use serde_json::json;

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

/// Validation split, cross-validation, and the final fit on all rows.
pub(super) fn fit(recipe: &Recipe, rows: &Rows) -> Result<Fitted> {
    let trainer = recipe.trainer()?;
    let mut scores = BTreeMap::new();
    let count = rows.count();
    scores.insert("training_row_count".to_owned(), count as f64);
    if recipe.measure() == Measure::RocAuc {
        scores.insert("positive_class_rate".to_owned(), rows.positive() as f64 / count as f64);
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
        let validated = cross_validate_on(&*trainer, &loaded.set, &splits, Some(measure))?;
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
        _ if recipe.ranks() => recipe.measure(),
        OutputKind::Value => Measure::Rmse,
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
        let measures: &[(&str, Measure)] = match model.signature().output {
            _ if recipe.ranks() => &[("val_ndcg", recipe.measure()), ("val_map", Measure::Map)],
            OutputKind::Value => &[("val_rmse", Measure::Rmse), ("val_mae", Measure::Mae)],
            OutputKind::Classes => {
                &[("val_log_loss", Measure::LogLoss), ("val_accuracy", Measure::Accuracy)]
            }
            _ => &[
                ("val_auc_roc", Measure::RocAuc),
                ("val_auc_pr", Measure::PrAuc),
                ("val_log_loss", Measure::LogLoss),
                ("val_brier", Measure::Brier),
            ],
        };
        let rows = self.rows.rows() as f64;
        let mut scores = BTreeMap::from([("val_row_count".to_owned(), rows)]);
        for (name, measure) in measures {
            // A metric that is not defined, such as an AUC of one class, is not recorded.
            if let Some(score) = measure.of_predictions(&self.predictions, &self.rows)? {
                scores.insert((*name).to_owned(), score);
            }
        }
        Ok(scores)
    }

    /// What probabilities are worth at every threshold, as numbers and as pictures.
    fn evaluation(&self, model: &dyn Model) -> Result<Vec<(String, String)>> {
        if model.signature().output != OutputKind::Probability {
            return Ok(Vec::new());
        }
        let scores = &self.predictions;
        let scores = scores
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| Error::internal(format!("the model gave {}", scores.data_type())))?
            .values();
        let labels = self.rows.labels().values();
        let mut files = Vec::new();
        let mut add = |name: &str, text: String| files.push((name.to_owned(), text));
        if let Some(curve) = metrics::roc_curve(labels, scores) {
            add("pictures/roc.svg", pictures::roc(&curve));
        }
        if let Some(curve) = metrics::precision_recall_curve(labels, scores) {
            add("pictures/precision_recall.svg", pictures::precision_recall(&curve));
        }
        let bins = metrics::calibration(labels, scores, 10);
        if let Some(bins) = &bins {
            add("pictures/calibration.svg", pictures::calibration(bins));
        }
        let at = |tenth: i32| {
            let threshold = f64::from(tenth) / 10.0;
            json!({"threshold": threshold, "confusion": metrics::confusion(labels, scores, threshold)})
        };
        let lift = |top: f64| json!({"top": top, "lift": metrics::lift(labels, scores, top)});
        let lifts = [0.01, 0.05, 0.1, 0.2, 0.5].map(lift);
        let numbers = json!({
            "thresholds": (1..10).map(at).collect::<Vec<_>>(),
            "lift": lifts,
            "calibration": bins,
        });
        add("model/evaluation.json", format!("{numbers:#}\n"));
        Ok(files)
    }
}
