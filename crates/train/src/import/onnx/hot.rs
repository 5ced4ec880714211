//! `OneHotEncoder`: columns that tell which category an input has.

use std::collections::BTreeMap;

use icecore_core::Result;

use super::feature::Feature;
use super::model::OnnxNode;
use crate::categories::{Categories, sort_key};
use crate::import::{corrupt, unsupported};
use crate::preprocess::{FittedStep, Operation, Unknown};

/// The most bytes of the categories of a node, over all inputs that have them.
const BYTES_MAX: usize = 1 << 24;

/// The categories of inputs, by the input's number.
#[derive(Debug, Default)]
pub(super) struct Hot {
    by_input: BTreeMap<usize, Operation>,
}

impl Hot {
    /// The columns of a node's categories.
    pub(super) fn columns(&mut self, table: &[Feature], node: &OnnxNode) -> Result<Vec<Feature>> {
        let (categories, places) = categories(node)?;
        let unknown = if node.integer("zeros", 1) == 0 { Unknown::Error } else { Unknown::Ignore };
        let is_text = matches!(categories, Categories::Text(_));
        let operation = Operation::OneHot { categories, missing: false, unknown };
        let bytes: usize = node.texts("cats_strings").iter().map(|text| text.len() + 8).sum();
        if table.len().saturating_mul(bytes.max(8 * places.len())) > BYTES_MAX {
            return Err(unsupported("so many categories"));
        }
        let mut columns = Vec::new();
        for column in table {
            if column.is_text() != is_text || !column.is_plain() {
                return Err(unsupported("a graph with categories of what is computed"));
            }
            let known = self.by_input.entry(column.number).or_insert_with(|| operation.clone());
            if *known != operation {
                return Err(unsupported("a graph with several lists of categories of one input"));
            }
            columns.extend(places.iter().map(|place| Feature::hot(column.number, *place)));
        }
        Ok(columns)
    }

    /// The steps that make the columns.
    pub(super) fn steps(&self, names: &[String]) -> Vec<FittedStep> {
        let step = |(input, operation): (&usize, &Operation)| {
            let column = names.get(*input)?.clone();
            Some(FittedStep { column, operation: operation.clone() })
        };
        self.by_input.iter().filter_map(step).collect()
    }

    /// How many columns the model sees of an input.
    pub(super) fn width(&self, input: usize) -> usize {
        match self.by_input.get(&input) {
            Some(Operation::OneHot { categories, .. }) => categories.len(),
            _ => 1,
        }
    }

    pub(super) fn has(&self, input: usize) -> bool {
        self.by_input.contains_key(&input)
    }
}

/// The categories of a node in order, and the place of each in that order.
fn categories(node: &OnnxNode) -> Result<(Categories, Vec<usize>)> {
    let (texts, numbers) = (node.texts("cats_strings"), node.integers("cats_int64s"));
    let twice = || corrupt("a category is there twice");
    if !texts.is_empty() {
        let mut sorted = texts.to_vec();
        sorted.sort_unstable();
        let places = texts.iter().filter_map(|text| sorted.binary_search(text).ok()).collect();
        let categories = Categories::Text(sorted);
        return if categories.is_sound(usize::MAX) {
            Ok((categories, places))
        } else {
            Err(twice())
        };
    }
    let numbers: Vec<f64> = numbers.into_iter().map(|number| number as f64).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = |number: &f64| {
        let key = sort_key(*number);
        sorted.binary_search_by_key(&key, |other| sort_key(*other)).ok()
    };
    let places = numbers.iter().filter_map(place).collect();
    let categories = Categories::Number(sorted);
    if categories.is_sound(usize::MAX) { Ok((categories, places)) } else { Err(twice()) }
}
