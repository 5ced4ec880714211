//! How users write down what the rows of a file are sorted by.

use iceberg::spec::{NullOrder, Schema, SortDirection, SortField, SortOrder};
use icecore_core::{Error, Result};

use super::no_such_column;
use super::partition::{described, transformed};
use super::type_text::spelled;
use crate::error::Context as _;

/// The order by these, such as `user_token` or `day(at) desc nulls last`. Ascending puts nulls first
/// and descending puts them last unless they say otherwise. No columns: no order.
///
/// # Errors
///
/// `NotFound` for an unknown column; `InvalidInput` for one that has no order.
pub(crate) fn sort_order(schema: &Schema, by: &[String]) -> Result<SortOrder> {
    let fields = sort_fields(schema, by)?;
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

/// Reads what rows are to be sorted by.
pub(super) fn sort_fields(schema: &Schema, by: &[String]) -> Result<Vec<SortField>> {
    let mut fields: Vec<SortField> = Vec::with_capacity(by.len());
    for text in by {
        let (what, direction, nulls) = directed(schema, text.trim())?;
        let (transform, column) = transformed(schema, what)?;
        let source = schema.field_by_name(column).ok_or_else(|| no_such_column(schema, column))?;
        if transform.result_type(&source.field_type).is_err() || !source.field_type.is_primitive() {
            return Err(Error::invalid(format!(
                "cannot sort by `{what}`: column `{column}` is `{}`",
                spelled(&source.field_type)
            )));
        }
        if fields.iter().any(|field| (field.source_id, field.transform) == (source.id, transform)) {
            return Err(Error::invalid(format!("cannot sort by `{what}` twice")));
        }
        fields.push(
            SortField::builder()
                .source_id(source.id)
                .transform(transform)
                .direction(direction)
                .null_order(nulls)
                .build(),
        );
    }
    Ok(fields)
}

/// Splits off the direction and the place of nulls.
fn directed<'a>(schema: &Schema, text: &'a str) -> Result<(&'a str, SortDirection, NullOrder)> {
    let (ascending, first) = (SortDirection::Ascending, NullOrder::First);
    // A column may be called `x desc`.
    if schema.field_by_name(text).is_some() {
        return Ok((text, ascending, first));
    }
    let start = text.rfind(')').map_or(0, |end| end + 1);
    let (function, rest) = text.split_at_checked(start).unwrap_or(("", text));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (what, words) = match (function, words.split_first()) {
        ("", Some((column, words))) => (*column, words),
        (function, _) => (function, words.as_slice()),
    };
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (direction, words) = match words.as_slice() {
        ["asc", rest @ ..] => (SortDirection::Ascending, rest),
        ["desc", rest @ ..] => (SortDirection::Descending, rest),
        rest => (ascending, rest),
    };
    let nulls = match (words, direction) {
        ([], SortDirection::Ascending) | (["nulls", "first"], _) => NullOrder::First,
        ([], SortDirection::Descending) | (["nulls", "last"], _) => NullOrder::Last,
        _ => {
            return Err(Error::invalid(format!("cannot sort by `{text}`"))
                .with_help("write `column`, `column desc` or `day(column) desc nulls last`"));
        }
    };
    Ok((what, direction, nulls))
}

/// The columns that the rows of a file are sorted by; `desc` and transforms are written out.
pub(crate) fn describe_sort(schema: &Schema, order: &SortOrder) -> Vec<String> {
    let fields = order.fields.iter();
    fields
        .map(|field| {
            let what = described(schema, field.source_id, "?", field.transform);
            match (field.direction, field.null_order) {
                (SortDirection::Ascending, NullOrder::First) => what,
                (SortDirection::Ascending, NullOrder::Last) => format!("{what} nulls last"),
                (SortDirection::Descending, NullOrder::Last) => format!("{what} desc"),
                (SortDirection::Descending, NullOrder::First) => {
                    format!("{what} desc nulls first")
                }
            }
        })
        .collect()
}
