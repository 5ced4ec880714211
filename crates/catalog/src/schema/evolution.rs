//! Taking in the columns of rows that are to be written.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{FormatVersion, NestedField, PrimitiveType, Schema, TableMetadata, Type};
use icecore_core::{Error, Result};

use super::column_type::to_iceberg_of;
use super::columns::may_become;
use super::draft::{Draft, Parent};
use super::layout;
use super::type_text::spelled;

/// The table's schema after it has taken in what `wanted` has more: new columns and new fields of
/// structs are added as optional, numbers grow wider. `None` where nothing has to change. Columns
/// that `wanted` does not have stay.
///
/// # Errors
///
/// `InvalidInput` naming a column whose present type cannot hold the wanted one.
pub(crate) fn evolution(metadata: &TableMetadata, wanted: &SchemaRef) -> Result<Option<Schema>> {
    let version = metadata.format_version();
    let grown = union(metadata.current_schema(), wanted, metadata.last_column_id(), version)?;
    if let Some(grown) = &grown {
        layout::check_widened(metadata, grown)?;
    }
    Ok(grown)
}

/// [`evolution`] of columns of which `last_column_id` is the greatest id that was ever given out.
pub(super) fn union(
    current: &Schema,
    wanted: &SchemaRef,
    last_column_id: i32,
    version: FormatVersion,
) -> Result<Option<Schema>> {
    let wanted = to_iceberg_of(wanted, version)?;
    let mut draft = Draft::after(current, last_column_id);
    let fields = wanted.as_struct().fields().iter();
    let taken = fields.map(|field| take_in(&mut draft, Parent::Table, "", field));
    let mut errors = taken.filter_map(Result::err);
    if let Some(first) = errors.next() {
        return Err(first.with_related(errors.collect()));
    }
    let grown = draft.build()?;
    Ok((grown.as_struct() != current.as_struct()).then_some(grown))
}

/// Adds a field, or widens the one of that name.
fn take_in(draft: &mut Draft, parent: Parent, path: &str, wanted: &NestedField) -> Result<()> {
    let siblings = draft.siblings(parent)?;
    let path = match path {
        "" => wanted.name.clone(),
        path => format!("{path}.{}", wanted.name),
    };
    match siblings.iter().find(|field| field.name == wanted.name) {
        Some(field) => reconcile(draft, field, &path, &wanted.field_type),
        None => {
            let id = draft.ids.next();
            let field_type = Box::new(draft.ids.renumber(&wanted.field_type));
            let added = NestedField { id, field_type, required: false, ..wanted.clone() };
            draft.edit_siblings(parent, |fields| fields.push(Arc::new(added)));
            Ok(())
        }
    }
}

/// Makes a field hold the wanted type too.
fn reconcile(draft: &mut Draft, field: &NestedField, path: &str, wanted: &Type) -> Result<()> {
    let stored = field.field_type.as_ref();
    if holds(stored, wanted) {
        return Ok(());
    }
    match (stored, wanted) {
        (Type::Struct(_), Type::Struct(fields)) => fields
            .fields()
            .iter()
            .try_for_each(|wanted| take_in(draft, Parent::Struct(field.id), path, wanted)),
        (Type::List(list), Type::List(wanted)) => {
            let wanted = &wanted.element_field.field_type;
            reconcile(draft, &list.element_field, &format!("{path}.element"), wanted)
        }
        (Type::Map(map), Type::Map(wanted))
            if holds(&map.key_field.field_type, &wanted.key_field.field_type) =>
        {
            let wanted = &wanted.value_field.field_type;
            reconcile(draft, &map.value_field, &format!("{path}.value"), wanted)
        }
        _ if may_become(stored, wanted) => {
            let field_type = Box::new(wanted.clone());
            draft.edit(field.id, |field| NestedField { field_type, ..field });
            Ok(())
        }
        _ => Err(Error::invalid(format!(
            "column `{path}` is `{}` and cannot become `{}`",
            spelled(stored),
            spelled(wanted)
        ))
        .with_help(
            "cast the new rows to the table's type, or write them under another column name",
        )),
    }
}

/// Whether a column of type `stored` takes every value of type `offered` as it is.
pub(crate) fn holds(stored: &Type, offered: &Type) -> bool {
    use PrimitiveType::{
        Binary, Decimal, Double, Fixed, Float, Int, Long, Timestamp, TimestampNs, Timestamptz,
        TimestamptzNs, Uuid,
    };
    match (stored, offered) {
        (Type::Primitive(stored), Type::Primitive(offered)) => match (stored, offered) {
            (Long, Int) | (Double, Float | Int) => true,
            // Bytes of one length are bytes.
            (Binary | Uuid, Fixed(16)) | (Binary, Fixed(_)) => true,
            // All clocks are UTC here, so a moment without a zone is one.
            (
                Timestamp | Timestamptz | TimestampNs | TimestamptzNs,
                Timestamp | Timestamptz | TimestampNs | TimestamptzNs,
            ) => true,
            (
                Decimal { precision, scale },
                Decimal { precision: other_precision, scale: other_scale },
            ) => scale == other_scale && precision >= other_precision,
            (stored, offered) => stored == offered,
        },
        (Type::List(stored), Type::List(offered)) => {
            holds(&stored.element_field.field_type, &offered.element_field.field_type)
        }
        (Type::Map(stored), Type::Map(offered)) => {
            holds(&stored.key_field.field_type, &offered.key_field.field_type)
                && holds(&stored.value_field.field_type, &offered.value_field.field_type)
        }
        (Type::Struct(stored), Type::Struct(offered)) => offered.fields().iter().all(|field| {
            stored.fields().iter().any(|known| {
                known.name == field.name && holds(&known.field_type, &field.field_type)
            })
        }),
        _ => false,
    }
}
