//! JSON lines: one object per line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use icecore_core::{Error, Location, Result};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::assemble::Assembly;
use super::infer::{Guess, Sample};
use super::reject::{Fault, Faults, Rejects};
use super::source::{LINE_MAX, Source};
use super::value::Cell;
use super::{FileReadOptions, Job, OnError, Take};

/// How much of a file is sampled for types.
const SAMPLE_BYTES: usize = 8 << 20;

/// Reads a file; false when nobody wants more.
pub(super) fn read(
    path: &Path,
    job: &Job,
    faults: &mut Faults,
    take: &mut Take<'_>,
) -> Result<bool> {
    let mut lines = Lines::open(path)?;
    let mut assembly = Assembly::new(&job.shape);
    while let Some(block) = lines.block()? {
        let mut rows = Rows { job, assembly: &mut assembly, lines: Vec::new() };
        for (line, text) in block {
            match as_text(text, line) {
                Ok(text) => rows.add(text, line, faults),
                Err(fault) => faults.add(fault, &String::from_utf8_lossy(text)),
            }
        }
        let batch = rows.finish(faults)?;
        faults.check()?;
        lines.consume();
        if batch.num_rows() > 0 && !take(batch) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the first lines of a file say about its columns. What is wrong with
/// them is `broken`, where none is an object.
pub(super) fn sample(
    path: &Path,
    options: &FileReadOptions,
    broken: &mut Option<Error>,
) -> Result<Vec<Guess>> {
    let mut lines = Lines::open(path)?;
    let mut samples: Vec<(String, Sample)> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    // Lines that do not fit are found again when the file is read, if it comes to that.
    let mut faults = Faults::new(path, OnError::Fail, Rejects::default());
    let (mut rows, mut bytes) = (0, 0);
    while rows < options.sample_rows && bytes < SAMPLE_BYTES {
        let Some(block) = lines.block()? else { break };
        for (line, text) in block {
            if rows >= options.sample_rows {
                break;
            }
            let parsed = as_text(text, line)
                .and_then(|text| parse(text).map_err(|error| syntax(&error, text, line)));
            let Object(cells) = match parsed {
                Ok(object) => object,
                Err(fault) => {
                    let text = String::from_utf8_lossy(text);
                    check_first(&text, line, rows, path)?;
                    faults.add(fault, &text);
                    continue;
                }
            };
            rows += 1;
            for (name, cell) in cells {
                let index = *by_name.entry(name.into_owned()).or_insert_with_key(|name| {
                    samples.push((name.clone(), Sample::default()));
                    samples.len() - 1
                });
                if let Some((_, sample)) = samples.get_mut(index) {
                    sample.add(&cell, line);
                }
            }
        }
        bytes += lines.consumed;
        lines.consume();
    }
    if rows == 0
        && let Err(error) = faults.check()
    {
        broken.get_or_insert(error);
    }
    Ok(samples.into_iter().map(|(name, sample)| sample.guess(name, path)).collect())
}

/// A file whose first line is no object is most likely one JSON document over many lines.
fn check_first(text: &str, line: usize, rows: usize, path: &Path) -> Result<()> {
    let is_document = text.trim_start().starts_with('[') || text.trim() == "{";
    if rows > 0 || !is_document {
        return Ok(());
    }
    let location = Location { file: path.display().to_string(), line, column: 1 };
    Err(Error::invalid("expected one JSON object per line, found a document over several lines")
        .at(location)
        .with_help("write each object on a line of its own, as `jq -c '.[]'` does"))
}

fn as_text(bytes: &[u8], line: usize) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let column = String::from_utf8_lossy(valid).chars().count() + 1;
        let message = "the text is not UTF-8".to_owned();
        Fault { line, column, message, help: Some("save the file as UTF-8".to_owned()) }
    })
}

/// A line with its number, from one.
type Line<'a> = (usize, &'a [u8]);

/// The lines of a file, in blocks.
struct Lines {
    source: Source,
    line: usize,
    /// What the lines of the last block take of the source.
    consumed: usize,
    next_line: usize,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self { source: Source::open(path)?, line: 1, consumed: 0, next_line: 1 })
    }

    /// The next whole lines that are not blank, with their numbers; `None` at the end of the file.
    fn block(&mut self) -> Result<Option<Vec<Line<'_>>>> {
        loop {
            let bytes = self.source.bytes();
            let last = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            self.consumed = if self.source.is_ended() { bytes.len() } else { last.unwrap_or(0) };
            if self.consumed > 0 {
                break;
            }
            if self.source.is_ended() {
                return Ok(None);
            }
            if bytes.len() >= LINE_MAX {
                return Err(self.source.too_long(self.line));
            }
            self.source.more()?;
        }
        let block = self.source.bytes().get(..self.consumed).unwrap_or_default();
        let mut lines = Vec::new();
        self.next_line = self.line;
        for text in block.split_inclusive(|byte| *byte == b'\n') {
            let trimmed = text.trim_ascii();
            if !trimmed.is_empty() {
                // Only the end is trimmed, so that columns count from the start of the line.
                lines.push((self.next_line, text.trim_ascii_end()));
            }
            self.next_line += 1;
        }
        Ok(Some(lines))
    }

    fn consume(&mut self) {
        self.source.consume(self.consumed);
        self.line = self.next_line;
    }
}

/// Turns lines into rows.
struct Rows<'a, 'b> {
    job: &'a Job,
    assembly: &'a mut Assembly,
    lines: Vec<(usize, &'b str)>,
}

impl<'b> Rows<'_, 'b> {
    fn add(&mut self, text: &'b str, line: usize, faults: &mut Faults) {
        let Object(cells) = match parse(text) {
            Ok(object) => object,
            Err(error) => return faults.add(syntax(&error, text, line), text),
        };
        let row = self.lines.len();
        let mut seen = vec![false; self.job.shape.kinds.len()];
        for (name, cell) in &cells {
            let Some(column) = self.job.shape.column(name) else { continue };
            if let Some(seen) = seen.get_mut(column) {
                *seen = true;
            }
            self.assembly.push(row, column, cell);
        }
        for (column, _) in seen.iter().enumerate().filter(|(_, seen)| !**seen) {
            self.assembly.push(row, column, &Cell::Null);
        }
        self.lines.push((line, text));
    }

    fn finish(self, faults: &mut Faults) -> Result<arrow::array::RecordBatch> {
        let (batch, mistakes) = self.assembly.finish(self.lines.len())?;
        for mistake in mistakes {
            let Some((line, text)) = self.lines.get(mistake.row) else { continue };
            let field = self.job.shape.schema.fields().get(mistake.column);
            let column = field.map_or(0, |field| column_of_key(text, field.name()));
            faults.add(
                Fault { line: *line, column, message: mistake.message, help: mistake.help },
                text,
            );
        }
        Ok(batch)
    }
}

/// The column in characters where a key stands, zero where the row does not have it.
fn column_of_key(text: &str, name: &str) -> usize {
    let key = serde_json::Value::from(name).to_string();
    // A string value may spell the same: a key is followed by a colon.
    let found = text.match_indices(&key).find(|(at, _)| {
        text.get(at + key.len()..).is_some_and(|rest| rest.trim_ascii_start().starts_with(':'))
    });
    found.map_or(0, |(at, _)| text.get(..at).unwrap_or_default().chars().count() + 1)
}

fn syntax(error: &serde_json::Error, text: &str, line: usize) -> Fault {
    let bytes = error.column().saturating_sub(1).min(text.len());
    let column = text.char_indices().take_while(|(at, _)| *at < bytes).count() + 1;
    let message = error.to_string();
    // The position is in the location; serde_json says `line 1` for every line.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    Fault { line, column, message: format!("not a JSON object: {message}"), help: None }
}

fn parse(text: &str) -> Result<Object<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// The members of an object, in order.
struct Object<'a>(Vec<(Cow<'a, str>, Cell<'a>)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut cells: Vec<(Cow<'de, str>, Cell<'de>)> = Vec::new();
        while let Some(Cell::Text(name)) = map.next_key_seed(CellVisitor)? {
            if cells.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom(format_args!("key `{name}` stands twice")));
            }
            let cell = map.next_value_seed(CellVisitor)?;
            cells.push((name, cell));
        }
        Ok(Object(cells))
    }
}

struct CellVisitor;

impl<'de> DeserializeSeed<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell<'de>, E> {
        // Beyond i64 the digits are kept as text: a float would change them.
        Ok(i64::try_from(value)
            .map_or_else(|_| Cell::Text(Cow::Owned(value.to_string())), Cell::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell<'de>, A::Error> {
        let value = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Cell::Text(Cow::Owned(value.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Cell<'de>, A::Error> {
        let value = serde_json::Value::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Cell::Text(Cow::Owned(value.to_string())))
    }
}
