//! Growing one tree, level by level.

use rayon::prelude::*;

use super::histogram::Histogram;
use super::objective::Sums;
use super::shard::Shard;
use super::split_search::{Candidate, Search};
use crate::forest::mask::CodeSplit;
use crate::tree::{Side, Split, Tree};

/// A tree with what its splits gained.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) tree: Tree,
    /// The feature and the gain of each split.
    pub(super) gains: Vec<(usize, f64)>,
}

/// A leaf that may be split.
#[derive(Debug)]
struct Open {
    place: u32,
    totals: Sums,
    /// Absent if the leaf has too few rows to be split.
    histogram: Option<Histogram>,
}

/// Grows trees of shards whose gradients and rows are ready.
#[derive(Debug)]
pub(super) struct Grower<'a> {
    pub(super) search: Search<'a>,
    /// The features that the tree may ask about, in order.
    pub(super) features: &'a [usize],
    /// The cut points of each feature.
    pub(super) cuts: &'a [Vec<f64>],
}

impl Grower<'_> {
    /// A tree with at least one split, if one gains enough.
    pub(super) fn grow(&self, shards: &mut [Shard]) -> Option<Grown> {
        let layout = self.search.layout;
        let root = sum(shards.par_iter().map(|shard| shard.histogram(0, layout)))?;
        let mut totals = Sums::default();
        for cell in root.feature(layout, 0) {
            totals.add(*cell);
        }
        let mut grown = Grown { tree: Tree::constant(0.0), gains: Vec::new() };
        let mut open = vec![Open { place: 0, totals, histogram: Some(root) }];
        for depth in 1..=self.search.params.max_depth {
            let found: Vec<Option<Candidate>> =
                open.par_iter().map(|open| self.best(open)).collect();
            let children: Vec<Option<[Open; 2]>> = open
                .iter()
                .zip(&found)
                .map(|(open, found)| found.map(|found| self.split(&mut grown, open, found)))
                .collect();
            if depth == self.search.params.max_depth || found.iter().all(Option::is_none) {
                break;
            }
            open = self.descend(shards, open, &found, children);
        }
        if grown.gains.is_empty() { None } else { Some(grown) }
    }

    fn best(&self, open: &Open) -> Option<Candidate> {
        self.search.best(open.histogram.as_ref()?, open.totals, self.features)
    }

    /// Turns a leaf into a split with two leaves.
    fn split(&self, grown: &mut Grown, open: &Open, found: Candidate) -> [Open; 2] {
        let sides = [found.left, open.totals.minus(found.left)];
        let [left, right] = sides.map(|totals| {
            let place = grown.tree.push_leaf(self.search.leaf(totals));
            Open { place, totals, histogram: None }
        });
        let cuts = &self.cuts[found.feature];
        let split = Split {
            feature: found.feature as u32,
            // All values go left where only the missing ones go right.
            threshold: cuts.get(usize::from(found.code) - 1).copied().unwrap_or(f64::INFINITY),
            missing: found.missing,
            left: left.place,
            right: right.place,
        };
        grown.tree.set_split(open.place, split);
        grown.gains.push((found.feature, found.gain));
        [left, right]
    }

    /// Moves the shards to the next level and returns its leaves with their histograms: the
    /// smaller side's is summed, the other's is what remains of the parent's.
    fn descend(
        &self,
        shards: &mut [Shard],
        parents: Vec<Open>,
        found: &[Option<Candidate>],
        children: Vec<Option<[Open; 2]>>,
    ) -> Vec<Open> {
        let splits: Vec<Option<CodeSplit>> = found
            .iter()
            .map(|found| {
                found.map(|found| CodeSplit::new(found.feature as u32, found.code, found.missing))
            })
            .collect();
        let mut pairs: Vec<(Option<Histogram>, [Open; 2])> = parents
            .into_iter()
            .zip(children)
            .filter_map(|(parent, children)| Some((parent.histogram, children?)))
            .collect();
        let wanted: Vec<Option<usize>> = pairs
            .iter()
            .enumerate()
            .map(|(pair, (_, children))| {
                self.smaller(children).map(|side| pair * 2 + side as usize)
            })
            .collect();
        let parts: Vec<Vec<Option<Histogram>>> = shards
            .par_iter_mut()
            .map(|shard| {
                shard.divide(&splits);
                let histogram = |node: &Option<usize>| {
                    node.map(|node| shard.histogram(node, self.search.layout))
                };
                wanted.iter().map(histogram).collect()
            })
            .collect();
        pairs.par_iter_mut().enumerate().for_each(|(pair, (parent, children))| {
            let of_shards = parts.iter().filter_map(|part| part[pair].as_ref());
            let Some(smaller) = of_shards.fold(None, add_to) else { return };
            let Some(mut rest) = parent.take() else { return };
            rest.subtract(&smaller);
            let [left, right] = children;
            let (small, large) =
                if left.totals.rows <= right.totals.rows { (left, right) } else { (right, left) };
            small.histogram = Some(smaller).filter(|_| self.may_split(small));
            large.histogram = Some(rest);
        });
        pairs.into_iter().flat_map(|(_, children)| children).collect()
    }

    /// The side with fewer rows, if a side can be split at all.
    fn smaller(&self, [left, right]: &[Open; 2]) -> Option<Side> {
        if !self.may_split(left) && !self.may_split(right) {
            return None;
        }
        Some(if left.totals.rows <= right.totals.rows { Side::Left } else { Side::Right })
    }

    const fn may_split(&self, open: &Open) -> bool {
        self.search.is_large_enough(open.totals.rows)
    }
}

fn sum(histograms: impl ParallelIterator<Item = Histogram>) -> Option<Histogram> {
    histograms.reduce_with(|mut sum, other| {
        sum.add(&other);
        sum
    })
}

fn add_to(sum: Option<Histogram>, part: &Histogram) -> Option<Histogram> {
    match sum {
        None => Some(part.clone()),
        Some(mut sum) => {
            sum.add(part);
            Some(sum)
        }
    }
}
