//! Exact sums of windows.

pub(crate) mod float;

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, i256};
use icecore_core::{Error, Result};

use super::bounds::{Bounds, Slide, slide};
use super::emit::Rows;
use super::events::Events;
use super::measure::not_empty;
use crate::accumulate::power_of_two;
use crate::hash::canonical::Canonical;
use float::FloatSums;

/// 10^38: the first number that a decimal of 38 digits does not hold.
const DECIMAL_END: u128 = 10_u128.pow(38);

/// Sums any range of an input's rows.
#[derive(Debug)]
pub(crate) enum Sums {
    /// Integers, and decimals as integers.
    Whole(WholeSums),
    Float(FloatSums),
}

/// Prefix sums, in arithmetic modulo 2^128: a difference is right whenever the true sum fits.
#[derive(Debug)]
pub(crate) struct WholeSums {
    before: Vec<i128>,
    /// Values whose sums may not fit, and the entities that have them.
    wide: Option<(Decimal128Array, Vec<usize>)>,
    valid: Option<BooleanBuffer>,
    /// How many digits of the values lie behind the point.
    scale: i8,
}

/// The sums of the windows of all rows.
#[derive(Debug)]
pub(crate) enum WindowSums {
    /// Absent where the sum leaves `i128`.
    Whole {
        sums: Vec<Option<i128>>,
        scale: i8,
    },
    Float(Vec<f64>),
}

impl WindowSums {
    /// The column of the sums, null over no events.
    pub(crate) fn column(self, field: &Field, counts: &[u32]) -> Result<ArrayRef> {
        let nulls = not_empty(counts);
        Ok(match (self, field.data_type()) {
            (Self::Float(sums), _) => Arc::new(Float64Array::new(sums.into(), nulls)),
            (Self::Whole { sums, .. }, DataType::Decimal128(precision, scale)) => {
                let fits = |sum: &i128| sum.unsigned_abs() < DECIMAL_END;
                let sums = sums.into_iter().map(|sum| sum.filter(fits));
                let sums = sums.collect::<Option<Vec<_>>>();
                let sums = sums.ok_or_else(|| overflow(field, "a decimal of 38 digits"))?;
                let column = Decimal128Array::new(sums.into(), nulls);
                Arc::new(column.with_precision_and_scale(*precision, *scale)?)
            }
            (Self::Whole { sums, .. }, _) => {
                let sums = sums.into_iter().map(|sum| i64::try_from(sum?).ok());
                let sums = sums.collect::<Option<Vec<_>>>();
                let sums = sums.ok_or_else(|| overflow(field, "a 64-bit integer"))?;
                Arc::new(Int64Array::new(sums.into(), nulls))
            }
        })
    }

    /// The sums, each rounded once.
    pub(crate) fn into_floats(self, field: &Field) -> Result<Vec<f64>> {
        match self {
            Self::Float(sums) => Ok(sums),
            Self::Whole { sums, scale } => {
                let sums = sums.into_iter().map(|sum| Some(decimal_to_f64(sum?, scale)));
                let sums = sums.collect::<Option<Vec<_>>>();
                sums.ok_or_else(|| overflow(field, "the sum under a mean"))
            }
        }
    }
}

fn overflow(field: &Field, what: &str) -> Error {
    Error::invalid(format!("a sum of `{}` does not fit {what}", field.name()))
        .with_help("cast the column to a float")
}

/// The nearest float, ties to even. Of a long number, 63 bits and whether any after them is set tell
/// where it rounds to, and those are a short number, whose conversion is one step of the processor.
#[inline]
pub(crate) fn to_f64(number: i128) -> f64 {
    if let Ok(short) = i64::try_from(number) {
        return short as f64;
    }
    let size = number.unsigned_abs();
    let shift = 65 - size.leading_zeros();
    let kept = (size >> shift) as i64;
    let rest = i64::from(size & ((1 << shift) - 1) != 0);
    let rounded = (kept | rest) as f64 * power_of_two(shift as i32);
    if number < 0 { -rounded } else { rounded }
}

/// `unscaled / 10^scale`, rounded once.
pub(crate) fn decimal_to_f64(unscaled: i128, scale: i8) -> f64 {
    if scale == 0 {
        return to_f64(unscaled);
    }
    // Both are exact, so the division rounds correctly.
    if (1..=22).contains(&scale) && unscaled.unsigned_abs() < 1 << 53 {
        return unscaled as f64 / 10_f64.powi(i32::from(scale));
    }
    // Reading a decimal rounds once, however many digits it has.
    format!("{unscaled}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

impl Sums {
    pub(crate) fn try_new(
        input: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        events: &Events<'_>,
        rows: &Rows,
    ) -> Result<Self> {
        Ok(match Canonical::try_new(input)? {
            Canonical::Int(array) => {
                let values = array.values().iter().map(|value| i128::from(*value));
                Self::Whole(WholeSums::new(values, valid))
            }
            Canonical::Unsigned(array) => {
                let values = array.values().iter().map(|value| i128::from(*value));
                Self::Whole(WholeSums::new(values, valid))
            }
            Canonical::Decimal(array) => {
                let mut sums = WholeSums::new(array.values().iter().copied(), valid);
                sums.scale = array.scale();
                sums.find_wide(array, events);
                Self::Whole(sums)
            }
            Canonical::Float(array) => Self::Float(FloatSums::new(&array, valid, events, rows)),
            _ => return Err(Error::internal("only numbers are added up")),
        })
    }

    pub(crate) fn sums(&self, events: &Events<'_>, rows: &Rows, bounds: Bounds<'_>) -> WindowSums {
        match self {
            Self::Whole(whole) => {
                WindowSums::Whole { sums: whole.in_windows(rows, bounds), scale: whole.scale }
            }
            Self::Float(sums) => WindowSums::Float(sums.in_windows(events, rows, bounds)),
        }
    }
}

impl WholeSums {
    fn new(values: impl Iterator<Item = i128>, valid: Option<&BooleanBuffer>) -> Self {
        let mut total = 0_i128;
        let mut before = Vec::with_capacity(values.size_hint().0 + 1);
        before.push(0);
        match valid {
            None => before.extend(values.map(|value| {
                total = total.wrapping_add(value);
                total
            })),
            Some(valid) => before.extend(values.zip(valid.iter()).map(|(value, valid)| {
                total = total.wrapping_add(if valid { value } else { 0 });
                total
            })),
        }
        Self { before, wide: None, valid: valid.cloned(), scale: 0 }
    }

    /// Finds the entities whose windows may leave `i128`: two decimals of 38 digits can.
    fn find_wide(&mut self, values: Decimal128Array, events: &Events<'_>) {
        let magnitude = |row: usize| match self.valid.as_ref().is_none_or(|v| v.value(row)) {
            true => values.value(row).unsigned_abs(),
            false => 0,
        };
        let fits = |entity: &std::ops::Range<usize>| {
            let total = entity.clone().map(magnitude).fold(0, u128::saturating_add);
            total <= i128::MAX as u128
        };
        let entities = events.entities.iter().enumerate();
        let wide = entities.filter(|(_, entity)| !fits(entity)).map(|(index, _)| index);
        let wide = wide.collect::<Vec<_>>();
        if !wide.is_empty() {
            self.wide = Some((values, wide));
        }
    }

    fn in_windows(&self, rows: &Rows, bounds: Bounds<'_>) -> Vec<Option<i128>> {
        let sum =
            |(start, end): (usize, usize)| Some(self.before[end].wrapping_sub(self.before[start]));
        let mut sums = bounds.iter().map(sum).collect::<Vec<_>>();
        let Some((values, wide)) = &self.wide else { return sums };
        for entity in wide {
            let of_entity = rows.of_entity[*entity].clone();
            let mut state = WideSum { values, valid: self.valid.as_ref(), sum: i256::ZERO };
            let exact = slide(bounds.of_rows(of_entity.clone()), &mut state, |s| s.sum.to_i128());
            sums[of_entity].copy_from_slice(&exact);
        }
        sums
    }
}

/// A sum of decimals that may leave `i128`.
struct WideSum<'a> {
    values: &'a Decimal128Array,
    valid: Option<&'a BooleanBuffer>,
    sum: i256,
}

impl WideSum<'_> {
    fn value(&self, row: usize) -> i256 {
        match self.valid.is_none_or(|valid| valid.value(row)) {
            true => i256::from_i128(self.values.value(row)),
            false => i256::ZERO,
        }
    }
}

impl Slide for WideSum<'_> {
    fn enter(&mut self, row: usize) {
        self.sum = self.sum.wrapping_add(self.value(row));
    }

    fn leave(&mut self, row: usize) {
        self.sum = self.sum.wrapping_sub(self.value(row));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_number_rounds_to_the_nearest_float_and_ties_to_even() {
        for power in 0..127 {
            let one = 1_i128 << power;
            for near in [-3, -1, 0, 1, 3] {
                for half in [0, one >> 53, one >> 52, (one >> 53) + (one >> 54)] {
                    let number = one + half + near;
                    assert_eq!(to_f64(number).to_bits(), (number as f64).to_bits(), "{number}");
                    assert_eq!(to_f64(-number).to_bits(), (-number as f64).to_bits(), "-{number}");
                }
            }
        }
        for number in [i128::MIN, i128::MAX, i64::MIN.into(), i64::MAX.into()] {
            assert_eq!(to_f64(number).to_bits(), (number as f64).to_bits());
        }
    }

    proptest! {
        #[test]
        fn a_number_rounds_as_the_language_says(number in any::<i128>(), shift in 0..128_u32) {
            let number = number >> shift;
            prop_assert_eq!(to_f64(number).to_bits(), (number as f64).to_bits());
        }
    }
}
