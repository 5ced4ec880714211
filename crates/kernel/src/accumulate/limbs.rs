//! Whole numbers of a fixed, large width.

#[cfg(test)]
mod tests;

/// Bits that a float's mantissa has.
const MANTISSA_BITS: u32 = 53;

/// A signed whole number of `64 N` bits in two's complement, the lowest limb first. Results are
/// right whenever they fit: arithmetic is modulo `2^(64 N)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limbs<const N: usize>([u64; N]);

/// `mantissa * 2^exponent`; the mantissa is zero or at least one and less than two, with a sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scientific {
    pub(crate) mantissa: f64,
    pub(crate) exponent: i32,
}

impl<const N: usize> Limbs<N> {
    pub(crate) const ZERO: Self = Self([0; N]);

    /// A number of up to 128 bits, shifted up by so many bits.
    pub(crate) fn shifted(value: i128, bits: usize) -> Self {
        let mut limbs = Self::ZERO;
        let magnitude = value.unsigned_abs();
        let (skip, shift) = (bits / 64, bits % 64);
        let (low, high) = (magnitude as u64, (magnitude >> 64) as u64);
        let parts = match shift {
            0 => [low, high, 0],
            _ => [low << shift, low >> (64 - shift) | high << shift, high >> (64 - shift)],
        };
        for (limb, part) in limbs.0.iter_mut().skip(skip).zip(parts) {
            *limb = part;
        }
        if value < 0 { limbs.negated() } else { limbs }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(&other.0) {
            let (sum, first) = limb.overflowing_add(*other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first | second);
        }
    }

    pub(crate) fn sub(&mut self, other: &Self) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(&other.0) {
            let (rest, first) = limb.overflowing_sub(*other);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, first | second);
        }
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let negative = self.is_negative() != other.is_negative();
        let (left, right) = (self.magnitude(), other.magnitude());
        let mut product = Self::ZERO;
        let used = right.0.iter().rposition(|limb| *limb != 0).map_or(0, |last| last + 1);
        for (at, limb) in left.0.iter().enumerate().filter(|(_, limb)| **limb != 0) {
            let mut carry = 0_u128;
            let (Some(into), Some(right)) = (product.0.get_mut(at..), right.0.get(..used)) else {
                continue;
            };
            let right = right.iter().copied().chain(std::iter::repeat(0));
            for (place, (into, right)) in into.iter_mut().zip(right).enumerate() {
                if place >= used && carry == 0 {
                    break;
                }
                let sum = u128::from(*into) + u128::from(*limb) * u128::from(right) + carry;
                *into = sum as u64;
                carry = sum >> 64;
            }
        }
        if negative { product.negated() } else { product }
    }

    /// The number, so many times.
    pub(crate) fn scaled(&self, by: u64) -> Self {
        self.times(&Self::shifted(i128::from(by), 0))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|limb| *limb == 0)
    }

    /// The number, rounded once to the precision of a float, ties to even.
    pub(crate) fn to_scientific(self) -> Scientific {
        let magnitude = self.magnitude();
        let Some(top) = magnitude.0.iter().rposition(|limb| *limb != 0) else {
            return Scientific { mantissa: 0.0, exponent: 0 };
        };
        // The two highest limbs hold at least 65 bits; what lies below them only breaks ties.
        let lowest = top.saturating_sub(1);
        let limb = |at: usize| magnitude.0.get(at).copied().unwrap_or(0);
        let window = match top {
            0 => u128::from(limb(0)),
            _ => u128::from(limb(top)) << 64 | u128::from(limb(lowest)),
        };
        let is_below = magnitude.0.iter().take(lowest).any(|limb| *limb != 0);
        let bits = 128 - window.leading_zeros();
        let shift = bits.saturating_sub(MANTISSA_BITS);
        let rest = window & ((1 << shift) - 1);
        let half = (1_u128 << shift) >> 1;
        let kept = window >> shift;
        let up = shift > 0 && (rest > half || rest == half && (is_below || kept & 1 == 1));
        // At most 2^53, which a float holds.
        let rounded = (kept + u128::from(up)) as f64;
        let exponent = (lowest * 64) as i32 + shift as i32;
        let scientific = Scientific { mantissa: rounded, exponent }.normal();
        if self.is_negative() { scientific.negated() } else { scientific }
    }

    /// The limbs without those at the top that only repeat the sign, and whether it is negative.
    pub(crate) fn trimmed(&self) -> (&[u64], bool) {
        let filling = if self.is_negative() { u64::MAX } else { 0 };
        let used = self.0.iter().rposition(|limb| *limb != filling).map_or(0, |last| last + 1);
        (self.0.get(..used).unwrap_or_default(), self.is_negative())
    }

    /// What [`trimmed`](Self::trimmed) gave, if it is that and fits.
    pub(crate) fn from_trimmed(limbs: &[u64], negative: bool) -> Option<Self> {
        let filling = if negative { u64::MAX } else { 0 };
        let mut whole = Self([filling; N]);
        whole.0.get_mut(..limbs.len())?.copy_from_slice(limbs);
        let is_plain = limbs.last().is_none_or(|last| *last != filling);
        (whole.is_negative() == negative && is_plain).then_some(whole)
    }

    fn is_negative(&self) -> bool {
        self.0.last().is_some_and(|top| top >> 63 == 1)
    }

    fn negated(&self) -> Self {
        let mut negated = Self::ZERO;
        negated.sub(self);
        negated
    }

    fn magnitude(&self) -> Self {
        if self.is_negative() { self.negated() } else { *self }
    }
}

impl Scientific {
    /// The same number with a mantissa of at least one and less than two, from a mantissa that is
    /// a normal float and at least one.
    fn normal(self) -> Self {
        let bits = self.mantissa.to_bits();
        let field = (bits >> (MANTISSA_BITS - 1) & 0x7ff) as i32;
        let mantissa = f64::from_bits(bits & ((1 << (MANTISSA_BITS - 1)) - 1) | 1023 << 52);
        Self { mantissa, exponent: self.exponent + field - 1023 }
    }

    fn negated(self) -> Self {
        Self { mantissa: -self.mantissa, ..self }
    }

    /// The float nearest to `mantissa * 2^exponent`.
    pub(crate) fn to_f64(self) -> f64 {
        let Self { mut mantissa, mut exponent } = self;
        while exponent > 1023 && mantissa != 0.0 && mantissa.is_finite() {
            mantissa *= power_of_two(1023);
            exponent -= 1023;
        }
        while exponent < -1074 && mantissa != 0.0 {
            mantissa *= power_of_two(-1022);
            exponent += 1022;
        }
        mantissa * power_of_two(exponent.clamp(-1074, 1023))
    }
}

/// `2^power`, for powers from -1074 to 1023.
pub(crate) fn power_of_two(power: i32) -> f64 {
    let bits = match power {
        ..-1022 => 1_u64 << (power + 1074),
        _ => ((power + 1023) as u64) << (MANTISSA_BITS - 1),
    };
    f64::from_bits(bits)
}
