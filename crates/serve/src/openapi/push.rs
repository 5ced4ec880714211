//! `POST /push` and what else writes, described.

use serde_json::{Value, json};

use super::{json_body, responses};

pub(super) fn operation() -> Value {
    let request = json!({
        "type": "object",
        "required": ["push_source_name", "df"],
        "properties": {
            "push_source_name": { "type": "string" },
            "df": { "type": "object", "additionalProperties": { "type": "array" } },
            "to": { "enum": ["online", "offline", "online_and_offline"] },
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["source", "rows", "position", "repeated", "online"],
        "properties": {
            "source": { "type": "string" },
            "rows": { "type": "integer" },
            "position": { "type": "integer" },
            "repeated": { "type": "boolean" },
            "online": { "enum": ["written", "later", "none"] },
        },
    });
    json!({
        "summary": "Events, served at once and in the table with its next commit",
        "parameters": [{
            "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$" },
        }],
        "requestBody": { "required": true, "content": json_body(&request) },
        "responses": responses("what was accepted", Some(json_body(&answer))),
    })
}

/// Rows of a view.
pub(super) fn write() -> Value {
    let request = json!({
        "type": "object",
        "required": ["feature_view_name", "df"],
        "properties": {
            "feature_view_name": { "type": "string" },
            "df": { "type": "object", "additionalProperties": { "type": "array" } },
        },
    });
    json!({
        "summary": "Rows of a view for the online store alone, as Feast's remote store writes them",
        "requestBody": { "required": true, "content": json_body(&request) },
        "responses": responses("they are written", Some(json_body(&json!({ "type": "null" })))),
    })
}

/// A date, or a moment with or without a zone.
const MOMENT: &str = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])\
                      (T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z?)?$";

/// Views that are brought up to their tables.
pub(super) fn materialize() -> Value {
    let moment = json!({ "type": ["string", "null"], "pattern": MOMENT });
    let request = json!({
        "type": "object",
        "properties": {
            "start_ts": moment,
            "end_ts": moment,
            "feature_views": {
                "type": ["array", "null"],
                "description": "absent: all that have a table",
                "items": { "type": "string" },
            },
        },
    });
    let running = json!({
        "type": "object",
        "required": ["status", "views"],
        "properties": {
            "status": { "const": "running" },
            "views": { "type": "array", "items": { "type": "string" } },
        },
    });
    let done = json_body(&json!({ "type": "null" }));
    let mut responses = responses("the views are as their tables", Some(done));
    responses["202"] = json!({ "description": "it goes on, for longer than a request may", "content": json_body(&running) });
    json!({
        "summary": "Brings views in the online store up to their tables",
        "requestBody": { "required": true, "content": json_body(&request) },
        "responses": responses,
    })
}
