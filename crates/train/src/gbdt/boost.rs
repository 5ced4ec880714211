//! Boosting: tree after tree, each on the gradients that those before it left.

use icecore_core::{Result, SignatureColumn, TrainingSource};
use rayon::prelude::*;

use super::code_tree::CodeTree;
use super::grow::Grower;
use super::histogram::Layout;
use super::params::BoostParams;
use super::ranking::Queries;
use super::shard::{Sampling, Shard};
use super::shards::{Kept, Sharding, canonical_order};
use super::split_search::{Rule, Search};
use super::stop::Watch;
use super::survey::{Survey, Weighing};
use super::target::Target;
use super::value::Penalties;
use crate::arithmetic::mix_pair;
use crate::columns::CategoriesByName;
use crate::forest::rank::RankTable;
use crate::tree::{Ensemble, Tree, VALUE_MAX};

/// Rows to learn from, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Examples<'a> {
    pub(super) learned: &'a dyn TrainingSource,
    pub(super) watched: Option<&'a dyn TrainingSource>,
    pub(super) inputs: &'a [SignatureColumn],
    /// One of each column.
    pub(super) rules: &'a [Rule],
}

/// Learns an ensemble. There is at least one row to learn from; where there are rows to watch,
/// learning stops when they are no longer predicted better, and what came after the best round is
/// forgotten.
pub(super) fn boost(
    params: &BoostParams,
    examples: Examples<'_>,
    survey: Survey,
) -> Result<(Ensemble, CategoriesByName)> {
    let labels = survey.labels.as_slice();
    let target = params.objective.target(labels, survey.weights.as_deref(), survey.outputs);
    let ensemble = Ensemble {
        link: params.objective.link(),
        bases: target.bases.clone(),
        trees: Vec::new(),
        gains: vec![0.0; survey.cuts.len()],
    };
    if survey.cuts.is_empty() || labels.iter().all(|label| *label == labels[0]) {
        return Ok((ensemble, survey.categories));
    }
    // What was surveyed gives way to what is kept of the rows.
    let (booster, survey) = Booster::new(params, examples.rules, (survey, target));
    let mut kept = booster.sharding(&examples, &survey).learned(examples.learned, survey.rows)?;
    let queries = booster.queries(&kept);
    let watch = match examples.watched {
        None => None,
        Some(watched) => {
            let sharding = booster.sharding(&examples, &survey);
            let kept = Sharding { weighing: &Weighing::GIVEN, ..sharding }.watched(watched)?;
            let queries = booster.queries(&kept);
            Some(Watch::new(kept.shards, queries, params.patience))
        }
    };
    let learned = (&mut kept.shards[..], queries);
    Ok((booster.run(ensemble, learned, watch), survey.categories))
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

/// What is still of use of a survey.
struct Surveyed {
    rows: usize,
    weighing: Weighing,
    categories: CategoriesByName,
}

impl<'a> Booster<'a> {
    fn new(
        params: &'a BoostParams,
        rules: &'a [Rule],
        (survey, target): (Survey, Target),
    ) -> (Self, Surveyed) {
        let Survey { rows, weights, weighing, categories, cuts, .. } = survey;
        let tables: Vec<RankTable> = cuts.iter().map(|cuts| RankTable::new(cuts)).collect();
        let layout = Layout::new(tables.iter().map(RankTable::codes));
        let greatest = |weights: Vec<f64>| weights.into_iter().fold(f64::MIN_POSITIVE, f64::max);
        let weight = weights.map(greatest);
        let booster = Self { params, rules, target, cuts, tables, layout, weight };
        (booster, Surveyed { rows, weighing, categories })
    }

    fn sharding<'b>(&'b self, examples: &Examples<'b>, survey: &'b Surveyed) -> Sharding<'b> {
        Sharding {
            objective: self.params.objective,
            target: &self.target,
            tables: &self.tables,
            layout: &self.layout,
            inputs: examples.inputs,
            categories: &survey.categories,
            weighing: &survey.weighing,
        }
    }

    fn run(
        &self,
        mut ensemble: Ensemble,
        (shards, queries): (&mut [Shard], Option<Queries>),
        mut watch: Option<Watch>,
    ) -> Ensemble {
        let outputs = ensemble.outputs();
        for round in 0..self.params.trees {
            if let Some(queries) = &queries {
                queries.give_gradients(shards);
            }
            let key = mix_pair(self.params.seed, round as u64);
            let grown = self.round(shards, key, outputs);
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
    fn queries(&self, kept: &Kept) -> Option<Queries> {
        let ranking = self.params.objective.ranking()?;
        let of_shard =
            |shard: &Shard| (0..shard.rows()).map(|row| shard.label(row).into()).collect();
        let labels: Vec<Vec<f64>> = kept.shards.iter().map(of_shard).collect();
        let order = canonical_order(&kept.shards);
        Some(Queries::new(ranking, &kept.groups, &labels.concat(), order))
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
