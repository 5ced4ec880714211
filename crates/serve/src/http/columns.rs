//! Columns by name, as requests send them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::unrepeated::{Unrepeated, sent_twice};

/// Columns in JSON, each of another name: of two that have one name, the last would be taken, and
/// nobody told.
pub(super) type Columns = BTreeMap<String, Vec<Value>>;

/// Reads columns, for `#[serde(deserialize_with = "...")]`.
pub(super) fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<Columns, D::Error> {
    from.deserialize_map(EachOnce)
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values for each column")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Columns, M::Error> {
        let mut columns = Columns::new();
        while let Some(name) = map.next_key::<String>()? {
            match columns.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(map.next_value::<List>()?.0);
                }
                Entry::Occupied(place) => return Err(sent_twice("column", place.key())),
            }
        }
        Ok(columns)
    }
}

/// The values of a column.
struct List(Vec<Value>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<Value>, S::Error> {
        let mut values = Vec::new();
        while let Some(Unrepeated(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_sent_twice_is_refused() {
        let read = |text: &str| each_once(&mut serde_json::Deserializer::from_str(text));
        let columns = read(r#"{"a": [1], "b": [2]}"#).unwrap();
        assert_eq!(columns.keys().collect::<Vec<_>>(), ["a", "b"]);
        let error = read(r#"{"a": [1], "a": [2]}"#).unwrap_err().to_string();
        assert!(error.starts_with("column `a` is sent twice"), "{error}");
        let error = read(r#"{"a": [{"x": 1, "x": 2}]}"#).unwrap_err().to_string();
        assert!(error.starts_with("member `x` is sent twice"), "{error}");
    }
}
