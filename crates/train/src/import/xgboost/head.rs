//! What tells whether a model can be read.

use icecore_core::{Error, Result};
use serde::Deserialize;

use super::super::unsupported;
use super::number;

/// The parts of a file that are read where the whole cannot be.
#[derive(Deserialize)]
pub(super) struct Head {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    learner_model_param: Param,
    gradient_booster: Booster,
}

#[derive(Deserialize)]
struct Booster {
    #[serde(default)]
    model: Model,
}

#[derive(Deserialize, Default)]
struct Model {
    #[serde(default)]
    trees: Vec<HeadOfTree>,
}

#[derive(Deserialize)]
struct HeadOfTree {
    #[serde(default)]
    tree_param: TreeParam,
}

#[derive(Deserialize)]
pub(super) struct Param {
    pub(super) base_score: String,
    pub(super) num_class: String,
    pub(super) num_feature: String,
    num_target: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct TreeParam {
    size_leaf_vector: Option<String>,
}

impl Head {
    /// Refuses what has no counterpart here.
    pub(super) fn check(&self) -> Result<()> {
        let trees = self.learner.gradient_booster.model.trees.iter();
        check(&self.learner.learner_model_param, trees.map(|tree| &tree.tree_param))
    }
}

/// Refuses models of several targets, and trees that give several numbers at once.
pub(super) fn check<'a>(
    param: &Param,
    mut trees: impl Iterator<Item = &'a TreeParam>,
) -> Result<()> {
    let above_one =
        |text: Option<&String>| text.map_or(Ok(1), |text| number(text)).map(|count| count > 1);
    if above_one(param.num_target.as_ref())? {
        return Err(several_targets());
    }
    let vectors = trees.try_fold(false, |found, tree| {
        above_one(tree.size_leaf_vector.as_ref()).map(|above| found || above)
    })?;
    if vectors {
        return Err(unsupported("trees whose leaves are of several outputs")
            .with_help("train it with `multi_strategy=\"one_output_per_tree\"`"));
    }
    Ok(())
}

fn several_targets() -> Error {
    unsupported("a model of several targets")
        .with_help("train one model of each target, label or quantile, and import each")
}
