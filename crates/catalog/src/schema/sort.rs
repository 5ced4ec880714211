//! How users write down what the rows of a file are sorted by.

use iceberg::spec::{NullOrder, Schema, SortDirection, SortField, SortOrder, Transform};
use icecore_core::{Error, Result};

use super::no_such_column;
use crate::error::Context as _;

/// The order of these columns, each ascending with nulls first. No columns: no order.
///
/// # Errors
///
/// `NotFound` for an unknown column; `InvalidInput` for one that has no order.
pub(crate) fn sort_order(schema: &Schema, by: &[String]) -> Result<SortOrder> {
    let mut fields = Vec::with_capacity(by.len());
    for column in by {
        let source = schema.field_by_name(column).ok_or_else(|| no_such_column(schema, column))?;
        if !source.field_type.is_primitive() {
            return Err(Error::invalid(format!(
                "cannot sort by `{column}`: it is `{}`",
                source.field_type
            )));
        }
        fields.push(
            SortField::builder()
                .source_id(source.id)
                .transform(Transform::Identity)
                .direction(SortDirection::Ascending)
                .null_order(NullOrder::First)
                .build(),
        );
    }
    let order = if fields.is_empty() {
        SortOrder::unsorted_order()
    } else {
        SortOrder { order_id: 1, fields }
    };
    SortOrder::builder()
        .with_order_id(order.order_id)
        .with_fields(order.fields)
        .build(schema)
        .context(|| format!("cannot sort by `{}`", by.join(", ")))
}

/// The columns that the rows of a file are sorted by; `desc` and transforms are written out.
pub(crate) fn describe_sort(schema: &Schema, order: &SortOrder) -> Vec<String> {
    let fields = order.fields.iter();
    fields
        .filter_map(|field| {
            let column = schema.name_by_field_id(field.source_id)?;
            let column = match field.transform {
                Transform::Identity => column.to_owned(),
                transform => format!("{transform}({column})"),
            };
            Some(match field.direction {
                SortDirection::Ascending => column,
                SortDirection::Descending => format!("{column} desc"),
            })
        })
        .collect()
}
