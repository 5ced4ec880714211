//! Predictions, described: by the models that there are, and by what the one of `/invocations` reads.

use std::time::Duration;

use icecore_core::ModelSignature;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{empty, json_body, plain, responses, with_path};
use crate::models::Models;

/// How long the registry may take; without it, the document says less.
const DEADLINE: Duration = Duration::from_secs(1);
/// Names in the text about a name.
const NAMES_MAX: usize = 20;

/// What is known of a service's models.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: Vec<String>,
    default: Option<ModelSignature>,
}

impl Known {
    pub(super) async fn ask(models: &Models) -> Self {
        let ask = async {
            let names = models.names().await.unwrap_or_default();
            let default = match models.default_model() {
                Some(name) => models.get(name, None).await.ok(),
                None => None,
            };
            Self { names, default: default.map(|model| model.model.signature().clone()) }
        };
        timeout(DEADLINE, ask).await.unwrap_or_default()
    }

    /// What a path's name can be.
    fn describe(&self, mut operation: Value) -> Value {
        if let (Some(parameter), false) =
            (operation.pointer_mut("/parameters/0"), self.names.is_empty())
        {
            let names: Vec<String> =
                self.names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
            parameter["description"] = json!(format!("a registered model: {}", names.join(", ")));
        }
        operation
    }
}

pub(super) fn operations(known: &Known) -> Vec<(String, Value)> {
    let path = |path: &str| path.to_owned();
    let mut all = vec![
        (path("/version"), json!({ "get": version() })),
        (path("/v2"), json!({ "get": plain("The server", true) })),
        (path("/v2/health/live"), json!({ "get": empty("Whether the process lives", &[]) })),
        (path("/v2/health/ready"), json!({ "get": empty("Whether models can be asked", &[]) })),
    ];
    for (base, names) in [
        ("/v2/models/{name}", &["name"][..]),
        ("/v2/models/{name}/versions/{version}", &["name", "version"][..]),
    ] {
        let get = with_path(plain("What a model takes and gives", true), names);
        all.push((path(base), json!({ "get": known.describe(get) })));
        let ready = known.describe(empty("Whether a model can be asked", names));
        all.push((format!("{base}/ready"), json!({ "get": ready })));
        all.push((format!("{base}/infer"), json!({ "post": known.describe(infer(names)) })));
    }
    all.push((path("/invocations"), json!({ "post": invocations(known.default.as_ref()) })));
    all
}

fn version() -> Value {
    let content = json!({ "text/plain; charset=utf-8": { "schema": { "type": "string" } } });
    let summary = "The server's version, as MLflow's scoring server says it";
    json!({ "summary": summary, "responses": responses(summary, Some(content)) })
}

/// What became of features that were looked up.
fn looked_up(status: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "source": { "enum": ["online", "lakehouse"] },
            "reason": { "type": "string" },
            "feature_status": status,
        },
    })
}

fn status() -> Value {
    json!({ "enum": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"] })
}

/// What a request asks beside its rows.
fn parameters() -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {
            "feature_service": {
                "type": ["string", "null"],
                "description": "whose features are looked up by the join keys among the columns",
            },
            "missing": {
                "enum": ["score", "status", null],
                "description": "what a row gets that no view knows: what the model makes of missing \
                    values, or null",
            },
        },
        "if": { "required": ["missing"], "properties": { "missing": { "type": "string" } } },
        "then": {
            "required": ["feature_service"],
            "properties": { "feature_service": { "type": "string" } },
        },
    })
}

fn infer(path: &[&str]) -> Value {
    let types = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
        "FP32", "FP64", "BYTES",
    ];
    let request = json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": { "type": "string" },
            "inputs": { "type": "array", "minItems": 1, "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": { "type": "string" },
                    "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
                    "datatype": { "enum": types },
                    "data": { "description": "as many values as the shape has places, row by row" },
                },
            } },
            "outputs": { "type": "array", "items": { "type": "object" } },
            "parameters": parameters(),
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "parameters": looked_up(&status()),
            "outputs": { "type": "array", "items": { "type": "object" } },
        },
    });
    with_path(
        json!({
            "summary": "Predictions of a model: Open Inference Protocol v2",
            "requestBody": { "required": true, "content": json_body(&request) },
            "responses": responses("the predictions", Some(json_body(&answer))),
        }),
        path,
    )
}

fn invocations(model: Option<&ModelSignature>) -> Value {
    let mut content = json_body(&json_request(model));
    if let Some(kinds) = content.as_object_mut() {
        kinds.insert("text/csv".to_owned(), json!({ "schema": csv(model) }));
    }
    let answer = json!({
        "type": "object",
        "required": ["predictions"],
        "properties": {
            "predictions": { "type": "array" },
            "metadata": looked_up(&json!({ "type": "array", "items": status() })),
        },
    });
    json!({
        "summary": "Predictions of the service's model, as MLflow's scoring server answers",
        "requestBody": { "required": true, "content": content },
        "responses": responses("the predictions", Some(json_body(&answer))),
    })
}

/// Rows in exactly one of the forms: all that the model reads, or what its features are found by.
fn json_request(model: Option<&ModelSignature>) -> Value {
    const FORMS: [&str; 4] = ["dataframe_split", "dataframe_records", "instances", "inputs"];
    let any = FORMS.map(|form| json!({ "required": [form] }));
    let params = json!({ "params": parameters() });
    let Some(model) = model else {
        return json!({ "type": "object", "properties": params, "oneOf": any });
    };
    let looked_up = json!({
        "required": ["params"],
        "properties": { "params": {
            "type": "object",
            "required": ["feature_service"],
            "properties": { "feature_service": { "type": "string" } },
        } },
        "oneOf": any,
    });
    let whole = json!({
        "properties": { "params": { "not": {
            "required": ["feature_service"],
            "properties": { "feature_service": { "type": "string" } },
        } } },
        "oneOf": [
            form("dataframe_split", &split(model)),
            form("dataframe_records", &records(model)),
            form("instances", &json!({ "anyOf": [records(model), matrix(model)] })),
            form("inputs", &json!({ "anyOf": [records(model), matrix(model), columns(model)] })),
        ],
    });
    json!({ "type": "object", "properties": params, "anyOf": [whole, looked_up] })
}

fn form(name: &str, schema: &Value) -> Value {
    json!({ "required": [name], "properties": { name: schema } })
}

fn names(model: &ModelSignature) -> Vec<&str> {
    model.inputs.iter().map(|input| input.name.as_str()).collect()
}

/// A value of an input.
fn values(model: &ModelSignature) -> Vec<Value> {
    let of_input = |input: &icecore_core::SignatureColumn| match input.data_type.contains("Utf8") {
        true => json!({ "type": ["string", "null"] }),
        false => json!({ "type": ["number", "boolean", "null"] }),
    };
    model.inputs.iter().map(of_input).collect()
}

/// Rows as objects. Other columns are of one kind each.
fn records(model: &ModelSignature) -> Value {
    let names = names(model);
    let own: Map<String, Value> =
        names.iter().map(|name| (*name).to_owned()).zip(values(model)).collect();
    let others =
        [json!({ "type": ["number", "boolean", "null"] }), json!({ "type": ["string", "null"] })];
    let rows = others.map(|other| {
        json!({ "items": {
            "type": "object", "required": names, "properties": own, "additionalProperties": other,
        } })
    });
    json!({ "type": "array", "minItems": 1, "anyOf": rows })
}

/// A row in the order of the inputs.
fn row(model: &ModelSignature) -> Value {
    let width = model.inputs.len();
    json!({ "type": "array", "prefixItems": values(model), "minItems": width, "maxItems": width })
}

fn matrix(model: &ModelSignature) -> Value {
    json!({ "type": "array", "items": row(model) })
}

fn split(model: &ModelSignature) -> Value {
    json!({
        "type": "object",
        "required": ["columns", "data"],
        "properties": { "columns": { "const": names(model) }, "data": matrix(model) },
    })
}

/// A list, all of one length, or a single value for each input.
fn columns(model: &ModelSignature) -> Value {
    let names = names(model);
    let own: Map<String, Value> =
        names.iter().map(|name| (*name).to_owned()).zip(values(model)).collect();
    json!({ "type": "object", "required": names, "properties": own })
}

/// A header with the model's inputs, and rows.
fn csv(model: Option<&ModelSignature>) -> Value {
    let Some(model) = model else {
        return json!({ "type": "string", "minLength": 1 });
    };
    let value = |input: &icecore_core::SignatureColumn| match input.data_type.contains("Utf8") {
        true => "[A-Za-z0-9_]{1,64}",
        false => "-?[0-9]{1,9}(\\.[0-9]{1,9})?",
    };
    let values: Vec<&str> = model.inputs.iter().map(value).collect();
    let header: Vec<String> = names(model).into_iter().map(escaped).collect();
    let pattern = format!("^{}\n({}\n)+$", header.join(","), values.join(","));
    json!({ "type": "string", "pattern": pattern })
}

/// Text, as a pattern that it alone fits.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && letter != '_' {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use icecore_core::{OutputKind, SignatureColumn};

    use super::*;

    fn model() -> ModelSignature {
        let input = |name: &str, data_type: &str| SignatureColumn {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
        };
        let inputs = vec![input("amount.usd", "Float64"), input("plan", "Utf8")];
        ModelSignature { inputs, output: OutputKind::Probability }
    }

    #[test]
    fn a_model_s_inputs_are_what_its_requests_have() {
        let schema = json_request(Some(&model()));
        let records = &schema["anyOf"][0]["oneOf"][1]["properties"]["dataframe_records"];
        let row = &records["anyOf"][0]["items"];
        assert_eq!(row["required"], json!(["amount.usd", "plan"]));
        assert_eq!(row["properties"]["plan"]["type"], json!(["string", "null"]));
        assert!(
            csv(Some(&model()))["pattern"].as_str().unwrap().starts_with("^amount\\.usd,plan\n")
        );
        // What nobody knows is not described.
        assert_eq!(csv(None)["minLength"], 1);
        assert!(json_request(None)["anyOf"].is_null());
    }

    #[test]
    fn the_models_that_there_are_are_named() {
        let known = Known { names: vec!["churn".to_owned()], default: None };
        let operations = operations(&known);
        let (_, infer) =
            operations.iter().find(|(path, _)| path == "/v2/models/{name}/infer").unwrap();
        let parameter = &infer["post"]["parameters"][0];
        assert_eq!(parameter["description"], "a registered model: `churn`");
    }
}
