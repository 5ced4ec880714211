//! ONNX: the trees and linear models of `ai.onnx.ml`, and what scikit-learn's converters put around
//! them.
//!
//! What a graph does to each feature before the model, in floats or doubles, is followed as a
//! function of that feature alone. Such a function rises or falls, so a question about its value is a
//! question about the feature's: thresholds are moved to where the answer changes, and the same rows
//! go the same way.

mod feature;
mod hot;
mod linear;
mod model;
mod trees;
mod wire;

use std::collections::BTreeMap;

use icecore_core::Result;

use super::{Imported, ImportedScorer, corrupt, unsupported};
use feature::Feature;
use hot::Hot;
use model::{DOUBLE, FLOAT, Graph, INT64, Input, OnnxNode, STRING, Tensor};

/// The most columns of a table within a graph.
const WIDTH_MAX: usize = 100_000;
/// The most columns of all tables within a graph, each with what happened to it.
const COLUMNS_MAX: usize = 1 << 22;

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
    let (hot, found, room) = (Hot::default(), None, COLUMNS_MAX);
    let mut walk = Walk { known: tables, constants, names, hot, found, room };
    for node in &nodes {
        walk.step(node)?;
    }
    for output in &outputs {
        if !walk.known.contains_key(output) {
            return Err(corrupt("an output of its graph is not computed"));
        }
    }
    let Walk { found, names, hot, .. } = walk;
    let (objective, scorer) =
        found.ok_or_else(|| unsupported("a graph without trees and without a linear model"))?;
    let (categories, all) = (BTreeMap::new(), names.iter().map(|input| input.name.clone()));
    let steps = hot.steps(&all.collect::<Vec<_>>());
    // Text that is no category says nothing.
    let used = names.into_iter().enumerate();
    let used = used.filter(|(at, input)| !input.is_text || hot.has(*at));
    let names = used.map(|(_, input)| input.name).collect();
    let params = vec![("objective", objective)];
    Ok(Imported { format: "onnx", params, names, categories, steps, scorer })
}

/// A column of the graph's inputs.
#[derive(Debug)]
struct Named {
    name: String,
    is_text: bool,
    /// Whether its numbers are whole.
    is_whole: bool,
}

/// The names of the features, and the tables of the graph's inputs.
fn inputs(inputs: &[Input]) -> Result<(Vec<Named>, BTreeMap<String, Known>)> {
    let (mut names, mut tables) = (Vec::new(), BTreeMap::new());
    for input in inputs {
        let is_text = input.element == STRING;
        let is_float = match input.element {
            FLOAT => true,
            DOUBLE | INT64 | STRING => false,
            _ => {
                return Err(unsupported(&format!(
                    "the input `{}`, which is neither a number nor text",
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
        names.extend((0..width).map(|at| {
            let name = match (inputs.len(), width) {
                (1, _) => format!("Column_{at}"),
                (_, 1) => input.name.clone(),
                _ => format!("{}_{at}", input.name),
            };
            Named { name, is_text, is_whole: input.element == INT64 }
        }));
        let column = |number| {
            if is_text { Feature::text(number) } else { Feature::new(number, is_float) }
        };
        let columns = (first..first + width).map(column);
        tables.insert(input.name.clone(), Known::Table(columns.collect()));
    }
    Ok((names, tables))
}

struct Walk {
    known: BTreeMap<String, Known>,
    constants: BTreeMap<String, Tensor>,
    names: Vec<Named>,
    hot: Hot,
    found: Option<(String, ImportedScorer)>,
    /// How many columns there is room for.
    room: usize,
}

impl Walk {
    fn step(&mut self, node: &OnnxNode) -> Result<()> {
        if let ("Constant", Some(tensor)) = (node.op.as_str(), node.tensor("value")) {
            if let Some(output) = node.outputs.first() {
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
                let (table, features) = self.numbered(table)?;
                let scorer = match node.op.as_str() {
                    "LinearClassifier" | "LinearRegressor" => linear::read(node, &table, features)?,
                    _ => trees::read(node, &table, features)?,
                };
                self.found = Some((node.op.clone(), scorer));
                Known::Prediction
            }
            _ => self.other(node)?,
        };
        if let Known::Table(columns) = &known {
            let size: usize = columns.iter().map(Feature::size).sum();
            let left = self.room.checked_sub(size.saturating_mul(node.outputs.len()));
            self.room = left.ok_or_else(|| unsupported("a graph of so many columns"))?;
        }
        for output in &node.outputs {
            self.known.insert(output.clone(), known.clone());
        }
        Ok(())
    }

    /// A table's columns as those that the model sees, and how many it sees.
    fn numbered(&self, table: Vec<Feature>) -> Result<(Vec<Feature>, usize)> {
        let mut firsts = Vec::with_capacity(self.names.len());
        let mut next = 0;
        for (at, input) in self.names.iter().enumerate() {
            firsts.push(next);
            next += if input.is_text && !self.hot.has(at) { 0 } else { self.hot.width(at) };
        }
        if next > WIDTH_MAX {
            return Err(unsupported("so many columns"));
        }
        let number = |input: usize, category: Option<usize>| {
            let is_one_of_them = category.is_some() == self.hot.has(input);
            is_one_of_them.then(|| firsts.get(input).map(|first| first + category.unwrap_or(0)))?
        };
        let numbered = table.into_iter().map(|column| column.numbered(number));
        Ok((numbered.collect::<Result<_>>()?, next))
    }

    fn other(&mut self, node: &OnnxNode) -> Result<Known> {
        let is_prediction = |name| matches!(self.known.get(name), Some(Known::Prediction));
        if node.inputs.iter().any(is_prediction) {
            return match node.op.as_str() {
                "ZipMap"
                | "Cast"
                | "Identity"
                | "Reshape"
                | "Normalizer"
                | "Squeeze"
                | "ArgMax"
                | "Concat"
                | "ArrayFeatureExtractor" => Ok(Known::Prediction),
                other => Err(unsupported(&format!("a graph with `{other}` after the model"))),
            };
        }
        let columns = match node.op.as_str() {
            // Rows stay rows.
            "Identity" | "Flatten" => self.table(node, 0)?,
            "Reshape" => self.reshaped(node)?,
            "OneHotEncoder" if self.found.is_none() => {
                let columns = self.hot.columns(&self.table(node, 0)?, node)?;
                if columns.len() > WIDTH_MAX {
                    return Err(unsupported("so many columns"));
                }
                columns
            }
            "Cast" => self.cast(node)?,
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
            "ArrayFeatureExtractor" | "Gather" => self.chosen(node)?,
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

    /// The columns as numbers of another type.
    fn cast(&self, node: &OnnxNode) -> Result<Vec<Feature>> {
        let (table, to) = (self.table(node, 0)?, node.integer("to", 0));
        match to {
            FLOAT | DOUBLE => Ok(table.into_iter().map(|of| of.cast(to == FLOAT)).collect()),
            // Categories are looked up as they are.
            INT64 | STRING if table.iter().all(Feature::is_plain) => {
                let is_whole = |number: usize| self.names.get(number).is_some_and(|n| n.is_whole);
                let truncated = |column: Feature| {
                    let is_whole = is_whole(column.number);
                    column.truncated(is_whole)
                };
                Ok(table.into_iter().map(truncated).collect())
            }
            _ => Err(unsupported("a graph that casts features to other than floats")),
        }
    }

    /// The columns, if the shape is that of the same rows.
    fn reshaped(&self, node: &OnnxNode) -> Result<Vec<Feature>> {
        let table = self.table(node, 0)?;
        let shape = node.inputs.get(1).and_then(|name| self.constants.get(name));
        match shape.map(|shape| shape.numbers.as_slice()) {
            Some([_, width]) if *width == table.len() as f64 => Ok(table),
            _ => Err(unsupported("a graph that makes other rows")),
        }
    }

    /// Some of the columns.
    fn chosen(&self, node: &OnnxNode) -> Result<Vec<Feature>> {
        let chosen = node.inputs.get(1).and_then(|name| self.constants.get(name));
        let chosen = chosen.ok_or_else(|| corrupt("a choice of columns is not there"))?;
        if chosen.numbers.len() > WIDTH_MAX {
            return Err(unsupported("so many columns"));
        }
        let table = self.table(node, 0)?;
        let column = |at: &f64| table.get(usize::try_from(*at as i64).ok()?).cloned();
        let columns: Option<Vec<Feature>> = chosen.numbers.iter().map(column).collect();
        columns.ok_or_else(|| corrupt("a column that is chosen is not there"))
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

#[cfg(test)]
mod tests;
