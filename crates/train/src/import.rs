//! Models that others trained, as models of this crate: they score, register and serve like our
//! own, and train nothing.

mod lightgbm;
mod onnx;
mod parse;
mod ubjson;
mod xgboost;

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_core::{Error, ErrorKind, Model, ModelSignature, Result, SignatureColumn};

use crate::categories::Categories;
use crate::columns::CategoriesByName;
use crate::forest::TreeScorer;
use crate::linear::{ClassLink, LinearClasses, LinearLink, LinearScorer};
use crate::model::{FittedModel, Header};
use crate::preprocess::{self, FittedStep};
use crate::scorer::Scorer;
use crate::tree::{
    CATEGORIES_MAX, DEPTH_MAX, Ensemble, LEAF_MAX, Link, Node, Split, TREES_MAX, Tree, VALUE_MAX,
};

/// What the file of an imported model of trees names as its algorithm.
pub(crate) const ALGORITHM: &str = "imported";
/// What those of linear models name, of two classes, of numbers and of more classes.
pub(crate) const LOGISTIC: &str = "imported_logistic";
pub(crate) const LINEAR: &str = "imported_linear";
pub(crate) const SOFTMAX: &str = "imported_softmax";
pub(crate) const SHARES: &str = "imported_shares";

/// The field of LightGBM's text in which our own says which features are text.
pub(crate) const PANDAS_FEATURES: &str = lightgbm::FEATURES_FIELD;
/// The property of an ONNX file in which our own says what the columns of its input are called.
pub(crate) const ONNX_NAMES: &str = onnx::NAMES_KEY;

/// Reads a model of LightGBM, from the text that `Booster.save_model` writes, of XGBoost, from the
/// JSON or the UBJSON that `save_model` writes, or of ONNX: trees or a linear model, as converters
/// write them for scikit-learn and others.
///
/// Predictions are those of the library but for the last digits: LightGBM's sums are doubles,
/// XGBoost's and ONNX's are floats, ours are exact. Where a linear model of ONNX gives no number for
/// a missing value, it counts as zero, which the model's parameters say. Columns are bound by name; a
/// model without names has inputs `Column_0`, `Column_1` and so on. Of a model of XGBoost that stopped early, the rounds
/// up to the best count, as in its interface for scikit-learn.
///
/// # Errors
///
/// `DataCorrupt` if the bytes are no such model, or say what cannot be; `Unsupported` for what
/// has no counterpart here: linear leaves, DART, objectives without a known meaning, several
/// targets, raw scores of three classes or more, graphs that compute across rows.
pub fn import_model(bytes: &[u8]) -> Result<Arc<dyn Model>> {
    if bytes.starts_with(b"ICEMODEL") {
        return crate::decode_model(bytes);
    }
    if onnx::looks_like(bytes) {
        return Ok(Arc::new(onnx::read(bytes)?.finish()?));
    }
    // A file of UBJSON begins as one of JSON does, but the length of a name follows.
    if let [b'{', b'L' | b'l' | b'I' | b'i' | b'U', ..] = bytes {
        return Ok(Arc::new(xgboost::read(ubjson::read(bytes)?)?.finish()?));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| unknown().with_source(error))?
        .trim_start_matches('\u{feff}')
        .trim_start();
    let imported = match text {
        text if text.starts_with("tree") => lightgbm::read(text)?,
        text if text.starts_with('{') => xgboost::read_json(text)?,
        _ => return Err(unknown()),
    };
    Ok(Arc::new(imported.finish()?))
}

/// What was read.
struct Imported {
    format: &'static str,
    /// What the file says of how it was learned, and what was made of that.
    params: Vec<(&'static str, String)>,
    names: Vec<String>,
    /// The categories of features that have some, by the feature's number.
    categories: BTreeMap<usize, Categories>,
    /// What becomes of inputs before the model computes with them.
    steps: Vec<FittedStep>,
    scorer: ImportedScorer,
}

/// What an imported model computes with.
#[derive(Debug)]
enum ImportedScorer {
    Trees(Ensemble),
    Linear(LinearScorer),
    LinearClasses(LinearClasses),
}

impl Imported {
    fn finish(self) -> Result<FittedModel> {
        self.check()?;
        let input = |(at, name): (usize, &String)| {
            let step = self.steps.iter().find(|step| step.column == *name);
            let is_text = matches!(self.categories.get(&at), Some(Categories::Text(_)))
                || step.is_some_and(|step| step.operation.is_of_text());
            let data_type = if is_text { "Utf8" } else { "Float64" };
            SignatureColumn { name: name.clone(), data_type: data_type.to_owned() }
        };
        let inputs: Vec<SignatureColumn> = self.names.iter().enumerate().map(input).collect();
        let categories: CategoriesByName = self
            .categories
            .into_iter()
            .filter_map(|(feature, values)| Some((self.names.get(feature)?.clone(), values)))
            .collect();
        if !categories.values().all(|categories| categories.is_sound(CATEGORIES_MAX)) {
            return Err(unsupported("a feature with more than 254 categories"));
        }
        let (algorithm, rows, scorer) = match self.scorer {
            ImportedScorer::Trees(ensemble) => {
                let rows = ensemble.trees.first().map_or(0.0, |tree| tree.note(0).cover);
                let features = preprocess::origins(&self.steps, &inputs)?.len();
                (ALGORITHM, rows, Scorer::Trees(TreeScorer::new(ensemble, features)))
            }
            ImportedScorer::Linear(linear) => {
                let is_class = linear.link == LinearLink::Logistic;
                (if is_class { LOGISTIC } else { LINEAR }, 0.0, Scorer::Linear(linear))
            }
            ImportedScorer::LinearClasses(classes) => {
                let is_softmax = classes.link == ClassLink::Softmax;
                let algorithm = if is_softmax { SOFTMAX } else { SHARES };
                (algorithm, 0.0, Scorer::LinearClasses(classes))
            }
        };
        let params = [("format", self.format.to_owned())].into_iter().chain(self.params);
        let header = Header {
            algorithm: algorithm.to_owned(),
            params: params.map(|(name, value)| (name.to_owned(), value)).collect(),
            signature: ModelSignature { inputs, output: scorer.output() },
            rows: rows as u64,
            provenance: Vec::new(),
            categories,
            steps: self.steps,
        };
        FittedModel::new(header, scorer)
    }

    /// Refuses what a file of ours could not hold.
    fn check(&self) -> Result<()> {
        let mut names: Vec<&String> = self.names.iter().collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(corrupt(&format!("its feature `{}` is there twice", pair[0])));
        }
        let ImportedScorer::Trees(ensemble) = &self.scorer else { return Ok(()) };
        let outputs = ensemble.outputs();
        if outputs == 0 || outputs > 1_000 || !ensemble.trees.len().is_multiple_of(outputs) {
            return Err(corrupt("its classes have not the same number of trees"));
        }
        if ensemble.trees.len() > TREES_MAX * outputs {
            return Err(unsupported("so many trees"));
        }
        let is_value = ensemble.link == Link::Identity;
        let leaf_max = if is_value { VALUE_MAX / TREES_MAX as f64 } else { LEAF_MAX };
        for tree in &ensemble.trees {
            if tree.depth() > DEPTH_MAX {
                return Err(unsupported("a tree of more than 64 levels"));
            }
            if tree.leaf_values().any(|value| value.is_nan() || value.abs() > leaf_max) {
                return Err(unsupported("a leaf of such a value"));
            }
        }
        if ensemble.bases.iter().any(|base| base.is_nan() || base.abs() > VALUE_MAX) {
            return Err(corrupt("its base score is no number"));
        }
        Ok(())
    }
}

/// Builds our tree from nodes that refer to each other: `node` gives a node by the library's
/// number, with the numbers of its children.
fn build(
    root: i64,
    nodes_max: usize,
    node: impl Fn(i64) -> Result<(Node, f64, f64, [i64; 2])>,
) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    let mut open = vec![(root, 0_u32)];
    let mut seen = 0;
    while let Some((number, place)) = open.pop() {
        seen += 1;
        if seen > nodes_max {
            return Err(corrupt("a tree in it leads in a circle"));
        }
        let (read, cover, gain, children) = node(number)?;
        let known = |value: f64| if value.is_finite() { value.clamp(0.0, VALUE_MAX) } else { 0.0 };
        *tree.note_mut(place) = crate::tree::Note { cover: known(cover), gain: known(gain) };
        match read {
            Node::Leaf(value) => tree.set_leaf(place, value),
            Node::Split(split) => {
                let (left, right) = (tree.push_leaf(0.0), tree.push_leaf(0.0));
                tree.set_split(place, Split { left, right, ..split });
                open.extend([(children[1], right), (children[0], left)]);
            }
        }
    }
    Ok(tree)
}

/// What the splits on each feature gained.
fn gains(trees: &[Tree], features: usize) -> Vec<f64> {
    let mut gains = vec![0.0_f64; features];
    for tree in trees {
        for (place, node) in tree.nodes().iter().enumerate() {
            if let Node::Split(split) = node {
                let sum = &mut gains[split.feature as usize];
                *sum = (*sum + tree.note(place as u32).gain).min(VALUE_MAX);
            }
        }
    }
    gains
}

fn corrupt(why: &str) -> Error {
    Error::corrupt(format!("the imported model is damaged: {why}"))
        .with_help("save it again with the library that trained it")
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("cannot import {what}"))
}

fn unknown() -> Error {
    Error::corrupt("the file is no model that can be imported")
        .with_note(
            "formats: the text of LightGBM, JSON and UBJSON of XGBoost, ONNX, files of icecore",
        )
        .with_help("save it with `booster.save_model`, or convert it by `skl2onnx`")
}

#[cfg(test)]
mod tests;
