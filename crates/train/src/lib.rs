//! Training that can be rebuilt bit for bit: gradient boosting, baselines, splits, metrics, model
//! files.
//!
//! A model's bytes depend on the rows, the parameters and the seed, and on nothing else: not on
//! the order of rows, not on batches or files, not on the number of threads. Sums over rows are
//! sums of integers, or are taken in an order that the rows themselves define. The one exception is
//! [smartcore](https://docs.rs/smartcore), which fits linear and logistic regressions and support
//! vector machines: its logarithms and exponentials are those of the platform, so these are the same
//! on one platform, not across all. Scores are the same bits everywhere.
//!
//! # Algorithms and their parameters
//!
//! `gbdt`, gradient-boosted trees, grown from histograms:
//!
//! | parameter | default | range | what it does |
//! |---|---|---|---|
//! | `objective` | `binary` | | `binary`, `multiclass`, `squared`, `absolute`, `quantile`, `poisson`, `lambdarank`: the order of the rows of a group |
//! | `alpha` | 0.5 | 0.0001 to 0.9999 | the quantile of `quantile` |
//! | `truncation` | 30 | 1 to 1000000 | of `lambdarank`: only pairs count of which one row is among so many first ones |
//! | `ndcg_at` | 10 | 1 to 1000000 | of `lambdarank`: so many first rows are measured, to stop early |
//! | `n_estimators` | 100 | 1 to 65536 | trees, or trees of each class |
//! | `growth` | `level` | | `level`, or `leaf`: always the leaf that gains most |
//! | `max_depth` | 5, by leaf 63 | 1 to 63 | splits on the way to a leaf |
//! | `num_leaves` | 31 by leaf | 2 to 65536 | leaves of a tree; giving it means `growth = "leaf"` |
//! | `learning_rate` | 0.1 | above 0 to 1 | the share of each tree's step that is taken |
//! | `subsample` | 1 | above 0 to 1 | the share of rows that a tree sees, chosen by the hash of their ids |
//! | `colsample` | 1 | above 0 to 1 | the share of features that a tree sees |
//! | `min_samples_leaf` | 20 | from 1 | rows that a leaf has at least, counted exactly |
//! | `max_bins` | 255 | 2 to 255 | bins of a feature; fewer distinct values get one each |
//! | `l1`, `l2` | 0 | 0 to 1e9 | penalties on the values of leaves |
//! | `min_gain` | 0 | 0 to 1e9 | what a split gains at least |
//! | `early_stopping_rounds` | 0 | 0 to 65536 | rounds that may bring nothing on rows that are not learned from; 0 for any number |
//! | `validation_fraction` | 0.1 | 0.001 to 0.9 | the share of such rows, chosen by the hash of their ids, where none are given |
//! | `class_weight` | `none` | | `balanced` makes classes count alike |
//! | `scale_pos_weight` | 1 | above 0 to 1e6 | how often a positive row counts |
//! | `monotone` | | | features that the prediction rises or falls with, not for `multiclass`: `+txn_count, -balance` |
//! | `categorical` | | | numeric features that are categories; text always is |
//! | `cat_smooth`, `cat_l2` | 10 | 0 to 1e9 | how cautiously categories are divided |
//! | `seed` | 0 | from 0 | which rows and features are sampled |
//!
//! `logistic_regression`, on standardized features, where a missing value counts as the mean and
//! has a weight of its own, and an infinite one is missing: `l2` (1, from 0 to 1e9).
//!
//! `random_forest` and `extra_trees`, regression trees: `objective` (`binary`, or `squared` for
//! numbers), `n_estimators` (100), `max_depth` (12, to 32), `min_samples_leaf` (5), `max_features`
//! (features that a split chooses from; 0, the default, for the square root of their number), `seed`
//! (0).
//!
//! `linear_regression`: `solver` (`svd`, or `qr`); `ridge`: `l2` (1); `lasso`: `alpha` (1), `max_iter` (1000); `elastic_net`:
//! `alpha` (1), `l1_ratio` (0.5), `max_iter` (1000). On standardized features, as for
//! `logistic_regression`; penalties are those of scikit-learn.
//!
//! `gaussian_nb`: `var_smoothing` (1e-9); `bernoulli_nb`: `alpha` (1), `binarize` (0, above which a
//! value is one). A missing value says nothing.
//!
//! `knn_classifier`, `knn_regressor`, on standardized features, a missing value at the mean:
//! `n_neighbors` (5), `weights` (`uniform` or `distance`).
//!
//! `svc`, on standardized features, a missing value at the mean, probabilities by Platt scaling: `c`
//! (1), `kernel` (`rbf`, `linear`, `poly`), `gamma` (0, for one over the number of features),
//! `degree` (3), `epochs` (5), `seed` (0). `svr`: `c`, `gamma`, `epsilon` (0.1). At most 20,000 rows.
//!
//! Each of them also takes `threads` (0, for the pool of the caller), which changes no model and
//! is not written down. Missing values need no preparation: what to do with them is fitted with
//! the model. Where they should be treated otherwise, or features scaled, binned or encoded, steps of
//! preprocessing come before any algorithm: see [`pipeline`] and [`StepSpec`].
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, UInt64Array};
//! use arrow::datatypes::{DataType, Field, Float64Type, Schema};
//! use icecore_core::TrainingSet;
//! use icecore_train::{ParamValue, decode_model, metrics, trainer};
//!
//! # fn main() -> icecore_core::Result<()> {
//! let schema = Schema::new(vec![Field::new("txn_count_30d", DataType::Int64, true)]);
//! let counts = Int64Array::from_iter((0..1_000).map(|row| (row % 7 > 0).then_some(row % 40)));
//! let labels = Float64Array::from_iter_values((0..1_000).map(|row| f64::from(row % 40 < 9)));
//! let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(counts)])?;
//! let set = TrainingSet::new(rows, labels, UInt64Array::from_iter_values(0..1_000))?;
//!
//! let params = BTreeMap::from([("n_estimators".to_owned(), ParamValue::Int(20))]);
//! let model = trainer("gbdt", &params)?.fit(&set)?;
//! let model = decode_model(&model.encode()?)?;
//!
//! let churn = model.predict(set.features())?;
//! let churn = churn.as_primitive::<Float64Type>();
//! let auc = metrics::roc_auc(set.labels().values(), churn.values());
//! assert!(auc.is_some_and(|auc| auc > 0.85));
//! # Ok(())
//! # }
//! ```

mod arithmetic;
mod bayes;
mod canonical;
mod categories;
mod columns;
mod cross_validation;
mod design;
mod difference;
mod divide;
mod exact;
mod export;
mod file;
mod fit;
mod forest;
mod gbdt;
mod import;
mod kernel;
mod learning_curve;
mod linear;
mod logistic;
pub mod metrics;
mod model;
mod neighbors;
mod params;
mod permutation;
mod pool;
mod preprocess;
mod random_forest;
mod regression;
mod scorer;
pub mod search;
mod shap;
mod smart;
pub mod split;
mod statistics;
mod svm;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_core::{Error, Result, Trainer};

pub use cross_validation::{
    CvResult, Fold, cross_validate, cross_validate_on, cross_validate_with,
};
pub use difference::first_difference;
pub use export::{to_lightgbm, to_mlflow, to_onnx};
pub use file::{decode_model, model_hash};
pub use icecore_core::ParamValue;
pub use import::import_model;
pub use learning_curve::learning_curve;
pub use permutation::permutation_importance;
pub use preprocess::StepSpec;

/// The library that some algorithms are solved by, and its version.
pub const SOLVERS: &str = "smartcore 0.7.0";

/// The names of the algorithms.
pub const ALGORITHMS: [&str; 14] = [
    gbdt::ALGORITHM,
    logistic::ALGORITHM,
    random_forest::ALGORITHM,
    random_forest::EXTRA,
    regression::LINEAR,
    regression::RIDGE,
    regression::LASSO,
    regression::ELASTIC_NET,
    bayes::GAUSSIAN,
    bayes::BERNOULLI,
    neighbors::CLASSIFIER,
    neighbors::REGRESSOR,
    svm::CLASSIFIER,
    svm::REGRESSOR,
];

/// A trainer of this algorithm.
///
/// # Errors
///
/// `InvalidInput` if there is no such algorithm, or if it has no such parameter, or if a
/// parameter is out of its range; all mistakes at once.
pub fn trainer(algorithm: &str, params: &BTreeMap<String, ParamValue>) -> Result<Arc<dyn Trainer>> {
    pipeline(&[], algorithm, params)
}

/// A trainer of this algorithm whose rows first go through steps of preprocessing, which are fitted
/// with the model and kept in its file.
///
/// # Errors
///
/// As [`trainer`]; `InvalidInput` also if there is no such step, or if it has no such parameter.
pub fn pipeline(
    steps: &[StepSpec],
    algorithm: &str,
    params: &BTreeMap<String, ParamValue>,
) -> Result<Arc<dyn Trainer>> {
    let Some(name) = ALGORITHMS.into_iter().find(|name| *name == algorithm) else {
        return Err(Error::invalid(format!("there is no algorithm `{algorithm}`"))
            .with_candidates(algorithm, ALGORITHMS)
            .with_note(format!("algorithms: {}", ALGORITHMS.join(", "))));
    };
    let fit = match name {
        logistic::ALGORITHM => logistic::trainer(params),
        random_forest::ALGORITHM | random_forest::EXTRA => random_forest::trainer(name, params),
        regression::LINEAR | regression::RIDGE | regression::LASSO | regression::ELASTIC_NET => {
            regression::trainer(name, params)
        }
        bayes::GAUSSIAN | bayes::BERNOULLI => bayes::trainer(name, params),
        neighbors::CLASSIFIER | neighbors::REGRESSOR => neighbors::trainer(name, params),
        svm::CLASSIFIER | svm::REGRESSOR => svm::trainer(name, params),
        _ => gbdt::trainer(params),
    }?;
    let steps = steps.iter().map(preprocess::Step::new).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(fit.with_steps(steps)?))
}

#[cfg(test)]
mod tests;
