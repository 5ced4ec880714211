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
mod predicted;
mod trees;
mod wire;

use std::collections::BTreeMap;

use icecore_core::Result;

use super::{Imported, corrupt, unsupported};
use feature::Feature;
use hot::Hot;
use model::{DOUBLE, FLOAT, Graph, INT64, Input, OnnxNode, STRING, Tensor};
use predicted::Predicted;

pub(super) use model::NAMES_KEY;

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
    /// The class that it names, which is not what we predict.
    Label,
}

/// Whether bytes may be an ONNX file: its first field is the version of the format.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=99, ..])
}

pub(super) fn read(bytes: &[u8]) -> Result<Imported> {
    let Graph { inputs: given, outputs, nodes, constants, names } = model::read(bytes)?;
    let (names, tables) = inputs(&given, &names)?;
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
    let found =
        found.ok_or_else(|| unsupported("a graph without trees and without a linear model"))?;
    let is_unfilled = found.is_unfilled();
    let (objective, scorer) = found.finish()?;
    let (categories, all) = (BTreeMap::new(), names.iter().map(|input| input.name.clone()));
    let steps = hot.steps(&all.collect::<Vec<_>>());
    // Text that is no category says nothing.
    let used = names.into_iter().enumerate();
    let used = used.filter(|(at, input)| !input.is_text || hot.has(*at));
    let names = used.map(|(_, input)| input.name).collect();
    let mut params = vec![("objective", objective)];
    if is_unfilled {
        params.push(("missing", "counts as 0, before any scaling".to_owned()));
    }
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

/// The names of the features, and the tables of the graph's inputs. What the file says of the
/// columns of its one input are names, if there are as many.
fn inputs(inputs: &[Input], columns: &[String]) -> Result<(Vec<Named>, BTreeMap<String, Known>)> {
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
                (1, width) if width == columns.len() => columns[at].clone(),
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

/// What to do about operators that work on rows.
const COLUMNS: &str = "what it computes of a row may depend on that row alone: `axis` is 1";

/// Whether an operator goes along a row's columns.
fn is_of_columns(node: &OnnxNode) -> bool {
    matches!(node.integer("axis", 0), 1 | -1)
}

struct Walk {
    known: BTreeMap<String, Known>,
    constants: BTreeMap<String, Tensor>,
    names: Vec<Named>,
    hot: Hot,
    found: Option<Predicted>,
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
        let is_model = matches!(
            node.op.as_str(),
            "TreeEnsembleClassifier"
                | "TreeEnsembleRegressor"
                | "LinearClassifier"
                | "LinearRegressor"
        );
        if is_model {
            return self.model(node);
        }
        let known = self.other(node)?;
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

    fn model(&mut self, node: &OnnxNode) -> Result<()> {
        let table = self.table(node, 0)?;
        if self.found.is_some() {
            return Err(unsupported("a graph of several models"));
        }
        let (table, features) = self.numbered(table)?;
        let scorer = match node.op.as_str() {
            "LinearClassifier" | "LinearRegressor" => linear::read(node, &table, features)?,
            _ => trees::read(node, &table, features)?,
        };
        let found = Predicted::new(node, scorer, table.iter().any(Feature::may_be_missing));
        for (at, output) in node.outputs.iter().enumerate() {
            let is_label = found.has_classes() && at == 0;
            let known = if is_label { Known::Label } else { Known::Prediction };
            self.known.insert(output.clone(), known);
        }
        self.found = Some(found);
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
        if let Some(known) = self.after_the_model(node)? {
            return Ok(known);
        }
        let columns = match node.op.as_str() {
            // Rows stay rows.
            "Identity" => self.table(node, 0)?,
            "Flatten" if node.integer("axis", 1) == 1 => self.table(node, 0)?,
            "Reshape" => self.reshaped(node)?,
            "OneHotEncoder" if self.found.is_none() => {
                let columns = self.hot.columns(&self.table(node, 0)?, node)?;
                if columns.len() > WIDTH_MAX {
                    return Err(unsupported("so many columns"));
                }
                columns
            }
            "Cast" => self.cast(node)?,
            "Concat" if is_of_columns(node) => {
                let mut all = Vec::new();
                for at in 0..node.inputs.len() {
                    all.extend(self.table(node, at)?);
                    if all.len() > WIDTH_MAX {
                        return Err(unsupported("so many columns"));
                    }
                }
                all
            }
            "Concat" => return Err(unsupported("a graph with `Concat` of rows").with_help(COLUMNS)),
            "Gather" if !is_of_columns(node) => {
                return Err(unsupported("a graph with `Gather` of rows").with_help(COLUMNS));
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

    /// What becomes of what the model gives; nothing if the node is not about that.
    fn after_the_model(&mut self, node: &OnnxNode) -> Result<Option<Known>> {
        let given: Vec<Option<&Known>> =
            node.inputs.iter().map(|name| self.known.get(name)).collect();
        let is_label = |known: &Option<&Known>| matches!(known, Some(Known::Label));
        let is_prediction = |known: &Option<&Known>| matches!(known, Some(Known::Prediction));
        let known = if given.iter().any(is_prediction) {
            let all = given.iter().all(is_prediction);
            let Some(found) = &mut self.found else { return Ok(None) };
            let is_one = found.width() == 1;
            let shape = node.inputs.get(1).and_then(|name| self.constants.get(name));
            match node.op.as_str() {
                "Identity" | "ZipMap" => Known::Prediction,
                "Squeeze" if is_one => Known::Prediction,
                // A row's numbers stay beside each other.
                "Reshape" if shape.is_some_and(|to| found.has_shape(&to.numbers)) => {
                    Known::Prediction
                }
                "Cast" if matches!(node.integer("to", 0), FLOAT | DOUBLE) => Known::Prediction,
                "Concat" if all && is_of_columns(node) => Known::Prediction,
                "Normalizer" => {
                    found.normalize(node)?;
                    Known::Prediction
                }
                "ArgMax" if is_of_columns(node) => Known::Label,
                other => {
                    return Err(unsupported(&format!(
                        "a graph with `{other}` after the model, which changes what it predicts"
                    )));
                }
            }
        } else if given.iter().any(is_label) {
            match node.op.as_str() {
                "Identity" | "Cast" | "Reshape" | "Squeeze" | "ArrayFeatureExtractor" => {
                    Known::Label
                }
                other => {
                    return Err(unsupported(&format!("a graph with `{other}` after the model")));
                }
            }
        } else {
            return Ok(None);
        };
        Ok(Some(known))
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
        let from_the_end = node.op == "Gather";
        let column = |at: &f64| {
            let at = if *at < 0.0 && from_the_end { at + table.len() as f64 } else { *at };
            table.get(usize::try_from(at as i64).ok()?).cloned()
        };
        let columns: Option<Vec<Feature>> = chosen.numbers.iter().map(column).collect();
        columns.ok_or_else(|| corrupt("a column that is chosen is not there"))
    }

    fn table(&self, node: &OnnxNode, at: usize) -> Result<Vec<Feature>> {
        match node.inputs.get(at).and_then(|name| self.known.get(name)) {
            Some(Known::Table(columns)) => Ok(columns.clone()),
            Some(Known::Prediction | Known::Label) => {
                Err(unsupported("a model that learns from another's output"))
            }
            None => Err(corrupt("a node of its graph has an input that is not there")),
        }
    }
}

#[cfg(test)]
mod tests;
