//! Sums of trees over columns.
//!
//! A row's value becomes its rank among the model's thresholds, one byte. A split then answers for
//! 64 rows with one comparison of bytes, and the answers select each row's leaf without a branch
//! (`blocks`, and `avx2` for machines that have it). Trees of more than 256 leaves, and single rows, take step after
//! step (`steps`). Leaf values are summed as integers: the same bits in any batch, at any position,
//! by any of the ways, on any machine.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
pub(crate) mod code;
pub(crate) mod hardware;
pub(crate) mod mask;
pub(crate) mod rank;
#[cfg(target_arch = "x86_64")]
mod row;
mod steps;

#[cfg(target_arch = "x86_64")]
use avx2::FewLeaves;
use blocks::{BlockTrees, Slots};
use code::{Coded, Coding};
use hardware::{Hardware, Work};
use mask::{Codes, LANES};
use steps::Steps;

use crate::arithmetic::{exp, sigmoid};
use crate::columns::Values;
use crate::tree::{Ensemble, Link, Tree};

/// No leaf is above two to this power in fixed point, which leaves room for a sum of all trees that
/// there may be. In single precision, which others sum leaves in, it would be 24.
const LEAF_BITS: i32 = 38;
/// Up to so many rows are walked one by one, which is sooner done than a block of 64.
const FEW_ROWS: usize = 8;
/// Columns whose codes of one row need no allocation.
const COLUMNS_AT_HAND: usize = 1_024;

/// Numbers as multiples of a power of two: sums of them do not depend on their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    steps: f64,
}

impl Fixed {
    /// Steps so fine that the greatest leaf just fits.
    fn new(ensemble: &Ensemble) -> Self {
        let leaves = ensemble.trees.iter().flat_map(Tree::leaf_values);
        let greatest = leaves.map(f64::abs).fold(0.0, f64::max);
        Self { steps: power_of_two((LEAF_BITS - exponent(greatest)).clamp(-1_000, 1_000)) }
    }

    pub(crate) fn of(self, value: f64) -> i64 {
        (value * self.steps).round() as i64
    }

    fn value(self, sum: i64) -> f64 {
        sum as f64 / self.steps
    }
}

/// The least power of two above the number has this exponent.
pub(crate) const fn exponent(value: f64) -> i32 {
    (value.to_bits() >> 52 & 0x7FF) as i32 - 1_022
}

/// Two to a power from -1022 to 1023.
pub(crate) const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1_023) as u64) << 52)
}

/// An ensemble made ready for scoring.
#[derive(Debug)]
pub(crate) struct TreeScorer {
    ensemble: Ensemble,
    fixed: Fixed,
    engine: Option<Engine>,
    hardware: Hardware,
    /// The number of trees of an output, by which votes are divided.
    votes: f64,
}

/// Trees over codes. An ensemble that asks for more columns than have a number has none.
#[derive(Debug)]
struct Engine {
    inputs: Vec<Coded>,
    /// The trees of each output.
    steps: Vec<Steps>,
    /// The same trees for blocks of rows, if they are not too large.
    blocks: Option<Vec<Blocks>>,
}

impl TreeScorer {
    /// Makes an ensemble over this many features ready.
    pub(crate) fn new(ensemble: Ensemble, features: usize) -> Self {
        let fixed = Fixed::new(&ensemble);
        let engine = Engine::new(&ensemble, features, fixed);
        let votes = (ensemble.trees.len() / ensemble.outputs().max(1)).max(1) as f64;
        Self { ensemble, fixed, engine, hardware: Hardware::best(), votes }
    }

    pub(crate) const fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// Writes the predictions of rows; the first is row `start` of the columns. Where there are
    /// several outputs, those of a row come one after the other.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        self.respond(out);
    }

    /// Makes predictions of sums.
    pub(crate) fn respond(&self, out: &mut [f64]) {
        match self.ensemble.link {
            Link::Identity => {}
            Link::Logistic => self.hardware.run(Sigmoids(out)),
            Link::Mean | Link::Shares => {
                for value in out {
                    *value = value.clamp(0.0, 1.0);
                }
            }
            Link::Exp => {
                for value in out {
                    *value = exp(*value);
                }
            }
            Link::Softmax => {
                for row in out.chunks_exact_mut(self.ensemble.outputs()) {
                    softmax(row);
                }
            }
        }
    }

    /// Writes what predictions are made of: sums of leaves.
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let outputs = self.ensemble.outputs();
        let rows = out.len() / outputs;
        match &self.engine {
            Some(engine) if rows <= FEW_ROWS => {
                for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                    engine.sums_of_row(self.hardware, (columns, start + row), |output, sum| {
                        out[output] = self.margin(output, sum);
                    });
                }
            }
            Some(engine) => {
                let mut sums = vec![[0; LANES]; rows.div_ceil(LANES) * outputs];
                engine.add_sums(self.hardware, (columns, start, rows), &mut sums);
                for (out, sums) in out.chunks_mut(LANES * outputs).zip(sums.chunks(outputs)) {
                    for (output, sums) in sums.iter().enumerate() {
                        for (value, sum) in out[output..].iter_mut().step_by(outputs).zip(sums) {
                            *value = self.margin(output, *sum);
                        }
                    }
                }
            }
            None => {
                for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                    for (output, value) in out.iter_mut().enumerate() {
                        *value = self.margin(output, self.plain_sum(columns, start + row, output));
                    }
                }
            }
        }
    }

    #[inline]
    fn margin(&self, output: usize, sum: i64) -> f64 {
        let sum = self.fixed.value(sum);
        let sum = if self.ensemble.link == Link::Mean { sum / self.votes } else { sum };
        self.ensemble.bases[output] + sum
    }

    /// The sum of a row's leaves by the trees as they are.
    fn plain_sum(&self, columns: &[Values], row: usize, output: usize) -> i64 {
        let leaf = |tree: &Tree| tree.evaluate(|feature| columns[feature as usize][row]);
        self.ensemble.trees_of(output).map(|tree| self.fixed.of(leaf(tree))).sum()
    }
}

impl Engine {
    fn new(ensemble: &Ensemble, features: usize, fixed: Fixed) -> Option<Self> {
        let coding = Coding::new(ensemble, features)?;
        let outputs = 0..ensemble.outputs();
        let steps = |output| Steps::new(ensemble.trees_of(output), &coding, fixed);
        let blocks = |output| Blocks::new(ensemble, output, &coding, fixed);
        Some(Self {
            steps: outputs.clone().map(steps).collect(),
            blocks: outputs.map(blocks).collect(),
            inputs: coding.inputs,
        })
    }

    /// Hands on each output's sum of one row.
    fn sums_of_row(
        &self,
        hardware: Hardware,
        (columns, row): (&[Values], usize),
        mut sum: impl FnMut(usize, i64),
    ) {
        let mut at_hand = [0; COLUMNS_AT_HAND];
        let mut allocated;
        let codes = if self.inputs.len() <= COLUMNS_AT_HAND {
            &mut at_hand[..self.inputs.len()]
        } else {
            allocated = vec![0; self.inputs.len()];
            &mut allocated[..]
        };
        hardware.run(RowCodes { inputs: &self.inputs, columns, row, codes: &mut *codes });
        for (output, steps) in self.steps.iter().enumerate() {
            let blocks = self.blocks.as_ref().map(|blocks| &blocks[output]);
            let at_once = blocks.and_then(|blocks| blocks.sum_of_row(hardware, codes));
            sum(output, at_once.unwrap_or_else(|| steps.sum_of_row(codes)));
        }
    }

    /// Adds the leaves of rows to their sums: those of a block's outputs come one after the other.
    fn add_sums(
        &self,
        hardware: Hardware,
        (columns, start, rows): (&[Values], usize, usize),
        sums: &mut [[i64; LANES]],
    ) {
        hardware.run(Rows { engine: self, hardware, columns, start, rows, sums });
    }
}

/// A row whose codes are looked up.
struct RowCodes<'a> {
    inputs: &'a [Coded],
    columns: &'a [Values],
    row: usize,
    codes: &'a mut [i8],
}

impl Work for RowCodes<'_> {
    #[inline(always)]
    fn run(self) {
        let mut before = 0;
        for (input, code) in self.inputs.iter().zip(self.codes) {
            before = input.table.code(self.columns[input.feature][self.row], before);
            *code = before;
        }
    }
}

/// The trees of an output, laid out for blocks of rows.
#[derive(Debug)]
struct Blocks {
    trees: BlockTrees,
    #[cfg(target_arch = "x86_64")]
    few_leaves: Option<FewLeaves>,
}

impl Blocks {
    fn new(ensemble: &Ensemble, output: usize, coding: &Coding, fixed: Fixed) -> Option<Self> {
        let trees = BlockTrees::new(ensemble.trees_of(output), coding, fixed)?;
        Some(Self {
            #[cfg(target_arch = "x86_64")]
            few_leaves: FewLeaves::new(&trees, ensemble.trees_of(output), coding, fixed),
            trees,
        })
    }

    /// The sum of the leaves of one row, if it need not be walked.
    fn sum_of_row(&self, hardware: Hardware, codes: &[i8]) -> Option<i64> {
        match hardware {
            Hardware::Common => None,
            #[cfg(target_arch = "x86_64")]
            Hardware::Avx2(proof) => {
                Some(self.few_leaves.as_ref()?.rows()?.sum_of_row(proof, codes))
            }
        }
    }

    #[inline(always)]
    fn add_sums(
        &self,
        hardware: Hardware,
        codes: &[Codes],
        slots: &mut Slots,
        sums: &mut [i64; LANES],
    ) {
        match hardware {
            Hardware::Common => self.trees.add_sums(codes, slots, sums),
            #[cfg(target_arch = "x86_64")]
            Hardware::Avx2(proof) => match &self.few_leaves {
                Some(few) => few.add_sums(proof, &self.trees, (codes, slots), sums),
                None => avx2::add_many_leaves(proof, &self.trees, (codes, slots), sums),
            },
        }
    }
}

/// Rows of columns whose leaves are summed.
struct Rows<'a> {
    engine: &'a Engine,
    hardware: Hardware,
    columns: &'a [Values],
    start: usize,
    rows: usize,
    sums: &'a mut [[i64; LANES]],
}

impl Work for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let Engine { inputs, steps, blocks } = self.engine;
        let mut codes: Vec<Codes> = vec![[0; LANES]; inputs.len()];
        let mut slots = blocks::slots();
        for (block, sums) in self.sums.chunks_mut(steps.len().max(1)).enumerate() {
            let first = self.start + block * LANES;
            let lanes = LANES.min(self.rows - block * LANES);
            let mut before = [0; LANES];
            for (input, codes) in inputs.iter().zip(&mut codes) {
                let values = &self.columns[input.feature][first..first + lanes];
                input.encode(values, &before, codes);
                before = *codes;
            }
            for (output, sums) in sums.iter_mut().enumerate() {
                match blocks {
                    Some(blocks) => {
                        blocks[output].add_sums(self.hardware, &codes, &mut slots, sums);
                    }
                    None => steps[output].add_sums(&codes, sums),
                }
            }
        }
    }
}

/// Log odds that become probabilities.
struct Sigmoids<'a>(&'a mut [f64]);

impl Work for Sigmoids<'_> {
    #[inline(always)]
    fn run(self) {
        for value in self.0 {
            *value = sigmoid(*value);
        }
    }
}

/// Scores of classes as their probabilities.
pub(crate) fn softmax(scores: &mut [f64]) {
    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = exp(*score - greatest);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Numbers divided by their sum; equal shares where there is nothing to share, as of probabilities.
pub(crate) fn shares(amounts: &[f64]) -> Vec<f64> {
    let equal = || vec![1.0 / amounts.len() as f64; amounts.len()];
    fractions(amounts).unwrap_or_else(equal)
}

/// Numbers divided by their sum, if there is one.
pub(crate) fn fractions(amounts: &[f64]) -> Option<Vec<f64>> {
    // Dividing by the greatest first keeps the sum finite.
    let greatest = amounts.iter().copied().fold(0.0, f64::max);
    if greatest <= 0.0 {
        return None;
    }
    let total: f64 = amounts.iter().map(|amount| amount / greatest).sum();
    Some(amounts.iter().map(|amount| amount / greatest / total).collect())
}

#[cfg(test)]
mod tests;
