//! Stopping where rows that are not learned from are no longer predicted better.

use rayon::prelude::*;

use super::code_tree::CodeTree;
use super::objective::Objective;
use super::ranking::Queries;
use super::shard::Shard;

/// Rows that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    shards: Vec<Shard>,
    /// The queries that rows are ranked in, if they are.
    queries: Option<Queries>,
    /// How many rounds in a row may bring nothing.
    patience: usize,
    rounds: usize,
    best: Option<i128>,
    best_rounds: usize,
}

impl Watch {
    pub(super) const fn new(shards: Vec<Shard>, queries: Option<Queries>, patience: usize) -> Self {
        Self { shards, queries, patience, rounds: 0, best: None, best_rounds: 0 }
    }

    pub(super) fn add_tree(&mut self, output: usize, tree: &CodeTree) {
        self.shards.par_iter_mut().for_each(|shard| shard.add_tree(output, tree));
    }

    /// Measures the round. The sum is one of integers, so that it does not depend on the shards.
    pub(super) fn is_over(&mut self, objective: Objective) -> bool {
        self.rounds += 1;
        let loss: i128 = match &self.queries {
            None => self.shards.par_iter().map(|shard| shard.loss(objective)).sum(),
            Some(queries) => queries.loss(&self.shards),
        };
        if self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.best_rounds = self.rounds;
        }
        self.rounds - self.best_rounds >= self.patience
    }

    /// After how many rounds the rows were predicted best.
    pub(super) const fn best_rounds(&self) -> usize {
        self.best_rounds
    }
}
