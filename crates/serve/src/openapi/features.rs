//! `POST /get-online-features`, described.

use serde_json::{Value, json};

use super::{json_body, responses};

pub(super) fn operation() -> Value {
    json!({
        "summary": "Features of entities, as Feast's feature server answers",
        "requestBody": { "required": true, "content": json_body(&request()) },
        "responses": responses("the features", Some(json_body(&answer()))),
    })
}

/// Either names of features or a service, and who it is about: values of one kind for each key.
fn request() -> Value {
    let kinds = ["string", "number", "boolean"];
    let kinds = kinds.map(|kind| json!({ "type": "array", "items": { "type": [kind, "null"] } }));
    json!({
        "type": "object",
        "properties": {
            "features": {
                "type": ["array", "null"],
                "description": "`view:feature`, or `view:*` for all of a view",
                "items": { "type": "string", "pattern": "^[^:]+:[^:]+$" },
            },
            "feature_service": { "type": ["string", "null"] },
            "entities": {
                "type": "object",
                "description": "a list for each join key, and for what features are computed from; \
                    all of one length",
                "minProperties": 1,
                "additionalProperties": { "anyOf": kinds },
            },
            "full_feature_names": { "type": "boolean" },
            "include_feature_view_version_metadata": { "type": "boolean" },
        },
        "anyOf": [
            {
                "required": ["entities", "features"],
                "properties": { "features": { "type": "array", "minItems": 1 } },
            },
            {
                "required": ["entities", "feature_service"],
                "properties": { "feature_service": { "type": "string" } },
            },
        ],
    })
}

fn answer() -> Value {
    let column = json!({
        "type": "object",
        "required": ["values", "statuses", "event_timestamps"],
        "properties": {
            "values": { "type": "array" },
            "statuses": { "type": "array", "items": {
                "enum": ["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"],
            } },
            "event_timestamps": { "type": "array", "items": { "type": "string", "format": "date-time" } },
        },
    });
    json!({
        "type": "object",
        "required": ["results", "metadata"],
        "properties": {
            "results": { "type": "array", "items": column },
            "metadata": { "type": "object", "required": ["feature_names"], "properties": {
                "feature_names": { "type": "array", "items": { "type": "string" } },
                "source": { "type": "string" },
                "reason": { "type": "string" },
            } },
        },
    })
}
