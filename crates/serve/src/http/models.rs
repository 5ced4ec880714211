//! The Open Inference Protocol (v2) and MLflow's scoring protocol.

mod looked_up;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use icecore_core::{Error, ErrorKind, OutputKind, Result, SignatureColumn};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::reply::{Problem, json as reply, status_of};
use super::unrepeated::UnrepeatedObject;
use super::{Shared, named};
use crate::ScoreService;
use crate::auth::Grant;
use crate::models::{Frame, LoadedModel, Lookup};
use looked_up::{Wanted, with_features};

/// The tensor with what became of each row's features.
const STATUS: &str = "feature_status";

pub(super) async fn server() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    reply(StatusCode::OK, &json!({ "name": "icecore", "version": version, "extensions": [] }))
}

/// What MLflow's scoring server says of itself: the version as bare text.
pub(super) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether models can be asked: the default one is there, and the service has something to answer
/// with.
pub(super) async fn ready(State(service): Shared) -> StatusCode {
    let models = async { service.models()?.check().await };
    let (models, parts) = tokio::join!(models, service.readiness());
    match (models, parts.status) {
        (Ok(()), "ready" | "degraded") => StatusCode::OK,
        (Ok(()), _) => StatusCode::SERVICE_UNAVAILABLE,
        (Err(error), _) => {
            warn!(%error, "models cannot be asked");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

pub(super) async fn is_ready(
    State(service): Shared,
    Path(path): Path<Vec<(String, String)>>,
) -> Response {
    let (name, version) = place(&path);
    match find(&service, name, version).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => refusal(&error),
    }
}

pub(super) async fn describe(
    State(service): Shared,
    Path(path): Path<Vec<(String, String)>>,
) -> Response {
    let (name, version) = place(&path);
    let model = match find(&service, name, version).await {
        Ok(model) => model,
        Err(error) => return refusal(&error),
    };
    let signature = model.model.signature();
    let inputs: Vec<Value> = signature
        .inputs
        .iter()
        .map(|input| json!({ "name": input.name, "datatype": datatype(input), "shape": [-1] }))
        .collect();
    // How many classes there are, only the model's answers say.
    let width = if signature.output == OutputKind::Classes { -1 } else { 1 };
    let document = json!({
        "name": model.name,
        "versions": [model.version],
        "platform": "icecore",
        "inputs": inputs,
        "outputs": [{ "name": "predict", "datatype": "FP64", "shape": [-1, width] }],
        "parameters": {},
    });
    reply(StatusCode::OK, &document)
}

pub(super) async fn infer(
    State(service): Shared,
    Extension(grant): Extension<Arc<Grant>>,
    Path(path): Path<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let started = Instant::now();
    let sampled = service.sampled(&headers);
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    let (name, version) = place(&path);
    let answered = async {
        let request = object(&body)?;
        let wanted = Wanted::of(&service, request.get("parameters"))?;
        let model = find(&service, name, version).await?;
        let inputs = request
            .get("inputs")
            .and_then(Value::as_array)
            .ok_or_else(|| Error::invalid("the request has no list `inputs`"))?;
        let frame = Frame::of_tensors(inputs, model.model.signature())?;
        let of = (&*service, &*grant, "/v2/models/{name}/infer");
        let frame = with_features(of, frame, wanted).await?;
        let predictions = predict(&model, &frame).await?;
        service.telemetry.prediction(&model.name, started.elapsed());
        if let Some((log, sampled)) = &sampled {
            log.predictions(sampled, &model, &frame, &predictions);
        }
        tensors(&model, &request, &predictions, frame.lookup.as_ref())
    };
    match answered.await {
        Ok(document) => named(reply(StatusCode::OK, &document), sampled),
        Err(error) => refusal(&error),
    }
}

pub(super) async fn invocations(
    State(service): Shared,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let started = Instant::now();
    let sampled = service.sampled(&headers);
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    let is_csv = kind.eq_ignore_ascii_case("text/csv");
    if !is_csv && !kind.eq_ignore_ascii_case("application/json") {
        let message = "the content type is `application/json` or `text/csv`";
        return Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, &Error::invalid(message))
            .into_response();
    }
    let answered = async {
        let request = if is_csv { None } else { Some(object(&body)?) };
        let name = service.models()?.default_model().ok_or_else(|| {
            Error::not_found("the service has no model for `/invocations`")
                .with_help("name one: `[serve] model = \"NAME\"`")
        })?;
        let model = find(&service, name, None).await?;
        let (frame, wanted) = match request {
            None => {
                let text = std::str::from_utf8(&body);
                let text = text.map_err(|_| Error::invalid("the CSV is not UTF-8"))?;
                (Frame::of_csv(text)?, None)
            }
            Some(request) => {
                let wanted = Wanted::of(&service, request.get("params"))?;
                (Frame::of_mlflow(&request, model.model.signature())?, wanted)
            }
        };
        let of = (&*service, &*grant, "/invocations");
        let frame = with_features(of, frame, wanted).await?;
        let predictions = predict(&model, &frame).await?;
        service.telemetry.prediction(&model.name, started.elapsed());
        if let Some((log, sampled)) = &sampled {
            log.predictions(sampled, &model, &frame, &predictions);
        }
        let mut answer = Map::new();
        let values = crate::features::write_values(&predictions)?;
        answer.insert("predictions".to_owned(), Value::Array(values));
        answer.extend(frame.lookup.as_ref().map(|of| ("metadata".to_owned(), of.metadata())));
        Ok(Value::Object(answer))
    };
    match answered.await {
        Ok(document) => named(reply(StatusCode::OK, &document), sampled),
        Err(error) => mlflow_refusal(&error),
    }
}

/// What a model says of rows, without those that it is not to say anything of.
async fn predict(model: &LoadedModel, frame: &Frame) -> Result<ArrayRef> {
    let predictions = model.predict(frame.batch()?).await?;
    frame.lookup.as_ref().map_or(Ok(Arc::clone(&predictions)), |of| of.predicted(&predictions))
}

/// The name and the version in a path.
fn place(path: &[(String, String)]) -> (&str, Option<&str>) {
    let find = |name: &str| path.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    (find("name").unwrap_or_default(), find("version"))
}

async fn find(service: &ScoreService, name: &str, version: Option<&str>) -> Result<LoadedModel> {
    service.models()?.get(name, version).await
}

fn object(body: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(body)
        .map(|UnrepeatedObject(members)| members)
        .map_err(|error| Error::invalid(format!("the request cannot be read: {error}")))
}

/// What the protocol calls an input's type: text is bytes, and any number may be sent.
fn datatype(input: &SignatureColumn) -> &'static str {
    if input.data_type.contains("Utf8") { "BYTES" } else { "FP64" }
}

fn tensors(
    model: &LoadedModel,
    request: &Map<String, Value>,
    predictions: &ArrayRef,
    lookup: Option<&Lookup>,
) -> Result<Value> {
    let asked = request.get("outputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut asked = asked.iter().filter_map(|output| output.get("name")?.as_str()).peekable();
    let wants_all = asked.peek().is_none();
    let (statuses, names): (Vec<&str>, Vec<&str>) = asked.partition(|name| *name == STATUS);
    let name = names.first().copied().unwrap_or("predict");
    let mut outputs = vec![output(name, predictions)?];
    // The parameters of the protocol are single values: what each row has is a tensor.
    outputs.extend(lookup.filter(|_| wants_all || !statuses.is_empty()).map(|lookup| {
        let codes = lookup.codes();
        json!({ "name": STATUS, "shape": [codes.len(), 1], "datatype": "BYTES", "data": codes })
    }));
    let mut document = json!({
        "model_name": model.name,
        "model_version": model.version,
        "parameters": lookup.map_or_else(|| json!({}), Lookup::parameters),
        "outputs": outputs,
    });
    if let (Some(fields), Some(id)) = (document.as_object_mut(), request.get("id")) {
        fields.insert("id".to_owned(), id.clone());
    }
    Ok(document)
}

/// Predictions as a tensor: one number a row, or one of each class.
fn output(name: &str, predictions: &ArrayRef) -> Result<Value> {
    let (flat, width) = match predictions.as_fixed_size_list_opt() {
        Some(lists) => (lists.values(), lists.value_length()),
        None => (predictions, 1),
    };
    Ok(json!({
        "name": name,
        "shape": [predictions.len(), width],
        "datatype": "FP64",
        "data": crate::features::write_values(flat)?,
    }))
}

/// Everything that an error says, in one text: the protocols have no other place for it. What our
/// own parts said of each other stays in the log.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause.filter(|_| error.kind() == ErrorKind::InvalidInput) {
        text.push_str(&format!(": {found}"));
        cause = found.source();
    }
    for more in error.notes().iter().map(String::as_str).chain(error.help()) {
        text.push_str(&format!("; {more}"));
    }
    text
}

/// A refusal as the protocol has it.
fn refusal(error: &Error) -> Response {
    reply(status_of(error.kind()), &json!({ "error": told(error) }))
}

/// A refusal as MLflow's scoring server has it.
fn mlflow_refusal(error: &Error) -> Response {
    let code = match error.kind() {
        ErrorKind::InvalidInput => "BAD_REQUEST",
        ErrorKind::NotFound => "RESOURCE_DOES_NOT_EXIST",
        ErrorKind::Denied => "PERMISSION_DENIED",
        ErrorKind::Unavailable => "TEMPORARILY_UNAVAILABLE",
        _ => "INTERNAL_ERROR",
    };
    let body = json!({ "error_code": code, "message": told(error) });
    reply(status_of(error.kind()), &body)
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeListArray, Float64Array};
    use arrow::datatypes::Float64Type;

    use super::*;

    #[test]
    fn classes_are_a_tensor_of_numbers() {
        let rows = [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]].map(|row| Some(row.map(Some)));
        let classes = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows, 3);
        let classes: ArrayRef = Arc::new(classes);
        let tensor = output("predict", &classes).unwrap();
        assert_eq!(tensor["shape"], json!([2, 3]));
        assert_eq!(tensor["data"], json!([0.5, 0.25, 0.25, 0.0, 1.0, 0.0]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.75]));
        let tensor = output("predict", &numbers).unwrap();
        assert_eq!((&tensor["shape"], &tensor["data"]), (&json!([2, 1]), &json!([0.5, 0.75])));
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let error = Frame::of_csv("a,b\n1\n").unwrap_err();
        let text = told(&error);
        assert!(text.starts_with("the CSV cannot be read: ") && text.len() > 30, "{text}");
        let error = Error::invalid("no").with_note("a, b").with_help("send b");
        assert_eq!(told(&error), "no; a, b; send b");
        let inner = Error::unavailable("down").with_source(std::io::Error::other("10.0.0.1"));
        assert_eq!(told(&inner), "down");
    }

    #[test]
    fn an_input_of_text_is_one_of_bytes() {
        let input = |data_type: &str| SignatureColumn {
            name: "x".to_owned(),
            data_type: data_type.to_owned(),
        };
        let types = ["Utf8", "Dictionary(Int32, Utf8)", "Int64"].map(|of| datatype(&input(of)));
        assert_eq!(types, ["BYTES", "BYTES", "FP64"]);
    }
}
