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
        let offset = error.span().map_or(0, |span| span.start);
        Error::in_document(error.message(), Location::of_offset(file, text, offset))
    })
}

/// The place of `needle` in a text, as a quoted value.
pub(crate) fn place_of(file: &str, text: &str, needle: &str) -> Location {
    match text.find(&format!("\"{needle}\"")) {
        Some(offset) => Location::of_offset(file, text, offset),
        None => Location { file: file.to_owned(), line: 0, column: 0 },
    }
}
