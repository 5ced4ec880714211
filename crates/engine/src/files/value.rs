//! What a value of a text file can be, and how it is read as what a column holds.

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use chrono::Utc;
use icecore_core::ValueType;
use std::borrow::Cow;
use std::sync::Arc;

/// The zone of every moment in a table.
pub(crate) const UTC: &str = "+00:00";

/// The type of every moment in a table.
pub(crate) fn moment() -> DataType {
    ValueType::Timestamp.arrow()
}

/// A value as the file spells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Text whose type the file does not say: a field of a CSV file.
    Bare(Cow<'a, str>),
    /// Text that the file says is text: a string of a JSON file, or an object or array as JSON.
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    /// How an error report quotes it.
    pub(crate) fn quoted(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Int(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Bare(text) | Self::Text(text) => format!("`{}`", shorten(text, 60)),
        }
    }
}

/// The first characters of a text, on one line.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let mut short: String =
        text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

/// What the values of a column have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// No value was seen.
    #[default]
    Unknown,
    Bool,
    Int,
    Float,
    Date,
    Moment,
    Text,
}

impl Kind {
    /// The narrowest kind that holds the value.
    pub(crate) fn of(cell: &Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Unknown,
            Cell::Bool(_) => Self::Bool,
            Cell::Int(_) => Self::Int,
            Cell::Float(_) => Self::Float,
            Cell::Text(text) => Self::of_time(text).unwrap_or(Self::Text),
            Cell::Bare(text) => Self::of_bare(text.trim_ascii()),
        }
    }

    fn of_bare(text: &str) -> Self {
        let digits = text.strip_prefix('-').unwrap_or(text);
        // `007` is a code, not the number seven.
        let is_code = digits.len() > 1
            && digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_code {
            return Self::Text;
        }
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than an integer has are a code too: a float would change them.
            return if text.parse::<i64>().is_ok() { Self::Int } else { Self::Text };
        }
        if is_float_word(text) || (looks_numeric(text) && Float64Type::parse(text).is_some()) {
            return Self::Float;
        }
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            return Self::Bool;
        }
        Self::of_time(text).unwrap_or(Self::Text)
    }

    fn of_time(text: &str) -> Option<Self> {
        // Dates have a fixed form, which keeps ordinary text away from the slow parser.
        let dashes = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
        if !dashes || !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if text.len() == 10 {
            return parse_date(text).map(|_| Self::Date);
        }
        parse_moment(text).map(|_| Self::Moment)
    }

    /// The narrowest kind that holds the values of both.
    pub(crate) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Unknown, kind) | (kind, Self::Unknown) => kind,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Date, Self::Moment) | (Self::Moment, Self::Date) => Self::Moment,
            _ => Self::Text,
        }
    }

    /// The type of a column of this kind.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Moment => moment(),
        }
    }

    /// The kind that the values of a column of this type are read as, before a cast to the type.
    pub(crate) fn for_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            integer if integer.is_integer() => {
                // Above i64 only the text has all digits.
                if matches!(integer, DataType::UInt64) { Self::Text } else { Self::Int }
            }
            float if float.is_floating() => Self::Float,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) => Self::Moment,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Text,
            _ => return None,
        })
    }

    /// What an error report says was expected.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Unknown | Self::Text => "text",
            Self::Bool => "`true` or `false`",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Date => "a date such as `2026-11-22`",
            Self::Moment => "a time such as `2026-11-22T10:00:00Z`",
        }
    }
}

fn is_float_word(text: &str) -> bool {
    let word = text.strip_prefix('-').unwrap_or(text);
    ["NaN", "nan", "inf", "Infinity"].contains(&word)
}

fn looks_numeric(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
}

fn parse_date(text: &str) -> Option<i32> {
    if text.len() == 10 { Date32Type::parse(text) } else { None }
}

fn parse_moment(text: &str) -> Option<i64> {
    string_to_datetime(&Utc, text).ok().map(|moment| moment.timestamp_micros())
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

fn parse_float(text: &str) -> Option<f64> {
    if is_float_word(text) {
        return text.parse().ok();
    }
    if looks_numeric(text) { Float64Type::parse(text) } else { None }
}

/// A column under construction.
#[derive(Debug)]
pub(crate) enum Column {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    Moment(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Column {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Moment => Self::Moment(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            Kind::Unknown | Kind::Text => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a value; a value of another kind becomes null, and the answer is false.
    #[must_use]
    pub(crate) fn push(&mut self, cell: &Cell<'_>) -> bool {
        let text = match cell {
            Cell::Null => {
                self.push_null();
                return true;
            }
            Cell::Bare(text) | Cell::Text(text) => Some(text.as_ref()),
            Cell::Bool(_) | Cell::Int(_) | Cell::Float(_) => None,
        };
        let stored = match (&mut *self, cell, text) {
            (Self::Text(builder), _, Some(text)) => {
                builder.append_value(text);
                true
            }
            (Self::Text(builder), cell, None) => {
                push_spelled(builder, cell);
                true
            }
            (Self::Bool(builder), Cell::Bool(value), _) => {
                builder.append_value(*value);
                true
            }
            (Self::Int(builder), Cell::Int(value), _) => {
                builder.append_value(*value);
                true
            }
            (Self::Float(builder), Cell::Float(value), _) => {
                builder.append_value(*value);
                true
            }
            (Self::Float(builder), Cell::Int(value), _) => {
                builder.append_value(*value as f64);
                true
            }
            (column, _, Some(text)) => column.push_text(text.trim_ascii()),
            _ => false,
        };
        if !stored {
            self.push_null();
        }
        stored
    }

    fn push_text(&mut self, text: &str) -> bool {
        match self {
            Self::Bool(builder) => parse_bool(text).map(|value| builder.append_value(value)),
            Self::Int(builder) => Int64Type::parse(text).map(|value| builder.append_value(value)),
            Self::Float(builder) => parse_float(text).map(|value| builder.append_value(value)),
            Self::Date(builder) => parse_date(text).map(|value| builder.append_value(value)),
            Self::Moment(builder) => parse_moment(text).map(|value| builder.append_value(value)),
            Self::Text(builder) => Some(text).map(|text| builder.append_value(text)),
        }
        .is_some()
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Moment(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Moment(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

fn push_spelled(builder: &mut StringBuilder, cell: &Cell<'_>) {
    match cell {
        Cell::Bool(value) => builder.append_value(value.to_string()),
        Cell::Int(value) => builder.append_value(value.to_string()),
        Cell::Float(value) => builder.append_value(value.to_string()),
        Cell::Null | Cell::Bare(_) | Cell::Text(_) => builder.append_null(),
    }
}
