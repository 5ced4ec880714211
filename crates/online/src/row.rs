//! How a row of features is written: compact, and readable after its view has changed.
//!
//! ```text
//! version (16) | schema id (4) | a bit for each null | values
//! ```
//!
//! The version is what stores compare ([`RowVersion`]). The schema id names the columns and types
//! that the row was written with; a store keeps them, so that old rows are read after a change of
//! the view. Numbers take their own width, little-endian; text and lists come after their length.
//! Nulls take no more than their bit.

mod cell;
mod schema;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use icecore_core::{Error, Result, RowVersion};

use cell::Cells;
pub(crate) use cell::decode;
pub use schema::RowSchema;
pub(crate) use schema::canonical_type;

/// The bit of a schema id that marks a row that was pushed and not yet materialized.
const PUSHED: u32 = 1 << 31;
/// Where the values begin: after the version and the schema id.
const HEADER_LEN: usize = RowVersion::LEN + 4;

/// How a row came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a table.
    Table,
    /// It was pushed; a table will have it later.
    Push,
}

/// Writes the rows of a schema.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    schema: RowSchema,
    origin: Origin,
}

impl RowEncoder {
    /// Writes rows of this schema.
    #[must_use]
    pub const fn new(schema: RowSchema, origin: Origin) -> Self {
        Self { schema, origin }
    }

    /// Writes one row for each version, from columns in the order of the schema.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a column that is missing or of another type.
    pub fn encode(&self, batch: &RecordBatch, versions: &[RowVersion]) -> Result<Vec<Bytes>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let column = batch
                .column_by_name(field.name())
                .ok_or_else(|| Error::invalid(format!("rows have no column `{}`", field.name())))?;
            columns.push(schema::canonical(column, field.data_type())?);
        }
        let cells = columns.iter().map(Cells::try_new).collect::<Result<Vec<_>>>()?;
        let mark = if self.origin == Origin::Push { PUSHED } else { 0 };
        let id = (self.schema.id() | mark).to_le_bytes();
        let bitmap_len = cells.len().div_ceil(8);
        let nulls: Vec<Option<&NullBuffer>> = columns.iter().map(|column| column.nulls()).collect();
        let mut ends = Vec::with_capacity(versions.len());
        let row_len = HEADER_LEN + bitmap_len + cells.len() * 8;
        let mut buffer = Vec::with_capacity(versions.len() * row_len);
        for (row, version) in versions.iter().enumerate() {
            buffer.extend_from_slice(&version.to_bytes());
            buffer.extend_from_slice(&id);
            let bitmap = buffer.len();
            buffer.resize(bitmap + bitmap_len, 0);
            for (place, (cells, nulls)) in cells.iter().zip(&nulls).enumerate() {
                if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    if let Some(byte) = buffer.get_mut(bitmap + place / 8) {
                        *byte |= 1 << (place % 8);
                    }
                    continue;
                }
                cells.write_sized(row, &mut buffer);
            }
            ends.push(buffer.len());
        }
        let (buffer, mut start) = (Bytes::from(buffer), 0);
        let row = |end| buffer.slice(std::mem::replace(&mut start, end)..end);
        Ok(ends.into_iter().map(row).collect())
    }
}

/// The columns of rows that were written with a schema.
///
/// # Errors
///
/// `DataCorrupt` for rows of another schema, or such as are damaged.
pub fn decode_rows(schema: &RowSchema, rows: &[Bytes]) -> Result<Vec<ArrayRef>> {
    let rows = rows.iter().map(|row| Row::parse(row.clone())).collect::<Result<Vec<_>>>()?;
    if rows.iter().any(|row| row.schema_id() != schema.id()) {
        return Err(Error::corrupt("rows of the online store are of another schema")
            .with_help("materialize the view again with `--full`"));
    }
    let cells = rows.iter().map(|row| row.cells(schema)).collect::<Result<Vec<_>>>()?;
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let column: Vec<Option<&[u8]>> =
            cells.iter().map(|cells| cells.get(at).copied().flatten()).collect();
        decode(field.data_type(), &column)
    });
    columns.collect()
}

/// A row as a store has it, taken apart.
#[derive(Debug, Clone)]
pub struct Row {
    bytes: Bytes,
    version: RowVersion,
    id: u32,
}

impl Row {
    /// Reads the header of a row.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` for what is too short to be one.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let version = RowVersion::of_row(&bytes);
        let id = bytes.get(RowVersion::LEN..HEADER_LEN).and_then(|id| id.try_into().ok());
        match (version, id.map(u32::from_le_bytes)) {
            (Some(version), Some(id)) => Ok(Self { bytes, version, id }),
            _ => Err(Error::corrupt("the online store has something else than a row")
                .with_help("materialize the view again with `--full`")),
        }
    }

    /// How new it is.
    #[must_use]
    pub const fn version(&self) -> RowVersion {
        self.version
    }

    /// How it came into the store.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        if self.id & PUSHED == 0 { Origin::Table } else { Origin::Push }
    }

    /// The id of the schema that it was written with.
    #[must_use]
    pub const fn schema_id(&self) -> u32 {
        self.id & !PUSHED
    }

    /// The values, as bytes that do not depend on how the row came into the store.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The bytes of each value; `None` for a null.
    pub(crate) fn cells(&self, schema: &RowSchema) -> Result<Vec<Option<&[u8]>>> {
        let damaged = || {
            Error::corrupt("a row of the online store is cut off")
                .with_help("materialize the view again with `--full`")
        };
        let payload = self.payload();
        let count = schema.fields().len();
        let (bitmap, mut rest) = payload.split_at_checked(count.div_ceil(8)).ok_or_else(damaged)?;
        let mut cells = Vec::with_capacity(count);
        for (place, field) in schema.fields().iter().enumerate() {
            if bitmap.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1) {
                cells.push(None);
                continue;
            }
            let (value, tail) =
                cell::split(rest, cell::width(field.data_type())).ok_or_else(damaged)?;
            cells.push(Some(value));
            rest = tail;
        }
        if rest.is_empty() { Ok(cells) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests;
