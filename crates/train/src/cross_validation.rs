//! How well an algorithm learns, measured on rows that it has not seen.

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use icecore_core::{Error, Result, Trainer, TrainingSet};
use rayon::prelude::*;

use crate::metrics::roc_auc;
use crate::split::{Split, stratified_k_fold};

/// Folds are fitted at the same time if their cells together are at most this many.
const CELLS_MAX: usize = 200_000_000;

/// The area under the ROC curve of each fold.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CvResult {
    /// One of each fold, in the order of the folds.
    pub scores: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over the folds as they are (divided by their number).
    pub std: f64,
}

/// Fits a model to all folds but one and measures it on that one, for each of the folds of
/// [`stratified_k_fold`].
///
/// # Errors
///
/// `InvalidInput` if the rows cannot be divided so, if labels are other than zero and one, or if
/// the trainer refuses the rows.
pub fn cross_validate(trainer: &dyn Trainer, set: &TrainingSet, folds: usize) -> Result<CvResult> {
    let splits = stratified_k_fold(set, folds)?;
    let cells = set.rows().saturating_mul(set.features().num_columns()).saturating_mul(folds);
    let score = |split: &Split| score(trainer, set, split);
    let scores: Vec<f64> = if cells <= CELLS_MAX {
        splits.par_iter().map(score).collect::<Result<_>>()?
    } else {
        splits.iter().map(score).collect::<Result<_>>()?
    };
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / count;
    Ok(CvResult { mean, std: variance.sqrt(), scores })
}

fn score(trainer: &dyn Trainer, set: &TrainingSet, split: &Split) -> Result<f64> {
    let (training, validation) = split.apply(set)?;
    let model = trainer.fit(&training)?;
    let predictions = model.predict(validation.features())?;
    let predictions = predictions.as_primitive::<Float64Type>().values();
    roc_auc(validation.labels().values(), predictions)
        .ok_or_else(|| Error::invalid("the ROC of a fold is not defined: labels are 0 and 1, both"))
}
