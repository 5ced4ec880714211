//! What is logged and has no column of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, StringArray};
use icecore_core::Result;
use serde_json::Value;
use tracing::warn;

use crate::features::write_values;

/// The column of a log that has, as a JSON object, the values that have no column of their own.
pub const OTHERS: &str = "others";
/// Names of their own that clients get columns for, in each log.
const NAMES_MAX: usize = 32;
/// Bytes of such a name.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of an object.
const OBJECT_BYTES_MAX: usize = 64 << 10;

/// What became of values that have no column of their own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Folded {
    /// Those that are in the objects.
    pub kept: usize,
    /// Those that an object has no room for.
    pub left_out: usize,
}

/// Which columns that clients make up are columns of a log: the first ones that come. Whoever sends
/// another name with each request makes no table wider by it.
#[derive(Debug, Default)]
pub(super) struct OwnNames(Mutex<HashMap<String, Names>>);

#[derive(Debug, Default)]
struct Names {
    known: BTreeSet<String>,
    /// Whether somebody was told that there are more.
    is_told: bool,
}

impl OwnNames {
    /// Those of these names that have a column in a log.
    pub(super) fn of<'n>(
        &self,
        log: &str,
        sent: impl Iterator<Item = &'n str>,
    ) -> BTreeSet<&'n str> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = logs.entry(log.to_owned()).or_default();
        sent.filter(|name| names.take(name, log)).collect()
    }
}

impl Names {
    fn take(&mut self, name: &str, log: &str) -> bool {
        if self.known.contains(name) {
            return true;
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name == OTHERS {
            return false;
        }
        if self.known.len() < NAMES_MAX {
            return self.known.insert(name.to_owned());
        }
        if !self.is_told {
            self.is_told = true;
            warn!(log, max = NAMES_MAX, "clients send more columns of their own: see `others`");
        }
        false
    }
}

/// The column `others` of this many rows: what it was, if it was there, and the values of these
/// columns by their names. Nulls are left out, and so are values that an object of 64 KiB has no
/// room for.
///
/// # Errors
///
/// `InvalidInput` for values that have no text.
pub fn fold_others(
    rows: usize,
    before: Option<&ArrayRef>,
    columns: &[(&str, &ArrayRef)],
) -> Result<(ArrayRef, Folded)> {
    // The objects without their braces.
    let mut objects = vec![String::new(); rows];
    let texts = before.and_then(|before| before.as_string_opt::<i32>());
    for (object, text) in objects.iter_mut().zip(texts.into_iter().flatten()) {
        let inner = text.and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
        object.push_str(inner.unwrap_or_default());
    }
    let mut folded = Folded::default();
    for (name, column) in columns {
        let name = Value::from(*name).to_string();
        for (object, value) in objects.iter_mut().zip(write_values(column)?) {
            if value.is_null() {
                continue;
            }
            let value = value.to_string();
            // A comma, a colon and the braces.
            if object.len() + name.len() + value.len() + 4 > OBJECT_BYTES_MAX {
                folded.left_out += 1;
                continue;
            }
            if !object.is_empty() {
                object.push(',');
            }
            for part in [name.as_str(), ":", value.as_str()] {
                object.push_str(part);
            }
            folded.kept += 1;
        }
    }
    let whole = |object: &String| (!object.is_empty()).then(|| format!("{{{object}}}"));
    Ok((Arc::new(objects.iter().map(whole).collect::<StringArray>()), folded))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array};
    use serde_json::json;

    use super::*;

    fn objects(column: &ArrayRef) -> Vec<Option<Value>> {
        let texts = column.as_string::<i32>().iter();
        texts.map(|text| text.map(|text| serde_json::from_str(text).unwrap())).collect()
    }

    #[test]
    fn values_are_found_under_their_names_and_what_was_there_stays() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]));
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(true), None, None]));
        let (first, folded) = fold_others(4, None, &[("a \"}", &numbers), ("b", &flags)]).unwrap();
        assert_eq!(folded, Folded { kept: 3, left_out: 0 });
        let sparse: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None, None, None]));
        let (second, folded) = fold_others(4, Some(&first), &[("c", &sparse)]).unwrap();
        assert_eq!(folded, Folded { kept: 1, left_out: 0 });
        let expected = [
            Some(json!({ "a \"}": 1, "c": 0.5 })),
            Some(json!({ "b": true })),
            Some(json!({ "a \"}": 3 })),
            None,
        ];
        assert_eq!(objects(&second), expected);
    }

    #[test]
    fn an_object_has_a_bound_and_what_does_not_fit_is_counted() {
        let long = "x".repeat(OBJECT_BYTES_MAX / 2);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(long.as_str()), None]));
        let short: ArrayRef = Arc::new(Int64Array::from(vec![7, 7]));
        let columns = [("a", &texts), ("b", &texts), ("c", &short)];
        let (column, folded) = fold_others(2, None, &columns).unwrap();
        assert_eq!(folded, Folded { kept: 3, left_out: 1 });
        assert_eq!(objects(&column), [Some(json!({ "a": long, "c": 7 })), Some(json!({ "c": 7 }))]);
        assert!(column.as_string::<i32>().value(0).len() <= OBJECT_BYTES_MAX);
    }

    #[test]
    fn the_first_names_that_come_have_columns_in_each_log() {
        let own = OwnNames::default();
        let names: Vec<String> = (0..NAMES_MAX + 9).map(|at| format!("n{at:02}")).collect();
        let sent = || names.iter().map(String::as_str);
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(own.of("a", ["", OTHERS, &long].into_iter()).is_empty());
        assert_eq!(own.of("a", sent().skip(9)).len(), NAMES_MAX);
        assert_eq!(own.of("a", sent()).first(), Some(&"n09"));
        assert_eq!(own.of("b", sent()).first(), Some(&"n00"));
    }
}
