//! An input under a mask, and what all windows over it share.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{prep_null_mask_filter, take};
use arrow::datatypes::{DataType, FieldRef};
use icecore_core::{AggregateFunction, Error, Result};

use super::bounds::Bounds;
use super::counts::Counts;
use super::distinct::{Codes, Ranks};
use super::emit::Rows;
use super::events::{Events, NO_ROW};
use super::histogram::Classes;
use super::lists::{self, InOrder, RowLists};
use super::order::Keys;
use super::plan::{Job, PlannedMeasure};
use super::quantile::Buckets;
use super::ranked::Ranked;
use super::spread::{Shape, Spread};
use super::sums::Sums;
use super::{order, pick};
use crate::hash::canonical::plain_cast;

/// An input under a mask, over the events of one call.
#[derive(Debug)]
pub(crate) struct Measure<'a> {
    events: &'a Events<'a>,
    rows: &'a Rows,
    input: Option<&'a ArrayRef>,
    /// Which events count; absent when all do.
    valid: Option<BooleanBuffer>,
    counts: OnceCell<Counts>,
    sums: OnceCell<Sums>,
    spread: OnceCell<Spread>,
    codes: OnceCell<Codes>,
    ranks: OnceCell<Ranks>,
    keys: OnceCell<Keys>,
    buckets: OnceCell<Buckets>,
    in_order: OnceCell<InOrder>,
    ranked: OnceCell<Ranked>,
}

impl<'a> Measure<'a> {
    pub(crate) fn try_new(
        planned: &PlannedMeasure,
        events: &'a Events<'a>,
        rows: &'a Rows,
    ) -> Result<Self> {
        let input = planned.input.map(|index| events.input(index)).transpose()?;
        let nulls = input.and_then(|input| input.logical_nulls());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0).map(NullBuffer::into_inner);
        let mask = planned.mask.map(|index| events.mask(index)).transpose()?;
        let mask = mask.map(|mask| match mask.null_count() {
            0 => mask.values().clone(),
            _ => prep_null_mask_filter(mask).values().clone(),
        });
        let valid = match (nulls, mask) {
            (Some(nulls), Some(mask)) => Some(&nulls & &mask),
            (nulls, mask) => nulls.or(mask),
        };
        Ok(Self {
            events,
            rows,
            input,
            valid,
            counts: OnceCell::new(),
            sums: OnceCell::new(),
            spread: OnceCell::new(),
            codes: OnceCell::new(),
            ranks: OnceCell::new(),
            keys: OnceCell::new(),
            buckets: OnceCell::new(),
            in_order: OnceCell::new(),
            ranked: OnceCell::new(),
        })
    }

    /// Computes one column.
    pub(crate) fn evaluate(
        &self,
        job: &Job,
        field: &FieldRef,
        bounds: Bounds<'_>,
    ) -> Result<ArrayRef> {
        Ok(match &job.function {
            AggregateFunction::Count => whole_numbers(self.counts().in_windows(bounds)),
            AggregateFunction::Sum => {
                let counts = self.counts().in_windows(bounds);
                self.sums()?.sums(self.events, self.rows, bounds).column(field, &counts)?
            }
            AggregateFunction::Mean => {
                let counts = self.counts().in_windows(bounds);
                let sums = self.sums()?.sums(self.events, self.rows, bounds);
                let mut means = sums.into_floats(field)?;
                for (mean, count) in means.iter_mut().zip(&counts) {
                    *mean /= f64::from(*count);
                }
                Arc::new(Float64Array::new(means.into(), not_empty(&counts)))
            }
            AggregateFunction::Variance => self.shape(Shape::Variance, bounds)?,
            AggregateFunction::Stddev => self.shape(Shape::Deviation, bounds)?,
            AggregateFunction::Skewness => self.shape(Shape::Skewness, bounds)?,
            AggregateFunction::Kurtosis => self.shape(Shape::Kurtosis, bounds)?,
            AggregateFunction::CountDistinct => whole_numbers(self.codes()?.in_windows(bounds)),
            AggregateFunction::ApproxCountDistinct => {
                Arc::new(Int64Array::from(self.ranks()?.in_windows(bounds)))
            }
            AggregateFunction::Min => {
                self.values(field, order::least(self.keys()?, self.valid.as_ref(), bounds))?
            }
            AggregateFunction::Max => {
                self.values(field, order::greatest(self.keys()?, self.valid.as_ref(), bounds))?
            }
            AggregateFunction::First => {
                let first = pick::earliest(self.events, self.keys()?, self.valid.as_ref());
                self.values(field, pick::first_in_windows(&first, bounds))?
            }
            AggregateFunction::Last => {
                let last = pick::latest_greatest(self.events, self.keys()?, self.valid.as_ref());
                self.values(field, pick::last_in_windows(&last, bounds))?
            }
            AggregateFunction::BoundedCountDistinct(most) => {
                let counts = self.codes()?.in_windows(bounds).into_iter();
                whole_numbers(counts.map(|count| count.min(*most)).collect())
            }
            AggregateFunction::ApproxPercentile(share) => {
                let shares = std::slice::from_ref(share);
                let (values, counts) = self.buckets()?.in_windows(shares, bounds);
                Arc::new(Float64Array::new(values.into(), not_empty(&counts)))
            }
            AggregateFunction::DaysSinceLast => {
                let last = pick::latest(self.events.times.len(), self.valid.as_ref());
                let last = pick::last_in_windows(&last, bounds);
                Arc::new(pick::days_since(&last, self.events.times, &self.rows.moments))
            }
            _ => self.lists(job, field, bounds)?,
        })
    }

    /// Computes one column of lists.
    fn lists(&self, job: &Job, field: &FieldRef, bounds: Bounds<'_>) -> Result<ArrayRef> {
        Ok(match &job.function {
            AggregateFunction::FirstK(k) => {
                let first = self.in_order()?.first(*k as usize, self.counts(), bounds);
                self.listed(field, first)?
            }
            AggregateFunction::LastK(k) => {
                let last = self.in_order()?.last(*k as usize, self.counts(), bounds);
                self.listed(field, last)?
            }
            AggregateFunction::TopK(k) => {
                self.listed(field, self.ranked()?.greatest(*k as usize, bounds))?
            }
            AggregateFunction::BottomK(k) => {
                self.listed(field, self.ranked()?.least(*k as usize, bounds))?
            }
            AggregateFunction::ApproxPercentiles(shares) => {
                let (values, counts) = self.buckets()?.in_windows(shares, bounds);
                percentile_lists(field, values, &counts, shares.len())?
            }
            AggregateFunction::Histogram(edges) => {
                let classes = Classes::try_new(self.input()?, self.valid.as_ref(), edges)?;
                let counts = Arc::new(Int64Array::from(classes.in_windows(bounds)));
                let lengths = vec![edges.len() as u32 + 1; bounds.len()];
                lists::column(field, &lengths, counts, None)?
            }
            other => return Err(Error::internal(format!("windows do not compute `{other:?}`"))),
        })
    }

    /// The input's values at these rows.
    fn values(&self, field: &FieldRef, rows: Vec<u32>) -> Result<ArrayRef> {
        let input = plain_cast(self.input()?, field.data_type())?;
        let chosen = rows.iter().map(|row| *row != NO_ROW).collect::<BooleanBuffer>();
        let rows = UInt32Array::new(rows.into(), Some(NullBuffer::new(chosen)));
        Ok(lists::with_one_nan(take(&input, &rows, None)?))
    }

    /// The lists of the input's values at these rows.
    fn listed(&self, field: &FieldRef, rows: RowLists) -> Result<ArrayRef> {
        let DataType::List(item) = field.data_type() else {
            return Err(Error::internal(format!("`{}` is no list", field.name())));
        };
        rows.column(field, &plain_cast(self.input()?, item.data_type())?)
    }

    fn input(&self) -> Result<&'a ArrayRef> {
        self.input.ok_or_else(|| Error::internal("a window function lacks its input"))
    }

    fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| Counts::new(self.valid.as_ref()))
    }

    fn sums(&self) -> Result<&Sums> {
        get_or_try_init(&self.sums, || {
            Sums::try_new(self.input()?, self.valid.as_ref(), self.events, self.rows)
        })
    }

    fn shape(&self, shape: Shape, bounds: Bounds<'_>) -> Result<ArrayRef> {
        let spread = get_or_try_init(&self.spread, || {
            Spread::try_new(self.input()?, self.valid.as_ref(), self.events)
        })?;
        Ok(Arc::new(spread.in_windows(shape, self.rows, bounds)))
    }

    fn codes(&self) -> Result<&Codes> {
        get_or_try_init(&self.codes, || Codes::try_new(self.input()?, self.valid.as_ref()))
    }

    fn ranks(&self) -> Result<&Ranks> {
        get_or_try_init(&self.ranks, || Ranks::try_new(self.input()?, self.valid.as_ref()))
    }

    fn buckets(&self) -> Result<&Buckets> {
        get_or_try_init(&self.buckets, || Buckets::try_new(self.input()?, self.valid.as_ref()))
    }

    fn in_order(&self) -> Result<&InOrder> {
        get_or_try_init(&self.in_order, || {
            Ok(InOrder::new(self.events, self.keys()?, self.valid.as_ref()))
        })
    }

    fn ranked(&self) -> Result<&Ranked> {
        get_or_try_init(&self.ranked, || {
            Ok(Ranked::new(self.events, self.keys()?, self.valid.as_ref()))
        })
    }

    fn keys(&self) -> Result<&Keys> {
        get_or_try_init(&self.keys, || Keys::try_new(self.input()?))
    }
}

fn get_or_try_init<T>(cell: &OnceCell<T>, init: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}

fn whole_numbers(counts: Vec<u32>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(counts.into_iter().map(i64::from)))
}

/// The nulls of a column that has no value over no events.
pub(crate) fn not_empty(counts: &[u32]) -> Option<NullBuffer> {
    Some(NullBuffer::new(counts.iter().map(|count| *count > 0).collect()))
}

/// The percentiles of windows as lists, null over no values.
fn percentile_lists(
    field: &FieldRef,
    values: Vec<f64>,
    counts: &[u32],
    shares: usize,
) -> Result<ArrayRef> {
    // There are at most a thousand percentiles.
    let lengths = vec![shares as u32; counts.len()];
    lists::column(field, &lengths, Arc::new(Float64Array::from(values)), not_empty(counts))
}
