//! The hash of what a feature view means.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use icecore_core::{FeatureView, OnlineForm};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Definitions;
use crate::expression::{Expression, normalized_query};

/// Changes when the meaning of the same definition changes.
const FORM: &str = "icecore feature view 1";

#[derive(Serialize)]
struct Meaning<'a> {
    form: &'static str,
    join_keys: Vec<String>,
    view: &'a FeatureView,
}

pub(crate) fn definition_hash(definitions: &Definitions, view: &FeatureView) -> String {
    let mut plain = view.clone();
    (plain.description, plain.owner, plain.tags) = (None, None, BTreeMap::new());
    // What a store keeps of a row changes none.
    plain.online = OnlineForm::default();
    plain.filter = plain.filter.as_deref().map(normalized);
    plain.source_sql = plain
        .source_sql
        .map(|query| normalized_query(&query).unwrap_or_else(|_| query.trim().to_owned()));
    for aggregate in &mut plain.aggregates {
        aggregate.description = None;
        aggregate.filter = aggregate.filter.as_deref().map(normalized);
    }
    for derived in &mut plain.derived {
        derived.description = None;
        derived.expression = normalized(&derived.expression);
    }
    for input in &mut plain.request_inputs {
        input.description = None;
    }
    // A view whose entities are not here cannot be checked, and so never gets to be hashed.
    let join_keys = definitions.typed_join_keys(view).unwrap_or_default();
    let join_keys = join_keys.iter().map(ToString::to_string).collect();
    let meaning = Meaning { form: FORM, join_keys, view: &plain };
    // Plain structs of text and numbers always serialize.
    let bytes = serde_json::to_vec(&meaning).unwrap_or_default();
    sha256_hex(&bytes)
}

fn normalized(expression: &str) -> String {
    match Expression::parse(expression) {
        Ok(parsed) => parsed.normalized(),
        Err(_) => expression.trim().to_owned(),
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
