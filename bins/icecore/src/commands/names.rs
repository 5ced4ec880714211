//! `icecore table rename`, `register` and `drop`: which names lead to which tables.

use icecore::Project;
use icecore_core::{Error, ErrorKind, Result, TableName};
use serde_json::json;

use crate::report::Answer;

pub(super) async fn rename(
    project: &Project,
    name: &TableName,
    to: &TableName,
    dry_run: bool,
) -> Result<Answer> {
    let json = json!({ "table": to, "was": name, "dry_run": dry_run });
    if dry_run {
        project.check_rename_table(name, to).await?;
        return Ok(Answer::new(json, format!("`{name}` would be called `{to}`")));
    }
    project.rename_table(name, to).await?;
    let text = format!(
        "`{name}` is called `{to}` now; definitions, models and locks that name it do not know that\n\
         undo: icecore table rename {to} {name}"
    );
    Ok(Answer::new(json, text))
}

pub(super) async fn register(
    project: &Project,
    name: &TableName,
    metadata: &str,
    dry_run: bool,
) -> Result<Answer> {
    if dry_run {
        project.check_register_table(name, metadata).await?;
        let json = json!({ "table": name, "metadata_location": metadata, "dry_run": true });
        return Ok(Answer::new(json, format!("`{name}` would be the table of {metadata}")));
    }
    project.register_table(name, metadata).await?;
    let found = project.catalog().describe(name).await?;
    let json = json!({
        "table": name, "uuid": found.uuid, "location": found.location,
        "metadata_location": found.metadata_location, "snapshot_id": found.head,
    });
    Ok(Answer::new(json, format!("`{name}` is the table whose files are in {}", found.location)))
}

pub(super) async fn drop(
    project: &Project,
    name: &TableName,
    (yes, dry_run): (bool, bool),
) -> Result<Answer> {
    // A view has no files: what it is can be made again from its query.
    if project.engine().views().await?.contains_key(name) {
        if !dry_run {
            project.drop_table_or_view(name).await?;
        }
        let json = json!({
            "table": name, "dropped": !dry_run, "location": null, "dry_run": dry_run,
        });
        let verb = if dry_run { "would be" } else { "is" };
        return Ok(Answer::new(json, format!("view `{name}` {verb} dropped")));
    }
    // A table whose metadata is broken can be dropped, too.
    let location = match project.catalog().describe(name).await {
        Ok(found) => Some(found.location),
        Err(error) if error.kind() == ErrorKind::DataCorrupt => None,
        Err(error) => return Err(error),
    };
    if dry_run {
        let json = json!({
            "table": name, "dropped": false, "location": location, "dry_run": true,
        });
        let stay = location.map_or_else(String::new, |location| format!(" in {location}"));
        let text = format!("`{name}` would be dropped; its files would stay{stay}");
        return Ok(Answer::new(json, text));
    }
    if !yes {
        let error = Error::invalid(format!("dropping `{name}` forgets all of its versions"));
        let error = match &location {
            Some(location) => error.with_note(format!("its files stay in `{location}`")),
            None => error.with_note("its metadata cannot be read; its files stay where they are"),
        };
        return Err(error.with_help("repeat the command with `--yes`"));
    }
    let metadata = project.drop_table_or_view(name).await?;
    let json = json!({
        "table": name, "dropped": true, "location": location, "metadata_location": metadata,
        "dry_run": false,
    });
    let mut text = format!("`{name}` is dropped; its files stay where they are");
    if let Some(metadata) = metadata {
        text.push_str(&format!("\nundo: icecore table register {name} {metadata}"));
    }
    Ok(Answer::new(json, text))
}
