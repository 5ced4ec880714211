use proptest::prelude::*;

use super::rank::{MAX_THRESHOLDS, RankTable};
use super::*;
use crate::arithmetic::{mix, mix_pair};
use crate::tree::{CategorySet, Question, Side, Split, VALUE_MAX};

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

fn ensemble(trees: Vec<Tree>, outputs: usize) -> Ensemble {
    let link = if outputs == 1 { Link::Logistic } else { Link::Softmax };
    Ensemble { link, bases: vec![0.1; outputs], trees, gains: vec![1.0; FEATURES] }
}

/// The sums of all rows and outputs by every way that this machine has, and by its name.
fn ways(scorer: &mut TreeScorer, columns: &[Values], rows: usize) -> Vec<(String, Vec<f64>)> {
    let outputs = scorer.ensemble.outputs();
    let mut ways = Vec::new();
    for by_steps in [false, true] {
        if let Some(engine) = &mut scorer.engine {
            engine.blocks = if by_steps { None } else { engine.blocks.take() };
        }
        for hardware in Hardware::all() {
            scorer.hardware = hardware;
            let mut all = vec![0.0; rows * outputs];
            scorer.margins(columns, 0, &mut all);
            ways.push((format!("{hardware:?}, by steps: {by_steps}"), all));
            let mut singles = vec![0.0; rows * outputs];
            for (row, out) in singles.chunks_exact_mut(outputs).enumerate() {
                scorer.margins(columns, row, out);
            }
            ways.push((format!("{hardware:?}, by steps: {by_steps}, one by one"), singles));
        }
    }
    ways
}

/// What the walk from node to node finds.
fn plain(scorer: &TreeScorer, columns: &[Values], rows: usize) -> Vec<f64> {
    let outputs = scorer.ensemble.outputs();
    let sum = |at: usize| scorer.plain_sum(columns, at / outputs, at % outputs);
    (0..rows * outputs).map(|at| scorer.margin(at % outputs, sum(at))).collect()
}

#[track_caller]
fn check(trees: Vec<Tree>, outputs: usize, columns: &[Values]) {
    let rows = columns[0].len();
    let mut scorer = TreeScorer::new(ensemble(trees, outputs), columns.len());
    let expected = plain(&scorer, columns, rows);
    for (way, margins) in ways(&mut scorer, columns, rows) {
        for (row, (margin, expected)) in margins.iter().zip(&expected).enumerate() {
            assert_eq!(margin.to_bits(), expected.to_bits(), "{way}, row {row} by output");
        }
    }
}

fn columns(rows: &[[f64; FEATURES]]) -> Vec<Values> {
    (0..FEATURES).map(|f| rows.iter().map(|row| row[f]).collect()).collect()
}

/// A tree that only ever splits its last leaf, or splits all leaves in turn.
fn grown(leaves: usize, is_chain: bool) -> Tree {
    let mut tree = Tree::constant(0.0);
    let mut open = std::collections::VecDeque::from([0]);
    for split in 0..leaves - 1 {
        let Some(place) = open.pop_front() else { break };
        let value = (split as f64 * 0.77).sin();
        let (left, right) = (tree.push_leaf(value), tree.push_leaf(-value * 3.0));
        let threshold = 6.0 * (split as f64 * 1.37).sin();
        let (question, missing) = match split % 5 {
            0 => (Question::OneOf(CategorySet([split as u64 * 77 + 5, 0, 0, 0])), Side::Left),
            1 | 2 => (Question::AtMost(threshold), Side::Left),
            _ => (Question::AtMost(threshold), Side::Right),
        };
        let feature = (split % FEATURES) as u32;
        tree.set_split(place, Split { feature, question, missing, left, right });
        if is_chain {
            open = [if split.is_multiple_of(3) { left } else { right }].into();
        } else {
            open.extend([left, right]);
        }
    }
    tree
}

/// So few rows and trees that Miri can watch each load of a register: see docs/testing.md.
#[test]
fn a_few_rows_find_their_leaves_by_every_way() {
    let number = |row: u64, feature: u64| (mix_pair(row, feature) % 24) as f64 / 2.0 - 6.0;
    let value =
        |row, feature| if (row + feature) % 11 == 0 { f64::NAN } else { number(row, feature) };
    let rows: Vec<[f64; FEATURES]> =
        (0..70).map(|row| [value(row, 0), value(row, 1), value(row, 2)]).collect();
    // Perfect trees and ones of few leaves in registers, and ones of many leaves.
    for (leaves, is_chain) in [(7, false), (9, true), (40, false)] {
        check(vec![grown(leaves, is_chain), grown(leaves - 1, is_chain)], 1, &columns(&rows));
    }
}

proptest! {
    // The oracle is the walk from node to node, of each row by itself.
    #[test]
    fn every_way_finds_the_leaves_that_the_plain_walk_finds(
        trees in prop::collection::vec((decisions(), 1..12_usize), 0..14),
        outputs in 1..4_usize,
        rows in prop::collection::vec(prop::array::uniform3(value()), 1..300),
    ) {
        let trees = trees.iter().map(|(decisions, depth)| tree(decisions, *depth)).collect();
        check(trees, outputs, &columns(&rows));
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
    let values = [-1.0, 0.0, 253.0, 253.5, 1e300, f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
    let rows: Vec<[f64; FEATURES]> = values.iter().map(|value| [*value; FEATURES]).collect();
    check(trees, 1, &columns(&rows));
}

fn some_rows(count: usize) -> Vec<[f64; FEATURES]> {
    let value = |at: usize| {
        if at.is_multiple_of(11) { f64::NAN } else { ((at * 37) % 113) as f64 / 9.0 - 6.0 }
    };
    (0..count).map(|row| [value(row), value(row * 3 + 1), value(row * 7 + 2)]).collect()
}

// The sizes on both sides of where trees change their layout.
#[test]
fn trees_of_all_sizes_and_shapes_find_their_leaves() {
    let rows = columns(&some_rows(333));
    for leaves in [1, 2, 31, 32, 33, 64, 65, 255, 256, 257, 700] {
        let trees = vec![grown(leaves, false); 19];
        check(trees, 1, &rows);
        if leaves <= 64 {
            check(vec![grown(leaves, true), grown(leaves / 2 + 1, false)], 2, &rows);
        }
    }
}

#[test]
fn a_feature_with_more_thresholds_than_a_byte_has_several_columns() {
    let trees: Vec<Tree> = (0..1_000)
        .map(|number| {
            let mut tree = Tree::constant(0.0);
            let (left, right) = (tree.push_leaf(-1.0), tree.push_leaf(f64::from(number)));
            let missing = if number % 2 == 0 { Side::Left } else { Side::Right };
            let question = Question::AtMost(f64::from(number) / 100.0);
            tree.set_split(0, Split { feature: 1, question, missing, left, right });
            tree
        })
        .collect();
    let rows: Vec<[f64; FEATURES]> = (-10..1_010)
        .map(|at| [0.0, if at % 50 == 7 { f64::NAN } else { f64::from(at) / 100.0 }, 0.0])
        .collect();
    check(trees, 1, &columns(&rows));
}

#[test]
fn the_greatest_leaves_of_a_model_do_not_overflow() {
    let mut tree = Tree::constant(0.0);
    let (left, right) = (tree.push_leaf(-VALUE_MAX), tree.push_leaf(VALUE_MAX));
    let question = Question::AtMost(0.5);
    tree.set_split(0, Split { feature: 0, question, missing: Side::Left, left, right });
    check(vec![tree.clone(); 1_000], 1, &columns(&some_rows(100)));
    for leaf in [1.0, 0.999_999_999_999_999_9, -1.0, 3.5] {
        tree.set_leaf(left, leaf);
        tree.set_leaf(right, -leaf);
        check(vec![tree.clone(); 100], 1, &columns(&some_rows(100)));
    }
}

#[test]
fn only_features_that_are_asked_about_are_ranked() {
    let mut tree = Tree::constant(0.0);
    let (left, right) = (tree.push_leaf(-1.0), tree.push_leaf(1.0));
    let question = Question::AtMost(0.5);
    let split = Split { feature: 2, question, missing: Side::Left, left, right };
    tree.set_split(0, split);
    let scorer = TreeScorer::new(ensemble(vec![tree], 1), FEATURES);
    let Some(Engine { inputs, .. }) = &scorer.engine else { panic!("one tree has an engine") };
    assert_eq!(inputs.iter().map(|input| input.feature).collect::<Vec<_>>(), [2]);
}

/// What a row costs: `cargo test … a_row_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_row_costs() {
    let features = 9;
    let value = |at: u64| (mix(at) >> 40) as f64 / 65_536.0;
    let columns: Vec<Values> =
        (0..features).map(|f| (0..65_536).map(|row| value(row * 64 + f)).collect()).collect();
    for (leaves, wide) in [(32, false), (31, true), (64, false), (255, true), (1_000, false)] {
        let tree = |number: u64| {
            let mut tree = Tree::constant(0.0);
            let mut open = std::collections::VecDeque::from([0]);
            for split in 0..leaves - 1 {
                let at = mix_pair(number, split);
                let place = if wide {
                    let at = mix(at) as usize % open.len().min(6);
                    open.remove(at).unwrap()
                } else {
                    open.pop_front().unwrap()
                };
                let (left, right) = (tree.push_leaf(value(at)), tree.push_leaf(-value(at)));
                let threshold = (value(mix(at))).floor() + 0.5;
                let missing = if split % 2 == 0 { Side::Left } else { Side::Right };
                let question = Question::AtMost(threshold);
                let feature = (mix(at) % features) as u32;
                tree.set_split(place, Split { feature, question, missing, left, right });
                open.extend([left, right]);
            }
            tree
        };
        let trees = (0..300).map(tree).collect();
        let mut scorer = TreeScorer::new(ensemble(trees, 1), features as usize);
        let mut out = vec![0.0; 4_096];
        for hardware in Hardware::all() {
            scorer.hardware = hardware;
            let mut best = f64::INFINITY;
            for _ in 0..20 {
                let start = std::time::Instant::now();
                scorer.score(&columns, 0, &mut out);
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{leaves} leaves {hardware:?}: {:.0} ns a row", best * 1e9 / 4_096.0);
        }
        let start = std::time::Instant::now();
        for row in 0..2_000 {
            scorer.score(&columns, row * 7, &mut out[..1]);
        }
        println!(
            "{leaves} leaves, single: {:.0} ns",
            start.elapsed().as_secs_f64() * 1e9 / 2_000.0
        );
    }
}

#[test]
fn shares_sum_to_one() {
    assert_eq!(shares(&[1.0, 3.0]), [0.25, 0.75]);
    assert_eq!(shares(&[0.0, 0.0]), [0.5, 0.5]);
    assert_eq!(shares(&[f64::MAX, f64::MAX]), [0.5, 0.5]);
    assert!(shares(&[]).is_empty());
}
