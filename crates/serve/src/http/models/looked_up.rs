//! Features that are looked up for a model.

use icecore_core::{Error, Result};
use serde_json::Value;
use tokio::time::Instant;

use crate::ScoreService;
use crate::auth::Grant;
use crate::features::FeatureQuery;
use crate::models::{Frame, Lookup, Missing};

/// What a request asks to be looked up: `feature_service` in its parameters, with the join keys and
/// what the service's features are computed from among its columns. `missing` says what becomes of
/// rows that no view knows.
#[derive(Debug)]
pub(super) struct Wanted {
    service: String,
    missing: Missing,
}

impl Wanted {
    /// Reads the parameters of a request; nothing where it brings all features itself.
    pub(super) fn of(service: &ScoreService, parameters: Option<&Value>) -> Result<Option<Self>> {
        if parameters.is_some_and(|sent| !sent.is_object() && !sent.is_null()) {
            return Err(Error::invalid("the parameters of the request are not an object"));
        }
        let missing = text(parameters, "missing")?;
        let Some(wanted) = text(parameters, "feature_service")? else {
            if missing.is_some() {
                return Err(Error::invalid("`missing` is of features that are looked up")
                    .with_help("name the `feature_service`, too, or leave `missing` out"));
            }
            return Ok(None);
        };
        let missing = missing.map_or(Ok(Missing::default()), Missing::parse)?;
        service.features()?.definitions().service(wanted)?;
        Ok(Some(Self { service: wanted.to_owned(), missing }))
    }

    /// Adds the features to the rows of a request to `path`.
    pub(super) async fn add_to(
        self,
        mut frame: Frame,
        (service, grant, path): (&ScoreService, &Grant, &str),
    ) -> Result<Frame> {
        let features = service.features()?;
        let (names, entities) = ([self.service], frame.columns.clone());
        let query = FeatureQuery::of_names(features.definitions(), &names, entities)?;
        let views = query.features.iter().filter_map(|name| name.split_once(':'));
        let views: Vec<String> = views.map(|(view, _)| view.to_owned()).collect();
        grant.check_views(&views)?;
        let started = Instant::now();
        let answer = features.get(&query).await?;
        service.telemetry.features(answer.source.code(), started.elapsed());
        if let Some(reason) = answer.source.reason() {
            service.telemetry.fallback(path, reason);
        }
        frame.lookup = Some(Lookup::new(&answer, self.missing));
        for column in answer.columns {
            frame.looked_up.insert(column.name.clone());
            frame.columns.insert(column.name, column.values);
        }
        Ok(frame)
    }
}

/// Adds what is wanted, if anything is.
pub(super) async fn with_features(
    of: (&ScoreService, &Grant, &str),
    frame: Frame,
    wanted: Option<Wanted>,
) -> Result<Frame> {
    match wanted {
        Some(wanted) => wanted.add_to(frame, of).await,
        None => Ok(frame),
    }
}

/// A parameter that is text.
fn text<'p>(parameters: Option<&'p Value>, name: &str) -> Result<Option<&'p str>> {
    match parameters.and_then(|parameters| parameters.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("the parameter `{name}` is not text"))),
    }
}

#[cfg(test)]
mod tests;
