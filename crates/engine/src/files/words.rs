//! What an error report says about types.

use arrow::datatypes::DataType;
use icecore_catalog::ColumnType;

use super::value::Kind;

/// The type as a user of tables names it.
pub(super) fn spelled(data_type: &DataType) -> String {
    // What no table stores has only the name of the library that has it in memory.
    ColumnType::of(data_type).map_or_else(|_| data_type.to_string(), |found| found.to_string())
}

/// What a value of this type looks like.
pub(super) fn expected(data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            format!("a decimal number of at most {precision} digits, {scale} after the point")
        }
        DataType::UInt64 => "a whole number of at least 0".to_owned(),
        DataType::Int64 => Kind::Int.expected().to_owned(),
        integer if integer.is_integer() => format!("a whole number that fits {integer}"),
        DataType::Time32(_) | DataType::Time64(_) => "a time of day such as `10:00:00`".to_owned(),
        DataType::FixedSizeBinary(16) => "32 hexadecimal digits, such as of a UUID".to_owned(),
        DataType::FixedSizeBinary(width) => {
            format!("{} hexadecimal digits", width.saturating_mul(2))
        }
        nested if nested.is_nested() => format!("`{}`, as JSON", spelled(nested)),
        other => Kind::for_type(other)
            .map_or_else(|| format!("`{}`", spelled(other)), |kind| kind.expected().to_owned()),
    }
}
