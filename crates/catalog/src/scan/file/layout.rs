//! The columns of a Parquet file, by their ids.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use iceberg::spec::{MappedField, NameMapping, NestedFieldRef, Schema, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::input::POSITION;

/// A column of a file, or a part of one.
#[derive(Debug)]
pub(super) struct FileField {
    pub(super) name: String,
    pub(super) id: Option<i32>,
    pub(super) data_type: DataType,
    /// Which of the file's leaf columns it is made of.
    pub(super) leaves: std::ops::Range<usize>,
    /// Fields of a struct, the element of a list, key and value of a map.
    pub(super) children: Vec<Self>,
}

/// How columns of a file are told apart.
#[derive(Debug, Clone)]
pub(in crate::scan) enum Names {
    /// By the ids in the file; where it has none, by this.
    Mapped(Arc<NameMapping>),
    /// By the ids in the file; where it has none, by the names of these columns.
    OfTable(Arc<Schema>),
}

/// The columns of a file.
pub(super) fn layout(schema: &ArrowSchema, names: &Names) -> Vec<FileField> {
    let mut leaf = 0;
    let own = schema.fields().iter().filter(|field| field.name() != POSITION);
    let mut fields: Vec<FileField> = own.map(|field| file_field(field, &mut leaf)).collect();
    if !fields.iter().any(FileField::has_ids) {
        match names {
            Names::Mapped(mapping) => {
                let mapped: Vec<&MappedField> = mapping.fields().iter().collect();
                map_names(&mut fields, &mapped);
            }
            Names::OfTable(schema) => name_fields(&mut fields, schema.as_struct().fields()),
        }
    }
    fields
}

fn file_field(field: &Field, leaf: &mut usize) -> FileField {
    let first = *leaf;
    let mut all = |fields: &Fields| -> Vec<FileField> {
        fields.iter().map(|field| file_field(field, leaf)).collect()
    };
    let children = match field.data_type() {
        DataType::Struct(fields) => all(fields),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            vec![file_field(item, leaf)]
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => all(fields),
            _ => Vec::new(),
        },
        _ => {
            *leaf += 1;
            Vec::new()
        }
    };
    let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok());
    FileField {
        name: field.name().clone(),
        id,
        data_type: field.data_type().clone(),
        leaves: first..*leaf,
        children,
    }
}

impl FileField {
    fn has_ids(&self) -> bool {
        self.id.is_some() || self.children.iter().any(Self::has_ids)
    }

    const fn is_struct(&self) -> bool {
        matches!(self.data_type, DataType::Struct(_))
    }
}

fn map_names(fields: &mut [FileField], mapped: &[&MappedField]) {
    for field in fields {
        let found = mapped.iter().find(|mapped| mapped.names().contains(&field.name));
        let Some(found) = found else { continue };
        field.id = found.field_id();
        let children: Vec<&MappedField> = found.fields().iter().map(Arc::as_ref).collect();
        map_children(field, &children);
    }
}

/// Elements, keys and values go by these names in a mapping, whatever a file calls them.
fn map_children(field: &mut FileField, mapped: &[&MappedField]) {
    if field.is_struct() {
        return map_names(&mut field.children, mapped);
    }
    let parts: &[&str] = if field.children.len() == 1 { &["element"] } else { &["key", "value"] };
    for (child, part) in field.children.iter_mut().zip(parts) {
        let found = mapped.iter().find(|mapped| mapped.names().iter().any(|name| name == part));
        if let Some(found) = found {
            let children: Vec<&MappedField> = found.fields().iter().map(Arc::as_ref).collect();
            map_children(child, &children);
        }
    }
}

fn name_fields(fields: &mut [FileField], columns: &[NestedFieldRef]) {
    for field in fields {
        if let Some(column) = columns.iter().find(|column| column.name == field.name) {
            field.id = Some(column.id);
            name_children(field, &column.field_type);
        }
    }
}

fn name_children(field: &mut FileField, column: &Type) {
    match column {
        Type::Primitive(_) => {}
        Type::Struct(inner) => name_fields(&mut field.children, inner.fields()),
        Type::List(list) => {
            if let Some(child) = field.children.first_mut() {
                name_children(child, &list.element_field.field_type);
            }
        }
        Type::Map(map) => {
            let parts = [&map.key_field.field_type, &map.value_field.field_type];
            for (child, part) in field.children.iter_mut().zip(parts) {
                name_children(child, part);
            }
        }
    }
}
