//! The order of values, and the least and the greatest of each window.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, LargeBinaryArray};
use arrow::buffer::BooleanBuffer;
use icecore_core::{Error, Result};

use super::bounds::{Bounds, Slide, slide};
use super::events::NO_ROW;
use crate::hash::canonical::Canonical;

/// Values in a form that compares as they do.
#[derive(Debug)]
pub(crate) enum Keys {
    Words(Vec<i64>),
    Wide(Vec<i128>),
    Bytes(LargeBinaryArray),
}

impl Keys {
    pub(crate) fn try_new(input: &ArrayRef) -> Result<Self> {
        Ok(match Canonical::try_new(input)? {
            Canonical::Boolean(array) => {
                Self::Words(array.values().iter().map(i64::from).collect())
            }
            Canonical::Int(array) => Self::Words(array.values().to_vec()),
            Canonical::Unsigned(array) => {
                Self::Words(array.values().iter().map(|value| (value ^ 1 << 63) as i64).collect())
            }
            Canonical::Float(array) => {
                Self::Words(array.values().iter().map(|value| float_key(*value)).collect())
            }
            Canonical::Decimal(array) => Self::Wide(array.values().to_vec()),
            Canonical::Bytes(array) => Self::Bytes(array),
            Canonical::List(..) | Canonical::Struct(..) => {
                return Err(Error::internal("lists have no order"));
            }
        })
    }
}

/// The total order of floats, with every NaN the greatest.
#[inline]
pub(crate) fn float_key(value: f64) -> i64 {
    if value.is_nan() {
        return i64::MAX;
    }
    let bits = value.to_bits() as i64;
    // Negative floats order backwards by their bits below the sign.
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// Calls a function with the comparison of two rows that fits the keys.
macro_rules! with_order {
    ($keys:expr, |$at_most:ident| $body:expr) => {
        match $keys {
            Keys::Words(keys) => {
                let $at_most = |a: usize, b: usize| keys[a] <= keys[b];
                $body
            }
            Keys::Wide(keys) => {
                let $at_most = |a: usize, b: usize| keys[a] <= keys[b];
                $body
            }
            Keys::Bytes(keys) => {
                let $at_most = |a: usize, b: usize| keys.value(a) <= keys.value(b);
                $body
            }
        }
    };
}
pub(crate) use with_order;

/// The order of two rows, from what tells whether one is at most another.
pub(crate) fn compare(at_most: impl Fn(usize, usize) -> bool, a: usize, b: usize) -> Ordering {
    match (at_most(a, b), at_most(b, a)) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// The row with the least value of each window.
pub(crate) fn least(keys: &Keys, valid: Option<&BooleanBuffer>, bounds: Bounds<'_>) -> Vec<u32> {
    with_order!(keys, |at_most| extremes(at_most, valid, bounds))
}

/// The row with the greatest value of each window.
pub(crate) fn greatest(keys: &Keys, valid: Option<&BooleanBuffer>, bounds: Bounds<'_>) -> Vec<u32> {
    with_order!(keys, |at_most| extremes(|a, b| at_most(b, a), valid, bounds))
}

fn extremes(
    beats: impl Fn(usize, usize) -> bool,
    valid: Option<&BooleanBuffer>,
    bounds: Bounds<'_>,
) -> Vec<u32> {
    let mut candidates = Candidates { beats, valid, queue: Vec::new(), first: 0 };
    slide(bounds, &mut candidates, |candidates| {
        candidates.queue.get(candidates.first).copied().unwrap_or(NO_ROW)
    })
}

/// The rows that are the extreme of the window or may become it once others left: each is beaten by
/// no later one.
struct Candidates<'a, F> {
    beats: F,
    valid: Option<&'a BooleanBuffer>,
    queue: Vec<u32>,
    first: usize,
}

impl<F: Fn(usize, usize) -> bool> Slide for Candidates<'_, F> {
    #[inline]
    fn enter(&mut self, row: usize) {
        if self.valid.is_some_and(|valid| !valid.value(row)) {
            return;
        }
        while self.queue.len() > self.first
            && self.queue.last().is_some_and(|last| (self.beats)(row, *last as usize))
        {
            self.queue.pop();
        }
        self.queue.push(row as u32);
    }

    #[inline]
    fn leave(&mut self, row: usize) {
        if self.queue.get(self.first) == Some(&(row as u32)) {
            self.first += 1;
            if self.first == self.queue.len() {
                self.queue.clear();
                self.first = 0;
            }
        }
    }
}
