//! What one column holds, as sketches that merge.

mod categories;
mod moments;
#[cfg(test)]
mod tests;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use icecore_core::{Finite, Result, is_text_type};
use icecore_kernel::{HyperLogLog, QuantileSketch, hash_values};

pub use categories::Categories;
pub(crate) use moments::Moments;

/// What kind of values a column has, which decides how they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnKind {
    /// Whole numbers.
    Whole,
    /// Numbers.
    Number,
    /// Text and booleans: each value is a category.
    Category,
    /// Moments and dates, in microseconds.
    Moment,
    /// Anything else, of which only presence is known; also columns whose values are private.
    Opaque,
}

impl ColumnKind {
    /// The kind of a column of this type.
    #[must_use]
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Category,
            other if is_text_type(other) => Self::Category,
            other if other.is_integer() => Self::Whole,
            other if other.is_numeric() => Self::Number,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Moment,
            _ => Self::Opaque,
        }
    }

    /// Whether values are numbers with a distribution.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Number)
    }
}

/// What one column holds. Two profiles of different rows merge into that of all rows, and nothing
/// depends on the order of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnProfile {
    pub(crate) kind: ColumnKind,
    pub(crate) rows: u64,
    pub(crate) nulls: u64,
    pub(crate) nans: u64,
    pub(crate) zeros: u64,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) moments: Moments,
    pub(crate) quantiles: QuantileSketch,
    pub(crate) distinct: HyperLogLog,
    pub(crate) categories: Categories,
}

impl ColumnProfile {
    /// The profile of no rows.
    #[must_use]
    pub fn new(kind: ColumnKind) -> Self {
        Self {
            kind,
            rows: 0,
            nulls: 0,
            nans: 0,
            zeros: 0,
            range: None,
            moments: Moments::default(),
            quantiles: QuantileSketch::default(),
            distinct: HyperLogLog::default(),
            categories: Categories::default(),
        }
    }

    /// The kind of its values.
    #[must_use]
    pub const fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// How many rows it has seen.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// How many of them have no value.
    #[must_use]
    pub const fn nulls(&self) -> u64 {
        self.nulls
    }

    /// How many of them are not a number.
    #[must_use]
    pub const fn nans(&self) -> u64 {
        self.nans
    }

    /// How many of them are zero.
    #[must_use]
    pub const fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The share of rows that are null or NaN.
    #[must_use]
    pub fn missing_rate(&self) -> f64 {
        (self.nulls + self.nans) as f64 / self.rows.max(1) as f64
    }

    /// How many rows have a value.
    #[must_use]
    pub const fn present(&self) -> u64 {
        self.rows - self.nulls - self.nans
    }

    /// The least and the greatest value of numbers and moments.
    #[must_use]
    pub const fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// The mean of numbers, correctly rounded.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.moments.mean(self.numbers())
    }

    /// The standard deviation of numbers, of the population.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        self.moments.stddev(self.numbers())
    }

    /// A quantile of numbers, within 0.4 % of the value that has its rank.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let found = self.quantiles.quantile(Finite::new(share)?)?;
        let (min, max) = self.range?;
        let found = if self.kind == ColumnKind::Whole { found.trunc() } else { found };
        Some(found.clamp(min, max))
    }

    /// About how many different values there are, with a standard error of 1.63 %. `None` where there
    /// are values and nothing is kept of them.
    #[must_use]
    pub fn distinct(&self) -> Option<u64> {
        let values = self.rows.saturating_sub(self.nulls);
        let found = self.distinct.estimate().min(values);
        (found > 0 || values == 0).then_some(found)
    }

    /// The most frequent categories.
    #[must_use]
    pub const fn categories(&self) -> &Categories {
        &self.categories
    }

    fn numbers(&self) -> u64 {
        if self.kind.is_number() { self.present() } else { 0 }
    }

    /// Adds the values of a column.
    ///
    /// # Errors
    ///
    /// `Internal` for a column whose values cannot be hashed.
    pub fn add(&mut self, column: &ArrayRef) -> Result<()> {
        self.rows += column.len() as u64;
        self.nulls += column.logical_null_count() as u64;
        match self.kind {
            ColumnKind::Opaque => return Ok(()),
            ColumnKind::Category => self.add_categories(column)?,
            ColumnKind::Whole | ColumnKind::Number => self.add_numbers(column)?,
            ColumnKind::Moment => self.add_moments(column)?,
        }
        for hash in hash_values(column)?.iter().flatten() {
            self.distinct.add_hash(hash);
        }
        Ok(())
    }

    fn add_categories(&mut self, column: &ArrayRef) -> Result<()> {
        if let Some(flags) = column.as_any().downcast_ref::<BooleanArray>() {
            let yes = flags.true_count() as u64;
            let no = (flags.len() - flags.null_count()) as u64 - yes;
            self.categories.add("true", yes);
            self.categories.add("false", no);
            return Ok(());
        }
        let texts = cast(column, &DataType::Utf8)?;
        self.categories.add_all(texts.as_string::<i32>().iter().flatten());
        Ok(())
    }

    fn add_numbers(&mut self, column: &ArrayRef) -> Result<()> {
        let numbers = cast(column, &DataType::Float64)?;
        let numbers: &Float64Array = numbers.as_primitive::<Float64Type>();
        let present: Vec<f64> = if numbers.null_count() == 0 {
            numbers.values().iter().copied().filter(|value| !value.is_nan()).collect()
        } else {
            numbers.iter().flatten().filter(|value| !value.is_nan()).collect()
        };
        self.nans += (numbers.len() - numbers.null_count() - present.len()) as u64;
        self.zeros += present.iter().filter(|value| **value == 0.0).count() as u64;
        self.widen(present.iter().copied());
        self.moments.add_all(&present);
        self.quantiles.add_all(&present);
        Ok(())
    }

    fn add_moments(&mut self, column: &ArrayRef) -> Result<()> {
        let micros = match column.data_type() {
            DataType::Timestamp(_, zone) => {
                let unit = arrow::datatypes::TimeUnit::Microsecond;
                let micros = cast(column, &DataType::Timestamp(unit, zone.clone()))?;
                cast(&micros, &DataType::Int64)?
            }
            _ => {
                let unit = arrow::datatypes::TimeUnit::Microsecond;
                cast(&cast(column, &DataType::Timestamp(unit, None))?, &DataType::Int64)?
            }
        };
        let micros = micros.as_primitive::<Int64Type>();
        self.widen(micros.iter().flatten().map(|value| value as f64));
        Ok(())
    }

    fn widen(&mut self, values: impl Iterator<Item = f64>) {
        for value in values {
            let (min, max) = self.range.get_or_insert((value, value));
            *min = min.min(value);
            *max = max.max(value);
        }
    }

    /// Adds everything that another profile has seen. One of another kind leaves of both only what
    /// they have in common.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.nans += other.nans;
        self.zeros += other.zeros;
        self.distinct.merge(&other.distinct);
        if self.kind != other.kind {
            let numbers = self.kind.is_number() && other.kind.is_number();
            self.kind = if numbers { ColumnKind::Number } else { ColumnKind::Opaque };
        }
        if let Some((min, max)) = other.range {
            self.widen([min, max].into_iter());
        }
        self.moments.merge(&other.moments);
        self.quantiles.merge(&other.quantiles);
        self.categories.merge(&other.categories);
    }
}
