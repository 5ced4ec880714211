//! What becomes of a feature before the model sees it.

use icecore_core::Result;

use super::model::OnnxNode;
use crate::categories::{from_sort_key, sort_key};
use crate::import::{corrupt, unsupported};

/// The most operations on a column.
const STEPS_MAX: usize = 64;

/// One operation on a number, in floats where the graph computes in floats.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Round,
    Sub(f64),
    Add(f64),
    Mul(f64),
    Div(f64),
    /// What a missing value becomes.
    Impute(f64),
}

/// A column: a feature, and what happened to it.
#[derive(Debug, Clone)]
pub(super) struct Feature {
    /// The number of the input; after [`Self::numbered`], that of the column that the model sees.
    pub(super) number: usize,
    /// The category that it tells of by a one, if it does.
    category: Option<usize>,
    is_text: bool,
    /// Whether the graph makes whole numbers of it, of which only categories are known.
    is_truncated: bool,
    is_float: bool,
    steps: Vec<Step>,
}

/// A question about a feature as ours: values up to the threshold, and which of the two answers is
/// theirs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moved {
    pub(super) threshold: f64,
    /// Whether the answer for values up to the threshold is yes.
    pub(super) yes_is_below: bool,
    /// The answer for a missing value, if the graph has one.
    pub(super) missing: Option<bool>,
}

impl Feature {
    pub(super) fn new(number: usize, is_float: bool) -> Self {
        let steps = if is_float { vec![Step::Round] } else { Vec::new() };
        Self { number, category: None, is_text: false, is_truncated: false, is_float, steps }
    }

    /// A column of text.
    pub(super) const fn text(number: usize) -> Self {
        Self {
            number,
            category: None,
            is_text: true,
            is_truncated: false,
            is_float: false,
            steps: Vec::new(),
        }
    }

    /// The column that is one where the input has this category, and else zero.
    pub(super) fn hot(number: usize, category: usize) -> Self {
        Self { category: Some(category), ..Self::new(number, false) }
    }

    /// The column as whole numbers, or as text.
    pub(super) fn truncated(mut self, is_whole: bool) -> Self {
        self.is_truncated = !is_whole && !self.is_text;
        self
    }

    /// How much there is to remember of it.
    pub(super) const fn size(&self) -> usize {
        1 + self.steps.len()
    }

    pub(super) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// Whether it is an input as it came, but for its type.
    pub(super) fn is_plain(&self) -> bool {
        self.category.is_none() && self.steps.iter().all(|step| *step == Step::Round)
    }

    /// The column as one of those that the model sees, whose numbers are given by input and category.
    pub(super) fn numbered(
        mut self,
        number: impl Fn(usize, Option<usize>) -> Option<usize>,
    ) -> Result<Self> {
        self.number = match number(self.number, self.category) {
            Some(number) if !self.is_text && !self.is_truncated => number,
            _ => return Err(unsupported("a model of text, or of categories that are numbers too")),
        };
        Ok(self)
    }

    pub(super) fn cast(mut self, is_float: bool) -> Self {
        if is_float && !self.is_float {
            self.steps.push(Step::Round);
        }
        self.is_float = is_float;
        self
    }

    fn then(&self, step: Step) -> Result<Self> {
        if self.steps.len() >= STEPS_MAX {
            return Err(unsupported("a graph of so many operations on a column"));
        }
        if let Step::Sub(with) | Step::Add(with) | Step::Mul(with) | Step::Div(with) = step
            && !with.is_finite()
        {
            return Err(corrupt("a number that a column is scaled by is none"));
        }
        let mut column = self.clone();
        column.steps.push(step);
        if self.is_float {
            column.steps.push(Step::Round);
        }
        Ok(column)
    }

    /// What the graph makes of a value.
    pub(super) fn value(&self, mut value: f64) -> f64 {
        for step in &self.steps {
            value = match *step {
                Step::Round => f64::from(value as f32),
                Step::Sub(with) => value - with,
                Step::Add(with) => value + with,
                Step::Mul(with) => value * with,
                Step::Div(with) => value / with,
                Step::Impute(with) if value.is_nan() => with,
                Step::Impute(_) => value,
            };
        }
        value
    }

    /// Whether the graph makes no number of a missing value.
    pub(super) fn may_be_missing(&self) -> bool {
        self.category.is_none() && self.value(f64::NAN).is_nan()
    }

    /// The column as a slope and a summand, as far as doubles tell.
    pub(super) fn line(&self) -> (f64, f64) {
        let (mut slope, mut summand) = (1.0, 0.0);
        for step in &self.steps {
            match *step {
                Step::Round | Step::Impute(_) => {}
                Step::Sub(with) => summand -= with,
                Step::Add(with) => summand += with,
                Step::Mul(with) => (slope, summand) = (slope * with, summand * with),
                Step::Div(with) => (slope, summand) = (slope / with, summand / with),
            }
        }
        (slope, summand)
    }

    /// A question about the column as one about the feature.
    pub(super) fn ask(&self, holds: impl Fn(f64) -> bool) -> Moved {
        let holds = |value: f64| holds(self.value(value));
        let missing = self.value(f64::NAN);
        let missing = (!missing.is_nan()).then(|| holds(f64::NAN));
        let yes_is_below = holds(f64::MIN);
        let (mut below, mut above) = (sort_key(f64::MIN), sort_key(f64::MAX));
        let threshold = if holds(f64::MAX) == yes_is_below {
            f64::INFINITY
        } else {
            // The answer changes once, because each operation rises or falls.
            while above - below > 1 {
                let middle = below + (above - below) / 2;
                if holds(from_sort_key(middle)) == yes_is_below {
                    below = middle;
                } else {
                    above = middle;
                }
            }
            from_sort_key(below)
        };
        Moved { threshold, yes_is_below, missing }
    }
}

fn each(columns: &[Feature], numbers: &[f64], step: impl Fn(f64) -> Step) -> Result<Vec<Feature>> {
    if numbers.len() != 1 && numbers.len() != columns.len() {
        return Err(corrupt("a step has another number of numbers than of columns"));
    }
    let number = |at: usize| if numbers.len() == 1 { numbers[0] } else { numbers[at] };
    columns.iter().enumerate().map(|(at, column)| column.then(step(number(at)))).collect()
}

pub(super) fn scaled(columns: &[Feature], node: &OnnxNode) -> Result<Vec<Feature>> {
    let columns: Vec<Feature> = columns.iter().map(|column| column.clone().cast(true)).collect();
    let columns = each(&columns, &node.floats("offset"), Step::Sub)?;
    each(&columns, &node.floats("scale"), Step::Mul)
}

pub(super) fn imputed(columns: &[Feature], node: &OnnxNode) -> Result<Vec<Feature>> {
    let replaced = node.float("replaced_value_float", 0.0);
    if !replaced.is_nan() {
        return Err(unsupported(&format!("a graph whose `Imputer` replaces {replaced}"))
            .with_help("only missing values are imputed here: `replaced_value_float` is NaN"));
    }
    each(columns, &node.floats("imputed_value_floats"), Step::Impute)
}

pub(super) fn computed(columns: &[Feature], op: &str, with: &[f64]) -> Result<Vec<Feature>> {
    each(columns, with, |with| match op {
        "Sub" => Step::Sub(with),
        "Add" => Step::Add(with),
        "Mul" => Step::Mul(with),
        _ => Step::Div(with),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_question_is_moved_to_where_its_answer_changes(
            value in -1e3_f64..1e3,
            sub in -10.0_f64..10.0,
            mul in prop_oneof![-3.0_f64..-0.1, 0.1_f64..3.0],
            threshold in -50.0_f32..50.0,
            is_float in any::<bool>(),
        ) {
            let column = Feature::new(0, is_float)
                .then(Step::Impute(1.0)).unwrap()
                .then(Step::Sub(sub)).unwrap()
                .then(Step::Mul(mul)).unwrap();
            let holds = |value: f64| value <= f64::from(threshold);
            let moved = column.ask(holds);
            for value in [value, moved.threshold, moved.threshold.next_up(), f64::from(value as f32)] {
                let below = value <= moved.threshold;
                prop_assert_eq!(below == moved.yes_is_below, holds(column.value(value)));
            }
            prop_assert_eq!(moved.missing, Some(holds(column.value(1.0))));
        }
    }
}
