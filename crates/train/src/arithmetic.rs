//! Elementary functions and hashes that give the same bits on every platform.
//!
//! The standard library hands `exp` and `ln` to the platform's libm, whose last bit differs from
//! one to the next. These are built from additions, multiplications and divisions alone, which
//! IEEE 754 defines exactly.

/// Adding and subtracting it rounds a double of magnitude below 2^51 to an integer.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// The logarithm of two: the upper part has trailing zeros, so that small multiples are exact.
const LN_2_HI: f64 = 6.931_471_803_691_238e-1;
const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// One over the factorials of 2..=13, the last one first.
const EXP_TERMS: [f64; 12] = [
    1.605_904_383_682_161_3e-10,
    2.087_675_698_786_81e-9,
    2.505_210_838_544_172e-8,
    2.755_731_922_398_589e-7,
    2.755_731_922_398_589_3e-6,
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
];

/// e to the power of `x`, within two units in the last place; saturates at ±708.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let x = x.clamp(-708.0, 708.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HI) - k * LN_2_LO;
    let mut sum = 0.0;
    for term in EXP_TERMS {
        sum = sum * r + term;
    }
    let fraction = 1.0 + (r + r * r * sum);
    // The low bits of `shifted` are the integer `k`, in two's complement.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023);
    fraction * f64::from_bits(exponent << 52)
}

/// The natural logarithm of a positive, finite number, within two units in the last place.
pub(crate) fn ln(x: f64) -> f64 {
    // Subnormal numbers are scaled up, so that their exponent can be read from the bits.
    let (x, offset) =
        if x < f64::MIN_POSITIVE { (x * 18_014_398_509_481_984.0, 54) } else { (x, 0) };
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i64 - 1023 - offset;
    let mut mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in (1..=12).rev() {
        sum = (sum + 1.0 / f64::from(2 * odd + 1)) * square;
    }
    let k = exponent as f64;
    k * LN_2_HI + (2.0 * s + (2.0 * s * sum + k * LN_2_LO))
}

/// The probability whose log odds are `x`, in [0, 1].
#[inline(always)]
pub(crate) fn sigmoid(x: f64) -> f64 {
    let p = 1.0 / (1.0 + exp(-x));
    // A comparison with NaN is false, so that a probability comes out whatever goes in.
    if p >= 0.0 { p.min(1.0) } else { 0.5 }
}

/// Mixes 64 bits so that every bit of the result depends on every bit of `x`.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A hash of two numbers in which their order counts.
pub(crate) const fn mix_pair(a: u64, b: u64) -> u64 {
    mix(mix(a.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ b.wrapping_mul(0xD6E8_FEB8_6659_FD93))
}

/// Mixes 32 bits so that every bit of the result depends on every bit of `x`.
pub(crate) const fn mix_u32(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// The sum of numbers, independent of their order: they are sorted first.
pub(crate) fn ordered_sum(mut terms: Vec<f64>) -> f64 {
    terms.sort_unstable_by(f64::total_cmp);
    terms.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ours: f64, reference: f64, at: f64) {
        let tolerance = reference.abs() * 4.5e-16;
        assert!((ours - reference).abs() <= tolerance, "at {at}: {ours:e} is not {reference:e}");
    }

    #[test]
    fn exp_is_that_of_the_standard_library_but_for_the_last_bits() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.010_1;
            check(exp(x), x.exp(), x);
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(1e9), exp(708.0));
        assert!(exp(f64::NEG_INFINITY) > 0.0);
    }

    #[test]
    fn ln_is_that_of_the_standard_library_but_for_the_last_bits() {
        for step in 1..=100_000 {
            let x = f64::from(step) * 0.000_37;
            check(ln(x), x.ln(), x);
        }
        for x in [f64::MIN_POSITIVE, 5e-324, 1e-310, f64::MAX, 1e-16] {
            check(ln(x), x.ln(), x);
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn a_probability_is_one_whatever_goes_in() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e300, -1e300, 800.0] {
            assert!((0.0..=1.0).contains(&sigmoid(x)), "{x}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
