//! Boosting: tree after tree, each on the gradients that those before it left.

use rayon::prelude::*;

use super::BoostParams;
use super::bins::cuts;
use super::grow::Grower;
use super::histogram::Layout;
use super::objective::Objective;
use super::shard::{CodeTree, Sampling, Shard};
use super::split_search::Search;
use crate::arithmetic::mix_pair;
use crate::columns::Values;
use crate::forest::mask::LANES;
use crate::forest::rank::RankTable;
use crate::tree::{Ensemble, Link};

/// Fewer rows than these are not worth a shard of their own.
const SHARD_ROWS_MIN: usize = 8_192;

/// Learns an ensemble from columns, labels and row ids. There is at least one row.
pub(super) fn boost<O: Objective>(
    params: &BoostParams,
    objective: &O,
    columns: &[Values],
    (labels, ids): (&[f64], &[u64]),
) -> Ensemble {
    let mut ensemble = Ensemble {
        link: Link::Logistic,
        base: objective.base(labels),
        trees: Vec::new(),
        gains: vec![0.0; columns.len()],
    };
    if columns.is_empty() || !objective.can_improve(labels) {
        return ensemble;
    }
    let cuts: Vec<Vec<f64>> =
        columns.par_iter().map(|column| cuts(column, params.max_bins)).collect();
    let tables: Vec<RankTable> = cuts.iter().map(|cuts| RankTable::new(cuts)).collect();
    let layout = Layout::new(tables.iter().map(RankTable::codes));
    let mut shards = shards((&tables, &layout), columns, (labels, ids));
    shards.par_iter_mut().for_each(|shard| shard.add_constant(ensemble.base));

    let search = Search { layout: &layout, params, step: O::STEP };
    let mut last: Option<CodeTree> = None;
    for number in 0..params.trees {
        let key = mix_pair(params.seed, number as u64);
        let sampling = params.sampling(key);
        shards.par_iter_mut().for_each(|shard| {
            if let Some(tree) = &last {
                shard.add_tree(tree);
            }
            shard.begin_tree(objective, sampling);
        });
        let features = params.sampled_features(key, columns.len());
        let grower = Grower { search, features: &features, cuts: &cuts };
        let Some(grown) = grower.grow(&mut shards) else {
            last = None;
            if params.sees_everything() {
                break;
            }
            continue;
        };
        for (feature, gain) in &grown.gains {
            ensemble.gains[*feature] += gain;
        }
        last = Some(CodeTree::new(&grown.tree, &tables));
        ensemble.trees.push(grown.tree);
    }
    ensemble
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

/// A shard for each thread, where there are rows enough.
fn shards(
    (tables, layout): (&[RankTable], &Layout),
    columns: &[Values],
    (labels, ids): (&[f64], &[u64]),
) -> Vec<Shard> {
    let rows = labels.len();
    let count = (rows / SHARD_ROWS_MIN).clamp(1, rayon::current_num_threads().max(1));
    // Whole blocks, so that only the last shard has a padded one.
    let rows_per_shard = rows.div_ceil(count).next_multiple_of(LANES);
    (0..rows.div_ceil(rows_per_shard))
        .into_par_iter()
        .map(|shard| {
            let start = shard * rows_per_shard;
            let end = (start + rows_per_shard).min(rows);
            Shard::new((tables, layout), columns, (labels, ids), start..end)
        })
        .collect()
}
