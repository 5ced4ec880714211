//! How the values of windows are spread: variance, skewness, kurtosis.
//!
//! As for [sums](super::sums), the values of an entity are whole numbers in units of some power of
//! two, and so are their powers; sums of those slide without an error. Numbers are as wide as the
//! values need: results are functions of the exact moments, so the width never shows in them.

use arrow::array::{ArrayRef, Float64Array};
use arrow::buffer::BooleanBuffer;
use icecore_core::{Error, Result};

use super::bounds::{Bounds, Slide, slide};
use super::counts::before;
use super::emit::Rows;
use super::events::Events;
use super::sums::float::{in_units, unit};
use crate::accumulate::{ANY_FLOAT, LEAST_POWER, Limbs, Order, WholePowers, in_least_units};
use crate::hash::canonical::Canonical;

/// Limbs for the second moment, and for all four, of values whose sums fit `i128`.
const SECOND: usize = 4;
const FOURTH: usize = 8;
/// Limbs for those of any decimals, whose sums may not fit.
const DECIMAL_SECOND: usize = 6;
const DECIMAL_FOURTH: usize = 12;

/// Which property of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Variance,
    Deviation,
    Skewness,
    Kurtosis,
}

impl Shape {
    fn order(self) -> Order {
        match self {
            Self::Variance | Self::Deviation => Order::Second,
            Self::Skewness | Self::Kurtosis => Order::Fourth,
        }
    }

    /// How many values there must be.
    fn least(self) -> u32 {
        match self {
            Self::Variance | Self::Deviation => 2,
            Self::Skewness | Self::Kurtosis => 1,
        }
    }

    fn of<const N: usize>(self, powers: &WholePowers<N>, scale: Scale) -> Option<f64> {
        match self {
            Self::Variance => powers.variance_of(scale.unit, scale.divisor),
            Self::Deviation => powers.deviation_of(scale.unit, scale.divisor),
            // A unit falls out of a ratio of moments.
            Self::Skewness => powers.skewness(),
            Self::Kurtosis => powers.kurtosis(),
        }
    }
}

/// What a whole number stands for.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// One stands for `2^unit`.
    unit: i32,
    /// Variances are divided by this.
    divisor: f64,
}

/// Values whose spread is asked for.
#[derive(Debug)]
pub(crate) struct Spread {
    values: Values,
    valid: Option<BooleanBuffer>,
}

#[derive(Debug)]
enum Values {
    Int(Vec<i128>),
    Decimal {
        values: Vec<i128>,
        divisor: f64,
    },
    Float {
        /// Zero where there is no finite value.
        values: Vec<f64>,
        /// The unit of each entity as a power of two, absent where its values do not fit.
        units: Vec<Option<i32>>,
        /// How many values that count came before each row, and how many that are not finite.
        odd: Option<(Vec<u32>, Vec<u32>)>,
    },
}

impl Spread {
    pub(crate) fn try_new(
        input: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        events: &Events<'_>,
    ) -> Result<Self> {
        let mut valid = valid.cloned();
        let values = match Canonical::try_new(input)? {
            Canonical::Int(array) => {
                Values::Int(array.values().iter().map(|value| i128::from(*value)).collect())
            }
            Canonical::Unsigned(array) => {
                Values::Int(array.values().iter().map(|value| i128::from(*value)).collect())
            }
            Canonical::Decimal(array) => {
                let divisor = square_of_ten_to(array.scale());
                Values::Decimal { values: array.values().to_vec(), divisor }
            }
            Canonical::Float(array) => floats(&array, &mut valid, events),
            _ => return Err(Error::internal("only numbers are spread")),
        };
        Ok(Self { values, valid })
    }

    pub(crate) fn in_windows(&self, shape: Shape, rows: &Rows, bounds: Bounds<'_>) -> Float64Array {
        let is_second = shape.order() == Order::Second;
        let plain = Scale { unit: 0, divisor: 1.0 };
        match &self.values {
            Values::Int(values) => {
                let column = match is_second {
                    true => self.slid(|row| whole::<SECOND>(values, row), shape, plain, bounds),
                    false => self.slid(|row| whole::<FOURTH>(values, row), shape, plain, bounds),
                };
                column.into()
            }
            Values::Decimal { values, divisor } => {
                let scale = Scale { unit: 0, divisor: *divisor };
                let column = match is_second {
                    true => {
                        self.slid(|row| whole::<DECIMAL_SECOND>(values, row), shape, scale, bounds)
                    }
                    false => {
                        self.slid(|row| whole::<DECIMAL_FOURTH>(values, row), shape, scale, bounds)
                    }
                };
                column.into()
            }
            Values::Float { values, units, odd } => {
                let mut column = Vec::with_capacity(bounds.len());
                for (unit, of_entity) in units.iter().zip(&rows.of_entity) {
                    let bounds = bounds.of_rows(of_entity.clone());
                    column.extend(self.of_floats(values, *unit, shape, bounds));
                }
                if let Some((counts, odd)) = odd {
                    for (value, (start, end)) in column.iter_mut().zip(bounds.iter()) {
                        if odd[end] != odd[start] {
                            let is_there = counts[end] - counts[start] >= shape.least();
                            *value = is_there.then_some(f64::NAN);
                        }
                    }
                }
                column.into()
            }
        }
    }

    /// The windows of one entity.
    fn of_floats(
        &self,
        values: &[f64],
        unit: Option<i32>,
        shape: Shape,
        bounds: Bounds<'_>,
    ) -> Vec<Option<f64>> {
        let divisor = 1.0;
        let Some(unit) = unit else {
            let scale = Scale { unit: LEAST_POWER, divisor };
            let value = |row: usize| -> Limbs<ANY_FLOAT> { in_least_units(values[row]) };
            return self.slid(value, shape, scale, bounds);
        };
        let scale = Scale { unit, divisor };
        match shape.order() {
            Order::Second => {
                let value = |row: usize| Limbs::<SECOND>::shifted(in_units(values[row], unit), 0);
                self.slid(value, shape, scale, bounds)
            }
            Order::Fourth => {
                let value = |row: usize| Limbs::<FOURTH>::shifted(in_units(values[row], unit), 0);
                self.slid(value, shape, scale, bounds)
            }
        }
    }

    fn slid<const N: usize>(
        &self,
        value: impl Fn(usize) -> Limbs<N>,
        shape: Shape,
        scale: Scale,
        bounds: Bounds<'_>,
    ) -> Vec<Option<f64>> {
        let (valid, order) = (self.valid.as_ref(), shape.order());
        let mut state = Sliding { value, valid, order, powers: WholePowers::default() };
        slide(bounds, &mut state, |state| shape.of(&state.powers, scale))
    }
}

/// Takes floats apart into finite values, and where the others are.
fn floats(array: &Float64Array, valid: &mut Option<BooleanBuffer>, events: &Events<'_>) -> Values {
    let mut values = array.values().to_vec();
    let counts = |row: usize| valid.as_ref().is_none_or(|valid| valid.value(row));
    let is_odd = |row: usize| counts(row) && !array.value(row).is_finite();
    let odd = (0..values.len()).any(is_odd).then(|| {
        let counted = before((0..values.len()).map(counts));
        (counted, before((0..values.len()).map(is_odd)))
    });
    let finite: BooleanBuffer =
        (0..values.len()).map(|row| counts(row) && array.value(row).is_finite()).collect();
    for (value, finite) in values.iter_mut().zip(finite.iter()) {
        *value = if finite { *value } else { 0.0 };
    }
    *valid = Some(finite);
    let units = events.entities.iter().map(|entity| unit(&values[entity.clone()])).collect();
    Values::Float { values, units, odd }
}

fn whole<const N: usize>(values: &[i128], row: usize) -> Limbs<N> {
    Limbs::shifted(values[row], 0)
}

/// `10^(2 scale)`, rounded once.
pub(crate) fn square_of_ten_to(scale: i8) -> f64 {
    format!("1e{}", 2 * i32::from(scale)).parse().unwrap_or(f64::INFINITY)
}

/// Sums of powers of the values in a window.
struct Sliding<'a, V, const N: usize> {
    value: V,
    valid: Option<&'a BooleanBuffer>,
    order: Order,
    powers: WholePowers<N>,
}

impl<V: Fn(usize) -> Limbs<N>, const N: usize> Slide for Sliding<'_, V, N> {
    #[inline]
    fn enter(&mut self, row: usize) {
        if self.valid.is_none_or(|valid| valid.value(row)) {
            self.powers.add(&(self.value)(row), self.order);
        }
    }

    #[inline]
    fn leave(&mut self, row: usize) {
        if self.valid.is_none_or(|valid| valid.value(row)) {
            self.powers.sub(&(self.value)(row), self.order);
        }
    }
}
