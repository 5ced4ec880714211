//! Categories: the values of a feature that have no order, as numbers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use icecore_core::{Result, is_text_type};
use serde::{Deserialize, Serialize};

use crate::columns::{self, Values};
use crate::tree::CATEGORIES_MAX;

/// The categories of one feature, in order. A value that is not among them is missing, but for
/// [`Self::Codes`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Categories {
    /// Of text.
    Text(Vec<String>),
    /// Of numbers.
    Number(#[serde(with = "crate::exact::list")] Vec<f64>),
    /// Of numbers that are whole. Another number counts as what is before its point, because
    /// LightGBM cuts it there.
    Whole(#[serde(with = "crate::exact::list")] Vec<f64>),
    /// So many whole numbers, from zero on. Another number has the place after the last, because
    /// XGBoost does not send it where missing values go.
    Codes(usize),
}

impl Eq for Categories {}

impl Categories {
    /// The values of a column: of more than `max`, those that are most frequent, and of equally
    /// frequent ones, the first in their order.
    pub(crate) fn fit(array: &dyn Array, max: usize) -> Result<Self> {
        let mut counts = Counts::of(array.data_type());
        counts.add(array)?;
        Ok(counts.most(max))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Number(values) | Self::Whole(values) => values.len(),
            Self::Codes(count) => *count,
        }
    }

    /// Whether they are few enough, sorted and distinct.
    pub(crate) fn is_sound(&self, max: usize) -> bool {
        self.len() <= max
            && match self {
                Self::Text(values) => values.windows(2).all(|pair| pair[0] < pair[1]),
                Self::Number(values) => {
                    values.iter().all(|value| value.is_finite())
                        && values.windows(2).all(|pair| pair[0] < pair[1])
                }
                Self::Whole(values) => {
                    values.iter().all(|value| value.is_finite() && value.fract() == 0.0)
                        && values.windows(2).all(|pair| pair[0] < pair[1])
                }
                // The place after the last has to be one that a set can name.
                Self::Codes(count) => *count <= CATEGORIES_MAX,
            }
    }

    /// What each is called.
    pub(crate) fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        match self {
            Self::Text(values) => Box::new(values.iter().cloned()),
            Self::Number(values) | Self::Whole(values) => {
                Box::new(values.iter().map(ToString::to_string))
            }
            Self::Codes(count) => Box::new((0..*count).map(|code| code.to_string())),
        }
    }

    /// The place of each value among the categories; NaN where it is missing, and but for
    /// [`Self::Codes`], where it is not among them.
    pub(crate) fn encode(&self, array: &dyn Array) -> Result<Values> {
        let place =
            |found: std::result::Result<usize, usize>| found.map_or(f64::NAN, |place| place as f64);
        match self {
            Self::Text(categories) => {
                let text = arrow::compute::cast(array, &DataType::Utf8)?;
                let find = |value: &str| {
                    place(categories.binary_search_by(|category| category.as_str().cmp(value)))
                };
                Ok(text.as_string::<i32>().iter().map(|v| v.map_or(f64::NAN, find)).collect())
            }
            Self::Number(categories) => {
                let values = columns::values(array)?;
                Ok(values.iter().map(|value| place(find(categories, *value))).collect())
            }
            Self::Whole(categories) => {
                let values = columns::values(array)?;
                Ok(values.iter().map(|value| place(find(categories, value.trunc()))).collect())
            }
            Self::Codes(count) => {
                let values = columns::values(array)?;
                Ok(values.iter().map(|value| code(*value, *count as f64)).collect())
            }
        }
    }
}

/// The place of a number among categories in order.
fn find(categories: &[f64], value: f64) -> std::result::Result<usize, usize> {
    // Adding zero turns a negative zero into a positive one.
    categories.binary_search_by(|category| category.total_cmp(&(value + 0.0)))
}

/// The place of a number among this many codes: as a float, cut to a whole number, as XGBoost does.
fn code(value: f64, count: f64) -> f64 {
    let value = f64::from(value as f32);
    if value.is_nan() {
        value
    } else if (0.0..count).contains(&value) {
        // Adding zero turns a negative zero into a positive one.
        value.trunc() + 0.0
    } else {
        count
    }
}

/// How often each value of a column was seen.
#[derive(Debug)]
pub(crate) enum Counts {
    Text(BTreeMap<String, u64>),
    Number(BTreeMap<u64, u64>),
}

impl Counts {
    /// Nothing was seen yet of a column of this type.
    pub(crate) fn of(data_type: &DataType) -> Self {
        if is_text_type(data_type) {
            Self::Text(BTreeMap::new())
        } else {
            Self::Number(BTreeMap::new())
        }
    }

    /// Counts these values.
    pub(crate) fn add(&mut self, array: &dyn Array) -> Result<()> {
        match self {
            Self::Text(counts) => {
                let text = arrow::compute::cast(array, &DataType::Utf8)?;
                for value in text.as_string::<i32>().iter().flatten() {
                    match counts.get_mut(value) {
                        Some(count) => *count += 1,
                        None => drop(counts.insert(value.to_owned(), 1)),
                    }
                }
            }
            Self::Number(counts) => {
                for value in columns::values(array)?.iter().filter(|value| value.is_finite()) {
                    *counts.entry(sort_key(*value)).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// The most frequent values, at most so many.
    pub(crate) fn most(self, max: usize) -> Categories {
        match self {
            Self::Text(counts) => Categories::Text(most(counts, max)),
            Self::Number(counts) => {
                Categories::Number(most(counts, max).into_iter().map(from_sort_key).collect())
            }
        }
    }
}

/// The keys of the greatest counts, in order.
fn most<K: Ord>(rows: BTreeMap<K, u64>, max: usize) -> Vec<K> {
    let mut counted: Vec<(Reverse<u64>, K)> =
        rows.into_iter().map(|(key, rows)| (Reverse(rows), key)).collect();
    counted.sort_unstable();
    counted.truncate(max);
    let mut keys: Vec<K> = counted.into_iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    keys
}

/// An integer that sorts as the value does; zeros of both signs are one.
pub(crate) const fn sort_key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The value that has this key.
pub(crate) const fn from_sort_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;

    #[test]
    fn rare_and_unknown_values_are_missing() {
        let mut values: Vec<Option<String>> = (0..300)
            .flat_map(|n| vec![Some(format!("c{n:03}")); if n < 46 { 1 } else { 2 }])
            .collect();
        values.push(None);
        let categories = Categories::fit(&StringArray::from(values), CATEGORIES_MAX).unwrap();
        assert_eq!(categories.len(), CATEGORIES_MAX);
        assert!(categories.is_sound(CATEGORIES_MAX));
        let asked = StringArray::from(vec![Some("c046"), Some("c000"), Some("é"), None]);
        let codes = categories.encode(&asked).unwrap();
        assert_eq!(codes[0], 0.0);
        assert!(codes[1..].iter().all(|code| code.is_nan()));
    }

    #[test]
    fn numbers_are_categories_too() {
        let categories =
            Categories::fit(&Float64Array::from(vec![3.0, -0.0, f64::NAN, 0.0, -7.5]), 9).unwrap();
        assert_eq!(categories, Categories::Number(vec![-7.5, 0.0, 3.0]));
        let codes = categories.encode(&Float64Array::from(vec![-0.0, 3.0, 1.0])).unwrap();
        assert_eq!(codes[..2], [1.0, 2.0]);
        assert!(codes[2].is_nan());
    }

    // What LightGBM 4.7 does: `int(value)`, and a negative one is missing.
    #[test]
    fn whole_numbers_are_what_is_before_the_point() {
        let categories = Categories::Whole(vec![0.0, 7.0, 30.0]);
        let asked = [30.0, 30.9, -0.5, 0.999, 7.5, -1.0, 8.0, 1e300, f64::INFINITY, f64::NAN];
        let codes = categories.encode(&Float64Array::from(asked.to_vec())).unwrap();
        assert_eq!(codes[..5], [2.0, 2.0, 0.0, 0.0, 1.0]);
        assert!(codes[5..].iter().all(|code| code.is_nan()), "{codes:?}");
        assert!(categories.is_sound(3) && !Categories::Whole(vec![0.5]).is_sound(3));
    }

    #[test]
    fn a_number_that_is_no_code_is_not_missing() {
        let asked = [3.0, 3.5, 3.999_999_999_9, -0.0, -0.5, 254.0, 1e300, f64::NAN];
        let codes = Categories::Codes(254).encode(&Float64Array::from(asked.to_vec())).unwrap();
        assert_eq!(codes[..7], [3.0, 3.0, 4.0, 0.0, 254.0, 254.0, 254.0]);
        assert!(codes[7].is_nan());
        assert!(Categories::Codes(254).is_sound(1_000) && !Categories::Codes(255).is_sound(1_000));
    }
}
