//! Adding, dropping and changing columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, NestedField, NestedFieldRef, PrimitiveType, Transform, Type};
use icecore_core::{Error, ErrorKind, Result};

use super::alter::Design;
use super::alteration::{ColumnPlace, NewColumn};
use super::draft::{Draft, Parent, ids_of};
use super::type_text::{ColumnType, spelled};
use crate::predicate::exact_literal;

/// Adds a column.
pub(super) fn add(design: &mut Design<'_>, new: &NewColumn) -> Result<()> {
    let (parent, name) = match new.path.rsplit_once('.') {
        None => (Parent::Table, new.path.as_str()),
        Some((path, name)) => (struct_at(&design.draft, path)?, name),
    };
    check_name(design, (parent, None), name, &new.path)?;
    check_version(design, &new.path, &new.column_type.0)?;
    let default = default_of(design, new)?;
    if new.required && default.is_none() {
        return Err(Error::invalid(format!("column `{}` cannot be required", new.path))
            .with_note("rows that were written before have no value for it")
            .with_help("add it as an optional one, or with a default (format version 3)"));
    }
    let place = index_of(&design.draft, parent, &new.place)?;
    let id = design.draft.ids.next();
    let field_type = design.draft.ids.renumber(&new.column_type.0);
    let mut field = NestedField::new(id, name, field_type, new.required);
    field.doc.clone_from(&new.doc);
    field.initial_default.clone_from(&default);
    field.write_default = default;
    design.draft.edit_siblings(parent, |fields| {
        fields.insert(place.min(fields.len()), Arc::new(field));
    });
    Ok(())
}

/// The value of a column's default.
fn default_of(design: &Design<'_>, new: &NewColumn) -> Result<Option<iceberg::spec::Literal>> {
    let Some(value) = &new.default else { return Ok(None) };
    let version = design.metadata.format_version();
    if version < FormatVersion::V3 {
        return Err(Error::unsupported(format!("column `{}` cannot have a default", new.path))
            .with_note(format!(
                "the table has format version {}, and defaults came with version 3",
                version as u8
            ))
            .with_help("add it as an optional column without a default"));
    }
    exact_literal(&new.path, &new.column_type.0, value).map(Some)
}

/// The struct that a path means: the one that it holds, or that the items of its list or the
/// values of its map hold.
fn struct_at(draft: &Draft, path: &str) -> Result<Parent> {
    let field = draft.find(path)?;
    let inner = match field.field_type.as_ref() {
        Type::Struct(_) => &field,
        Type::List(list) => &list.element_field,
        Type::Map(map) => &map.value_field,
        Type::Primitive(_) => &field,
    };
    if draft.is_in_key(inner.id) {
        return Err(Error::invalid(format!("`{path}` is the key of a map, which cannot change")));
    }
    match inner.field_type.as_ref() {
        Type::Struct(_) => Ok(Parent::Struct(inner.id)),
        other => Err(Error::invalid(format!(
            "column `{path}` has no fields: it is `{}`",
            spelled(other)
        ))
        .with_help("only a struct, a list of structs or a map to structs takes new fields")),
    }
}

/// Refuses a name that is taken by another column, or by partitions of another column.
fn check_name(
    design: &Design<'_>,
    (parent, column): (Parent, Option<i32>),
    name: &str,
    path: &str,
) -> Result<()> {
    if name.is_empty() || name.contains('.') {
        return Err(Error::invalid(format!("`{name}` is no name of a column"))
            .with_help("a name is not empty and has no dot"));
    }
    if design.draft.siblings(parent)?.iter().any(|field| field.name == name) {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("the table has a column `{path}` already"),
        ));
    }
    let mut partitions = design.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    if partitions.any(|field| field.name == path && Some(field.source_id) != column) {
        return Err(Error::invalid(format!("a column cannot be called `{path}`"))
            .with_note("partitions of this table have a field of that name")
            .with_help("choose another name"));
    }
    Ok(())
}

/// Types that came with version 3 need it.
fn check_version(design: &Design<'_>, path: &str, column_type: &Type) -> Result<()> {
    let is_new = match column_type {
        Type::Primitive(primitive) => {
            matches!(primitive, PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs)
        }
        Type::List(list) => return check_version(design, path, &list.element_field.field_type),
        Type::Map(map) => {
            check_version(design, path, &map.key_field.field_type)?;
            return check_version(design, path, &map.value_field.field_type);
        }
        Type::Struct(fields) => {
            let mut fields = fields.fields().iter();
            return fields.try_for_each(|field| check_version(design, path, &field.field_type));
        }
    };
    let version = design.metadata.format_version();
    if is_new && version < FormatVersion::V3 {
        return Err(Error::unsupported(format!(
            "column `{path}` cannot be `{}` in a table of format version {}",
            spelled(column_type),
            version as u8
        ))
        .with_help("store microseconds: `timestamp` or `timestamptz`"));
    }
    Ok(())
}

/// Where among its siblings a column goes.
fn index_of(draft: &Draft, parent: Parent, place: &ColumnPlace) -> Result<usize> {
    let siblings = draft.siblings(parent)?;
    let find = |name: &str| {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        let found = siblings.iter().position(|field| field.name == leaf || field.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = siblings.iter().map(|field| field.name.as_str()).collect();
            Error::not_found(format!("there is no column `{name}` beside it"))
                .with_note(format!("columns beside it: {}", names.join(", ")))
                .with_candidates(name, names.iter().copied())
        })
    };
    Ok(match place {
        ColumnPlace::First => 0,
        ColumnPlace::Last => siblings.len(),
        ColumnPlace::Before(name) => find(name)?,
        ColumnPlace::After(name) => find(name)? + 1,
    })
}

/// Drops a column.
pub(super) fn drop(design: &mut Design<'_>, path: &str) -> Result<()> {
    let field = design.draft.find(path)?;
    let parent = parent_of(&design.draft, &field, path, "dropped")?;
    let ids: BTreeSet<i32> = ids_of(&field).into_iter().collect();
    check_unused(design, path, &ids)?;
    if design.draft.siblings(parent)?.len() == 1 {
        return Err(Error::invalid(format!("column `{path}` is the only one left"))
            .with_help("drop what it is a part of, or add another column first"));
    }
    design.draft.edit_siblings(parent, |fields| fields.retain(|other| other.id != field.id));
    Ok(())
}

/// Refuses to drop what the layout of the table or its identifier is made of.
fn check_unused(design: &Design<'_>, path: &str, ids: &BTreeSet<i32>) -> Result<()> {
    let in_use = |by: String| Error::invalid(format!("column `{path}` cannot be dropped: {by}"));
    let partition = design.partition.iter().find(|field| ids.contains(&field.source_id));
    if let Some(field) = partition {
        return Err(in_use(format!("the table is partitioned by it, as `{}`", field.name))
            .with_help("partition the table by something else in the same step"));
    }
    let mut past = design.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    let past =
        past.find(|field| ids.contains(&field.source_id) && field.transform != Transform::Void);
    if let Some(field) = past {
        return Err(in_use(format!("older files are partitioned by it, as `{}`", field.name))
            .with_note("other engines do not open a table whose partitions have no column"));
    }
    if design.sort.iter().any(|field| ids.contains(&field.source_id)) {
        return Err(in_use("the table is sorted by it".to_owned())
            .with_help("sort the table by something else in the same step"));
    }
    if let Some(id) = design.draft.identifier.intersection(ids).next() {
        return Err(in_use(format!("`{}` identifies rows", design.draft.path_of(*id)))
            .with_help("choose another identifier in the same step"));
    }
    Ok(())
}

/// What a field that has a name of its own is a part of.
fn parent_of(draft: &Draft, field: &NestedField, path: &str, done: &str) -> Result<Parent> {
    match draft.parent_of(field.id) {
        Some(Parent::Collection(_)) | None => {
            Err(Error::invalid(format!("`{path}` is part of a list or map and cannot be {done}")))
        }
        Some(_) if draft.is_in_key(field.id) => {
            Err(Error::invalid(format!("`{path}` is part of a map's key and cannot be {done}")))
        }
        Some(parent) => Ok(parent),
    }
}

/// Gives a column another name.
pub(super) fn rename(design: &mut Design<'_>, path: &str, to: &str) -> Result<()> {
    let field = design.draft.find(path)?;
    if field.name == to {
        return Ok(());
    }
    let parent = parent_of(&design.draft, &field, path, "renamed")?;
    let new_path = match path.strip_suffix(field.name.as_str()) {
        Some(before) => format!("{before}{to}"),
        None => to.to_owned(),
    };
    check_name(design, (parent, Some(field.id)), to, &new_path)?;
    design.draft.edit(field.id, |field| NestedField { name: to.to_owned(), ..field });
    Ok(())
}

/// Lets a column hold more.
pub(super) fn widen(design: &mut Design<'_>, path: &str, to: &ColumnType) -> Result<()> {
    let field = design.draft.find(path)?;
    let from = field.field_type.as_ref();
    if *from == to.0 {
        return Ok(());
    }
    if design.draft.is_in_key(field.id) {
        return Err(Error::invalid(format!("`{path}` is part of a map's key and cannot change")));
    }
    if !may_become(from, &to.0) {
        let error = Error::invalid(format!(
            "column `{path}` is `{}` and cannot become `{to}`",
            spelled(from)
        ));
        return Err(error
            .with_note("a column widens from int to long, float to double, and to more digits")
            .with_help("add a column of the wanted type and fill it"));
    }
    let field_type = Box::new(to.0.clone());
    design.draft.edit(field.id, |field| NestedField { field_type, ..field });
    Ok(())
}

/// The promotions that Iceberg allows without rewriting a file.
pub(super) fn may_become(stored: &Type, wanted: &Type) -> bool {
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

/// Lets a column be null.
pub(super) fn make_optional(design: &mut Design<'_>, path: &str) -> Result<()> {
    let field = design.draft.find(path)?;
    if design.draft.is_in_key(field.id) {
        return Err(Error::invalid(format!("`{path}` is part of a map's key and is never null")));
    }
    let ids: BTreeSet<i32> = ids_of(&field).into_iter().collect();
    if let Some(id) = design.draft.identifier.intersection(&ids).next() {
        return Err(Error::invalid(format!("column `{path}` cannot be optional"))
            .with_note(format!(
                "`{}` identifies rows, and is never null",
                design.draft.path_of(*id)
            ))
            .with_help("choose another identifier in the same step"));
    }
    design.draft.edit(field.id, |field| NestedField { required: false, ..field });
    Ok(())
}

/// Says what a column means.
pub(super) fn document(design: &mut Design<'_>, path: &str, doc: Option<&str>) -> Result<()> {
    let field = design.draft.find(path)?;
    let doc = doc.map(str::to_owned);
    design.draft.edit(field.id, |field| NestedField { doc, ..field });
    Ok(())
}

/// Gives a column another place among its siblings.
pub(super) fn relocate(design: &mut Design<'_>, path: &str, to: &ColumnPlace) -> Result<()> {
    let field = design.draft.find(path)?;
    let parent = parent_of(&design.draft, &field, path, "moved")?;
    let is_itself = |name: &String| name == path || *name == field.name;
    if matches!(to, ColumnPlace::Before(name) | ColumnPlace::After(name) if is_itself(name)) {
        return Err(Error::invalid(format!("column `{path}` cannot be moved beside itself")));
    }
    // The column to go beside is known before this one is taken out.
    index_of(&design.draft, parent, to)?;
    design.draft.edit_siblings(parent, |fields| fields.retain(|other| other.id != field.id));
    let place = index_of(&design.draft, parent, to)?;
    design.draft.edit_siblings(parent, |fields: &mut Vec<NestedFieldRef>| {
        fields.insert(place.min(fields.len()), field);
    });
    Ok(())
}

/// Says which columns tell a row from every other one.
pub(super) fn identify(design: &mut Design<'_>, wanted: &[String]) -> Result<()> {
    let mut ids = BTreeSet::new();
    for path in wanted {
        let field = design.draft.find(path)?;
        let cannot =
            |why: &str| Error::invalid(format!("column `{path}` cannot identify rows: {why}"));
        match field.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
                return Err(cannot("it is a floating-point number"));
            }
            Type::Primitive(_) => {}
            _ => return Err(cannot("it holds more than one value")),
        }
        if !field.required {
            return Err(cannot("it is optional").with_help(
                "Iceberg wants identifiers that are never null; create the column as required",
            ));
        }
        let mut id = field.id;
        while let Some(parent) = design.draft.parent_of(id) {
            match parent {
                Parent::Table => break,
                Parent::Collection(_) => return Err(cannot("it lies in a list or a map")),
                Parent::Struct(of) => {
                    let schema = design.draft.indexed()?;
                    if !schema.field_by_id(of).is_some_and(|field| field.required) {
                        return Err(cannot("it lies in a struct that is optional"));
                    }
                    id = of;
                }
            }
        }
        ids.insert(field.id);
    }
    design.draft.identifier = ids;
    Ok(())
}
