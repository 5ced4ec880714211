//! `icecore table rename`, `register` and `drop`: which names lead to which tables.

use icecore::Project;
use icecore_core::{Error, ErrorKind, Result, TableName};
use serde_json::json;

use crate::report::Answer;

pub(super) async fn rename(project: &Project, name: &TableName, to: &TableName) -> Result<Answer> {
    project.rename_table(name, to).await?;
    let json = json!({ "table": to, "was": name });
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
) -> Result<Answer> {
    project.register_table(name, metadata).await?;
    let found = project.catalog().describe(name).await?;
    let json = json!({
        "table": name, "uuid": found.uuid, "location": found.location,
        "metadata_location": found.metadata_location, "snapshot_id": found.head,
    });
    Ok(Answer::new(json, format!("`{name}` is the table whose files are in {}", found.location)))
}

pub(super) async fn drop(project: &Project, name: &TableName, yes: bool) -> Result<Answer> {
    // A view has no files: what it is can be made again from its query.
    if project.engine().views().await?.contains_key(name) {
        project.drop_table_or_view(name).await?;
        let json = json!({ "table": name, "dropped": true, "location": null });
        return Ok(Answer::new(json, format!("view `{name}` is dropped")));
    }
    // A table whose metadata is broken can be dropped, too.
    let location = match project.catalog().describe(name).await {
        Ok(found) => Some(found.location),
        Err(error) if error.kind() == ErrorKind::DataCorrupt => None,
        Err(error) => return Err(error),
    };
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
    });
    let mut text = format!("`{name}` is dropped; its files stay where they are");
    if let Some(metadata) = metadata {
        text.push_str(&format!("\nundo: icecore table register {name} {metadata}"));
    }
    Ok(Answer::new(json, text))
}
