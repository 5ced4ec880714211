//! Categories of pandas, whose values the file keeps, and those that are whole numbers.
//!
//! The file lists the values of each column of pandas in their order, but not which columns they
//! are of: features whose categories are numbers of the rows are between them.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::Result;

use super::super::parse::Fields;
use super::super::{corrupt, unsupported};
use crate::categories::Categories;
use crate::tree::CATEGORIES_MAX;

/// The field in which our own export says which features the lists of pandas are of.
pub(in crate::import) const FEATURES_FIELD: &str = "pandas_features";

/// The place of each category among those of its feature, by the number that splits name it by.
pub(super) type Places = BTreeMap<usize, BTreeMap<u32, u8>>;

/// The values that categories have in pandas, by the numbers of features that have some.
pub(super) type Pandas = BTreeMap<usize, Vec<serde_json::Value>>;

/// A feature that may be one of pandas.
struct Candidate {
    feature: usize,
    /// The greatest of the numbers that its categories have in the rows; none if it has one value.
    greatest: Option<i64>,
}

impl Candidate {
    /// Whether these may be its values: categories of pandas are numbered by their place, and one
    /// that is missing everywhere has none.
    fn fits(&self, values: &[serde_json::Value]) -> bool {
        let count = values.len().max(1) as i64;
        self.greatest.is_none_or(|code| code < count)
    }
}

pub(super) fn read(text: &str, fields: &Fields<'_>, features: usize) -> Result<Pandas> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("pandas_categorical:"));
    let lists = line.map(str::trim).filter(|lists| !matches!(*lists, "null" | "[]"));
    let Some(lists) = lists else { return Ok(Pandas::new()) };
    let lists: Vec<Vec<serde_json::Value>> = serde_json::from_str(lists)
        .map_err(|error| corrupt("its categories of pandas cannot be read").with_source(error))?;
    if fields.has(FEATURES_FIELD) {
        let of: Vec<usize> = fields.list(FEATURES_FIELD)?;
        let is_sorted = of.windows(2).all(|pair| pair[0] < pair[1]);
        if of.len() != lists.len() || !is_sorted || of.iter().any(|of| *of >= features) {
            return Err(corrupt("its lists of categories are of features that are not there"));
        }
        return Ok(of.into_iter().zip(lists).collect());
    }
    let candidates = candidates(text, fields, features)?;
    if lists.len() > candidates.len() {
        if lists.iter().all(Vec::is_empty) {
            return Ok(Pandas::new());
        }
        return Err(unsupported("a model of pandas categories that names no features for them")
            .with_help("a feature of one category says nothing: train it without"));
    }
    match matching(&candidates, &lists) {
        Matching::One(of) => Ok(of.into_iter().zip(lists).collect()),
        Matching::None => Err(corrupt("its lists of categories fit no features")),
        Matching::Several => Err(unsupported(&format!(
            "a model in which {} features have categories, of which pandas has those of {}",
            candidates.len(),
            lists.len()
        ))
        .with_note("which is whose is not in the file")
        .with_help("make pandas categories of all of them (`astype(\"category\")`) or of none")),
    }
}

/// The features that may be of pandas: those whose infos are categories, and those of a single
/// value that the parameters name as categorical.
fn candidates(text: &str, fields: &Fields<'_>, features: usize) -> Result<Vec<Candidate>> {
    let infos: Vec<&str> = fields.text("feature_infos")?.split_ascii_whitespace().collect();
    if infos.len() != features {
        return Err(corrupt("it has another number of infos than of features"));
    }
    let named = text.lines().find_map(|line| {
        line.trim().strip_prefix("[categorical_feature:")?.strip_suffix(']').map(str::trim)
    });
    let named: BTreeSet<usize> =
        named.unwrap_or_default().split(',').filter_map(|at| at.trim().parse().ok()).collect();
    let candidate = |(feature, info): (usize, &&str)| match *info {
        info if info.starts_with('[') => None,
        "none" => named.contains(&feature).then_some(Candidate { feature, greatest: None }),
        info => {
            let codes = info.split(':').filter_map(|code| code.parse::<i64>().ok());
            Some(Candidate { feature, greatest: codes.max() })
        }
    };
    Ok(infos.iter().enumerate().filter_map(candidate).collect())
}

/// The ways to give lists to features in their order.
#[derive(Debug, PartialEq)]
enum Matching {
    None,
    /// The feature of each list.
    One(Vec<usize>),
    Several,
}

/// Lists are given as early as they fit, and as late: where both are one, there is no other way.
fn matching(candidates: &[Candidate], lists: &[Vec<serde_json::Value>]) -> Matching {
    let earliest = greedy(candidates.iter(), lists.iter());
    let latest = greedy(candidates.iter().rev(), lists.iter().rev()).map(|mut features| {
        features.reverse();
        features
    });
    match (earliest, latest) {
        (Some(earliest), Some(latest)) if earliest == latest => Matching::One(earliest),
        (Some(_), _) => Matching::Several,
        (None, _) => Matching::None,
    }
}

/// Gives each list to the next feature that it fits.
fn greedy<'a>(
    mut candidates: impl Iterator<Item = &'a Candidate>,
    lists: impl Iterator<Item = &'a Vec<serde_json::Value>>,
) -> Option<Vec<usize>> {
    lists.map(|list| candidates.find(|of| of.fits(list)).map(|of| of.feature)).collect()
}

/// Categories in our order, and the places of the numbers that splits name.
pub(super) fn named(
    codes: BTreeMap<usize, BTreeSet<u32>>,
    pandas: &Pandas,
) -> Result<(Places, BTreeMap<usize, Categories>)> {
    let (mut places, mut categories) = (Places::new(), BTreeMap::new());
    for (feature, codes) in codes {
        let Some(values) = pandas.get(&feature) else {
            let numbers = codes.iter().map(|code| f64::from(*code)).collect();
            places.insert(feature, codes.into_iter().zip(0..).collect());
            categories.insert(feature, Categories::Whole(numbers));
            continue;
        };
        let mut texts: Vec<(String, u32)> = Vec::new();
        let mut numbers: Vec<(f64, u32)> = Vec::new();
        for code in codes {
            match values.get(code as usize) {
                Some(serde_json::Value::String(text)) => texts.push((text.clone(), code)),
                Some(serde_json::Value::Bool(value)) => {
                    numbers.push((f64::from(u8::from(*value)), code));
                }
                Some(serde_json::Value::Number(number)) => {
                    numbers.push((number.as_f64().unwrap_or(0.0), code));
                }
                _ => return Err(corrupt("a category of its splits has no value in pandas")),
            }
        }
        if !texts.is_empty() && !numbers.is_empty() {
            return Err(unsupported("a feature with categories of text and of numbers"));
        }
        texts.sort_unstable();
        numbers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let ours = texts.iter().map(|(_, code)| *code).chain(numbers.iter().map(|(_, code)| *code));
        places.insert(feature, ours.zip(0..).collect());
        let values = if numbers.is_empty() {
            Categories::Text(texts.into_iter().map(|(text, _)| text).collect())
        } else {
            Categories::Number(numbers.into_iter().map(|(number, _)| number).collect())
        };
        categories.insert(feature, values);
    }
    for (feature, values) in pandas {
        // A feature that no split is about is text in the rows nevertheless.
        if let (false, Some(texts)) = (categories.contains_key(feature), texts(values)) {
            categories.insert(*feature, Categories::Text(texts));
        }
    }
    Ok((places, categories))
}

/// Values that all are text, in our order, and no more than a feature may have.
fn texts(values: &[serde_json::Value]) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> =
        values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    let mut texts = texts?;
    texts.sort_unstable();
    texts.dedup();
    texts.truncate(CATEGORIES_MAX);
    Some(texts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All ways, by trying each feature for each list.
    fn ways(candidates: &[Candidate], lists: &[Vec<serde_json::Value>]) -> Vec<Vec<usize>> {
        let Some((list, lists)) = lists.split_first() else { return vec![Vec::new()] };
        let mut all = Vec::new();
        for at in (0..candidates.len()).filter(|at| candidates[*at].fits(list)) {
            for rest in ways(&candidates[at + 1..], lists) {
                all.push([vec![candidates[at].feature], rest].concat());
            }
        }
        all
    }

    proptest! {
        #[test]
        fn lists_are_given_where_there_is_one_way(
            greatest in prop::collection::vec(prop::option::of(-1_i64..5), 0..6),
            lengths in prop::collection::vec(0_usize..6, 0..5),
        ) {
            let candidates: Vec<Candidate> = greatest
                .iter()
                .enumerate()
                .map(|(at, greatest)| Candidate { feature: 10 * at, greatest: *greatest })
                .collect();
            let lists: Vec<Vec<serde_json::Value>> =
                lengths.iter().map(|length| vec!["x".into(); *length]).collect();
            let mut ways = ways(&candidates, &lists);
            let expected = match ways.len() {
                0 => Matching::None,
                1 => Matching::One(ways.remove(0)),
                _ => Matching::Several,
            };
            prop_assert_eq!(matching(&candidates, &lists), expected);
        }
    }
}
