//! Cuts delimited text into records and fields, and knows the line of each.

use std::borrow::Cow;

const QUOTE: u8 = b'"';

/// A field of a record: where its text lies in the block, without the quotes around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
    /// Whether quotes inside are doubled.
    escaped: bool,
}

impl Field {
    /// The text of the field.
    pub(crate) fn text<'a>(&self, block: &'a str) -> Cow<'a, str> {
        let text = block.get(self.start..self.end).unwrap_or_default();
        if self.escaped { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
    }
}

/// Why a record cannot be cut into fields. The offsets are bytes of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The quote that opens here is never closed.
    OpenQuote(usize),
    /// There is something between a closing quote and the next delimiter.
    AfterQuote(usize),
}

/// A record: its fields and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) first_field: usize,
    pub(crate) fields: usize,
    pub(crate) start: usize,
    /// The end of the text, before the end of the line.
    pub(crate) end: usize,
    /// The line that it begins on, from one.
    pub(crate) line: usize,
    pub(crate) broken: Option<Broken>,
}

/// The records of a block of text.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) fields: Vec<Field>,
    pub(crate) records: Vec<Record>,
    /// How many bytes of the block the records take; the rest belongs to an unfinished one.
    pub(crate) consumed: usize,
    /// The line that the unfinished record begins on.
    pub(crate) next_line: usize,
}

impl Records {
    /// The fields of a record.
    pub(crate) fn of(&self, record: &Record) -> &[Field] {
        self.fields.get(record.first_field..record.first_field + record.fields).unwrap_or_default()
    }
}

/// Cuts a block into records.
///
/// A quote means something only where a field begins; inside a quoted field two quotes stand for
/// one, and ends of lines are text. Blank lines are skipped. Where `is_last` is false, a record
/// that the block's end cuts off is left for the next block.
pub(crate) fn cut(block: &[u8], delimiter: u8, first_line: usize, is_last: bool) -> Records {
    let mut cutter = Cutter {
        block,
        delimiter,
        is_last,
        out: Records { next_line: first_line, ..Records::default() },
    };
    while cutter.out.consumed < block.len() && cutter.record() {}
    cutter.out
}

struct Cutter<'a> {
    block: &'a [u8],
    delimiter: u8,
    is_last: bool,
    out: Records,
}

/// A broken field: what is wrong, where its quote opens, and how many lines end inside the quotes.
#[derive(Clone, Copy)]
struct Found {
    broken: Broken,
    open: usize,
    line_breaks: usize,
}

/// How a field ends.
enum Stop {
    Delimiter(usize),
    /// The end of the record's text and the start of the next record.
    Line(usize, usize),
    /// The block ends before the field does.
    Cut,
}

impl Cutter<'_> {
    /// Cuts off one record; false where the block ends before it does.
    fn record(&mut self) -> bool {
        let (start, line) = (self.out.consumed, self.out.next_line);
        let first_field = self.out.fields.len();
        let (mut at, mut line_breaks) = (start, 0);
        loop {
            let (field, stop) = match self.block.get(at) {
                Some(&QUOTE) => match self.quoted(at, &mut line_breaks) {
                    Ok(Some(found)) => found,
                    Ok(None) => (self.plain_field(at, at), Stop::Cut),
                    Err(found) => return self.broken(first_field, line + line_breaks, found),
                },
                _ => self.plain(at),
            };
            match stop {
                Stop::Delimiter(next) => {
                    self.out.fields.push(field);
                    at = next;
                }
                Stop::Line(end, next) => {
                    self.out.fields.push(field);
                    self.finish(first_field, start, end, line);
                    self.out.consumed = next;
                    self.out.next_line = line + line_breaks + 1;
                    return true;
                }
                Stop::Cut => {
                    self.out.fields.truncate(first_field);
                    return false;
                }
            }
        }
    }

    fn finish(&mut self, first_field: usize, start: usize, end: usize, line: usize) {
        if start == end {
            self.out.fields.truncate(first_field);
            return;
        }
        let fields = self.out.fields.len() - first_field;
        self.out.records.push(Record { first_field, fields, start, end, line, broken: None });
    }

    /// Takes the line of a broken field as one record and goes on with the next line, so that one
    /// stray quote costs one line and not the rest of the file. False where that line's end is not
    /// in the block.
    fn broken(&mut self, first_field: usize, line: usize, found: Found) -> bool {
        self.out.fields.truncate(first_field);
        let is_break = |byte: &u8| matches!(*byte, b'\n' | b'\r');
        let (field, resume) = match found.broken {
            Broken::OpenQuote(open) => (open, open),
            Broken::AfterQuote(after) => (found.open, after),
        };
        let rest = self.block.get(resume..).unwrap_or_default();
        let end = resume + rest.iter().position(is_break).unwrap_or(rest.len());
        let next = match self.line_end(end) {
            Some(Stop::Line(_, next)) => next,
            _ => return false,
        };
        let before = self.block.get(self.out.consumed..field).unwrap_or_default();
        let start = self.out.consumed + before.iter().rposition(is_break).map_or(0, |at| at + 1);
        let broken = Some(found.broken);
        self.out.records.push(Record { first_field, fields: 0, start, end, line, broken });
        self.out.consumed = next;
        self.out.next_line = line + found.line_breaks + 1;
        true
    }

    fn plain_field(&self, start: usize, end: usize) -> Field {
        Field { start, end, quoted: false, escaped: false }
    }

    fn plain(&self, start: usize) -> (Field, Stop) {
        let rest = self.block.get(start..).unwrap_or_default();
        let is_stop = |byte: &u8| *byte == self.delimiter || matches!(*byte, b'\n' | b'\r');
        let end = start + rest.iter().position(is_stop).unwrap_or(rest.len());
        (self.plain_field(start, end), self.stop(end))
    }

    /// What follows the text of a field, where that can be the end of one.
    fn stop(&self, at: usize) -> Stop {
        match self.block.get(at) {
            Some(byte) if *byte == self.delimiter => Stop::Delimiter(at + 1),
            _ => self.line_end(at).unwrap_or(Stop::Cut),
        }
    }

    /// Whether a line ends at this offset.
    fn line_end(&self, at: usize) -> Option<Stop> {
        match (self.block.get(at), self.block.get(at + 1)) {
            (Some(b'\n'), _) => Some(Stop::Line(at, at + 1)),
            (Some(b'\r'), Some(b'\n')) => Some(Stop::Line(at, at + 2)),
            // Whether a line feed follows is in the next block.
            (Some(b'\r'), None) if !self.is_last => Some(Stop::Cut),
            (Some(b'\r'), _) => Some(Stop::Line(at, at + 1)),
            (None, _) if self.is_last => Some(Stop::Line(at, at)),
            (None, _) => Some(Stop::Cut),
            (Some(_), _) => None,
        }
    }

    /// A field that begins with a quote; `None` where the block ends before it does.
    fn quoted(&self, open: usize, line_breaks: &mut usize) -> Result<Option<(Field, Stop)>, Found> {
        let (mut at, mut escaped, mut breaks) = (open + 1, false, 0);
        loop {
            match (self.block.get(at), self.block.get(at + 1)) {
                (None, _) if self.is_last => {
                    return Err(Found { broken: Broken::OpenQuote(open), open, line_breaks: 0 });
                }
                (None, _) => return Ok(None),
                (Some(&QUOTE), Some(&QUOTE)) => {
                    escaped = true;
                    at += 2;
                }
                (Some(&QUOTE), None) if !self.is_last => return Ok(None),
                (Some(&QUOTE), _) => break,
                (Some(b'\n'), _) => {
                    breaks += 1;
                    at += 1;
                }
                (Some(b'\r'), next) => {
                    breaks += usize::from(next != Some(&b'\n'));
                    at += 1;
                }
                (Some(_), _) => at += 1,
            }
        }
        let after = self.block.get(at + 1);
        let is_end =
            after.is_none_or(|byte| *byte == self.delimiter || matches!(*byte, b'\n' | b'\r'));
        if !is_end {
            return Err(Found { broken: Broken::AfterQuote(at + 1), open, line_breaks: breaks });
        }
        *line_breaks += breaks;
        let field = Field { start: open + 1, end: at, quoted: true, escaped };
        Ok(Some((field, self.stop(at + 1))))
    }
}

/// The line and the column, in characters, of an offset inside a record, both from one.
pub(crate) fn place(block: &[u8], record: &Record, offset: usize) -> (usize, usize) {
    let before = block.get(record.start..offset).unwrap_or_default();
    let mut line = record.line;
    let mut line_start = 0;
    for (at, byte) in before.iter().enumerate() {
        let is_break = *byte == b'\n' || (*byte == b'\r' && before.get(at + 1) != Some(&b'\n'));
        if is_break {
            line += 1;
            line_start = at + 1;
        }
    }
    let text = before.get(line_start..).unwrap_or_default();
    (line, String::from_utf8_lossy(text).chars().count() + 1)
}

#[cfg(test)]
mod tests;
