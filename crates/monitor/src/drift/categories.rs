//! Distances between the categories of two columns.
//!
//! A summary of more categories than it keeps has counted each at most [`Categories::error`] rows too
//! seldom, so the share of each lies between two numbers, and so does what it adds to a distance.

use super::measures::{divergence_root, divergence_term, psi_term};
use super::{Bin, FeatureDrift, Measured, NewCategory};
use crate::{Categories, ColumnProfile};

/// New categories that are named.
const NEW_NAMED: usize = 20;
/// Categories that are compared one by one; the others count as one.
const COMPARED: usize = 50;

pub(super) fn categories(feature: &mut FeatureDrift, a: &ColumnProfile, b: &ColumnProfile) {
    let (a, b) = (&a.categories, &b.categories);
    if a.total() == 0 || b.total() == 0 {
        return;
    }
    let mut names: Vec<&str> =
        a.ranked().into_iter().chain(b.ranked()).map(|(value, _)| value).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|name| std::cmp::Reverse(a.count(name).max(b.count(name))));
    let has_rest = names.len() > COMPARED || a.error() + b.error() > 0;
    names.truncate(COMPARED);
    let (of_a, of_b) = (Share::all(a, &names), Share::all(b, &names));
    let labels = names.into_iter().chain(has_rest.then_some("all others"));
    let pairs: Vec<(Share, Share)> = of_a.into_iter().zip(of_b).collect();
    feature.bins = labels
        .zip(&pairs)
        .map(|(label, (a, b))| Bin {
            label: label.to_owned(),
            reference: a.value,
            current: b.value,
        })
        .collect();
    // Without others there is no share for them.
    let pairs = pairs.get(..feature.bins.len()).unwrap_or(&pairs);
    feature.psi = Some(summed(pairs, psi_term));
    let twice = summed(pairs, divergence_term);
    let [least, value, most] = [twice.least, twice.value, twice.most].map(divergence_root);
    feature.js = Some(Measured::between(least, value, most));
    new_categories(feature, a, b);
}

/// The share of one category, and what it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    least: f64,
    value: f64,
    most: f64,
}

impl Share {
    /// The shares of these categories, and that of all others.
    fn all(of: &Categories, names: &[&str]) -> Vec<Self> {
        let total = of.total() as f64;
        let share = |count: u64| count as f64 / total;
        let (mut shares, mut rest) = (Vec::with_capacity(names.len() + 1), of.total());
        for name in names {
            let count = of.count(name);
            let most = count.saturating_add(of.error()).min(of.total());
            shares.push(Self { least: share(count), value: share(count), most: share(most) });
            rest = rest.saturating_sub(count);
        }
        let missed = of.error().saturating_mul(names.len() as u64);
        let least = share(rest.saturating_sub(missed));
        shares.push(Self { least, value: share(rest), most: share(rest) });
        shares
    }
}

/// The sum over bins of a term that is convex, is zero where both shares are the same and grows with
/// their distance: over a box of shares it is greatest at a corner, and least where they are closest.
fn summed(pairs: &[(Share, Share)], term: impl Fn(f64, f64) -> f64) -> Measured {
    let (mut least, mut value, mut most) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        value += term(a.value, b.value);
        let corners = [(a.least, b.least), (a.least, b.most), (a.most, b.least), (a.most, b.most)];
        most += corners.iter().map(|(a, b)| term(*a, *b)).fold(0.0, f64::max);
        least += match () {
            () if a.most < b.least => term(a.most, b.least),
            () if b.most < a.least => term(a.least, b.most),
            () => 0.0,
        };
    }
    Measured::between(least, value, most)
}

/// What the reference does not have. What was dropped from its summary may be anything: then nobody
/// can be called new.
fn new_categories(feature: &mut FeatureDrift, a: &Categories, b: &Categories) {
    let share = |count: u64| count as f64 / b.total() as f64;
    let ranked = b.ranked();
    let counted: u64 = ranked.iter().map(|(_, count)| count).sum();
    let unknown: Vec<_> = ranked.into_iter().filter(|(value, _)| a.count(value) == 0).collect();
    // Counts are summed, since nothing of floats sums to a negative zero.
    let rows: u64 = unknown.iter().map(|(_, count)| count).sum();
    let most = share(rows.saturating_add(b.total().saturating_sub(counted)));
    if a.error() > 0 {
        feature.new_share = Measured::between(0.0, 0.0, most);
        return;
    }
    feature.new_category_share = share(rows);
    feature.new_share = Measured::between(share(rows), share(rows), most);
    let named = unknown.into_iter().take(NEW_NAMED);
    feature.new_categories = named
        .map(|(value, count)| NewCategory { value: value.to_owned(), share: share(count) })
        .collect();
}

#[cfg(test)]
mod tests;
