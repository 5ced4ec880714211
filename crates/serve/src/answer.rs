//! Answers, as callers see them.

use icecore_core::Date;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::LakeScore;
use crate::route::Route;

/// The answer to a request for a score.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) route: &'a Route,
    pub(crate) key: &'a str,
    pub(crate) outcome: Outcome,
    /// How it was reached: the kind of cache, the kind of lakehouse, or that there was no score.
    pub(crate) latency_path: &'a str,
}

/// Where an answer is from.
#[derive(Debug)]
pub(crate) enum Outcome {
    Cache(f64),
    Lakehouse(LakeScore),
    Default(Option<Reason>),
}

impl Outcome {
    /// The word for it in answers and metrics.
    pub(crate) const fn source(&self) -> &'static str {
        match self {
            Self::Cache(_) => "cache",
            Self::Lakehouse(_) => "lakehouse",
            Self::Default(_) => "default",
        }
    }
}

/// Why an entity is answered with the default although it may have a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reason {
    LakehouseUnavailable,
    LakehouseTimeout,
    /// It has failed so often that it is left alone for a moment.
    LakehouseCircuitOpen,
    /// It has one of this date, which is older than the route allows.
    ScoreTooOld(Date),
}

impl Reason {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::LakehouseUnavailable => "lakehouse_unavailable",
            Self::LakehouseTimeout => "lakehouse_timeout",
            Self::LakehouseCircuitOpen => "lakehouse_circuit_open",
            Self::ScoreTooOld(_) => "score_too_old",
        }
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let declared = &self.route.declared;
        let probability = match &self.outcome {
            Outcome::Cache(probability) => *probability,
            Outcome::Lakehouse(score) => score.probability,
            Outcome::Default(_) => declared.default,
        };
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry(&self.route.parameter, self.key)?;
        fields.serialize_entry(&declared.prediction_column, &probability)?;
        if let Outcome::Lakehouse(score) = &self.outcome {
            fields.serialize_entry("model_version", &score.model_version)?;
            fields.serialize_entry("score_date", &score.score_date)?;
        }
        fields.serialize_entry("source", self.outcome.source())?;
        fields.serialize_entry("latency_path", self.latency_path)?;
        if let Outcome::Default(Some(reason)) = &self.outcome {
            fields.serialize_entry("reason", reason.code())?;
            if let Reason::ScoreTooOld(date) = reason {
                fields.serialize_entry("score_date", date)?;
            }
        }
        fields.end()
    }
}
