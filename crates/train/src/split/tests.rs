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
