//! What else clients of Feast's feature server write with: rows of a view for the online store, and
//! views that are brought up to their tables.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use icecore_core::{Error, Result, Timestamp};
use icecore_push::{Push, Target};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::Shared;
use super::columns::{Columns, each_once};
use super::push::refusal;
use super::reply::{Problem, json as reply};
use crate::ScoreService;
use crate::auth::Grant;

/// Rows of a view. Other fields of Feast's requests change nothing here.
#[derive(Debug, Deserialize)]
struct Written {
    feature_view_name: String,
    #[serde(deserialize_with = "each_once")]
    df: Columns,
}

/// The views that are brought up to their tables. The newest state is that of any range.
#[derive(Debug, Deserialize)]
struct Range {
    #[serde(default)]
    start_ts: Option<String>,
    #[serde(default)]
    end_ts: Option<String>,
    #[serde(default)]
    feature_views: Option<Vec<String>>,
}

impl Range {
    /// Reads an object: a list would do, where every field may be absent.
    fn read(body: &[u8]) -> serde_json::Result<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(body)?;
        serde_json::from_value(Value::Object(fields))
    }
}

pub(super) async fn write(
    State(service): Shared,
    Extension(grant): Extension<Arc<Grant>>,
    body: Bytes,
) -> Response {
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    match take(&service, &grant, &body).await {
        // Feast's server says nothing more.
        Ok(()) => reply(StatusCode::OK, &Value::Null),
        Err(error) => refusal(&error),
    }
}

/// The rows are events of the table that the view is of, for the online store alone.
async fn take(service: &ScoreService, grant: &Grant, body: &[u8]) -> Result<()> {
    let pushes = service.pushes()?;
    let asked: Written = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!("the request cannot be read: {error}"))
            .with_help("send {\"feature_view_name\": \"NAME\", \"df\": {\"column\": [\"value\"]}}")
    })?;
    let source = pushes.source_of(&asked.feature_view_name)?;
    grant.check_views(&pushes.views(source)?)?;
    let mut push = Push::new(source, asked.df);
    push.to = Target::Online;
    pushes.push(push).await.map(drop)
}

pub(super) async fn materialize(
    State(service): Shared,
    Extension(grant): Extension<Arc<Grant>>,
    body: Bytes,
) -> Response {
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    match bring(&service, &grant, &body).await {
        Ok((code, document)) => reply(code, &document),
        Err(error) => refusal(&error),
    }
}

/// What takes longer than a request may goes on, and the answer says so.
async fn bring(
    service: &Arc<ScoreService>,
    grant: &Grant,
    body: &[u8],
) -> Result<(StatusCode, Value)> {
    let asked = Range::read(body).map_err(|error| {
        Error::invalid(format!("the request cannot be read: {error}"))
            .with_help("send {\"end_ts\": \"2026-11-22T00:00:00\", \"feature_views\": [\"NAME\"]}")
    })?;
    for text in [&asked.start_ts, &asked.end_ts].into_iter().flatten() {
        moment(text)?;
    }
    let definitions = service.features()?.definitions();
    let views = match &asked.feature_views {
        Some(names) => names.clone(),
        None => definitions.views.iter().map(|view| view.name.clone()).collect(),
    };
    for view in &views {
        definitions.view(view)?;
    }
    grant.check_views(&views)?;
    let (is_named, service) = (asked.feature_views.is_some(), Arc::clone(service));
    let (most, named) = (service.options.request_timeout, views.clone());
    let task = tokio::spawn(async move {
        let brought = service.features()?.materialize(&views, is_named).await;
        if let Err(error) = &brought {
            warn!(%error, "views are not brought up to their tables");
        }
        brought
    });
    // The answer has to be there before the request is cut off.
    match timeout(most.mul_f64(0.9), task).await {
        Ok(Ok(brought)) => brought.map(|()| (StatusCode::OK, Value::Null)),
        Ok(Err(error)) => Err(Error::internal("a materialization failed").with_source(error)),
        Err(_) => Ok((StatusCode::ACCEPTED, json!({ "status": "running", "views": named }))),
    }
}

/// A moment as Feast's clients write it: without a zone it is in UTC.
fn moment(text: &str) -> Result<Timestamp> {
    Timestamp::parse(text).or_else(|error| {
        Timestamp::parse(&format!("{}Z", text.replacen(' ', "T", 1))).map_err(|_| error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_without_a_zone_is_in_utc() {
        let at = moment("2026-11-22T20:40:29.960291").unwrap();
        assert_eq!(at, moment("2026-11-22T20:40:29.960291Z").unwrap());
        assert_eq!(at, moment("2026-11-22 20:40:29.960291").unwrap());
        assert_eq!(moment("2026-11-22").unwrap(), moment("2026-11-22T00:00:00+00:00").unwrap());
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn a_range_is_an_object() {
        let range = Range::read(br#"{"end_ts": "2026-11-22", "version": 3}"#).unwrap();
        assert_eq!((range.end_ts.as_deref(), range.feature_views), (Some("2026-11-22"), None));
        assert!(Range::read(b"[]").is_err() && Range::read(br#"{"end_ts": 5}"#).is_err());
    }
}
