//! What a model was worth after each of its rounds.

use icecore_core::{Model, Result, TrainingSet};

use crate::file::decode;
use crate::metrics::Measure;

/// A curve has about so many points.
const POINTS: usize = 40;

/// The measure of a boosted model after some of its rounds, the last among them: pairs of a number of
/// rounds and the measure. Empty where the model did not learn in rounds, or the measure is not
/// defined for the rows.
///
/// # Errors
///
/// `InvalidInput` if the rows lack an input.
pub fn learning_curve(
    model: &dyn Model,
    set: &TrainingSet,
    measure: Measure,
) -> Result<Vec<(usize, f64)>> {
    let model = decode(&model.encode()?)?;
    let mut curve = Vec::new();
    for (rounds, predictions) in model.after_rounds(set.features(), POINTS)? {
        match measure.of_predictions(&predictions, set)? {
            Some(score) => curve.push((rounds, score)),
            None => return Ok(Vec::new()),
        }
    }
    Ok(curve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{churn, make, params, regression};

    #[test]
    fn the_curve_ends_where_the_model_does() {
        let (set, other) = (churn(2_000, 71), churn(1_000, 72));
        let mut classes = params([("n_estimators", 50.0)]);
        classes.insert("objective".to_owned(), "multiclass".into());
        for given in [params([("n_estimators", 90.0)]), classes] {
            let model = make("gbdt", &given).fit(&set).unwrap();
            let curve = learning_curve(&*model, &other, Measure::LogLoss).unwrap();
            let last = *curve.last().unwrap();
            assert_eq!(Some(last.0), model.rounds());
            let whole = Measure::LogLoss.of(&*model, &other).unwrap().unwrap();
            assert!((last.1 - whole).abs() < 1e-12, "{last:?} {whole}");
            assert!(curve.len() > 20 && curve[0].1 > last.1, "{curve:?}");
        }
        let forest = make("random_forest", &params([("n_estimators", 5.0)])).fit(&set).unwrap();
        assert!(learning_curve(&*forest, &set, Measure::LogLoss).unwrap().is_empty());
        let mut numbers = params([("n_estimators", 7.0)]);
        numbers.insert("objective".to_owned(), "squared".into());
        let set = regression(500, 3);
        let model = make("gbdt", &numbers).fit(&set).unwrap();
        assert_eq!(learning_curve(&*model, &set, Measure::Rmse).unwrap().len(), 7);
    }
}
