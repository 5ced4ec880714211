//! Sums of a support vector machine as log odds.
//!
//! The maximum likelihood of labels that are drawn a little to the middle, by Newton's method with
//! a line search: Lin, Lin and Weng, "A note on Platt's probabilistic outputs for support vector
//! machines" (Machine Learning 68, 2007), algorithm 1.

use crate::arithmetic::{exp, ln};

const ITERATIONS_MAX: usize = 100;
const STEP_MIN: f64 = 1e-10;
const RIDGE: f64 = 1e-12;

/// The factor and the summand that make log odds of sums.
pub(super) fn fit(sums: &[f64], labels: &[f64]) -> (f64, f64) {
    let positive = labels.iter().filter(|label| **label == 1.0).count() as f64;
    let negative = labels.len() as f64 - positive;
    let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
    let targets: Vec<f64> =
        labels.iter().map(|label| if *label == 1.0 { high } else { low }).collect();
    let loss = |(factor, summand): (f64, f64)| -> f64 {
        let rows = sums.iter().zip(&targets);
        rows.map(|(sum, target)| {
            let odds = factor * sum + summand;
            // log(1 + e^odds) less the target's part, without the overflow.
            odds.max(0.0) + ln(1.0 + exp(-odds.abs())) - target * odds
        })
        .sum()
    };
    let mut fitted = (0.0, ln((positive + 1.0) / (negative + 1.0)));
    let mut best = loss(fitted);
    for _ in 0..ITERATIONS_MAX {
        let (gradient, hessian) = slopes(fitted, (sums, &targets));
        if gradient.0.abs() < 1e-8 && gradient.1.abs() < 1e-8 {
            break;
        }
        let determinant = hessian.0 * hessian.2 - hessian.1 * hessian.1;
        let toward = (
            -(hessian.2 * gradient.0 - hessian.1 * gradient.1) / determinant,
            -(hessian.0 * gradient.1 - hessian.1 * gradient.0) / determinant,
        );
        let slope = gradient.0 * toward.0 + gradient.1 * toward.1;
        let mut step = 1.0;
        while step >= STEP_MIN {
            let next = (fitted.0 + step * toward.0, fitted.1 + step * toward.1);
            let after = loss(next);
            if after < best + 1e-4 * step * slope {
                (fitted, best) = (next, after);
                break;
            }
            step /= 2.0;
        }
        if step < STEP_MIN {
            break;
        }
    }
    fitted
}

/// The gradient of the loss, and the upper half of its hessian.
fn slopes(
    (factor, summand): (f64, f64),
    (sums, targets): (&[f64], &[f64]),
) -> ((f64, f64), (f64, f64, f64)) {
    let (mut gradient, mut hessian) = ((0.0, 0.0), (RIDGE, 0.0, RIDGE));
    for (sum, target) in sums.iter().zip(targets) {
        let probability = crate::arithmetic::sigmoid(factor * sum + summand);
        let error = probability - target;
        let weight = probability * (1.0 - probability);
        gradient = (gradient.0 + sum * error, gradient.1 + error);
        hessian.0 += sum * sum * weight;
        hessian.1 += sum * weight;
        hessian.2 += weight;
    }
    (gradient, hessian)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odds_of_labels_that_follow_a_logistic_curve_are_found() {
        let (mut sums, mut labels) = (Vec::new(), Vec::new());
        for step in -40..=40 {
            let sum = f64::from(step) / 10.0;
            let positive = (1_000.0 * crate::arithmetic::sigmoid(1.5 * sum - 0.5)).round() as usize;
            sums.extend(std::iter::repeat_n(sum, 1_000));
            labels.extend((0..1_000).map(|row| f64::from(u8::from(row < positive))));
        }
        let (factor, summand) = fit(&sums, &labels);
        assert!((factor - 1.5).abs() < 0.01 && (summand + 0.5).abs() < 0.01, "{factor} {summand}");
    }
}
