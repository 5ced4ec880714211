//! What is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringArray};
use icecore_core::{Error, Result};
use icecore_features::Definitions;
use serde_json::Value;

/// Features of entities.
#[derive(Debug, Clone)]
pub struct FeatureQuery {
    /// Features as `view:feature`, or `view:*`.
    pub features: Vec<String>,
    /// Whether features are named `view__feature`.
    pub full_feature_names: bool,
    /// The columns of join keys and of what the request brings, all of one length.
    pub entities: BTreeMap<String, ArrayRef>,
}

impl FeatureQuery {
    /// Asks for the features of services, of whole views, and single ones.
    ///
    /// # Errors
    ///
    /// `NotFound` for a name that is none of them.
    pub fn of_names(
        definitions: &Definitions,
        names: &[String],
        entities: BTreeMap<String, ArrayRef>,
    ) -> Result<Self> {
        let mut features = Vec::new();
        for name in names {
            if name.contains(':') {
                features.push(name.clone());
            } else if let Ok(service) = definitions.service(name) {
                features.extend(service.features.iter().cloned());
            } else {
                features.push(format!("{}:*", definitions.view(name)?.name));
            }
        }
        Ok(Self { features, full_feature_names: false, entities })
    }

    /// How many entities are asked for.
    pub(crate) fn rows(&self, rows_max: usize) -> Result<usize> {
        let rows = self.entities.values().next().map_or(0, |column| column.len());
        if let Some((name, column)) = self.entities.iter().find(|(_, column)| column.len() != rows)
        {
            return Err(Error::invalid(format!(
                "`{name}` has {} values, and others have {rows}",
                column.len()
            ))
            .with_help("send one value of every column for each entity"));
        }
        if rows > rows_max {
            return Err(Error::new(
                icecore_core::ErrorKind::LimitExceeded,
                format!("{rows} entities are asked for at once, and {rows_max} may be"),
            ));
        }
        Ok(rows)
    }
}

/// A column from values in JSON: all texts, all numbers or all booleans, with nulls among them.
///
/// # Errors
///
/// `InvalidInput` for values of different kinds, and for lists and objects.
pub(crate) fn entity_column(name: &str, values: &[Value]) -> Result<ArrayRef> {
    let mixed = || {
        Error::invalid(format!("the values of `{name}` are not all of one kind"))
            .with_help("send texts, numbers or booleans, with `null` for what is not known")
    };
    let Some(first) = values.iter().find(|value| !value.is_null()) else {
        return Ok(Arc::new(NullArray::new(values.len())));
    };
    fn each<'v, T>(
        values: &'v [Value],
        read: impl Fn(&'v Value) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        let one = |value: &'v Value| match value.is_null() {
            true => Some(None),
            false => read(value).map(Some),
        };
        values.iter().map(one).collect()
    }
    Ok(match first {
        Value::String(_) => {
            Arc::new(StringArray::from(each(values, Value::as_str).ok_or_else(mixed)?))
        }
        Value::Bool(_) => {
            Arc::new(BooleanArray::from(each(values, Value::as_bool).ok_or_else(mixed)?))
        }
        Value::Number(_) => match each(values, Value::as_i64) {
            Some(numbers) => Arc::new(Int64Array::from(numbers)),
            None => Arc::new(Float64Array::from(each(values, Value::as_f64).ok_or_else(mixed)?)),
        },
        _ => return Err(mixed()),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;

    use super::*;

    // Request-time features are computed from what training reads from files: to the bit.
    #[test]
    fn numbers_of_requests_are_read_to_the_nearest_float() {
        let text = "[1.1219999999999999, 1.122, -0.0, 5e-324, 0.7431684732437134, null]";
        let values: Vec<Value> = serde_json::from_str(text).unwrap();
        let column = entity_column("amount", &values).unwrap();
        let bits: Vec<Option<u64>> = column
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| Some(value?.to_bits()))
            .collect();
        let expected = [1.121_999_999_999_999_9_f64, 1.122, -0.0, 5e-324, 0.743_168_473_243_713_4];
        let expected = expected.map(|value| Some(value.to_bits())).into_iter().chain([None]);
        assert_eq!(bits, expected.collect::<Vec<_>>());
    }
}
