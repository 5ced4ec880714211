//! Delimited text.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use icecore_core::{Error, Location, Result};

use super::assemble::Assembly;
use super::infer::{Guess, Sample};
use super::record::{Broken, Field, Record, Records, cut, place};
use super::reject::{Fault, Faults, Rejects};
use super::source::{LINE_MAX, Source};
use super::value::Cell;
use super::{FileReadOptions, Job, OnError, Take};

/// The delimiters that are looked for, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How much of a file is looked at for its delimiter.
const SNIFF_BYTES: usize = 64 << 10;
/// How many records are looked at for the delimiter.
const SNIFF_RECORDS: usize = 20;
/// How much of a file is sampled for types.
const SAMPLE_BYTES: usize = 8 << 20;

/// Reads a file; false when nobody wants more.
pub(super) fn read(
    path: &Path,
    job: &Job,
    faults: &mut Faults,
    take: &mut Take<'_>,
) -> Result<bool> {
    let mut file = Opened::open(path, &job.options)?;
    job.shape.check_present(path, &file.names)?;
    let mapping: Vec<Option<usize>> =
        file.names.iter().map(|name| job.shape.column(name)).collect();
    let mut assembly = Assembly::new(&job.shape);
    while let Some(mut block) = file.block()? {
        block.mark_invalid(file.source.bytes_mut(), faults);
        // Bytes that are not UTF-8 were replaced, so the whole block is text.
        let text = std::str::from_utf8(block.bytes(&file.source)).unwrap_or_default();
        let mut reading = Reading { text, cut: &block.cut, job, faults };
        let whole = reading.whole(file.names.len());
        let batch = reading.rows(&whole, &mapping, &mut assembly)?;
        faults.check()?;
        file.consume(&block);
        if batch.num_rows() > 0 && !take(batch) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the first rows of a file say about its columns.
pub(super) fn sample(path: &Path, options: &FileReadOptions) -> Result<Vec<Guess>> {
    let mut file = Opened::open(path, options)?;
    // Rows that do not fit are reported when the file is read.
    let mut faults = Faults::new(path, OnError::Skip, Rejects::default());
    let mut samples: Vec<Sample> = file.names.iter().map(|_| Sample::default()).collect();
    let (mut rows, mut bytes) = (0, 0);
    while rows < options.sample_rows && bytes < SAMPLE_BYTES {
        let Some(mut block) = file.block()? else { break };
        block.mark_invalid(file.source.bytes_mut(), &mut faults);
        let text = std::str::from_utf8(block.bytes(&file.source)).unwrap_or_default();
        let whole = block.cut.records.iter().filter(|record| record.fields == file.names.len());
        for record in whole.take(options.sample_rows - rows) {
            rows += 1;
            for (sample, field) in samples.iter_mut().zip(block.cut.of(record)) {
                sample.add(&cell(text, *field, options), record.line);
            }
        }
        bytes += block.cut.consumed;
        file.consume(&block);
    }
    Ok(file.names.into_iter().zip(samples).map(|(name, sample)| sample.guess(name, path)).collect())
}

fn cell<'a>(text: &'a str, field: Field, options: &FileReadOptions) -> Cell<'a> {
    let value = field.text(text);
    if !field.quoted && (value.is_empty() || options.nulls.iter().any(|null| *null == value)) {
        return Cell::Null;
    }
    // Quotes keep text from being nothing, but `"1"` is how many programs write a number.
    if value.is_empty() { Cell::Text(value) } else { Cell::Bare(value) }
}

/// A file whose header was read.
struct Opened {
    source: Source,
    delimiter: u8,
    names: Vec<String>,
    line: usize,
}

impl Opened {
    fn open(path: &Path, options: &FileReadOptions) -> Result<Self> {
        let source = Source::open(path)?;
        let is_tabbed = path.extension().is_some_and(|extension| extension == "tsv");
        let delimiter = options
            .delimiter
            .unwrap_or_else(|| if is_tabbed { b'\t' } else { sniff(source.bytes()) });
        let mut file = Self { source, delimiter, names: Vec::new(), line: 1 };
        let block = file.block()?;
        let first = block.as_ref().and_then(|block| block.cut.records.first().copied());
        let (Some(block), Some(first)) = (block, first) else {
            return Err(Error::invalid(format!("`{}` is empty", path.display()))
                .with_help("a CSV file begins with a line of column names"));
        };
        let location = |line, column| Location { file: path.display().to_string(), line, column };
        if let Some(broken) = first.broken {
            let fault = broken_fault(block.bytes(&file.source), &first, broken);
            let at = location(fault.line, fault.column);
            return Err(Error::invalid(format!("the header's {}", fault.message)).at(at));
        }
        if !options.header {
            file.names = unnamed(first.fields, options.target.as_ref());
            return Ok(file);
        }
        let bytes = block.bytes(&file.source);
        let text = std::str::from_utf8(bytes.get(..first.end).unwrap_or_default());
        let text = text.map_err(|error| {
            let (line, column) = place(bytes, &first, error.valid_up_to());
            Error::invalid("the header is not UTF-8").at(location(line, column))
        })?;
        for (index, field) in block.cut.of(&first).iter().enumerate() {
            let name = field.text(text).trim().to_owned();
            let (line, column) = place(bytes, &first, field.start);
            check_name(&name, index, &file.names).map_err(|e| e.at(location(line, column)))?;
            file.names.push(name);
        }
        let after = bytes.get(first.end..).map_or(0, line_break);
        file.line = place(bytes, &first, first.end).0 + 1;
        file.source.consume(first.end + after);
        Ok(file)
    }

    /// The next whole records; `None` at the end of the file.
    fn block(&mut self) -> Result<Option<Block>> {
        loop {
            let bytes = self.source.bytes();
            let found = cut(bytes, self.delimiter, self.line, self.source.is_ended());
            if !found.records.is_empty() {
                return Ok(Some(Block { cut: found }));
            }
            if self.source.is_ended() {
                return Ok(None);
            }
            // Blank lines alone.
            let consumed = found.consumed;
            self.line = found.next_line;
            self.source.consume(consumed);
            if consumed == 0 && self.source.bytes().len() >= LINE_MAX {
                return self.overlong().map(Some);
            }
            self.source.more()?;
        }
    }

    /// A record of more than 16 MiB: a quote that is never closed, which costs its line, or a line
    /// that is too long, which is an error.
    fn overlong(&self) -> Result<Block> {
        let mut found = cut(self.source.bytes(), self.delimiter, self.line, true);
        let first = found.records.first().copied();
        match first {
            Some(first)
                if matches!(first.broken, Some(Broken::OpenQuote(_)))
                    && first.end < self.source.bytes().len() =>
            {
                let after = self.source.bytes().get(first.end..).map_or(0, line_break);
                found.records.truncate(1);
                found.consumed = first.end + after;
                found.next_line = first.line + 1;
                Ok(Block { cut: found })
            }
            _ => Err(self.source.too_long(self.line)),
        }
    }

    fn consume(&mut self, block: &Block) {
        self.line = block.cut.next_line;
        self.source.consume(block.cut.consumed);
    }
}

/// The length of the end of line that this text begins with.
fn line_break(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

fn unnamed(count: usize, target: Option<&SchemaRef>) -> Vec<String> {
    let fields = target.into_iter().flat_map(|target| target.fields());
    let mut names: Vec<String> = fields.take(count).map(|field| field.name().clone()).collect();
    names.extend((names.len()..count).map(|index| format!("column_{}", index + 1)));
    names
}

fn check_name(name: &str, index: usize, before: &[String]) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("column {} has no name", index + 1))
            .with_help("give every column of the header a name"));
    }
    if let Some(other) = before.iter().position(|other| other == name) {
        return Err(Error::invalid(format!(
            "columns {} and {} are both named `{name}`",
            other + 1,
            index + 1
        ))
        .with_help("rename one of them"));
    }
    Ok(())
}

/// The delimiter under which the first records agree best on how many fields they have.
fn sniff(bytes: &[u8]) -> u8 {
    let head = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    let score = |delimiter: u8| {
        let found = cut(head, delimiter, 1, bytes.len() <= SNIFF_BYTES);
        let records = found.records.get(..SNIFF_RECORDS).unwrap_or(&found.records);
        let fields = records.first().map_or(0, |record| record.fields);
        let agreeing = records.iter().filter(|record| record.fields == fields).count();
        if fields > 1 { (agreeing, fields) } else { (0, 0) }
    };
    let mut best = (b',', score(b','));
    for delimiter in DELIMITERS {
        let found = score(delimiter);
        if found > best.1 {
            best = (delimiter, found);
        }
    }
    best.0
}

/// Whole records of a file.
struct Block {
    cut: Records,
}

impl Block {
    fn bytes<'a>(&self, source: &'a Source) -> &'a [u8] {
        source.bytes().get(..self.cut.consumed).unwrap_or_default()
    }

    /// Reports records that are not UTF-8 and replaces the bytes, so that the rest can be read.
    fn mark_invalid(&mut self, bytes: &mut [u8], faults: &mut Faults) {
        let Some(bytes) = bytes.get_mut(..self.cut.consumed) else { return };
        let mut from = 0;
        let mut invalid = Vec::new();
        while let Err(error) = std::str::from_utf8(bytes.get(from..).unwrap_or_default()) {
            let at = from + error.valid_up_to();
            let index = self.cut.records.partition_point(|record| record.end <= at);
            let record = self.cut.records.get(index).filter(|record| record.start <= at);
            if let Some(record) = record.filter(|_| invalid.last() != Some(&index)) {
                invalid.push(index);
                let (line, column) = place(bytes, record, at);
                let raw = bytes.get(record.start..record.end).unwrap_or_default();
                let raw = String::from_utf8_lossy(raw);
                let message = "the text is not UTF-8".to_owned();
                let help = Some("save the file as UTF-8".to_owned());
                faults.add(Fault { line, column, message, help }, &raw);
            }
            from = at + error.error_len().unwrap_or(bytes.len() - at);
            bytes.get_mut(at..from).unwrap_or_default().fill(b'?');
        }
        for index in invalid.into_iter().rev() {
            self.cut.records.remove(index);
        }
    }
}

fn broken_fault(bytes: &[u8], record: &Record, broken: Broken) -> Fault {
    let (offset, message, help) = match broken {
        Broken::OpenQuote(at) => {
            (at, "quote is never closed", "close it, or write a quote inside quotes as `\"\"`")
        }
        Broken::AfterQuote(at) => {
            (at, "field goes on after its closing quote", "write a quote inside quotes as `\"\"`")
        }
    };
    let (line, column) = place(bytes, record, offset);
    Fault { line, column, message: message.to_owned(), help: Some(help.to_owned()) }
}

/// Turns a block into rows.
struct Reading<'a> {
    text: &'a str,
    cut: &'a Records,
    job: &'a Job,
    faults: &'a mut Faults,
}

impl<'a> Reading<'a> {
    /// The records that have as many fields as the header; the others are reported.
    fn whole(&mut self, fields: usize) -> Vec<&'a Record> {
        let cut = self.cut;
        let (whole, partial): (Vec<&Record>, Vec<&Record>) = cut
            .records
            .iter()
            .partition(|record| record.broken.is_none() && record.fields == fields);
        for record in partial {
            let fault = match record.broken {
                Some(broken) => broken_fault(self.text.as_bytes(), record, broken),
                None => self.miscounted(record, fields),
            };
            self.faults.add(fault, self.raw(record));
        }
        whole
    }

    fn miscounted(&self, record: &Record, expected: usize) -> Fault {
        // The first field too many, or the end of a row with too few.
        let extra = self.cut.of(record).get(expected);
        let offset = extra.map_or(record.end, |field| field.start - usize::from(field.quoted));
        let (line, column) = place(self.text.as_bytes(), record, offset);
        let message = format!("expected {expected} fields, found {}", record.fields);
        let help = extra.map(|_| "put text that holds the delimiter in quotes".to_owned());
        Fault { line, column, message, help }
    }

    fn rows(
        &mut self,
        whole: &[&Record],
        mapping: &[Option<usize>],
        assembly: &mut Assembly,
    ) -> Result<RecordBatch> {
        for (source, column) in mapping.iter().enumerate() {
            let Some(column) = column else { continue };
            for (row, record) in whole.iter().enumerate() {
                if let Some(field) = self.cut.of(record).get(source) {
                    assembly.push(row, *column, &cell(self.text, *field, &self.job.options));
                }
            }
        }
        for column in (0..self.job.shape.kinds.len()).filter(|at| !mapping.contains(&Some(*at))) {
            (0..whole.len()).for_each(|row| assembly.push(row, column, &Cell::Null));
        }
        let (batch, mistakes) = assembly.finish(whole.len())?;
        for mistake in mistakes {
            let Some(record) = whole.get(mistake.row) else { continue };
            let source = mapping.iter().position(|column| *column == Some(mistake.column));
            let field = source.and_then(|source| self.cut.of(record).get(source));
            let offset = field.map_or(record.start, |field| field.start);
            let (line, column) = place(self.text.as_bytes(), record, offset);
            let fault = Fault { line, column, message: mistake.message, help: mistake.help };
            self.faults.add(fault, self.raw(record));
        }
        Ok(batch)
    }

    fn raw(&self, record: &Record) -> &'a str {
        self.text.get(record.start..record.end).unwrap_or_default()
    }
}
