//! Values of a file as values of a column: fields are found by their names, what the file lacks is
//! null, and a value that would not stay what it is does not fit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, ListArray, MapArray, StringArray,
    StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_core::Result;

use super::kept::{changed_rows, is_in_nanoseconds};
use super::value::shorten;

/// A value that a column cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) row: usize,
    /// Its place inside of the column, such as `.city` or `.element`; empty for the column itself.
    pub(super) path: String,
    pub(super) why: Why,
}

/// Why a value does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// What was found cannot be a value of this type.
    Value(String, DataType),
    /// What was found has digits that the type, which is of microseconds, has not.
    Finer(String),
    /// There is nothing where there must be a value.
    Absent,
    /// No value of the one type becomes one of the other.
    Types(DataType, DataType),
    /// The column has no field for it.
    NoField,
}

impl Unfit {
    fn new(row: usize, why: Why) -> Self {
        Self { row, path: String::new(), why }
    }
}

/// The values as the type has them, null where they do not fit, and those that do not.
pub(super) fn fitted(sent: &ArrayRef, target: &DataType) -> Result<(ArrayRef, Vec<Unfit>)> {
    if sent.data_type() == target {
        return Ok((Arc::clone(sent), Vec::new()));
    }
    if !target.is_nested() {
        let sent = unpacked(sent)?;
        return leaf(&sent, target);
    }
    let unfit = unfit_inside(sent, target)?;
    if unfit.is_empty() {
        return Ok((built(sent, target)?, unfit));
    }
    let mut kept: Vec<Option<u32>> = (0..).map(Some).take(sent.len()).collect();
    for Unfit { row, .. } in &unfit {
        if let Some(kept) = kept.get_mut(*row) {
            *kept = None;
        }
    }
    // A row without its values can be built, whatever must have a value inside of it.
    let kept = take(sent.as_ref(), &UInt32Array::from(kept), None)?;
    Ok((built(&kept, target)?, unfit))
}

/// Values that are not kept beside a list of them.
fn unpacked(sent: &ArrayRef) -> Result<ArrayRef> {
    match sent.data_type() {
        DataType::Dictionary(_, value) => Ok(cast(sent, value)?),
        _ => Ok(Arc::clone(sent)),
    }
}

fn leaf(sent: &ArrayRef, target: &DataType) -> Result<(ArrayRef, Vec<Unfit>)> {
    if sent.data_type() == target {
        return Ok((Arc::clone(sent), Vec::new()));
    }
    let nothing = || new_null_array(target, sent.len());
    if sent.logical_null_count() == sent.len() {
        // A column that the file lacks may be of a type that text cannot become.
        return Ok((nothing(), Vec::new()));
    }
    // A list has a text too, which is not what a column of text is for.
    let cast = if sent.data_type().is_nested() { None } else { as_type(sent, target)? };
    let Some(cast) = cast else {
        return Ok((nothing(), of_other_type(sent, target)));
    };
    let changed = changed_rows(sent, &cast)?;
    if changed.is_empty() {
        return Ok((cast, Vec::new()));
    }
    let format = FormatOptions::default();
    let shown = ArrayFormatter::try_new(sent.as_ref(), &format)?;
    let why = |row| {
        let found = format!("`{}`", shorten(&shown.value(row).to_string(), 60));
        let is_finer = is_in_nanoseconds(sent.data_type())
            && cast.is_valid(row)
            && *target != DataType::Date32;
        let why = if is_finer { Why::Finer(found) } else { Why::Value(found, target.clone()) };
        Unfit::new(row, why)
    };
    let unfit = changed.into_iter().map(why).collect();
    Ok((cast, unfit))
}

fn of_other_type(sent: &ArrayRef, target: &DataType) -> Vec<Unfit> {
    let types = || Why::Types(sent.data_type().clone(), target.clone());
    let rows = (0..sent.len()).filter(|row| sent.is_valid(*row));
    rows.map(|row| Unfit::new(row, types())).collect()
}

/// The values as another type, null where they have none there; `None` where no value has one.
fn as_type(sent: &ArrayRef, target: &DataType) -> Result<Option<ArrayRef>> {
    if let (DataType::Utf8, DataType::FixedSizeBinary(width)) = (sent.data_type(), target) {
        return bytes_of_digits(sent.as_string(), *width).map(Some);
    }
    if !can_cast_types(sent.data_type(), target) {
        return Ok(None);
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(Some(cast_with_options(sent, target, &options)?))
}

/// Bytes from their hexadecimal digits, which is how they are written to text files. A UUID has
/// dashes among them.
fn bytes_of_digits(texts: &StringArray, width: i32) -> Result<ArrayRef> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), width);
    for text in texts {
        let bytes = text.and_then(of_digits);
        match bytes.filter(|bytes| usize::try_from(width) == Ok(bytes.len())) {
            Some(bytes) => builder.append_value(bytes)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn of_digits(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().chars().filter(|digit| *digit != '-');
    let digits: Vec<u32> = digits.map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + digit)).ok();
    let is_whole = digits.len().is_multiple_of(2);
    digits.chunks(2).map(byte).collect::<Option<_>>().filter(|_| is_whole)
}

/// What does not fit, by the rows of the outermost column.
fn unfit_inside(sent: &ArrayRef, target: &DataType) -> Result<Vec<Unfit>> {
    let sent = unpacked(sent)?;
    if sent.logical_null_count() == sent.len() {
        return Ok(Vec::new());
    }
    match target {
        DataType::Struct(fields) => match sent.as_struct_opt() {
            Some(structs) => unfit_fields(structs, fields),
            None => Ok(of_other_type(&sent, target)),
        },
        DataType::List(item) => match as_lists(&sent)? {
            Some(lists) => {
                let unfit = unfit_child(lists.values(), item, ".element")?;
                Ok(of_parents(unfit, lists.offsets(), lists.nulls()))
            }
            None => Ok(of_other_type(&sent, target)),
        },
        DataType::Map(entries, _) => match (sent.as_map_opt(), key_and_value(entries)) {
            (Some(maps), Some((key, value))) => {
                let mut unfit = unfit_child(maps.keys(), key, ".key")?;
                unfit.extend(unfit_child(maps.values(), value, ".value")?);
                Ok(of_parents(unfit, maps.offsets(), maps.nulls()))
            }
            _ => Ok(of_other_type(&sent, target)),
        },
        _ => Ok(leaf(&sent, target)?.1),
    }
}

fn unfit_child(values: &ArrayRef, field: &FieldRef, path: &str) -> Result<Vec<Unfit>> {
    let mut unfit = unfit_inside(values, field.data_type())?;
    if !field.is_nullable()
        && let Some(nulls) = values.logical_nulls()
    {
        let absent = (0..values.len()).filter(|row| nulls.is_null(*row));
        unfit.extend(absent.map(|row| Unfit::new(row, Why::Absent)));
    }
    for unfit in &mut unfit {
        unfit.path.insert_str(0, path);
    }
    Ok(unfit)
}

fn unfit_fields(structs: &StructArray, fields: &Fields) -> Result<Vec<Unfit>> {
    let mut found = Vec::new();
    for field in fields {
        let path = format!(".{}", field.name());
        match structs.column_by_name(field.name()) {
            Some(values) => found.extend(unfit_child(values, field, &path)?),
            None if field.is_nullable() => {}
            None => found.extend((0..structs.len()).map(|row| Unfit {
                row,
                path: path.clone(),
                why: Why::Absent,
            })),
        }
    }
    found.retain(|unfit| structs.is_valid(unfit.row));
    Ok(found)
}

/// What does not fit by the rows that hold it, without that which none holds.
fn of_parents(
    unfit: Vec<Unfit>,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
) -> Vec<Unfit> {
    let parent = |child: usize| {
        let after = offsets.partition_point(|at| usize::try_from(*at).is_ok_and(|at| at <= child));
        let row = after.checked_sub(1).filter(|row| row + 1 < offsets.len())?;
        nulls.is_none_or(|nulls| nulls.is_valid(row)).then_some(row)
    };
    let moved = |unfit: Unfit| Some(Unfit { row: parent(unfit.row)?, ..unfit });
    unfit.into_iter().filter_map(moved).collect()
}

/// The values as the type has them, of which all fit.
fn built(sent: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let sent = unpacked(sent)?;
    if sent.data_type() == target {
        return Ok(sent);
    }
    if sent.logical_null_count() == sent.len() {
        return Ok(new_null_array(target, sent.len()));
    }
    match target {
        DataType::Struct(fields) => match sent.as_struct_opt() {
            Some(structs) => built_struct(structs, fields),
            None => Ok(new_null_array(target, sent.len())),
        },
        DataType::List(item) => match as_lists(&sent)? {
            Some(lists) => {
                let (offsets, start, length) = from_zero(lists.offsets());
                let values = built(&lists.values().slice(start, length), item.data_type())?;
                let nulls = lists.nulls().cloned();
                Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
            }
            None => Ok(new_null_array(target, sent.len())),
        },
        DataType::Map(entries, sorted) => match (sent.as_map_opt(), key_and_value(entries)) {
            (Some(maps), Some((key, value))) => {
                let (offsets, start, length) = from_zero(maps.offsets());
                let nulls = maps.nulls().cloned();
                let columns = vec![
                    built(&maps.keys().slice(start, length), key.data_type())?,
                    built(&maps.values().slice(start, length), value.data_type())?,
                ];
                let fields = Fields::from(vec![Arc::clone(key), Arc::clone(value)]);
                let all = StructArray::try_new(fields, columns, None)?;
                let entries = Arc::clone(entries);
                Ok(Arc::new(MapArray::try_new(entries, offsets, all, nulls, *sorted)?))
            }
            _ => Ok(new_null_array(target, sent.len())),
        },
        _ => Ok(leaf(&sent, target)?.0),
    }
}

/// The same lengths for values without those that are before the first and after the last row, and
/// which values these are.
fn from_zero(offsets: &OffsetBuffer<i32>) -> (OffsetBuffer<i32>, usize, usize) {
    let [first, last] = [offsets.first(), offsets.last()].map(|at| at.copied().unwrap_or(0));
    let start = usize::try_from(first).unwrap_or(0);
    let length = usize::try_from(last - first).unwrap_or(0);
    (OffsetBuffer::from_lengths(offsets.lengths()), start, length)
}

fn built_struct(structs: &StructArray, fields: &Fields) -> Result<ArrayRef> {
    let columns = fields.iter().map(|field| match structs.column_by_name(field.name()) {
        Some(values) => built(values, field.data_type()),
        None => Ok(new_null_array(field.data_type(), structs.len())),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let nulls = structs.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, structs.len())?))
}

/// Lists of any kind as lists with offsets; `None` for what is no list.
fn as_lists(sent: &ArrayRef) -> Result<Option<ListArray>> {
    let item: &FieldRef = match sent.data_type() {
        DataType::List(_) => return Ok(sent.as_list_opt::<i32>().cloned()),
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item,
        _ => return Ok(None),
    };
    Ok(cast(sent, &DataType::List(Arc::clone(item)))?.as_list_opt::<i32>().cloned())
}

/// The fields of a map's entries.
pub(super) fn key_and_value(entries: &Field) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
