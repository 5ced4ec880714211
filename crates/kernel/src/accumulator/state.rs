//! The states of all functions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, i256};
use icecore_core::AggregateFunction;

use super::datum::{Datum, DatumKind};
use super::{AccumulatorValues, Derived};
use crate::accumulate::{Limbs, Order, WholePowers};
use crate::{ExactSum, HyperLogLog, PowerSums, QuantileSketch};

/// Limbs for the fourth powers of any decimals, whose sums may not fit `i128`.
pub(super) const WHOLE_LIMBS: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Count(u64),
    /// Of integers, and of decimals as integers.
    Whole {
        count: u64,
        sum: i256,
    },
    Float {
        count: u64,
        sum: Box<ExactSum>,
    },
    WholePowers(Box<WholePowers<WHOLE_LIMBS>>),
    FloatPowers(PowerSums),
    /// How often each value was added.
    Distinct(BTreeMap<Datum, u64>),
    /// The least different values, as many as are counted.
    Bounded(BTreeSet<Datum>),
    Sketch(HyperLogLog),
    /// The greatest or the least values, the best first.
    Best(Vec<Datum>),
    /// The values of the first or the last events, the best first.
    Timed(Vec<(i64, Datum)>),
    Quantiles(QuantileSketch),
    Histogram(Vec<u64>),
    Latest(Option<i64>),
}

/// How many values a function keeps, and whether the greatest or latest of them are the best.
pub(super) fn kept(function: &AggregateFunction) -> Option<(usize, bool)> {
    match function {
        AggregateFunction::First | AggregateFunction::Min => Some((1, false)),
        AggregateFunction::Last | AggregateFunction::Max => Some((1, true)),
        AggregateFunction::FirstK(k) | AggregateFunction::BottomK(k) => Some((*k as usize, false)),
        AggregateFunction::LastK(k) | AggregateFunction::TopK(k) => Some((*k as usize, true)),
        _ => None,
    }
}

impl State {
    pub(super) fn empty(function: &AggregateFunction, input: Option<&DataType>) -> Self {
        let is_float = input.map(DatumKind::of) == Some(DatumKind::Float);
        match function {
            AggregateFunction::Sum | AggregateFunction::Mean if is_float => {
                Self::Float { count: 0, sum: Box::default() }
            }
            AggregateFunction::Sum | AggregateFunction::Mean => {
                Self::Whole { count: 0, sum: i256::ZERO }
            }
            AggregateFunction::Variance
            | AggregateFunction::Stddev
            | AggregateFunction::Skewness
            | AggregateFunction::Kurtosis => match is_float {
                true => Self::FloatPowers(PowerSums::default()),
                false => Self::WholePowers(Box::default()),
            },
            AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::TopK(_)
            | AggregateFunction::BottomK(_) => Self::Best(Vec::new()),
            AggregateFunction::First
            | AggregateFunction::Last
            | AggregateFunction::FirstK(_)
            | AggregateFunction::LastK(_) => Self::Timed(Vec::new()),
            AggregateFunction::CountDistinct => Self::Distinct(BTreeMap::new()),
            AggregateFunction::BoundedCountDistinct(_) => Self::Bounded(BTreeSet::new()),
            AggregateFunction::ApproxCountDistinct => Self::Sketch(HyperLogLog::default()),
            AggregateFunction::ApproxPercentile(_) | AggregateFunction::ApproxPercentiles(_) => {
                Self::Quantiles(QuantileSketch::default())
            }
            AggregateFunction::Histogram(edges) => Self::Histogram(vec![0; edges.len() + 1]),
            AggregateFunction::DaysSinceLast => Self::Latest(None),
            // Functions were checked to be known.
            _ => Self::Count(0),
        }
    }

    /// Adds the value of a row, which is not null.
    pub(super) fn add(
        &mut self,
        function: &AggregateFunction,
        values: &AccumulatorValues,
        row: usize,
        time: i64,
    ) {
        match self {
            Self::Count(count) => *count += 1,
            Self::Latest(latest) => *latest = (*latest).max(Some(time)),
            Self::Sketch(sketch) => {
                if let Derived::Hashes(hashes) = &values.derived {
                    sketch.add_hash(hashes.values().get(row).copied().unwrap_or_default());
                }
            }
            Self::Quantiles(sketch) => {
                if let Some(value) = values.float(row) {
                    sketch.add(value);
                }
            }
            Self::Histogram(counts) => {
                if let Some(count) = values.class(row).and_then(|class| counts.get_mut(class)) {
                    *count += 1;
                }
            }
            _ => {
                if let Some(datum) = values.datum(row) {
                    self.add_datum(function, datum, time);
                }
            }
        }
    }

    fn add_datum(&mut self, function: &AggregateFunction, datum: Datum, time: i64) {
        match self {
            Self::Whole { count, sum } => {
                *count += 1;
                *sum = sum.wrapping_add(i256::from_i128(datum.whole()));
            }
            Self::Float { count, sum } => {
                *count += 1;
                sum.add(datum.to_float());
            }
            Self::WholePowers(powers) => {
                powers.add(&Limbs::shifted(datum.whole(), 0), Order::Fourth);
            }
            Self::FloatPowers(powers) => powers.add(datum.to_float()),
            Self::Distinct(counts) => *counts.entry(datum.identity()).or_default() += 1,
            Self::Bounded(values) => bounded(function, values, datum.identity()),
            Self::Best(best) => keep(function, best, datum),
            Self::Timed(best) => keep(function, best, (time, datum)),
            _ => {}
        }
    }

    /// Takes out the value of a row, which is not null. Tells whether it could.
    pub(super) fn remove(&mut self, values: &AccumulatorValues, row: usize) -> bool {
        match self {
            Self::Count(count) => decrease(count),
            Self::Quantiles(sketch) => values.float(row).is_some_and(|value| sketch.sub(value)),
            Self::Histogram(counts) => {
                values.class(row).and_then(|class| counts.get_mut(class)).is_some_and(decrease)
            }
            Self::Best(_)
            | Self::Timed(_)
            | Self::Latest(_)
            | Self::Sketch(_)
            | Self::Bounded(_) => false,
            _ => values.datum(row).is_some_and(|datum| self.remove_datum(datum)),
        }
    }

    fn remove_datum(&mut self, datum: Datum) -> bool {
        match self {
            Self::Whole { count, sum } => {
                *sum = sum.wrapping_sub(i256::from_i128(datum.whole()));
                decrease(count)
            }
            Self::Float { count, sum } => {
                sum.sub(datum.to_float());
                decrease(count)
            }
            Self::WholePowers(powers) => {
                let is_there = powers.count() > 0;
                if is_there {
                    powers.sub(&Limbs::shifted(datum.whole(), 0), Order::Fourth);
                }
                is_there
            }
            Self::FloatPowers(powers) => {
                let is_there = powers.count() > 0;
                powers.sub(datum.to_float());
                is_there
            }
            Self::Distinct(counts) => {
                let datum = datum.identity();
                let Some(count) = counts.get_mut(&datum) else { return false };
                *count -= 1;
                if *count == 0 {
                    counts.remove(&datum);
                }
                true
            }
            _ => false,
        }
    }

    /// Adds another state. Tells whether it is one of the same aggregate.
    pub(super) fn merge(&mut self, function: &AggregateFunction, other: &Self) -> bool {
        match (self, other) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Whole { count, sum }, Self::Whole { count: more, sum: other }) => {
                *count += more;
                *sum = sum.wrapping_add(*other);
            }
            (Self::Float { count, sum }, Self::Float { count: more, sum: other }) => {
                *count += more;
                sum.merge(other);
            }
            (Self::WholePowers(powers), Self::WholePowers(other)) => powers.merge(other),
            (Self::FloatPowers(powers), Self::FloatPowers(other)) => powers.merge(other),
            (Self::Distinct(counts), Self::Distinct(other)) => {
                for (datum, more) in other {
                    *counts.entry(datum.clone()).or_default() += more;
                }
            }
            (Self::Bounded(values), Self::Bounded(other)) => {
                other.iter().for_each(|datum| bounded(function, values, datum.clone()));
            }
            (Self::Sketch(sketch), Self::Sketch(other)) => sketch.merge(other),
            (Self::Best(best), Self::Best(other)) => {
                other.iter().for_each(|datum| keep(function, best, datum.clone()));
            }
            (Self::Timed(best), Self::Timed(other)) => {
                other.iter().for_each(|event| keep(function, best, event.clone()));
            }
            (Self::Quantiles(sketch), Self::Quantiles(other)) => sketch.merge(other),
            (Self::Histogram(counts), Self::Histogram(other)) if counts.len() == other.len() => {
                counts.iter_mut().zip(other).for_each(|(count, more)| *count += more);
            }
            (Self::Latest(latest), Self::Latest(other)) => *latest = (*latest).max(*other),
            _ => return false,
        }
        true
    }
}

fn decrease(count: &mut u64) -> bool {
    let is_there = *count > 0;
    *count = count.saturating_sub(1);
    is_there
}

/// Adds a value to the least ones. Which values are kept never changes how many there are.
fn bounded(function: &AggregateFunction, values: &mut BTreeSet<Datum>, datum: Datum) {
    let AggregateFunction::BoundedCountDistinct(most) = function else { return };
    values.insert(datum);
    if values.len() > *most as usize {
        values.pop_last();
    }
}

/// Adds a value to the best ones.
fn keep<T: Ord>(function: &AggregateFunction, best: &mut Vec<T>, value: T) {
    let Some((most, greatest)) = kept(function) else { return };
    let comes_before = |other: &T| match other.cmp(&value) {
        Ordering::Equal => true,
        Ordering::Greater => greatest,
        Ordering::Less => !greatest,
    };
    let at = best.partition_point(comes_before);
    if at < most {
        best.insert(at, value);
        best.truncate(most);
    }
}

impl AccumulatorValues {
    fn float(&self, row: usize) -> Option<f64> {
        if let Derived::Floats(values) = &self.derived { values.get(row).copied() } else { None }
    }

    fn class(&self, row: usize) -> Option<usize> {
        match &self.derived {
            Derived::Classes(classes) => classes.get(row).map(|class| *class as usize),
            _ => None,
        }
    }
}
