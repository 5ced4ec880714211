//! Rows dealt to folds that are alike in their labels.

use crate::arithmetic::mix_pair;
use crate::categories::sort_key;

/// The fold of each row. Rows of one label are dealt in turn, in the order of their hashes. Where
/// fewer rows have a label than there are folds, as with numbers, each fold gets one of every so
/// many rows that follow each other in the order of labels. Rows of one id and label are together,
/// so that it does not matter which of them comes first.
pub(super) fn deal((folds, seed): (usize, u64), labels: &[f64], ids: &[u64]) -> Vec<usize> {
    let key = |row: usize| (sort_key(labels[row]), mix_pair(seed, ids[row]));
    let mut keys: Vec<(u64, u64)> = (0..labels.len()).map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    let folds = folds.max(1);
    let mut dealt = vec![0; keys.len()];
    // Rows of rare labels that follow each other.
    let mut rare = 0..0;
    for run in keys.chunk_by(|a, b| a.0 == b.0) {
        let end = rare.end + run.len();
        if run.len() >= folds {
            by_rank(folds, &keys[rare.clone()], &mut dealt[rare.clone()]);
            for (place, fold) in (rare.end..end).zip(&mut dealt[rare.end..end]) {
                *fold = place % folds;
            }
            rare.start = end;
        }
        rare.end = end;
    }
    by_rank(folds, &keys[rare.clone()], &mut dealt[rare]);
    let fold = |row: usize| keys.binary_search(&key(row)).map_or(0, |place| dealt[place]);
    (0..labels.len()).map(fold).collect()
}

/// Deals so many rows at a time, each to a fold of its own, by the order of their hashes: the least
/// label is not always the first fold's.
fn by_rank(folds: usize, keys: &[(u64, u64)], dealt: &mut [usize]) {
    for (keys, dealt) in keys.chunks(folds).zip(dealt.chunks_mut(folds)) {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|at| (keys[*at].1, keys[*at].0));
        for (fold, at) in order.into_iter().enumerate() {
            dealt[at] = fold;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn folds_have_as_many_rows_of_each_class(
            labels in prop::collection::vec(0_u8..3, 0..200),
            folds in 2_usize..8,
            seed in 0_u64..9,
        ) {
            let labels: Vec<f64> = labels.into_iter().map(f64::from).collect();
            let ids: Vec<u64> = (0..labels.len() as u64).collect();
            let dealt = deal((folds, seed), &labels, &ids);
            for class in [0.0, 1.0, 2.0] {
                let mut counts = vec![0_usize; folds];
                for (fold, _) in dealt.iter().zip(&labels).filter(|(_, label)| **label == class) {
                    counts[*fold] += 1;
                }
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                let is_rare = counts.iter().sum::<usize>() < folds;
                prop_assert!(is_rare || most - least <= 1, "{counts:?}");
            }
            let mut rows: Vec<usize> = (0..labels.len()).collect();
            rows.reverse();
            let labels: Vec<f64> = rows.iter().map(|row| labels[*row]).collect();
            let ids: Vec<u64> = rows.iter().map(|row| ids[*row]).collect();
            let mut again = deal((folds, seed), &labels, &ids);
            again.reverse();
            prop_assert_eq!(dealt, again, "however the rows come");
        }

        #[test]
        fn means_of_folds_are_those_of_all(
            labels in prop::collection::vec(-9.0_f64..9.0, 100..300),
        ) {
            let ids: Vec<u64> = (0..labels.len() as u64).collect();
            let dealt = deal((5, 3), &labels, &ids);
            let mean = |of: &mut dyn Iterator<Item = f64>| {
                let (mut sum, mut count) = (0.0, 0.0);
                of.for_each(|label| (sum, count) = (sum + label, count + 1.0));
                sum / count
            };
            let all = mean(&mut labels.iter().copied());
            for fold in 0..5 {
                let mut rows = labels.iter().zip(&dealt).filter(|(_, of)| **of == fold);
                let of_fold = mean(&mut rows.by_ref().map(|(label, _)| *label));
                // The difference of two ranks, of twenty rows or more, and one row more or less.
                prop_assert!((of_fold - all).abs() < 2.0, "{} of {}", of_fold, all);
            }
        }
    }

    #[test]
    fn rows_of_one_id_are_together() {
        let dealt = deal((3, 0), &[1.0; 6], &[4, 4, 4, 9, 9, 5]);
        assert!(dealt[0] == dealt[1] && dealt[1] == dealt[2] && dealt[3] == dealt[4], "{dealt:?}");
    }
}
