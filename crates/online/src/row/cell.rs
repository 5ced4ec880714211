//! The bytes of one value, and arrays from such bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryBuilder, BooleanArray, ListArray, StringBuilder,
    StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields};
use icecore_core::{Error, Result};

/// How many bytes every value of a type takes; `None` where they differ.
pub(super) fn width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(1),
        other => other.primitive_width(),
    }
}

/// The first value, and what comes after it. Values of no fixed width come after their length.
pub(super) fn split(bytes: &[u8], width: Option<usize>) -> Option<(&[u8], &[u8])> {
    match width {
        Some(width) => bytes.split_at_checked(width),
        None => {
            let (len, rest) = bytes.split_first_chunk::<4>()?;
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
        }
    }
}

/// A column whose values are written one by one.
pub(super) enum Cells {
    Fixed { width: usize, values: Buffer },
    Boolean(BooleanArray),
    Text(ArrayRef),
    Bytes(ArrayRef),
    List { offsets: OffsetBuffer<i32>, items: ArrayRef, of: Box<Self> },
    Struct { columns: Vec<ArrayRef>, of: Vec<Self> },
}

impl Cells {
    /// Reads a column in the layout of [`canonical_type`](super::schema::canonical_type).
    pub(super) fn try_new(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean().clone()),
            DataType::Utf8 => Self::Text(Arc::clone(column)),
            DataType::Binary => Self::Bytes(Arc::clone(column)),
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let of = Box::new(Self::try_new(list.values())?);
                Self::List { offsets: list.offsets().clone(), items: Arc::clone(list.values()), of }
            }
            DataType::Struct(_) => {
                let columns = column.as_struct().columns().to_vec();
                let of = columns.iter().map(Self::try_new).collect::<Result<_>>()?;
                Self::Struct { columns, of }
            }
            other => {
                let width = width(other).ok_or_else(|| {
                    Error::unsupported(format!("rows of an online store hold no {other}"))
                })?;
                let data = column.to_data();
                let values = data.buffers().first().cloned().unwrap_or_default();
                let values = values.slice_with_length(data.offset() * width, data.len() * width);
                Self::Fixed { width, values }
            }
        })
    }

    /// Writes the value of a row, which is not null, after its length if values differ in it.
    pub(super) fn write_sized(&self, row: usize, to: &mut Vec<u8>) {
        if self.width().is_some() {
            return self.write(row, to);
        }
        let start = to.len();
        to.extend_from_slice(&[0; 4]);
        self.write(row, to);
        let len = u32::try_from(to.len() - start - 4).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = to.get_mut(start..start + 4) {
            place.copy_from_slice(&len);
        }
    }

    /// How many bytes every value takes.
    const fn width(&self) -> Option<usize> {
        match self {
            Self::Fixed { width, .. } => Some(*width),
            Self::Boolean(_) => Some(1),
            _ => None,
        }
    }

    /// Writes the value of a row, which is not null.
    fn write(&self, row: usize, to: &mut Vec<u8>) {
        match self {
            Self::Fixed { width, values } => {
                to.extend_from_slice(
                    values.get(row * width..(row + 1) * width).unwrap_or_default(),
                );
            }
            Self::Boolean(values) => to.push(u8::from(values.value(row))),
            Self::Text(values) => {
                to.extend_from_slice(values.as_string::<i32>().value(row).as_bytes());
            }
            Self::Bytes(values) => to.extend_from_slice(values.as_binary::<i32>().value(row)),
            Self::List { offsets, items, of } => {
                let bound =
                    |row: usize| offsets.get(row).map_or(0, |at| usize::try_from(*at).unwrap_or(0));
                for item in bound(row)..bound(row + 1) {
                    of.write_nullable(items, item, to);
                }
            }
            Self::Struct { columns, of } => {
                for (column, of) in columns.iter().zip(of) {
                    of.write_nullable(column, row, to);
                }
            }
        }
    }

    /// Writes whether there is a value, and the value.
    fn write_nullable(&self, column: &ArrayRef, row: usize, to: &mut Vec<u8>) {
        if column.is_null(row) {
            to.push(0);
            return;
        }
        to.push(1);
        self.write_sized(row, to);
    }
}

/// An array of values from their bytes.
pub(crate) fn decode(data_type: &DataType, cells: &[Option<&[u8]>]) -> Result<ArrayRef> {
    let damaged = || Error::corrupt(format!("a value of type {data_type} is damaged"));
    let nulls = NullBuffer::from_iter(cells.iter().map(Option::is_some));
    Ok(match data_type {
        DataType::Boolean => {
            let value = |cell: &Option<&[u8]>| cell.map(|cell| cell.first() == Some(&1));
            Arc::new(cells.iter().map(value).collect::<BooleanArray>())
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for cell in cells {
                let text = cell.map(std::str::from_utf8).transpose().map_err(|_| damaged())?;
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            cells.iter().for_each(|cell| builder.append_option(*cell));
            Arc::new(builder.finish())
        }
        DataType::List(item) => {
            let (mut items, mut lengths) = (Vec::new(), Vec::with_capacity(cells.len()));
            for cell in cells {
                let before = items.len();
                let mut rest = cell.unwrap_or_default();
                while !rest.is_empty() {
                    let (value, tail) = nullable(rest, item.data_type()).ok_or_else(damaged)?;
                    items.push(value);
                    rest = tail;
                }
                lengths.push(items.len() - before);
            }
            let items = decode(item.data_type(), &items)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(nulls))?)
        }
        DataType::Struct(fields) => decode_struct(fields, cells, nulls)?,
        other => {
            let width = width(other).ok_or_else(damaged)?;
            let mut values = Vec::with_capacity(cells.len() * width);
            for cell in cells {
                match cell {
                    Some(cell) if cell.len() == width => values.extend_from_slice(cell),
                    Some(_) => return Err(damaged()),
                    None => values.resize(values.len() + width, 0),
                }
            }
            let data = ArrayData::builder(other.clone())
                .len(cells.len())
                .add_buffer(Buffer::from_vec(values))
                .nulls(Some(nulls))
                .align_buffers(true);
            make_array(data.build()?)
        }
    })
}

fn decode_struct(fields: &Fields, cells: &[Option<&[u8]>], nulls: NullBuffer) -> Result<ArrayRef> {
    let damaged = || Error::corrupt("a value of several parts is damaged");
    let mut columns = vec![Vec::with_capacity(cells.len()); fields.len()];
    for cell in cells {
        let mut rest = *cell;
        for (field, column) in fields.iter().zip(&mut columns) {
            let value = match rest {
                None => None,
                Some(bytes) => {
                    let (value, tail) = nullable(bytes, field.data_type()).ok_or_else(damaged)?;
                    rest = Some(tail);
                    value
                }
            };
            column.push(value);
        }
    }
    let arrays = fields.iter().zip(&columns);
    let arrays = arrays.map(|(field, cells)| decode(field.data_type(), cells));
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, Some(nulls))?))
}

/// A value that may be null, and what comes after it.
fn nullable<'b>(bytes: &'b [u8], data_type: &DataType) -> Option<(Option<&'b [u8]>, &'b [u8])> {
    match bytes.split_first()? {
        (0, rest) => Some((None, rest)),
        (_, rest) => split(rest, width(data_type)).map(|(value, rest)| (Some(value), rest)),
    }
}
