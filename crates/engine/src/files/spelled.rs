//! Values of nested columns that a text file spells as JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use icecore_core::Result;
use serde_json::Value;

use super::ExtraColumns;
use super::columns::cell;
use super::fitted::{Unfit, Why, key_and_value};
use super::value::{Cell, Column, Kind, shorten};

/// The values of JSON texts. What they are made of is of the kinds that a target's values are read
/// as, and may be null anywhere: whether it fits is told when it becomes the target's type.
pub(super) fn parsed(
    texts: &StringArray,
    target: &DataType,
    extra: ExtraColumns,
) -> Result<(ArrayRef, Vec<Unfit>)> {
    let mut reading = Reading { unfit: Vec::new(), extra };
    let mut values = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let value = text.map(serde_json::from_str::<Value>).transpose().unwrap_or_else(|_| {
            reading.odd(row, "", text.unwrap_or_default(), target);
            None
        });
        values.push(value);
    }
    let places: Vec<Place<'_>> =
        values.iter().enumerate().map(|(row, value)| (row, value.as_ref())).collect();
    let array = reading.array(&places, target, "")?;
    Ok((array, reading.unfit))
}

/// A value and the row that it is a part of.
type Place<'a> = (usize, Option<&'a Value>);

struct Reading {
    unfit: Vec<Unfit>,
    extra: ExtraColumns,
}

impl Reading {
    fn odd(&mut self, row: usize, path: &str, found: &str, target: &DataType) {
        let found = format!("`{}`", shorten(found, 60));
        let why = Why::Value(found, target.clone());
        self.unfit.push(Unfit { row, path: path.to_owned(), why });
    }

    fn array(&mut self, places: &[Place<'_>], target: &DataType, path: &str) -> Result<ArrayRef> {
        match target {
            DataType::Struct(fields) => self.structs(places, (target, fields), path),
            DataType::List(item) => self.lists(places, (target, item), path),
            DataType::Map(entries, _) => self.maps(places, (target, entries), path),
            _ => Ok(self.leaves(places, target, path)),
        }
    }

    fn leaves(&mut self, places: &[Place<'_>], target: &DataType, path: &str) -> ArrayRef {
        let mut column = Column::new(Kind::for_type(target).unwrap_or(Kind::Text));
        for (row, value) in places {
            let cell = value.map_or(Cell::Null, cell);
            if !column.push(&cell) {
                let found = value.map(ToString::to_string).unwrap_or_default();
                self.odd(*row, path, &found, target);
            }
        }
        column.finish()
    }

    fn structs(
        &mut self,
        places: &[Place<'_>],
        (target, fields): (&DataType, &Fields),
        path: &str,
    ) -> Result<ArrayRef> {
        let mut objects = Vec::with_capacity(places.len());
        for (row, value) in places {
            let object = self.object(*row, *value, (target, path));
            for name in object.into_iter().flat_map(serde_json::Map::keys) {
                let is_known = fields.iter().any(|field| field.name() == name);
                if !is_known && self.extra == ExtraColumns::Keep {
                    let path = format!("{path}.{name}");
                    self.unfit.push(Unfit { row: *row, path, why: Why::NoField });
                }
            }
            objects.push((*row, object));
        }
        let mut found: Vec<FieldRef> = Vec::with_capacity(fields.len());
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let values: Vec<Place<'_>> = objects
                .iter()
                .map(|(row, object)| (*row, object.and_then(|object| object.get(field.name()))))
                .collect();
            let path = format!("{path}.{}", field.name());
            let column = self.array(&values, field.data_type(), &path)?;
            found.push(Arc::new(Field::new(field.name(), column.data_type().clone(), true)));
            columns.push(column);
        }
        let nulls = NullBuffer::from_iter(objects.iter().map(|(_, object)| object.is_some()));
        let (found, rows) = (Fields::from(found), places.len());
        Ok(Arc::new(StructArray::try_new_with_length(found, columns, Some(nulls), rows)?))
    }

    fn object<'a>(
        &mut self,
        row: usize,
        value: Option<&'a Value>,
        (target, path): (&DataType, &str),
    ) -> Option<&'a serde_json::Map<String, Value>> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.odd(row, path, &other.to_string(), target);
                None
            }
        }
    }

    fn lists(
        &mut self,
        places: &[Place<'_>],
        (target, item): (&DataType, &FieldRef),
        path: &str,
    ) -> Result<ArrayRef> {
        let mut elements: Vec<Place<'_>> = Vec::new();
        let (mut lengths, mut valid) = (Vec::new(), Vec::new());
        for (row, value) in places {
            let list = match value {
                None | Some(Value::Null) => None,
                Some(Value::Array(list)) => Some(list),
                Some(other) => {
                    self.odd(*row, path, &other.to_string(), target);
                    None
                }
            };
            valid.push(list.is_some());
            lengths.push(list.map_or(0, Vec::len));
            elements.extend(list.into_iter().flatten().map(|element| (*row, Some(element))));
        }
        let values = self.array(&elements, item.data_type(), &format!("{path}.element"))?;
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(item, offsets, values, Some(NullBuffer::from(valid)))?))
    }

    fn maps(
        &mut self,
        places: &[Place<'_>],
        (target, entries): (&DataType, &FieldRef),
        path: &str,
    ) -> Result<ArrayRef> {
        let (key_type, value_type) = match key_and_value(entries) {
            Some((key, value)) => (key.data_type(), value.data_type()),
            None => (entries.data_type(), entries.data_type()),
        };
        let mut keys = Column::new(Kind::for_type(key_type).unwrap_or(Kind::Text));
        let mut values: Vec<Place<'_>> = Vec::new();
        let (mut lengths, mut valid) = (Vec::new(), Vec::new());
        for (row, value) in places {
            let object = self.object(*row, *value, (target, path));
            valid.push(object.is_some());
            let before = values.len();
            for (key, value) in object.into_iter().flatten() {
                if keys.push(&Cell::Bare(key.into())) {
                    values.push((*row, Some(value)));
                } else {
                    // The key became null, which no map has: the row is refused, its entry stays.
                    self.odd(*row, &format!("{path}.key"), key, key_type);
                    values.push((*row, None));
                }
            }
            lengths.push(values.len() - before);
        }
        let values = self.array(&values, value_type, &format!("{path}.value"))?;
        let keys = keys.finish();
        let fields = Fields::from(vec![
            Field::new("key", keys.data_type().clone(), keys.null_count() > 0),
            Field::new("value", values.data_type().clone(), true),
        ]);
        let all = StructArray::try_new(fields, vec![keys, values], None)?;
        let entries = Arc::new(Field::new("entries", all.data_type().clone(), false));
        let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), NullBuffer::from(valid));
        Ok(Arc::new(MapArray::try_new(entries, offsets, all, Some(nulls), false)?))
    }
}
