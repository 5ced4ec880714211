//! Looking for parameters: every combination, or some drawn by a seed.

mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use icecore_core::{Error, ErrorKind, ParamValue, Result, Trainer, TrainingSet};
use rayon::prelude::*;

use crate::arithmetic::mix_pair;
use crate::cross_validation::{CvResult, cross_validate_on};
use crate::metrics::Measure;
use crate::split::Split;

pub use space::{Range, Values};

/// The most combinations that are tried.
const TRIALS_MAX: usize = 10_000;
/// So often is a draw repeated that gave a combination anew.
const DRAWS_MAX: usize = 100;

/// Parameters by name.
pub type Params = BTreeMap<String, ParamValue>;

/// The values that each parameter may have.
pub type Space = BTreeMap<String, Values>;

/// Every combination of the values: the last parameter by name changes fastest.
///
/// # Errors
///
/// `InvalidInput` if a parameter has no value, or a range has no end of them; `LimitExceeded` if
/// there are more than 10,000.
pub fn grid(space: &Space) -> Result<Vec<Params>> {
    let count = combinations(space)?;
    let Some(count) = count else {
        let endless = |values: &Values| values.count().is_none();
        let name = space.iter().find(|(_, values)| endless(values)).map_or("", |(name, _)| name);
        return Err(Error::invalid(format!("the range of `{name}` has no end of values"))
            .with_help("draw some of them: set `trials`; or give the range a `step`"));
    };
    if count > TRIALS_MAX as u128 {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
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
    let Some(count) = count else { return Ok(draw_from_ranges(space, trials, seed)) };
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

/// Draws each parameter by itself, where a range has no end of values. A combination that was drawn
/// before is drawn anew, but not for ever: a narrow range of whole numbers may have no other.
fn draw_from_ranges(space: &Space, trials: usize, seed: u64) -> Vec<Params> {
    let mut drawn: Vec<Params> = Vec::with_capacity(trials);
    let mut seen = BTreeSet::new();
    for number in 0..trials.saturating_mul(DRAWS_MAX) as u64 {
        if drawn.len() == trials {
            break;
        }
        let of_trial = mix_pair(seed, number);
        let params: Params = (0_u64..)
            .zip(space)
            .map(|(at, (name, values))| (name.clone(), values.draw(mix_pair(of_trial, at))))
            .collect();
        let text: Vec<String> = params.values().map(ToString::to_string).collect();
        if seen.insert(text) {
            drawn.push(params);
        }
    }
    drawn
}

/// How many combinations there are; none where there is no end of them.
fn combinations(space: &Space) -> Result<Option<u128>> {
    let mut count = Some(1_u128);
    for (name, values) in space {
        values.check(name)?;
        count = count.zip(values.count()).map(|(all, of)| all.saturating_mul(of));
    }
    Ok(count)
}

fn combination(space: &Space, mut number: u128) -> Params {
    let mut params = Params::new();
    for (name, values) in space.iter().rev() {
        let count = values.count().unwrap_or(1).max(1);
        params.extend(values.at(number % count).map(|value| (name.clone(), value)));
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
    /// What the folds say; nothing where one failed.
    pub result: Option<CvResult>,
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
/// `ended` is told of each by its number when it has ended. One that fails takes nothing from the
/// others.
///
/// # Errors
///
/// `InvalidInput` if there is no candidate or one has a parameter that the algorithm does not
/// have; as [`cross_validate_on`] of the first candidate if all of them failed.
pub fn search(
    trainer: &dyn Fn(&Params) -> Result<Arc<dyn Trainer>>,
    candidates: &[Params],
    set: &TrainingSet,
    (splits, measure): (&[Split], Measure),
    ended: &(dyn Fn(usize, &Params, &Result<CvResult>) + Sync),
) -> Result<SearchResult> {
    let trainers = candidates.iter().map(trainer).collect::<Result<Vec<_>>>()?;
    let results: Vec<Result<CvResult>> = trainers
        .par_iter()
        .zip(candidates)
        .enumerate()
        .map(|(number, (trainer, params))| {
            let result = cross_validate_on(&**trainer, set, splits, Some(measure));
            ended(number, params, &result);
            result
        })
        .collect();
    let (mut trials, mut first_error) = (Vec::with_capacity(results.len()), None);
    for (params, result) in candidates.iter().zip(results) {
        let result = result.map_err(|error| first_error.get_or_insert(error)).ok();
        trials.push(Trial { params: params.clone(), result });
    }
    let means = trials.iter().map(|trial| trial.result.as_ref().map(|result| result.mean));
    let best = means
        .enumerate()
        .filter_map(|(at, mean)| Some((at, mean?)))
        .reduce(|best, next| if measure.is_better(next.1, best.1) { next } else { best });
    match (best, first_error) {
        (Some((best, _)), _) => Ok(SearchResult { trials, best }),
        (None, Some(error)) => {
            Err(error.with_note(format!("all {} combinations failed", candidates.len())))
        }
        (None, None) => Err(Error::invalid("there is no combination to try")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::stratified_k_fold;
    use crate::tests::churn;

    fn space() -> Space {
        let ints = |values: &[i64]| {
            Values::List(values.iter().map(|value| ParamValue::Int(*value)).collect())
        };
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
        let none = BTreeMap::from([("x".to_owned(), Values::List(Vec::new()))]);
        assert_eq!(grid(&none).unwrap_err().to_string(), "parameter `x` has no value to try");
    }

    #[test]
    fn the_best_combination_is_found_whatever_the_order_of_rows() {
        let set = churn(1_500, 50);
        let found = |set: &TrainingSet| {
            let splits = stratified_k_fold(set, 3).unwrap();
            let candidates = grid(&space()).unwrap();
            let on = (&splits[..], Measure::LogLoss);
            search(&|given| crate::trainer("gbdt", given), &candidates, set, on, &|_, _, _| ())
                .unwrap()
        };
        let result = found(&set);
        assert_eq!(result.trials[result.best].params["max_depth"], ParamValue::Int(3));
        let means = result.trials.iter().map(|trial| trial.result.as_ref().unwrap().mean);
        let means: Vec<f64> = means.collect();
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
            &|_, _, _| (),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "algorithm `gbdt` has no parameter `max_dept`");
    }

    #[test]
    fn a_trial_that_fails_takes_nothing_from_the_others() {
        let set = churn(600, 51);
        let splits = stratified_k_fold(&set, 2).unwrap();
        let monotone = |sign: &str| BTreeMap::from([("monotone".to_owned(), sign.into())]);
        let name = set.features().schema().field(0).name().clone();
        let candidates = [monotone("+nope"), monotone(&format!("+{name}")), monotone("-nope")];
        let told = std::sync::Mutex::new(Vec::new());
        let on = (&splits[..], Measure::LogLoss);
        let tried = |candidates: &[Params]| {
            search(
                &|given| crate::trainer("gbdt", given),
                candidates,
                &set,
                on,
                &|number, _, of| {
                    told.lock().unwrap().push((number, of.is_ok()));
                },
            )
        };
        let found = tried(&candidates).unwrap();
        assert_eq!(found.best, 1);
        assert!(found.trials[0].result.is_none() && found.trials[1].result.is_some());
        let mut seen = std::mem::take(&mut *told.lock().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, [(0, false), (1, true), (2, false)]);
        let error = tried(&[candidates[0].clone(), candidates[2].clone()]).unwrap_err();
        assert_eq!(error.to_string(), "a parameter names the feature `nope`");
        assert!(error.notes().iter().any(|note| note == "all 2 combinations failed"));
    }

    #[test]
    fn ranges_are_drawn_within_their_ends_and_by_their_steps() {
        let range = |text: &str| serde_json::from_str::<Values>(text).unwrap();
        let space = BTreeMap::from([
            ("a".to_owned(), range(r#"{"low": 0.001, "high": 1.0, "log": true}"#)),
            ("b".to_owned(), range(r#"{"low": 3, "high": 9}"#)),
            ("c".to_owned(), range(r#"{"low": 0.5, "high": 1.0, "step": 0.25}"#)),
            ("d".to_owned(), range(r#"["x", "y"]"#)),
            ("e".to_owned(), range(r#"{"low": 1, "high": 1000, "log": true}"#)),
        ]);
        let drawn = draw(&space, 400, 7).unwrap();
        assert_eq!(drawn, draw(&space, 400, 7).unwrap());
        assert_ne!(drawn, draw(&space, 400, 8).unwrap());
        assert_eq!(drawn.len(), 400);
        let floats = |name: &str| -> Vec<f64> {
            drawn.iter().map(|params| params[name].as_float().unwrap()).collect()
        };
        assert!(floats("a").iter().all(|a| (0.001..=1.0).contains(a)));
        // As many of each third of the logarithm.
        let small = floats("a").iter().filter(|a| **a < 0.01).count();
        assert!((90..180).contains(&small), "{small}");
        let small = floats("e").iter().filter(|e| **e < 10.0).count();
        assert!((90..190).contains(&small), "{small}");
        assert!(drawn.iter().all(|params| matches!(params["b"], ParamValue::Int(3..=9))));
        assert!(drawn.iter().all(|params| matches!(params["e"], ParamValue::Int(1..=1000))));
        assert!(floats("c").iter().all(|c| [0.5, 0.75, 1.0].contains(c)));
        let different: BTreeSet<String> = drawn.iter().map(|p| format!("{p:?}")).collect();
        assert_eq!(different.len(), 400);

        assert!(grid(&space).unwrap_err().to_string().contains("the range of `a`"));
        let ended: Space = space.into_iter().filter(|(name, _)| "bcd".contains(name)).collect();
        assert_eq!(grid(&ended).unwrap().len(), 7 * 3 * 2);
        // There are but three, and no more are found.
        let few = BTreeMap::from([("e".to_owned(), range(r#"{"low":1,"high":3,"log":true}"#))]);
        assert_eq!(draw(&few, 50, 1).unwrap().len(), 3);
        for wrong in [
            r#"{"low": 3, "high": 1}"#,
            r#"{"low": 0, "high": 1, "log": true}"#,
            r#"{"low": 1, "high": 2, "step": 0}"#,
            r#"{"low": 1.0, "high": 2, "step": 0.1, "log": true}"#,
            r#"{"low": "a", "high": 2}"#,
        ] {
            let space = BTreeMap::from([("e".to_owned(), range(wrong))]);
            assert!(draw(&space, 5, 1).is_err(), "{wrong}");
        }
    }
}
