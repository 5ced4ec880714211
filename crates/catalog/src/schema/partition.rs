//! How users write down what a table is partitioned by.

use iceberg::spec::{
    PartitionSpec, Schema, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use icecore_core::{Error, Result};

use super::no_such_column;
use super::type_text::spelled;
#[cfg(test)]
use crate::error::Context as _;

const FORMS: &str = "`col`, `year(col)`, `month(col)`, `day(col)`, `hour(col)`, `bucket(16, col)`, `truncate(8, col)`";

/// More buckets than anybody has files.
const BUCKETS_MAX: u32 = 1_000_000;
/// The widest truncation: other engines keep it in 32 bits with a sign.
const WIDTH_MAX: u32 = i32::MAX.unsigned_abs();

/// Parses partition fields such as `day(event_timestamp)` or `bucket(16, user_token)`.
///
/// # Errors
///
/// `NotFound` for an unknown column; `InvalidInput` for what is no partition field, for a column
/// whose type the transform does not take, and for the same partitioning twice.
pub(crate) fn partition_spec(schema: &Schema, by: &[String]) -> Result<UnboundPartitionSpec> {
    let mut builder = UnboundPartitionSpec::builder();
    for text in by {
        let field = partition_field(schema, text)?;
        builder = builder.add_partition_fields([field]).map_err(|error| {
            Error::invalid(format!("cannot also partition by `{text}`")).with_source(error)
        })?;
    }
    let spec = builder.build();
    // What Iceberg would refuse is refused here, where the user's words are at hand.
    spec.clone().bind(schema.clone()).map_err(|error| {
        Error::invalid(format!("cannot partition by `{}`", by.join(", "))).with_source(error)
    })?;
    Ok(spec)
}

/// Writes the partition fields of a table as [`partition_spec`] reads them. A field that has been
/// dropped from the partitioning is left out.
pub(crate) fn describe_partition(schema: &Schema, spec: &PartitionSpec) -> Vec<String> {
    let fields = spec.fields().iter().filter(|field| field.transform != Transform::Void);
    fields.map(|field| described(schema, field.source_id, &field.name, field.transform)).collect()
}

/// A column under a transform; `name` is what to call a column that is not there.
pub(super) fn described(
    schema: &Schema,
    source_id: i32,
    name: &str,
    transform: Transform,
) -> String {
    let column = schema.name_by_field_id(source_id).unwrap_or(name);
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(count) => format!("bucket({count}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        transform => format!("{transform}({column})"),
    }
}

/// Reads one partition field.
pub(super) fn partition_field(schema: &Schema, text: &str) -> Result<UnboundPartitionField> {
    let (transform, column) = transformed(schema, text)?;
    let source = schema.field_by_name(column).ok_or_else(|| no_such_column(schema, column))?;
    transform.result_type(&source.field_type).map_err(|_| {
        Error::invalid(format!(
            "cannot partition by `{text}`: column `{column}` is `{}`",
            spelled(&source.field_type)
        ))
        .with_help(match transform {
            Transform::Identity => "partition by a column that holds one value per row".to_owned(),
            Transform::Bucket(_) => {
                "`bucket` takes whole numbers, decimals, dates, timestamps, text and bytes"
                    .to_owned()
            }
            Transform::Truncate(_) => {
                "`truncate` takes whole numbers, decimals, text and bytes".to_owned()
            }
            Transform::Hour => "`hour` takes timestamps".to_owned(),
            _ => format!("`{transform}` takes dates and timestamps"),
        })
    })?;
    let name = field_name(schema, column, transform);
    Ok(UnboundPartitionField { source_id: source.id, field_id: None, name, transform })
}

/// Splits `bucket(16, user_token)` into its transform and its column; a column may be called so.
pub(super) fn transformed<'a>(schema: &Schema, text: &'a str) -> Result<(Transform, &'a str)> {
    match schema.field_by_name(text) {
        Some(_) => Ok((Transform::Identity, text)),
        None => parse(text),
    }
}

fn parse(text: &str) -> Result<(Transform, &str)> {
    let Some((function, arguments)) =
        text.trim().strip_suffix(')').and_then(|inner| inner.split_once('('))
    else {
        return Ok((Transform::Identity, text.trim()));
    };
    let function = function.trim();
    let plain = |transform| Ok((transform, arguments.trim()));
    match function.to_ascii_lowercase().as_str() {
        "identity" => plain(Transform::Identity),
        "year" | "years" => plain(Transform::Year),
        "month" | "months" => plain(Transform::Month),
        "day" | "days" | "date" => plain(Transform::Day),
        "hour" | "hours" => plain(Transform::Hour),
        "bucket" => sized(text, arguments, BUCKETS_MAX)
            .map(|(size, column)| (Transform::Bucket(size), column)),
        "truncate" => sized(text, arguments, WIDTH_MAX)
            .map(|(size, column)| (Transform::Truncate(size), column)),
        _ => Err(Error::invalid(format!(
            "`{text}` is no partition field: no transform `{function}`"
        ))
        .with_note(format!("partition fields: {FORMS}"))
        .with_candidates(function, ["year", "month", "day", "hour", "bucket", "truncate"])),
    }
}

/// The size and the column among arguments; a size is from one to `most`.
fn sized<'a>(text: &str, arguments: &'a str, most: u32) -> Result<(u32, &'a str)> {
    arguments
        .split_once(',')
        .and_then(|(size, column)| Some((size.trim().parse::<u64>().ok()?, column.trim())))
        .ok_or_else(|| {
            Error::invalid(format!("`{text}` is no partition field"))
                .with_help("write the size first, then the column: `bucket(16, user_token)`")
        })
        .and_then(|(size, column)| {
            let fitting = u32::try_from(size).ok().filter(|size| (1..=most).contains(size));
            let size = fitting.ok_or_else(|| {
                Error::invalid(format!("`{text}` is no partition field: its size is {size}"))
                    .with_help(format!("write a size from 1 to {most}"))
            })?;
            Ok((size, column))
        })
}

/// A partition field must not be called as a column is, unless it is that column.
fn field_name(schema: &Schema, column: &str, transform: Transform) -> String {
    let mut name = match transform {
        Transform::Identity => return column.to_owned(),
        Transform::Bucket(count) => format!("{column}_bucket_{count}"),
        Transform::Truncate(width) => format!("{column}_trunc_{width}"),
        transform => format!("{column}_{transform}"),
    };
    while schema.field_by_name(&name).is_some() {
        name.push('_');
    }
    name
}

/// Binds a spec for tests and for tables that are yet to be created.
#[cfg(test)]
pub(crate) fn bind(schema: &Schema, by: &[&str]) -> Result<PartitionSpec> {
    let by: Vec<String> = by.iter().map(|text| (*text).to_owned()).collect();
    partition_spec(schema, &by)?.bind(schema.clone()).context(|| "cannot bind")
}
