//! The environment: variables that settings use, and variables that are settings.

use std::collections::BTreeMap;

use icecore_core::{Error, Location, Result};

use super::Config;

/// A text with each `${NAME}` replaced by the variable.
pub(crate) fn expanded(text: &str, environment: &BTreeMap<String, String>) -> Result<String> {
    let mut value = toml::Value::String(text.to_owned());
    expand(&mut value, environment)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// Replaces `${NAME}` by the variable.
pub(super) fn expand(
    value: &mut toml::Value,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    match value {
        toml::Value::Table(table) => {
            table.iter_mut().try_for_each(|(_, value)| expand(value, environment))
        }
        toml::Value::Array(values) => {
            values.iter_mut().try_for_each(|value| expand(value, environment))
        }
        toml::Value::String(text) => {
            if let Some(open) = text.find("${") {
                let Some(close) = text[open..].find('}').map(|close| open + close) else {
                    return Err(Error::invalid("a `${` in the settings is not closed"));
                };
                let name = &text[open + 2..close];
                let replacement = environment.get(name).ok_or_else(|| {
                    Error::invalid(format!("the settings use `${{{name}}}`, which is not set"))
                        .with_help(format!("set the environment variable `{name}`"))
                })?;
                // What was put in is not looked at again, so that a value cannot refer to itself.
                let rest = text[close + 1..].to_owned();
                let mut tail = toml::Value::String(rest);
                expand(&mut tail, environment)?;
                let tail = tail.as_str().unwrap_or_default().to_owned();
                *text = format!("{}{replacement}{tail}", &text[..open]);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Lays `ICECORE_SECTION__KEY` over the file.
pub(super) fn overlay(
    table: &mut toml::Table,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    for (name, value) in environment {
        let Some((section, key)) =
            name.strip_prefix("ICECORE_").and_then(|rest| rest.split_once("__"))
        else {
            continue;
        };
        let (section, mut key) = (section.to_lowercase(), key.to_lowercase());
        let mut value = value.clone();
        if let Some(short) = key.strip_suffix("_file") {
            value = std::fs::read_to_string(&value)
                .map_err(|error| {
                    Error::not_found(format!("cannot read the file that `{name}` names"))
                        .with_source(error)
                })?
                .trim_end()
                .to_owned();
            key = short.to_owned();
        }
        let value = typed(&section, &key, value).map_err(|error| {
            // A variable is a document of one line.
            let file = format!("environment variable {name}");
            Error::in_document(error.message(), Location::of_file(file))
        })?;
        let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Table(section) = entry {
            section.insert(key, value);
        }
    }
    Ok(())
}

/// The value of a variable as its setting takes it. Text is tried first, also where it looks like a
/// number: a password may.
fn typed(section: &str, key: &str, text: String) -> Result<toml::Value, toml::de::Error> {
    let number = text.parse().ok().map(toml::Value::Integer);
    let part = text.parse().ok().map(toml::Value::Float);
    let truth = text.parse().ok().map(toml::Value::Boolean);
    let text = toml::Value::String(text);
    let error = match fits(section, key, &text) {
        Ok(()) => return Ok(text),
        Err(error) => error,
    };
    let others = [number, truth, part].into_iter().flatten();
    others.into_iter().find(|value| fits(section, key, value).is_ok()).ok_or(error)
}

/// Whether a setting takes a value.
fn fits(section: &str, key: &str, value: &toml::Value) -> Result<(), toml::de::Error> {
    let keys = toml::Table::from_iter([(key.to_owned(), value.clone())]);
    let alone = toml::Table::from_iter([(section.to_owned(), toml::Value::Table(keys))]);
    alone.try_into::<Config>().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Config> {
        let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Config::parse("icecore.toml", "", &environment)
    }

    #[test]
    fn a_variable_has_the_type_of_its_setting() {
        assert_eq!(parse("ICECORE_PUSH__ROWS_MAX", "7").unwrap().push.rows_max, 7);
        assert!(!parse("ICECORE_PUSH__MATERIALIZE", "false").unwrap().push.materialize);
        assert_eq!(parse("ICECORE_SERVE__TOKEN", "7").unwrap().serve.token.as_deref(), Some("7"));
        assert_eq!(parse("ICECORE_NOT_A_SETTING", "7").unwrap(), Config::default());
    }

    #[test]
    fn a_mistake_names_its_variable() {
        let error = parse("ICECORE_SERVE__TOKN", "secret").unwrap_err();
        assert_eq!(error.to_string(), "unknown key `tokn`");
        let place = error.location().unwrap().to_string();
        assert_eq!(place, "environment variable ICECORE_SERVE__TOKN");
        assert_eq!(error.help(), Some("did you mean `token`?"));
        let error = parse("ICECORE_ONLIN__URL", "redis://h").unwrap_err();
        assert_eq!(error.help(), Some("did you mean `online`?"));
        let error = parse("ICECORE_ENGINE__THREADS", "many").unwrap_err();
        assert!(error.location().unwrap().to_string().contains("ICECORE_ENGINE__THREADS"));
    }
}
