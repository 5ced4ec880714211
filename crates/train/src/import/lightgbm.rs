//! The text that LightGBM saves, of version 3 and 4 of its format.

mod pandas;

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::Result;

pub(super) use self::pandas::FEATURES_FIELD;
use self::pandas::{Pandas, Places, named};
use super::parse::Fields;
use super::{Imported, ImportedScorer, build, corrupt, gains, unsupported};
use crate::tree::{CATEGORIES_MAX, CategorySet, Ensemble, Link, Node, Question, Side, Split, Tree};

/// Bits of a split's decision type.
const IS_CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;

pub(super) fn read(text: &str) -> Result<Imported> {
    let (head, trees) = text.split_once("\nTree=").unwrap_or((text, ""));
    let head_lines = || head.lines();
    let fields = Fields::new(head_lines());
    let names: Vec<String> =
        fields.text("feature_names")?.split(' ').map(str::trim).map(str::to_owned).collect();
    if names.len().checked_sub(1) != Some(fields.one("max_feature_idx")?) {
        return Err(corrupt("it has another number of names than of features"));
    }
    let pandas = pandas::read(text, &fields, names.len())?;
    let objective = if fields.has("objective") { fields.text("objective")? } else { "regression" };
    let outputs: usize = fields.one("num_tree_per_iteration")?;
    if outputs == 0 {
        return Err(corrupt("it grows no tree at a time"));
    }
    let (link, factor) = meaning(objective)?;
    if (link == Link::Softmax) != (outputs > 1) || outputs > 1_000 {
        return Err(unsupported("a model of several outputs that are no classes"));
    }
    let blocks: Vec<&str> = match trees.split_once("\nend of trees") {
        Some((trees, _)) => trees.split("\nTree=").collect(),
        None if trees.is_empty() => Vec::new(),
        None => return Err(corrupt("its trees do not end")),
    };
    let trees: Vec<RawTree> = blocks.into_iter().map(RawTree::read).collect::<Result<_>>()?;
    let codes = codes(&trees, names.len(), &pandas)?;
    let (places, categories) = named(codes, &pandas)?;
    let mut trees: Vec<Tree> =
        trees.iter().map(|tree| tree.convert(names.len(), &places)).collect::<Result<_>>()?;
    // A random forest is the mean of its trees.
    let averages = head_lines().any(|line| line.trim() == "average_output");
    let share = if averages { (trees.len() / outputs).max(1) as f64 } else { 1.0 };
    for tree in &mut trees {
        scale_leaves(tree, factor / share);
    }
    let gains = gains(&trees, names.len());
    let ensemble = Ensemble { link, bases: vec![0.0; outputs], trees, gains };
    let params = vec![("objective", objective.to_owned())];
    let scorer = ImportedScorer::Trees(ensemble);
    Ok(Imported { format: "lightgbm", params, names, categories, steps: Vec::new(), scorer })
}

/// What the sum of trees means, and what it is multiplied with.
fn meaning(objective: &str) -> Result<(Link, f64)> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("regression");
    let rest: Vec<&str> = words.collect();
    let link = match name {
        "binary" | "cross_entropy" | "xentropy" => Link::Logistic,
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
        | "rank_xendcg" | "custom" => Link::Identity,
        "poisson" | "gamma" | "tweedie" => Link::Exp,
        "multiclass" => Link::Softmax,
        other => return Err(unsupported(&format!("the objective `{other}` of LightGBM"))),
    };
    if rest.contains(&"sqrt") {
        return Err(unsupported("a model of square roots (`reg_sqrt`)"));
    }
    let sigmoid = rest.iter().find_map(|word| word.strip_prefix("sigmoid:"));
    match sigmoid.map(str::parse::<f64>) {
        Some(Ok(factor)) if factor.is_finite() && factor > 0.0 => Ok((link, factor)),
        Some(_) => Err(corrupt("its sigmoid has no such factor")),
        None => Ok((link, 1.0)),
    }
}

fn scale_leaves(tree: &mut Tree, factor: f64) {
    for place in 0..tree.nodes().len() as u32 {
        if let Node::Leaf(value) = tree.node(place) {
            tree.set_leaf(place, value * factor);
        }
    }
}

/// The lists of one tree.
struct RawTree {
    leaves: Vec<f64>,
    leaf_counts: Vec<f64>,
    features: Vec<usize>,
    gains: Vec<f64>,
    thresholds: Vec<f64>,
    decisions: Vec<u8>,
    children: [Vec<i64>; 2],
    counts: Vec<f64>,
    set_ends: Vec<usize>,
    set_words: Vec<u32>,
}

impl RawTree {
    fn read(block: &str) -> Result<Self> {
        let fields = Fields::new(block.lines());
        if fields.has("is_linear") && fields.one::<u8>("is_linear")? != 0 {
            return Err(unsupported("trees with linear leaves"));
        }
        let tree = Self {
            leaves: fields.list("leaf_value")?,
            leaf_counts: fields.list("leaf_count")?,
            features: fields.list("split_feature")?,
            gains: fields.list("split_gain")?,
            thresholds: fields.list("threshold")?,
            decisions: fields.list("decision_type")?,
            children: [fields.list("left_child")?, fields.list("right_child")?],
            counts: fields.list("internal_count")?,
            set_ends: fields.list("cat_boundaries")?,
            set_words: fields.list("cat_threshold")?,
        };
        let leaves: usize = fields.one("num_leaves")?;
        let splits = leaves.saturating_sub(1);
        let lengths = [
            tree.features.len(),
            tree.thresholds.len(),
            tree.decisions.len(),
            tree.children[0].len(),
            tree.children[1].len(),
        ];
        if leaves == 0 || tree.leaves.len() != leaves || lengths.iter().any(|len| *len != splits) {
            return Err(corrupt("a tree in it has lists of different lengths"));
        }
        Ok(tree)
    }

    /// The categories that a split sends left.
    fn set(&self, split: usize) -> Result<impl Iterator<Item = u32>> {
        let number = self.thresholds[split];
        let bounds = (number >= 0.0)
            .then_some(number as usize)
            .and_then(|at| Some((*self.set_ends.get(at)?, *self.set_ends.get(at + 1)?)))
            .and_then(|(start, end)| self.set_words.get(start..end))
            .ok_or_else(|| corrupt("a set of categories in it is not there"))?;
        Ok(bounds.iter().enumerate().flat_map(|(word, bits)| {
            (0..32_u32)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| word as u32 * 32 + bit)
        }))
    }

    fn convert(&self, features: usize, categories: &Places) -> Result<Tree> {
        let root = if self.features.is_empty() { -1 } else { 0 };
        build(root, 2 * self.leaves.len(), |number| {
            if number < 0 {
                let leaf = usize::try_from(-(number + 1)).unwrap_or(usize::MAX);
                let value = *self.leaves.get(leaf).ok_or_else(|| corrupt("a leaf is not there"))?;
                let cover = self.leaf_counts.get(leaf).copied().unwrap_or(0.0);
                return Ok((Node::Leaf(value), cover, 0.0, [0, 0]));
            }
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            if self.features.get(at).is_none_or(|feature| *feature >= features) {
                return Err(corrupt("a split is not there, or its feature is not"));
            }
            let split = self.split(at, categories)?;
            let count = self.counts.get(at).copied().unwrap_or(0.0);
            let gain = self.gains.get(at).copied().unwrap_or(0.0);
            Ok((Node::Split(split), count, gain, [self.children[0][at], self.children[1][at]]))
        })
    }

    fn split(&self, at: usize, categories: &Places) -> Result<Split> {
        let (feature, threshold, decision) =
            (self.features[at], self.thresholds[at], self.decisions[at]);
        let (question, missing) = if decision & IS_CATEGORICAL == 0 {
            if threshold.is_nan() {
                return Err(corrupt("a threshold in it is no number"));
            }
            (Question::AtMost(threshold), missing(threshold, decision)?)
        } else {
            let mut set = CategorySet::default();
            for category in self.set(at)? {
                if let Some(place) = categories.get(&feature).and_then(|of| of.get(&category)) {
                    set.insert(*place);
                }
            }
            // What is missing or not in the set goes right.
            (Question::OneOf(set), Side::Right)
        };
        Ok(Split { feature: feature as u32, question, missing, left: 0, right: 0 })
    }
}

/// Where a missing value goes.
fn missing(threshold: f64, decision: u8) -> Result<Side> {
    let default = if decision & DEFAULT_LEFT == 0 { Side::Right } else { Side::Left };
    // Where a feature was never missing, a missing value counts as zero.
    let as_zero = if 0.0 <= threshold { Side::Left } else { Side::Right };
    match decision >> MISSING_SHIFT & 3 {
        0 => Ok(as_zero),
        2 => Ok(default),
        _ if default == as_zero => Ok(default),
        _ => Err(unsupported("a model in which zeros are missing (`zero_as_missing`)")),
    }
}

/// The numbers of categories that the splits of each feature name.
fn codes(
    trees: &[RawTree],
    features: usize,
    pandas: &Pandas,
) -> Result<BTreeMap<usize, BTreeSet<u32>>> {
    let mut named: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    let mut ordered = BTreeSet::new();
    for tree in trees {
        for (at, feature) in tree.features.iter().enumerate() {
            if *feature >= features {
                return Err(corrupt("a split's feature is not there"));
            }
            if tree.decisions[at] & IS_CATEGORICAL == 0 {
                ordered.insert(*feature);
                continue;
            }
            named.entry(*feature).or_default().extend(tree.set(at)?);
        }
    }
    if named.values().any(|set| set.len() > CATEGORIES_MAX) {
        return Err(unsupported("a feature with more than 254 categories"));
    }
    if named.keys().chain(pandas.keys()).any(|feature| ordered.contains(feature)) {
        return Err(corrupt("a feature is both a number and a category"));
    }
    Ok(named)
}
