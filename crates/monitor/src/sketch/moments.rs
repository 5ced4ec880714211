//! Exact sums of numbers and of their squares.

use icecore_core::Result;
use icecore_kernel::ExactSum;

/// Numbers below this in size are added up as integers: a batch of them cannot overflow.
const SMALL: f64 = (1_u64 << 26) as f64;

/// The sum of numbers and of their squares, both exact, whatever the order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Moments {
    sum: ExactSum,
    squares: ExactSum,
    /// Infinities have no place in a sum that others are to be told apart in.
    infinite: u64,
}

impl Moments {
    pub(crate) fn add_all(&mut self, values: &[f64]) {
        let is_small = |value: &f64| value.abs() < SMALL && value.trunc() == *value;
        for part in values.chunks(1 << 12) {
            if part.iter().all(is_small) {
                self.add_whole(part);
            } else {
                part.iter().for_each(|value| self.add(*value));
            }
        }
    }

    /// Whole numbers of at most 26 bits: up to 2^12 of their squares fit 64 bits.
    fn add_whole(&mut self, values: &[f64]) {
        let (mut sum, mut squares) = (0_i64, 0_u64);
        for value in values {
            let whole = *value as i64;
            sum += whole;
            squares += (whole * whole) as u64;
        }
        self.sum.add(sum as f64);
        // Both halves are exact as floats.
        self.squares.add((squares >> 32) as f64 * 4_294_967_296.0);
        self.squares.add((squares & 0xffff_ffff) as f64);
    }

    fn add(&mut self, value: f64) {
        if value.is_infinite() {
            self.infinite += 1;
            return;
        }
        self.sum.add(value);
        let square = value * value;
        if square.is_finite() {
            self.squares.add(square);
            // What rounding took away is a float too, unless it is too small for one.
            self.squares.add(value.mul_add(value, -square));
        } else {
            self.infinite += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.infinite += other.infinite;
    }

    /// The mean of so many numbers; none where one of them is infinite, or there are none.
    pub(crate) fn mean(&self, count: u64) -> Option<f64> {
        (count > 0 && self.infinite == 0).then(|| self.sum.to_f64() / count as f64)
    }

    /// The standard deviation of so many numbers.
    pub(crate) fn stddev(&self, count: u64) -> Option<f64> {
        let mean = self.mean(count)?;
        // The squares of distances from a number, whichever it is, are the sum of squares, less
        // twice the number times the sum, plus its square for each. All of that is added exactly,
        // so that a spread far smaller than the mean keeps its digits.
        let high = self.sum.to_f64();
        let mut rest = self.sum.clone();
        rest.sub(high);
        let mut distances = self.squares.clone();
        add_product(&mut distances, -2.0 * mean, high);
        add_product(&mut distances, -2.0 * mean, rest.to_f64());
        let square = mean * mean;
        add_product(&mut distances, square, count as f64);
        add_product(&mut distances, mean.mul_add(mean, -square), count as f64);
        Some((distances.to_f64() / count as f64).max(0.0).sqrt())
    }

    pub(crate) fn parts(&self) -> (Vec<u8>, Vec<u8>, u64) {
        (self.sum.to_bytes(), self.squares.to_bytes(), self.infinite)
    }

    pub(crate) fn from_parts(sum: &[u8], squares: &[u8], infinite: u64) -> Result<Self> {
        let (sum, squares) = (ExactSum::from_bytes(sum)?, ExactSum::from_bytes(squares)?);
        Ok(Self { sum, squares, infinite })
    }
}

/// Adds a product without rounding it.
fn add_product(sum: &mut ExactSum, a: f64, b: f64) {
    let product = a * b;
    sum.add(product);
    sum.add(a.mul_add(b, -product));
}
