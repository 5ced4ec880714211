//! Documents that users write, and their mistakes.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Location, Result};

/// Parses TOML; the file's name appears in errors.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Engine { threads: u32 }
///
/// let error = icecore_core::parse_toml::<Engine>("engine.toml", "\n threds = 4").unwrap_err();
/// assert_eq!(error.location().map(ToString::to_string), Some("engine.toml:2:2".to_owned()));
/// assert_eq!(error.help(), Some("did you mean `threads`?"));
/// ```
///
/// # Errors
///
/// `InvalidInput` with the file, line and column, and the nearest key where one is unknown.
pub fn parse_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Error::in_document(error.message(), Location::of_offset(file, text, offset))
    })
}

impl Error {
    /// A mistake that serde found in a document, said in our words: an unknown key or value comes
    /// with those that are known and the nearest of them.
    ///
    /// ```
    /// use icecore_core::{Error, Location};
    /// let text = "[engine]\nthreds = 4\n";
    /// let place = Location::of_offset("icecore.toml", text, text.find("threds").unwrap_or(0));
    /// let error = Error::in_document("unknown field `threds`, expected `threads`", place);
    /// assert_eq!(error.to_string(), "unknown key `threds`");
    /// assert_eq!(error.help(), Some("did you mean `threads`?"));
    /// ```
    #[must_use]
    pub fn in_document(message: &str, place: Location) -> Self {
        explain(message).at(place)
    }

    /// Why a document cannot be read: it is not there, or the system does not give it.
    #[must_use]
    pub fn unreadable(path: &Path, error: io::Error) -> Self {
        let message = format!("cannot read `{}`", path.display());
        let of_kind = match error.kind() {
            io::ErrorKind::NotFound => Self::not_found(message),
            // What is no text in UTF-8 stays so, however often it is read.
            io::ErrorKind::InvalidData => {
                return Self::invalid(format!("`{}` is no text in UTF-8", path.display()));
            }
            _ => Self::unavailable(message),
        };
        of_kind.with_source(error)
    }
}

/// What serde says about a document, in our words.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_read() {
        let dir = std::env::temp_dir();
        for (path, kind) in [
            (dir.join("there/is/no/such.toml"), ErrorKind::NotFound),
            // A directory is no text.
            (dir.clone(), ErrorKind::Unavailable),
        ] {
            let error = Error::unreadable(&path, std::fs::read_to_string(&path).unwrap_err());
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_mistake_has_its_place_and_a_whole_file_has_none_inside() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Engine {
            #[expect(dead_code, reason = "what is read is not what is tested")]
            threads: u32,
        }
        for (text, place) in [
            ("\n\n  threads = \"two\"", "engine.toml:3:13"),
            ("threads = ", "engine.toml:1:11"),
            ("threads = 1\nthreds = 2", "engine.toml:2:1"),
        ] {
            let error = parse_toml::<Engine>("engine.toml", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.location().map(ToString::to_string).as_deref(), Some(place));
        }
        assert_eq!(Location::of_file("engine.toml").to_string(), "engine.toml");
    }
}
