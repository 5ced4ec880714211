//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::Result;

use super::feature::Feature;
use super::model::OnnxNode;
use crate::import::{ImportedScorer, build, corrupt, gains, unsupported};
use crate::tree::{Ensemble, Link, Node, Question, Side, Split, TREES_MAX, Tree};

/// The most classes of a model.
const CLASSES_MAX: usize = 1_000;
/// Nodes that a model may have, however few are in the file: a node there is one of each class that
/// its tree speaks about.
const NODES_MAX: usize = 1 << 21;
/// By how much sums of floats that are probabilities may be above one.
const ROUNDING: f64 = 1e-6;

/// The lists of a node.
struct Lists {
    tree_ids: Vec<i64>,
    node_ids: Vec<i64>,
    features: Vec<i64>,
    values: Vec<f64>,
    modes: Vec<String>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing_is_yes: Vec<i64>,
    /// The place of each node in these lists, by its tree and its number.
    places: BTreeMap<(i64, i64), usize>,
    /// What each leaf adds to each class.
    weights: BTreeMap<(i64, i64), Vec<(i64, f64)>>,
}

impl Lists {
    fn read(node: &OnnxNode, kind: &str) -> Result<Self> {
        let mut lists = Self {
            tree_ids: node.integers("nodes_treeids"),
            node_ids: node.integers("nodes_nodeids"),
            features: node.integers("nodes_featureids"),
            values: node.floats("nodes_values"),
            modes: node.texts("nodes_modes").to_vec(),
            yes: node.integers("nodes_truenodeids"),
            no: node.integers("nodes_falsenodeids"),
            missing_is_yes: node.integers("nodes_missing_value_tracks_true"),
            places: BTreeMap::new(),
            weights: BTreeMap::new(),
        };
        let count = lists.tree_ids.len();
        let lengths = [
            lists.node_ids.len(),
            lists.features.len(),
            lists.values.len(),
            lists.modes.len(),
            lists.yes.len(),
            lists.no.len(),
        ];
        let tracks = lists.missing_is_yes.len();
        if lengths.iter().any(|length| *length != count) || tracks != 0 && tracks != count {
            return Err(corrupt("its trees have lists of different lengths"));
        }
        for (place, key) in lists.tree_ids.iter().zip(&lists.node_ids).enumerate() {
            if lists.places.insert((*key.0, *key.1), place).is_some() {
                return Err(corrupt("a node of its trees is there twice"));
            }
        }
        let (trees, nodes) =
            (node.integers(&format!("{kind}_treeids")), node.integers(&format!("{kind}_nodeids")));
        let (ids, weights) =
            (node.integers(&format!("{kind}_ids")), node.floats(&format!("{kind}_weights")));
        if [nodes.len(), ids.len(), weights.len()].iter().any(|length| *length != trees.len()) {
            return Err(corrupt("its leaves have lists of different lengths"));
        }
        for (at, tree) in trees.iter().enumerate() {
            lists.weights.entry((*tree, nodes[at])).or_default().push((ids[at], weights[at]));
        }
        Ok(lists)
    }

    /// The trees, each with its number and its root: the node that no other leads to.
    fn roots(&self) -> Result<Vec<(i64, i64)>> {
        let mut led = BTreeSet::new();
        for (place, tree) in self.tree_ids.iter().enumerate() {
            if self.modes[place] != "LEAF" {
                led.extend([(*tree, self.yes[place]), (*tree, self.no[place])]);
            }
        }
        let roots: Vec<(i64, i64)> =
            self.places.keys().filter(|key| !led.contains(*key)).copied().collect();
        let is_one_each = roots.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let trees: BTreeSet<i64> = self.tree_ids.iter().copied().collect();
        if !is_one_each || roots.len() != trees.len() {
            return Err(corrupt("a tree in it has not one root"));
        }
        Ok(roots)
    }

    /// The trees of each class in turn. One that does not speak about a class is a leaf of zero.
    fn trees(&self, roots: &[(i64, i64)], ids: &[i64], table: &[Feature]) -> Result<Vec<Tree>> {
        let mut spoken: BTreeSet<(i64, i64)> = BTreeSet::new();
        let (mut nodes, mut weights) = (roots.len() * ids.len(), 0);
        for ((tree, _), adds) in &self.weights {
            spoken.extend(adds.iter().map(|(id, _)| (*tree, *id)));
            weights += adds.len();
        }
        let all = |tree: i64| (tree, i64::MIN)..=(tree, i64::MAX);
        let mut sizes = Vec::with_capacity(roots.len());
        for (tree, _) in roots {
            let size = self.places.range(all(*tree)).count();
            nodes = nodes.saturating_add(size.saturating_mul(spoken.range(all(*tree)).count()));
            sizes.push(size);
        }
        if nodes > NODES_MAX + 8 * (self.places.len() + weights) {
            return Err(unsupported("so many trees of so many classes"));
        }
        let mut trees = Vec::with_capacity(roots.len() * ids.len());
        for (root, size) in roots.iter().zip(sizes) {
            for id in ids {
                trees.push(if spoken.contains(&(root.0, *id)) {
                    self.tree(*root, (*id, size), table)?
                } else {
                    Tree::constant(0.0)
                });
            }
        }
        Ok(trees)
    }

    /// One tree of so many nodes, whose leaves say what they add to a class.
    fn tree(
        &self,
        (tree, root): (i64, i64),
        (class, nodes): (i64, usize),
        table: &[Feature],
    ) -> Result<Tree> {
        build(root, nodes, |number| {
            let place = self.places.get(&(tree, number)).copied();
            let at = place.ok_or_else(|| corrupt("a node of its trees is not there"))?;
            if self.modes[at] == "LEAF" {
                let adds = self.weights.get(&(tree, number)).map(Vec::as_slice).unwrap_or_default();
                let value = adds.iter().filter(|(id, _)| *id == class).map(|(_, adds)| adds).sum();
                return Ok((Node::Leaf(value), 0.0, 0.0, [0, 0]));
            }
            let feature = usize::try_from(self.features[at]).ok().and_then(|at| table.get(at));
            let feature = feature.ok_or_else(|| corrupt("a split's feature is not there"))?;
            let threshold = self.values[at];
            if threshold.is_nan() {
                return Err(corrupt("a threshold in it is none"));
            }
            let moved = match self.modes[at].as_str() {
                "BRANCH_LEQ" => feature.ask(|value| value <= threshold),
                "BRANCH_LT" => feature.ask(|value| value < threshold),
                "BRANCH_GTE" => feature.ask(|value| value >= threshold),
                "BRANCH_GT" => feature.ask(|value| value > threshold),
                mode => return Err(unsupported(&format!("trees that ask `{mode}`"))),
            };
            let tracks = self.missing_is_yes.get(at).is_some_and(|tracks| *tracks == 1);
            let missing_is_yes = moved.missing.unwrap_or(tracks);
            let missing =
                if missing_is_yes == moved.yes_is_below { Side::Left } else { Side::Right };
            let question = Question::AtMost(moved.threshold);
            let feature = feature.number as u32;
            let split = Split { feature, question, missing, left: 0, right: 0 };
            let (yes, no) = (self.yes[at], self.no[at]);
            let children = if moved.yes_is_below { [yes, no] } else { [no, yes] };
            Ok((Node::Split(split), 0.0, 0.0, children))
        })
    }
}

pub(super) fn read(node: &OnnxNode, table: &[Feature], features: usize) -> Result<ImportedScorer> {
    let is_class = node.op == "TreeEnsembleClassifier";
    let lists = Lists::read(node, if is_class { "class" } else { "target" })?;
    let roots = lists.roots()?;
    if roots.len() > TREES_MAX {
        return Err(unsupported("so many trees"));
    }
    let bases = node.floats("base_values");
    let transform = node.text("post_transform", "NONE");
    let shape =
        if is_class { classes(node, &lists, &transform)? } else { numbers(node, &transform)? };
    let bases: Vec<f64> = shape
        .ids
        .iter()
        .map(|id| bases.get(*id as usize).or(bases.first()).copied().unwrap_or(0.0))
        .collect();
    if bases.iter().any(|base| !base.is_finite()) {
        return Err(corrupt("its base values are no numbers"));
    }
    let mut trees = lists.trees(&roots, &shape.ids, table)?;
    let link = shape.meaning(&trees, &bases)?;
    let count = roots.len().max(1) as f64;
    // Averages are shares of the sum; votes are divided by their number later.
    let factor = match (link, shape.averages) {
        (Link::Mean, false) => count,
        (Link::Mean, true) | (_, false) => 1.0,
        (_, true) => 1.0 / count,
    };
    for tree in &mut trees {
        tree.scale(factor);
    }
    let gains = gains(&trees, features);
    Ok(ImportedScorer::Trees(Ensemble { link, bases, trees, gains }))
}

/// What sums over trees mean.
struct Shape {
    link: Link,
    /// What they mean where they should be probabilities and are none.
    raw: Option<Link>,
    /// The classes or targets that are summed.
    ids: Vec<i64>,
    averages: bool,
}

impl Shape {
    fn meaning(&self, trees: &[Tree], bases: &[f64]) -> Result<Link> {
        let is_raw = matches!(self.link, Link::Mean | Link::Shares)
            && !bases.iter().enumerate().all(|(output, base)| {
                let of_output = trees.iter().skip(output).step_by(bases.len());
                are_probabilities(*base, of_output)
            });
        match (is_raw, self.raw) {
            (false, _) => Ok(self.link),
            (true, Some(raw)) => Ok(raw),
            (true, None) => Err(unsupported("raw scores of classes, which are no probabilities")
                .with_help("convert the model so that it gives probabilities: no `raw_scores`")),
        }
    }
}

/// Whether all sums of a leaf of each tree lie between zero and one. ONNX Runtime takes no others
/// for probabilities: where anything is negative, the first class has the negative score.
fn are_probabilities<'t>(base: f64, trees: impl Iterator<Item = &'t Tree>) -> bool {
    let (mut least, mut sum) = (base, base);
    for tree in trees {
        least = tree.leaf_values().fold(least, f64::min);
        sum += tree.leaf_values().fold(0.0, f64::max);
    }
    least >= 0.0 && sum <= 1.0 + ROUNDING
}

fn classes(node: &OnnxNode, lists: &Lists, transform: &str) -> Result<Shape> {
    let labels =
        node.integers("classlabels_int64s").len().max(node.texts("classlabels_strings").len());
    if !(2..=CLASSES_MAX).contains(&labels) {
        return Err(unsupported("a model of one class, or of so many"));
    }
    let mut ids: Vec<i64> = lists.weights.values().flatten().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.iter().any(|id| *id < 0 || *id as usize >= labels) {
        return Err(corrupt("a class of its leaves is not there"));
    }
    let shape = |link, ids| Shape { link, raw: None, ids, averages: false };
    match (labels, ids.len(), transform) {
        // Leaves that say one number speak for the second class.
        (2, 0 | 1, "LOGISTIC") => {
            Ok(shape(Link::Logistic, vec![ids.first().copied().unwrap_or(0)]))
        }
        (2, 0 | 1, "NONE") => {
            let shape = shape(Link::Mean, vec![ids.first().copied().unwrap_or(0)]);
            Ok(Shape { raw: Some(Link::Identity), ..shape })
        }
        (2, 2, "NONE") => Ok(shape(Link::Mean, vec![1])),
        (_, _, "SOFTMAX") => Ok(shape(Link::Softmax, (0..labels as i64).collect())),
        (_, _, "NONE") => Ok(shape(Link::Shares, (0..labels as i64).collect())),
        (_, _, other) => Err(unsupported(&format!("{labels} classes by `{other}`"))),
    }
}

fn numbers(node: &OnnxNode, transform: &str) -> Result<Shape> {
    if node.integer("n_targets", 1) != 1 {
        return Err(unsupported("a model of several numbers"));
    }
    let averages = match node.text("aggregate_function", "SUM").as_str() {
        "SUM" => false,
        "AVERAGE" => true,
        other => return Err(unsupported(&format!("trees of which the `{other}` counts"))),
    };
    let link = match transform {
        "NONE" => Link::Identity,
        "LOGISTIC" => Link::Logistic,
        other => return Err(unsupported(&format!("numbers by `{other}`"))),
    };
    Ok(Shape { link, raw: None, ids: vec![0], averages })
}
