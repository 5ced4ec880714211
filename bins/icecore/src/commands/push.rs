//! `icecore push`.

use icecore::PushJob;
use icecore_core::Result;
use serde_json::json;

use super::Context;
use crate::args::push::PushArgs;
use crate::report::{Answer, facts};

pub(super) async fn run(context: &Context, args: PushArgs) -> Result<Answer> {
    let project = context.open().await?;
    context.progress.say(format!("pushing to {}", args.source));
    let PushArgs { source, files, to, key, dry_run } = args;
    let report = project.push(PushJob { source, files, to, key, dry_run }).await?;
    let mut lines = vec![
        ("source", report.source.clone()),
        ("rows", report.rows.to_string()),
        ("pushed before", report.repeated.to_string()),
    ];
    match &report.committed {
        None => lines.push(("dry run", "nothing was pushed".to_owned())),
        Some(commit) => {
            lines.push(("table", commit.table.to_string()));
            let state =
                commit.snapshot_id.map_or_else(|| "unchanged".to_owned(), |id| id.to_string());
            lines.push(("snapshot", state));
        }
    }
    Ok(Answer::new(json!(report), facts(&lines)))
}
