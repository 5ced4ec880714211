//! Numbers in JSON that come back bit for bit.
//!
//! A parser of JSON may round a number by the last bit; the standard library's, of its own shortest
//! form, does not. So numbers that models compute with are text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number that is not NaN, as text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exact(pub(crate) f64);

impl Eq for Exact {}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:?}", self.0))
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<f64>() {
            Ok(number) if !number.is_nan() => Ok(Self(number)),
            _ => Err(de::Error::custom(format!("`{text}` is no number"))),
        }
    }
}

/// Lists of numbers, as lists of text.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Exact, Serializer};

    pub(crate) fn serialize<S: Serializer>(list: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|number| Exact(*number)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let list = Vec::<Exact>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|number| number.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_number_comes_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let text = serde_json::to_string(&Exact(number)).unwrap();
            let back: Exact = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back.0.to_bits(), bits);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["\"NaN\"", "\"\"", "\"one\"", "1.5"] {
            assert!(serde_json::from_str::<Exact>(text).is_err(), "{text}");
        }
    }
}
