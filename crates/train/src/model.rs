//! A fitted model of any algorithm.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, RecordBatch, UInt32Array};
use arrow::datatypes::Field;
use icecore_core::{
    Error, ErrorKind, Importance, Model, ModelSignature, OutputKind, PinnedTable, Prediction,
    Result, TrainingSet,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{self, CategoriesByName, Values};
use crate::file;
use crate::forest::{TreeScorer, shares};
use crate::linear::LinearScorer;
use crate::shap;
use crate::tree::Tree;

/// Rows that one task scores.
const TASK_ROWS: usize = 4_096;
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
}

impl Header {
    /// The header of a model that this algorithm learned from this set.
    pub(crate) fn new(
        algorithm: &str,
        params: &BTreeMap<String, String>,
        set: &TrainingSet,
        output: OutputKind,
    ) -> Result<Self> {
        let mut provenance = set.provenance().to_vec();
        provenance.sort_unstable();
        provenance.dedup();
        Ok(Self {
            algorithm: algorithm.to_owned(),
            params: params.clone(),
            signature: columns::signature(set, output)?,
            rows: set.rows() as u64,
            provenance,
            categories: BTreeMap::new(),
        })
    }
}

/// What a model computes with.
#[derive(Debug)]
pub(crate) enum Scorer {
    Trees(TreeScorer),
    Linear(LinearScorer),
}

/// A fitted model of this crate.
#[derive(Debug)]
pub(crate) struct FittedModel {
    pub(crate) header: Header,
    pub(crate) scorer: Scorer,
}

impl FittedModel {
    fn outputs(&self) -> usize {
        match &self.scorer {
            Scorer::Trees(trees) => trees.ensemble().outputs(),
            Scorer::Linear(_) => 1,
        }
    }

    /// One number of each row and output, scored in parallel.
    fn numbers(
        &self,
        rows: &RecordBatch,
        score: impl Fn(&[Values], usize, &mut [f64]) + Sync,
    ) -> Result<ArrayRef> {
        let columns = columns::bind(rows, &self.header.signature, &self.header.categories)?;
        let outputs = self.outputs();
        let mut out = vec![0.0; rows.num_rows() * outputs];
        if rows.num_rows() <= TASK_ROWS {
            score(&columns, 0, &mut out);
        } else {
            out.par_chunks_mut(TASK_ROWS * outputs)
                .enumerate()
                .for_each(|(task, out)| score(&columns, task * TASK_ROWS, out));
        }
        let numbers: ArrayRef = Arc::new(Float64Array::from(out));
        if self.header.signature.output == OutputKind::Classes {
            return lists(numbers, outputs);
        }
        Ok(numbers)
    }

    fn leaves(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let Scorer::Trees(trees) = &self.scorer else { return Err(self.has_no("leaves")) };
        let columns = columns::bind(rows, &self.header.signature, &self.header.categories)?;
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
        let columns = columns::bind(rows, &self.header.signature, &self.header.categories)?;
        let inputs = columns.len();
        let width = (inputs + 1) * self.outputs();
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
                    shap::contributions(ensemble, &expected, &values)
                })
            }
            Scorer::Linear(linear) => {
                let columns = &columns;
                Box::new(move |row| linear.contributions(columns, row))
            }
        };
        let values: Vec<Vec<f64>> = (0..rows.num_rows())
            .into_par_iter()
            .with_min_len(TASK_ROWS_EXPLAINED)
            .map(explain)
            .collect();
        lists(Arc::new(Float64Array::from(values.concat())), width)
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
        self.numbers(rows, |columns, start, out| match &self.scorer {
            Scorer::Trees(trees) => trees.score(columns, start, out),
            Scorer::Linear(linear) => linear.score(columns, start, out),
        })
    }

    fn encode(&self) -> Result<Vec<u8>> {
        file::encode(self)
    }

    fn importance(&self) -> Vec<f64> {
        match &self.scorer {
            Scorer::Trees(trees) => trees.importance(),
            Scorer::Linear(linear) => linear.importance(),
        }
    }

    fn importance_by(&self, importance: Importance) -> Vec<f64> {
        match (importance, &self.scorer) {
            (Importance::Splits, Scorer::Trees(trees)) => shares(&trees.ensemble().split_counts()),
            (Importance::Gain, _) => self.importance(),
            _ => Vec::new(),
        }
    }

    fn predict_as(&self, rows: &RecordBatch, what: Prediction) -> Result<ArrayRef> {
        match what {
            Prediction::Response => self.predict(rows),
            Prediction::Margin => self.numbers(rows, |columns, start, out| match &self.scorer {
                Scorer::Trees(trees) => trees.margins(columns, start, out),
                Scorer::Linear(linear) => linear.margins(columns, start, out),
            }),
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
            Scorer::Linear(_) => None,
        }
    }
}
