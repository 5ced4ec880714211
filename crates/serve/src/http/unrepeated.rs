//! JSON in which no object names a member twice. Of two, most readers take the last and some the
//! first, and nobody is told: a sender who means one of them must not get the other.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// A value of which every object, however deep, has each member once. Reading it costs what reading
/// a value costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unrepeated(pub(super) Value);

/// An object of which that is true.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UnrepeatedObject(pub(super) Map<String, Value>);

/// The error for a name that comes twice.
pub(super) fn sent_twice<E: Error>(what: &str, name: &str) -> E {
    E::custom(format!("{what} `{}` is sent twice", name.escape_debug()))
}

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue).map(Self)
    }
}

impl<'de> Deserialize<'de> for UnrepeatedObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(AnObject).map(Self)
    }
}

struct AnObject;

impl<'de> Visitor<'de> for AnObject {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Map<String, Value>, M::Error> {
        members(map)
    }
}

fn members<'de, M: MapAccess<'de>>(mut map: M) -> Result<Map<String, Value>, M::Error> {
    let mut members = Map::new();
    while let Some(name) = map.next_key::<String>()? {
        match members.entry(name) {
            Entry::Vacant(place) => {
                place.insert(map.next_value::<Unrepeated>()?.0);
            }
            Entry::Occupied(place) => return Err(sent_twice("member", place.key())),
        }
    }
    Ok(members)
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Value, S::Error> {
        let mut values = Vec::new();
        while let Some(Unrepeated(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Value, M::Error> {
        members(map).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_member_that_is_sent_twice_is_named_wherever_it_is() {
        for text in [
            r#"{"a": 1, "b": 2, "a": 3}"#,
            r#"{"x": [{"y": {"a": null, "a": null}}]}"#,
            r#"[{}, {"a": 1, "\u0061": 1}]"#,
        ] {
            let error = serde_json::from_str::<Unrepeated>(text).unwrap_err().to_string();
            assert!(error.starts_with("member `a` is sent twice"), "{text}: {error}");
        }
        let error = serde_json::from_str::<UnrepeatedObject>(r#"{"a": 1, "a": 1}"#).unwrap_err();
        assert!(error.to_string().starts_with("member `a` is sent twice"), "{error}");
        assert!(serde_json::from_str::<UnrepeatedObject>("[1]").is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn else_a_value_is_what_it_is(value in values()) {
            let text = value.to_string();
            let read: Unrepeated = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.0, serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
