//! A fitted model of any algorithm.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, RecordBatch, UInt32Array};
use arrow::datatypes::Field;
use icecore_core::{
    Error, ErrorKind, Importance, Model, ModelSignature, OutputKind, PinnedTable, Prediction,
    Result, SignatureColumn,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{self, CategoriesByName, Values};
use crate::file;
use crate::forest::{TreeScorer, fractions};
use crate::preprocess::{self, FittedStep, Origin};
use crate::scorer::Scorer;
use crate::shap;
use crate::tree::{Ensemble, Link, Tree};

/// Rows that one task explains.
const TASK_ROWS_EXPLAINED: usize = 64;

/// What a model's file says about it, beside what it computes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) signature: ModelSignature,
    /// The number of rows that it was trained on.
    pub(crate) rows: u64,
    /// The pins that the rows came from, in order.
    pub(crate) provenance: Vec<PinnedTable>,
    /// The categories of inputs that are no numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) categories: CategoriesByName,
    /// What becomes of the inputs before the model computes with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<FittedStep>,
}

impl Header {
    /// The header of a model that this algorithm learned.
    pub(crate) fn new(
        (algorithm, params): (&str, &BTreeMap<String, String>),
        (inputs, scorer): (Vec<SignatureColumn>, &Scorer),
    ) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            params: params.clone(),
            signature: ModelSignature { inputs, output: scorer.output() },
            rows: 0,
            provenance: Vec::new(),
            categories: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// Says how many rows it learned from, and which pins they came from.
    pub(crate) fn with_rows(mut self, rows: usize, provenance: &[PinnedTable]) -> Self {
        self.rows = rows as u64;
        self.provenance = provenance.to_vec();
        self.provenance.sort_unstable();
        self.provenance.dedup();
        self
    }

    pub(crate) fn with_steps(mut self, steps: Vec<FittedStep>) -> Self {
        self.steps = steps;
        self
    }

    pub(crate) fn with_categories(mut self, categories: CategoriesByName) -> Self {
        self.categories = categories;
        self
    }
}

/// A fitted model of this crate.
#[derive(Debug)]
pub(crate) struct FittedModel {
    pub(crate) header: Header,
    pub(crate) scorer: Scorer,
    /// The columns that it computes with, and the inputs that they come from.
    features: Vec<Origin>,
}

impl FittedModel {
    /// A model whose preprocessing fits its inputs.
    pub(crate) fn new(header: Header, scorer: Scorer) -> Result<Self> {
        let features = preprocess::origins(&header.steps, &header.signature.inputs)?;
        Ok(Self { header, scorer, features })
    }

    /// The columns that it computes with.
    pub(crate) fn features(&self) -> impl ExactSizeIterator<Item = &SignatureColumn> {
        self.features.iter().map(|feature| &feature.column)
    }

    /// The rows as it computes with them.
    fn bind(&self, rows: &RecordBatch) -> Result<Vec<Values>> {
        let Header { signature, categories, steps, .. } = &self.header;
        if steps.is_empty() {
            return columns::bind(rows, &signature.inputs, categories);
        }
        let rows = preprocess::apply(steps, &signature.inputs, rows)?;
        let features: Vec<SignatureColumn> = self.features().cloned().collect();
        columns::bind(&rows, &features, categories)
    }

    /// What is known of each feature, summed up by input.
    fn by_input(&self, of_features: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.header.signature.inputs.len()];
        for (feature, amount) in self.features.iter().zip(of_features) {
            sums[feature.input] += amount;
        }
        sums
    }

    /// How much each input counts; nothing where the model gives every row the same.
    fn counts(&self, of_features: &[f64]) -> Vec<f64> {
        let of_inputs = self.by_input(of_features);
        fractions(&of_inputs).unwrap_or_else(|| vec![0.0; of_inputs.len()])
    }

    /// One number of each row and output, scored in parallel.
    fn numbers(
        &self,
        rows: &RecordBatch,
        score: impl Fn(&[Values], usize, &mut [f64]) + Sync,
    ) -> Result<ArrayRef> {
        let columns = self.bind(rows)?;
        let outputs = self.scorer.outputs();
        let mut out = vec![0.0; rows.num_rows() * outputs];
        let task_rows = self.scorer.task_rows();
        if rows.num_rows() <= task_rows {
            score(&columns, 0, &mut out);
        } else {
            out.par_chunks_mut(task_rows * outputs)
                .enumerate()
                .for_each(|(task, out)| score(&columns, task * task_rows, out));
        }
        let numbers: ArrayRef = Arc::new(Float64Array::from(out));
        if self.header.signature.output == OutputKind::Classes {
            return lists(numbers, outputs);
        }
        Ok(numbers)
    }

    /// What the model predicts after some of its rounds, the last among them; nothing where it did
    /// not learn in rounds.
    pub(crate) fn after_rounds(
        &self,
        rows: &RecordBatch,
        points: usize,
    ) -> Result<Vec<(usize, ArrayRef)>> {
        let Scorer::Trees(trees) = &self.scorer else { return Ok(Vec::new()) };
        let ensemble = trees.ensemble();
        let outputs = ensemble.outputs();
        let rounds = ensemble.trees.len() / outputs.max(1);
        if ensemble.link == Link::Mean || self.header.algorithm != crate::gbdt::ALGORITHM {
            return Ok(Vec::new());
        }
        let columns = self.bind(rows)?;
        let mut margins = vec![0.0; rows.num_rows() * outputs];
        for row in margins.chunks_exact_mut(outputs) {
            row.copy_from_slice(&ensemble.bases);
        }
        let step = rounds.div_ceil(points).max(1);
        let mut after = Vec::new();
        for start in (0..rounds).step_by(step) {
            let end = (start + step).min(rounds);
            let part = Ensemble {
                link: ensemble.link,
                bases: vec![0.0; outputs],
                trees: ensemble.trees[start * outputs..end * outputs].to_vec(),
                gains: ensemble.gains.clone(),
            };
            let mut adds = vec![0.0; margins.len()];
            TreeScorer::new(part, columns.len()).margins(&columns, 0, &mut adds);
            for (margin, add) in margins.iter_mut().zip(adds) {
                *margin += add;
            }
            let mut predictions = margins.clone();
            trees.respond(&mut predictions);
            let numbers: ArrayRef = Arc::new(Float64Array::from(predictions));
            let is_list = ensemble.link == Link::Softmax;
            after.push((end, if is_list { lists(numbers, outputs)? } else { numbers }));
        }
        Ok(after)
    }

    fn leaves(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let Scorer::Trees(trees) = &self.scorer else { return Err(self.has_no("leaves")) };
        let columns = self.bind(rows)?;
        let trees = &trees.ensemble().trees;
        let numbers: Vec<Vec<u32>> = trees.iter().map(Tree::leaf_numbers).collect();
        let leaf = |row: usize, (tree, numbers): (&Tree, &Vec<u32>)| {
            numbers[tree.find(|feature| columns[feature as usize][row]) as usize]
        };
        let width = trees.len();
        let leaves: Vec<Vec<u32>> = (0..rows.num_rows())
            .into_par_iter()
            .with_min_len(TASK_ROWS_EXPLAINED)
            .map(|row| trees.iter().zip(&numbers).map(|of| leaf(row, of)).collect())
            .collect();
        lists(Arc::new(UInt32Array::from(leaves.concat())), width)
    }

    fn contributions(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let columns = self.bind(rows)?;
        let width = (self.header.signature.inputs.len() + 1) * self.scorer.outputs();
        let explain: Box<dyn Fn(usize) -> Vec<f64> + Send + Sync> = match &self.scorer {
            Scorer::Trees(trees) => {
                if !shap::is_possible(trees.ensemble()) {
                    return Err(self.has_no("contributions").with_help(
                        "it was written without the numbers of rows in its trees: train it again",
                    ));
                }
                let ensemble = trees.ensemble();
                let expected = shap::expected(ensemble);
                let columns = &columns;
                Box::new(move |row| {
                    let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
                    self.fold(shap::contributions(ensemble, &expected, &values))
                })
            }
            Scorer::Linear(linear) => {
                let columns = &columns;
                Box::new(move |row| self.fold(linear.contributions(columns, row)))
            }
            Scorer::LinearClasses(classes) => {
                let columns = &columns;
                Box::new(move |row| self.fold(classes.contributions(columns, row)))
            }
            _ => return Err(self.has_no("contributions")),
        };
        let values: Vec<Vec<f64>> = (0..rows.num_rows())
            .into_par_iter()
            .with_min_len(TASK_ROWS_EXPLAINED)
            .map(explain)
            .collect();
        lists(Arc::new(Float64Array::from(values.concat())), width)
    }

    /// What each feature adds, and the rest, as what each input adds, and the rest.
    fn fold(&self, of_features: Vec<f64>) -> Vec<f64> {
        if self.header.steps.is_empty() {
            return of_features;
        }
        let width = self.features.len();
        let of_output = |output: &[f64]| {
            let mut folded = self.by_input(&output[..width]);
            folded.extend(output.last());
            folded
        };
        of_features.chunks_exact(width + 1).flat_map(of_output).collect()
    }

    fn has_no(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("a model of `{}` has no {what}", self.header.algorithm),
        )
    }
}

/// A list of this many of the values for each row.
fn lists(values: ArrayRef, width: usize) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", values.data_type().clone(), false));
    let width = i32::try_from(width).map_err(|_| Error::invalid("a row has too many outputs"))?;
    if width == 0 {
        return Err(Error::invalid("the model has no trees, and so no leaves"));
    }
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, values, None)?))
}

impl Model for FittedModel {
    fn signature(&self) -> &ModelSignature {
        &self.header.signature
    }

    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        self.numbers(rows, |columns, start, out| self.scorer.score(columns, start, out))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        file::encode(self)
    }

    fn importance(&self) -> Vec<f64> {
        let amounts = match &self.scorer {
            Scorer::Trees(trees) => trees.ensemble().gains.clone(),
            Scorer::Linear(linear) => linear.weights(),
            Scorer::LinearClasses(classes) => classes.weights(),
            _ => return Vec::new(),
        };
        self.counts(&amounts)
    }

    fn importance_by(&self, importance: Importance) -> Vec<f64> {
        match (importance, &self.scorer) {
            (Importance::Splits, Scorer::Trees(trees)) => {
                self.counts(&trees.ensemble().split_counts())
            }
            (Importance::Gain, _) => self.importance(),
            _ => Vec::new(),
        }
    }

    fn predict_as(&self, rows: &RecordBatch, what: Prediction) -> Result<ArrayRef> {
        match what {
            Prediction::Response => self.predict(rows),
            Prediction::Margin if self.scorer.has_margins() => {
                self.numbers(rows, |columns, start, out| self.scorer.margins(columns, start, out))
            }
            Prediction::Leaves => self.leaves(rows),
            Prediction::Contributions => self.contributions(rows),
            _ => Err(self.has_no("such output")),
        }
    }

    fn rounds(&self) -> Option<usize> {
        match &self.scorer {
            Scorer::Trees(trees) => {
                let ensemble = trees.ensemble();
                Some(ensemble.trees.len().div_ceil(ensemble.outputs().max(1)))
            }
            _ => None,
        }
    }
}
