//! The names and types that a join needs, and what to say when they do not fit.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, SchemaRef};
use icecore_core::{Error, FeatureTable, Knowledge, Result};

use crate::moment::is_moment;
use crate::table::JoinTable;

/// The clock that decides for one table.
pub(crate) fn knowledge(table: &FeatureTable, asked: Option<Knowledge>) -> Result<Knowledge> {
    let view = &table.view;
    match (asked, &table.created_timestamp) {
        (None, Some(_)) => Ok(Knowledge::Created),
        (None, None) => Ok(Knowledge::Event),
        (Some(Knowledge::Created), None) => Err(Error::invalid(format!(
            "feature view `{view}` declares no created timestamp, which `knowledge = \"created\"` needs"
        ))
        .with_help(
            "declare `created_timestamp` in the view, or leave `knowledge` out: then it holds \
             where a view declares one",
        )),
        (Some(asked), _) => Ok(asked),
    }
}

/// The spine's key columns, ascending, each with the feature table's.
pub(crate) fn keys(
    table: &FeatureTable,
    spine: &SchemaRef,
    schema: &SchemaRef,
) -> Result<Vec<(usize, String)>> {
    let mut keys = Vec::new();
    for (own, spine_key) in &table.keys {
        let Some((at, spine_field)) = spine.column_with_name(spine_key) else {
            let names = || spine.fields().iter().map(|field| field.name().as_str());
            return Err(Error::invalid(format!(
                "the spine has no column `{spine_key}`, by which feature view `{}` is joined",
                table.view
            ))
            .with_note(format!("columns of the spine: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(spine_key, names()));
        };
        check_key(&table.view, column(&table.view, schema, own)?, spine_field)?;
        keys.push((at, own.clone()));
    }
    if keys.is_empty() {
        return Err(Error::invalid(format!("feature view `{}` has no join key", table.view)));
    }
    keys.sort();
    Ok(keys)
}

/// The column of a view's table.
pub(crate) fn column<'a>(view: &str, schema: &'a SchemaRef, name: &str) -> Result<&'a Field> {
    let found = schema.column_with_name(name);
    found.map(|(_, field)| field).ok_or_else(|| missing(view, schema, name))
}

/// What to say when a view's table lacks a column.
pub(crate) fn missing(view: &str, schema: &SchemaRef, name: &str) -> Error {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    Error::not_found(format!("feature view `{view}` has no column `{name}`"))
        .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
        .with_candidates(name, names())
}

/// That a column of a view's table holds moments.
pub(crate) fn moment(view: &str, field: &Field) -> Result<()> {
    if is_moment(field.data_type()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "column `{}` of feature view `{view}` is {}, which is neither a time nor a date",
        field.name(),
        field.data_type()
    )))
}

/// That a view's key and the spine's column for it can be compared by value.
///
/// # Errors
///
/// `InvalidInput` that names both and their types, and how to make them equal.
pub fn check_key(view: &str, own: &Field, spine: &Field) -> Result<()> {
    let (own_name, spine_name) = (own.name(), spine.name());
    let (own_type, spine_type) = (own.data_type(), spine.data_type());
    if own_type.is_floating() || own_type.is_nested() {
        return Err(Error::invalid(format!(
            "key `{own_name}` of feature view `{view}` is {own_type}, which no key can be"
        ))
        .with_help("use whole numbers, text, dates or times as keys"));
    }
    let same = own_type == spine_type
        || own_type.is_integer() && spine_type.is_integer()
        || is_text(own_type) && is_text(spine_type)
        || is_binary(own_type) && is_binary(spine_type);
    if same {
        return Ok(());
    }
    let sql = if is_text(own_type) { "VARCHAR" } else { "BIGINT" };
    let error = Error::invalid(format!(
        "the spine's column `{spine_name}` is {spine_type}, but key `{own_name}` of feature view \
         `{view}` is {own_type}"
    ));
    if is_text(own_type) || own_type.is_integer() {
        return Err(error.with_help(format!(
            "cast it in the spine: `CAST({spine_name} AS {sql}) AS {spine_name}`"
        )));
    }
    Err(error.with_help(format!("cast `{spine_name}` in the spine to the type of the key")))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_text(value),
        _ => matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_binary(value),
        _ => matches!(
            data_type,
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        ),
    }
}

/// That no two columns come out under one name.
pub(crate) fn output_names<'a>(
    spine: &SchemaRef,
    tables: impl Iterator<Item = &'a JoinTable>,
) -> Result<()> {
    let own = spine.fields().iter().map(|field| (field.name().clone(), "the spine".to_owned()));
    let mut owners: BTreeMap<String, String> = own.collect();
    for table in tables {
        for field in table.presented() {
            let owner = format!("feature view `{}`", table.feature.view);
            let name = field.name();
            if let Some(other) = owners.insert(name.clone(), owner.clone()) {
                return Err(Error::invalid(format!(
                    "column `{name}` comes from {other} and from {owner}"
                ))
                .with_help(
                    "set `full_feature_names = true`: columns are then named view__feature",
                ));
            }
        }
    }
    Ok(())
}
