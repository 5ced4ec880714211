//! Columns by name, as requests send them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::Value;

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
        while let Some((name, values)) = map.next_entry::<String, Vec<Value>>()? {
            match columns.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(values);
                }
                Entry::Occupied(place) => {
                    let name = place.key().escape_debug();
                    return Err(M::Error::custom(format!("column `{name}` is sent twice")));
                }
            }
        }
        Ok(columns)
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
    }
}
