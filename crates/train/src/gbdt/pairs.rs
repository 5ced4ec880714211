//! How the rows of one query pull each other apart.
//!
//! One row and all that are ranked below it are worked on at once, a vector of pairs after the other.
//! Each sum has lanes of its own, which are added in one order: so the pulls are the same, to the bit,
//! on every machine.

use super::objective::exp_f32;
use crate::forest::hardware::{Hardware, Work};

/// What keeps the pull of rows with equal scores finite, as in LightGBM.
const DISTANCE_MIN: f32 = 0.01;
/// Pairs that are worked on at once.
const LANES: usize = 8;

type Lane = [f32; LANES];

/// Rows of a query, the one with the greatest score first, and how they are pulled.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    rows: usize,
    scores: Vec<Lane>,
    /// What each row gains, as a part of the most that a query can.
    gains: Vec<Lane>,
    discounts: Vec<Lane>,
    gradients: Vec<Lane>,
    hessians: Vec<Lane>,
    /// How strongly all rows are pulled together.
    strength: f64,
}

impl Pairs {
    /// Rows with scores and gains, in the order of their scores; `discounts` are those of the places.
    pub(super) fn new(rows: impl Iterator<Item = (f32, f32)>, discounts: &[f32]) -> Self {
        let (scores, gains): (Vec<f32>, Vec<f32>) = rows.unzip();
        let rows = scores.len();
        let none = vec![[0.0; LANES]; rows.div_ceil(LANES)];
        Self {
            rows,
            scores: filled_up(&scores),
            gains: filled_up(&gains),
            discounts: filled_up(&discounts[..rows.min(discounts.len())]),
            gradients: none.clone(),
            hessians: none,
            strength: 0.0,
        }
    }

    /// Pulls apart all pairs of which one row is among so many first ones.
    pub(super) fn pull(&mut self, first: usize) {
        Hardware::best().run(Pull { pairs: self, first });
    }

    /// The gradient and the hessian of each row, in the order of their scores.
    pub(super) fn pulls(&self) -> impl Iterator<Item = (f32, f32)> {
        let gradients = self.gradients.as_flattened().iter();
        let pulls = gradients.zip(self.hessians.as_flattened());
        pulls.map(|(gradient, hessian)| (*gradient, *hessian)).take(self.rows)
    }

    /// How strongly all rows are pulled together.
    pub(super) const fn strength(&self) -> f64 {
        self.strength
    }

    /// Pulls a row and those below it apart.
    #[inline(always)]
    fn pull_row(&mut self, upper: usize, differ: bool) {
        let of = |lanes: &[Lane]| lanes[upper / LANES][upper % LANES];
        let (score, gain, discount) = (of(&self.scores), of(&self.gains), of(&self.discounts));
        let (mut down, mut curved, mut strong) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for at in upper / LANES..self.scores.len() {
            let (scores, gains) = (&self.scores[at], &self.gains[at]);
            let (mut pull, mut hessian) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                let place = at * LANES + lane;
                let counts = if place > upper && place < self.rows { 1.0 } else { 0.0 };
                let distance = (score - scores[lane]).max(0.0);
                let more = (gain - gains[lane]) * counts;
                let change = more.abs() * (discount - self.discounts[at][lane]);
                let change = change / if differ { DISTANCE_MIN + distance } else { 1.0 };
                // How far the more relevant row is ahead.
                let ahead = if more < 0.0 { -distance } else { distance };
                let wrong = 1.0 / (1.0 + exp_f32(ahead));
                let strength = change * wrong;
                strong[lane] += strength;
                hessian[lane] = strength * (1.0 - wrong);
                pull[lane] = if more < 0.0 { -strength } else { strength };
            }
            let (gradients, hessians) = (&mut self.gradients[at], &mut self.hessians[at]);
            for lane in 0..LANES {
                gradients[lane] += pull[lane];
                hessians[lane] += hessian[lane];
                down[lane] += pull[lane];
                curved[lane] += hessian[lane];
            }
        }
        self.gradients[upper / LANES][upper % LANES] -= sum(down);
        self.hessians[upper / LANES][upper % LANES] += sum(curved);
        self.strength += 2.0 * f64::from(sum(strong));
    }
}

/// Rows that are pulled apart.
struct Pull<'a> {
    pairs: &'a mut Pairs,
    first: usize,
}

impl Work for Pull<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { pairs, first } = self;
        let Some(last) = pairs.rows.checked_sub(1) else { return };
        let scores = pairs.scores.as_flattened();
        let differ = scores[0] != scores[last];
        for upper in 0..last.min(first) {
            pairs.pull_row(upper, differ);
        }
    }
}

fn filled_up(values: &[f32]) -> Vec<Lane> {
    let lane = |values: &[f32]| {
        let mut lane = [0.0; LANES];
        lane.iter_mut().zip(values).for_each(|(lane, value)| *lane = *value);
        lane
    };
    values.chunks(LANES).map(lane).collect()
}

fn sum(lanes: Lane) -> f32 {
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn discount(place: usize) -> f32 {
        crate::metrics::discount(place) as f32
    }

    /// Pair by pair.
    fn oracle(rows: &[(f32, f32)], discounts: &[f32], first: usize) -> (Vec<(f64, f64)>, f64) {
        let discounts: Vec<f64> = discounts.iter().map(|discount| f64::from(*discount)).collect();
        let rows: Vec<(f64, f64)> =
            rows.iter().map(|row| (f64::from(row.0), f64::from(row.1))).collect();
        let mut pulls = vec![(0.0, 0.0); rows.len()];
        let mut strength = 0.0;
        let differ = rows.first().map(|row| row.0) != rows.last().map(|row| row.0);
        for upper in 0..rows.len().min(first) {
            for lower in upper + 1..rows.len() {
                if rows[upper].1 == rows[lower].1 {
                    continue;
                }
                let is_right = rows[upper].1 > rows[lower].1;
                let (more, less) = if is_right { (upper, lower) } else { (lower, upper) };
                let ahead = rows[more].0 - rows[less].0;
                let gains = rows[more].1 - rows[less].1;
                let mut change = gains * (discounts[upper] - discounts[lower]);
                if differ {
                    change /= f64::from(DISTANCE_MIN) + ahead.abs();
                }
                let wrong = 1.0 / (1.0 + ahead.exp());
                for (row, sign) in [(more, -1.0), (less, 1.0)] {
                    pulls[row].0 += sign * change * wrong;
                    pulls[row].1 += change * wrong * (1.0 - wrong);
                }
                strength += 2.0 * change * wrong;
            }
        }
        (pulls, strength)
    }

    proptest! {
        #[test]
        fn rows_are_pulled_as_each_pair_pulls(
            mut scores in prop::collection::vec(-8_i32..8, 0..40),
            gains in prop::collection::vec(0_u8..5, 40),
            first in 0_usize..45,
        ) {
            scores.sort_unstable_by(|a, b| b.cmp(a));
            let rows: Vec<(f32, f32)> = scores.iter().zip(&gains)
                .map(|(score, gain)| (*score as f32 / 4.0, f32::from(*gain) / 4.0)).collect();
            let discounts: Vec<f32> = (0..40).map(discount).collect();
            let mut pairs = Pairs::new(rows.iter().copied(), &discounts);
            pairs.pull(first);
            let (expected, strength) = oracle(&rows, &discounts, first);
            // As far as the strongest pulls of a query are from what is lost in adding them.
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * (1.0 + strength);
            prop_assert!(close(pairs.strength(), strength));
            for (pull, expected) in pairs.pulls().zip(&expected) {
                prop_assert!(close(pull.0.into(), expected.0) && close(pull.1.into(), expected.1));
            }
            prop_assert_eq!(pairs.pulls().count(), expected.len());
        }

        #[test]
        fn pulls_are_the_same_on_all_hardware(
            mut scores in prop::collection::vec(-3.0_f32..3.0, 1..70),
            gains in prop::collection::vec(0_u8..5, 70),
        ) {
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
            let rows = || scores.iter().zip(&gains).map(|(score, gain)| (*score, f32::from(*gain)));
            let discounts: Vec<f32> = (0..70).map(discount).collect();
            let mut all = Hardware::all().into_iter().map(|hardware| {
                let mut pairs = Pairs::new(rows(), &discounts);
                hardware.run(Pull { pairs: &mut pairs, first: 30 });
                let bits: Vec<(u32, u32)> =
                    pairs.pulls().map(|pull| (pull.0.to_bits(), pull.1.to_bits())).collect();
                (bits, pairs.strength().to_bits())
            });
            let first = all.next();
            prop_assert!(all.all(|next| Some(next) == first));
        }
    }
}
