//! The service, described: OpenAPI 3.1.

mod features;
mod models;
mod push;

use serde_json::{Map, Value, json};

use crate::ScoreService;
use crate::route::Route;

/// Text without control characters.
const PRINTED: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// The document of a service.
pub(crate) async fn document(service: &ScoreService) -> Value {
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
        add("/get-online-features", json!({ "post": features::operation() }));
        for path in ["/materialize", "/materialize-incremental"] {
            add(path, json!({ "post": push::materialize() }));
        }
    }
    if service.pushes().is_ok() {
        add("/push", json!({ "post": push::operation() }));
        add("/write-to-online-store", json!({ "post": push::write() }));
    }
    if let Ok(models) = service.models() {
        let known = models::Known::ask(models).await;
        for (path, operations) in models::operations(&known) {
            add(&path, operations);
        }
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
        add(&["/get-online-features", "/materialize", "/materialize-incremental"]);
    }
    if service.pushes().is_ok() {
        add(&["/push", "/write-to-online-store"]);
    }
    if service.models().is_ok() {
        add(&["/version", "/v2", "/v2/health/live", "/v2/health/ready", "/invocations"]);
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
            "schema": { "type": "string", "minLength": 1, "maxLength": 512, "pattern": PRINTED },
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
