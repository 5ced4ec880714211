//! ONNX: the trees and linear models of `ai.onnx.ml`, and what scikit-learn's converters put around
//! them.
//!
//! What a graph does to each feature before the model, in floats or doubles, is followed as a
//! function of that feature alone. Such a function rises or falls, so a question about its value is a
//! question about the feature's: thresholds are moved to where the answer changes, and the same rows
//! go the same way.

mod feature;
mod linear;
mod model;
mod trees;
mod wire;

use std::collections::BTreeMap;

use icecore_core::Result;

use super::{Imported, ImportedScorer, corrupt, unsupported};
use feature::Feature;
use model::{DOUBLE, FLOAT, Graph, INT64, Input, OnnxNode, Tensor};

/// The most columns of a table within a graph.
const WIDTH_MAX: usize = 100_000;

/// What a name in a graph stands for.
#[derive(Debug, Clone)]
enum Known {
    /// Columns that are functions of features.
    Table(Vec<Feature>),
    /// What the model gives: nothing but its form may change.
    Prediction,
}

/// Whether bytes may be an ONNX file: its first field is the version of the format.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=99, ..])
}

pub(super) fn read(bytes: &[u8]) -> Result<Imported> {
    let Graph { inputs: given, outputs, nodes, constants } = model::read(bytes)?;
    let (names, tables) = inputs(&given)?;
    let mut walk = Walk { known: tables, constants, names, found: None };
    for node in &nodes {
        walk.step(node)?;
    }
    for output in &outputs {
        if !walk.known.contains_key(output) {
            return Err(corrupt("an output of its graph is not computed"));
        }
    }
    let Walk { found, names, .. } = walk;
    let (objective, scorer) =
        found.ok_or_else(|| unsupported("a graph without trees and without a linear model"))?;
    Ok(Imported { format: "onnx", objective, names, categories: BTreeMap::new(), scorer })
}

/// The names of the features, and the tables of the graph's inputs.
fn inputs(inputs: &[Input]) -> Result<(Vec<String>, BTreeMap<String, Known>)> {
    let (mut names, mut tables) = (Vec::new(), BTreeMap::new());
    for input in inputs {
        let is_float = match input.element {
            FLOAT => true,
            DOUBLE | INT64 => false,
            _ => {
                return Err(unsupported(&format!(
                    "the input `{}`, which is no number",
                    input.name
                )));
            }
        };
        let width = input.width.ok_or_else(|| {
            unsupported(&format!("the input `{}` without a number of columns", input.name))
                .with_help(
                    "say how many there are when it is converted: `FloatTensorType([None, 9])`",
                )
        })?;
        if names.len() + width > WIDTH_MAX {
            return Err(unsupported("so many features"));
        }
        let first = names.len();
        names.extend((0..width).map(|at| match (inputs.len(), width) {
            (1, _) => format!("Column_{at}"),
            (_, 1) => input.name.clone(),
            _ => format!("{}_{at}", input.name),
        }));
        let columns = (first..first + width).map(|number| Feature::new(number, is_float));
        tables.insert(input.name.clone(), Known::Table(columns.collect()));
    }
    Ok((names, tables))
}

struct Walk {
    known: BTreeMap<String, Known>,
    constants: BTreeMap<String, Tensor>,
    names: Vec<String>,
    found: Option<(String, ImportedScorer)>,
}

impl Walk {
    fn step(&mut self, node: &OnnxNode) -> Result<()> {
        if let ("Constant", Some(tensor)) = (node.op.as_str(), node.tensor("value")) {
            for output in &node.outputs {
                self.constants.insert(output.clone(), tensor.clone());
            }
            return Ok(());
        }
        let known = match node.op.as_str() {
            "TreeEnsembleClassifier"
            | "TreeEnsembleRegressor"
            | "LinearClassifier"
            | "LinearRegressor" => {
                let table = self.table(node, 0)?;
                if self.found.is_some() {
                    return Err(unsupported("a graph of several models"));
                }
                let scorer = match node.op.as_str() {
                    "LinearClassifier" | "LinearRegressor" => {
                        linear::read(node, &table, self.names.len())?
                    }
                    _ => trees::read(node, &table, self.names.len())?,
                };
                self.found = Some((node.op.clone(), scorer));
                Known::Prediction
            }
            _ => self.other(node)?,
        };
        for output in &node.outputs {
            self.known.insert(output.clone(), known.clone());
        }
        Ok(())
    }

    fn other(&self, node: &OnnxNode) -> Result<Known> {
        let first = node.inputs.first().map(String::as_str).unwrap_or_default();
        if matches!(self.known.get(first), Some(Known::Prediction)) {
            return match node.op.as_str() {
                "ZipMap"
                | "Cast"
                | "Identity"
                | "Reshape"
                | "Normalizer"
                | "Squeeze"
                | "Concat"
                | "ArrayFeatureExtractor" => Ok(Known::Prediction),
                other => Err(unsupported(&format!("a graph with `{other}` after the model"))),
            };
        }
        let columns = match node.op.as_str() {
            "Identity" => self.table(node, 0)?,
            "Cast" => {
                let is_float = match node.integer("to", 0) {
                    FLOAT => true,
                    DOUBLE => false,
                    _ => {
                        return Err(unsupported(
                            "a graph that casts features to other than floats",
                        ));
                    }
                };
                self.table(node, 0)?.into_iter().map(|column| column.cast(is_float)).collect()
            }
            "Concat" => {
                let mut all = Vec::new();
                for at in 0..node.inputs.len() {
                    all.extend(self.table(node, at)?);
                    if all.len() > WIDTH_MAX {
                        return Err(unsupported("so many columns"));
                    }
                }
                all
            }
            "ArrayFeatureExtractor" | "Gather" => {
                let chosen = node.inputs.get(1).and_then(|name| self.constants.get(name));
                let chosen = chosen.ok_or_else(|| corrupt("a choice of columns is not there"))?;
                let table = self.table(node, 0)?;
                let column = |at: &f64| table.get(*at as usize).cloned();
                let columns: Option<Vec<Feature>> = chosen.numbers.iter().map(column).collect();
                columns.ok_or_else(|| corrupt("a column that is chosen is not there"))?
            }
            "Scaler" => feature::scaled(&self.table(node, 0)?, node)?,
            "Imputer" => feature::imputed(&self.table(node, 0)?, node)?,
            "Sub" | "Div" | "Add" | "Mul" => {
                let with = node.inputs.get(1).and_then(|name| self.constants.get(name));
                let with = with.ok_or_else(|| unsupported("a graph that adds features up"))?;
                feature::computed(&self.table(node, 0)?, &node.op, &with.numbers)?
            }
            other => return Err(unsupported(&format!("a graph with `{other}`"))),
        };
        Ok(Known::Table(columns))
    }

    fn table(&self, node: &OnnxNode, at: usize) -> Result<Vec<Feature>> {
        match node.inputs.get(at).and_then(|name| self.known.get(name)) {
            Some(Known::Table(columns)) => Ok(columns.clone()),
            Some(Known::Prediction) => {
                Err(unsupported("a model that learns from another's output"))
            }
            None => Err(corrupt("a node of its graph has an input that is not there")),
        }
    }
}
