//! What a model loses when a feature's values change places.

use arrow::array::{RecordBatch, UInt64Array};
use icecore_core::{Error, Model, Result, TrainingSet};
use rayon::prelude::*;

use crate::arithmetic::mix_pair;
use crate::canonical::canonical_order;
use crate::columns;
use crate::metrics::Measure;
use crate::preprocess;

/// The importance of each input: how much worse the measure becomes, in the mean of `repeats`
/// shuffles of its values among the rows (Breiman, "Random forests", 2001).
///
/// The shuffles go by the seed and the order of the rows by their ids, so that the result does not
/// depend on the order in which they come.
///
/// # Errors
///
/// `InvalidInput` if there is no repeat, the rows lack an input, or the measure is not defined.
pub fn permutation_importance(
    model: &dyn Model,
    set: &TrainingSet,
    measure: Measure,
    (repeats, seed): (u64, u64),
) -> Result<Vec<f64>> {
    let undefined = || Error::invalid(format!("`{}` of these rows is not defined", measure.name()));
    if repeats == 0 {
        return Err(Error::invalid("no shuffle tells nothing").with_help("give at least 1"));
    }
    let labels = set.labels().values();
    let order = canonical_order(&columns::rough(set)?, labels, set.row_ids().values());
    let order = UInt64Array::from_iter_values(order.into_iter().map(|row| row as u64));
    let set = set.take(&order)?;
    let whole = measure.of(model, &set)?.ok_or_else(undefined)?;
    let names = model.signature().inputs.iter().map(|input| input.name.clone());
    names
        .collect::<Vec<String>>()
        .into_par_iter()
        .enumerate()
        .map(|(input, name)| {
            let schema = set.features().schema();
            let at = schema.index_of(&name)?;
            let mut lost = 0.0;
            for repeat in 0..repeats {
                let key = mix_pair(mix_pair(seed, input as u64), repeat);
                let mut rows: Vec<u64> = (0..set.rows() as u64).collect();
                rows.sort_unstable_by_key(|row| (mix_pair(key, *row), *row));
                let rows = UInt64Array::from(rows);
                let mut arrays = set.features().columns().to_vec();
                arrays[at] = arrow::compute::take(&arrays[at], &rows, None)?;
                let features = RecordBatch::try_new(schema.clone(), arrays)?;
                let shuffled = preprocess::with_features(&set, features)?;
                let score = measure.of(model, &shuffled)?.ok_or_else(undefined)?;
                lost += if measure.greater_is_better() { whole - score } else { score - whole };
            }
            Ok(lost / repeats as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{churn, make, params};

    #[test]
    fn what_matters_is_missed() {
        let set = churn(3_000, 60);
        let model = make("gbdt", &params([("n_estimators", 30.0)])).fit(&set).unwrap();
        let of = |set: &TrainingSet| {
            permutation_importance(&*model, set, Measure::RocAuc, (3, 1)).unwrap()
        };
        let importance = of(&set);
        assert!(importance[0] > 0.02 && importance[1] > 0.02, "{importance:?}");
        assert!(importance[3].abs() < 0.02 && importance[4] == 0.0, "{importance:?}");
        let order = UInt64Array::from_iter_values((0..3_000).map(|row| row * 7 % 3_000));
        assert_eq!(of(&set.take(&order).unwrap()), importance);
        assert!(permutation_importance(&*model, &set, Measure::RocAuc, (0, 1)).is_err());
    }

    #[test]
    fn a_ranking_is_measured_within_its_groups() {
        let groups = UInt64Array::from_iter_values((0..2_000).map(|row| row / 10));
        let set = churn(2_000, 61).with_groups(groups).unwrap();
        let mut given = params([("n_estimators", 20.0)]);
        given.insert("objective".to_owned(), "lambdarank".into());
        let model = make("gbdt", &given).fit(&set).unwrap();
        let importance = permutation_importance(&*model, &set, Measure::Ndcg(10), (2, 1)).unwrap();
        assert!(importance[0] > 0.005 && importance[4] == 0.0, "{importance:?}");
    }
}
