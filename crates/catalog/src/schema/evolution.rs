//! Which changes of columns a table takes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Schema, Type};
use icecore_core::{Error, Result};

use super::column_type::FieldIds;
use crate::error::Context as _;

/// The table's schema after it has taken in what `wanted` has more: new columns are added as
/// optional, whole numbers and floats grow wider. `None` where nothing has to change. Columns that
/// `wanted` does not have stay.
///
/// `last_column_id` is the greatest id that the table ever gave out, so that a dropped column's id
/// is not given out again.
///
/// # Errors
///
/// `InvalidInput` naming a column whose present type cannot hold the wanted one.
pub(crate) fn evolution(
    current: &Schema,
    wanted: &SchemaRef,
    last_column_id: i32,
) -> Result<Option<Schema>> {
    let mut fields: Vec<NestedFieldRef> = current.as_struct().fields().to_vec();
    let known = fields.len();
    let last_id = last_column_id.max(current.highest_field_id());
    let mut changed = false;
    for candidate in FieldIds::after(last_id).fields(wanted.fields())? {
        match fields.iter_mut().take(known).find(|field| field.name == candidate.name) {
            Some(field) => {
                if let Some(wider) = wider(field, &candidate)? {
                    *field = wider;
                    changed = true;
                }
            }
            None => {
                let optional = NestedField { required: false, ..candidate.as_ref().clone() };
                fields.push(Arc::new(optional));
                changed = true;
            }
        }
    }
    if !changed {
        return Ok(None);
    }
    let schema = Schema::builder()
        .with_fields(fields)
        .with_identifier_field_ids(current.identifier_field_ids());
    schema.build().map(Some).context(|| "cannot add the new columns")
}

/// The field with the type that holds both, or `None` where its present type already does.
fn wider(field: &NestedField, wanted: &NestedField) -> Result<Option<NestedFieldRef>> {
    if holds(&field.field_type, &wanted.field_type) {
        return Ok(None);
    }
    if may_become(&field.field_type, &wanted.field_type) {
        let field_type = wanted.field_type.clone();
        return Ok(Some(Arc::new(NestedField { field_type, ..field.clone() })));
    }
    Err(Error::invalid(format!(
        "column `{}` is `{}` and cannot become `{}`",
        field.name, field.field_type, wanted.field_type
    ))
    .with_help("cast the new rows to the table's type, or write them under another column name"))
}

/// Whether a column of type `stored` takes every value of type `offered` as it is.
pub(crate) fn holds(stored: &Type, offered: &Type) -> bool {
    use PrimitiveType::{
        Decimal, Double, Float, Int, Long, Timestamp, TimestampNs, Timestamptz, TimestamptzNs,
    };
    match (stored, offered) {
        (Type::Primitive(stored), Type::Primitive(offered)) => match (stored, offered) {
            (Long, Int) | (Double, Float | Int) => true,
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
        (Type::Struct(stored), Type::Struct(offered)) => offered.fields().iter().all(|field| {
            stored.fields().iter().any(|known| {
                known.name == field.name && holds(&known.field_type, &field.field_type)
            })
        }),
        _ => false,
    }
}

/// The promotions that Iceberg allows without rewriting a file.
fn may_become(stored: &Type, wanted: &Type) -> bool {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    let (Type::Primitive(stored), Type::Primitive(wanted)) = (stored, wanted) else {
        return false;
    };
    match (stored, wanted) {
        (Int, Long) | (Float, Double) => true,
        (
            Decimal { precision, scale },
            Decimal { precision: wanted_precision, scale: wanted_scale },
        ) => scale == wanted_scale && wanted_precision > precision,
        _ => false,
    }
}
