//! How the numbers of a column lie: from sketches, or from the values themselves.

use crate::{ColumnKind, ColumnProfile};

/// Some values that one number stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// The number that stands for them. Two distributions have bars at the same numbers.
    pub(crate) value: f64,
    /// How far a value may lie from it.
    pub(crate) reach: f64,
    /// How many values there are.
    pub(crate) count: u64,
}

/// Bars in the order of their values.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Distribution {
    pub(crate) bars: Vec<Bar>,
    pub(crate) count: u64,
}

impl Distribution {
    /// The bars of a sketch. Of whole numbers, a bucket in which there is only one is no longer an
    /// approximation.
    pub(crate) fn of_sketch(column: &ColumnProfile, kind: ColumnKind) -> Self {
        let bars = column.quantiles.buckets().map(|bucket| {
            let (low, high) = (bucket.low.ceil(), bucket.high.floor());
            let (value, reach) = match kind {
                ColumnKind::Whole if low == high => (low, 0.0),
                _ => (bucket.value, (bucket.value - bucket.low).max(bucket.high - bucket.value)),
            };
            Bar { value, reach: if value.is_finite() { reach } else { 0.0 }, count: bucket.count }
        });
        let bars: Vec<Bar> = bars.collect();
        Self { count: bars.iter().map(|bar| bar.count).sum(), bars }
    }

    /// A bar for each different value.
    pub(crate) fn of_values(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let mut bars: Vec<Bar> = Vec::new();
        for value in &values {
            match bars.last_mut() {
                Some(bar) if bar.value == *value => bar.count += 1,
                _ => bars.push(Bar { value: *value, reach: 0.0, count: 1 }),
            }
        }
        Self { count: values.len() as u64, bars }
    }

    /// Both distributions at every number that one of them has a bar at, as shares.
    pub(crate) fn beside(&self, other: &Self) -> Vec<Pair> {
        let (mut left, mut right) = (self.bars.iter().peekable(), other.bars.iter().peekable());
        let (of_left, of_right) = (self.count.max(1) as f64, other.count.max(1) as f64);
        let mut pairs = Vec::with_capacity(self.bars.len().max(other.bars.len()));
        loop {
            let value = match (left.peek(), right.peek()) {
                (None, None) => return pairs,
                (Some(bar), None) | (None, Some(bar)) => bar.value,
                (Some(a), Some(b)) => a.value.min(b.value),
            };
            let a = left.next_if(|bar| bar.value == value);
            let b = right.next_if(|bar| bar.value == value);
            pairs.push(Pair {
                value,
                reach: a.or(b).map_or(0.0, |bar| bar.reach),
                a: a.map_or(0.0, |bar| bar.count as f64 / of_left),
                b: b.map_or(0.0, |bar| bar.count as f64 / of_right),
            });
        }
    }
}

/// Shares of two distributions at one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) value: f64,
    pub(crate) reach: f64,
    pub(crate) a: f64,
    pub(crate) b: f64,
}
