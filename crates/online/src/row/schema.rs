//! Which columns a row has.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use icecore_core::{Error, Result};

/// The columns of a view's rows, in types that have one layout each.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSchema {
    fields: Fields,
    id: u32,
}

impl RowSchema {
    /// Rows of these columns.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a type that rows do not hold, such as maps.
    pub fn try_new<'f>(fields: impl IntoIterator<Item = &'f Field>) -> Result<Self> {
        let field = |field: &Field| {
            let data_type = canonical_type(field.data_type()).ok_or_else(|| {
                Error::unsupported(format!(
                    "feature `{}` of type {} cannot be kept in an online store",
                    field.name(),
                    field.data_type()
                ))
            })?;
            Ok(Arc::new(Field::new(field.name(), data_type, true)))
        };
        let fields: Fields = fields.into_iter().map(field).collect::<Result<_>>()?;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for field in &fields {
            let text = format!("{}\u{0}{}\u{0}", field.name(), field.data_type());
            for byte in text.bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        let id = u32::try_from((hash ^ (hash >> 32)) & u64::from(!super::PUSHED)).unwrap_or(0);
        Ok(Self { fields, id })
    }

    /// What rows of this schema carry to name it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The columns.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Where a column stands.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &FieldRef)> {
        self.fields.find(name)
    }

    /// The schema as bytes, for the store to keep.
    pub(crate) fn to_bytes(&self) -> Result<Bytes> {
        let schema = Schema::new(self.fields.clone());
        let mut bytes = Vec::new();
        StreamWriter::try_new(&mut bytes, &schema)?.finish()?;
        Ok(Bytes::from(bytes))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self> {
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|error| {
            Error::corrupt("the schema of rows cannot be read").with_source(error)
        })?;
        Self::try_new(reader.schema().fields().iter().map(AsRef::as_ref))
    }
}

/// The one layout of a type that rows have.
pub(crate) fn canonical_type(data_type: &DataType) -> Option<DataType> {
    use DataType as D;
    Some(match data_type {
        D::Utf8 | D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::Dictionary(_, values) => canonical_type(values)?,
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => {
            D::List(Arc::new(Field::new("item", canonical_type(item.data_type())?, true)))
        }
        D::Struct(fields) => {
            let field = |field: &FieldRef| {
                Some(Arc::new(Field::new(field.name(), canonical_type(field.data_type())?, true)))
            };
            D::Struct(fields.iter().map(field).collect::<Option<_>>()?)
        }
        other if super::cell::width(other).is_some() => other.clone(),
        _ => return None,
    })
}

/// A column in the layout that its type has in rows.
pub(crate) fn canonical(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    cast(column, data_type).map_err(|error| {
        Error::invalid(format!("{} is no {data_type}", column.data_type())).with_source(error)
    })
}
