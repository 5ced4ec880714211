//! Lists of numbers in text.

use std::collections::HashMap;
use std::str::FromStr;

use icecore_core::Result;

use super::corrupt;

/// Lines of a name, an equals sign and a value.
pub(super) struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    pub(super) fn new(lines: impl Iterator<Item = &'a str>) -> Self {
        Self(lines.filter_map(|line| line.trim_end().split_once('=')).collect())
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str> {
        self.0.get(name).copied().ok_or_else(|| corrupt(&format!("it has no `{name}`")))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn one<T: FromStr>(&self, name: &str) -> Result<T> {
        parse(name, self.text(name)?.trim())
    }

    /// A list of numbers; empty where it is not there.
    pub(super) fn list<T: FromStr>(&self, name: &str) -> Result<Vec<T>> {
        let text = self.0.get(name).copied().unwrap_or_default();
        text.split_ascii_whitespace().map(|item| parse(name, item)).collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| corrupt(&format!("`{text}` in its `{name}` is no such number")))
}
