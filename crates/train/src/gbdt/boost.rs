//! Boosting: tree after tree, each on the gradients that those before it left.

use rayon::prelude::*;

use super::bins::cuts;
use super::code_tree::CodeTree;
use super::grow::Grower;
use super::histogram::Layout;
use super::params::BoostParams;
use super::ranking::Queries;
use super::shard::{Rows, Sampling, Shard};
use super::split_search::{Rule, Search};
use super::stop::Watch;
use super::target::Target;
use super::value::Penalties;
use crate::arithmetic::mix_pair;
use crate::canonical::canonical_order;
use crate::columns::Values;
use crate::forest::mask::LANES;
use crate::forest::rank::RankTable;
use crate::tree::{CATEGORIES_MAX, Ensemble, Tree, VALUE_MAX};

/// Fewer rows than these are not worth a shard of their own.
const SHARD_ROWS_MIN: usize = 8_192;

/// Rows to learn from, or to watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Examples<'a> {
    pub(super) columns: &'a [Values],
    pub(super) labels: &'a [f64],
    pub(super) weights: Option<&'a [f64]>,
    pub(super) ids: &'a [u64],
    /// The groups that rows are ranked in, if they are.
    pub(super) groups: Option<&'a [u64]>,
}

/// Learns an ensemble. There is at least one row to learn from; where there are rows to watch,
/// learning stops when they are no longer predicted better, and what came after the best round is
/// forgotten.
pub(super) fn boost(
    params: &BoostParams,
    rules: &[Rule],
    learned: Examples<'_>,
    watched: Option<Examples<'_>>,
    outputs: usize,
) -> Ensemble {
    let target = params.objective.target(learned.labels, learned.weights, outputs);
    let ensemble = Ensemble {
        link: params.objective.link(),
        bases: target.bases.clone(),
        trees: Vec::new(),
        gains: vec![0.0; learned.columns.len()],
    };
    let labels = learned.labels;
    if learned.columns.is_empty() || labels.iter().all(|label| *label == labels[0]) {
        return ensemble;
    }
    Booster::new(params, rules, learned, target).run(ensemble, learned, watched)
}

/// What boosting works with, whatever the rows are.
struct Booster<'a> {
    params: &'a BoostParams,
    rules: &'a [Rule],
    target: Target,
    cuts: Vec<Vec<f64>>,
    tables: Vec<RankTable>,
    layout: Layout,
    /// The greatest weight, where rows have some.
    weight: Option<f64>,
}

impl<'a> Booster<'a> {
    fn new(
        params: &'a BoostParams,
        rules: &'a [Rule],
        learned: Examples<'_>,
        target: Target,
    ) -> Self {
        let cuts: Vec<Vec<f64>> = learned
            .columns
            .par_iter()
            .zip(rules)
            .map(|(column, rule)| {
                if rule.is_categorical {
                    return between_categories(column);
                }
                cuts(column, learned.ids, params.max_bins)
            })
            .collect();
        let tables: Vec<RankTable> = cuts.iter().map(|cuts| RankTable::new(cuts)).collect();
        let layout = Layout::new(tables.iter().map(RankTable::codes));
        let weight = learned
            .weights
            .map(|weights| weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max));
        Self { params, rules, target, cuts, tables, layout, weight }
    }

    fn run(
        &self,
        mut ensemble: Ensemble,
        learned: Examples<'_>,
        watched: Option<Examples<'_>>,
    ) -> Ensemble {
        let mut shards = self.shards(learned, &self.target.labels);
        let mut watch = watched.map(|watched| {
            let labels = self.target.encode(watched.labels);
            let queries = self.queries(watched);
            Watch::new(self.shards(watched, &labels), queries, self.params.patience)
        });
        let queries = self.queries(learned);
        let outputs = ensemble.outputs();
        for round in 0..self.params.trees {
            if let Some(queries) = &queries {
                queries.give_gradients(&mut shards);
            }
            let key = mix_pair(self.params.seed, round as u64);
            let grown = self.round(&mut shards, key, outputs);
            if grown.iter().all(Option::is_none) {
                if self.params.sees_everything() {
                    break;
                }
                continue;
            }
            for (output, grown) in grown.into_iter().enumerate() {
                let mut tree = grown.unwrap_or_else(|| Tree::constant(0.0));
                let codes = CodeTree::new(&tree, &self.tables);
                shards.par_iter_mut().for_each(|shard| shard.add_tree(output, &codes));
                if let Some(watch) = &mut watch {
                    watch.add_tree(output, &codes);
                }
                tree.scale(self.target.scale);
                ensemble.trees.push(tree);
            }
            if watch.as_mut().is_some_and(|watch| watch.is_over(self.params.objective)) {
                break;
            }
        }
        if let Some(watch) = watch {
            ensemble.trees.truncate(watch.best_rounds() * outputs);
        }
        sum_gains(&mut ensemble);
        ensemble
    }

    /// The queries of rows that are ranked.
    fn queries(&self, examples: Examples<'_>) -> Option<Queries> {
        let (ranking, groups) = (self.params.objective.ranking()?, examples.groups?);
        let Examples { columns, labels, ids, .. } = examples;
        Some(Queries::new(ranking, groups, labels, canonical_order(columns, labels, ids)))
    }

    /// One tree of each output, where one gains enough.
    fn round(&self, shards: &mut [Shard], key: u64, outputs: usize) -> Vec<Option<Tree>> {
        let objective = self.params.objective;
        let greatest = if objective.is_unbounded() {
            let of_shards = shards.par_iter().map(|shard| shard.greatest(objective));
            of_shards.reduce(|| (0.0, 0.0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
        } else {
            (1.0, 1.0)
        };
        let steps = objective.steps(greatest, self.weight, (key >> 16) as u32);
        let sampling = self.params.sampling(key);
        shards.par_iter_mut().for_each(|shard| {
            shard.begin_round(objective, steps);
            shard.begin_tree(sampling);
        });
        let features = self.params.sampled_features(key, self.tables.len());
        let penalties = self.penalties();
        let is_plain = penalties.l1 == 0.0 && self.rules.iter().all(|rule| rule.monotone == 0);
        let mut trees = Vec::with_capacity(outputs);
        for output in 0..outputs {
            if output > 0 {
                shards.par_iter_mut().for_each(|shard| shard.begin_tree(sampling));
            }
            let search =
                Search { layout: &self.layout, penalties, steps, rules: self.rules, is_plain };
            let grower = Grower {
                search,
                size: self.params.size,
                output,
                features: &features,
                cuts: &self.cuts,
                tables: &self.tables,
                quantile: objective.quantile(),
            };
            trees.push(grower.grow(shards));
        }
        trees
    }

    /// The penalties in the units of the labels that training sees.
    fn penalties(&self) -> Penalties {
        let mut penalties = self.params.penalties;
        if self.params.objective.quantile().is_none() {
            penalties.l1 /= self.target.scale;
            penalties.min_gain /= self.target.scale * self.target.scale;
        }
        penalties
    }

    /// A shard for each thread, where there are rows enough.
    fn shards(&self, examples: Examples<'_>, labels: &[f32]) -> Vec<Shard> {
        let rows = labels.len();
        if rows == 0 {
            return Vec::new();
        }
        let count = (rows / SHARD_ROWS_MIN).clamp(1, rayon::current_num_threads().max(1));
        // Whole blocks, so that only the last shard has a padded one.
        let rows_per_shard = rows.div_ceil(count).next_multiple_of(LANES);
        let weights: Option<Vec<f32>> =
            examples.weights.map(|weights| weights.iter().map(|weight| *weight as f32).collect());
        let all = Rows {
            columns: examples.columns,
            labels,
            weights: weights.as_deref(),
            ids: examples.ids,
        };
        (0..rows.div_ceil(rows_per_shard))
            .into_par_iter()
            .map(|shard| {
                let start = shard * rows_per_shard;
                let end = (start + rows_per_shard).min(rows);
                let layout = (&self.tables[..], &self.layout);
                Shard::new(layout, all, start..end, &self.target.starts)
            })
            .collect()
    }
}

/// A cut between each category and the next.
fn between_categories(column: &Values) -> Vec<f64> {
    let last = column.iter().copied().filter(|code| !code.is_nan()).fold(0.0, f64::max);
    let last = (last as usize).min(CATEGORIES_MAX - 1);
    (0..last).map(|category| category as f64 + 0.5).collect()
}

fn sum_gains(ensemble: &mut Ensemble) {
    let mut gains = vec![0.0; ensemble.gains.len()];
    for tree in &ensemble.trees {
        for (place, node) in tree.nodes().iter().enumerate() {
            if let crate::tree::Node::Split(split) = node {
                let sum: &mut f64 = &mut gains[split.feature as usize];
                *sum = (*sum + tree.note(place as u32).gain).min(VALUE_MAX);
            }
        }
    }
    ensemble.gains = gains;
}

impl BoostParams {
    /// Whether every tree sees every row and column, so that one without a split is the last.
    fn sees_everything(&self) -> bool {
        self.subsample >= 1.0 && self.colsample >= 1.0
    }

    fn sampling(&self, key: u64) -> Sampling {
        if self.subsample >= 1.0 {
            return Sampling::All;
        }
        // The conversion saturates.
        let limit = (self.subsample * 4_294_967_296.0) as u32;
        Sampling::Hashed { key: (key >> 32) as u32, limit }
    }

    /// The columns that a tree may ask about: their number is the share, rounded, at least one.
    fn sampled_features(&self, key: u64, features: usize) -> Vec<usize> {
        let mut sampled: Vec<usize> = (0..features).collect();
        let count = (features as f64 * self.colsample).round().max(1.0) as usize;
        if count < features {
            sampled.sort_unstable_by_key(|feature| (mix_pair(key, *feature as u64), *feature));
            sampled.truncate(count);
            sampled.sort_unstable();
        }
        sampled
    }
}
