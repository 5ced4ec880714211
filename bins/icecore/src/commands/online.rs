//! `icecore online`.

use icecore_core::Result;
use serde_json::json;

use super::Context;
use crate::args::OnlineCommand;
use crate::report::{Answer, table};

pub(super) async fn run(context: &Context, command: OnlineCommand) -> Result<Answer> {
    let OnlineCommand::Get { keys } = command;
    let project = context.open().await?;
    let store = project.online().await?;
    let values: Vec<Option<String>> = store
        .get(&keys)
        .await?
        .into_iter()
        .map(|value| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .collect();
    let json = keys.iter().zip(&values).map(|(key, value)| json!({"key": key, "value": value}));
    let rows = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| [key.clone(), value.clone().unwrap_or_else(|| "(absent)".to_owned())]);
    Ok(Answer::new(json.collect(), table(&["key", "value"], rows)))
}
