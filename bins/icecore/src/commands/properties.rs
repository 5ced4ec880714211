//! `icecore table set`.

mod known;

use std::collections::BTreeMap;

use icecore::Project;
use icecore_core::{Error, Result};
use serde_json::json;

use crate::args::properties::PropertyArgs;
use crate::report::Answer;

pub(super) use known::mistyped;

pub(super) async fn set(project: &Project, args: PropertyArgs) -> Result<Answer> {
    let PropertyArgs { table, set, unset, dry_run } = args;
    let catalog = project.catalog();
    let before = catalog.describe(&table).await?.properties;
    if let Some(name) = unset.iter().find(|name| set.iter().any(|(set, _)| set == *name)) {
        return Err(Error::invalid(format!("`{name}` would be set and removed")));
    }
    let set: BTreeMap<String, String> = set.into_iter().collect();
    let lines = set.iter().map(|(name, value)| {
        let had = before.get(name).map_or("none", String::as_str);
        format!("{name} = {value} (it had {had})")
    });
    let removed = unset.iter().map(|name| format!("{name} is removed"));
    let lines: Vec<String> = lines.chain(removed).collect();
    let warnings: Vec<String> = set.keys().filter_map(|name| mistyped(name)).collect();
    let json = json!({
        "table": table, "set": set, "unset": unset, "dry_run": dry_run, "warnings": warnings,
    });
    if dry_run {
        catalog.check_set_properties(&table, &set, &unset).await?;
    } else {
        catalog.set_properties(&table, set, unset).await?;
    }
    let verb = if dry_run { "would have" } else { "has" };
    let warnings = warnings.iter().map(|warning| format!("\nwarning: {warning}"));
    let text = format!("`{table}` {verb}\n{}{}", lines.join("\n"), warnings.collect::<String>());
    Ok(Answer::new(json, text))
}
