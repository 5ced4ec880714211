//! Exact sums of floats in constant time.
//!
//! The finite values of an entity are integers in units of some power of two. Where all of them,
//! and so all their sums, fit `i128`, prefix sums give every window's exact sum with one
//! subtraction. The rare entity whose values lie further apart (such as 1e300 beside 1e-300) is
//! summed by a sliding [`ExactSum`].

use std::ops::Range;

use arrow::array::Float64Array;
use arrow::buffer::BooleanBuffer;

use super::super::bounds::{Bounds, Slide, slide};
use super::super::counts::before;
use super::super::emit::Rows;
use super::super::events::Events;
use super::to_f64;
use crate::accumulate::{ExactSum, power_of_two};

const FRACTION_BITS: u32 = 52;
/// What is left of `i128` for values and the growth of their sums.
const ROOM_BITS: u32 = 126;

/// Prefix sums of floats.
#[derive(Debug)]
pub(crate) struct FloatSums {
    /// The finite values that count, zero for all others.
    values: Vec<f64>,
    /// Sums before each row, in the units of its entity, modulo 2^128.
    before: Vec<i128>,
    /// The unit of each entity as a power of two, absent where its values do not fit.
    units: Vec<Option<i32>>,
    infinite: Option<NotFinite>,
}

/// How many values that are not finite came before each row.
#[derive(Debug)]
struct NotFinite {
    nan: Vec<u32>,
    positive: Vec<u32>,
    negative: Vec<u32>,
}

impl FloatSums {
    pub(crate) fn new(
        input: &Float64Array,
        valid: Option<&BooleanBuffer>,
        events: &Events<'_>,
        rows: &Rows,
    ) -> Self {
        let mut values = input.values().to_vec();
        if let Some(valid) = valid {
            for (value, valid) in values.iter_mut().zip(valid.iter()) {
                *value = if valid { *value } else { 0.0 };
            }
        }
        let infinite = NotFinite::take_out(&mut values);
        let mut sums = Self { values, before: Vec::new(), units: Vec::new(), infinite };
        sums.before.reserve(sums.values.len() + 1);
        sums.before.push(0);
        for (entity, of_entity) in events.entities.iter().zip(&rows.of_entity) {
            // Rows outside of all entities belong to no window.
            let total = sums.before.last().copied().unwrap_or(0);
            sums.before.resize(entity.start + 1, total);
            let unit = if of_entity.is_empty() { None } else { unit(&sums.values[entity.clone()]) };
            match unit {
                Some(unit) => sums.extend(entity.clone(), unit),
                None => sums.before.resize(entity.end + 1, total),
            }
            sums.units.push(unit);
        }
        sums
    }

    fn extend(&mut self, entity: Range<usize>, unit: i32) {
        let mut total = self.before.last().copied().unwrap_or(0);
        self.before.extend(self.values[entity].iter().map(|value| {
            total = total.wrapping_add(in_units(*value, unit));
            total
        }));
    }

    pub(crate) fn in_windows(
        &self,
        events: &Events<'_>,
        rows: &Rows,
        bounds: Bounds<'_>,
    ) -> Vec<f64> {
        let mut sums = Vec::with_capacity(bounds.len());
        debug_assert_eq!(events.entities.len(), self.units.len());
        for (unit, of_entity) in self.units.iter().zip(&rows.of_entity) {
            let bounds = bounds.of_rows(of_entity.clone());
            if let Some(unit) = unit {
                let unit = power_of_two(*unit);
                let sum = |(start, end): (usize, usize)| {
                    // The integer is rounded to 53 bits here. Scaling it is exact: where the result
                    // is subnormal the integer had fewer bits than that.
                    to_f64(self.before[end].wrapping_sub(self.before[start])) * unit
                };
                sums.extend(bounds.iter().map(sum));
            } else {
                let mut state = Sliding { values: &self.values, sum: ExactSum::default() };
                sums.extend(slide(bounds, &mut state, |state| state.sum.to_f64()));
            }
        }
        if let Some(infinite) = &self.infinite {
            for (sum, window) in sums.iter_mut().zip(bounds.iter()) {
                *sum = infinite.within(window).unwrap_or(*sum);
            }
        }
        sums
    }
}

impl NotFinite {
    /// Counts what is not finite and puts zeros in its place.
    fn take_out(values: &mut [f64]) -> Option<Self> {
        if values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let count = |is: fn(f64) -> bool| before(values.iter().map(|value| is(*value)));
        let counted = Self {
            nan: count(f64::is_nan),
            positive: count(|value| value == f64::INFINITY),
            negative: count(|value| value == f64::NEG_INFINITY),
        };
        for value in values {
            if !value.is_finite() {
                *value = 0.0;
            }
        }
        Some(counted)
    }

    /// The sum of a window that has a value that is not finite.
    fn within(&self, (start, end): (usize, usize)) -> Option<f64> {
        let has = |before: &[u32]| before[end] != before[start];
        match (has(&self.nan), has(&self.positive), has(&self.negative)) {
            (true, _, _) | (_, true, true) => Some(f64::NAN),
            (_, true, _) => Some(f64::INFINITY),
            (_, _, true) => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }
}

/// The exponent field of a finite float, at least one: the power of its lowest fraction bit is
/// this less 1075.
#[inline]
fn field(bits: u64) -> i32 {
    ((bits >> FRACTION_BITS) & 0x7ff).max(1) as i32
}

/// The bits of a finite float that is not zero, below its exponent.
#[inline]
fn mantissa(bits: u64) -> u64 {
    let hidden = u64::from(bits >> FRACTION_BITS & 0x7ff != 0) << FRACTION_BITS;
    bits & ((1 << FRACTION_BITS) - 1) | hidden
}

/// The greatest power of two of which all values are multiples, as far as is needed to fit them and
/// their sums into `i128`; absent when they do not fit.
pub(crate) fn unit(values: &[f64]) -> Option<i32> {
    let growth = usize::BITS - values.len().leading_zeros();
    let room = (ROOM_BITS - FRACTION_BITS - 1).saturating_sub(growth) as i32;
    let (mut least, mut greatest) = (i32::MAX, 1);
    for value in values {
        let bits = value.to_bits();
        // Zero is a multiple of everything.
        least = least.min(if bits << 1 == 0 { i32::MAX } else { field(bits) });
        greatest = greatest.max(field(bits));
    }
    if least == i32::MAX {
        return Some(0);
    }
    if greatest - least <= room {
        return Some(least - 1075);
    }
    // Short fractions, such as those of whole numbers, leave more room than their exponents say.
    let lowest = |value: &f64| {
        let bits = value.to_bits();
        (bits << 1 != 0).then(|| field(bits) + mantissa(bits).trailing_zeros() as i32)
    };
    let least = values.iter().filter_map(lowest).min()?;
    (greatest - least <= room).then_some(least - 1075)
}

/// A finite float in units of `2^unit`, of which it is a multiple.
#[inline]
pub(crate) fn in_units(value: f64, unit: i32) -> i128 {
    let bits = value.to_bits();
    if bits << 1 == 0 {
        return 0;
    }
    let shift = field(bits) - 1075 - unit;
    let magnitude = i128::from(mantissa(bits));
    let magnitude = if shift < 0 { magnitude >> -shift } else { magnitude << shift };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The sum of values of any exponents.
struct Sliding<'a> {
    values: &'a [f64],
    sum: ExactSum,
}

impl Slide for Sliding<'_> {
    fn enter(&mut self, row: usize) {
        self.sum.add(self.values[row]);
    }

    fn leave(&mut self, row: usize) {
        self.sum.sub(self.values[row]);
    }
}
