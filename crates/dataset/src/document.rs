//! TOML files whose mistakes are named with their place.

use std::path::Path;

use icecore_core::{Error, Location, Result};
use serde::de::DeserializeOwned;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read `{}`", path.display());
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(message),
            _ => Error::unavailable(message),
        };
        kind.with_source(error)
    })
}

/// Parses TOML.
///
/// # Errors
///
/// `InvalidInput` with the file, line and column, and the nearest key where one is unknown.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let at = Location::of_offset(file, text, error.span().map_or(0, |span| span.start));
        explain(error.message()).at(at)
    })
}

/// What serde says, in our words.
fn explain(message: &str) -> Error {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let what = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let named = |error: String, all: &str| {
        Error::invalid(error)
            .with_note(format!("{all}: {}", known.join(", ")))
            .with_candidates(what, known.iter().copied())
    };
    if message.starts_with("unknown field") {
        named(format!("unknown key `{what}`"), "keys")
    } else if message.starts_with("unknown variant") {
        named(format!("unknown value `{what}`"), "values")
    } else if message.starts_with("missing field") {
        Error::invalid(format!("there is no key `{what}`"))
    } else {
        Error::invalid(message.lines().collect::<Vec<_>>().join(", "))
    }
}

/// The place of `needle` in a text, as a quoted value.
pub(crate) fn place_of(file: &str, text: &str, needle: &str) -> Location {
    match text.find(&format!("\"{needle}\"")) {
        Some(offset) => Location::of_offset(file, text, offset),
        None => Location { file: file.to_owned(), line: 0, column: 0 },
    }
}
