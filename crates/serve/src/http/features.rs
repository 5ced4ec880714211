//! `POST /get-online-features`, as Feast's feature server answers it.

mod document;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use icecore_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use document::Document;

use super::columns::{Columns, each_once};
use super::reply::{Problem, json as reply};
use super::{Shared, named};
use crate::auth::Grant;
use crate::features::{FeatureAnswer, FeatureQuery, entity_column};

/// What is asked for. Other fields of Feast's requests change nothing here.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    feature_service: Option<String>,
    #[serde(deserialize_with = "each_once")]
    entities: Columns,
    #[serde(default)]
    full_feature_names: bool,
    #[serde(default)]
    include_feature_view_version_metadata: bool,
}

pub(super) async fn answer(
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
    let result = async {
        let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
            Error::invalid(format!("the request cannot be read: {error}")).with_help(
                "send {\"features\": [\"view:feature\"], \"entities\": {\"key\": [\"value\"]}}",
            )
        })?;
        let with_views = asked.include_feature_view_version_metadata;
        let named_service = asked.feature_service.clone();
        let answer = look_up(&service, &grant, asked).await?;
        if let (Some((log, sampled)), Some(name)) = (&sampled, named_service) {
            log.features(sampled, &name, &answer);
        }
        service.telemetry.features(answer.source.code(), started.elapsed());
        if let Some(reason) = answer.source.reason() {
            service.telemetry.fallback("/get-online-features", reason);
        }
        Ok(Document::new(&answer, with_views).into_response())
    };
    match result.await {
        Ok(response) => named(response, sampled),
        Err(error) => refusal(&error),
    }
}

async fn look_up(
    service: &crate::ScoreService,
    grant: &Grant,
    asked: Asked,
) -> Result<FeatureAnswer> {
    let features = service.features()?;
    let names = match (asked.features, asked.feature_service) {
        (_, Some(name)) => features.definitions().service(&name)?.features.clone(),
        (Some(names), None) if !names.is_empty() => names,
        _ => {
            return Err(Error::invalid("no feature is asked for")
                .with_help("name `features`, or a `feature_service`"));
        }
    };
    let views: Vec<String> = names
        .iter()
        .map(|name| name.split_once(':').map_or(name.as_str(), |(view, _)| view).to_owned())
        .collect();
    grant.check_views(&views)?;
    let mut entities = BTreeMap::new();
    for (name, values) in &asked.entities {
        entities.insert(name.clone(), entity_column(name, values)?);
    }
    let query =
        FeatureQuery { features: names, full_feature_names: asked.full_feature_names, entities };
    features.get(&query).await
}

/// A refusal. What there is not is said as Feast says it, so that its client raises the right
/// exception: JSON in a JSON text.
fn refusal(error: &Error) -> Response {
    let message = error.to_string();
    let class = match error.kind() {
        ErrorKind::NotFound if message.contains("feature service") => {
            "FeatureServiceNotFoundException"
        }
        ErrorKind::NotFound if message.contains("feature view `") && message.contains("has no") => {
            ""
        }
        ErrorKind::NotFound if message.contains("feature view") => "FeatureViewNotFoundException",
        _ => "",
    };
    if class.is_empty() {
        return Problem::of_kind(error).into_response();
    }
    let inner = json!({ "module": "feast.errors", "class": class, "message": message });
    reply(StatusCode::NOT_FOUND, &inner.to_string())
}
