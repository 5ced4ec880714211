//! Looking for parameters: every combination, or some drawn by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use icecore_core::{Error, ParamValue, Result, Trainer, TrainingSet};
use rayon::prelude::*;

use crate::arithmetic::mix_pair;
use crate::cross_validation::{CvResult, cross_validate_on};
use crate::metrics::Measure;
use crate::split::Split;

/// The most combinations that are tried.
const TRIALS_MAX: usize = 10_000;

/// Parameters by name.
pub type Params = BTreeMap<String, ParamValue>;

/// The values that each parameter may have.
pub type Space = BTreeMap<String, Vec<ParamValue>>;

/// Every combination of the values: the last parameter by name changes fastest.
///
/// # Errors
///
/// `InvalidInput` if a parameter has no value; `LimitExceeded` if there are more than 10,000.
pub fn grid(space: &Space) -> Result<Vec<Params>> {
    let count = combinations(space)?;
    if count > TRIALS_MAX as u128 {
        return Err(Error::new(
            icecore_core::ErrorKind::LimitExceeded,
            format!("{count} combinations are more than {TRIALS_MAX}"),
        )
        .with_help("draw some of them: set `trials`"));
    }
    Ok((0..count).map(|number| combination(space, number)).collect())
}

/// Different combinations of the values, as many as there are or as are asked for, drawn by the
/// seed.
///
/// # Errors
///
/// `InvalidInput` if a parameter has no value, or no draw or more than 10,000 are asked for.
pub fn draw(space: &Space, trials: usize, seed: u64) -> Result<Vec<Params>> {
    let count = combinations(space)?;
    if trials == 0 || trials > TRIALS_MAX {
        return Err(Error::invalid(format!("{trials} trials"))
            .with_help(format!("ask for 1 to {TRIALS_MAX}")));
    }
    if count <= trials as u128 {
        return grid(space);
    }
    let mut drawn = BTreeSet::new();
    let mut order = Vec::with_capacity(trials);
    let mut number = 0_u64;
    while order.len() < trials {
        let high = u128::from(mix_pair(seed, number)) << 64;
        let place = (high | u128::from(mix_pair(!seed, number))) % count;
        if drawn.insert(place) {
            order.push(place);
        }
        number += 1;
    }
    Ok(order.into_iter().map(|place| combination(space, place)).collect())
}

fn combinations(space: &Space) -> Result<u128> {
    let mut count = 1_u128;
    for (name, values) in space {
        if values.is_empty() {
            return Err(Error::invalid(format!("parameter `{name}` has no value to try"))
                .with_help("give a list of at least one"));
        }
        count = count.saturating_mul(values.len() as u128);
    }
    Ok(count)
}

fn combination(space: &Space, mut number: u128) -> Params {
    let mut params = Params::new();
    for (name, values) in space.iter().rev() {
        let count = values.len() as u128;
        params.insert(name.clone(), values[(number % count) as usize].clone());
        number /= count;
    }
    params
}

/// One combination with what it is worth.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// The parameters that were tried, those that stay the same left out.
    pub params: Params,
    /// What the folds say.
    pub result: CvResult,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchResult {
    /// All trials, in the order of the candidates.
    pub trials: Vec<Trial>,
    /// The number of the best one; of equal ones, the first.
    pub best: usize,
}

/// Cross-validates each of the candidates, several at a time; `trainer` makes the trainer of one.
///
/// # Errors
///
/// `InvalidInput` if there is no candidate or one has a parameter that the algorithm does not
/// have; as [`cross_validate_on`].
pub fn search(
    trainer: &dyn Fn(&Params) -> Result<Arc<dyn Trainer>>,
    candidates: &[Params],
    set: &TrainingSet,
    (splits, measure): (&[Split], Measure),
) -> Result<SearchResult> {
    let trainers = candidates.iter().map(trainer).collect::<Result<Vec<_>>>()?;
    let trials: Vec<Trial> = trainers
        .par_iter()
        .zip(candidates)
        .map(|(trainer, params)| {
            let result = cross_validate_on(&**trainer, set, splits, Some(measure))?;
            Ok(Trial { params: params.clone(), result })
        })
        .collect::<Result<_>>()?;
    let best = (0..trials.len()).reduce(|best, next| {
        let mean = |at: usize| trials[at].result.mean;
        if measure.is_better(mean(next), mean(best)) { next } else { best }
    });
    let best = best.ok_or_else(|| Error::invalid("there is no combination to try"))?;
    Ok(SearchResult { trials, best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::stratified_k_fold;
    use crate::tests::churn;

    fn space() -> Space {
        let ints = |values: &[i64]| values.iter().map(|value| ParamValue::Int(*value)).collect();
        BTreeMap::from([
            ("max_depth".to_owned(), ints(&[1, 3])),
            ("n_estimators".to_owned(), ints(&[2, 20, 40])),
        ])
    }

    #[test]
    fn a_grid_has_every_combination_and_a_draw_some_of_them() {
        let all = grid(&space()).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(all[1]["max_depth"], ParamValue::Int(1));
        assert_eq!(all[1]["n_estimators"], ParamValue::Int(20));
        let drawn = draw(&space(), 4, 9).unwrap();
        assert_eq!(drawn, draw(&space(), 4, 9).unwrap());
        assert!(drawn.iter().all(|params| all.contains(params)));
        assert!((0..4).all(|a| (0..a).all(|b| drawn[a] != drawn[b])));
        assert_eq!(draw(&space(), 100, 9).unwrap(), all);
        assert!(draw(&space(), 0, 9).is_err());
        let none = BTreeMap::from([("x".to_owned(), Vec::new())]);
        assert_eq!(grid(&none).unwrap_err().to_string(), "parameter `x` has no value to try");
    }

    #[test]
    fn the_best_combination_is_found_whatever_the_order_of_rows() {
        let set = churn(1_500, 50);
        let found = |set: &TrainingSet| {
            let splits = stratified_k_fold(set, 3).unwrap();
            let candidates = grid(&space()).unwrap();
            let on = (&splits[..], Measure::LogLoss);
            search(&|given| crate::trainer("gbdt", given), &candidates, set, on).unwrap()
        };
        let result = found(&set);
        assert_eq!(result.trials[result.best].params["max_depth"], ParamValue::Int(3));
        let means: Vec<f64> = result.trials.iter().map(|trial| trial.result.mean).collect();
        assert!(means.iter().all(|mean| *mean >= means[result.best]), "{means:?}");
        let order = (0..1_500).map(|row| row * 7 % 1_500);
        let order = arrow::array::UInt64Array::from_iter_values(order);
        assert_eq!(found(&set.take(&order).unwrap()), result);
        let wrong = vec![BTreeMap::from([("max_dept".to_owned(), ParamValue::Int(1))])];
        let splits = stratified_k_fold(&set, 3).unwrap();
        let error = search(
            &|given| crate::trainer("gbdt", given),
            &wrong,
            &set,
            (&splits, Measure::RocAuc),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "algorithm `gbdt` has no parameter `max_dept`");
    }
}
