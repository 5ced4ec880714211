//! Sums of powers without an error, and the moments that follow from them.

#[cfg(test)]
mod tests;

use icecore_core::{Error, Result};

use super::limbs::{Limbs, Scientific};

/// Sums of the first, second, third and fourth powers of whole numbers.
///
/// The widths that callers choose have room for every product below: with values and counts of
/// which the sum of a window fits `b` bits, the fourth moment needs `4 b + 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WholePowers<const N: usize> {
    count: u64,
    sums: [Limbs<N>; 4],
}

impl<const N: usize> Default for WholePowers<N> {
    fn default() -> Self {
        Self { count: 0, sums: [Limbs::ZERO; 4] }
    }
}

/// Up to which power sums are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Second,
    Fourth,
}

impl<const N: usize> WholePowers<N> {
    #[inline]
    pub(crate) fn add(&mut self, value: &Limbs<N>, order: Order) {
        self.count += 1;
        self.each_power(value, order, Limbs::add);
    }

    #[inline]
    pub(crate) fn sub(&mut self, value: &Limbs<N>, order: Order) {
        self.count -= 1;
        self.each_power(value, order, Limbs::sub);
    }

    fn each_power(
        &mut self,
        value: &Limbs<N>,
        order: Order,
        change: impl Fn(&mut Limbs<N>, &Limbs<N>),
    ) {
        let powers = if order == Order::Second { 2 } else { 4 };
        let mut power = *value;
        for (index, sum) in self.sums.iter_mut().take(powers).enumerate() {
            if index > 0 {
                power = power.times(value);
            }
            change(sum, &power);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Appends the count and the sums.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.count.to_le_bytes());
        for sum in &self.sums {
            let (limbs, negative) = sum.trimmed();
            // There are at most as many limbs as fit a byte.
            bytes.extend_from_slice(&[u8::from(negative), limbs.len() as u8]);
            limbs.iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        }
    }

    /// Reads what [`write`](Self::write) wrote, from the front.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (count, mut rest) = bytes.split_first_chunk::<8>()?;
        let mut powers = Self { count: u64::from_le_bytes(*count), ..Self::default() };
        for sum in &mut powers.sums {
            let ([negative, length], after) = rest.split_first_chunk::<2>()?;
            let (limbs, after) = after.split_at_checked(usize::from(*length) * 8)?;
            let limbs: Vec<u64> =
                limbs.as_chunks::<8>().0.iter().map(|limb| u64::from_le_bytes(*limb)).collect();
            *sum = Limbs::from_trimmed(&limbs, *negative == 1)?;
            if *negative > 1 {
                return None;
            }
            rest = after;
        }
        *bytes = rest;
        Some(powers)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.add(other);
        }
    }

    /// The sample variance in units squared, absent for fewer than two values.
    fn variance(&self) -> Option<Scientific> {
        let before = self.count.checked_sub(1).filter(|before| *before > 0)?;
        let second = self.second().to_scientific();
        let pairs = self.count as f64 * before as f64;
        Some(Scientific { mantissa: second.mantissa / pairs, ..second })
    }

    /// The sample variance of values in units of `2^unit`, divided by a factor.
    pub(crate) fn variance_of(&self, unit: i32, divisor: f64) -> Option<f64> {
        let Scientific { mantissa, exponent } = self.variance()?;
        let mantissa = mantissa / divisor;
        Some(Scientific { mantissa, exponent: exponent + 2 * unit }.to_f64())
    }

    /// The root of [`variance_of`](Self::variance_of), taken before anything can leave the floats.
    pub(crate) fn deviation_of(&self, unit: i32, divisor: f64) -> Option<f64> {
        let variance = self.variance()?;
        let even = variance.exponent & !1;
        let mantissa = variance.mantissa / divisor * f64::from(1 + (variance.exponent - even));
        Some(Scientific { mantissa: mantissa.sqrt(), exponent: even / 2 + unit }.to_f64())
    }

    /// The skewness of the values as a population, absent where they do not differ.
    pub(crate) fn skewness(&self) -> Option<f64> {
        let second = self.second();
        if second.is_zero() {
            return None;
        }
        let (second, third) = (second.to_scientific(), self.third().to_scientific());
        // The exponent of the root of the cube is a whole number where that of the base is even.
        let even = second.exponent & !1;
        let base = second.mantissa * f64::from(1 + (second.exponent - even));
        let mantissa = third.mantissa / (base * base.sqrt());
        Some(Scientific { mantissa, exponent: third.exponent - even / 2 * 3 }.to_f64())
    }

    /// The excess kurtosis of the values as a population, absent where they do not differ.
    pub(crate) fn kurtosis(&self) -> Option<f64> {
        let second = self.second();
        if second.is_zero() {
            return None;
        }
        let (second, fourth) = (second.to_scientific(), self.fourth().to_scientific());
        let mantissa = fourth.mantissa / (second.mantissa * second.mantissa);
        let ratio = Scientific { mantissa, exponent: fourth.exponent - 2 * second.exponent };
        Some(ratio.to_f64() - 3.0)
    }

    /// `n^2` times the second central moment: `n S2 - S1^2`.
    fn second(&self) -> Limbs<N> {
        let [first, second, ..] = &self.sums;
        let mut moment = second.scaled(self.count);
        moment.sub(&first.times(first));
        moment
    }

    /// `n^3` times the third central moment: `n^2 S3 - 3 n S1 S2 + 2 S1^3`.
    fn third(&self) -> Limbs<N> {
        let [first, second, third, _] = &self.sums;
        let mut moment = third.scaled(self.count).scaled(self.count);
        moment.sub(&first.times(second).scaled(self.count).scaled(3));
        moment.add(&first.times(first).times(first).scaled(2));
        moment
    }

    /// `n^4` times the fourth central moment: `n^3 S4 - 4 n^2 S1 S3 + 6 n S1^2 S2 - 3 S1^4`.
    fn fourth(&self) -> Limbs<N> {
        let [first, second, third, fourth] = &self.sums;
        let square = first.times(first);
        let mut moment = fourth.scaled(self.count).scaled(self.count).scaled(self.count);
        moment.sub(&first.times(third).scaled(self.count).scaled(self.count).scaled(4));
        moment.add(&square.times(second).scaled(self.count).scaled(6));
        moment.sub(&square.times(&square).scaled(3));
        moment
    }
}

/// Limbs for the fourth powers of every float: `4 (2098 + 32) + 3` bits and a sign.
pub(crate) const ANY_FLOAT: usize = 134;
/// The power of two of which every finite float is a multiple.
pub(crate) const LEAST_POWER: i32 = -1074;
const FRACTION_BITS: u32 = 52;
const VERSION: u8 = 1;

/// A finite float in units of `2^-1074`.
pub(crate) fn in_least_units(value: f64) -> Limbs<ANY_FLOAT> {
    let bits = value.to_bits();
    let field = bits >> FRACTION_BITS & 0x7ff;
    let hidden = u64::from(field != 0) << FRACTION_BITS;
    let magnitude = i128::from(bits & ((1 << FRACTION_BITS) - 1) | hidden);
    let signed = if value.is_sign_negative() { -magnitude } else { magnitude };
    Limbs::shifted(signed, field.max(1) as usize - 1)
}

/// Variance, skewness and kurtosis of 64-bit floats, from exact sums of their powers.
///
/// What comes out depends on the values alone: not on their order, nor on what was added and taken
/// out again. Central moments are computed as whole numbers without an error and rounded once; the
/// divisions and roots after that are those of the machine, which IEEE 754 defines to the bit. So
/// results are within two units in the last place of the true ones, however far the values lie
/// from zero (the textbook formula on floats loses every digit there; see Chan, Golub and LeVeque
/// 1983, "Algorithms for Computing the Sample Variance").
///
/// A NaN or an infinity makes every result NaN.
///
/// ```
/// use icecore_kernel::PowerSums;
///
/// let mut sums = PowerSums::default();
/// [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0].into_iter().for_each(|value| sums.add(value));
/// assert_eq!(sums.variance(), Some(30.0));
/// sums.sub(1e9 + 16.0);
/// assert_eq!(sums.variance(), Some(21.0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PowerSums {
    not_finite: u64,
    finite: Box<WholePowers<ANY_FLOAT>>,
}

impl PowerSums {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.finite.add(&in_least_units(value), Order::Fourth);
        } else {
            self.not_finite += 1;
        }
    }

    /// Takes out a value that was added. One that was not leaves wrong sums.
    pub fn sub(&mut self, value: f64) {
        if !value.is_finite() {
            self.not_finite = self.not_finite.saturating_sub(1);
        } else if self.finite.count > 0 {
            self.finite.sub(&in_least_units(value), Order::Fourth);
        }
    }

    /// Adds everything that others hold.
    pub fn merge(&mut self, other: &Self) {
        self.not_finite += other.not_finite;
        self.finite.merge(&other.finite);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.finite.count + self.not_finite
    }

    /// The sample variance (divided by `n - 1`), absent for fewer than two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        self.unless_nan(self.count() > 1, |sums| sums.variance_of(LEAST_POWER, 1.0))
    }

    /// The sample standard deviation, absent for fewer than two values.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        self.unless_nan(self.count() > 1, |sums| sums.deviation_of(LEAST_POWER, 1.0))
    }

    /// The skewness of the values as a population (not corrected for bias), absent where no two of
    /// them differ.
    #[must_use]
    pub fn skewness(&self) -> Option<f64> {
        self.unless_nan(self.count() > 0, WholePowers::skewness)
    }

    /// The excess kurtosis of the values as a population (not corrected for bias; zero for a normal
    /// distribution), absent where no two of them differ.
    #[must_use]
    pub fn kurtosis(&self) -> Option<f64> {
        self.unless_nan(self.count() > 0, WholePowers::kurtosis)
    }

    fn unless_nan(
        &self,
        is_there: bool,
        of: impl Fn(&WholePowers<ANY_FLOAT>) -> Option<f64>,
    ) -> Option<f64> {
        match (is_there, self.not_finite) {
            (false, _) => None,
            (true, 0) => of(&self.finite),
            (true, _) => Some(f64::NAN),
        }
    }

    /// A compact form: equal sums have equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.not_finite.to_le_bytes());
        self.finite.write(&mut bytes);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataCorrupt`](icecore_core::ErrorKind::DataCorrupt) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::corrupt("these bytes are not sums of powers"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (not_finite, mut rest) = rest.split_first_chunk::<8>()?;
        let finite = WholePowers::read(&mut rest)?;
        let is_whole = rest.is_empty() && version == VERSION;
        is_whole
            .then(|| Self { not_finite: u64::from_le_bytes(*not_finite), finite: Box::new(finite) })
    }
}
