//! From the events of a YAML parser to a value.

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, Location, Result};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The most values that a document may have, with those that its aliases repeat.
const VALUES_MAX: usize = 200_000;
/// How deep values may lie in each other.
const DEPTH_MAX: usize = 64;

/// A list or an object that is not closed yet.
enum Open {
    List(Vec<Value>, usize),
    Object(Map<String, Value>, Option<String>, usize),
}

/// Loads the first document of a text.
///
/// # Errors
///
/// `InvalidInput` with line and column; `LimitExceeded` for aliases that grow without bounds.
pub(super) fn load(file: &str, text: &str) -> Result<Value> {
    let at = |marker: &Marker| Location {
        file: file.to_owned(),
        line: marker.line(),
        column: marker.col() + 1,
    };
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            Error::invalid(format!("this is no YAML: {}", error.info())).at(at(error.marker()))
        })?;
        let is_done = loader.take(event).map_err(|error| error.at(at(&span.start)))?;
        if is_done {
            break;
        }
    }
    Ok(loader.root.unwrap_or(Value::Null))
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Value>,
    root: Option<Value>,
    values: usize,
}

impl Loader {
    /// Takes an event, and says whether the document is done.
    fn take(&mut self, event: Event<'_>) -> Result<bool> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let value = if style == ScalarStyle::Plain && !is_text {
                    plain(&text)
                } else {
                    Value::String(text.into_owned())
                };
                self.add(value, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::List(Vec::new(), anchor))?,
            Event::MappingStart(anchor, _) => self.begin(Open::Object(Map::new(), None, anchor))?,
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, anchor)) => self.add(Value::Array(items), anchor)?,
                Some(Open::Object(mut object, _, anchor)) => {
                    // `<<: *defaults` takes over what is not said.
                    if let Some(Value::Object(defaults)) = object.remove("<<") {
                        for (name, value) in defaults {
                            object.entry(name).or_insert(value);
                        }
                    }
                    self.add(Value::Object(object), anchor)?;
                }
                None => {}
            },
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.count(size(&value))?;
                self.add(value, 0)?;
            }
            Event::DocumentEnd | Event::StreamEnd => return Ok(self.root.is_some()),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
        }
        Ok(false)
    }

    fn begin(&mut self, open: Open) -> Result<()> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "values lie too deep in each other"));
        }
        self.open.push(open);
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<()> {
        self.values += more;
        if self.values > VALUES_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "the document has too many values"));
        }
        Ok(())
    }

    fn add(&mut self, value: Value, anchor: usize) -> Result<()> {
        self.count(1)?;
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Object(object, key, _)) => match key.take() {
                None => match super::scalar(&value) {
                    Some(text) => *key = Some(text),
                    None if value.is_null() => *key = Some(String::new()),
                    None => return Err(Error::invalid("a key is no text")),
                },
                Some(name) => {
                    if object.insert(name.clone(), value).is_some() {
                        return Err(Error::invalid(format!("key `{name}` is there twice")));
                    }
                }
            },
        }
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(object) => 1 + object.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// A value that stands without quotes, in the words of YAML 1.1 that dbt reads.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => return Value::Bool(false),
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if is_number && !text.starts_with('0') || text == "0" || text.starts_with("0.") {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Some(number) = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_values() {
        let text =
            "a: 1\nb: [x, 'y', 2.5, yes, ~]\nc: {d: 2024-01-01, e: \"1\"}\nf: |\n  two\n  lines\n";
        assert_eq!(
            load("x.yml", text).unwrap(),
            json!({
                "a": 1, "b": ["x", "y", 2.5, true, null], "c": {"d": "2024-01-01", "e": "1"},
                "f": "two\nlines\n",
            })
        );
        let text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n";
        assert_eq!(load("x.yml", text).unwrap()["own"], json!({"b": 3, "a": 1}));
    }

    #[test]
    fn mistakes_have_a_place() {
        let error = load("x.yml", "a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert_eq!(error.location().unwrap().file, "x.yml");
        assert!(error.location().unwrap().line >= 2);
        let error = load("x.yml", "a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "key `a` is there twice");
    }

    #[test]
    fn aliases_cannot_grow_without_bounds() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let one = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", [one.as_str(); 10].join(", "));
        }
        assert_eq!(load("x.yml", &text).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
}
