//! How many values of each window lie between edges.

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use icecore_core::{Error, Finite, Result};

use super::bounds::{Bounds, Slide, slide_each};
use super::distinct::NO_CODE;
use crate::hash::canonical::Canonical;

/// The class of each value: how many edges it is not below.
#[derive(Debug)]
pub(crate) struct Classes {
    codes: Vec<u32>,
    classes: usize,
}

impl Classes {
    pub(crate) fn try_new(
        input: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        edges: &[Finite],
    ) -> Result<Self> {
        let mut codes = classes(&Canonical::try_new(input)?, edges)?;
        if let Some(valid) = valid {
            for (code, valid) in codes.iter_mut().zip(valid.iter()) {
                *code = if valid { *code } else { NO_CODE };
            }
        }
        Ok(Self { codes, classes: edges.len() + 1 })
    }

    /// The counts of each window, window after window.
    pub(crate) fn in_windows(&self, bounds: Bounds<'_>) -> Vec<i64> {
        let mut counts = Vec::with_capacity(bounds.len() * self.classes);
        let mut state = Sliding { codes: &self.codes, counts: vec![0; self.classes] };
        slide_each(bounds, &mut state, |state| counts.extend_from_slice(&state.counts));
        counts
    }
}

/// The classes of all slots; those of nulls are arbitrary.
pub(crate) fn classes(input: &Canonical, edges: &[Finite]) -> Result<Vec<u32>> {
    // There are at most a thousand edges.
    let class = |is_below: &dyn Fn(usize) -> bool| {
        let (mut least, mut most) = (0, edges.len());
        while least < most {
            let middle = usize::midpoint(least, most);
            if is_below(middle) { most = middle } else { least = middle + 1 }
        }
        least as u32
    };
    let whole = |scale: i8, values: &mut dyn Iterator<Item = i128>| {
        let least = edges.iter().map(|edge| scaled_up(*edge, scale)).collect::<Vec<_>>();
        values.map(|value| class(&|edge| value < least[edge])).collect()
    };
    Ok(match input {
        Canonical::Int(array) => whole(0, &mut array.values().iter().map(|v| i128::from(*v))),
        Canonical::Unsigned(array) => whole(0, &mut array.values().iter().map(|v| i128::from(*v))),
        Canonical::Decimal(array) => whole(array.scale(), &mut array.values().iter().copied()),
        // NaN is below nothing.
        Canonical::Float(array) => {
            array.values().iter().map(|value| class(&|edge| *value < edges[edge].get())).collect()
        }
        _ => return Err(Error::internal("only numbers have a histogram")),
    })
}

/// The least whole number that is not below an edge times `10^scale`. The edge is the decimal that
/// people write for it, so that `0.1` is a tenth.
fn scaled_up(edge: Finite, scale: i8) -> i128 {
    let text = format!("{:e}", edge.get());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len()) as i32;
    let whole = digits.replace('.', "").parse::<i128>().unwrap_or(0);
    let power = exponent.parse::<i32>().unwrap_or(0) - fraction + i32::from(scale);
    let ten_to = 10_i128.checked_pow(power.unsigned_abs());
    match (power >= 0, ten_to) {
        (true, Some(ten_to)) => whole.saturating_mul(ten_to),
        (true, None) => whole.signum().saturating_mul(i128::MAX),
        (false, Some(ten_to)) => {
            whole.div_euclid(ten_to) + i128::from(whole.rem_euclid(ten_to) > 0)
        }
        (false, None) => i128::from(whole > 0),
    }
}

struct Sliding<'a> {
    codes: &'a [u32],
    counts: Vec<i64>,
}

impl Slide for Sliding<'_> {
    fn enter(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(self.codes[row] as usize) {
            *count += 1;
        }
    }

    fn leave(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(self.codes[row] as usize) {
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_the_decimals_that_people_write() {
        let least = |edge: f64, scale: i8| scaled_up(Finite::new(edge).unwrap(), scale);
        assert_eq!((least(0.1, 1), least(0.1, 2), least(0.1, 0)), (1, 10, 1));
        assert_eq!((least(-0.1, 0), least(-1.5, 0), least(-1.5, 1)), (0, -1, -15));
        assert_eq!((least(1e300, 0), least(-1e300, 0)), (i128::MAX, -i128::MAX));
        assert_eq!((least(1e-300, 0), least(-1e-300, 0), least(0.0, 5)), (1, 0, 0));
        assert_eq!((least(1234.5, -2), least(1e20, 18)), (13, 10_i128.pow(38)));
    }
}
