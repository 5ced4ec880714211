//! Changing what a table is partitioned and sorted by.

use iceberg::spec::{PrimitiveType, Schema, TableMetadata, Transform, Type, UnboundPartitionField};
use icecore_core::{Error, ErrorKind, Result};

use super::alter::Design;
use super::partition::{described, partition_field};
use super::sort;

/// What a table is partitioned by. Fields that do nothing any more are left out.
pub(super) fn partition_of(metadata: &TableMetadata) -> Vec<UnboundPartitionField> {
    let fields = metadata.default_partition_spec().fields().iter();
    fields
        .filter(|field| field.transform != Transform::Void)
        .map(|field| UnboundPartitionField {
            source_id: field.source_id,
            field_id: None,
            name: field.name.clone(),
            transform: field.transform,
        })
        .collect()
}

/// Partitions by these and nothing else.
pub(super) fn partition_by(design: &mut Design<'_>, by: &[String]) -> Result<()> {
    let before = std::mem::take(&mut design.partition);
    let made = by.iter().try_for_each(|text| add_partition(design, text));
    if made.is_err() {
        design.partition = before;
    }
    made
}

/// Also partitions by this.
pub(super) fn add_partition(design: &mut Design<'_>, text: &str) -> Result<()> {
    let schema = design.draft.indexed()?;
    let mut field = partition_field(&schema, text)?;
    let time = |transform: Transform| transform.dedup_name();
    let same = design.partition.iter().find(|other| {
        other.source_id == field.source_id && time(other.transform) == time(field.transform)
    });
    if let Some(same) = same {
        let same = described(&schema, same.source_id, &same.name, same.transform);
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("cannot also partition by `{text}`"),
        )
        .with_note(format!("the table is partitioned by `{same}` already")));
    }
    field.name = name_for(design, &field);
    design.partition.push(field);
    Ok(())
}

/// No longer partitions by this, which may be named as a transform or by its field.
pub(super) fn drop_partition(design: &mut Design<'_>, text: &str) -> Result<()> {
    let schema = design.draft.indexed()?;
    let wanted = partition_field(&schema, text).ok();
    let found = design.partition.iter().position(|field| {
        field.name == text
            || wanted.as_ref().is_some_and(|wanted| {
                (wanted.source_id, wanted.transform) == (field.source_id, field.transform)
            })
    });
    match found {
        Some(index) => {
            design.partition.remove(index);
            Ok(())
        }
        None => {
            let fields = design.partition.iter();
            let by: Vec<String> = fields
                .map(|field| described(&schema, field.source_id, &field.name, field.transform))
                .collect();
            Err(Error::not_found(format!("the table is not partitioned by `{text}`"))
                .with_note(match by.as_slice() {
                    [] => "it is not partitioned".to_owned(),
                    by => format!("it is partitioned by: {}", by.join(", ")),
                })
                .with_candidates(text, by.iter().map(String::as_str)))
        }
    }
}

/// Sorts by these and nothing else.
pub(super) fn sort_by(design: &mut Design<'_>, by: &[String]) -> Result<()> {
    design.sort = sort::sort_fields(&design.draft.indexed()?, by)?;
    Ok(())
}

/// A field that the table was once partitioned by keeps its name, and with it its id; no two
/// fields that differ have one name.
fn name_for(design: &Design<'_>, field: &UnboundPartitionField) -> String {
    let past = || design.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    let same = past()
        .find(|other| (other.source_id, other.transform) == (field.source_id, field.transform));
    if let Some(same) = same {
        return same.name.clone();
    }
    let mut name = field.name.clone();
    let taken = |name: &str| {
        past().any(|other| other.name == name)
            || design.partition.iter().any(|other| other.name == name)
    };
    while taken(&name) {
        name.push('_');
    }
    name
}

/// Refuses columns that are wider than what the table is or was partitioned by the values of: the
/// partitions of older files would be told by narrower values than those of newer ones, and the
/// same partition would be two.
pub(super) fn check_widened(metadata: &TableMetadata, schema: &Schema) -> Result<()> {
    let current = metadata.current_schema();
    let fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    for field in fields {
        if !matches!(field.transform, Transform::Identity | Transform::Truncate(_)) {
            continue;
        }
        let type_in = |schema: &Schema| {
            schema.field_by_id(field.source_id).map(|field| field.field_type.as_ref().clone())
        };
        let is_other = match (type_in(current), type_in(schema)) {
            (Some(Type::Primitive(PrimitiveType::Decimal { .. })), _) => false,
            (before, after) => before != after,
        };
        if is_other {
            let column = schema.name_by_field_id(field.source_id).unwrap_or(&field.name);
            return Err(Error::unsupported(format!("column `{column}` cannot be widened"))
                .with_note(format!("files are partitioned by its values, as `{}`", field.name))
                .with_help("add a column of the wanted type, and partition by that"));
        }
    }
    Ok(())
}
