//! An answer, written as Feast writes it.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use icecore_core::Timestamp;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::super::reply::json;
use crate::features::{FeatureAnswer, FeatureColumn, JsonValues};

/// Writes an answer straight from its columns: a value between them and the text would cost more
/// than all the rest of a request for many entities.
pub(super) struct Document<'a> {
    answer: &'a FeatureAnswer,
    with_views: bool,
    moments: Vec<Moments<'a>>,
}

/// The moments of a view's rows as text; all features of the view have them.
struct Moments<'a> {
    events: &'a Arc<[Option<Timestamp>]>,
    texts: Vec<String>,
}

impl<'a> Document<'a> {
    pub(super) fn new(answer: &'a FeatureAnswer, with_views: bool) -> Self {
        let mut moments: Vec<Moments<'a>> = Vec::new();
        for column in &answer.columns {
            if moments.iter().all(|known| !Arc::ptr_eq(known.events, &column.events)) {
                moments.push(Moments { events: &column.events, texts: texts(&column.events) });
            }
        }
        Self { answer, with_views, moments }
    }

    pub(super) fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }

    fn moments(&self, column: &FeatureColumn) -> &[String] {
        let of_column = |known: &&Moments<'_>| Arc::ptr_eq(known.events, &column.events);
        self.moments.iter().find(of_column).map_or(&[], |known| &known.texts)
    }
}

/// Moments as protobuf writes them; where there is none it is the epoch.
fn texts(events: &[Option<Timestamp>]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::with_capacity(events.len());
    let mut before = None;
    for event in events {
        let text = match texts.last() {
            Some(last) if before == Some(event) => last.clone(),
            _ => event.unwrap_or(Timestamp::from_micros(0)).to_string(),
        };
        texts.push(text);
        before = Some(event);
    }
    texts
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Document", 2)?;
        document.serialize_field("metadata", &Metadata(self))?;
        document.serialize_field("results", &Results(self))?;
        document.end()
    }
}

struct Metadata<'a>(&'a Document<'a>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'v> {
            name: &'v str,
        }
        let Document { answer, with_views, .. } = self.0;
        let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
        let mut metadata = serializer.serialize_map(None)?;
        metadata.serialize_entry("feature_names", &names)?;
        if *with_views {
            let views: Vec<View<'_>> = answer.views.iter().map(|name| View { name }).collect();
            metadata.serialize_entry("feature_view_metadata", &views)?;
        }
        // An answer that is not what it usually is says so.
        if let Some(reason) = answer.source.reason() {
            metadata.serialize_entry("source", answer.source.code())?;
            metadata.serialize_entry("reason", reason)?;
        }
        metadata.end()
    }
}

struct Results<'a>(&'a Document<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Column<'c> {
            values: JsonValues<'c>,
            statuses: Vec<&'static str>,
            event_timestamps: &'c [String],
        }
        let columns = &self.0.answer.columns;
        let mut results = serializer.serialize_seq(Some(columns.len()))?;
        for column in columns {
            results.serialize_element(&Column {
                values: JsonValues(&column.values),
                statuses: column.statuses.iter().map(|status| status.code()).collect(),
                event_timestamps: self.0.moments(column),
            })?;
        }
        results.end()
    }
}
