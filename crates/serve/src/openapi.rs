//! The service, described: OpenAPI 3.1.

mod push;

use serde_json::{Map, Value, json};

use crate::ScoreService;
use crate::route::Route;

/// The document of a service.
pub(crate) fn document(service: &ScoreService) -> Value {
    let mut paths = Map::new();
    let mut add = |path: &str, operations: Value| {
        paths.insert(path.to_owned(), operations);
    };
    add("/healthz", json!({ "get": plain("Whether the process lives", false) }));
    add("/readyz", json!({ "get": ready() }));
    add("/metrics", json!({ "get": text("Measurements in Prometheus's format") }));
    add("/openapi.json", json!({ "get": plain("This document", true) }));
    for route in service.routes.iter() {
        add(&route.declared.path, json!({ "get": score(route, &route.parameter) }));
        let by_scoring = format!("/v1/scores/{}/{{key}}", route.declared.scoring);
        add(&by_scoring, json!({ "get": score(route, "key") }));
    }
    if service.features().is_ok() {
        add("/get-online-features", json!({ "post": features() }));
    }
    if service.pushes().is_ok() {
        add("/push", json!({ "post": push::operation() }));
    }
    if service.models().is_ok() {
        add("/v2", json!({ "get": plain("The server", true) }));
        add("/v2/health/live", json!({ "get": empty("Whether the process lives", &[]) }));
        add("/v2/health/ready", json!({ "get": empty("Whether it answers", &[]) }));
        for (base, parameters) in [
            ("/v2/models/{name}", &["name"][..]),
            ("/v2/models/{name}/versions/{version}", &["name", "version"][..]),
        ] {
            add(
                base,
                json!({ "get": with_path(plain("What a model takes and gives", true), parameters) }),
            );
            add(
                &format!("{base}/ready"),
                json!({ "get": empty("Whether a model can be asked", parameters) }),
            );
            add(&format!("{base}/infer"), json!({ "post": infer(parameters) }));
        }
        add("/invocations", json!({ "post": invocations() }));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "icecore", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    });
    if service.access.is_guarded()
        && let Some(fields) = document.as_object_mut()
    {
        fields.insert("security".to_owned(), json!([{ "bearer": [] }]));
    }
    document
}

/// Every path that a service answers.
pub(crate) fn paths(service: &ScoreService) -> Vec<String> {
    let mut paths = service.routes.paths();
    let mut add = |more: &[&str]| paths.extend(more.iter().map(|path| (*path).to_owned()));
    if service.features().is_ok() {
        add(&["/get-online-features"]);
    }
    if service.pushes().is_ok() {
        add(&["/push"]);
    }
    if service.models().is_ok() {
        add(&["/v2", "/v2/health/live", "/v2/health/ready", "/invocations"]);
        for base in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
            add(&[base, &format!("{base}/ready"), &format!("{base}/infer")]);
        }
    }
    add(&["/healthz", "/health", "/ping", "/readyz", "/metrics", "/openapi.json"]);
    paths
}

fn json_body(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// What every operation may answer beside its own: what is wrong with a request, who may not ask,
/// and that there is too much to do.
fn responses(description: &str, content: Option<Value>) -> Value {
    let mut success = json!({ "description": description });
    if let (Some(content), Some(fields)) = (content, success.as_object_mut()) {
        fields.insert("content".to_owned(), content);
    }
    let problem = |description: &str| {
        json!({ "description": description, "content": {
            "application/json": { "schema": {} },
            "text/plain; charset=utf-8": { "schema": { "type": "string" } },
        } })
    };
    json!({
        "200": success,
        "400": problem("the request cannot be meant"),
        "401": problem("the request does not carry a token of this service"),
        "403": problem("the token may not ask for this"),
        "404": problem("there is no such thing"),
        "405": problem("another method is meant"),
        "408": problem("the body of the request did not come in time"),
        "409": problem("the definitions contradict the tables"),
        "413": problem("the request is too large"),
        "415": problem("the content is of another type"),
        "429": problem("the token asks too often"),
        "503": problem("there is too much to do, or nothing answers"),
        "504": problem("the request took too long"),
    })
}

fn plain(summary: &str, is_guarded: bool) -> Value {
    let content = json_body(&json!({ "type": "object" }));
    let mut operation =
        json!({ "summary": summary, "responses": responses(summary, Some(content)) });
    if let (false, Some(fields)) = (is_guarded, operation.as_object_mut()) {
        fields.insert("security".to_owned(), json!([]));
    }
    operation
}

fn ready() -> Value {
    plain("What the service could answer with now", false)
}

fn text(summary: &str) -> Value {
    let content =
        json!({ "text/plain; version=0.0.4; charset=utf-8": { "schema": { "type": "string" } } });
    json!({ "summary": summary, "responses": responses(summary, Some(content)) })
}

fn empty(summary: &str, parameters: &[&str]) -> Value {
    with_path(json!({ "summary": summary, "responses": responses(summary, None) }), parameters)
}

fn with_path(mut operation: Value, parameters: &[&str]) -> Value {
    let parameter = |name: &&str| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 512 },
        })
    };
    if let Some(fields) = operation.as_object_mut() {
        let parameters = parameters.iter().map(parameter).collect();
        fields.insert("parameters".to_owned(), Value::Array(parameters));
    }
    operation
}

fn score(route: &Route, parameter: &str) -> Value {
    let schema = json!({
        "type": "object",
        "required": [route.parameter, route.declared.prediction_column, "source", "latency_path"],
        "properties": {
            &route.parameter: { "type": "string" },
            &route.declared.prediction_column: { "type": "number" },
            "source": { "enum": ["cache", "lakehouse", "default"] },
            "latency_path": { "type": "string" },
            "model_version": { "type": ["string", "null"] },
            "score_date": { "type": "string", "format": "date" },
            "reason": { "type": "string" },
        },
    });
    let summary = format!("The score of scoring job `{}` for one entity", route.declared.scoring);
    let responses = responses(&summary, Some(json_body(&schema)));
    with_path(json!({ "summary": summary, "responses": responses }), &[parameter])
}

fn features() -> Value {
    let request = json!({
        "type": "object",
        "required": ["entities"],
        "properties": {
            "features": { "type": "array", "items": { "type": "string" } },
            "feature_service": { "type": "string" },
            "entities": {
                "type": "object",
                "additionalProperties": { "type": "array", "items": { "type": ["string", "number", "boolean", "null"] } },
            },
            "full_feature_names": { "type": "boolean" },
            "include_feature_view_version_metadata": { "type": "boolean" },
        },
    });
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
    let answer = json!({
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
    });
    json!({
        "summary": "Features of entities, as Feast's feature server answers",
        "requestBody": { "required": true, "content": json_body(&request) },
        "responses": responses("the features", Some(json_body(&answer))),
    })
}

fn infer(parameters: &[&str]) -> Value {
    let request = json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": { "type": "string" },
            "inputs": { "type": "array", "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": { "type": "string" },
                    "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
                    "datatype": { "type": "string" },
                    "data": {},
                },
            } },
            "outputs": { "type": "array" },
            "parameters": { "type": "object" },
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "outputs": { "type": "array", "items": { "type": "object" } },
        },
    });
    with_path(
        json!({
            "summary": "Predictions of a model: Open Inference Protocol v2",
            "requestBody": { "required": true, "content": json_body(&request) },
            "responses": responses("the predictions", Some(json_body(&answer))),
        }),
        parameters,
    )
}

fn invocations() -> Value {
    let request = json!({
        "type": "object",
        "properties": {
            "dataframe_split": { "type": "object" },
            "dataframe_records": { "type": "array" },
            "instances": { "type": "array" },
            "inputs": {},
            "params": { "type": "object" },
        },
    });
    let mut content = json_body(&request);
    if let Some(kinds) = content.as_object_mut() {
        kinds.insert("text/csv".to_owned(), json!({ "schema": { "type": "string" } }));
    }
    let answer = json!({
        "type": "object",
        "required": ["predictions"],
        "properties": { "predictions": { "type": "array" } },
    });
    json!({
        "summary": "Predictions of the service's model, as MLflow's scoring server answers",
        "requestBody": { "required": true, "content": content },
        "responses": responses("the predictions", Some(json_body(&answer))),
    })
}
