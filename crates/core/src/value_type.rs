//! Types of values that people declare: join keys and what a request brings.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most digits of a decimal, as Iceberg has it.
const PRECISION_MAX: u8 = 38;

/// The type of a value that a definition declares, by its name in Iceberg's specification.
///
/// ```
/// use icecore_core::ValueType;
/// assert_eq!(ValueType::parse("decimal(12, 2)")?, ValueType::Decimal { precision: 12, scale: 2 });
/// assert_eq!(ValueType::Long.to_string(), "long");
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ValueType {
    /// True or false.
    Boolean,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A floating-point number of 32 bits.
    Float,
    /// A floating-point number of 64 bits.
    Double,
    /// A decimal number.
    Decimal {
        /// How many digits it has in all.
        precision: u8,
        /// How many of them come after the point.
        scale: u8,
    },
    /// Text.
    String,
    /// A day.
    Date,
    /// A moment, in microseconds, UTC.
    Timestamp,
}

impl ValueType {
    /// What can be declared, as users write it.
    pub const NAMES: [&str; 9] = [
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "decimal(P, S)",
        "string",
        "date",
        "timestamp",
    ];

    /// Reads a type's name.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a name that is not among [`NAMES`](Self::NAMES), or a decimal of more
    /// than 38 digits.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name.trim() {
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "string" => Self::String,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            other => return decimal(other),
        })
    }

    /// The type in memory.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            Self::String => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }

    /// Whether every value of `data_type` is a value of this type, too: the same type in any of
    /// its layouts, or a narrower one.
    #[must_use]
    pub fn holds(self, data_type: &DataType) -> bool {
        use DataType as D;
        match (self, data_type) {
            (_, D::Dictionary(_, values)) => self.holds(values),
            (Self::Boolean, D::Boolean)
            | (Self::Int, D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16)
            | (Self::Float, D::Int8 | D::Int16 | D::UInt8 | D::UInt16 | D::Float16 | D::Float32)
            | (Self::String, D::Utf8 | D::LargeUtf8 | D::Utf8View)
            | (Self::Date, D::Date32) => true,
            (Self::Long, other) => {
                *other == D::Int64 || *other == D::UInt32 || Self::Int.holds(other)
            }
            (Self::Double, other) => {
                matches!(other, D::Int32 | D::UInt32 | D::Float64) || Self::Float.holds(other)
            }
            (Self::Timestamp, D::Timestamp(unit, _)) => *unit != TimeUnit::Nanosecond,
            (Self::Decimal { precision, scale }, D::Decimal128(digits, places)) => {
                let whole = |digits: u8, places: i16| i16::from(digits) - places;
                i16::from(scale) >= i16::from(*places)
                    && whole(precision, i16::from(scale)) >= whole(*digits, i16::from(*places))
            }
            _ => false,
        }
    }
}

fn decimal(name: &str) -> Result<ValueType> {
    let unknown = || {
        let error = Error::invalid(format!("there is no type `{name}`"))
            .with_note(format!("types: {}", ValueType::NAMES.join(", ")));
        match elsewhere(name) {
            Some(own) => error.with_help(format!("write `{own}`")),
            None => error.with_candidates(name, ValueType::NAMES),
        }
    };
    let digits = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    let (precision, scale) =
        digits.and_then(|digits| digits.split_once(',')).ok_or_else(unknown)?;
    let number = |text: &str| text.trim().parse::<u8>().map_err(|_| unknown());
    let (precision, scale) = (number(precision)?, number(scale)?);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(Error::invalid(format!("no decimal is `{name}`"))
            .with_help("write `decimal(P, S)` with 1 to 38 digits, S of them after the point"));
    }
    Ok(ValueType::Decimal { precision, scale })
}

/// The type that other systems call so.
fn elsewhere(name: &str) -> Option<ValueType> {
    Some(match name.to_ascii_lowercase().as_str() {
        "bool" => ValueType::Boolean,
        "int32" | "integer" | "smallint" => ValueType::Int,
        "int64" | "bigint" => ValueType::Long,
        "float32" | "real" => ValueType::Float,
        "float64" => ValueType::Double,
        "text" | "varchar" | "utf8" | "str" => ValueType::String,
        "timestamptz" | "datetime" | "unix_timestamp" => ValueType::Timestamp,
        _ => return None,
    })
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Decimal { precision, scale } => {
                return write!(f, "decimal({precision}, {scale})");
            }
        })
    }
}

impl FromStr for ValueType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl TryFrom<String> for ValueType {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(&name)
    }
}

impl From<ValueType> for String {
    fn from(value_type: ValueType) -> Self {
        value_type.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_as_it_is_written() {
        let names = ValueType::NAMES.map(|name| name.replace("(P, S)", "(9, 2)"));
        for name in names {
            assert_eq!(ValueType::parse(&name).unwrap().to_string(), name);
        }
        for wrong in ["int64", "", "decimal", "decimal(0, 0)", "decimal(39, 1)", "decimal(3, 4)"] {
            assert!(ValueType::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ValueType::parse("strng").unwrap_err().help(), Some("did you mean `string`?"));
        assert_eq!(ValueType::parse("BIGINT").unwrap_err().help(), Some("write `long`"));
    }

    #[test]
    fn a_type_holds_itself_and_what_is_narrower() {
        let decimal = ValueType::Decimal { precision: 9, scale: 2 };
        for own in [ValueType::Boolean, ValueType::Int, ValueType::Long, ValueType::String, decimal]
        {
            assert!(own.holds(&own.arrow()));
        }
        assert!(ValueType::Long.holds(&DataType::Int32) && !ValueType::Int.holds(&DataType::Int64));
        assert!(
            ValueType::Long.holds(&DataType::UInt32) && !ValueType::Long.holds(&DataType::UInt64)
        );
        assert!(ValueType::String.holds(&DataType::Utf8View));
        assert!(!ValueType::Double.holds(&DataType::Int64), "2^53 + 1 has no double");
        assert!(decimal.holds(&DataType::Decimal128(8, 1)));
        assert!(
            !decimal.holds(&DataType::Decimal128(9, 1))
                && !decimal.holds(&DataType::Decimal128(9, 3))
        );
    }
}
