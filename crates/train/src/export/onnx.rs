//! ONNX: trees as `TreeEnsembleClassifier` and `TreeEnsembleRegressor` of `ai.onnx.ml` 3, linear
//! models and preprocessing as operators of ONNX 18.
//!
//! There is one input, `input`, of doubles in the order of the model's inputs, where NaN is missing.
//! Thresholds, weights and leaves are doubles; what runs the graph may sum leaves as floats.

mod proto;
mod steps;

use icecore_core::Result;
use serde_json::json;

use super::unsupported;
use crate::import::ONNX_NAMES;
use crate::linear::{LinearLink, LinearScorer, STANDARD_MAX};
use crate::model::FittedModel;
use crate::scorer::Scorer;
use crate::tree::{Ensemble, Link, Node, Question, Side, Split, Tree};
use proto::{Attribute, DOUBLE, FLOAT, Graph, INT64};

/// The name of the graph's input.
pub(super) const INPUT: &str = "input";

pub(super) fn write(model: &FittedModel) -> Result<Vec<u8>> {
    if !model.header.categories.is_empty() {
        return Err(unsupported("a model with categories to ONNX").with_help(
            "make numbers of them by a step of preprocessing, or export LightGBM's text",
        ));
    }
    let mut graph = Graph::default();
    let inputs = model.header.signature.inputs.len();
    let table = steps::write(model, &mut graph)?;
    match &model.scorer {
        Scorer::Trees(trees) => write_trees(trees.ensemble(), &table, &mut graph)?,
        Scorer::Linear(linear) => write_linear(linear, &table, &mut graph)?,
        _ => {
            return Err(unsupported(&format!("a model of `{}` to ONNX", model.header.algorithm)));
        }
    }
    let names: Vec<&str> =
        model.header.signature.inputs.iter().map(|input| input.name.as_str()).collect();
    graph.property(ONNX_NAMES, &json!(names).to_string());
    Ok(graph.finish(INPUT, inputs))
}

/// The lists of all nodes.
#[derive(Default)]
struct Lists {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    values: Vec<f64>,
    modes: Vec<&'static str>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_ids: Vec<i64>,
    leaf_values: Vec<f64>,
}

impl Lists {
    fn add(&mut self, tree: &Tree, (number, id): (i64, i64), share: f64) -> Result<()> {
        for (place, node) in (0_i64..).zip(tree.nodes()) {
            let (mode, split) = match node {
                Node::Split(split) => ("BRANCH_LEQ", Some(split)),
                Node::Leaf(value) => {
                    self.leaf_trees.push(number);
                    self.leaf_nodes.push(place);
                    self.leaf_ids.push(id);
                    self.leaf_values.push(value * share);
                    ("LEAF", None)
                }
            };
            let threshold = match split.map(|split| split.question) {
                Some(Question::OneOf(_)) => return Err(unsupported("categories to ONNX")),
                Some(Question::AtMost(threshold)) => threshold,
                None => 0.0,
            };
            let of = |number: fn(&Split) -> u32| split.map_or(0, |split| i64::from(number(split)));
            self.trees.push(number);
            self.nodes.push(place);
            self.features.push(of(|split| split.feature));
            self.values.push(threshold);
            self.modes.push(mode);
            self.yes.push(of(|split| split.left));
            self.no.push(of(|split| split.right));
            self.missing.push(of(|split| u32::from(split.missing == Side::Left)));
        }
        Ok(())
    }

    fn attributes(self, kind: [&'static str; 4]) -> Vec<(&'static str, Attribute)> {
        let [trees, nodes, ids, weights] = kind;
        vec![
            ("nodes_treeids", Attribute::Integers(self.trees)),
            ("nodes_nodeids", Attribute::Integers(self.nodes)),
            ("nodes_featureids", Attribute::Integers(self.features)),
            ("nodes_values_as_tensor", Attribute::Doubles(self.values)),
            ("nodes_modes", Attribute::Texts(self.modes)),
            ("nodes_truenodeids", Attribute::Integers(self.yes)),
            ("nodes_falsenodeids", Attribute::Integers(self.no)),
            ("nodes_missing_value_tracks_true", Attribute::Integers(self.missing)),
            (trees, Attribute::Integers(self.leaf_trees)),
            (nodes, Attribute::Integers(self.leaf_nodes)),
            (ids, Attribute::Integers(self.leaf_ids)),
            (weights, Attribute::Doubles(self.leaf_values)),
        ]
    }
}

/// Two classes as the log odds of the second: ONNX Runtime takes two base values for those of one
/// score, and tells the label by the second score alone.
fn log_odds(mut classes: Ensemble) -> Ensemble {
    classes.trees.iter_mut().step_by(2).for_each(|tree| tree.scale(-1.0));
    let base = classes.bases[1] - classes.bases[0];
    Ensemble { link: Link::Logistic, bases: vec![base], ..classes }
}

fn write_trees(ensemble: &Ensemble, table: &str, graph: &mut Graph) -> Result<()> {
    if ensemble.link == Link::Softmax && ensemble.outputs() == 2 {
        return write_trees(&log_odds(ensemble.clone()), table, graph);
    }
    let outputs = ensemble.outputs();
    let votes = (ensemble.trees.len() / outputs.max(1)).max(1) as f64;
    let share = if ensemble.link == Link::Mean { 1.0 / votes } else { 1.0 };
    let mut lists = Lists::default();
    for (number, tree) in ensemble.trees.iter().enumerate() {
        lists.add(tree, (number as i64, (number % outputs) as i64), share)?;
    }
    let mut bases = ensemble.bases.clone();
    let mut leaves = ensemble.trees.iter().flat_map(Tree::leaf_values);
    if ensemble.link == Link::Logistic && leaves.all(|value| value >= 0.0) {
        // Where no leaf is negative, ONNX Runtime takes the sum for a probability, whose label
        // begins at one half.
        lists.add(&Tree::constant(-1.0), (ensemble.trees.len() as i64, 0), 1.0)?;
        bases.iter_mut().for_each(|base| *base += 1.0);
    } else if ensemble.trees.is_empty() {
        for output in 0..outputs as i64 {
            lists.add(&Tree::constant(0.0), (output, output), 1.0)?;
        }
    }
    let transform = match ensemble.link {
        Link::Logistic => "LOGISTIC",
        Link::Softmax => "SOFTMAX",
        Link::Mean | Link::Shares | Link::Identity | Link::Exp => "NONE",
    };
    let bases = Attribute::Doubles(bases);
    if matches!(ensemble.link, Link::Identity | Link::Exp) {
        let kind = ["target_treeids", "target_nodeids", "target_ids", "target_weights_as_tensor"];
        let mut attributes = lists.attributes(kind);
        attributes.extend([
            ("n_targets", Attribute::Integer(1)),
            ("base_values_as_tensor", bases),
            ("post_transform", Attribute::Text(transform)),
        ]);
        let mut sum = graph.node("TreeEnsembleRegressor", &[table], &attributes);
        if ensemble.link == Link::Exp {
            sum = graph.node("Exp", &[&sum], &[]);
        }
        graph.node_to("Identity", &[&sum], (&["variable"], &[]));
        graph.output("variable", FLOAT, Some(1));
        return Ok(());
    }
    let labels = outputs.max(2);
    let kind = ["class_treeids", "class_nodeids", "class_ids", "class_weights_as_tensor"];
    let mut attributes = lists.attributes(kind);
    attributes.extend([
        ("classlabels_int64s", Attribute::Integers((0..labels as i64).collect())),
        ("base_values_as_tensor", bases),
        ("post_transform", Attribute::Text(transform)),
    ]);
    let names = ["label", "probabilities"];
    graph.node_to("TreeEnsembleClassifier", &[table], (&names, &attributes));
    graph.output("label", INT64, None);
    graph.output("probabilities", FLOAT, Some(labels));
    Ok(())
}

/// A missing value, and so an infinite one, becomes the number that adds what it adds; others stay
/// within what counts.
fn write_linear(linear: &LinearScorer, table: &str, graph: &mut Graph) -> Result<()> {
    let width = linear.terms.len();
    let mut fills = Vec::with_capacity(width);
    let mut weights = Vec::with_capacity(width);
    let (mut least, mut greatest) = (Vec::with_capacity(width), Vec::with_capacity(width));
    let mut intercept = linear.intercept;
    for term in &linear.terms {
        let reach = term.scale * STANDARD_MAX;
        least.push((term.center - reach).max(f64::MIN));
        greatest.push((term.center + reach).min(f64::MAX));
        let weight = term.weight / term.scale;
        if weight == 0.0 && term.missing_weight != 0.0 {
            return Err(unsupported(
                "a linear model of which an input counts only where it is missing",
            ));
        }
        fills.push(if weight == 0.0 { 0.0 } else { term.center + term.missing_weight / weight });
        weights.push(weight);
        intercept -= weight * term.center;
    }
    let fills = graph.constant(&[1, width], &fills);
    let missing = graph.node("IsNaN", &[table], &[]);
    let infinite = graph.node("IsInf", &[table], &[]);
    let missing = graph.node("Or", &[&missing, &infinite], &[]);
    let (least, greatest) =
        (graph.constant(&[1, width], &least), graph.constant(&[1, width], &greatest));
    let bounded = graph.node("Max", &[table, &least], &[]);
    let bounded = graph.node("Min", &[&bounded, &greatest], &[]);
    let filled = graph.node("Where", &[&missing, &fills, &bounded], &[]);
    let weights = graph.constant(&[width, 1], &weights);
    let product = graph.node("MatMul", &[&filled, &weights], &[]);
    let intercept = graph.constant(&[1, 1], &[intercept]);
    let sum = graph.node("Add", &[&product, &intercept], &[]);
    if linear.link == LinearLink::Identity {
        graph.node_to("Identity", &[&sum], (&["variable"], &[]));
        graph.output("variable", DOUBLE, Some(1));
        return Ok(());
    }
    let positive = graph.node("Sigmoid", &[&sum], &[]);
    let one = graph.constant(&[1, 1], &[1.0]);
    let negative = graph.node("Sub", &[&one, &positive], &[]);
    let axis = [("axis", Attribute::Integer(1))];
    graph.node_to("Concat", &[&negative, &positive], (&["probabilities"], &axis));
    graph.output("probabilities", DOUBLE, Some(2));
    Ok(())
}
