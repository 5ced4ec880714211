//! Categories: numbers from zero on, or since version 3.1, values that the file keeps.
//!
//! A file with values has a list of them for each feature, in the order of their numbers, and rows
//! come with values as in the data frame that was learned from. Text is a list of bytes and of
//! where each value ends; whole numbers are a list with their type. A feature that is a number has
//! no value.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::Result;
use serde::Deserialize;

use super::super::{corrupt, unsupported};
use super::RawTree;
use crate::categories::Categories;
use crate::tree::{CATEGORIES_MAX, CategorySet};

/// The greatest whole number up to which doubles are exact.
const WHOLE_MAX: u64 = 1 << 53;

/// The values of categories as they are in the file.
#[derive(Deserialize, Default)]
pub(super) struct Cats {
    #[serde(default)]
    enc: Vec<Encoded>,
}

#[derive(Deserialize)]
struct Encoded {
    /// Where texts begin, and where the last one ends; not there for numbers.
    offsets: Option<Vec<usize>>,
    #[serde(default)]
    values: Vec<serde_json::Number>,
}

/// The features whose categories have values.
pub(super) type Named = BTreeMap<usize, Known>;

/// The values of a feature.
pub(super) struct Known {
    /// In our order.
    values: Categories,
    /// The place that each has in our order, by its number in the file.
    places: Vec<usize>,
}

impl Known {
    fn new<T>(
        values: Vec<T>,
        compare: impl Fn(&T, &T) -> std::cmp::Ordering,
        categories: fn(Vec<T>) -> Categories,
    ) -> Result<Self> {
        let mut sorted: Vec<(usize, T)> = values.into_iter().enumerate().collect();
        sorted.sort_by(|a, b| compare(&a.1, &b.1));
        if sorted.windows(2).any(|pair| compare(&pair[0].1, &pair[1].1).is_eq()) {
            return Err(corrupt("a category is there twice"));
        }
        let mut places = vec![0; sorted.len()];
        for (place, (number, _)) in sorted.iter().enumerate() {
            places[*number] = place;
        }
        let values = categories(sorted.into_iter().map(|(_, value)| value).collect());
        Ok(Self { values, places })
    }

    /// All of its categories but those of these numbers.
    pub(super) fn others_than(&self, numbers: &[i64]) -> Result<CategorySet> {
        let place = |number: &i64| {
            let place = usize::try_from(*number).ok().and_then(|at| self.places.get(at)).copied();
            place.ok_or_else(|| corrupt("a category of its splits has no value"))
        };
        let named = numbers.iter().map(place).collect::<Result<BTreeSet<usize>>>()?;
        if self.places.len() > CATEGORIES_MAX {
            return Err(unsupported("a feature with more than 254 categories"));
        }
        let mut others = CategorySet::default();
        for place in (0..self.places.len()).filter(|place| !named.contains(place)) {
            others.insert(place as u8);
        }
        Ok(others)
    }
}

/// The categories that have values, by feature.
pub(super) fn named(cats: &Cats, features: usize) -> Result<Named> {
    if !cats.enc.is_empty() && cats.enc.len() != features {
        return Err(corrupt("it has categories of another number of features"));
    }
    let mut named = Named::new();
    for (feature, encoded) in cats.enc.iter().enumerate() {
        let known = match &encoded.offsets {
            Some(offsets) => {
                Known::new(texts(offsets, &encoded.values)?, String::cmp, Categories::Text)?
            }
            None => Known::new(numbers(&encoded.values)?, f64::total_cmp, Categories::Number)?,
        };
        if !known.places.is_empty() {
            named.insert(feature, known);
        }
    }
    Ok(named)
}

fn texts(offsets: &[usize], values: &[serde_json::Number]) -> Result<Vec<String>> {
    let damaged = || corrupt("a category in it is no text");
    // Bytes are written as numbers with a sign.
    let byte = |value: &serde_json::Number| {
        let value = value.as_i64()?;
        i8::try_from(value).map(i8::cast_unsigned).or_else(|_| u8::try_from(value)).ok()
    };
    let bytes = values.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or_else(damaged)?;
    if !bytes.is_ascii() {
        // From pandas, XGBoost 3.1 and 3.2 count letters for bytes: the file has other texts.
        return Err(unsupported(
            "categories with letters beyond ASCII, which XGBoost cuts in its file",
        )
        .with_help("rename them before training, or train on their numbers"));
    }
    let text = |pair: &[usize]| {
        let bytes = bytes.get(pair[0]..pair[1])?;
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    };
    let texts = offsets.windows(2).map(text).collect::<Option<Vec<String>>>();
    let ends = offsets.last().copied().unwrap_or(0) == bytes.len();
    texts.filter(|_| ends).ok_or_else(damaged)
}

fn numbers(values: &[serde_json::Number]) -> Result<Vec<f64>> {
    let number = |value: &serde_json::Number| {
        let whole = value.as_i64().filter(|whole| whole.unsigned_abs() <= WHOLE_MAX);
        whole.map(|whole| whole as f64).ok_or_else(|| {
            unsupported("categories that are other than text and whole numbers up to 2^53")
        })
    };
    values.iter().map(number).collect()
}

/// The numbers of categories that are not among these, and the place of what is no category.
pub(super) fn other_numbers(named: &[i64]) -> Result<CategorySet> {
    if named.iter().any(|category| !(0..CATEGORIES_MAX as i64).contains(category)) {
        return Err(unsupported("a category above 253"));
    }
    let mut others = CategorySet::default();
    for category in (0..=CATEGORIES_MAX as i64).filter(|category| !named.contains(category)) {
        others.insert(category as u8);
    }
    Ok(others)
}

/// The categories of features that have some. Where they have no values, these are all numbers that
/// a set of ours can name, because XGBoost sends those of no set to the left and not where missing
/// values go, and any other number as well.
pub(super) fn of_features(
    trees: &[RawTree],
    mut named: Named,
) -> Result<BTreeMap<usize, Categories>> {
    let mut categories = BTreeMap::new();
    let mut ordered = BTreeSet::new();
    for tree in trees {
        for (at, feature) in tree.split_indices.iter().enumerate() {
            if tree.left_children.get(at).is_none_or(|left| *left < 0) {
                continue;
            }
            if tree.split_type.get(at) != Some(&1) {
                ordered.insert(*feature);
            } else if !categories.contains_key(feature) {
                let known = named.remove(feature).map(|known| known.values);
                categories.insert(*feature, known.unwrap_or(Categories::Codes(CATEGORIES_MAX)));
            }
        }
    }
    if categories.keys().chain(named.keys()).any(|feature| ordered.contains(feature)) {
        return Err(corrupt("a feature is both a number and a category"));
    }
    for (feature, known) in named {
        // A feature that no split is about is text in the rows nevertheless.
        if let Categories::Text(mut texts) = known.values {
            texts.truncate(CATEGORIES_MAX);
            categories.insert(feature, Categories::Text(texts));
        }
    }
    Ok(categories)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(enc: &serde_json::Value) -> Result<Named> {
        named(&serde_json::from_value(json!({ "enc": enc })).unwrap(), 1)
    }

    #[test]
    fn texts_and_numbers_have_their_places() {
        // `zz`, nothing, `c` and `b`, as XGBoost 3.2 writes them.
        let texts = json!([{"offsets": [0, 2, 2, 3, 4], "values": [122, 122, 99, 98]}]);
        let texts = &read(&texts).unwrap()[&0];
        assert_eq!(texts.values.names().collect::<Vec<_>>(), ["", "b", "c", "zz"]);
        assert_eq!(texts.places, [3, 0, 2, 1]);
        let numbers = &read(&json!([{"type": 15, "values": [30, -3, 7]}])).unwrap()[&0];
        assert_eq!(numbers.values, Categories::Number(vec![-3.0, 7.0, 30.0]));
        assert_eq!(numbers.places, [2, 0, 1]);
        let others = numbers.others_than(&[0, 2]).unwrap();
        assert_eq!([0, 1, 2].map(|place| others.contains(place)), [true, false, false]);
        assert!(numbers.others_than(&[3]).is_err() && numbers.others_than(&[-1]).is_err());
        assert!(read(&json!([{"offsets": [], "values": []}])).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_of_categories_is_refused() {
        for enc in [
            // `é` and `b` from pandas.
            json!([{"offsets": [0, 1, 2], "values": [-61, -87]}]),
            json!([{"offsets": [0, 9], "values": [97]}]),
            json!([{"offsets": [1, 0], "values": [97]}]),
            json!([{"offsets": [0, 1], "values": [97, 98]}]),
            json!([{"offsets": [0, 1], "values": [1000]}]),
            json!([{"offsets": [0, 1, 2], "values": [97, 97]}]),
            json!([{"type": 7, "values": [0.5]}]),
            json!([{"type": 15, "values": [9_007_199_254_740_993_u64]}]),
            json!([{"type": 15, "values": [3, 3]}]),
            json!([{"type": 15, "values": [3]}, {"type": 15, "values": [3]}]),
        ] {
            assert!(read(&enc).is_err(), "{enc}");
        }
    }
}
