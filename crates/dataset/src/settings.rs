//! The choices of a lock, each with the name that the file has for it. They are read off what the
//! file says, so that none is forgotten that is added to it.

use std::collections::BTreeMap;

use icecore_core::{Error, Result};
use serde::Serialize;
use toml::Value;

use crate::lock::{DatasetPlan, LockedView};

/// What a plan says of all rows. The spine, the inputs and the views are no matter of a few words.
pub(crate) fn plan_settings(plan: &DatasetPlan) -> Result<BTreeMap<String, String>> {
    // Two sets have two names, and that is no difference of what they hold.
    of(plan, &["dataset", "spine", "input", "view"])
}

/// What a plan says of a view beside its definition.
pub(crate) fn view_settings(view: &LockedView) -> Result<BTreeMap<String, String>> {
    let mut settings = of(view, &["name", "definition_hash", "windows"])?;
    let windows = if view.windows.is_some() { "moment" } else { "stored" };
    settings.insert("windows".to_owned(), windows.to_owned());
    Ok(settings)
}

fn of(said: &impl Serialize, apart_from: &[&str]) -> Result<BTreeMap<String, String>> {
    let said = toml::Table::try_from(said)
        .map_err(|error| Error::internal("cannot read a lock's choices").with_source(error))?;
    let mut settings = BTreeMap::new();
    for (name, value) in said.iter().filter(|(name, _)| !apart_from.contains(&name.as_str())) {
        add(&mut settings, name.clone(), value);
    }
    Ok(settings)
}

fn add(settings: &mut BTreeMap<String, String>, name: String, value: &Value) {
    match value {
        Value::Table(table) => {
            for (part, value) in table {
                add(settings, format!("{name}.{part}"), value);
            }
        }
        other => {
            settings.insert(name, shown(other));
        }
    }
}

/// A value as people read it. A pair is a column with its other name.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let all: Vec<String> =
                values.iter().map(|value| pair(value).unwrap_or_else(|| shown(value))).collect();
            all.join(", ")
        }
        other => other.to_string(),
    }
}

fn pair(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [Value::String(own), Value::String(other)] if own == other => Some(own.clone()),
        [Value::String(own), Value::String(other)] => Some(format!("{own} as {other}")),
        _ => None,
    }
}
