//! `POST /push`, described.

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
