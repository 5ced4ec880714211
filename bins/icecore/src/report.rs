//! Answers and errors, for people and for programs.

use std::fmt::Write;

use arrow::datatypes::{FieldRef, Schema};
use comfy_table::{ContentArrangement, Table, presets};
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

/// What programs are told of the columns of a table.
pub(crate) fn columns(schema: &Schema) -> Vec<Value> {
    let fields = schema.fields().iter();
    let column = |field: &FieldRef| {
        json!({
            "name": field.name(),
            "type": field.data_type().to_string(),
            "nullable": field.is_nullable(),
        })
    };
    fields.map(column).collect()
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
    if let Some(help) = error.help() {
        let _ = write!(text, "\n  = help: {help}");
    }
    for related in error.related() {
        let _ = write!(text, "\n\n{}", error_text(related));
    }
    text
}

/// An error as a document with the same fields.
pub(crate) fn error_json(error: &Error) -> Value {
    json!({
        "code": error.kind().code(),
        "message": error.to_string(),
        "location": error.location().map(ToString::to_string),
        "causes": causes(error),
        "notes": error.notes(),
        "help": error.help(),
        "attempt": error.attempt(),
        "related": error.related().iter().map(error_json).collect::<Vec<_>>(),
    })
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some libraries print their cause in their own message.
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    causes.split_off(1)
}
