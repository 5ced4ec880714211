//! How well an algorithm learns, measured on rows that it has not seen.

use icecore_core::{Error, OutputKind, Result, Trainer, TrainingSet};
use rayon::prelude::*;

use crate::metrics::Measure;
use crate::split::{Split, stratified_k_fold};

/// Folds are fitted at the same time if their cells together are at most this many.
const CELLS_MAX: usize = 200_000_000;

/// The measure of each fold, such as the area under the ROC curve.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CvResult {
    /// One of each fold, in the order of the folds.
    pub scores: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over the folds as they are (divided by their number).
    pub std: f64,
    /// The rounds of learning of each fold's model, where it learned in rounds.
    pub rounds: Vec<usize>,
}

/// Fits a model to all folds but one and measures the area under the ROC curve on that one, for
/// each of the folds of [`stratified_k_fold`].
///
/// # Errors
///
/// `InvalidInput` if the rows cannot be divided so, if labels are other than zero and one, or if
/// the trainer refuses the rows.
pub fn cross_validate(trainer: &dyn Trainer, set: &TrainingSet, folds: usize) -> Result<CvResult> {
    cross_validate_on(trainer, set, &stratified_k_fold(set, folds)?, Some(Measure::RocAuc))
}

/// What one fold says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Fold {
    /// The measure of the rows that validate.
    pub score: f64,
    /// The rounds of learning, where the model learned in rounds.
    pub rounds: Option<usize>,
    /// How many rows were learned from.
    pub training_rows: usize,
    /// How many rows validated.
    pub validation_rows: usize,
}

/// Fits a model to the training rows of each split and measures it on the validation rows, which
/// it watches to stop early where the parameters say so. Without a measure, the usual one of the
/// model's output is taken.
///
/// # Errors
///
/// `InvalidInput` if there is no split, the trainer refuses the rows, or the measure is not
/// defined for a fold.
pub fn cross_validate_on(
    trainer: &dyn Trainer,
    set: &TrainingSet,
    splits: &[Split],
    measure: Option<Measure>,
) -> Result<CvResult> {
    cross_validate_with(trainer, set, (splits, measure), &|_, _| ())
}

/// As [`cross_validate_on`], and tells of each fold by its number when it has ended.
///
/// # Errors
///
/// As [`cross_validate_on`]. What ended before is told.
pub fn cross_validate_with(
    trainer: &dyn Trainer,
    set: &TrainingSet,
    (splits, measure): (&[Split], Option<Measure>),
    ended: &(dyn Fn(usize, &Result<Fold>) + Sync),
) -> Result<CvResult> {
    if splits.is_empty() {
        return Err(Error::invalid("there is no fold to validate on"));
    }
    let cells =
        set.rows().saturating_mul(set.features().num_columns()).saturating_mul(splits.len());
    let fold = |(number, split): (usize, &Split)| {
        let fold = fold(trainer, set, (split, measure));
        ended(number, &fold);
        fold
    };
    let folds: Vec<Fold> = if cells <= CELLS_MAX {
        splits.par_iter().enumerate().map(fold).collect::<Result<_>>()?
    } else {
        splits.iter().enumerate().map(fold).collect::<Result<_>>()?
    };
    let scores: Vec<f64> = folds.iter().map(|fold| fold.score).collect();
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / count;
    let rounds = folds.iter().filter_map(|fold| fold.rounds).collect();
    Ok(CvResult { mean, std: variance.sqrt(), scores, rounds })
}

fn fold(
    trainer: &dyn Trainer,
    set: &TrainingSet,
    (split, measure): (&Split, Option<Measure>),
) -> Result<Fold> {
    let (training, validation) = split.apply(set)?;
    let model = trainer.fit_watching(&training, &validation)?;
    let output: OutputKind = model.signature().output;
    let measure = measure.unwrap_or(Measure::usual(output));
    let score = measure.of(&*model, &validation)?.ok_or_else(|| {
        Error::invalid(format!("`{}` of a fold is not defined", measure.name()))
            .with_help(measure.wants(output, &validation))
    })?;
    let (training_rows, validation_rows) = (training.rows(), validation.rows());
    Ok(Fold { score, rounds: model.rounds(), training_rows, validation_rows })
}
