//! Join keys of requests, in the types that views have them in. Nothing is rounded or cut: the row
//! of another entity would answer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use icecore_core::{Error, Result};

use super::json::write_values;

/// So much of a value is quoted.
const QUOTED_MAX: usize = 60;

/// A column of a request in the type of a join key.
pub(super) fn in_type_of(column: &ArrayRef, key: &FieldRef) -> Result<ArrayRef> {
    let (from, to) = (column.data_type(), key.data_type());
    if from == to {
        return Ok(Arc::clone(column));
    }
    let nulls = column.logical_nulls();
    let is_there = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
    let Some(first) = (0..column.len()).find(is_there) else {
        return Ok(new_null_array(to, column.len()));
    };
    let read = match may_be(from, to) {
        true => cast(column, to).ok(),
        false => None,
    };
    let Some(read) = read else { return Err(refused(column, first, key)) };
    let wrong = match column.as_string_opt::<i32>() {
        Some(texts) => (0..column.len())
            .filter(is_there)
            .find(|row| read.is_null(*row) || !is_exact(texts.value(*row), to)),
        None => {
            let back = cast(&read, from)?;
            let differs = |row: &usize| back.slice(*row, 1) != column.slice(*row, 1);
            (0..column.len()).filter(is_there).find(differs)
        }
    };
    match wrong {
        None => Ok(read),
        Some(row) => Err(refused(column, row, key)),
    }
}

/// Whether values of a type can mean those of another: a number that has a fraction is no key, and
/// a number is neither true nor false.
fn may_be(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, _) if from.is_floating() => false,
        (DataType::Boolean, to) => !to.is_numeric(),
        (from, DataType::Boolean) => !from.is_numeric(),
        _ => true,
    }
}

/// Whether a text that could be read as a type says nothing that the type does not hold.
fn is_exact(text: &str, to: &DataType) -> bool {
    match to {
        DataType::Boolean => matches!(text, "true" | "false"),
        DataType::Date32 | DataType::Date64 => text.len() == "2026-11-22".len(),
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => {
            fraction(text) <= digits(*unit)
        }
        decimal if decimal.is_decimal() => {
            let scale = match decimal {
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
                _ => 0,
            };
            let plain = text.strip_prefix('-').unwrap_or(text);
            plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                && fraction(text) <= usize::try_from(scale).unwrap_or(0)
        }
        _ => true,
    }
}

/// How many digits a text has after the point, without zeros at their end.
fn fraction(text: &str) -> usize {
    let after = text.split_once('.').map_or("", |(_, after)| after);
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after.get(..end).unwrap_or_default().trim_end_matches('0').len()
}

const fn digits(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The error for a value: which it is, and what would be one of the key.
fn refused(column: &ArrayRef, row: usize, key: &FieldRef) -> Error {
    let value = write_values(&column.slice(row, 1)).unwrap_or_default().pop().unwrap_or_default();
    let quoted: String = value.to_string().chars().take(QUOTED_MAX).collect();
    let (is, help) = described(key.data_type());
    Error::invalid(format!("row {row}: {quoted} is no value of `{}`, which is {is}", key.name()))
        .with_help(help)
}

/// What values of a type are in a request, and how one is sent.
fn described(data_type: &DataType) -> (String, String) {
    let text = |is: String, example: &str| (is, format!("write it as text, such as \"{example}\""));
    match data_type {
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => {
            let example = match usize::try_from(*scale) {
                Ok(scale) if scale > 0 => format!("12.{:0<scale$}", "5"),
                _ => "12".to_owned(),
            };
            text(format!("a decimal of at most {digits} digits, {scale} after the point"), &example)
        }
        DataType::Date32 | DataType::Date64 => text("a date".to_owned(), "2026-11-22"),
        DataType::Timestamp(unit, _) => text(
            format!("a time with at most {} digits after the second", digits(*unit)),
            "2026-11-22T10:00:00Z",
        ),
        DataType::Boolean => {
            ("true or false".to_owned(), "send `true` or `false`, without quotes".to_owned())
        }
        whole if whole.is_integer() => {
            let is = match whole {
                DataType::Int32 => "a whole number of 32 bits",
                _ => "a whole number",
            };
            (is.to_owned(), "send it without a point, such as 42".to_owned())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            text("a text".to_owned(), "u42")
        }
        other => (format!("of the type {other}"), "send a value of this type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use serde_json::{Value, json};

    use super::super::entity_column;
    use super::*;

    fn read(values: &Value, to: DataType) -> Result<Vec<Value>> {
        let column = entity_column("k", values.as_array().unwrap()).unwrap();
        write_values(&in_type_of(&column, &Arc::new(Field::new("k", to, true)))?)
    }

    #[test]
    fn a_value_that_a_join_key_cannot_have_is_refused_with_its_row() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let cases = [
            (json!(["12.50", "12.555"]), DataType::Decimal128(10, 2), "such as \"12.50\""),
            (json!(["12.50", "1e1"]), DataType::Decimal128(10, 2), "such as \"12.50\""),
            (json!([null, 12.5]), DataType::Decimal128(10, 2), "such as \"12.50\""),
            (json!([null, "2026-01-02T13:00:00"]), DataType::Date32, "2026-11-22"),
            (json!([null, "2026-01-02T03:04:05.1234567Z"]), moment.clone(), "2026-11-22T10"),
            (json!([null, "soon"]), moment, "2026-11-22T10"),
            (json!([null, 5]), DataType::Boolean, "`true` or `false`"),
            (json!(["true", "yes"]), DataType::Boolean, "`true` or `false`"),
            (json!([null, true]), DataType::Int64, "such as 42"),
            (json!([null, 1.0]), DataType::Int64, "such as 42"),
            (json!([1, 3_000_000_000_i64]), DataType::Int32, "such as 42"),
            (json!(["1", "1.7"]), DataType::Int64, "such as 42"),
            (json!([null, 1.5]), DataType::Utf8, "such as \"u42\""),
        ];
        for (values, to, help) in cases {
            let error = read(&values, to).expect_err(&values.to_string());
            let message = error.to_string();
            assert!(message.starts_with("row 1: ") && message.contains("`k`"), "{message}");
            assert!(error.help().unwrap().contains(help), "{:?}", error.help());
        }
    }

    #[test]
    fn values_of_other_spellings_are_the_same_keys() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let cases = [
            (
                json!(["12.5", "-3", null]),
                DataType::Decimal128(10, 2),
                json!(["12.50", "-3.00", null]),
            ),
            (json!(["12.5000"]), DataType::Decimal128(10, 2), json!(["12.50"])),
            (json!([12]), DataType::Decimal128(10, 2), json!(["12.00"])),
            (json!(["2026-01-02"]), DataType::Date32, json!(["2026-01-02"])),
            (json!(["true", null]), DataType::Boolean, json!([true, null])),
            (json!(["42"]), DataType::Int64, json!([42])),
            (json!([42, null]), DataType::Int32, json!([42, null])),
            (json!([42]), DataType::Utf8, json!(["42"])),
            (json!([null, null]), DataType::Int64, json!([null, null])),
        ];
        for (values, to, expected) in cases {
            assert_eq!(Value::Array(read(&values, to).unwrap()), expected);
        }
        let exact = json!(["2026-01-02T03:04:05.123456000Z"]);
        assert_eq!(read(&exact, moment).unwrap().len(), 1);
    }
}
