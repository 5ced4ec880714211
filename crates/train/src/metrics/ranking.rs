//! How well rows are ordered within their groups.

use std::collections::BTreeMap;

use super::scored::{Row, Scored};
use crate::arithmetic::{ln, ordered_sum};

/// The greatest label of a row that is ranked: what it gains is two to this power, less one.
pub(crate) const RELEVANCE_MAX: f64 = 30.0;

/// What a row of this label gains.
pub(crate) fn gain(label: f64) -> f64 {
    // Whole powers of two below 2^31 are exact.
    f64::from((1_u32 << label as u32) - 1)
}

/// By what a gain at this place counts less, the first place being zero.
pub(crate) fn discount(place: usize) -> f64 {
    std::f64::consts::LN_2 / ln(place as f64 + 2.0)
}

/// Whether it is a label that rows are ranked by.
pub(crate) fn is_relevance(label: f64) -> bool {
    (0.0..=RELEVANCE_MAX).contains(&label) && label.fract() == 0.0
}

impl Scored<'_> {
    /// The normalized discounted cumulative gain of the first `at` rows of each group, averaged
    /// over groups (Järvelin and Kekäläinen, 2002). Labels are whole numbers from 0 to 30, of which
    /// a row gains two to the power, less one. Rows of one prediction share their places; groups
    /// that have nothing to gain are left out. A group counts as often as its rows do in the mean.
    #[must_use]
    pub fn ndcg(&self, groups: &[u64], at: usize) -> Option<f64> {
        mean_of_groups((self, groups), |rows| ndcg_of(rows, at))
    }

    /// The mean over groups of their average precision: that of each relevant row's place, where
    /// rows are relevant whose label is above zero. Of rows of one prediction, those that are not
    /// relevant come first. Groups without relevant rows are left out. A group counts as often as
    /// its rows do in the mean.
    #[must_use]
    pub fn mean_average_precision(&self, groups: &[u64]) -> Option<f64> {
        mean_of_groups((self, groups), |rows| {
            rows.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
            let (mut found, mut sum) = (0.0, 0.0);
            for (place, (label, _)) in rows.iter().enumerate() {
                if *label > 0.0 {
                    found += 1.0;
                    sum += found / (place as f64 + 1.0);
                }
            }
            (found > 0.0).then(|| sum / found)
        })
    }
}

/// [`Scored::ndcg`] of rows that count once.
///
/// ```
/// use icecore_train::metrics::ndcg;
///
/// let (labels, groups) = ([1.0, 0.0, 0.0, 1.0], [7, 7, 8, 8]);
/// assert_eq!(ndcg(&labels, &[0.9, 0.1, 0.2, 0.8], &groups, 10), Some(1.0));
/// assert!(ndcg(&labels, &[0.1, 0.9, 0.2, 0.8], &groups, 10) < Some(1.0));
/// ```
#[must_use]
pub fn ndcg(labels: &[f64], predictions: &[f64], groups: &[u64], at: usize) -> Option<f64> {
    Scored::new(labels, predictions).ndcg(groups, at)
}

/// [`Scored::mean_average_precision`] of rows that count once.
#[must_use]
pub fn mean_average_precision(labels: &[f64], predictions: &[f64], groups: &[u64]) -> Option<f64> {
    Scored::new(labels, predictions).mean_average_precision(groups)
}

/// The gain of a group's rows, which are labels with their predictions, as a share of the best.
pub(crate) fn ndcg_of(rows: &mut [(f64, f64)], at: usize) -> Option<f64> {
    let best = best_gain(&mut rows.iter().map(|(label, _)| *label).collect::<Vec<_>>(), at);
    if best <= 0.0 {
        return None;
    }
    rows.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
    let (mut sum, mut place) = (0.0, 0);
    for tie in rows.chunk_by(|a, b| a.1 == b.1) {
        let gains: f64 = tie.iter().map(|(label, _)| gain(*label)).sum();
        let places = place..(place + tie.len()).min(at);
        sum += gains / tie.len() as f64 * places.map(discount).sum::<f64>();
        place += tie.len();
        if place >= at {
            break;
        }
    }
    Some(sum / best)
}

/// The gain of rows of these labels in their best order.
pub(crate) fn best_gain(labels: &mut [f64], at: usize) -> f64 {
    labels.sort_unstable_by(|a, b| b.total_cmp(a));
    labels.iter().take(at).enumerate().map(|(place, label)| gain(*label) * discount(place)).sum()
}

type LabelAndPrediction = (f64, f64);

fn mean_of_groups(
    (scored, groups): (&Scored<'_>, &[u64]),
    measure: impl Fn(&mut [(f64, f64)]) -> Option<f64>,
) -> Option<f64> {
    let rows = scored.rows(1)?;
    let is_defined = |row: Row<'_>| is_relevance(row.label) && !row.prediction().is_nan();
    if scored.len() != groups.len() || !rows.clone().all(is_defined) {
        return None;
    }
    let mut by_group: BTreeMap<u64, (Vec<LabelAndPrediction>, Vec<f64>)> = BTreeMap::new();
    for row in rows {
        let (pairs, weights) = by_group.entry(groups[row.place]).or_default();
        // Adding zero makes zeros of both signs one prediction.
        pairs.push((row.label, row.prediction() + 0.0));
        weights.push(row.weight);
    }
    let (mut terms, mut weights) = (Vec::new(), Vec::new());
    for (mut pairs, of) in by_group.into_values() {
        let weight = ordered_sum(of) / pairs.len() as f64;
        if let Some(measured) = measure(&mut pairs) {
            terms.push(weight * measured);
            weights.push(weight);
        }
    }
    (!terms.is_empty()).then(|| ordered_sum(terms) / ordered_sum(weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The figures are scikit-learn's: `ndcg_score` of gains, with and without ties.
    #[test]
    fn gains_are_those_of_scikit_learn() {
        let labels = [3.0, 2.0, 3.0, 0.0, 1.0, 2.0];
        let check = |scores: [f64; 6], at: usize, expected: f64| {
            let measured = ndcg(&labels, &scores, &[1; 6], at).unwrap();
            assert!((measured - expected).abs() < 1e-12, "{measured}");
        };
        check([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 6, 0.9488107485678984);
        check([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 6, 0.7056799343991444);
        check([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 3, 0.9594535145926796);
        check([1.0, 1.0, 1.0, 2.0, 2.0, 0.0], 4, 0.42856617110294637);
        check([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 6, 0.7924647077941817);
    }

    #[test]
    fn a_group_counts_as_much_as_another() {
        let groups = [1, 1, 2, 2, 2, 3];
        let labels = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let scores = [0.3, 0.2, 0.9, 0.8, 0.7, 0.0];
        // The third group has nothing to find.
        assert_eq!(
            mean_average_precision(&labels, &scores, &groups),
            Some((1.0 + 1.0 / 3.0) / 2.0)
        );
        assert_eq!(ndcg(&labels, &scores, &groups, 3), Some(0.75));
        assert_eq!(ndcg(&labels, &scores, &groups[..5], 3), None);
        assert_eq!(ndcg(&[0.5], &[0.0], &[1], 3), None);
        assert_eq!(ndcg(&[], &[], &[], 3), None);
    }
}
