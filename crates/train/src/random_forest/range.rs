//! Values as the library sees them: infinite ones lie just beyond the finite ones.
//!
//! A tree that splits at random draws its threshold between the least and the greatest value. Were
//! an infinite value a very great one, hardly any threshold would fall among the others.

/// Values are clamped to ± this, so that the middle of two of them does not overflow.
const VALUE_MAX: f64 = f64::MAX / 4.0;
/// How far beyond the finite values infinite ones lie, as a share of the span of those.
const BEYOND: f64 = 1.0 / 16.0;

/// The finite values of a feature, from the least to the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    least: f64,
    greatest: f64,
    /// Where an infinite value lies beyond them.
    beyond: [f64; 2],
    /// Whether there is one at this end.
    infinite: [bool; 2],
}

impl Range {
    /// The range of values, none of which is NaN.
    pub(super) fn of(values: &[f64]) -> Self {
        let finite = || {
            let finite = values.iter().filter(|value| value.is_finite());
            finite.map(|value| value.clamp(-VALUE_MAX, VALUE_MAX))
        };
        let infinite = [f64::NEG_INFINITY, f64::INFINITY].map(|end| values.contains(&end));
        let Some(least) = finite().reduce(f64::min) else {
            return Self { least: 0.0, greatest: 0.0, beyond: [-1.0, 1.0], infinite };
        };
        let greatest = finite().fold(least, f64::max);
        let span = greatest - least;
        let step = if span > 0.0 { span * BEYOND } else { least.abs().max(1.0) };
        // Steps below the precision of the values would leave no number between.
        let step = step.max(4.0 * f64::EPSILON * least.abs().max(greatest.abs()));
        Self { least, greatest, beyond: [least - step, greatest + step], infinite }
    }

    /// The value as the library sees it.
    pub(super) fn bounded(&self, value: f64) -> f64 {
        if value.is_infinite() {
            self.beyond[usize::from(value > 0.0)]
        } else {
            value.clamp(-VALUE_MAX, VALUE_MAX)
        }
    }

    /// The threshold that divides values as the library's threshold divides them: what parts an
    /// infinite value from all others parts it from every finite one.
    pub(super) fn unbounded(&self, threshold: f64) -> f64 {
        if self.infinite[1] && threshold >= self.greatest {
            f64::MAX
        } else if self.infinite[0] && threshold < self.least {
            f64::NEG_INFINITY
        } else {
            threshold
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            4 => -10.0_f64..10.0,
            1 => any::<f64>().prop_filter("a number", |value| !value.is_nan()),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
        ];
        prop::collection::vec(value, 1..20)
    }

    proptest! {
        #[test]
        fn values_are_divided_as_the_library_divides_them(
            values in values(),
            share in 0.0_f64..1.0,
        ) {
            let range = Range::of(&values);
            let seen: Vec<f64> = values.iter().map(|value| range.bounded(*value)).collect();
            prop_assert!(seen.iter().all(|value| value.is_finite()));
            let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // One that divides: the library takes no other.
            let threshold = least + share * (greatest - least);
            prop_assume!(threshold < greatest);
            for (value, seen) in values.iter().zip(&seen) {
                let (below, ours) = (*seen <= threshold, *value <= range.unbounded(threshold));
                prop_assert_eq!(below, ours, "{} {} {:?}", value, threshold, range);
            }
        }
    }

    #[test]
    fn infinite_values_are_near_the_others() {
        let range = Range::of(&[0.0, f64::INFINITY, 16.0]);
        assert_eq!(
            [16.0, f64::INFINITY, f64::NEG_INFINITY].map(|v| range.bounded(v)),
            [16.0, 17.0, -1.0]
        );
        assert_eq!([15.0, 16.5, -0.5].map(|t| range.unbounded(t)), [15.0, f64::MAX, -0.5]);
    }
}
