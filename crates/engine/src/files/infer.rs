//! Which columns the rows of some files have, and of which types.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use icecore_core::{Error, ErrorKind, Location, Result};

use super::fitted::Why;
use super::grown::{Growth, Widened};
use super::value::{Cell, Kind, UTC, moment};
use super::words::{expected, spelled};
use super::{AbsentColumns, ExtraColumns, FileFormat, FileReadOptions, csv, json, parquet};

/// What rows become.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) schema: SchemaRef,
    /// By column: how text is read before it is cast to the column's type.
    pub(crate) kinds: Vec<Kind>,
    /// By column: whether the type was inferred.
    inferred: Vec<bool>,
    by_name: HashMap<String, usize>,
    /// Columns of the files that the target does not have, and paths of such fields.
    pub(crate) unknown: Vec<String>,
    /// Columns of the target that are read as a wider type.
    pub(crate) widened: Vec<Widened>,
    /// What happens to fields that the target does not have.
    pub(crate) extra: ExtraColumns,
    pub(crate) notes: Vec<String>,
}

impl Shape {
    /// One column of a target; `None` for a type that no text is read as.
    pub(crate) fn of_field(field: &FieldRef) -> Option<Self> {
        Some(Self {
            schema: Arc::new(Schema::new(vec![Arc::clone(field)])),
            kinds: vec![Kind::for_type(field.data_type())?],
            inferred: vec![false],
            by_name: HashMap::new(),
            unknown: Vec::new(),
            widened: Vec::new(),
            extra: ExtraColumns::Keep,
            notes: Vec::new(),
        })
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The message for a value that a column cannot hold.
    pub(crate) fn mismatch(&self, column: usize, found: &str) -> String {
        let Some(field) = self.schema.fields().get(column) else { return String::new() };
        if found == "nothing" {
            return self.unfit(column, "", &Why::Absent);
        }
        self.unfit(column, "", &Why::Value(found.to_owned(), field.data_type().clone()))
    }

    /// The message for a value at a place inside of a column.
    pub(crate) fn unfit(&self, column: usize, path: &str, why: &Why) -> String {
        let Some(field) = self.schema.fields().get(column) else { return String::new() };
        let name = field.name();
        match why {
            Why::Absent => format!("column `{name}{path}` must have a value"),
            Why::Value(found, wanted) => {
                format!("column `{name}{path}`: expected {}, found {found}", expected(wanted))
            }
            Why::Types(from, to) => {
                let (from, to) = (spelled(from), spelled(to));
                format!("column `{name}{path}`: `{from}` cannot become `{to}`")
            }
            Why::Finer(found) => {
                format!("column `{name}{path}`: {found} is finer than a microsecond")
            }
            Why::NoField => format!("the table's column `{name}` has no field `{name}{path}`"),
        }
    }

    /// What to do about a value that a column cannot hold.
    pub(crate) fn help(&self, column: usize) -> Option<String> {
        let name = self.schema.fields().get(column)?.name();
        self.inferred.get(column).filter(|inferred| **inferred).map(|_| {
            format!("the type was inferred from the first rows; name the type of `{name}`")
        })
    }

    /// Fails where a column that must have values is in none of these names.
    pub(crate) fn check_present(&self, path: &Path, names: &[String]) -> Result<()> {
        let missing =
            self.schema.fields().iter().find(|field| {
                !field.is_nullable() && !names.iter().any(|name| name == field.name())
            });
        match missing {
            Some(field) => Err(Error::invalid(format!(
                "`{}` has no column `{}`, which must have a value",
                path.display(),
                field.name()
            ))
            .with_note(format!("columns: {}", names.join(", ")))
            .with_candidates(field.name(), names.iter().map(String::as_str))),
            None => Ok(()),
        }
    }
}

/// What a sample of a file says about one of its columns.
#[derive(Debug)]
pub(crate) struct Guess {
    pub(crate) name: String,
    /// Absent where no value was seen.
    pub(crate) data_type: Option<DataType>,
    /// Whether the file says that its bytes are UUIDs.
    pub(crate) is_uuid: bool,
    /// Types that a column of the table has to hold; none where the file has text alone, of which
    /// each value is looked at.
    pub(crate) needed: Vec<DataType>,
    pub(crate) note: Option<String>,
}

/// Collects what values of one column have in common.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    kind: Kind,
    values: usize,
    /// The value that made text of a column of another kind: its line, its text, what was before.
    spoiler: Option<(usize, String, Kind, usize)>,
    /// How many values after the spoiler are of the kind that was before.
    regular: usize,
}

impl Sample {
    pub(crate) fn add(&mut self, cell: &Cell<'_>, line: usize) {
        let kind = Kind::of(cell);
        if kind == Kind::Unknown {
            return;
        }
        self.values += 1;
        let merged = self.kind.merge(kind);
        if merged == Kind::Text && !matches!(self.kind, Kind::Text | Kind::Unknown) {
            self.spoiler = Some((line, cell.quoted(), self.kind, self.values));
        }
        if let Some((_, _, before, _)) = &self.spoiler {
            self.regular += usize::from(before.merge(kind) == *before);
        }
        self.kind = merged;
    }

    pub(crate) fn guess(self, name: String, path: &Path) -> Guess {
        // One odd value among many is a mistake in the file more often than a column of text.
        let note = self.spoiler.and_then(|(line, text, before, at)| {
            let odd = self.values - (at - 1) - self.regular;
            (odd * 20 <= self.values).then(|| {
                let place = Location { file: path.display().to_string(), line, column: 0 };
                format!(
                    "column `{name}` is text because of {text} at {place}; \
                     most of its values are {}",
                    before.expected()
                )
            })
        });
        let data_type = (self.kind != Kind::Unknown).then(|| self.kind.data_type());
        Guess { name, data_type, is_uuid: false, needed: Vec::new(), note }
    }
}

/// The type that a table stores values of this type as.
pub(crate) fn stored_type(data_type: &DataType, keeps_nanoseconds: bool) -> DataType {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Nanosecond, _) if keeps_nanoseconds => {
            DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()))
        }
        DataType::Timestamp(..) => moment(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Dictionary(_, value) => stored_type(value, keeps_nanoseconds),
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

/// The narrowest type that holds values of both.
fn merge(left: &DataType, right: &DataType) -> Option<DataType> {
    let (left_kind, right_kind) = (Kind::for_type(left), Kind::for_type(right));
    match (left, right) {
        (left, right) if left == right => Some(left.clone()),
        (DataType::Float32, DataType::Float64) | (DataType::Float64, DataType::Float32) => {
            Some(DataType::Float64)
        }
        _ => Some(left_kind?.merge(right_kind?).data_type()),
    }
}

/// What a file says about its columns, or what is wrong with all of its lines.
fn guesses(
    path: &Path,
    options: &FileReadOptions,
    broken: &mut Option<Error>,
) -> Result<Vec<Guess>> {
    match options.format_of(path)? {
        FileFormat::Csv => csv::sample(path, options),
        FileFormat::JsonLines if options.absent_columns == AbsentColumns::LeaveOut => {
            let whole = FileReadOptions { sample_rows: usize::MAX, ..options.clone() };
            json::sample(path, &whole, broken)
        }
        FileFormat::JsonLines => json::sample(path, options, broken),
        FileFormat::Parquet => parquet::sample(path, options.keeps_nanoseconds),
    }
}

/// Finds the columns of the files and their types.
pub(crate) fn shape(paths: &[PathBuf], options: &FileReadOptions) -> Result<Shape> {
    let mut found: Vec<Guess> = Vec::new();
    let mut notes = Vec::new();
    let mut present: Option<(&PathBuf, BTreeSet<String>)> = None;
    let is_target =
        |name: &str| options.target.as_ref().is_some_and(|it| it.fields().find(name).is_some());
    let mut broken = None;
    for path in paths {
        let guesses = guesses(path, options, &mut broken)?;
        if let (Some(target), AbsentColumns::LeaveOut) = (&options.target, options.absent_columns) {
            let names = guesses.iter().map(|guess| guess.name.clone());
            let names = names.filter(|name| target.fields().find(name).is_some()).collect();
            match &present {
                Some((first, known)) => check_same(known, (first, path), &names)?,
                None => present = Some((path, names)),
            }
        }
        for guess in guesses {
            match found.iter_mut().find(|known| known.name == guess.name) {
                Some(known) if is_target(&guess.name) => known.needed.extend(guess.needed),
                Some(known) => unite(known, guess, path)?,
                None => found.push(guess),
            }
        }
    }
    let (mut columns, mut growth) = (Columns::default(), Growth::default());
    if let Some(target) = &options.target {
        let is_there =
            |name: &String| present.as_ref().is_none_or(|(_, present)| present.contains(name));
        for field in target.fields().iter().filter(|field| is_there(field.name())) {
            let guess = found.iter().find(|guess| guess.name == *field.name());
            let needed = guess.map_or(&[][..], |guess| &guess.needed).iter();
            let needed = needed.filter(|_| options.extra_columns == ExtraColumns::Keep);
            let grow = |field, needed| growth.grow(&field, needed, guess.map_or("", |it| &it.name));
            columns.add(needed.fold(Arc::clone(field), grow), false)?;
        }
    }
    let Growth { added: mut unknown, widened } = growth;
    for guess in &found {
        if columns.by_name.contains_key(&guess.name) {
            continue;
        }
        if options.target.is_some() {
            unknown.push(guess.name.clone());
            if options.extra_columns == ExtraColumns::Drop {
                continue;
            }
        }
        let declared = declared(&guess.name, options);
        let is_inferred = declared.is_none();
        notes.extend(guess.note.clone().filter(|_| is_inferred));
        let data_type =
            declared.or_else(|| guess.data_type.clone()).unwrap_or_else(|| Kind::Text.data_type());
        let says = (guess.is_uuid && data_type == DataType::FixedSizeBinary(16))
            .then(|| ("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned()));
        let field = Field::new(&guess.name, data_type, true);
        let field = field.with_metadata(says.into_iter().collect());
        columns.add(Arc::new(field), is_inferred)?;
    }
    check_declared(options, &columns, &found)?;
    if columns.fields.is_empty() {
        // What is wrong with the lines says more than that there is nothing else.
        return Err(broken.unwrap_or_else(|| {
            Error::invalid("the files have no columns").with_help("name a file with rows")
        }));
    }
    let Columns { fields, inferred, by_name } = columns;
    // A Parquet file may hold what text cannot; such a column is never pushed to.
    let kinds = fields.iter().map(|field| Kind::for_type(field.data_type()).unwrap_or(Kind::Text));
    let kinds = kinds.collect();
    let (schema, extra) = (Arc::new(Schema::new(fields)), options.extra_columns);
    Ok(Shape { schema, kinds, inferred, by_name, unknown, widened, extra, notes })
}

/// Fails where a file lacks a column of the target that another one has, or the other way around.
fn check_same(
    known: &BTreeSet<String>,
    (first, path): (&Path, &Path),
    names: &BTreeSet<String>,
) -> Result<()> {
    let Some(odd) = known.symmetric_difference(names).next() else { return Ok(()) };
    let (has, lacks) = if known.contains(odd) { (first, path) } else { (path, first) };
    let (has, lacks) = (has.display(), lacks.display());
    Err(Error::invalid(format!("`{has}` has the column `{odd}`, and `{lacks}` does not"))
        .with_help("read the files one by one: what a file lacks stays as it is"))
}

#[derive(Default)]
struct Columns {
    fields: Vec<FieldRef>,
    inferred: Vec<bool>,
    by_name: HashMap<String, usize>,
}

impl Columns {
    fn add(&mut self, field: FieldRef, is_inferred: bool) -> Result<()> {
        if self.by_name.insert(field.name().clone(), self.fields.len()).is_some() {
            return Err(Error::invalid(format!("two columns are named `{}`", field.name())));
        }
        self.fields.push(field);
        self.inferred.push(is_inferred);
        Ok(())
    }
}

fn unite(known: &mut Guess, guess: Guess, path: &Path) -> Result<()> {
    known.note = known.note.take().or(guess.note);
    known.is_uuid &= guess.is_uuid;
    known.data_type = match (known.data_type.take(), guess.data_type) {
        (Some(left), Some(right)) => Some(merge(&left, &right).ok_or_else(|| {
            Error::invalid(format!(
                "column `{}` is {right} in `{}` and {left} in a file before it",
                known.name,
                path.display()
            ))
        })?),
        (left, right) => left.or(right),
    };
    Ok(())
}

fn declared(name: &str, options: &FileReadOptions) -> Option<DataType> {
    if options.timestamp_columns.iter().any(|column| column == name) {
        return Some(moment());
    }
    options.columns.get(name).cloned()
}

/// A type that is declared for a column that is not there is a slip of the pen.
fn check_declared(options: &FileReadOptions, columns: &Columns, found: &[Guess]) -> Result<()> {
    for name in options.columns.keys().chain(&options.timestamp_columns) {
        let is_found = found.iter().any(|guess| guess.name == *name);
        if !is_found && !columns.by_name.contains_key(name) {
            let names: Vec<&str> = found.iter().map(|guess| guess.name.as_str()).collect();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("a type is named for column `{name}`, which no file has"),
            )
            .with_note(format!("columns: {}", names.join(", ")))
            .with_candidates(name, names.iter().copied()));
        }
    }
    Ok(())
}
