//! A user's TOML file, read key by key: every mistake is collected with its place, none hides another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use icecore_core::{Error, Finite, Location, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where the parts of definitions stand, by path: `feature_view.0.aggregate.1.column`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    by_path: BTreeMap<String, Location>,
}

impl Places {
    /// The place of a path, or of the nearest part around it that has one.
    pub(crate) fn nearest(&self, path: &str) -> Option<&Location> {
        let mut path = path;
        loop {
            if let Some(location) = self.by_path.get(path) {
                return Some(location);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Adds the place of a path to an error.
    pub(crate) fn locate(&self, path: &str, error: Error) -> Error {
        match self.nearest(path) {
            Some(location) => error.at(location.clone()),
            None => error,
        }
    }
}

/// What reading found besides the values.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Every mistake so far.
    pub(crate) errors: Vec<Error>,
    /// Where everything stands.
    pub(crate) places: Places,
    /// Paths of tables in which something could not be read, so that checks of meaning leave
    /// them alone instead of reporting consequences.
    pub(crate) broken: BTreeSet<String>,
}

/// Fails with [`joined`] errors if there are any.
pub(crate) fn all_or_none(errors: Vec<Error>) -> Result<()> {
    if errors.is_empty() { Ok(()) } else { Err(joined(errors)) }
}

/// The first error with the others beside it.
pub(crate) fn joined(errors: Vec<Error>) -> Error {
    let mut errors = errors.into_iter();
    match errors.next() {
        Some(first) => first.with_related(errors.collect()),
        None => Error::internal("something failed without an error"),
    }
}

/// One file while it is read.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    /// What was found, in this file and the ones before it.
    pub(crate) found: &'a mut Findings,
}

impl<'a> Document<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str, found: &'a mut Findings) -> Self {
        Self { file, text, found }
    }

    /// Reads the whole file; a file that is not TOML gives nothing but errors.
    pub(crate) fn read(&mut self) -> Option<DeTable<'a>> {
        match DeTable::parse(self.text) {
            Ok(table) => Some(table.into_inner()),
            // What follows the first slip of syntax is mostly its echo.
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                self.report(&span, Error::invalid(format!("not valid TOML: {message}")));
                None
            }
        }
    }

    fn location(&self, offset: usize) -> Location {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Location { file: self.file.to_owned(), line: before.matches('\n').count() + 1, column }
    }

    fn mark(&mut self, path: &str, span: &Range<usize>) {
        let location = self.location(span.start);
        self.found.places.by_path.insert(path.to_owned(), location);
    }

    fn report(&mut self, span: &Range<usize>, error: Error) {
        let at = self.location(span.start);
        self.found.errors.push(error.at(at));
    }
}

/// A table of a document, and which of its keys were asked for.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    /// Its path, under which its values have their places.
    pub(crate) path: String,
    /// What it is, for messages.
    what: &'static str,
    span: Range<usize>,
    entries: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// The table around all others.
    pub(crate) fn root(entries: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), what: "the file", span: 0..0, entries, known: Vec::new() }
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&mut self, document: &mut Document<'_>, key: &'static str) -> Option<Found<'t>> {
        self.known.push(key);
        let value = self.entries.get(key)?;
        let path = self.child(key);
        document.mark(&path, &value.span());
        Some(Found { value: value.get_ref(), span: value.span(), path })
    }

    /// Whether the key is there, read or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A value that is text.
    pub(crate) fn text(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<String> {
        self.parsed(document, key, |text| Ok(text.to_owned()))
    }

    /// A value that is text of a form.
    pub(crate) fn parsed<T>(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Option<T> {
        let found = self.value(document, key)?;
        let parsed = found.parse(document, key, &parse);
        self.spoiled(document, parsed)
    }

    /// A list of texts of a form; one bad element spoils the list.
    pub(crate) fn list<T>(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Option<Vec<T>> {
        let found = self.value(document, key)?;
        let DeValue::Array(elements) = found.value else {
            let error = wrong_type(key, "a list", found.value)
                .with_help(format!("write `{key} = [\"…\"]`"));
            document.report(&found.span, error);
            return self.spoiled(document, None);
        };
        let mut values = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}.{index}", found.path);
            document.mark(&path, &element.span());
            let element = Found { value: element.get_ref(), span: element.span(), path };
            values.push(element.parse(document, key, &parse));
        }
        let values = values.into_iter().collect();
        self.spoiled(document, values)
    }

    /// A whole number that is not negative.
    pub(crate) fn whole(&mut self, document: &mut Document<'_>, key: &'static str) -> Option<u32> {
        let found = self.value(document, key)?;
        let number = found.number(document, key, "a whole number", |value| match value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        });
        self.spoiled(document, number)
    }

    /// A number.
    pub(crate) fn number(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Finite> {
        let found = self.value(document, key)?;
        let number = found.number(document, key, "a number", finite);
        self.spoiled(document, number)
    }

    /// A list of numbers; one bad element spoils the list.
    pub(crate) fn numbers(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Vec<Finite>> {
        let found = self.value(document, key)?;
        let DeValue::Array(elements) = found.value else {
            let error = wrong_type(key, "a list", found.value)
                .with_help(format!("write `{key} = [0.5, 0.95]`"));
            document.report(&found.span, error);
            return self.spoiled(document, None);
        };
        let mut numbers = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}.{index}", found.path);
            document.mark(&path, &element.span());
            let element = Found { value: element.get_ref(), span: element.span(), path };
            numbers.push(element.number(document, key, "numbers", finite));
        }
        let numbers = numbers.into_iter().collect();
        self.spoiled(document, numbers)
    }

    /// A table of texts.
    pub(crate) fn text_map(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> BTreeMap<String, String> {
        let Some(found) = self.value(document, key) else { return BTreeMap::new() };
        let DeValue::Table(entries) = found.value else {
            document.report(&found.span, wrong_type(key, "a table", found.value));
            return BTreeMap::new();
        };
        let mut map = BTreeMap::new();
        for (name, value) in entries {
            match value.get_ref() {
                DeValue::String(text) => {
                    map.insert(name.get_ref().to_string(), text.to_string());
                }
                other => document.report(&value.span(), wrong_type(key, "text", other)),
            }
        }
        map
    }

    /// A value that is either text or a table.
    pub(crate) fn text_or_table(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        what: &'static str,
    ) -> Option<TextOrTable<'t>> {
        let found = self.value(document, key)?;
        match found.value {
            DeValue::String(text) => Some(TextOrTable::Text(text.to_string())),
            DeValue::Table(entries) => Some(TextOrTable::Table(Table {
                path: found.path,
                what,
                span: found.span,
                entries,
                known: Vec::new(),
            })),
            other => {
                document.report(&found.span, wrong_type(key, "text or a table", other));
                self.spoiled(document, None)
            }
        }
    }

    /// A list of texts and tables.
    pub(crate) fn texts_or_tables(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        what: &'static str,
    ) -> Option<Vec<TextOrTable<'t>>> {
        let found = self.value(document, key)?;
        let DeValue::Array(elements) = found.value else {
            let error = wrong_type(key, "a list", found.value)
                .with_help(format!("write `{key} = [\"…\"]`"));
            document.report(&found.span, error);
            return self.spoiled(document, None);
        };
        let values = elements.iter().enumerate().map(|(index, element)| {
            let (path, span) = (format!("{}.{index}", found.path), element.span());
            document.mark(&path, &span);
            match element.get_ref() {
                DeValue::String(text) => Some(TextOrTable::Text(text.to_string())),
                DeValue::Table(entries) => {
                    let known = Vec::new();
                    Some(TextOrTable::Table(Table { path, what, span, entries, known }))
                }
                other => {
                    document.report(&span, wrong_type(key, "text or a table", other));
                    None
                }
            }
        });
        let values: Vec<_> = values.collect();
        let values = values.into_iter().collect();
        self.spoiled(document, values)
    }

    /// The tables of `[[key]]`, the first of which has this index in its path.
    pub(crate) fn tables(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        first: usize,
    ) -> Vec<Self> {
        let Some(found) = self.value(document, key) else { return Vec::new() };
        let DeValue::Array(elements) = found.value else {
            let error = wrong_type(key, "a list of tables", found.value)
                .with_help(format!("write `[[{}]]`", header(&found.path)));
            document.report(&found.span, error);
            return self.spoiled(document, None).unwrap_or_default();
        };
        let mut tables = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}.{}", found.path, index + first);
            match element.get_ref() {
                DeValue::Table(entries) => {
                    document.mark(&path, &element.span());
                    let (span, known) = (element.span(), Vec::new());
                    tables.push(Self { path, what: key, span, entries, known });
                }
                other => document.report(&element.span(), wrong_type(key, "a table", other)),
            }
        }
        tables
    }

    /// Reports what a table cannot do without.
    pub(crate) fn missing(&self, document: &mut Document<'_>, key: &str, help: &str) {
        if !self.has(key) {
            let error = Error::invalid(format!("`{}` has no `{key}`", self.what)).with_help(help);
            document.report(&self.span, error);
            document.found.broken.insert(self.path.clone());
        }
    }

    /// Reports a mistake in the value of a key.
    pub(crate) fn reject(&self, document: &mut Document<'_>, key: &str, error: Error) {
        let span = self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        document.report(&span, error);
        document.found.broken.insert(self.path.clone());
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self, document: &mut Document<'_>) {
        for key in self.entries.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let error = Error::invalid(format!("unknown key `{name}` in `{}`", self.what))
                .with_note(format!("keys: {}", self.known.join(", ")))
                .with_candidates(name, self.known.iter().copied());
            document.report(&key.span(), error);
            document.found.broken.insert(self.path.clone());
        }
    }

    fn spoiled<T>(&self, document: &mut Document<'_>, value: Option<T>) -> Option<T> {
        if value.is_none() {
            document.found.broken.insert(self.path.clone());
        }
        value
    }
}

/// A value that is either text or a table.
#[derive(Debug)]
pub(crate) enum TextOrTable<'t> {
    /// Text.
    Text(String),
    /// A table.
    Table(Table<'t>),
}

/// A value with its place.
#[derive(Debug)]
struct Found<'t> {
    value: &'t DeValue<'t>,
    span: Range<usize>,
    path: String,
}

impl Found<'_> {
    fn number<T>(
        &self,
        document: &mut Document<'_>,
        key: &str,
        expected: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        let number = read(self.value);
        if number.is_none() {
            document.report(&self.span, wrong_number(key, expected, self.value));
        }
        number
    }

    fn parse<T>(
        &self,
        document: &mut Document<'_>,
        key: &str,
        parse: &impl Fn(&str) -> Result<T>,
    ) -> Option<T> {
        let DeValue::String(text) = self.value else {
            document.report(&self.span, wrong_type(key, "text", self.value));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                document.report(&self.span, error);
                None
            }
        }
    }
}

/// A float, or an integer as the nearest one.
fn finite(value: &DeValue<'_>) -> Option<Finite> {
    let value = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64
        }
        _ => return None,
    };
    Finite::new(value)
}

fn wrong_type(key: &str, expected: &str, found: &DeValue<'_>) -> Error {
    Error::invalid(format!("`{key}` must be {expected}, not {}", type_name(found)))
}

/// The error for what is no number, or one that cannot be meant.
fn wrong_number(key: &str, expected: &str, found: &DeValue<'_>) -> Error {
    let error = |text: &str| Error::invalid(format!("`{key}` cannot be `{text}`"));
    match found {
        DeValue::Integer(number) => {
            error(number.as_str()).with_help(format!("write a whole number from 0 to {}", u32::MAX))
        }
        DeValue::Float(number) if finite(found).is_none() => {
            error(number.as_str()).with_help("write a number that is finite")
        }
        _ => wrong_type(key, expected, found),
    }
}

const fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A path as it stands in the brackets of a header.
fn header(path: &str) -> String {
    let parts = path.split('.').filter(|part| part.parse::<usize>().is_err());
    parts.collect::<Vec<_>>().join(".")
}
