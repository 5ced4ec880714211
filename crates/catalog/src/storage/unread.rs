//! Columns that Iceberg has and icecore does not read.

use icecore_core::Error;
use serde_json::Value;

/// Types of format version 3 that no reader of ours knows. Some go on in parentheses.
const TYPES: [&str; 4] = ["variant", "unknown", "geometry", "geography"];

/// Why metadata that cannot be understood is not damaged: a column of it is of a type that is not
/// read. `None` where there is no such column.
pub(crate) fn unread_column(table: &str, metadata: &Value) -> Option<Error> {
    let schemas = metadata.get("schemas").and_then(Value::as_array);
    let alone = metadata.get("schema").into_iter();
    let (path, of) = schemas.into_iter().flatten().chain(alone).find_map(unread)?;
    Some(
        Error::unsupported(format!("column `{path}` of `{table}` is of type `{of}`"))
            .with_note("such a table is whole, and is not read")
            .with_help("read it with another engine, or drop the column and expire what had it"),
    )
}

/// The path and the type of the first such column.
fn unread(schema: &Value) -> Option<(String, String)> {
    let mut open = vec![(String::new(), schema)];
    while let Some((path, of)) = open.pop() {
        let inner = |name: &str| {
            let dot = if path.is_empty() { "" } else { "." };
            format!("{path}{dot}{name}")
        };
        match of {
            Value::String(name) => {
                let word = name.split_once('(').map_or(name.as_str(), |(word, _)| word).trim();
                if TYPES.contains(&word) {
                    return Some((path, name.clone()));
                }
            }
            Value::Object(of) => {
                for field in of.get("fields").and_then(Value::as_array).into_iter().flatten() {
                    let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                    open.extend(field.get("type").map(|of| (inner(name), of)));
                }
                for name in ["element", "key", "value"] {
                    open.extend(of.get(name).map(|of| (inner(name), of)));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(of: &Value) -> Option<String> {
        let fields = json!([
            { "id": 1, "name": "id", "type": "long" },
            { "id": 2, "name": "x", "type": of },
        ]);
        let metadata = json!({ "schemas": [{ "type": "struct", "fields": fields }] });
        unread_column("a.json", &metadata).map(|error| error.to_string())
    }

    #[test]
    fn a_column_that_is_not_read_is_named() {
        let list = json!({ "type": "list", "element": { "type": "struct", "fields": [
            { "name": "shape", "type": "geometry(OGC:CRS84)" },
        ] } });
        for (of, expected) in [
            (json!("variant"), Some("column `x` of `a.json` is of type `variant`")),
            (json!("unknown"), Some("column `x` of `a.json` is of type `unknown`")),
            (list, Some("column `x.element.shape` of `a.json` is of type `geometry(OGC:CRS84)`")),
            (json!("lonf"), None),
            (json!({ "type": "map", "key": "string", "value": "decimal(9, 2)" }), None),
        ] {
            assert_eq!(said(&of).as_deref(), expected, "{of}");
        }
        assert!(unread_column("a.json", &json!([])).is_none());
    }
}
