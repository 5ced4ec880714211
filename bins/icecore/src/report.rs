//! Answers and errors, for people and for programs.

use std::fmt::Write;

use arrow::datatypes::{Field, FieldRef, Schema};
use comfy_table::{ContentArrangement, Table, presets};
use icecore::catalog::ColumnType;
use icecore_core::{Error, ErrorKind};
use serde_json::{Value, json};

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The one document of `--json`.
    pub(crate) json: Value,
    /// The same for people.
    pub(crate) text: String,
    /// The exit status: an answer may be bad news.
    pub(crate) status: u8,
}

impl Answer {
    /// An answer in both forms.
    pub(crate) fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into(), status: 0 }
    }

    /// The answer with another exit status.
    pub(crate) const fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

/// A table for people, without borders.
pub(crate) fn table<R, C>(header: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
    }
    table.trim_fmt()
}

/// A table for people, or why there is none.
pub(crate) fn table_or<R, C>(header: &[&str], rows: R, empty: &str) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() { empty.to_owned() } else { table(header, rows) }
}

/// A count with its noun: `1 row`, `2 rows`.
pub(crate) fn counted(count: impl TryInto<u64> + std::fmt::Display, noun: &str) -> String {
    let text = format!("{count} {noun}");
    if matches!(count.try_into(), Ok(1)) { text } else { format!("{text}s") }
}

/// What programs are told of the columns of a table.
pub(crate) fn columns(schema: &Schema) -> Vec<Value> {
    let fields = schema.fields().iter();
    let column = |field: &FieldRef| {
        json!({
            "name": field.name(),
            "type": type_name(field),
            "nullable": field.is_nullable(),
        })
    };
    fields.map(column).collect()
}

/// What a column holds, as `icecore table alter` takes it.
pub(crate) fn type_name(field: &Field) -> String {
    // What no table stores has only the name of the library that has it in memory.
    ColumnType::of_field(field)
        .map_or_else(|_| field.data_type().to_string(), |found| found.to_string())
}

/// The columns of a table for people: `amount double optional`.
pub(crate) fn column_lines(schema: &Schema) -> Vec<(&'static str, String)> {
    let line = |field: &FieldRef| {
        let must = if field.is_nullable() { "optional" } else { "required" };
        ("column", format!("{} {} {must}", field.name(), type_name(field)))
    };
    schema.fields().iter().map(line).collect()
}

/// Names with their values, one a line.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in facts {
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// The exit status that tells a program what it can do about an error.
pub(crate) const fn exit_status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Conflict => 3,
        ErrorKind::OutcomeUnknown => 4,
        ErrorKind::DataCorrupt => 5,
        ErrorKind::LimitExceeded => 6,
        ErrorKind::Denied => 7,
        ErrorKind::Unavailable => 8,
        _ => 1,
    }
}

/// An error as rustc would print it.
pub(crate) fn error_text(error: &Error) -> String {
    let mut text = format!("error[{}]: {error}", error.kind().code());
    if let Some(location) = error.location() {
        let _ = write!(text, "\n  --> {location}");
    }
    for cause in causes(error) {
        let _ = write!(text, "\n  = cause: {cause}");
    }
    for note in error.notes() {
        let _ = write!(text, "\n  = note: {note}");
    }
    if let Some(attempt) = error.attempt() {
        let _ = write!(text, "\n  = note: ask what became of it with `icecore attempt {attempt}`");
    }
    if let Some(help) = help(error) {
        let _ = write!(text, "\n  = help: {help}");
    }
    for related in error.related() {
        let _ = write!(text, "\n\n{}", error_text(related));
    }
    text
}

/// What to do about an error: of what does not answer that is the same, whatever it is.
fn help(error: &Error) -> Option<&str> {
    error.help().or_else(|| {
        let is_away = error.kind() == ErrorKind::Unavailable;
        is_away.then_some("check that it can be reached from here, and repeat the command")
    })
}

/// An error as a document with the same fields.
pub(crate) fn error_json(error: &Error) -> Value {
    json!({
        "code": error.kind().code(),
        "message": error.to_string(),
        "location": error.location().map(ToString::to_string),
        "causes": causes(error),
        "notes": error.notes(),
        "help": help(error),
        "attempt": error.attempt(),
        "related": error.related().iter().map(error_json).collect::<Vec<_>>(),
    })
}

/// What led to an error, each cause once and in its own words.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = own_words(&cause.to_string());
        // Some libraries print their cause in their own message.
        if !text.is_empty() && causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    causes.split_off(1)
}

/// A message without the kind that Iceberg's library puts before it, and without the cause that it
/// puts after it: that follows anyway.
fn own_words(message: &str) -> String {
    let words = match message.split_once(" => ") {
        Some((kind, rest)) if kind.chars().all(|c| c.is_ascii_alphanumeric()) => rest,
        _ => message,
    };
    words.split(", source: ").next().unwrap_or(words).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, TimeUnit};

    #[test]
    fn columns_are_of_the_types_that_people_type() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let street = Field::new("street", DataType::Utf8, true);
        let schema = Schema::new(vec![
            Field::new("user_token", DataType::Utf8, false),
            Field::new("at", moment, true),
            Field::new("address", DataType::Struct(vec![street].into()), true),
            Field::new("gone", DataType::Duration(TimeUnit::Second), true),
        ]);
        let lines: Vec<String> = column_lines(&schema).into_iter().map(|(_, line)| line).collect();
        let expected = [
            "user_token string required",
            "at timestamptz optional",
            "address struct<street: string> optional",
        ];
        assert_eq!(lines[..3], expected);
        assert!(lines[3].starts_with("gone Duration"), "{lines:?}");
        for field in &schema.fields()[..3] {
            assert!(ColumnType::parse(&type_name(field)).is_ok(), "{field}");
        }
    }

    #[test]
    fn one_thing_is_one_thing() {
        assert_eq!(
            (counted(1_u64, "row"), counted(2_usize, "part")),
            ("1 row".into(), "2 parts".into())
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = std::io::Error::other("cannot look for `x`");
        let middle =
            Error::unavailable("Unexpected => cannot look for `x`, source: cannot look for `x`")
                .with_source(inner);
        let error = Error::unavailable("cannot read `x`").with_source(middle);
        assert_eq!(causes(&error), ["cannot look for `x`"]);
    }
}
