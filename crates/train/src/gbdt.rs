//! Gradient-boosted trees: histograms of integers, so that the model is a function of the rows.
//!
//! Values are binned by quantiles of the whole column, gradients are rounded to fixed point, and
//! everything that is summed over rows is an integer: neither the order of the rows nor the number
//! of threads can change a bit. Rows are sampled by the hash of their id.

mod bins;
mod boost;
mod grow;
mod histogram;
mod objective;
mod shard;
mod split_search;

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_core::{Error, ErrorKind, Model, Result, Trainer, TrainingSet};

use crate::ParamValue;
use crate::columns;
use crate::forest::TreeScorer;
use crate::model::{FittedModel, Header, Scorer};
use crate::params::{ParamReader, positive_to};
use crate::tree::TREES_MAX;
use boost::boost;
use objective::LogLoss;

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "gbdt";

/// What the booster is told.
#[derive(Debug, Clone)]
pub(crate) struct BoostParams {
    trees: usize,
    max_depth: usize,
    learning_rate: f64,
    subsample: f64,
    colsample: f64,
    min_samples_leaf: i64,
    max_bins: usize,
    l2: f64,
    min_gain: f64,
    seed: u64,
}

/// Learns gradient-boosted trees with the log-loss of two classes.
#[derive(Debug, Clone)]
pub(crate) struct GbdtTrainer {
    params: BoostParams,
    threads: usize,
    effective: BTreeMap<String, String>,
}

impl GbdtTrainer {
    pub(crate) fn new(given: &BTreeMap<String, ParamValue>) -> Result<Self> {
        let mut read = ParamReader::new(ALGORITHM, given);
        let params = BoostParams {
            trees: read.int("n_estimators", 100, 1..=TREES_MAX as i64) as usize,
            max_depth: read.int("max_depth", 5, 1..=12) as usize,
            learning_rate: read.float("learning_rate", 0.1, positive_to(1.0)),
            subsample: read.float("subsample", 1.0, positive_to(1.0)),
            colsample: read.float("colsample", 1.0, positive_to(1.0)),
            min_samples_leaf: read.int("min_samples_leaf", 20, 1..=i64::from(u32::MAX)),
            max_bins: read.int("max_bins", 255, 2..=255) as usize,
            l2: read.float("l2", 0.0, 0.0..=1e9),
            min_gain: read.float("min_gain", 0.0, 0.0..=1e9),
            seed: read.int("seed", 0, 0..) as u64,
        };
        let threads = read.threads();
        Ok(Self { params, threads, effective: read.finish()? })
    }

    fn fit_here(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        let header = Header::new(ALGORITHM, &self.effective, set)?;
        let labels = columns::binary_labels(set)?;
        if labels.len() > u32::MAX as usize {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{} rows are more than `{ALGORITHM}` can number", labels.len()),
            )
            .with_help("sample the spine"));
        }
        let features = columns::features(set)?;
        let ensemble = boost(&self.params, &LogLoss, &features, (labels, set.row_ids().values()));
        let scorer = Scorer::Trees(TreeScorer::new(ensemble, features.len()));
        Ok(Arc::new(FittedModel { header, scorer }))
    }
}

impl Trainer for GbdtTrainer {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.effective.clone()
    }

    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        crate::pool::with_threads(self.threads, || self.fit_here(set))
    }
}

#[cfg(test)]
mod tests;
