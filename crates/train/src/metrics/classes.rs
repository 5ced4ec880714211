//! Measures of more than two classes.

use serde::Serialize;

use super::areas::PROBABILITY_MIN;
use super::curves::{Count, share};
use super::scored::{Row, Scored, Sum, mean};
use crate::arithmetic::ln;

impl<'a> Scored<'a> {
    /// The rows that count, if the label of each is the number of a class and none is predicted to
    /// be NaN.
    fn classes(&self, classes: usize) -> Option<impl Iterator<Item = Row<'a>> + Clone> {
        let rows = self.rows(classes).filter(|_| classes > 1)?;
        let is_defined = |row: Row<'_>| {
            (0.0..classes as f64).contains(&row.label)
                && row.label.fract() == 0.0
                && !row.predictions.iter().any(|prediction| prediction.is_nan())
        };
        rows.clone().all(is_defined).then_some(rows)
    }

    /// The mean of minus the logarithm of the probability that was given to each row's class.
    #[must_use]
    pub fn class_log_loss(&self, classes: usize) -> Option<f64> {
        Some(mean(self.classes(classes)?, |row| {
            -ln(row.predictions[row.label as usize].clamp(PROBABILITY_MIN, 1.0))
        }))
    }

    /// The share of rows whose class is the one of greatest probability; of equal ones, the first.
    #[must_use]
    pub fn class_accuracy(&self, classes: usize) -> Option<f64> {
        Some(mean(self.classes(classes)?, |row| {
            f64::from(u8::from(best(row.predictions) == row.label as usize))
        }))
    }

    /// How often rows of each class are taken for which: a row is taken for the class of greatest
    /// probability; of equal ones, the first.
    #[must_use]
    pub fn class_confusion(&self, classes: usize) -> Option<ClassConfusion> {
        let mut cells: Vec<(usize, usize, f64)> = self
            .classes(classes)?
            .map(|row| (row.label as usize, best(row.predictions), row.weight))
            .collect();
        // Weights are summed in one order.
        cells.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut matrix = vec![vec![Count(0.0); classes]; classes];
        for cell in cells.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (label, taken, _) = cell[0];
            let mut sum = Sum::default();
            cell.iter().for_each(|(_, _, weight)| sum.add(*weight));
            matrix[label][taken] = Count(sum.value());
        }
        Some(ClassConfusion { matrix })
    }
}

fn best(probabilities: &[f64]) -> usize {
    let greatest = |best: (usize, f64), (at, value): (usize, &f64)| {
        if *value > best.1 { (at, *value) } else { best }
    };
    probabilities.iter().enumerate().fold((0, f64::NEG_INFINITY), greatest).0
}

/// The confusion matrix of classes: a row of it for each class of labels, a column for each class
/// that rows are taken for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassConfusion {
    matrix: Vec<Vec<Count>>,
}

impl ClassConfusion {
    /// How many rows of a class are taken for another, or itself; as many as their weight.
    #[must_use]
    pub fn of(&self, label: usize, taken: usize) -> f64 {
        self.matrix.get(label).and_then(|row| row.get(taken)).map_or(0.0, |count| count.0)
    }

    /// The number of classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.matrix.len()
    }

    /// The share of rows taken for a class that are of it.
    #[must_use]
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.of(class, class), (0..self.classes()).map(|label| self.of(label, class)).sum())
    }

    /// The share of rows of a class that are taken for it.
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.of(class, class), (0..self.classes()).map(|taken| self.of(class, taken)).sum())
    }
}

/// [`Scored::class_log_loss`] of rows that count once.
#[must_use]
pub fn class_log_loss(labels: &[f64], predictions: &[f64], classes: usize) -> Option<f64> {
    Scored::new(labels, predictions).class_log_loss(classes)
}

/// [`Scored::class_accuracy`] of rows that count once.
#[must_use]
pub fn class_accuracy(labels: &[f64], predictions: &[f64], classes: usize) -> Option<f64> {
    Scored::new(labels, predictions).class_accuracy(classes)
}
