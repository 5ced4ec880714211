//! What differs between two definitions of a view.

use std::collections::BTreeMap;

use icecore_core::{Error, FeatureView, Result};
use serde_json::Value;

use crate::Definitions;

/// One place in which two definitions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `ttl`, `aggregate.txn_count.windows`.
    pub path: String,
    /// What was there; absent where nothing was.
    pub before: Option<String>,
    /// What is there; absent where nothing is.
    pub after: Option<String>,
}

pub(super) fn between(
    (before, old): (&Definitions, &FeatureView),
    (after, new): (&Definitions, &FeatureView),
) -> Result<Vec<Difference>> {
    let (mut then, mut now) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &document(before, old)?, &mut then);
    flatten("", &document(after, new)?, &mut now);
    let mut differences = Vec::new();
    for path in then.keys().chain(now.keys().filter(|path| !then.contains_key(*path))) {
        let (before, after) = (then.get(path).cloned(), now.get(path).cloned());
        if before != after {
            differences.push(Difference { path: path.clone(), before, after });
        }
    }
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(differences)
}

fn document(definitions: &Definitions, view: &FeatureView) -> Result<Value> {
    let failed = |error| Error::internal("a definition cannot be written").with_source(error);
    let mut document = serde_json::to_value(view).map_err(failed)?;
    let keys = definitions.typed_join_keys(view)?;
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    if let Value::Object(fields) = &mut document {
        fields.insert("join_keys".to_owned(), keys.into());
    }
    Ok(document)
}

/// Parts that have a name stand under it, wherever they are in their list.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&at(key), value, out);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                let name = item.get("name").and_then(Value::as_str).unwrap_or("?");
                flatten(&at(name), item, out);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            out.insert(path.to_owned(), items.join(", "));
        }
        other => {
            out.insert(path.to_owned(), plain(other));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
