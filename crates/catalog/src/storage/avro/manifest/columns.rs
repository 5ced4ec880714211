//! What an entry says of a file's columns: checked while the entry is read, and decoded when
//! somebody asks. A plan of many files asks for few columns, and mostly for none.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::metadata_columns::get_metadata_field;
use iceberg::spec::{Datum, PrimitiveType, Schema};

use super::super::cursor::Cursor;
use super::super::datum::{Field, Shape};
use super::super::values::{Odd, some};

/// Columns from this on are not of a table's schema (specification, "Reserved Field IDs").
const RESERVED_FROM: i32 = i32::MAX - 200;

/// Numbers by column.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) enum Counts {
    Sizes,
    Values,
    Nulls,
    Nans,
}

/// Values by column, that no value of the column lies beyond.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) enum Bounds {
    Lower,
    Upper,
}

/// Where in a block something is; nowhere, if it is not said.
type At = (u32, u32);

/// What an entry says of the columns of its file, as it is written there.
#[derive(Clone)]
pub(in crate::storage) struct Columns {
    block: Bytes,
    types: Arc<Types>,
    counts: [At; 4],
    bounds: [At; 2],
    splits: At,
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Columns").finish_non_exhaustive()
    }
}

impl Columns {
    /// Nothing yet, of an entry in this block.
    pub(super) fn new(block: &Bytes, types: &Arc<Types>) -> Self {
        let (block, types) = (block.clone(), types.clone());
        Self {
            block,
            types,
            counts: Default::default(),
            bounds: Default::default(),
            splits: (0, 0),
        }
    }

    pub(super) fn read_counts(
        &mut self,
        which: Counts,
        shape: &Shape,
        data: &mut Cursor<'_>,
    ) -> Result<(), Odd> {
        let Some(items) = items(shape, data)? else { return Ok(()) };
        let [_, Field { shape: Shape::Number, .. }] = pair(items)? else {
            return Err(Odd::Unfamiliar);
        };
        let from = data.rest().len();
        pairs(data, |_, data| Ok(data.long().map(drop)?))?;
        let [sizes, values, nulls, nans] = &mut self.counts;
        *match which {
            Counts::Sizes => sizes,
            Counts::Values => values,
            Counts::Nulls => nulls,
            Counts::Nans => nans,
        } = at(&self.block, from, data)?;
        Ok(())
    }

    pub(super) fn read_bounds(
        &mut self,
        which: Bounds,
        shape: &Shape,
        data: &mut Cursor<'_>,
    ) -> Result<(), Odd> {
        let Some(items) = items(shape, data)? else { return Ok(()) };
        let [_, Field { shape: Shape::Bytes, .. }] = pair(items)? else {
            return Err(Odd::Unfamiliar);
        };
        let from = data.rest().len();
        pairs(data, |column, data| {
            let bytes = data.bytes()?;
            match self.types.of(column)? {
                Some(of) if !is_of(bytes, of) => Err(Odd::Unfamiliar),
                _ => Ok(()),
            }
        })?;
        let [lower, upper] = &mut self.bounds;
        *match which {
            Bounds::Lower => lower,
            Bounds::Upper => upper,
        } = at(&self.block, from, data)?;
        Ok(())
    }

    pub(super) fn read_splits(&mut self, shape: &Shape, data: &mut Cursor<'_>) -> Result<(), Odd> {
        let Some(items) = items(shape, data)? else { return Ok(()) };
        let Shape::Number = items else { return Err(Odd::Unfamiliar) };
        let from = data.rest().len();
        offsets(data, |_| ())?;
        self.splits = at(&self.block, from, data)?;
        Ok(())
    }

    /// The number of a column.
    pub(in crate::storage) fn count(&self, which: Counts, column: i32) -> Option<u64> {
        let mut found = None;
        self.each_count(which, |other, count| {
            if other == column {
                found = Some(count);
            }
        });
        found
    }

    pub(in crate::storage) fn counts(&self, which: Counts) -> HashMap<i32, u64> {
        let mut counts = HashMap::new();
        self.each_count(which, |column, count| {
            counts.insert(column, count);
        });
        counts
    }

    /// The bound of a column.
    pub(in crate::storage) fn bound(&self, which: Bounds, column: i32) -> Option<Datum> {
        let mut found = None;
        self.each_bound(which, |other, bytes| {
            if other == column {
                found = Some(bytes);
            }
        });
        self.value(column, found?)
    }

    pub(in crate::storage) fn bounds(&self, which: Bounds) -> HashMap<i32, Datum> {
        let mut bounds = HashMap::new();
        self.each_bound(which, |column, bytes| {
            if let Some(value) = self.value(column, bytes) {
                bounds.insert(column, value);
            }
        });
        bounds
    }

    /// Where a reader may begin in the file.
    pub(in crate::storage) fn splits(&self) -> Option<Vec<i64>> {
        let mut data = self.written(self.splits)?;
        let mut found = Vec::new();
        offsets(&mut data, |offset| found.push(offset)).ok()?;
        Some(found)
    }

    fn each_count(&self, which: Counts, mut take: impl FnMut(i32, u64)) {
        let [sizes, values, nulls, nans] = self.counts;
        let data = self.written(match which {
            Counts::Sizes => sizes,
            Counts::Values => values,
            Counts::Nulls => nulls,
            Counts::Nans => nans,
        });
        let Some(mut data) = data else { return };
        // What is kept was read to its end before.
        let _ = pairs(&mut data, |column, data| {
            // A negative number says nothing.
            if let Ok(count) = u64::try_from(data.long()?) {
                take(column, count);
            }
            Ok(())
        });
    }

    fn each_bound<'s>(&'s self, which: Bounds, mut take: impl FnMut(i32, &'s [u8])) {
        let [lower, upper] = self.bounds;
        let data = self.written(match which {
            Bounds::Lower => lower,
            Bounds::Upper => upper,
        });
        let Some(mut data) = data else { return };
        let _ = pairs(&mut data, |column, data| {
            take(column, data.bytes()?);
            Ok(())
        });
    }

    fn written(&self, (from, to): At) -> Option<Cursor<'_>> {
        let bytes = self.block.get(from as usize..to as usize)?;
        (!bytes.is_empty()).then(|| Cursor::new(bytes))
    }

    fn value(&self, column: i32, bytes: &[u8]) -> Option<Datum> {
        // A column that the schema does not have any more is not asked for.
        let of = self.types.of(column).ok().flatten()?;
        Datum::try_from_bytes(bytes, of.clone()).ok()
    }
}

/// The types of columns, in order of their ids.
#[derive(Debug)]
pub(super) struct Types(Vec<(i32, Option<PrimitiveType>)>);

impl Types {
    /// Those of a schema.
    pub(super) fn of_schema(schema: &Schema) -> Self {
        let fields = schema.field_id_to_fields().iter();
        let types = fields.map(|(id, field)| (*id, field.field_type.as_primitive_type().cloned()));
        let mut types: Vec<_> = types.collect();
        types.sort_unstable_by_key(|(id, _)| *id);
        Self(types)
    }

    /// The type of a column; `None` for one that there is not.
    fn of(&self, column: i32) -> Result<Option<&PrimitiveType>, Odd> {
        match self.0.binary_search_by_key(&column, |(id, _)| *id) {
            Ok(found) => {
                let of = self.0.get(found).and_then(|(_, of)| of.as_ref());
                of.map(Some).ok_or(Odd::Unfamiliar)
            }
            Err(_) if column < RESERVED_FROM => Ok(None),
            Err(_) => match get_metadata_field(column) {
                Ok(field) => field.field_type.as_primitive_type().map(Some).ok_or(Odd::Unfamiliar),
                Err(_) => Ok(None),
            },
        }
    }
}

/// Whether these bytes are a value of this type (specification, appendix D, "Binary single-value
/// serialization"), or were one before the column became wider.
fn is_of(bytes: &[u8], of: &PrimitiveType) -> bool {
    match of {
        PrimitiveType::Int | PrimitiveType::Float | PrimitiveType::Date => bytes.len() == 4,
        PrimitiveType::Long | PrimitiveType::Double => matches!(bytes.len(), 4 | 8),
        PrimitiveType::Time
        | PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => bytes.len() == 8,
        PrimitiveType::Uuid => bytes.len() == 16,
        PrimitiveType::Decimal { .. } => bytes.len() <= 16,
        PrimitiveType::String => std::str::from_utf8(bytes).is_ok(),
        PrimitiveType::Boolean | PrimitiveType::Fixed(_) | PrimitiveType::Binary => true,
    }
}

/// What the items of a list look like; `None` where there is no list.
fn items<'s>(shape: &'s Shape, data: &mut Cursor<'_>) -> Result<Option<&'s Shape>, Odd> {
    match some(shape, data)? {
        None => Ok(None),
        Some(Shape::Array(items)) => Ok(Some(items)),
        Some(_) => Err(Odd::Unfamiliar),
    }
}

/// The fields of an item of a map by column, which is written as a list of keys and values.
fn pair(items: &Shape) -> Result<&[Field; 2], Odd> {
    let Shape::Record(fields) = items else { return Err(Odd::Unfamiliar) };
    match <&[Field; 2]>::try_from(fields.as_slice()) {
        Ok(pair @ [Field { shape: Shape::Number, .. }, _]) => Ok(pair),
        _ => Err(Odd::Unfamiliar),
    }
}

/// Takes the value of each column.
fn pairs<'d>(
    data: &mut Cursor<'d>,
    mut take: impl FnMut(i32, &mut Cursor<'d>) -> Result<(), Odd>,
) -> Result<(), Odd> {
    while let Some(count) = data.block_length()? {
        for _ in 0..count {
            data.value()?;
            let column = i32::try_from(data.long()?).map_err(|_| Odd::Unfamiliar)?;
            take(column, data)?;
        }
    }
    Ok(())
}

fn offsets(data: &mut Cursor<'_>, mut take: impl FnMut(i64)) -> Result<(), Odd> {
    while let Some(count) = data.block_length()? {
        for _ in 0..count {
            data.value()?;
            take(data.long()?);
        }
    }
    Ok(())
}

/// Where in a block the bytes are that were read since `from` were left.
fn at(block: &Bytes, from: usize, data: &Cursor<'_>) -> Result<At, Odd> {
    let place = |left: usize| {
        let place = block.len().checked_sub(left).and_then(|place| u32::try_from(place).ok());
        place.ok_or(Odd::Unfamiliar)
    };
    Ok((place(from)?, place(data.rest().len())?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn columns_of_no_schema_are_no_mistake() {
        let types = Types::of_schema(&Schema::builder().build().unwrap());
        assert!(matches!(types.of(1), Ok(None)));
        assert!(matches!(types.of(RESERVED_FROM), Ok(None)));
        let path = iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
        assert!(matches!(types.of(path), Ok(Some(PrimitiveType::String))));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_a_value(
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
            of in select(vec![
                PrimitiveType::Boolean,
                PrimitiveType::Int,
                PrimitiveType::Long,
                PrimitiveType::Float,
                PrimitiveType::Double,
                PrimitiveType::Date,
                PrimitiveType::Time,
                PrimitiveType::Timestamp,
                PrimitiveType::Timestamptz,
                PrimitiveType::TimestampNs,
                PrimitiveType::TimestamptzNs,
                PrimitiveType::String,
                PrimitiveType::Uuid,
                PrimitiveType::Fixed(3),
                PrimitiveType::Binary,
                PrimitiveType::Decimal { precision: 12, scale: 2 },
            ]),
        ) {
            prop_assert_eq!(is_of(&bytes, &of), Datum::try_from_bytes(&bytes, of).is_ok());
        }
    }
}
