//! The columns of a table while they are being changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, Schema, StructType, TableMetadata, Type,
};
use icecore_core::{Error, ErrorKind, Result};

use super::column_type::FieldIds;
use crate::error::Context as _;

/// Columns that keep their ids whatever happens to them.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) fields: Vec<NestedFieldRef>,
    pub(super) identifier: BTreeSet<i32>,
    pub(super) ids: FieldIds,
}

/// What a field is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    Table,
    /// The struct that this field holds.
    Struct(i32),
    /// The list or map that this field holds.
    Collection(i32),
}

impl Draft {
    /// The present columns of a table. An id that it ever gave out is not given out again.
    pub(super) fn of(metadata: &TableMetadata) -> Self {
        let current = metadata.current_schema();
        Self::after(current, metadata.last_column_id())
    }

    pub(super) fn after(current: &Schema, last_column_id: i32) -> Self {
        Self {
            fields: current.as_struct().fields().to_vec(),
            identifier: current.identifier_field_ids().collect(),
            ids: FieldIds::after(last_column_id.max(current.highest_field_id())),
        }
    }

    /// The columns as Iceberg has them, without saying which ones identify a row.
    pub(super) fn indexed(&self) -> Result<Schema> {
        let schema = Schema::builder().with_fields(self.fields.clone()).build();
        schema.context(|| "cannot number the columns")
    }

    /// The finished columns.
    pub(super) fn build(self) -> Result<Schema> {
        Schema::builder()
            .with_fields(self.fields)
            .with_identifier_field_ids(self.identifier)
            .build()
            .context(|| "cannot number the columns")
    }

    /// The field of this path.
    ///
    /// # Errors
    ///
    /// `NotFound` that lists what there is.
    pub(super) fn find(&self, path: &str) -> Result<NestedFieldRef> {
        let schema = self.indexed()?;
        schema.field_by_name(path).cloned().ok_or_else(|| no_such_path(&schema, path))
    }

    /// The path of a field.
    pub(super) fn path_of(&self, id: i32) -> String {
        let schema = self.indexed().ok();
        let name = schema.as_ref().and_then(|schema| schema.name_by_field_id(id));
        name.unwrap_or("?").to_owned()
    }

    /// What a field is a part of.
    pub(super) fn parent_of(&self, id: i32) -> Option<Parent> {
        parent_among(&self.fields, Parent::Table, id)
    }

    /// Whether the field lies in the key of a map, whose values must stay comparable.
    pub(super) fn is_in_key(&self, id: i32) -> bool {
        fn key_holds(field_type: &Type, id: i32) -> bool {
            match field_type {
                Type::Primitive(_) => false,
                Type::List(list) => key_holds(&list.element_field.field_type, id),
                Type::Map(map) => {
                    holds(&map.key_field, id) || key_holds(&map.value_field.field_type, id)
                }
                Type::Struct(fields) => {
                    fields.fields().iter().any(|field| key_holds(&field.field_type, id))
                }
            }
        }
        self.fields.iter().any(|field| key_holds(&field.field_type, id))
    }

    /// Replaces one field.
    pub(super) fn edit(&mut self, id: i32, change: impl FnOnce(NestedField) -> NestedField) {
        let mut change = Some(change);
        for field in &mut self.fields {
            *field = edited(field, id, &mut |found| match change.take() {
                Some(change) => change(found),
                None => found,
            });
        }
    }

    /// Changes the fields of the table or of one struct.
    pub(super) fn edit_siblings(
        &mut self,
        parent: Parent,
        change: impl FnOnce(&mut Vec<NestedFieldRef>),
    ) {
        match parent {
            Parent::Table => change(&mut self.fields),
            Parent::Struct(id) | Parent::Collection(id) => self.edit(id, |field| {
                let Type::Struct(fields) = *field.field_type.clone() else { return field };
                let mut fields = fields.fields().to_vec();
                change(&mut fields);
                let field_type = Box::new(Type::Struct(StructType::new(fields)));
                NestedField { field_type, ..field }
            }),
        }
    }

    /// The fields of the table or of one struct.
    pub(super) fn siblings(&self, parent: Parent) -> Result<Vec<NestedFieldRef>> {
        match parent {
            Parent::Table => Ok(self.fields.clone()),
            Parent::Struct(id) | Parent::Collection(id) => {
                let schema = self.indexed()?;
                Ok(match schema.field_by_id(id).map(|field| field.field_type.as_ref()) {
                    Some(Type::Struct(fields)) => fields.fields().to_vec(),
                    _ => Vec::new(),
                })
            }
        }
    }
}

/// A field and all that lies in it.
pub(crate) fn ids_of(field: &NestedField) -> Vec<i32> {
    let mut ids = vec![field.id];
    for part in parts(&field.field_type) {
        ids.extend(ids_of(part));
    }
    ids
}

fn holds(field: &NestedField, id: i32) -> bool {
    field.id == id || parts(&field.field_type).into_iter().any(|part| holds(part, id))
}

fn parts(field_type: &Type) -> Vec<&NestedFieldRef> {
    match field_type {
        Type::Primitive(_) => Vec::new(),
        Type::List(list) => vec![&list.element_field],
        Type::Map(map) => vec![&map.key_field, &map.value_field],
        Type::Struct(fields) => fields.fields().iter().collect(),
    }
}

fn parent_among(fields: &[NestedFieldRef], parent: Parent, id: i32) -> Option<Parent> {
    if fields.iter().any(|field| field.id == id) {
        return Some(parent);
    }
    fields.iter().find_map(|field| match field.field_type.as_ref() {
        Type::Primitive(_) => None,
        Type::Struct(inner) => parent_among(inner.fields(), Parent::Struct(field.id), id),
        collection => {
            let inner: Vec<NestedFieldRef> = parts(collection).into_iter().cloned().collect();
            parent_among(&inner, Parent::Collection(field.id), id)
        }
    })
}

fn edited(
    field: &NestedFieldRef,
    id: i32,
    change: &mut dyn FnMut(NestedField) -> NestedField,
) -> NestedFieldRef {
    if field.id == id {
        return Arc::new(change(field.as_ref().clone()));
    }
    if !holds(field, id) {
        return field.clone();
    }
    let field_type = match field.field_type.as_ref() {
        Type::Primitive(primitive) => Type::Primitive(primitive.clone()),
        Type::List(list) => Type::List(ListType::new(edited(&list.element_field, id, change))),
        Type::Map(map) => {
            let key = edited(&map.key_field, id, change);
            Type::Map(MapType::new(key, edited(&map.value_field, id, change)))
        }
        Type::Struct(fields) => {
            let fields = fields.fields().iter().map(|field| edited(field, id, change));
            Type::Struct(StructType::new(fields.collect()))
        }
    };
    Arc::new(NestedField { field_type: Box::new(field_type), ..field.as_ref().clone() })
}

fn no_such_path(schema: &Schema, path: &str) -> Error {
    let mut names: Vec<&str> = schema.field_id_to_name_map().values().map(String::as_str).collect();
    names.sort_unstable();
    Error::new(ErrorKind::NotFound, format!("the table has no column `{path}`"))
        .with_note(format!("columns: {}", names.join(", ")))
        .with_candidates(path, names.iter().copied())
}
