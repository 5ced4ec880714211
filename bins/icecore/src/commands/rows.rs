//! Changing rows of tables.

use icecore::catalog::{RowChanges, RowOptions};
use icecore::{Project, RowWrite};
use icecore_core::{CommitOptions, Error, Result};
use serde_json::{Value, json};

use crate::args::ingest::{IngestArgs, Mode};
use crate::args::rows::{DeleteArgs, RowArgs};
use crate::report::{Answer, facts};

/// `icecore table delete`.
pub(super) async fn delete(project: &Project, args: DeleteArgs) -> Result<Answer> {
    let mut commit = CommitOptions::default();
    (commit.branch, commit.job_id) = (args.branch, args.job_id);
    let mut options = RowOptions::default().with_commit(commit);
    options.mode = args.mode.map(Into::into);
    options.dry_run = args.dry_run || !args.yes;
    let changes = project.delete_rows(&args.table, &args.r#where, options).await?;
    if !args.dry_run && !args.yes && changes.changed {
        return Err(Error::invalid(format!(
            "this would delete {} rows of `{}`",
            changes.deleted, args.table
        ))
        .with_note(format!(
            "{} files would be removed, and rows of {} others",
            changes.files_removed, changes.files_touched
        ))
        .with_note("earlier versions of the table keep them until they are expired")
        .with_help("repeat the command with `--yes`"));
    }
    let mut document = json!({
        "table": args.table,
        "snapshot_id": changes.pinned.snapshot,
        "rows": changes.deleted,
        "changed": changes.changed && !args.dry_run,
        "dry_run": args.dry_run,
    });
    add_counts(&mut document, &changes);
    let rows = match (args.dry_run, changes.changed) {
        (true, _) => format!("{} would be deleted", changes.deleted),
        (false, true) => format!("{} deleted", changes.deleted),
        (false, false) => "none deleted: none is meant, or this job was done before".to_owned(),
    };
    let lines = [
        ("rows", rows),
        ("files removed", changes.files_removed.to_string()),
        ("files touched", changes.files_touched.to_string()),
        ("table", changes.pinned.to_string()),
    ];
    Ok(Answer::new(document, facts(&lines)))
}

/// What of an `icecore ingest` looks at the rows that are there.
pub(super) fn row_write(args: &IngestArgs) -> Result<Option<RowWrite>> {
    let RowArgs { key, r#where: condition, row_mode, .. } = &args.rows;
    let is_upsert = args.mode == Mode::Upsert;
    match condition {
        Some(_) if args.mode != Mode::Overwrite => {
            return Err(Error::invalid("`--where` says which rows `--mode overwrite` replaces"));
        }
        Some(condition) => {
            let mode = row_mode.map(Into::into);
            return Ok(Some(RowWrite::OverwriteWhere { condition: condition.clone(), mode }));
        }
        None => {}
    }
    match (is_upsert, key.is_empty()) {
        (true, true) => Err(Error::invalid("`--mode upsert` needs the columns of a key")
            .with_help("name them with `--key user_token,feature_date`")),
        (false, false) => Err(Error::invalid("`--key` says what `--mode upsert` finds rows by")),
        (true, false) => {
            let options = args.rows.upsert_options();
            Ok(Some(RowWrite::Upsert { key: key.clone(), options }))
        }
        (false, true) => Ok(None),
    }
}

/// Adds what became of rows one by one to a document.
pub(super) fn add_counts(document: &mut Value, changes: &RowChanges) {
    let Some(fields) = document.as_object_mut() else { return };
    for (name, count) in [
        ("added", changes.inserted),
        ("updated", changes.updated),
        ("removed", changes.deleted),
        ("files_removed", changes.files_removed),
        ("files_touched", changes.files_touched),
    ] {
        fields.insert(name.to_owned(), count.into());
    }
}

/// The same for people.
pub(super) fn counts(changes: &RowChanges) -> String {
    format!(
        "{} inserted, {} updated, {} deleted",
        changes.inserted, changes.updated, changes.deleted
    )
}
