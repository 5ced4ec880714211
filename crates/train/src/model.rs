//! A fitted model of any algorithm.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use icecore_core::{Model, ModelSignature, OutputKind, PinnedTable, Result, TrainingSet};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{self, Values};
use crate::file;
use crate::forest::TreeScorer;
use crate::linear::LinearScorer;

/// Rows that one task scores.
const TASK_ROWS: usize = 4_096;

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
}

impl Header {
    /// The header of a model that this algorithm learned from this set.
    pub(crate) fn new(
        algorithm: &str,
        params: &BTreeMap<String, String>,
        set: &TrainingSet,
    ) -> Result<Self> {
        let mut provenance = set.provenance().to_vec();
        provenance.sort_unstable();
        provenance.dedup();
        Ok(Self {
            algorithm: algorithm.to_owned(),
            params: params.clone(),
            signature: columns::signature(set, OutputKind::Probability)?,
            rows: set.rows() as u64,
            provenance,
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
    fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        match &self.scorer {
            Scorer::Trees(trees) => trees.score(columns, start, out),
            Scorer::Linear(linear) => linear.score(columns, start, out),
        }
    }
}

impl Model for FittedModel {
    fn signature(&self) -> &ModelSignature {
        &self.header.signature
    }

    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let columns = columns::bind(rows, &self.header.signature)?;
        let mut out = vec![0.0; rows.num_rows()];
        if out.len() <= TASK_ROWS {
            self.score(&columns, 0, &mut out);
        } else {
            out.par_chunks_mut(TASK_ROWS)
                .enumerate()
                .for_each(|(task, out)| self.score(&columns, task * TASK_ROWS, out));
        }
        Ok(Arc::new(Float64Array::from(out)))
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
}
