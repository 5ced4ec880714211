//! Gradients of rankings: LambdaMART (Burges, "From RankNet to LambdaRank to LambdaMART", 2010).
//!
//! Each pair of rows of a query that are not alike relevant pulls the two apart, as strongly as
//! changing places would change the query's gain. As in LightGBM, the pull is divided by the
//! distance that is there already, and the pulls of a query are shortened to their logarithm.

use rayon::prelude::*;

use super::pairs::Pairs;
use super::shard::Shard;
use crate::arithmetic::ln;
use crate::metrics::{best_gain, discount, gain, ndcg_of};

/// How a ranking is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranking {
    /// Only pairs count of which one row is among so many first ones.
    pub(super) truncation: usize,
    /// So many first rows are measured for stopping early.
    pub(super) ndcg_at: usize,
}

/// Rows by query.
#[derive(Debug)]
pub(super) struct Queries {
    ranking: Ranking,
    /// The rows of all queries, those of a query in an order that does not depend on how they came.
    rows: Vec<u32>,
    /// Where each query's rows end.
    ends: Vec<usize>,
    labels: Vec<f64>,
    discounts: Vec<f32>,
}

impl Queries {
    /// The queries of rows, of which `order` is canonical.
    pub(super) fn new(
        ranking: Ranking,
        groups: &[u64],
        labels: &[f64],
        order: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut rows: Vec<u32> = order.into_iter().map(|row| row as u32).collect();
        rows.sort_by_key(|row| groups[*row as usize]);
        let mut end = 0;
        let ends: Vec<usize> = rows
            .chunk_by(|a, b| groups[*a as usize] == groups[*b as usize])
            .map(|query| {
                end += query.len();
                end
            })
            .collect();
        let starts = std::iter::once(&0).chain(&ends);
        let longest = ends.iter().zip(starts).map(|(end, start)| end - start).max().unwrap_or(0);
        let discounts = (0..longest).map(|place| discount(place) as f32).collect();
        Self { ranking, rows, ends, labels: labels.to_vec(), discounts }
    }

    fn queries(&self) -> Vec<&[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end]).collect()
    }

    /// Gives all rows the gradients of their scores.
    pub(super) fn give_gradients(&self, shards: &mut [Shard]) {
        let scores = scores(shards);
        let of_queries: Vec<Vec<(f64, f64)>> =
            self.queries().into_par_iter().map(|query| self.pulls(query, &scores)).collect();
        let mut gradients = vec![(0.0_f32, 0.0_f32); self.rows.len()];
        for (row, (gradient, hessian)) in self.rows.iter().zip(of_queries.iter().flatten()) {
            gradients[*row as usize] = (*gradient as f32, *hessian as f32);
        }
        let mut rest = gradients.as_slice();
        for shard in shards {
            let (of_shard, after) = rest.split_at(shard.rows());
            shard.set_gradients(of_shard);
            rest = after;
        }
    }

    /// The gradient and the hessian of each row of a query.
    fn pulls(&self, query: &[u32], scores: &[f32]) -> Vec<(f64, f64)> {
        let mut pulls = vec![(0.0, 0.0); query.len()];
        let score = |place: usize| f64::from(scores[query[place] as usize]);
        let label = |place: usize| self.labels[query[place] as usize];
        let mut labels: Vec<f64> = (0..query.len()).map(label).collect();
        let best = best_gain(&mut labels, self.ranking.truncation);
        if best <= 0.0 {
            return pulls;
        }
        // The sort is stable: rows of one score stay in their canonical order.
        let mut ranked: Vec<usize> = (0..query.len()).collect();
        ranked.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        let rows = ranked
            .iter()
            .map(|place| (scores[query[*place] as usize], (gain(label(*place)) / best) as f32));
        let mut pairs = Pairs::new(rows, &self.discounts);
        pairs.pull(self.ranking.truncation);
        let sum = pairs.strength();
        let shorter = if sum > 0.0 { ln(1.0 + sum) / std::f64::consts::LN_2 / sum } else { 1.0 };
        for (place, (gradient, hessian)) in ranked.into_iter().zip(pairs.pulls()) {
            pulls[place] = (f64::from(gradient) * shorter, f64::from(hessian) * shorter);
        }
        pulls
    }

    /// What the queries' gains lack together, in steps of 2^-32.
    pub(super) fn loss(&self, shards: &[Shard]) -> i128 {
        const STEPS: f64 = 4_294_967_296.0;
        let scores = scores(shards);
        let loss = |query: &[u32]| {
            let row =
                |row: &u32| (self.labels[*row as usize], f64::from(scores[*row as usize]) + 0.0);
            let mut rows: Vec<(f64, f64)> = query.iter().map(row).collect();
            let gained = ndcg_of(&mut rows, self.ranking.ndcg_at).unwrap_or(1.0);
            ((1.0 - gained) * STEPS).round() as i128
        };
        self.queries().into_par_iter().map(loss).sum()
    }
}

/// The scores of all rows.
fn scores(shards: &[Shard]) -> Vec<f32> {
    shards.iter().flat_map(Shard::first_scores).copied().collect()
}

#[cfg(test)]
mod tests;
