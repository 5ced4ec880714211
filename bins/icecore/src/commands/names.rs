//! `icecore table rename`, `register` and `drop`: which names lead to which tables.

use icecore::Project;
use icecore_core::{Error, Result, TableName};
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
    let found = project.catalog().describe(name).await?;
    if !yes {
        return Err(Error::invalid(format!("dropping `{name}` forgets all of its versions"))
            .with_note(format!("its files stay in `{}`", found.location))
            .with_help("repeat the command with `--yes`"));
    }
    project.drop_table_or_view(name).await?;
    let json = json!({
        "table": name, "dropped": true, "location": found.location,
        "metadata_location": found.metadata_location,
    });
    let text = format!(
        "`{name}` is dropped; its files stay in {}\n\
         undo: icecore table register {name} {}",
        found.location, found.metadata_location
    );
    Ok(Answer::new(json, text))
}
