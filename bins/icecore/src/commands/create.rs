//! `icecore table create`: a table without rows.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use icecore::Project;
use icecore::catalog::TableDesign;
use icecore::files::{FileReadOptions, read_files};
use icecore_core::{Error, NewTable, Result, SnapshotCatalog as _, TableName};
use serde_json::{Value, json};

use super::properties;
use crate::args::create::CreateArgs;
use crate::report::{Answer, facts};

pub(super) async fn run(project: &Project, args: CreateArgs) -> Result<Answer> {
    let new = new_table(&args).await?;
    let design = project.catalog().design_table(&args.table, &new).await?;
    if !args.dry_run {
        project.catalog().ensure_table(&args.table, &new).await?;
    }
    let warnings = args.property.iter().filter_map(|(name, _)| properties::mistyped(name));
    Ok(answer(&args.table, &design, (args.dry_run, &warnings.collect::<Vec<_>>())))
}

async fn new_table(args: &CreateArgs) -> Result<NewTable> {
    let mut fields: Vec<FieldRef> = match &args.from {
        Some(file) => columns_of(file, args.format_version).await?,
        None => Vec::new(),
    };
    for column in &args.columns {
        fields.push(Arc::new(column.column_type.field(&column.name, true)?));
    }
    let top = |name: &String| !name.contains('.');
    for name in args.required.iter().chain(args.identifier.iter().filter(|name| top(name))) {
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let field = fields.iter_mut().find(|field| field.name() == name).ok_or_else(|| {
            Error::not_found(format!("there is no column `{name}` to have a value in every row"))
                .with_candidates(name, names.iter().map(String::as_str))
        })?;
        *field = Arc::new(Field::clone(field).with_nullable(false));
    }
    let mut new = NewTable::new(Arc::new(Schema::new(fields)))
        .with_partition_by(args.partition.iter().cloned())
        .with_sort_by(args.sort.iter().cloned())
        .with_identifier(args.identifier.iter().cloned());
    new.properties = args.property.iter().cloned().collect();
    new.format_version = args.format_version;
    Ok(new)
}

/// The columns that a file's rows would have in a table of their own.
async fn columns_of(file: &Path, format_version: Option<u8>) -> Result<Vec<FieldRef>> {
    let mut options = FileReadOptions::default();
    options.keeps_nanoseconds = format_version == Some(3);
    let rows = read_files(&[file.to_owned()], options).await?;
    Ok(rows.stream.schema().fields().iter().cloned().collect())
}

fn answer(
    name: &TableName,
    design: &TableDesign,
    (dry_run, warnings): (bool, &[String]),
) -> Answer {
    let columns: Vec<Value> = design
        .columns
        .iter()
        .map(|(name, holds, required)| {
            json!({ "name": name, "type": holds.to_string(), "nullable": !required })
        })
        .collect();
    let json = json!({
        "table": name, "created": !dry_run, "dry_run": dry_run, "columns": columns,
        "identifier": design.identifier, "partition_by": design.partition_by,
        "sort_by": design.sort_by, "properties": design.properties,
        "format_version": design.format_version, "warnings": warnings,
    });
    let mut lines: Vec<(&str, String)> = design
        .columns
        .iter()
        .map(|(name, holds, required)| {
            let must = if *required { "required" } else { "optional" };
            ("column", format!("{name} {holds} {must}"))
        })
        .collect();
    for (what, list) in [
        ("identifier", &design.identifier),
        ("partition by", &design.partition_by),
        ("sort by", &design.sort_by),
    ] {
        if !list.is_empty() {
            lines.push((what, list.join(", ")));
        }
    }
    let properties = design.properties.iter();
    lines.extend(properties.map(|(name, value)| ("property", format!("{name} = {value}"))));
    lines.push(("format", design.format_version.to_string()));
    lines.extend(warnings.iter().map(|warning| ("warning", warning.clone())));
    let verb = if dry_run { "would be made" } else { "is made" };
    Answer::new(json, format!("`{name}` {verb}\n{}", facts(&lines)))
}
