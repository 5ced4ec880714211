use std::collections::HashSet;

use icecore_core::ErrorKind;
use icecore_testkit::Random;
use proptest::prelude::*;

use super::*;
use crate::tests::set;

fn ids(rows: &UInt64Array, of: &UInt64Array) -> Vec<u64> {
    let mut ids: Vec<u64> = rows.values().iter().map(|row| of.value(*row as usize)).collect();
    ids.sort_unstable();
    ids
}

fn shuffled(count: u64, seed: u64) -> UInt64Array {
    let mut order: Vec<u64> = (0..count).collect();
    order.sort_by_key(|row| Random::new(seed).of(*row).bits());
    order.into()
}

// C24
#[test]
fn the_share_is_rounded_up_and_the_seed_counts() {
    let row_ids = UInt64Array::from_iter_values((0..1_001).map(|row| Random::new(row).bits()));
    let split = train_validation(&row_ids, 0.2, 42).unwrap();
    assert_eq!((split.training.len(), split.validation.len()), (800, 201));
    let other = train_validation(&row_ids, 0.2, 43).unwrap();
    assert_ne!(split, other);
    let both: HashSet<u64> =
        split.training.values().iter().chain(split.validation.values()).copied().collect();
    assert_eq!(both.len(), 1_001);
}

#[test]
fn rows_of_one_id_stay_together() {
    let row_ids = UInt64Array::from_iter_values((0..300).map(|row| row % 30));
    let split = train_validation(&row_ids, 0.25, 1).unwrap();
    assert_eq!(split.validation.len(), 80, "75 rows, and the rest of the last id");
    let validation: HashSet<u64> = ids(&split.validation, &row_ids).into_iter().collect();
    assert!(ids(&split.training, &row_ids).iter().all(|id| !validation.contains(id)));
}

#[test]
fn a_split_without_two_sides_is_refused() {
    let one = UInt64Array::from(vec![7, 7, 7]);
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        let rows = UInt64Array::from_iter_values(0..10);
        let error = train_validation(&rows, share, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{share}");
    }
    let error = train_validation(&one, 0.5, 0).unwrap_err();
    assert_eq!(error.to_string(), "3 rows of 1 ids cannot be divided into training and validation");
    assert!(train_validation(&UInt64Array::from(Vec::<u64>::new()), 0.5, 0).is_err());
}

fn labelled(labels: &[u8]) -> TrainingSet {
    let x = (0..labels.len()).map(|row| row as f64).collect();
    let set = set(&[("x", x)], labels.iter().map(|label| f64::from(*label)).collect());
    // The ids count up, so that the canonical order is that of the rows.
    let ids = UInt64Array::from_iter_values(0..labels.len() as u64);
    TrainingSet::new(set.features().clone(), set.labels().clone(), ids).unwrap()
}

fn folds_of(splits: &[Split], rows: usize) -> Vec<usize> {
    let mut folds = vec![usize::MAX; rows];
    for (fold, split) in splits.iter().enumerate() {
        for row in split.validation.values() {
            assert_eq!(folds[*row as usize], usize::MAX, "row {row} is in two folds");
            folds[*row as usize] = fold;
        }
        assert_eq!(split.training.len() + split.validation.len(), rows);
    }
    folds
}

// C59: the folds of scikit-learn's `StratifiedKFold(5)`.
#[test]
fn folds_are_those_of_scikit_learn() {
    let labels = [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1];
    let expected = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 2, 3, 3, 3, 4, 4, 4, 4];
    let splits = stratified_k_fold(&labelled(&labels), 5).unwrap();
    assert_eq!(folds_of(&splits, 23), expected);
}

#[test]
fn folds_need_rows_of_each_label() {
    let error = stratified_k_fold(&labelled(&[0, 0, 0, 0, 1, 1]), 3).unwrap_err();
    assert_eq!(error.to_string(), "label `1` has 2 rows, fewer than 3 folds");
    assert!(stratified_k_fold(&labelled(&[0, 1]), 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shuffled_folds_have_as_many_of_each_label_and_go_by_the_seed(
        labels in prop::collection::vec(0..3_u8, 60..120),
        seed in any::<u64>(),
    ) {
        let set = labelled(&labels);
        let order = shuffled(set.rows() as u64, seed);
        if let Ok(plain) = stratified_k_fold(&set, 3) {
            let splits = stratified_k_fold_shuffled(&set, 3, seed).unwrap();
            let (plain, folds) = (folds_of(&plain, set.rows()), folds_of(&splits, set.rows()));
            for (fold, label) in (0..3).flat_map(|fold| [(fold, 0), (fold, 1), (fold, 2)]) {
                let count = |folds: &[usize]| {
                    (0..labels.len()).filter(|r| folds[*r] == fold && labels[*r] == label).count()
                };
                prop_assert_eq!(count(&plain), count(&folds));
            }
            let moved = set.take(&order).unwrap();
            let splits = stratified_k_fold_shuffled(&moved, 3, seed).unwrap();
            let of_moved = folds_of(&splits, set.rows());
            for (place, row) in order.values().iter().enumerate() {
                prop_assert_eq!(folds[*row as usize], of_moved[place]);
            }
            let other = stratified_k_fold_shuffled(&set, 3, seed.wrapping_add(1)).unwrap();
            prop_assert_ne!(folds_of(&other, set.rows()), folds);
        }
    }

    // D4
    #[test]
    fn splits_do_not_depend_on_the_order_of_rows(
        ids_of in prop::collection::vec(0..40_u64, 20..120),
        share in 0.05..0.6_f64,
        seed in any::<u64>(),
    ) {
        let row_ids = UInt64Array::from(ids_of);
        let order = shuffled(row_ids.len() as u64, seed);
        let moved: UInt64Array = order.values().iter().map(|row| row_ids.value(*row as usize)).collect();
        if let Ok(split) = train_validation(&row_ids, share, seed) {
            let other = train_validation(&moved, share, seed).unwrap();
            prop_assert_eq!(ids(&split.validation, &row_ids), ids(&other.validation, &moved));
        }
    }

    #[test]
    fn folds_do_not_depend_on_the_order_of_rows(
        labels in prop::collection::vec(0..2_u8, 40..90),
        seed in any::<u64>(),
    ) {
        let set = labelled(&labels);
        let order = shuffled(set.rows() as u64, seed);
        let moved = set.take(&order).unwrap();
        if let Ok(splits) = stratified_k_fold(&set, 4) {
            let folds = folds_of(&splits, set.rows());
            let of_moved = folds_of(&stratified_k_fold(&moved, 4).unwrap(), set.rows());
            for (place, row) in order.values().iter().enumerate() {
                prop_assert_eq!(folds[*row as usize], of_moved[place]);
            }
            for label in [0, 1] {
                let sizes: Vec<usize> = (0..4).map(|fold| {
                    (0..labels.len()).filter(|r| folds[*r] == fold && labels[*r] == label).count()
                }).collect();
                let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
                prop_assert!(most - least <= 1, "{:?}", sizes);
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Sklearn {
    stratified: Vec<OfLabels>,
    groups: OfGroups,
    time: Vec<OfTime>,
}

type Folds = Vec<(Vec<u64>, Vec<u64>)>;

#[derive(serde::Deserialize)]
struct OfLabels {
    labels: Vec<f64>,
    folds: usize,
    splits: Folds,
}

#[derive(serde::Deserialize)]
struct OfGroups {
    groups: Vec<u64>,
    folds: usize,
    splits: Folds,
}

#[derive(serde::Deserialize)]
struct OfTime {
    rows: i64,
    folds: usize,
    gap: usize,
    splits: Folds,
}

fn folds(splits: &[Split]) -> Folds {
    let rows = |rows: &UInt64Array| rows.values().to_vec();
    splits.iter().map(|split| (rows(&split.training), rows(&split.validation))).collect()
}

// C59
#[test]
fn folds_are_those_of_scikit_learn_row_for_row() {
    let of: Sklearn = serde_json::from_str(include_str!("../../fixtures/sklearn.json")).unwrap();
    for OfLabels { labels, folds: count, splits } in of.stratified {
        let ours = stratified_k_fold_in_order(&labels, count).unwrap();
        assert_eq!(folds(&ours), splits, "{count} folds of {} rows", labels.len());
    }
    let ours = group_k_fold(&UInt64Array::from(of.groups.groups), of.groups.folds).unwrap();
    assert_eq!(folds(&ours), of.groups.splits);
    for OfTime { rows, folds: count, gap, splits } in of.time {
        let moments: Vec<i64> = (0..rows).collect();
        let ids = UInt64Array::from_iter_values(0..rows as u64);
        let ours = time_series_split(&moments, &ids, count, gap).unwrap();
        assert_eq!(folds(&ours), splits, "{count} splits of {rows} rows");
    }
}

#[test]
fn a_split_in_time_goes_by_the_moments_whatever_the_order() {
    let moments = [50, -10, i64::MAX, 0, 50, i64::MIN, 7, 8];
    let ids = UInt64Array::from(vec![9, 8, 7, 6, 5, 4, 3, 2]);
    let splits = time_series_split(&moments, &ids, 3, 0).unwrap();
    assert_eq!(folds(&splits)[0], (vec![1, 5], vec![3, 6]));
    assert_eq!(splits[2].validation.values().as_ref(), [0, 2], "of one moment, the greater id");
    for (splits, gap) in [(0, 0), (8, 0), (3, 2)] {
        assert!(time_series_split(&moments, &ids, splits, gap).is_err(), "{splits} {gap}");
    }
    assert!(time_series_split(&moments[1..], &ids, 3, 0).is_err());
}

#[test]
fn groups_stay_together_whatever_the_order() {
    let groups = UInt64Array::from_iter_values((0..200).map(|row| row * row % 23));
    let of = |groups: &UInt64Array| {
        let splits = group_k_fold(groups, 4).unwrap();
        let of = |split: &Split| -> HashSet<u64> {
            split.validation.values().iter().map(|row| groups.value(*row as usize)).collect()
        };
        splits.iter().map(of).collect::<Vec<_>>()
    };
    let sets = of(&groups);
    assert!((0..4).all(|a| (0..a).all(|b| sets[a].is_disjoint(&sets[b]))));
    let reversed = UInt64Array::from_iter_values(groups.values().iter().rev().copied());
    assert_eq!(of(&reversed), sets);
    let error = group_k_fold(&UInt64Array::from(vec![1, 1, 2]), 3).unwrap_err();
    assert_eq!(error.to_string(), "3 folds of 2 groups");
}

#[test]
fn folds_of_ids_are_of_one_size_whatever_the_order() {
    let row_ids = UInt64Array::from_iter_values((0..103).map(|row| Random::new(row).bits()));
    let splits = k_fold(&row_ids, 5, 1).unwrap();
    let sizes: Vec<usize> = splits.iter().map(|split| split.validation.len()).collect();
    assert!(sizes.iter().all(|size| (20..=21).contains(size)), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 103);
    let reversed = UInt64Array::from_iter_values(row_ids.values().iter().rev().copied());
    let again = k_fold(&reversed, 5, 1).unwrap();
    let of = |split: &Split, ids: &UInt64Array| self::ids(&split.validation, ids);
    assert_eq!(of(&splits[3], &row_ids), of(&again[3], &reversed));
    assert!(k_fold(&row_ids, 1, 1).is_err() && k_fold(&row_ids, 104, 1).is_err());
}
