//! `icecore table alter`: columns, partitioning and order of a table.

use icecore::Project;
use icecore::catalog::{AlterOptions, Alteration, Altered, ColumnPlace, NewColumn};
use icecore_core::{Error, Result, TableName};
use serde_json::json;

use crate::args::alter::{AlterArgs, AlterCommand, PlaceArgs};
use crate::report::{Answer, column_lines, columns, facts};

pub(super) async fn run(project: &Project, args: AlterArgs) -> Result<Answer> {
    let alterations = alterations(args.change)?;
    let options = if args.dry_run { AlterOptions::dry_run() } else { AlterOptions::default() };
    let done = project.catalog().alter(&args.table, &alterations, options).await?;
    Ok(answer(&args.table, &alterations, &done, args.dry_run))
}

fn alterations(change: AlterCommand) -> Result<Vec<Alteration>> {
    let each = |texts: Vec<String>, make: fn(String) -> Alteration| {
        Ok(texts.into_iter().map(make).collect())
    };
    Ok(vec![match change {
        AlterCommand::Add { column, column_type, required, default, doc, place } => {
            let default = default.map(|text| column_type.literal(&text)).transpose()?;
            let mut new = NewColumn::new(column, column_type);
            new.required = required;
            new.default = default;
            new.doc = doc;
            new.place = place_of(place).unwrap_or_default();
            Alteration::AddColumn(new)
        }
        AlterCommand::Drop { columns } => return each(columns, Alteration::DropColumn),
        AlterCommand::Rename { column, to } => Alteration::RenameColumn { column, to },
        AlterCommand::Widen { column, to } => Alteration::WidenColumn { column, to },
        AlterCommand::Optional { columns } => return each(columns, Alteration::MakeOptional),
        AlterCommand::Move { column, place } => {
            let to = place_of(place).ok_or_else(|| {
                Error::invalid(format!("where to move `{column}` is missing"))
                    .with_help("say --first, --last, --before COLUMN or --after COLUMN")
            })?;
            Alteration::MoveColumn { column, to }
        }
        AlterCommand::Doc { column, text } => Alteration::Document { column, doc: text },
        AlterCommand::Identifier { columns } => Alteration::SetIdentifier(columns),
        AlterCommand::PartitionBy { fields } => Alteration::PartitionBy(fields),
        AlterCommand::PartitionAdd { fields } => return each(fields, Alteration::AddPartition),
        AlterCommand::PartitionDrop { fields } => return each(fields, Alteration::DropPartition),
        AlterCommand::SortBy { columns } => Alteration::SortBy(columns),
    }])
}

fn place_of(place: PlaceArgs) -> Option<ColumnPlace> {
    match place {
        PlaceArgs { first: true, .. } => Some(ColumnPlace::First),
        PlaceArgs { last: true, .. } => Some(ColumnPlace::Last),
        PlaceArgs { before: Some(column), .. } => Some(ColumnPlace::Before(column)),
        PlaceArgs { after: Some(column), .. } => Some(ColumnPlace::After(column)),
        _ => None,
    }
}

fn answer(name: &TableName, alterations: &[Alteration], done: &Altered, dry_run: bool) -> Answer {
    let columns = columns(&done.schema);
    let words: Vec<String> = alterations.iter().map(ToString::to_string).collect();
    let json = json!({
        "table": name, "changed": done.changed, "dry_run": dry_run, "changes": words,
        "snapshot_id": done.pinned.snapshot, "columns": columns, "identifier": done.identifier,
        "partition_by": done.partition_by, "sort_by": done.sort_by,
    });
    let verb = match (done.changed, dry_run) {
        (false, _) => "has that already",
        (true, true) => "would be altered",
        (true, false) => "is altered",
    };
    let mut lines: Vec<(&str, String)> = words.into_iter().map(|text| ("change", text)).collect();
    lines.extend(column_lines(&done.schema));
    for (what, list) in [
        ("identifier", &done.identifier),
        ("partition by", &done.partition_by),
        ("sort by", &done.sort_by),
    ] {
        if !list.is_empty() {
            lines.push((what, list.join(", ")));
        }
    }
    Answer::new(json, format!("`{name}` {verb}\n{}", facts(&lines)))
}
