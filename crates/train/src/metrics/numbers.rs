//! Measures of predicted numbers.

use super::scored::{Row, Scored, mean};
use crate::arithmetic::ln;

impl<'a> Scored<'a> {
    /// The rows that count, if all labels and predictions are finite.
    fn numbers(&self) -> Option<impl Iterator<Item = Row<'a>> + Clone> {
        let rows = self.rows(1)?;
        let is_defined = |row: Row<'_>| row.label.is_finite() && row.prediction().is_finite();
        rows.clone().all(is_defined).then_some(rows)
    }

    /// The root of the mean square of the differences.
    #[must_use]
    pub fn rmse(&self) -> Option<f64> {
        Some(mean(self.numbers()?, |row| (row.label - row.prediction()).powi(2)).sqrt())
    }

    /// The mean of the absolute differences.
    #[must_use]
    pub fn mae(&self) -> Option<f64> {
        Some(mean(self.numbers()?, |row| (row.label - row.prediction()).abs()))
    }

    /// The mean pinball loss, which is least where a share of `alpha` lies below the predictions.
    #[must_use]
    pub fn quantile_loss(&self, alpha: f64) -> Option<f64> {
        let rows = self.numbers().filter(|_| alpha > 0.0 && alpha < 1.0)?;
        Some(mean(rows, |row| {
            let above = row.label - row.prediction();
            if above > 0.0 { alpha * above } else { (alpha - 1.0) * above }
        }))
    }

    /// The mean deviance of counts from predicted means (of Poisson), which are above zero.
    #[must_use]
    pub fn poisson_deviance(&self) -> Option<f64> {
        let rows = self.numbers()?;
        let is_defined = |row: Row<'_>| row.label >= 0.0 && row.prediction() > 0.0;
        rows.clone().all(is_defined).then(|| {
            mean(rows, |row| {
                let (label, predicted) = (row.label, row.prediction());
                let gained = if label == 0.0 { 0.0 } else { label * ln(label / predicted) };
                2.0 * (gained + predicted - label)
            })
        })
    }
}

/// [`Scored::rmse`] of rows that count once.
#[must_use]
pub fn rmse(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).rmse()
}

/// [`Scored::mae`] of rows that count once.
#[must_use]
pub fn mae(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).mae()
}

/// [`Scored::quantile_loss`] of rows that count once.
#[must_use]
pub fn quantile_loss(labels: &[f64], predictions: &[f64], alpha: f64) -> Option<f64> {
    Scored::new(labels, predictions).quantile_loss(alpha)
}

/// [`Scored::poisson_deviance`] of rows that count once.
#[must_use]
pub fn poisson_deviance(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).poisson_deviance()
}
