use proptest::prelude::*;

use super::mask::LANES;
use super::rank::{MAX_THRESHOLDS, RankTable};
use super::*;
use crate::tree::{CategorySet, Question, Side, Split};

const FEATURES: usize = 3;

/// A tree by a list of decisions, which are used up from the front.
fn tree(decisions: &[(bool, u32, f64, bool)], depth: usize) -> Tree {
    let mut tree = Tree::constant(0.25);
    let mut open = vec![(0, 0)];
    for (place_number, (split, feature, threshold, left)) in decisions.iter().enumerate() {
        let Some((place, level)) = open.pop() else { break };
        tree.set_leaf(place, place_number as f64 * 0.37 - 5.0);
        if *split && level < depth {
            let (a, b) = (tree.push_leaf(place_number as f64), tree.push_leaf(-1.5));
            let missing = if *left { Side::Left } else { Side::Right };
            // Some ask for categories instead.
            let question = if *threshold > 3.0 && threshold.is_finite() {
                Question::OneOf(CategorySet([threshold.to_bits() >> 40, 0, 0, 1 << 62]))
            } else {
                Question::AtMost(*threshold)
            };
            let split = Split { feature: *feature, question, missing, left: a, right: b };
            tree.set_split(place, split);
            open.insert(0, (a, level + 1));
            open.insert(0, (b, level + 1));
        }
    }
    tree
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-20_i32..20).prop_map(|value| f64::from(value) / 4.0),
        1 => prop_oneof![
            Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(0.0)
        ],
    ]
}

fn threshold() -> impl Strategy<Value = f64> {
    value().prop_filter("a threshold is a number", |value| !value.is_nan())
}

fn decisions() -> impl Strategy<Value = Vec<(bool, u32, f64, bool)>> {
    let decision = (prop::bool::weighted(0.8), 0..FEATURES as u32, threshold(), any::<bool>());
    prop::collection::vec(decision, 1..60)
}

fn ensemble(trees: Vec<Tree>) -> Ensemble {
    Ensemble { link: Link::Logistic, bases: vec![0.1], trees, gains: vec![1.0; FEATURES] }
}

/// What a scorer sums by its way, and what the walk from node to node finds.
fn sums(scorer: &TreeScorer, columns: &[Values], rows: usize) -> [Vec<i64>; 3] {
    let Engine::Masks { inputs, forests } = &scorer.engine else { panic!("the trees fit masks") };
    let walk = |tree| WalkTree::new(tree, scorer.fixed);
    let walks: Vec<WalkTree> = scorer.ensemble.trees.iter().map(walk).collect();
    let mut sums = [vec![0; rows], vec![0; rows], vec![0; rows]];
    add_by_masks((inputs, forests), columns, 0, &mut sums[0]);
    add_by_walks(&walks, columns, 0, &mut sums[1]);
    scorer.add_one_by_one(columns, 0, &mut sums[2]);
    sums
}

proptest! {
    // The oracle is the walk from node to node.
    #[test]
    fn blocks_find_the_leaves_that_a_row_by_itself_finds(
        trees in prop::collection::vec((decisions(), 1..=MAX_DEPTH), 1..4),
        rows in prop::collection::vec(prop::array::uniform3(value()), 1..150),
    ) {
        let trees = trees.iter().map(|(decisions, depth)| tree(decisions, *depth)).collect();
        let scorer = TreeScorer::new(ensemble(trees), FEATURES);
        let columns: Vec<Values> =
            (0..FEATURES).map(|f| rows.iter().map(|row| row[f]).collect()).collect();
        let [by_masks, by_walks, one_by_one] = sums(&scorer, &columns, rows.len());
        prop_assert_eq!(&by_masks, &one_by_one);
        prop_assert_eq!(&by_walks, &one_by_one);
    }

    #[test]
    fn ranks_are_the_numbers_of_thresholds_below(
        thresholds in prop::collection::vec(-1e3..1e3_f64, 0..MAX_THRESHOLDS),
        values in prop::collection::vec(prop::num::f64::ANY, 1..LANES),
    ) {
        let mut thresholds = thresholds;
        thresholds.sort_unstable_by(f64::total_cmp);
        thresholds.dedup();
        let mut codes = [0; LANES];
        RankTable::new(&thresholds).encode(&values, &mut codes);
        for (value, code) in values.iter().zip(codes) {
            let below = thresholds.iter().filter(|threshold| *threshold < value).count();
            let expected = if value.is_nan() { 0 } else { below + 1 };
            prop_assert_eq!(usize::from(mask::unbiased(code)), expected);
        }
    }
}

#[test]
fn a_full_table_has_room_for_an_infinite_threshold() {
    let mut thresholds: Vec<f64> = (0..MAX_THRESHOLDS).map(|value| value as f64).collect();
    thresholds.push(f64::INFINITY);
    let split = |threshold, missing| {
        let mut tree = Tree::constant(0.0);
        let (left, right) = (tree.push_leaf(-1.0), tree.push_leaf(1.0));
        tree.set_split(
            0,
            Split { feature: 0, question: Question::AtMost(threshold), missing, left, right },
        );
        tree
    };
    let mut trees: Vec<Tree> = thresholds.iter().map(|t| split(*t, Side::Left)).collect();
    trees.extend(thresholds.iter().map(|t| split(*t, Side::Right)));
    let scorer = TreeScorer::new(ensemble(trees), FEATURES);
    let values = vec![-1.0, 0.0, 253.0, 253.5, 1e300, f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
    let columns = vec![Values::from(values.clone()); FEATURES];
    let [by_masks, by_walks, one_by_one] = sums(&scorer, &columns, values.len());
    assert_eq!(by_masks, one_by_one);
    assert_eq!(by_walks, one_by_one);
}

#[test]
fn only_features_that_are_asked_about_are_ranked() {
    let mut tree = Tree::constant(0.0);
    let (left, right) = (tree.push_leaf(-1.0), tree.push_leaf(1.0));
    let question = Question::AtMost(0.5);
    let split = Split { feature: 2, question, missing: Side::Left, left, right };
    tree.set_split(0, split);
    let scorer = TreeScorer::new(ensemble(vec![tree]), FEATURES);
    let Engine::Masks { inputs, .. } = &scorer.engine else { panic!("one tree fits masks") };
    assert_eq!(inputs.iter().map(|input| input.feature).collect::<Vec<_>>(), [2]);
}

#[test]
fn trees_that_masks_would_blow_up_are_walked() {
    let chain: Vec<_> = (0..40).map(|step| (true, 0, f64::from(step), true)).collect();
    let mut tree_of_depth_8 = Tree::constant(0.0);
    let mut place = 0;
    for (_, feature, threshold, _) in &chain[..8] {
        let (left, right) = (tree_of_depth_8.push_leaf(0.5), tree_of_depth_8.push_leaf(1.0));
        let question = Question::AtMost(*threshold);
        let split = Split { feature: *feature, question, missing: Side::Left, left, right };
        tree_of_depth_8.set_split(place, split);
        place = right;
    }
    let one = TreeScorer::new(ensemble(vec![tree_of_depth_8.clone()]), FEATURES);
    assert!(matches!(one.engine, Engine::Masks { .. }));
    let many = TreeScorer::new(ensemble(vec![tree_of_depth_8; 5_000]), FEATURES);
    assert!(matches!(many.engine, Engine::Walk { .. }));
}

#[test]
fn shares_sum_to_one() {
    assert_eq!(shares(&[1.0, 3.0]), [0.25, 0.75]);
    assert_eq!(shares(&[0.0, 0.0]), [0.5, 0.5]);
    assert_eq!(shares(&[f64::MAX, f64::MAX]), [0.5, 0.5]);
    assert!(shares(&[]).is_empty());
}
