//! Fitting: the split, the folds, the model on all rows, and what they are worth.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use icecore_core::{Error, Model, OutputKind, Result, TrainingSet};
use icecore_dataset::LoadedSet;
use icecore_train::metrics::{self, Measure};
use icecore_train::split;
use icecore_train::{cross_validate_on, learning_curve, model_hash};
use serde_json::json;

use super::pictures;
use super::recipe::Recipe;

/// Training rows that a learning curve is drawn from.
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
pub(super) fn fit(recipe: &Recipe, loaded: &LoadedSet) -> Result<Fitted> {
    let set = &loaded.set;
    let trainer = recipe.trainer()?;
    let mut scores = BTreeMap::new();
    scores.insert("training_row_count".to_owned(), set.rows() as f64);
    let labels = set.labels().values();
    if recipe.measure() == Measure::RocAuc {
        let positives = labels.iter().filter(|label| **label > 0.5).count();
        scores.insert("positive_class_rate".to_owned(), positives as f64 / set.rows() as f64);
    }
    let mut files = Vec::new();
    let mut watched = None;
    if let Some((training, held_out)) = recipe.held_out(loaded)? {
        let model = trainer.fit_watching(&training, &held_out)?;
        scores.extend(validate(recipe, &*model, &held_out)?);
        if let Some(rounds) = model.rounds() {
            scores.insert("val_rounds".to_owned(), rounds as f64);
        }
        files.extend(evaluation(&*model, &held_out)?);
        files.extend(learning(recipe, &*model, (&training, &held_out))?);
        watched = Some(model);
    }
    if recipe.is_cross_validated() {
        let measure = recipe.measure();
        let validated = cross_validate_on(&*trainer, set, &recipe.splits(loaded)?, Some(measure))?;
        let name = if measure == Measure::RocAuc { "auc" } else { measure.name() };
        scores.insert(format!("cv_{name}_mean"), validated.mean);
        scores.insert(format!("cv_{name}_std"), validated.std);
    }
    let model = recipe.final_model(set, watched.as_deref())?;
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
        rows: set.rows(),
        metrics: scores,
        signature,
        input_example: crate::rows::to_json(&set.features().slice(0, set.rows().min(5)))?,
        importance,
        files,
    })
}

fn validate(
    recipe: &Recipe,
    model: &dyn Model,
    held_out: &TrainingSet,
) -> Result<BTreeMap<String, f64>> {
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
    let mut scores = BTreeMap::from([("val_row_count".to_owned(), held_out.rows() as f64)]);
    for (name, measure) in measures {
        // A metric that is not defined, such as an AUC of one class, is not recorded.
        if let Some(score) = measure.of(model, held_out)? {
            scores.insert((*name).to_owned(), score);
        }
    }
    Ok(scores)
}

/// The loss after each round, on rows that were learned from and on others.
fn learning(
    recipe: &Recipe,
    model: &dyn Model,
    (training, held_out): (&TrainingSet, &TrainingSet),
) -> Result<Option<(String, String)>> {
    let measure = match model.signature().output {
        _ if recipe.ranks() => recipe.measure(),
        OutputKind::Value => Measure::Rmse,
        _ => Measure::LogLoss,
    };
    let training = sampled(training)?;
    let (learned, others) =
        (learning_curve(model, &training, measure)?, learning_curve(model, held_out, measure)?);
    if learned.len() < 2 {
        return Ok(None);
    }
    let picture = pictures::learning(measure.name(), [&learned, &others]);
    Ok(Some(("pictures/learning_curve.svg".to_owned(), picture)))
}

/// The rows of the least hashes, where there are many.
fn sampled(set: &TrainingSet) -> Result<TrainingSet> {
    let share = CURVE_ROWS as f64 / set.rows().max(1) as f64;
    if share >= 1.0 {
        return Ok(set.clone());
    }
    let ids = set.groups().unwrap_or(set.row_ids());
    set.take(&split::train_validation(ids, share, 0)?.validation)
}

/// What probabilities are worth at every threshold, as numbers and as pictures.
fn evaluation(model: &dyn Model, held_out: &TrainingSet) -> Result<Vec<(String, String)>> {
    if model.signature().output != OutputKind::Probability {
        return Ok(Vec::new());
    }
    let scores = model.predict(held_out.features())?;
    let scores = scores
        .as_primitive_opt::<Float64Type>()
        .ok_or_else(|| Error::internal(format!("the model gave {}", scores.data_type())))?
        .values();
    let labels = held_out.labels().values();
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
