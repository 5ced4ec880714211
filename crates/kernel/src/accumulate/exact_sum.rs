//! Sums of floats without an error before the last rounding.

#[cfg(test)]
mod tests;

use icecore_core::{Error, Result};

/// Digits of base 2^32 from 2^-1074 to past the greatest sum of 2^63 finite values.
const DIGITS: usize = 68;
const DIGIT_BITS: usize = 32;
const DIGIT_MASK: i64 = 0xffff_ffff;
/// How often a value may be added before digits may leave `i64`.
const CARRY_AFTER: u32 = 1 << 30;
const MANTISSA_BITS: usize = 53;
const VERSION: u8 = 1;
/// Version, three counts, and where the digits start and how many there are.
const HEADER_BYTES: usize = 1 + 3 * 8 + 2;

/// The exact sum of 64-bit floats, rounded once when it is read.
///
/// The value does not depend on the order of additions, and what was added can be taken out again
/// without a trace. This is the "small superaccumulator" of Neal (2015), arXiv:1505.05571.
///
/// A NaN, or infinities of both signs, make the sum NaN; infinities of one sign make it that
/// infinity. The sum of nothing is `0.0`, and so is the sum of only `-0.0`.
///
/// ```
/// use icecore_kernel::ExactSum;
///
/// let mut sum = ExactSum::default();
/// [1e16, 1.0, -1e16].into_iter().for_each(|value| sum.add(value));
/// assert_eq!(sum.to_f64(), 1.0);
/// sum.sub(1e16);
/// assert_eq!(sum.to_f64(), 1.0 - 1e16);
/// ```
#[derive(Debug, Clone)]
pub struct ExactSum {
    /// The value is the sum of `digits[i] * 2^(32 i - 1074)`; digits may be negative or too large.
    digits: [i64; DIGITS],
    until_carry: u32,
    nan: i64,
    positive_infinite: i64,
    negative_infinite: i64,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self {
            digits: [0; DIGITS],
            until_carry: CARRY_AFTER,
            nan: 0,
            positive_infinite: 0,
            negative_infinite: 0,
        }
    }
}

impl PartialEq for ExactSum {
    /// Whether the exact sums are equal.
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for ExactSum {}

impl ExactSum {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.change(value, false);
    }

    /// Takes out a value that was added.
    pub fn sub(&mut self, value: f64) {
        self.change(value, true);
    }

    /// Adds everything that another sum holds.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (digit, other) in self.digits.iter_mut().zip(other.digits) {
            *digit += other;
        }
        self.until_carry = CARRY_AFTER - 1;
        self.nan += other.nan;
        self.positive_infinite += other.positive_infinite;
        self.negative_infinite += other.negative_infinite;
    }

    /// The sum, rounded to nearest, ties to even.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        match (self.nan != 0, self.positive_infinite != 0, self.negative_infinite != 0) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            (_, _, true) => f64::NEG_INFINITY,
            _ => self.finite(),
        }
    }

    /// A compact form: equal sums have equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut sum = self.clone();
        sum.carry();
        let start = sum.digits.iter().position(|digit| *digit != 0).unwrap_or(0);
        let end = sum.digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        let digits = sum.digits.get(start..end).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 8 * digits.len());
        bytes.push(VERSION);
        for count in [sum.nan, sum.positive_infinite, sum.negative_infinite] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        // Both are at most `DIGITS`.
        bytes.extend_from_slice(&[start as u8, digits.len() as u8]);
        digits.iter().for_each(|digit| bytes.extend_from_slice(&digit.to_le_bytes()));
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataCorrupt`](icecore_core::ErrorKind::DataCorrupt) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::corrupt("these bytes are not an exact sum"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, digits) = bytes.split_at_checked(HEADER_BYTES)?;
        let (&version, counts) = header.split_first()?;
        let (counts, place) = counts.as_chunks::<8>();
        let &[nan, positive, negative] = counts else { return None };
        let &[start, length] = place else { return None };
        let (words, rest) = digits.as_chunks::<8>();
        let mut sum = Self {
            nan: i64::from_le_bytes(nan),
            positive_infinite: i64::from_le_bytes(positive),
            negative_infinite: i64::from_le_bytes(negative),
            ..Self::default()
        };
        if version != VERSION || !rest.is_empty() || words.len() != usize::from(length) {
            return None;
        }
        let end = usize::from(start) + usize::from(length);
        for (digit, word) in sum.digits.get_mut(usize::from(start)..end)?.iter_mut().zip(words) {
            *digit = i64::from_le_bytes(*word);
        }
        let (top, lower) = sum.digits.split_last()?;
        let canonical = lower.iter().all(|digit| (0..=DIGIT_MASK).contains(digit))
            && top.unsigned_abs() < 1 << 40;
        let counts = [sum.nan, sum.positive_infinite, sum.negative_infinite];
        let canonical = canonical && counts.iter().all(|count| count.unsigned_abs() < 1 << 48);
        canonical.then_some(sum)
    }

    fn change(&mut self, value: f64, take_out: bool) {
        if !value.is_finite() {
            let by = if take_out { -1 } else { 1 };
            match (value.is_nan(), value > 0.0) {
                (true, _) => self.nan += by,
                (false, true) => self.positive_infinite += by,
                (false, false) => self.negative_infinite += by,
            }
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> (MANTISSA_BITS - 1)) & 0x7ff;
        let fraction = bits & ((1 << (MANTISSA_BITS - 1)) - 1);
        let hidden = u64::from(exponent != 0) << (MANTISSA_BITS - 1);
        // How many bits the mantissa's lowest one lies above 2^-1074.
        let offset = exponent.max(1) as usize - 1;
        let shifted = u128::from(fraction | hidden) << (offset % DIGIT_BITS);
        let negative = value.is_sign_negative() != take_out;
        let first = offset / DIGIT_BITS;
        for (index, digit) in self.digits.iter_mut().skip(first).take(3).enumerate() {
            let part = (shifted >> (DIGIT_BITS * index)) as i64 & DIGIT_MASK;
            *digit += if negative { -part } else { part };
        }
        self.until_carry -= 1;
        if self.until_carry == 0 {
            self.carry();
        }
    }

    /// Brings every digit but the top one, which has the sign, into `0..2^32`.
    fn carry(&mut self) {
        let mut carry = 0;
        let top = DIGITS - 1;
        for digit in &mut self.digits[..top] {
            let total = *digit + carry;
            carry = total >> DIGIT_BITS;
            *digit = total & DIGIT_MASK;
        }
        self.digits[top] += carry;
        self.until_carry = CARRY_AFTER;
    }

    fn finite(&self) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits[DIGITS - 1] < 0;
        if negative {
            sum.digits.iter_mut().for_each(|digit| *digit = -*digit);
            sum.carry();
        }
        let magnitude = sum.magnitude();
        if negative { -magnitude } else { magnitude }
    }

    /// Rounds digits that are all in `0..2^32`.
    fn magnitude(&self) -> f64 {
        let Some(top) = self.digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // The four highest digits hold at least 97 bits of the value; the rest only breaks ties.
        let lowest = top.saturating_sub(3);
        let window = self.digits[lowest..=top]
            .iter()
            .rev()
            .fold(0_u128, |window, digit| window << DIGIT_BITS | *digit as u128);
        let below = self.digits[..lowest].iter().any(|digit| *digit != 0);
        let bits = 128 - window.leading_zeros() as usize;
        // The exponent field of a value is one more than the place of its lowest mantissa bit.
        let shift = bits.saturating_sub(MANTISSA_BITS);
        if shift == 0 && lowest == 0 {
            // Up to 53 bits of 2^-1074: the bits of the float are the integer itself.
            return f64::from_bits(window as u64);
        }
        let mantissa = (window >> shift) as u64;
        let rest = window & ((1 << shift) - 1);
        let half = (1_u128 << shift) >> 1;
        let up = rest > half || rest == half && shift > 0 && (below || mantissa & 1 == 1);
        let field = (lowest * DIGIT_BITS + shift + 1) as u64;
        // The mantissa's hidden bit adds one to the field, and a carry out of it one more.
        let float = ((field - 1) << (MANTISSA_BITS - 1)) + mantissa + u64::from(up);
        f64::from_bits(float.min(f64::INFINITY.to_bits()))
    }
}
