//! What each input adds to a prediction: exact Shapley values of trees.
//!
//! Lundberg, Erion and Lee, "Consistent individualized feature attribution for tree ensembles"
//! (arXiv 1802.03888), algorithm 2: a coalition of features sends a row down the ways of those it
//! knows, and down both ways of the others, by how many training rows went there. One walk of a
//! tree keeps count of all coalitions at once, in time of leaves times depth squared.

use crate::tree::{Ensemble, Link, Node, Tree};

/// Whether the trees know how many rows their nodes had.
pub(crate) fn is_possible(ensemble: &Ensemble) -> bool {
    ensemble.trees.iter().all(|tree| {
        let covered = |place: u32| tree.note(place).cover > 0.0;
        tree.leaves() == 1 || (0..tree.nodes().len() as u32).all(covered)
    })
}

/// The mean of the raw scores of each output, over the training rows.
pub(crate) fn expected(ensemble: &Ensemble) -> Vec<f64> {
    let share = share(ensemble);
    (0..ensemble.outputs())
        .map(|output| {
            let sum: f64 = ensemble.trees_of(output).map(mean).sum();
            ensemble.bases[output] + sum * share
        })
        .collect()
}

/// The values of one row: for each output, one of each input, and the expected raw score.
pub(crate) fn contributions(ensemble: &Ensemble, expected: &[f64], values: &[f64]) -> Vec<f64> {
    let share = share(ensemble);
    let width = values.len() + 1;
    let mut all = vec![0.0; width * ensemble.outputs()];
    for (output, of_output) in all.chunks_exact_mut(width).enumerate() {
        for tree in ensemble.trees_of(output) {
            let mut walk = Walk { tree, values, phi: of_output };
            walk.visit(0, &Path::default(), Taken { zero: 1.0, one: 1.0, feature: None });
        }
        for value in of_output.iter_mut() {
            *value *= share;
        }
        of_output[values.len()] = expected[output];
    }
    all
}

/// What a tree's leaf counts.
fn share(ensemble: &Ensemble) -> f64 {
    let trees = ensemble.trees.len().max(1) as f64;
    if ensemble.link == Link::Mean { 1.0 / trees } else { 1.0 }
}

/// The mean of the leaves over the rows that fell into them.
fn mean(tree: &Tree) -> f64 {
    let all = tree.note(0).cover;
    let leaf = |(place, node): (usize, &Node)| match node {
        Node::Leaf(value) if tree.nodes().len() == 1 => *value,
        Node::Leaf(value) => value * (tree.note(place as u32).cover / all),
        Node::Split(_) => 0.0,
    };
    tree.nodes().iter().enumerate().map(leaf).sum()
}

/// What was decided on the way to a node.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// The share of rows that come this way where the feature is not known.
    zero: f64,
    /// Whether the row comes this way where it is known.
    one: f64,
    feature: Option<u32>,
}

/// The features on the way, each once, with the weights of coalitions by their size.
#[derive(Debug, Clone, Default)]
struct Path {
    steps: Vec<Taken>,
    weights: Vec<f64>,
}

impl Path {
    fn extend(&mut self, taken: Taken) {
        let depth = self.steps.len();
        self.steps.push(taken);
        self.weights.push(if depth == 0 { 1.0 } else { 0.0 });
        let all = (depth + 1) as f64;
        for size in (0..depth).rev() {
            self.weights[size + 1] += taken.one * self.weights[size] * (size + 1) as f64 / all;
            self.weights[size] *= taken.zero * (depth - size) as f64 / all;
        }
    }

    /// Takes back what [`Self::extend`] did for the step at this place.
    fn unwind(&mut self, at: usize) {
        let depth = self.steps.len() - 1;
        let all = (depth + 1) as f64;
        let Taken { zero, one, .. } = self.steps[at];
        let mut next = self.weights[depth];
        for size in (0..depth).rev() {
            if one == 0.0 {
                self.weights[size] = self.weights[size] * all / (zero * (depth - size) as f64);
            } else {
                let before = self.weights[size];
                self.weights[size] = next * all / ((size + 1) as f64 * one);
                next = before - self.weights[size] * zero * (depth - size) as f64 / all;
            }
        }
        self.steps.remove(at);
        self.weights.truncate(depth);
    }

    /// The sum of the weights without the step at this place.
    fn sum_without(&self, at: usize) -> f64 {
        let mut rest = self.clone();
        rest.unwind(at);
        rest.weights.iter().sum()
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    values: &'a [f64],
    phi: &'a mut [f64],
}

impl Walk<'_> {
    fn visit(&mut self, place: u32, path: &Path, taken: Taken) {
        let mut path = path.clone();
        path.extend(taken);
        match self.tree.node(place) {
            Node::Leaf(value) => {
                for at in 1..path.steps.len() {
                    let weight = path.sum_without(at);
                    let Taken { zero, one, feature } = path.steps[at];
                    if let Some(feature) = feature {
                        self.phi[feature as usize] += weight * (one - zero) * value;
                    }
                }
            }
            Node::Split(split) => {
                let (mut zero, mut one) = (1.0, 1.0);
                let seen = path.steps.iter().position(|step| step.feature == Some(split.feature));
                if let Some(at) = seen {
                    (zero, one) = (path.steps[at].zero, path.steps[at].one);
                    path.unwind(at);
                }
                let hot = split.child(self.values[split.feature as usize]);
                let cover = self.tree.note(place).cover;
                for child in [split.left, split.right] {
                    let taken = Taken {
                        zero: zero * (self.tree.note(child).cover / cover),
                        one: if child == hot { one } else { 0.0 },
                        feature: Some(split.feature),
                    };
                    self.visit(child, &path, taken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
