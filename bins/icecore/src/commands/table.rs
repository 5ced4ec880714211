//! `icecore table`: the version control of data.

use icecore::Project;
use icecore::catalog::{RefKind, Retention, TagMove};
use icecore_core::{
    Error, ErrorKind, RefName, Result, SnapshotCatalog, SnapshotId, SnapshotInfo, SnapshotSelector,
    TableName,
};
use serde_json::json;

use super::Context;
use super::{alter, changes, create, names, properties, refs, sql, upkeep};
use crate::args;
use crate::args::table::TableCommand;
use crate::report::{Answer, column_lines, columns, counted, facts, table, table_or};

pub(super) async fn run(context: &Context, command: TableCommand) -> Result<Answer> {
    let project = context.open().await?;
    match command {
        TableCommand::List => list(&project).await,
        TableCommand::Show { table } => show(&project, &table).await,
        TableCommand::Log { table, limit, branch } => {
            log(&project, &table, limit, branch.as_ref()).await
        }
        TableCommand::Diff { table, a, b, key, rows } => {
            diff(&project, &table, [&a, &b], &key, rows).await
        }
        TableCommand::Create(args) => create::run(&project, args).await,
        TableCommand::Alter(args) => alter::run(&project, args).await,
        TableCommand::Changes(args) => changes::run(&project, args).await,
        TableCommand::Tag { table, name, at, force, max_ref_age, dry_run } => {
            let moving = if force { TagMove::Force } else { TagMove::Refuse };
            let mut keep = Retention::default();
            keep.max_ref_age_ms = max_ref_age.map(|age| (age.micros() / 1000).max(1));
            refs::tag(&project, &table, (&name, &at), (moving, keep), dry_run).await
        }
        TableCommand::Untag { table, name, dry_run } => {
            refs::untag(&project, &table, &name, dry_run).await
        }
        TableCommand::Branch(args) => refs::branch(&project, args).await,
        TableCommand::Retain(args) => refs::retain(&project, args).await,
        TableCommand::FastForward(args) => refs::fast_forward(&project, args).await,
        TableCommand::Publish(args) => refs::publish(&project, args).await,
        TableCommand::CherryPick(args) => refs::cherry_pick(&project, args).await,
        TableCommand::Set(args) => properties::set(&project, args).await,
        TableCommand::Upgrade(args) => refs::upgrade(&project, args).await,
        TableCommand::Rollback(args) => refs::rollback(&project, args).await,
        TableCommand::Export { table, at, output } => {
            let pin = project.catalog().pin(&table, &at).await?;
            let rows = project.catalog().scan(&pin, icecore_core::ScanOptions::default()).await?;
            let rows = sql::write_file(rows, &output, None).await?;
            let json = json!({ "table": table, "snapshot_id": pin.snapshot, "rows": rows, "output": output });
            let text = format!("{} of {pin} in {}", counted(rows, "row"), output.display());
            Ok(Answer::new(json, text))
        }
        TableCommand::Expire(args) => upkeep::expire(context, &project, args).await,
        TableCommand::RewriteManifests(args) => {
            upkeep::rewrite_manifests(context, &project, args).await
        }
        TableCommand::Compact(args) => Box::pin(upkeep::compact(context, &project, args)).await,
        TableCommand::Clean(args) => upkeep::clean(context, &project, args).await,
        TableCommand::Delete(args) => super::rows::delete(&project, args).await,
        TableCommand::Rename { table, to, dry_run } => {
            names::rename(&project, &table, &to, dry_run).await
        }
        TableCommand::Register { table, metadata, dry_run } => {
            names::register(&project, &table, &metadata, dry_run).await
        }
        TableCommand::Drop { table, yes, dry_run } => {
            names::drop(&project, &table, (yes, dry_run)).await
        }
    }
}

async fn list(project: &Project) -> Result<Answer> {
    let mut lines = Vec::new();
    let mut documents = Vec::new();
    for name in project.catalog().tables().await? {
        let history = match project.catalog().history(&name).await {
            Ok(history) => history,
            // One table that cannot be read hides no other.
            Err(error) if is_of_table(&error) => {
                documents.push(json!({ "table": name, "error": error.to_string() }));
                let dash = || "-".to_owned();
                lines.push([name.to_string(), dash(), dash(), dash(), error.to_string(), dash()]);
                continue;
            }
            Err(error) => return Err(error),
        };
        let head = history.iter().rfind(|snapshot| snapshot.on_main);
        let rows = head.map_or(0, |head| head.count("total-records"));
        let files = head.map_or(0, |head| head.count("total-data-files"));
        documents.push(json!({
            "table": name,
            "snapshot_id": head.map(|head| head.id),
            "rows": rows,
            "files": files,
            "snapshots": history.len(),
            "committed_at": head.map(|head| head.committed_at),
        }));
        lines.push([
            name.to_string(),
            rows.to_string(),
            files.to_string(),
            history.len().to_string(),
            head.map(|head| args::id(head.id)).unwrap_or_default(),
            head.map(|head| head.committed_at.to_string()).unwrap_or_default(),
        ]);
    }
    let header = ["table", "rows", "files", "snapshots", "current snapshot", "committed"];
    let empty = "there is no table; make one with `icecore ingest NAMESPACE.TABLE FILE`";
    Ok(Answer::new(json!(documents), table_or(&header, lines, empty)))
}

/// Whether an error is about what one table holds, and not about what cannot be reached.
fn is_of_table(error: &Error) -> bool {
    let kinds = [ErrorKind::Unsupported, ErrorKind::DataCorrupt, ErrorKind::LimitExceeded];
    kinds.contains(&error.kind())
}

async fn show(project: &Project, name: &TableName) -> Result<Answer> {
    let found = project.catalog().describe(name).await?;
    let refs = project.catalog().refs(name).await?;
    let columns = columns(&found.schema);
    let json = json!({
        "table": name, "uuid": found.uuid, "location": found.location,
        "metadata_location": found.metadata_location, "format_version": found.format_version,
        "snapshot_id": found.head, "columns": columns, "partition_by": found.partition_by,
        "sort_by": found.sort_by, "identifier": found.identifier, "properties": found.properties,
        "refs": refs.iter().map(|r| json!({
            "name": r.name, "snapshot_id": r.snapshot, "kind": kind(r.kind),
            "max_ref_age_ms": r.retention.max_ref_age_ms,
            "min_snapshots_to_keep": r.retention.min_snapshots_to_keep,
            "max_snapshot_age_ms": r.retention.max_snapshot_age_ms,
        })).collect::<Vec<_>>(),
    });
    let mut lines = vec![
        ("table", name.to_string()),
        ("uuid", found.uuid.clone()),
        ("location", found.location.clone()),
        ("metadata", found.metadata_location.clone()),
        ("format version", found.format_version.to_string()),
        ("snapshot", found.head.map(args::id).unwrap_or_default()),
        ("partition by", found.partition_by.join(", ")),
        ("sort by", found.sort_by.join(", ")),
        ("identifier", found.identifier.join(", ")),
    ];
    lines.extend(column_lines(&found.schema));
    lines.extend(refs.iter().map(|r| (kind(r.kind), format!("{} -> {}", r.name, r.snapshot))));
    lines.extend(
        found.properties.iter().map(|(key, value)| ("property", format!("{key} = {value}"))),
    );
    Ok(Answer::new(json, facts(&lines)))
}

const fn kind(kind: RefKind) -> &'static str {
    match kind {
        RefKind::Branch => "branch",
        RefKind::Tag => "tag",
    }
}

async fn log(
    project: &Project,
    name: &TableName,
    limit: Option<usize>,
    branch: Option<&RefName>,
) -> Result<Answer> {
    let mut history = project.catalog().history(name).await?;
    history.reverse();
    if let Some(branch) = branch {
        let head = project.catalog().pin(name, &SnapshotSelector::Ref(branch.clone())).await?;
        history = line_of(history, head.snapshot);
    }
    history.truncate(limit.unwrap_or(usize::MAX));
    let names = |snapshot: &SnapshotInfo| -> Vec<String> {
        snapshot.refs.iter().map(ToString::to_string).collect()
    };
    let json = history.iter().map(|snapshot| {
        json!({
            "snapshot_id": snapshot.id,
            "parent_id": snapshot.parent,
            "committed_at": snapshot.committed_at,
            "operation": snapshot.operation,
            "added_rows": snapshot.count("added-records"),
            "removed_rows": snapshot.removed_rows(),
            "total_rows": snapshot.count("total-records"),
            "refs": names(snapshot),
            "on_main": snapshot.on_main,
            "summary": snapshot.summary,
        })
    });
    let rows = history.iter().map(|snapshot| {
        [
            args::id(snapshot.id),
            snapshot.committed_at.to_string(),
            snapshot.operation.clone(),
            format!("+{}", snapshot.count("added-records")),
            format!("-{}", snapshot.removed_rows()),
            names(snapshot).join(", "),
            (if snapshot.on_main { "" } else { "left behind" }).to_owned(),
        ]
    });
    let header = ["snapshot", "committed", "operation", "rows", "", "refs", ""];
    Ok(Answer::new(json.collect(), table(&header, rows)))
}

/// A snapshot and those that it was made from, of a history that begins with the newest.
fn line_of(history: Vec<SnapshotInfo>, head: SnapshotId) -> Vec<SnapshotInfo> {
    let mut next = Some(head);
    let mut line = Vec::new();
    for snapshot in history {
        if Some(snapshot.id) == next {
            next = snapshot.parent;
            line.push(snapshot);
        }
    }
    line
}

async fn diff(
    project: &Project,
    name: &TableName,
    [a, b]: [&SnapshotSelector; 2],
    key: &[String],
    limit: usize,
) -> Result<Answer> {
    let a = project.catalog().pin(name, a).await?;
    let b = project.catalog().pin(name, b).await?;
    let found = project.engine().diff(&a, &b, key).await?;
    let preview = found.rows(Some(limit)).await?.concat().await?;
    let json = json!({
        "table": name, "a": a.snapshot, "b": b.snapshot,
        "added": found.added, "removed": found.removed, "changed": found.changed,
        "columns_added": found.columns_added, "columns_removed": found.columns_removed,
        "rows": icecore::rows::to_json(&preview)?,
    });
    let mut text = format!(
        "{} added, {} removed, {} changed between {} and {}",
        found.added, found.removed, found.changed, a.snapshot, b.snapshot
    );
    if preview.num_rows() > 0 {
        text.push('\n');
        text.push_str(&crate::rows::text(&[preview])?);
    }
    Ok(Answer::new(json, text))
}
