//! What was typed and cannot be understood.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use icecore_core::Error;
use serde_json::json;

/// The exit status of a command line that cannot be understood.
const MISUSED: u8 = 2;

/// Says what cannot be understood, or what was asked: help and versions come this way, too.
pub(crate) fn answer(error: clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        error.exit();
    }
    let error = with_hints(error);
    if wants_json() {
        let _ = writeln!(std::io::stderr(), "{:#}", document(&error));
    } else {
        let _ = error.print();
    }
    ExitCode::from(MISUSED)
}

/// Whether one document is wanted, as far as that can be told.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}

/// The mistake with the hints of whoever read the value: clap takes the message alone.
fn with_hints(mut error: clap::Error) -> clap::Error {
    let hints = hints(&error);
    if !hints.is_empty() {
        let hints = hints.into_iter().map(Into::into).collect();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
    }
    error
}

fn hints(error: &clap::Error) -> Vec<String> {
    let source = std::error::Error::source(error);
    let Some(ours) = source.and_then(|source| source.downcast_ref::<Error>()) else {
        return Vec::new();
    };
    ours.notes().iter().map(String::as_str).chain(ours.help()).map(str::to_owned).collect()
}

/// The mistake as a document with the fields of every other.
fn document(error: &clap::Error) -> serde_json::Value {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
        _ => first.strip_prefix("error: ").unwrap_or(first),
    };
    let part = |start: &str| {
        let line = text.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
        line.map(|line| line.trim().to_owned())
    };
    json!({
        "code": icecore_core::ErrorKind::InvalidInput.code(),
        "message": message,
        "location": null,
        "causes": [],
        "notes": part("Usage:").map(|usage| format!("usage: {usage}")).into_iter().collect::<Vec<_>>(),
        "help": part("tip:"),
        "attempt": null,
        "related": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[&str]) -> clap::Error {
        let error = crate::args::command().try_get_matches_from(line).unwrap_err();
        with_hints(error)
    }

    #[test]
    fn a_value_that_is_none_comes_with_the_hint_of_whoever_read_it() {
        let explain = ["icecore", "features", "explain", "churn", "--entity", "u", "--at", "june"];
        let text = refused(&explain).to_string();
        assert!(text.contains("`june` is not a time"), "{text}");
        assert!(text.contains("write RFC 3339 such as"), "{text}");
        let text = refused(&["icecore", "label", "churn", "--as-of", "2026-07-01 10:00:00"]);
        assert!(text.to_string().contains("write `2026-07-01T10:00:00Z` for UTC"), "{text}");
        let text = refused(&["icecore", "table", "expire", "a.b", "--older-than", "0d"]);
        assert!(text.to_string().contains("an age above zero"), "{text}");
    }

    #[test]
    fn wrong_usage_is_a_document_with_a_code() {
        let found = document(&refused(&["icecore", "tabel", "list"]));
        assert_eq!(found["code"], "IC0400");
        assert_eq!(found["message"], "unrecognized subcommand 'tabel'");
        assert!(found["help"].as_str().unwrap().contains("'table'"), "{found:#}");
        let found = document(&refused(&["icecore", "score", "churn", "--date", "soon"]));
        assert!(found["message"].as_str().unwrap().contains("`soon` is not a date"), "{found:#}");
        assert!(found["help"].as_str().unwrap().contains("2026-11-22"), "{found:#}");
        let found = document(&refused(&["icecore", "table"]));
        assert_eq!(found["message"], "a command is missing");
    }
}
