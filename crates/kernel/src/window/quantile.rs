//! Percentiles of each window, by a sketch that slides.

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use icecore_core::{Error, Finite, Result};

use super::bounds::{Bounds, Slide, slide_each};
use super::distinct::NO_CODE;
use super::sums::decimal_to_f64;
use crate::accumulate::{bucket_of, rank_of, value_of};
use crate::hash::canonical::Canonical;

/// Numbers of any type, each rounded once to a float.
pub(crate) fn as_floats(input: &ArrayRef) -> Result<Vec<f64>> {
    Ok(match Canonical::try_new(input)? {
        Canonical::Int(array) => array.values().iter().map(|value| *value as f64).collect(),
        Canonical::Unsigned(array) => array.values().iter().map(|value| *value as f64).collect(),
        Canonical::Decimal(array) => {
            let scale = array.scale();
            array.values().iter().map(|value| decimal_to_f64(*value, scale)).collect()
        }
        Canonical::Float(array) => array.values().to_vec(),
        _ => return Err(Error::internal("only numbers have percentiles")),
    })
}

/// The bucket of each value, as its place among the buckets in use.
#[derive(Debug)]
pub(crate) struct Buckets {
    codes: Vec<u32>,
    used: Vec<i32>,
}

impl Buckets {
    pub(crate) fn try_new(input: &ArrayRef, valid: Option<&BooleanBuffer>) -> Result<Self> {
        let is_valid = |row: usize| valid.is_none_or(|valid| valid.value(row));
        let buckets = as_floats(input)?.into_iter().map(bucket_of).collect::<Vec<_>>();
        let rows = buckets.iter().enumerate().filter(|(row, _)| is_valid(*row));
        let mut used = rows.map(|(_, bucket)| *bucket).collect::<Vec<_>>();
        used.sort_unstable();
        used.dedup();
        let code = |(row, bucket): (usize, &i32)| match is_valid(row) {
            true => used.partition_point(|other| other < bucket) as u32,
            false => NO_CODE,
        };
        let codes = buckets.iter().enumerate().map(code).collect();
        Ok(Self { codes, used })
    }

    /// The percentiles of each window, window after window, and how many values each has. Those of
    /// a window without values are zeros.
    pub(crate) fn in_windows(&self, shares: &[Finite], bounds: Bounds<'_>) -> (Vec<f64>, Vec<u32>) {
        let mut values = Vec::with_capacity(bounds.len() * shares.len());
        let mut counts = Vec::with_capacity(bounds.len());
        let mut state =
            Sliding { codes: &self.codes, sums: vec![0; self.used.len() + 1], count: 0 };
        slide_each(bounds, &mut state, |state| {
            counts.push(state.count);
            values.extend(shares.iter().map(|share| {
                let Some(rank) = rank_of(*share, u64::from(state.count)) else { return 0.0 };
                let bucket = self.used.get(state.bucket_at(rank as u32));
                bucket.map_or(f64::NAN, |bucket| value_of(*bucket))
            }));
        });
        (values, counts)
    }
}

/// How many values each bucket has, in sums of ranges that are changed and searched in logarithmic
/// time (Fenwick 1994, "A New Data Structure for Cumulative Frequency Tables").
struct Sliding<'a> {
    codes: &'a [u32],
    /// The sum that ends at each place, counted from one.
    sums: Vec<u32>,
    count: u32,
}

impl Sliding<'_> {
    fn change(&mut self, row: usize, change: impl Fn(u32) -> u32) {
        let code = self.codes[row];
        if code == NO_CODE {
            return;
        }
        self.count = change(self.count);
        let mut at = code as usize + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum = change(*sum);
            at += at & at.wrapping_neg();
        }
    }

    /// The place of the bucket that the value of a rank, counted from zero, lies in.
    fn bucket_at(&self, rank: u32) -> usize {
        let (mut at, mut left) = (0, rank);
        let mut step = self.sums.len().next_power_of_two();
        while step > 0 {
            if let Some(sum) = self.sums.get(at + step)
                && *sum <= left
            {
                at += step;
                left -= sum;
            }
            step /= 2;
        }
        at
    }
}

impl Slide for Sliding<'_> {
    fn enter(&mut self, row: usize) {
        self.change(row, |count| count + 1);
    }

    fn leave(&mut self, row: usize) {
        self.change(row, |count| count - 1);
    }
}
