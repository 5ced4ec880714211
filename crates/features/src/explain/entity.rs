//! Which entity is meant.

use std::collections::BTreeMap;

use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::ident;
use icecore_core::{Error, FeatureView, Result};

use crate::Definitions;
use crate::source::Source;

/// Reads an entity as users write it: the value of the only join key, or `key=value,key=value`.
///
/// # Errors
///
/// `InvalidInput` for a key that the view does not have, and if one is missing.
pub fn parse_entity(
    definitions: &Definitions,
    view: &FeatureView,
    text: &str,
) -> Result<BTreeMap<String, String>> {
    let keys = definitions.join_keys(view)?;
    if let [key] = keys.as_slice() {
        let value = text.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('='));
        return Ok(BTreeMap::from([(key.clone(), value.unwrap_or(text).to_owned())]));
    }
    let mut entity = BTreeMap::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            let form = keys.iter().map(|key| format!("{key}=…")).collect::<Vec<_>>().join(",");
            Error::invalid(format!("`{text}` does not name an entity of `{}`", view.name))
                .with_help(format!("write `{form}`"))
        })?;
        entity.insert(key.trim().to_owned(), value.to_owned());
    }
    check_entity(view, &keys, &entity)?;
    Ok(entity)
}

fn check_entity(
    view: &FeatureView,
    keys: &[String],
    entity: &BTreeMap<String, String>,
) -> Result<()> {
    if let Some(missing) = keys.iter().find(|key| !entity.contains_key(*key)) {
        return Err(Error::invalid(format!("the entity has no `{missing}`")).with_note(format!(
            "join keys of `{}`: {}",
            view.name,
            keys.join(", ")
        )));
    }
    match entity.keys().find(|key| !keys.contains(key)) {
        None => Ok(()),
        Some(unknown) => {
            Err(Error::invalid(format!("`{}` has no join key `{unknown}`", view.name))
                .with_note(format!("join keys: {}", keys.join(", ")))
                .with_candidates(unknown, keys.iter().map(String::as_str)))
        }
    }
}

/// The events of an entity.
pub(super) fn entity_condition(
    source: &Source<'_>,
    entity: &BTreeMap<String, String>,
) -> Result<Expr> {
    check_entity(source.view, &source.keys, entity)?;
    let mut condition = ident(&source.view.event_timestamp).is_not_null();
    for (key, value) in entity {
        let data_type = source.key_type(key)?;
        condition = condition.and(ident(key).eq(cast(lit(value.clone()), data_type)));
    }
    Ok(condition)
}
