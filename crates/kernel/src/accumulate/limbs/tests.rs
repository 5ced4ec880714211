use proptest::prelude::*;

use super::{Limbs, Scientific};

type Wide = Limbs<4>;

fn wide(value: i128) -> Wide {
    Wide::shifted(value, 0)
}

#[test]
fn the_edges_of_a_limb_are_no_edges_of_a_number() {
    let mut number = wide(i128::from(u64::MAX));
    number.add(&wide(1));
    assert_eq!(number, Wide::shifted(1, 64));
    number.sub(&Wide::shifted(1, 65));
    assert_eq!(number, wide(-(1 << 64)));
    assert_eq!(Wide::shifted(i128::MIN, 0), wide(i128::MIN));
    assert_eq!(Wide::shifted(-3, 100), wide(-3).times(&Wide::shifted(1, 100)));
    assert!(Wide::ZERO.is_zero() && !wide(-1).is_zero());
}

#[test]
fn a_tie_goes_to_the_even_mantissa_unless_anything_lies_below() {
    let rounded = |number: Wide| number.to_scientific().to_f64();
    let tie = Wide::shifted((1 << 53) + 1, 100);
    assert_eq!(rounded(tie), 2_f64.powi(153));
    let mut above = tie;
    above.add(&wide(1));
    assert_eq!(rounded(above), 2_f64.powi(153) * (1.0 + 2.0 * f64::EPSILON / 2.0));
    let all_ones = wide((1 << 54) - 1);
    assert_eq!(all_ones.to_scientific(), Scientific { mantissa: 1.0, exponent: 54 });
}

#[test]
fn numbers_beyond_floats_are_infinite_or_nothing() {
    let of = |exponent| Scientific { mantissa: -1.5, exponent }.to_f64();
    assert_eq!(of(5000), f64::NEG_INFINITY);
    assert_eq!(of(-5000), 0.0);
    assert_eq!(of(1023), -1.5 * 2_f64.powi(1023));
    assert_eq!(of(-1074), -2.0 * f64::from_bits(1));
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_smaller_numbers(a in any::<i64>(), b in any::<i64>(), c in any::<u32>()) {
        let (x, y) = (i128::from(a), i128::from(b));
        let mut sum = wide(x);
        sum.add(&wide(y));
        prop_assert_eq!(sum, wide(x + y));
        sum.sub(&wide(y));
        prop_assert_eq!(sum, wide(x));
        prop_assert_eq!(wide(x).times(&wide(y)), wide(x * y));
        prop_assert_eq!(wide(x).scaled(c.into()), wide(x * i128::from(c)));
    }

    #[test]
    fn a_product_of_sums_is_the_sum_of_products(a in any::<i128>(), b in any::<i128>(), c in any::<i64>()) {
        let wide = |value| Limbs::<6>::shifted(value, 0);
        let mut sum = wide(a);
        sum.add(&wide(b));
        let mut products = wide(a).times(&wide(c.into()));
        products.add(&wide(b).times(&wide(c.into())));
        prop_assert_eq!(sum.times(&wide(c.into())), products);
    }

    #[test]
    fn rounding_is_that_of_the_machine(value in any::<i128>(), drop in 0..127u32) {
        let value = value >> drop;
        prop_assert_eq!(wide(value).to_scientific().to_f64(), value as f64);
    }

    #[test]
    fn bytes_come_back(value in any::<i128>(), shift in 0..126usize) {
        let number = Wide::shifted(value, shift);
        let (limbs, negative) = number.trimmed();
        prop_assert_eq!(Wide::from_trimmed(limbs, negative), Some(number));
    }
}
