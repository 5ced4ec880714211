//! The parameters of gradient boosting.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{Error, Result};

use super::ALGORITHM;
use super::grow::{Growth, Size};
use super::objective::Objective;
use super::ranking::Ranking;
use super::value::Penalties;
use crate::ParamValue;
use crate::params::{ParamReader, positive_to};
use crate::tree::TREES_MAX;

/// The most leaves of a tree.
const LEAVES_MAX: i64 = 65_536;
/// The most rows of a query that are looked at.
const RANKS_MAX: i64 = 1_000_000;
/// The deepest tree where levels do not limit it.
const DEPTH_MAX: i64 = 63;

/// What the booster is told.
#[derive(Debug, Clone)]
pub(crate) struct BoostParams {
    pub(super) objective: Objective,
    pub(super) trees: usize,
    pub(super) size: Size,
    pub(super) penalties: Penalties,
    pub(super) subsample: f64,
    pub(super) colsample: f64,
    pub(super) max_bins: usize,
    pub(super) seed: u64,
    /// Rounds without gain on the watched rows before learning stops; zero for never.
    pub(super) patience: usize,
    /// The share of rows that are watched where there are no others.
    pub(super) validation_fraction: f64,
    pub(super) is_balanced: bool,
    /// How often a positive row counts.
    pub(super) positive_weight: f64,
    pub(super) categorical: BTreeSet<String>,
    pub(super) monotone: BTreeMap<String, i8>,
}

/// Reads all parameters: what the booster is told, the threads, and every parameter with its
/// value.
pub(super) fn read(
    given: &BTreeMap<String, ParamValue>,
) -> Result<(BoostParams, usize, BTreeMap<String, String>)> {
    let mut read = ParamReader::new(ALGORITHM, given);
    let objective = read.choice("objective", "binary", &Objective::NAMES);
    let alpha = read.float("alpha", 0.5, 0.000_1..=0.999_9);
    let ranking = read_ranking(&mut read, &objective);
    let size = read_size(&mut read, given);
    let penalties = Penalties {
        l1: read.float("l1", 0.0, 0.0..=1e9),
        l2: read.float("l2", 0.0, 0.0..=1e9),
        cat_l2: read.float("cat_l2", 10.0, 0.0..=1e9),
        cat_smooth: read.float("cat_smooth", 10.0, 0.0..=1e9),
        min_gain: read.float("min_gain", 0.0, 0.0..=1e9),
        min_samples_leaf: read.int("min_samples_leaf", 20, 1..=i64::from(u32::MAX)),
        learning_rate: read.float("learning_rate", 0.1, positive_to(1.0)),
    };
    let params = BoostParams {
        objective: Objective::named(&objective, alpha, ranking),
        trees: read.int("n_estimators", 100, 1..=TREES_MAX as i64) as usize,
        size,
        penalties,
        subsample: read.float("subsample", 1.0, positive_to(1.0)),
        colsample: read.float("colsample", 1.0, positive_to(1.0)),
        max_bins: read.int("max_bins", 255, 2..=255) as usize,
        seed: read.int("seed", 0, 0..) as u64,
        patience: read.int("early_stopping_rounds", 0, 0..=TREES_MAX as i64) as usize,
        validation_fraction: read.float("validation_fraction", 0.1, 0.001..=0.9),
        is_balanced: read.choice("class_weight", "none", &["none", "balanced"]) == "balanced",
        positive_weight: read.float("scale_pos_weight", 1.0, positive_to(1e6)),
        categorical: names(&read.text("categorical")),
        monotone: BTreeMap::new(),
    };
    let monotone = directions(&read.text("monotone"));
    let threads = read.threads();
    let mut effective = read.finish()?;
    // What says nothing where it is not given is left out, so that models of before stay equal.
    for name in ["categorical", "monotone"] {
        if effective.get(name).is_some_and(String::is_empty) {
            effective.remove(name);
        }
    }
    let params = BoostParams { monotone: monotone?, ..params };
    params.check()?;
    Ok((params, threads, effective))
}

/// How rows are ranked; nobody but `lambdarank` has these parameters.
fn read_ranking(read: &mut ParamReader<'_>, objective: &str) -> Ranking {
    let mut ranking = Ranking { truncation: 30, ndcg_at: 10 };
    if objective == "lambdarank" {
        ranking.truncation = read.int("truncation", 30, 1..=RANKS_MAX) as usize;
        ranking.ndcg_at = read.int("ndcg_at", 10, 1..=RANKS_MAX) as usize;
    }
    ranking
}

fn read_size(read: &mut ParamReader<'_>, given: &BTreeMap<String, ParamValue>) -> Size {
    // Who says how many leaves there are means trees that grow by leaves.
    let by_leaf = given.contains_key("num_leaves");
    let growth = read.choice("growth", if by_leaf { "leaf" } else { "level" }, &["level", "leaf"]);
    let growth = if growth == "leaf" { Growth::Leaf } else { Growth::Level };
    let (depth, leaves) = match growth {
        Growth::Level => (5, LEAVES_MAX),
        Growth::Leaf => (DEPTH_MAX, 31),
    };
    Size {
        growth,
        max_depth: read.int("max_depth", depth, 1..=DEPTH_MAX) as usize,
        max_leaves: read.int("num_leaves", leaves, 2..=LEAVES_MAX) as usize,
    }
}

impl BoostParams {
    fn check(&self) -> Result<()> {
        let has_classes = self.objective.has_classes();
        if self.is_balanced && !has_classes {
            return Err(Error::invalid("`class_weight` is `balanced`, but there are no classes")
                .with_help("leave it out, or set `objective` to `binary` or `multiclass`"));
        }
        if self.positive_weight != 1.0 && self.objective != Objective::LogLoss {
            return Err(Error::invalid("`scale_pos_weight` is for two classes only")
                .with_help("leave it out, or set `objective` to `binary`"));
        }
        if self.is_balanced && self.positive_weight != 1.0 {
            return Err(Error::invalid("`class_weight` and `scale_pos_weight` say two things")
                .with_help("give one of them"));
        }
        if self.objective == Objective::Softmax && !self.monotone.is_empty() {
            return Err(Error::invalid("`monotone` is not for `multiclass`").with_help(
                "the probabilities of classes sum to one, so that they cannot all rise: leave it \
                 out, or set `objective` to `binary` for the class that matters",
            ));
        }
        if let Some(name) = self.monotone.keys().find(|name| self.categorical.contains(*name)) {
            return Err(Error::invalid(format!(
                "`{name}` is both in `categorical` and in `monotone`"
            ))
            .with_help("categories have no order that a prediction could follow"));
        }
        Ok(())
    }
}

/// Names between commas.
fn names(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Names between commas, each after a plus or a minus.
fn directions(text: &str) -> Result<BTreeMap<String, i8>> {
    let mut directions = BTreeMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (direction, name) = match (item.strip_prefix('+'), item.strip_prefix('-')) {
            (Some(name), _) => (1, name.trim()),
            (_, Some(name)) => (-1, name.trim()),
            _ => {
                return Err(Error::invalid(format!("`monotone` has `{item}`")).with_help(
                    "give names with their signs, such as `monotone = \"+txn_count, -balance\"`",
                ));
            }
        };
        if directions.insert(name.to_owned(), direction).is_some() {
            return Err(Error::invalid(format!("`monotone` names `{name}` twice"))
                .with_help("give each feature one sign"));
        }
    }
    Ok(directions)
}
