//! Growing one tree: level by level, or always the leaf that gains most.

use rayon::prelude::*;

use super::code_tree::Route;
use super::histogram::Histogram;
use super::packed::Sums;
use super::shard::Shard;
use super::split_search::{Asked, Asker, Candidate, Search};
use super::target::quantile;
use super::value::Bounds;
use crate::forest::rank::RankTable;
use crate::tree::{LEAF_MAX, Question, Split, Tree};

/// Waking another thread takes longer than to divide so few rows.
const ALONE_ROWS_MAX: i64 = 4_096;

/// In which order leaves are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// All leaves of a level.
    Level,
    /// The leaf whose split gains most (Shi, "Best-first decision tree learning", 2007).
    Leaf,
}

/// How large trees become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) growth: Growth,
    pub(super) max_depth: usize,
    pub(super) max_leaves: usize,
}

/// A leaf that may be split.
#[derive(Debug)]
struct Open {
    place: u32,
    /// Its number in the shards.
    node: usize,
    depth: usize,
    asker: Asker,
    /// Absent if the leaf cannot be split.
    histogram: Option<Histogram>,
    best: Option<Candidate>,
}

/// Grows trees of shards whose gradients and rows are ready.
#[derive(Debug)]
pub(super) struct Grower<'a> {
    pub(super) search: Search<'a>,
    pub(super) size: Size,
    /// The output whose gradients the tree follows.
    pub(super) output: usize,
    /// The features that the tree may ask about, in order.
    pub(super) features: &'a [usize],
    /// The cut points of each feature.
    pub(super) cuts: &'a [Vec<f64>],
    pub(super) tables: &'a [RankTable],
    /// The quantile of the residuals that leaves have, where they have one.
    pub(super) quantile: Option<f64>,
}

impl Grower<'_> {
    /// A tree with at least one split, if one gains enough.
    pub(super) fn grow(&self, shards: &mut [Shard]) -> Option<Tree> {
        let layout = self.search.layout;
        let root = shards
            .par_chunks(shards_of_task(shards))
            .map(|shards| self.histogram(shards, 0))
            .reduce_with(|mut sum, other| {
                sum.add(&other);
                sum
            })?;
        let mut totals = Sums::default();
        for cell in root.feature(layout, 0) {
            totals.add(*cell);
        }
        let asker = Asker { totals, bounds: Bounds::NONE };
        let mut tree = Tree::constant(0.0);
        tree.note_mut(0).cover = totals.rows as f64;
        let mut root =
            Open { place: 0, node: 0, depth: 0, asker, histogram: Some(root), best: None };
        root.best = self.best(&root);
        let mut open = vec![root];
        let mut nodes = 1;
        loop {
            let chosen = self.choose(&mut open);
            if chosen.is_empty() {
                break;
            }
            let pairs = self.split(&mut tree, chosen, &mut nodes);
            let leaves_left = open.len() + 2 * pairs.len() < self.size.max_leaves;
            open.extend(self.descend(shards, pairs, leaves_left));
        }
        if open.len() < 2 {
            return None;
        }
        if let Some(alpha) = self.quantile {
            self.set_quantiles(&mut tree, shards, &open, alpha);
        }
        Some(tree)
    }

    /// Takes the leaves that are split next.
    fn choose(&self, open: &mut Vec<Open>) -> Vec<Open> {
        let room = self.size.max_leaves.saturating_sub(open.len());
        let mut order: Vec<(usize, f64)> = open
            .iter()
            .enumerate()
            .filter_map(|(at, open)| open.best.map(|best| (at, best.gain)))
            .collect();
        let count = match self.size.growth {
            Growth::Level => room,
            Growth::Leaf => room.min(1),
        };
        if count < order.len() {
            // The sort is stable: of equal gains, the first leaf.
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order.truncate(count);
        }
        let mut taken: Vec<usize> = order.into_iter().map(|(at, _)| at).collect();
        taken.sort_unstable();
        let mut chosen = Vec::with_capacity(taken.len());
        for (before, at) in taken.into_iter().enumerate() {
            chosen.push(open.remove(at - before));
        }
        chosen
    }

    fn best(&self, open: &Open) -> Option<Candidate> {
        if open.depth >= self.size.max_depth {
            return None;
        }
        self.search.best(open.histogram.as_ref()?, open.asker, self.features)
    }

    /// Turns leaves into splits with two leaves each.
    fn split(&self, tree: &mut Tree, chosen: Vec<Open>, nodes: &mut usize) -> Vec<Pair> {
        let mut pairs = Vec::with_capacity(chosen.len());
        for parent in chosen {
            let Some(found) = parent.best else { continue };
            let sides = [found.left, parent.asker.totals.minus(found.left)];
            let bounds = self.bounds_below(&parent, &found, sides);
            let [left, right] = [0, 1].map(|side| {
                let asker = Asker { totals: sides[side], bounds: bounds[side] };
                let value = self.search.value(asker.totals, asker.bounds);
                let place = tree.push_leaf(value * self.search.penalties.learning_rate);
                tree.note_mut(place).cover = asker.totals.rows as f64;
                let depth = parent.depth + 1;
                Open { place, node: *nodes + side, depth, asker, histogram: None, best: None }
            });
            *nodes += 2;
            let split = self.as_split(&found, [left.place, right.place]);
            tree.set_split(parent.place, split);
            tree.note_mut(parent.place).gain = found.gain;
            pairs.push(Pair {
                route: Route::new(&split, self.tables),
                node: parent.node,
                histogram: parent.histogram,
                children: [left, right],
            });
        }
        pairs
    }

    fn as_split(&self, found: &Candidate, [left, right]: [u32; 2]) -> Split {
        let cuts = &self.cuts[found.feature];
        let question = match found.asked {
            // All values go left where only the missing ones go right.
            Asked::UpTo(code) => {
                Question::AtMost(cuts.get(usize::from(code) - 1).copied().unwrap_or(f64::INFINITY))
            }
            Asked::OneOf(set) => Question::OneOf(set),
        };
        Split { feature: found.feature as u32, question, missing: found.missing, left, right }
    }

    /// The bounds of both sides: where the prediction must rise or fall with the feature, nothing
    /// below passes the middle between both.
    fn bounds_below(&self, parent: &Open, found: &Candidate, sides: [Sums; 2]) -> [Bounds; 2] {
        let bounds = parent.asker.bounds;
        let rule = self.search.rules.get(found.feature).copied().unwrap_or_default();
        if rule.monotone == 0 {
            return [bounds; 2];
        }
        let [left, right] = sides.map(|sums| self.search.value(sums, bounds));
        let middle = (left + right) * 0.5;
        let (below, above) = (Bounds { high: middle, ..bounds }, Bounds { low: middle, ..bounds });
        if rule.monotone > 0 { [below, above] } else { [above, below] }
    }

    /// Divides the rows of the parents and returns the children with their best splits: the
    /// smaller side's histogram is summed, the other's is what remains of the parent's.
    fn descend(&self, shards: &mut [Shard], mut pairs: Vec<Pair>, leaves_left: bool) -> Vec<Open> {
        let may_split = |open: &Open| {
            leaves_left
                && open.depth < self.size.max_depth
                && self.search.is_large_enough(open.asker.totals.rows)
        };
        let wanted: Vec<Option<usize>> = pairs
            .iter()
            .map(|pair| {
                let [left, right] = &pair.children;
                let smaller = pair.children[pair.smaller()].node;
                (may_split(left) || may_split(right)).then_some(smaller)
            })
            .collect();
        if self.quantile.is_none()
            && wanted.iter().all(Option::is_none)
            && self.is_last(leaves_left, &pairs)
        {
            return pairs.into_iter().flat_map(|pair| pair.children).collect();
        }
        let work = |shards: &mut [Shard]| -> Vec<Option<Histogram>> {
            let mut spare = Vec::new();
            for shard in &mut *shards {
                for pair in &pairs {
                    shard.divide(pair.node, &pair.route, &mut spare);
                }
            }
            wanted.iter().map(|node| node.map(|node| self.histogram(shards, node))).collect()
        };
        let rows: i64 = pairs.iter().map(Pair::rows).sum();
        let parts: Vec<Vec<Option<Histogram>>> = if rows < ALONE_ROWS_MAX {
            vec![work(shards)]
        } else {
            shards.par_chunks_mut(shards_of_task(shards)).map(work).collect()
        };
        let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
        let of_pairs: Vec<Vec<Histogram>> = (0..pairs.len())
            .map(|_| parts.iter_mut().filter_map(|part| part.next().flatten()).collect())
            .collect();
        let finish = |(pair, of_shards): (&mut Pair, Vec<Histogram>)| {
            let Some(smaller) = of_shards.into_iter().reduce(|mut sum, part| {
                sum.add(&part);
                sum
            }) else {
                return;
            };
            let Some(mut rest) = pair.histogram.take() else { return };
            rest.subtract(&smaller);
            let small = pair.smaller();
            for (side, histogram) in [(small, smaller), (1 - small, rest)] {
                let child = &mut pair.children[side];
                if may_split(child) {
                    child.histogram = Some(histogram);
                    child.best = self.best(child);
                }
            }
        };
        if pairs.len() == 1 {
            pairs.iter_mut().zip(of_pairs).for_each(finish);
        } else {
            pairs.par_iter_mut().zip(of_pairs).for_each(finish);
        }
        pairs.into_iter().flat_map(|pair| pair.children).collect()
    }

    /// The sums of a node's rows.
    fn histogram(&self, shards: &[Shard], node: usize) -> Histogram {
        let layout = self.search.layout;
        let mut histogram = Histogram::zero(layout);
        for group in 0..layout.groups() {
            let part = |shard| Shard::part(shard, node, self.output, group);
            histogram.add_rows(layout, shards.iter().map(part));
        }
        histogram
    }

    /// Whether nothing is split after these: then their rows need not be divided.
    fn is_last(&self, leaves_left: bool, pairs: &[Pair]) -> bool {
        let at_bottom =
            |pair: &Pair| pair.children.iter().all(|child| child.depth >= self.size.max_depth);
        !leaves_left || self.size.growth == Growth::Level && pairs.iter().all(at_bottom)
    }

    /// Gives leaves a quantile of what is left of their rows' labels.
    fn set_quantiles(&self, tree: &mut Tree, shards: &[Shard], open: &[Open], alpha: f64) {
        let values: Vec<f64> = open
            .par_iter()
            .map(|leaf| {
                let rows = shards.iter().flat_map(|shard| shard.residuals(leaf.node)).collect();
                let value = quantile(rows, alpha).clamp(-LEAF_MAX, LEAF_MAX);
                value.clamp(leaf.asker.bounds.low, leaf.asker.bounds.high)
            })
            .collect();
        for (leaf, value) in open.iter().zip(values) {
            tree.set_leaf(leaf.place, value * self.search.penalties.learning_rate);
        }
    }
}

/// Shards that one task works on, so that there are not more histograms than threads.
fn shards_of_task(shards: &[Shard]) -> usize {
    shards.len().div_ceil(rayon::current_num_threads().max(1)).max(1)
}

/// A node that was split.
#[derive(Debug)]
struct Pair {
    route: Route,
    node: usize,
    histogram: Option<Histogram>,
    children: [Open; 2],
}

impl Pair {
    const fn rows(&self) -> i64 {
        let [left, right] = &self.children;
        left.asker.totals.rows + right.asker.totals.rows
    }

    /// The side with fewer rows.
    const fn smaller(&self) -> usize {
        let [left, right] = &self.children;
        if left.asker.totals.rows <= right.asker.totals.rows { 0 } else { 1 }
    }
}
