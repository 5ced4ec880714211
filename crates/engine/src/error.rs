//! From DataFusion's errors to ours.

use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use icecore_core::{Error, ErrorKind, Location, Result};

use crate::dialect::alternative;

/// What a location in the text of a query names as its file.
const QUERY: &str = "query";

/// Turns an error of DataFusion into one that says what to do. An error of ours that passed
/// through DataFusion comes back as itself.
pub fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(source) => from_external(source),
        DataFusionError::ArrowError(error, _) => from_arrow(*error),
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let error = from_datafusion(*inner);
            match diagnostic.span {
                Some(span) if error.location().is_none() => error.at(Location {
                    file: QUERY.to_owned(),
                    line: usize::try_from(span.start.line).unwrap_or(0),
                    column: usize::try_from(span.start.column).unwrap_or(0),
                }),
                _ => error,
            }
        }
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(error) => from_datafusion(error),
            Err(shared) => from_shared(&shared),
        },
        DataFusionError::Collection(errors) => {
            let mut errors = errors.into_iter().map(from_datafusion);
            match errors.next() {
                Some(first) => first.with_related(errors.collect()),
                None => Error::internal("a query failed without an error"),
            }
        }
        DataFusionError::SchemaError(error, _) => from_schema(&error),
        DataFusionError::ResourcesExhausted(message) => exhausted(&message),
        DataFusionError::SQL(error, _) => parse_error(&error.to_string()),
        DataFusionError::Plan(message) => plan_error(&message),
        DataFusionError::NotImplemented(message) => {
            Error::unsupported(format!("the query cannot be run: {}", clean(&message)))
        }
        DataFusionError::Execution(message) | DataFusionError::Configuration(message) => {
            Error::invalid(clean(&message))
        }
        DataFusionError::ObjectStore(error) => from_store(*error),
        DataFusionError::ParquetError(error) => {
            Error::corrupt("cannot read a data file").with_source(error)
        }
        DataFusionError::IoError(error) => from_io(error),
        other => Error::internal("the query engine failed").with_source(other),
    }
}

/// Puts an error of ours into a stream of DataFusion's.
pub(crate) fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Lets `?` take DataFusion's results.
pub(crate) trait OrOurs<T> {
    fn or_ours(self) -> Result<T>;
}

impl<T> OrOurs<T> for Result<T, DataFusionError> {
    fn or_ours(self) -> Result<T> {
        self.map_err(from_datafusion)
    }
}

fn from_external(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let source = match source.downcast::<Error>() {
        Ok(ours) => return *ours,
        Err(source) => source,
    };
    let source = match source.downcast::<DataFusionError>() {
        Ok(error) => return from_datafusion(*error),
        Err(source) => source,
    };
    match source.downcast::<ArrowError>() {
        Ok(error) => from_arrow(*error),
        Err(source) => Error::internal("the query engine failed").with_source(source),
    }
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(source) => from_external(source),
        ArrowError::DivideByZero => Error::invalid("division by zero")
            .with_help("write `x / NULLIF(y, 0)` to get null instead"),
        ArrowError::ArithmeticOverflow(message)
        | ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message) => kernel_error(&message),
        ArrowError::ParquetError(message) => {
            Error::corrupt(format!("cannot read a data file: {}", clean(&message)))
        }
        ArrowError::IoError(_, error) => from_io(error),
        error => Error::internal("an arrow kernel failed").with_source(error),
    }
}

/// A value that a kernel cannot compute with.
fn kernel_error(message: &str) -> Error {
    let error = Error::invalid(clean(message));
    let lower = message.to_ascii_lowercase();
    let is_of_nanos = lower.contains("nanosecond") || lower.ends_with("* 1000");
    if is_of_nanos && lower.contains("overflow") {
        return error.with_help(
            "timestamps in nanoseconds begin in 1677 and end in 2262; those in microseconds are \
             `CAST(x AS TIMESTAMP)`, and `to_timestamp_micros(x)` for a text",
        );
    }
    error
}

/// The same error several times over, such as that of a repartition: ours is found and copied.
fn from_shared(shared: &Arc<DataFusionError>) -> Error {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(shared.as_ref());
    while let Some(error) = at {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return copy(ours);
        }
        at = error.source();
    }
    match shared.find_root() {
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::Execution(message) => Error::invalid(clean(message)),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => from_arrow(ArrowError::DivideByZero),
            ArrowError::CastError(message)
            | ArrowError::ParseError(message)
            | ArrowError::ComputeError(message)
            | ArrowError::ArithmeticOverflow(message)
            | ArrowError::InvalidArgumentError(message) => kernel_error(message),
            error => Error::internal(format!("an arrow kernel failed: {error}")),
        },
        DataFusionError::ObjectStore(error) => store_error(error),
        DataFusionError::ParquetError(error) => {
            Error::corrupt(format!("cannot read a data file: {error}"))
        }
        error => Error::internal(format!("the query engine failed: {error}")),
    }
}

fn copy(ours: &Error) -> Error {
    let mut error = Error::new(ours.kind(), ours.to_string());
    if let Some(location) = ours.location() {
        error = error.at(location.clone());
    }
    if let Some(help) = ours.help() {
        error = error.with_help(help);
    }
    if let Some(attempt) = ours.attempt() {
        error = error.with_attempt(attempt);
    }
    ours.notes().iter().fold(error, |error, note| error.with_note(note))
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut names: Vec<&str> = Vec::new();
            for valid in valid_fields {
                if !names.contains(&valid.name()) {
                    names.push(valid.name());
                }
            }
            let error = Error::invalid(format!("there is no column `{}`", field.flat_name()));
            let error = if names.is_empty() {
                error
            } else {
                error.with_note(format!("columns: {}", names.join(", ")))
            };
            if names.iter().any(|name| name.eq_ignore_ascii_case(field.name())) {
                return error.with_help(
                    "names are made lowercase unless they are in double quotes; quote this one",
                );
            }
            error.with_candidates(field.name(), names)
        }
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column `{}` is in more than one table", field.name()))
                .with_help(format!("write the table before it, as in `t.{}`", field.name()))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("two columns of the result are named `{name}`"))
                .with_help("rename one of them with `AS`")
        }
    }
}

/// `sql parser error: Expected: …, found: … at Line: 1, Column: 8`
fn parse_error(message: &str) -> Error {
    let message = message.trim_start_matches("sql parser error: ");
    let (what, location) = match message.rsplit_once(" at Line: ") {
        Some((what, place)) => (what, place.split_once(", Column: ")),
        None => (message, None),
    };
    let error = Error::invalid(format!("the query cannot be parsed: {}", clean(what)));
    match location.map(|(line, column)| (line.trim().parse(), column.trim().parse())) {
        Some((Ok(line), Ok(column))) => error.at(Location { file: QUERY.to_owned(), line, column }),
        _ => error,
    }
}

/// `Invalid function 'x'.\nDid you mean 'y'?`
fn plan_error(message: &str) -> Error {
    let (what, hint) = match message.split_once('\n') {
        Some((what, rest)) => (what, rest.trim()),
        None => (message, ""),
    };
    let error = Error::invalid(clean(what.trim_end_matches('.')));
    let unknown = what.split_once("Invalid function '").and_then(|(_, rest)| rest.split_once('\''));
    if let Some(other) = unknown.and_then(|(name, _)| alternative(name)) {
        return error.with_help(format!("write {other}"));
    }
    match hint.strip_prefix("Did you mean '").and_then(|hint| hint.strip_suffix("'?")) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None if hint.is_empty() => error,
        None => error.with_note(clean(hint)),
    }
}

fn exhausted(message: &str) -> Error {
    let is_disk = message.contains("disk") || message.contains("temp");
    let (what, help) = if is_disk {
        ("the query spilled more than it may", "free space for spilling, or narrow the query")
    } else {
        ("the query needs more memory than it may use", "raise `engine.memory_limit`")
    };
    let first_line = message.lines().next().unwrap_or_default();
    Error::new(ErrorKind::LimitExceeded, what).with_note(clean(first_line)).with_help(help)
}

fn from_store(error: object_store::Error) -> Error {
    store_error(&error).with_source(error)
}

fn store_error(error: &object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { path, .. } => {
            Error::corrupt(format!("data file `{path}` is missing"))
        }
        _ => Error::unavailable("cannot read a data file"),
    }
}

fn from_io(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Error::new(ErrorKind::LimitExceeded, "there is no space left to spill to")
                .with_source(error)
        }
        _ => Error::unavailable("cannot read or write a file").with_source(error),
    }
}

/// One sentence in our manner: no prefix, no capital, no full stop.
fn clean(message: &str) -> String {
    let mut rest = message.trim();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Optimizer rule ",
        "type_coercion\ncaused by\n",
    ] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let rest = rest.trim_end_matches('.');
    let mut chars = rest.chars();
    let (first, second) = (chars.next(), chars.next());
    match (first, second) {
        // `SQL …` keeps its capitals, `Cannot …` loses its one.
        (Some(first), second) if second.is_none_or(|c| !c.is_uppercase()) => {
            let tail = rest.get(first.len_utf8()..).unwrap_or_default();
            format!("{}{tail}", first.to_lowercase())
        }
        _ => rest.to_owned(),
    }
}
