//! Mistakes in documents that users write.

use crate::{Error, Location};

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
